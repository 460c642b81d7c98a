"""Trees that grow: split the leaf that gains most, collapse splits that do not pay."""

from dataclasses import replace

import numpy as np
from sklearn.base import clone

from .. import mixture
from .._numerics.design import as_dense, evidence, make_design
from .._numerics.tree import Tree, flat
from .._warnings import unheard
from ..gates import SoftmaxGate
from ..gates._tree import TreeGate
from ..routers import DenseRouter
from ._em.trainers import EM
from ._partitions import content_hash, content_sample
from ._task import Report, Task, Trainer, check_common, counts_of

# Share of the rows on which splits are judged.
HELD_OUT = 0.2
# A split tries this long to show what it is worth, which is its likelihood.
BRIEF = {"max_iter": 50, "max_refits": 3, "short_iter": 5, "objective": "likelihood"}
# Responsibility of a leaf for a row below which its split does not see the row.
SERVED = 1e-3
# A leaf of less weight, in rows, is not split.
ROWS_TO_SPLIT = 10
NO_SPLIT = -np.inf, None
# Growth ends after so many splits without a better tree.
PATIENCE = 3
# Up to this many experts, all ways of dividing them in two are tried; with more, cuts
# along the principal axes of their centres.
FEW_EXPERTS = 5
N_AXES = 2
# Newton steps of the gates that such divisions are judged by.
PROBE_STEPS = 8


class GrowingTrainer(Trainer):
    """Grow a tree by short runs of EM, then train it as a whole.

    Parameters
    ----------
    trainer : trainer of the grown tree
    max_leaf_nodes : int
    criterion : {"held-out", "bic"}
    """

    def __init__(self, trainer, max_leaf_nodes, criterion):
        self.trainer = trainer
        self.max_leaf_nodes = max_leaf_nodes
        self.criterion = criterion

    @property
    def splitter(self):
        """That of the trainer of the grown tree."""
        return self.trainer.splitter

    @property
    def cv(self):
        """Folds of the trainer of the grown tree."""
        return self.trainer.cv

    @property
    def split_by(self):
        """Parameter of the trainer of the grown tree that splits the rows."""
        return self.trainer.split_by

    @property
    def judges(self):
        """Rows by which the training of the grown tree stops."""
        return self.trainer.judges

    @property
    def fits_groups(self):
        """Whether the trainer of the grown tree keeps groups together."""
        return self.trainer.fits_groups

    @property
    def shares_experts(self):
        """Whether groups share one expert of the grown tree."""
        return self.trainer.shares_experts

    def fit(self, rows, recipe, start, report):
        """Train a recipe whose experts are as many as the tree may get."""
        task = Task(rows, recipe, start, report)
        check_common(recipe, self)
        brief = clone(self.trainer) if isinstance(self.trainer, EM) else EM()
        growth = Growth(brief.set_params(**BRIEF), task, self.criterion)
        with unheard():
            # Short runs do not converge, and a leaf that dies was a poor split.
            grown = growth.grow(self.max_leaf_nodes)
            resp = growth.responsibilities(grown)
        task = growth.with_tree(task, grown.gate.tree).with_start(resp=resp)
        fit = trained(self.trainer, task)
        fit.history["growth"] = growth.record
        return fit

    def refused_batches(self, parts, n_members):
        """A tree that grows needs all rows at once."""
        return (
            "branching='grow', since a tree grows on all rows at once; give the shape "
            "of the tree as branching"
        )


class Growth:
    """The search for a tree.

    Parameters
    ----------
    trainer : EM
    task : Task
        All leaves are clones of its first expert.
    criterion : {"held-out", "bic"}

    Attributes
    ----------
    fit, score : where the search is
    record : list of (number of leaves, score in nats per unit of weight)
    """

    def __init__(self, trainer, task, criterion):
        self.trainer, self.criterion = trainer, criterion
        # Rules of routing are for the tree as a whole.
        silent = replace(task, report=Report())
        self.task = silent.with_start(warm=None).with_recipe(router=DenseRouter())
        self.training = self.judging = self.task
        self.judges = True
        if criterion == "held-out":
            held = held_out_rows(task)
            self.judges = held.any() and not held.all()
            # Rows of one class have nothing to tell apart.
            self.judges = self.judges and not has_one_class(task, ~held)
        if criterion == "held-out" and self.judges:
            self.judging = self.task.on_rows(np.flatnonzero(held))
            self.training = self.task.on_rows(np.flatnonzero(~held))
        self.record = []

    def grow(self, max_leaf_nodes):
        """Fit of the best tree found, to the training rows.

        Growth goes on for some steps after the best tree, for the gain of a split may
        show only when others have followed.
        """
        self.fit = self._train(flat(1))
        self._record()
        best, idle = (self.score, self.fit), 0
        splits = [NO_SPLIT]
        if self.judges and max_leaf_nodes > 1:
            splits = [self._best_split(0, self._training_responsibilities())]
        while len(self.fit.experts) < max_leaf_nodes and idle < PATIENCE:
            leaf = int(np.argmax([gain for gain, _ in splits]))
            if splits[leaf] is NO_SPLIT:
                break
            grown = self._train(*self._split(self.fit, leaf, splits[leaf][1]))
            if len(grown.experts) <= len(self.fit.experts):
                splits[leaf] = NO_SPLIT
                continue
            self.fit = grown
            changed = range(leaf, leaf + 2)
            if self._rearrange():
                changed = range(len(self.fit.experts))
            self._record()
            splits[leaf : leaf + 1] = [NO_SPLIT] * 2
            splits = splits[: len(self.fit.experts)]
            resp = self._training_responsibilities()
            for k in changed:
                splits[k] = self._best_split(k, resp)
            idle = 0 if self.score > best[0] else idle + 1
            best = max(best, (self.score, self.fit), key=lambda pair: pair[0])
        self.score, self.fit = best
        self._collapse()
        return self.fit

    def _record(self):
        self.score = self._score(self.fit)
        self.record.append((len(self.fit.experts), self.score))

    def _rearrange(self):
        """As many leaves otherwise, if that is better; returns whether it is.

        Splits are chosen one by one, and the first ones do not know of the later. Tried
        are the tree that tells the experts apart best, and a fresh start of this one.
        """
        n_leaves = len(self.fit.experts)
        if n_leaves < 3:
            return False
        fits = [self._train(self.fit.gate.tree)]
        views = self.training.rows.numeric_views()
        if views is not None:
            resp = self._training_responsibilities()
            shape, order = separating_tree(views[0], resp, self.training.rows.weight)
            fits.append(self._train(Tree(shape), resp=resp[:, order]))
        fits = [fit for fit in fits if len(fit.experts) == n_leaves]
        best = max([self.fit, *fits], key=self._score)
        changed, self.fit = best is not self.fit, best
        return changed

    def _training_responsibilities(self):
        return self._responsibilities(self.fit, self.training)

    def responsibilities(self, fit):
        """Of all rows of the task, shape (n, K)."""
        return self._responsibilities(fit, self.task)

    def _responsibilities(self, fit, task):
        each = mixture.responsibilities(*self._log_parts(fit, task))
        return task.rows.subjects.spread(each)

    def with_tree(self, task, tree):
        """A task for the leaves of a tree."""
        gate = task.recipe.gate.gate
        part = task.with_recipe(gate=gate).of_experts(range(tree.n_leaves))
        return part.with_recipe(gate=TreeGate(gate, tree))

    def _train(self, tree, start=None, resp=None):
        task = self.with_tree(self.training, tree).with_start(warm=start, resp=resp)
        return trained(self.trainer, task)

    # -- what a tree is worth ---------------------------------------------------

    def _log_parts(self, fit, task):
        """Log-weights and log-densities (S, K) of the subjects."""
        predictions = [
            task.rows.answer_of(expert, view, task.rows.log_prior)
            for expert, view in zip(fit.experts, task.rows.expert_views, strict=False)
        ]
        log_gate = fit.gate.predict_log_proba(task.rows.gate_rows)
        views = task.rows.expert_views[: len(fit.likelihoods)]
        likelihoods = mixture.at_views(fit.likelihoods, views)
        log_prob = mixture.log_prob(
            likelihoods, task.rows.y, predictions, task.rows.size
        )
        return log_gate, task.rows.subjects.evidence(log_prob)

    def _density(self, fit):
        """Log-densities (S,) of the subjects that judge."""
        return mixture.log_density(*self._log_parts(fit, self.judging))

    def _score(self, fit):
        """Log-likelihood that the criterion sees, per unit of weight."""
        weight, total = self._judging_weight()
        return float((weight @ self._density(fit) - self._price(fit)) / total)

    def _judging_weight(self):
        """Weights (S,) of the subjects that judge, and the weight of their rows."""
        rows = self.judging.rows
        return rows.subjects.weight, rows.weight.sum()

    def _doubt(self, best, other):
        """Standard error of the difference of two scores; none in BIC."""
        if self.criterion == "bic":
            return 0.0
        weight, total = self._judging_weight()
        gap = self._density(best) - self._density(other)
        mean = np.average(gap, weights=weight)
        return np.sqrt(weight @ (gap - mean) ** 2) / total

    def _price(self, fit):
        """What BIC charges for the parameters of a fit, in nats."""
        if self.criterion != "bic":
            return 0.0
        counts = counts_of(self.task.rows, fit)
        if None in counts:
            raise ValueError(
                "criterion='bic' needs experts and a gate with a count of parameters, "
                "such as LinearExpert and SoftmaxGate; use criterion='held-out'."
            )
        weight = self.task.rows.subjects.weight
        n = evidence(weight)
        return 0.5 * sum(counts) * np.log(n) * (weight.sum() / n)

    # -- splits -------------------------------------------------------------------

    def _best_split(self, leaf, resp):
        """Gain in nats, and the fit of two experts to the rows of a leaf."""
        fit, own = self.fit, resp[:, leaf]
        rows = np.flatnonzero(own > SERVED)
        part = self.with_tree(self.training, flat(2)).on_rows(rows)
        part = part.with_rows(weight=part.rows.weight * own[rows])
        part = part.with_recipe(gate=part.recipe.gate.gate).with_start(n_init=1)
        if part.rows.weight.sum() < ROWS_TO_SPLIT or has_one_class(part):
            return NO_SPLIT
        split = trained(self.trainer, part)
        if len(split.experts) < 2:
            return NO_SPLIT
        log_gate, log_prob = self._log_parts(fit, self.judging)
        resp = mixture.responsibilities(log_gate, log_prob)
        share = self._judging_weight()[0] * resp[:, leaf]
        pair = mixture.log_density(*self._log_parts(split, self.judging))
        gain = share @ (pair - log_prob[:, leaf])
        return float(gain - self._extra_price(fit, leaf, split)), split

    def _extra_price(self, fit, leaf, split):
        one = replace(
            fit,
            gate=_Free(),
            experts=[fit.experts[leaf]],
            likelihoods=[fit.likelihoods[leaf]],
            kept=[leaf],
            before=None,
        )
        return self._price(split) - self._price(one)

    def _split(self, fit, leaf, pair):
        """The larger tree, and parts to start it from."""
        gates = [pair.gate]
        if len(fit.experts) == 1:
            tree = flat(2)
        else:
            old = fit.gate.tree
            tree, labels = old.split(leaf)
            # A node whose slots are all new is the one that the split brings.
            gates = [
                fit.gate.gates_[old.node_of(labels[own.start])]
                if labels[own.start] >= 0
                else pair.gate
                for own in tree.slots
            ]
        gate = TreeGate(self.task.recipe.gate.gate, tree)
        gate.gates_ = gates
        start = replace(
            fit,
            gate=gate,
            before=None,
            experts=[*fit.experts[:leaf], *pair.experts, *fit.experts[leaf + 1 :]],
            likelihoods=[
                *fit.likelihoods[:leaf],
                *pair.likelihoods,
                *fit.likelihoods[leaf + 1 :],
            ],
            kept=list(range(tree.n_leaves)),
        )
        return tree, start

    def _collapse(self):
        """Give up splits without which the tree is as good, within a standard error."""
        best, score = self.fit, self.score
        while True:
            smaller = [self._without_split(leaf) for leaf in self._collapsible()]
            if not smaller:
                break
            found = max(smaller, key=self._score)
            if self._score(found) < score - self._doubt(best, found):
                break
            self.fit = found
            self._record()

    def _without_split(self, leaf):
        """A leaf and its sibling to the right as one."""
        resp = self._training_responsibilities()
        resp[:, leaf] += resp[:, leaf + 1]
        tree, _ = self.fit.gate.tree.without(leaf + 1)
        return self._train(tree, resp=np.delete(resp, leaf + 1, axis=1))

    def _collapsible(self):
        """First leaves of the nodes whose children are two leaves."""
        tree = self.fit.gate.tree
        if tree.n_leaves == 1:
            return []
        number = {slot: leaf for leaf, slot in enumerate(tree.leaves)}
        pairs = [(own.start, own.stop - 1) for own in tree.slots]
        return [number[a] for a, b in pairs if a in number and b in number]


def trained(trainer, task):
    """What a trainer makes of a task."""
    return trainer.fit(task.rows, task.recipe, task.start, task.report)


def separating_tree(X, resp, weight):
    """Shape of a tree, and the order of its leaves, that tells experts apart.

    From the root down, a linear gate divides the experts so that the branch a row takes
    says as much as possible about who serves it: the largest mutual information.

    Parameters
    ----------
    X : (n, p)
    resp : (n, K)
    weight : (n,)

    Returns
    -------
    shape : nested tuples, as of :class:`Tree`
    order : list of int, the experts from left to right
    """
    X = _with_spread(X, weight)
    rows = content_sample(lambda block: X[block], resp, weight)
    if rows is not None:
        X, resp, weight = X[rows], resp[rows], weight[rows]
    return _divided(X, resp * weight[:, None], list(range(resp.shape[1])))


def _divided(X, mass, members):
    if len(members) == 1:
        return None, members
    if len(members) == 2:
        return (None, None), members
    found = [_information(X, mass, members, left) for left in _halves(X, mass, members)]
    left = max(found, key=lambda pair: pair[0])[1]
    right = [k for k in members if k not in left]
    parts = [_divided(X, mass, part) for part in (left, right)]
    return tuple(shape for shape, _ in parts), parts[0][1] + parts[1][1]


def _halves(X, mass, members):
    """Candidates for the left half of the experts: all if they are few."""
    first, *others = members
    if len(members) <= FEW_EXPERTS:
        return [
            [first, *(k for bit, k in enumerate(others) if code >> bit & 1)]
            for code in range(2 ** len(others) - 1)
        ]
    own = mass[:, members]
    centers = (own.T @ X) / np.maximum(own.sum(axis=0), 1e-12)[:, None]
    inverse = make_design(X, np.ones(len(X))).inverse_scale
    centers = (centers - centers.mean(axis=0)) * inverse
    axes = np.linalg.svd(centers, full_matrices=False)[2][:N_AXES]
    cuts = [[k] for k in members]
    for axis in axes:
        order = [members[i] for i in np.argsort(centers @ axis, kind="stable")]
        cuts += [order[:size] for size in range(2, len(order) - 1)]
    return cuts


def _information(X, mass, members, left):
    """Mutual information, in nats, of a linear gate's branch; and the left half."""
    right = [k for k in members if k not in left]
    target = np.column_stack([mass[:, left].sum(axis=1), mass[:, right].sum(axis=1)])
    gate = SoftmaxGate(alpha=1.0, max_iter=PROBE_STEPS).fit(X, target)
    share = target.sum(axis=0) / target.sum()
    log_share = np.log(np.maximum(share, np.finfo(float).tiny))
    return float(np.sum(target * (gate.predict_log_proba(X) - log_share))), left


class _Free:
    """No gate at all."""

    def count(self, columns):
        """None are free."""
        return 0


def has_one_class(task, rows=slice(None)):
    """Whether some rows of a classification are all of one class."""
    return task.rows.classes is not None and len(np.unique(task.rows.y[rows])) < 2


def held_out_rows(task):
    """Mask (n,) of rows to judge splits on.

    Equal rows are in or out together, if their columns are numbers.
    """
    views, subjects = task.rows.numeric_views(), task.rows.subjects
    if views is None:
        # The target alone would hold out whole classes.
        chance = np.random.default_rng(task.recipe.seed).random(len(subjects))
        return subjects.spread(chance < HELD_OUT)
    X = as_dense(_with_spread(views[0], task.rows.weight))
    content = content_hash(_ranks(np.column_stack([X, task.rows.indicators()])))
    # Rows of a subject are in or out together.
    return subjects.spread(subjects.total(content) % 1.0) < HELD_OUT


def _with_spread(X, weight):
    """The columns that have some; others would move those that a hash tells apart."""
    spread = make_design(X, weight).inverse_scale > 0
    return X if spread.all() else X[:, spread]


def _ranks(values):
    """Each column as ranks of its distinct values, which no unit changes."""
    ranks = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.column_stack(ranks).astype(float)
