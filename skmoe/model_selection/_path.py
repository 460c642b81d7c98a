"""Fits of all sizes, each from the one before and from nothing; the better is kept.

The sizes are one path, from the largest down: after each fit the two experts that
share most of their rows are merged, and the next fit may start from there; along the
penalties of one size it may start from the one before.  What merging lost, a fresh
start finds.  Then, from the smallest up, a size whose fit is no gain over a smaller
one, or owes its likelihood to a spike, is represented by the smaller one.
"""

from numbers import Real

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from .._estimators.parts import asked_of
from .._numerics.design import counted_weights
from .._warnings import quietly
from ..exceptions import ExpertCollapseWarning
from ..experts._base import traits
from ..trainers._em.fused import ROWS_IF_NARROW, ROWS_PER_CHANNEL
from ._merging import merged, n_bare, n_explaining, trainer_of

# Gain per iteration that ends a fit on the path, in nats per row.
PATH_TOL = 1e-5
# Difference of a criterion that tells nothing of two fits of the same mixture.
BARE_MENTION = 2.0
# The largest share of all rows that an expert on the path may be asked for.
MOST_LOST = 0.1
# An expert with this share, or less, of the spread of another is narrow.
NARROW = 0.02


def briefly_trained(estimator, n_rows, n_columns):
    """The mixture as a path trains it: no finer than it takes to tell sizes apart.

    Experts with fewer than ROWS_PER_CHANNEL rows per coefficient are given up: they
    may owe their likelihood to fitting these rows exactly.
    """
    trainer = trainer_of(estimator)
    least_load = min(ROWS_PER_CHANNEL * (n_columns + 1) / n_rows, MOST_LOST)
    given, least = trainer.get_params(), {"tol": PATH_TOL, "min_load": least_load}
    # None, where a trainer leaves it to the parts, may be less.
    own = {k: max(given[k] or 0.0, v) for k, v in least.items() if k in given}
    trainer.set_params(**own)
    return clone(estimator).set_params(trainer=trainer)


class Path:
    """Fits of all sizes and penalties on some rows.

    Parameters
    ----------
    estimator : unfitted mixture
    sizes : list of int
    grid : list of dict
    warm : bool
        Whether fits start from earlier ones, too.
    """

    def __init__(self, estimator, sizes, grid, warm=True):
        self.estimator, self.sizes, self.grid = estimator, sizes, grid
        self.warm = warm

    def walk(self, rows):
        """Yield size, number of the penalties and fitted mixture."""
        found = self._descend(rows)
        for number in range(len(self.grid)):
            smaller = None
            for size in sorted(self.sizes):
                own = found[size, number]
                if smaller is not None and standing(rows, own) < standing(
                    rows, smaller
                ):
                    found[size, number] = own = smaller
                smaller = own
        for (size, number), model in found.items():
            yield size, number, model

    def _descend(self, rows):
        """Fitted mixtures by size and number of the penalties, largest size first."""
        # Members would be averages of starts; the path looks at one.
        estimator = clone(self.estimator).set_params(n_members=1)
        if self.warm:
            shape = rows.n_rows, np.shape(rows.X)[1]
            estimator = briefly_trained(estimator, *shape)
        found, larger = {}, [None] * len(self.grid)
        for size in sorted(self.sizes, reverse=True):
            stronger = None
            for number, params in enumerate(self.grid):
                model = clone(estimator).set_params(n_experts=size, **params)
                earlier = (stronger, larger[number]) if self.warm else ()
                model = self._best(rows, model, earlier)
                found[size, number] = larger[number] = stronger = model
        return found

    def _best(self, rows, model, earlier):
        """The best of fits from nothing and from earlier ones.

        An earlier one that was left with no more experts than the size stands for it,
        where only its size was another.
        """
        size, n_fixed = model.n_experts, asked_of(model).n_bare
        found = [self._fit(clone(model), rows, None)]
        for before in earlier:
            if before is None or n_bare(before) != n_fixed:
                continue
            if n_explaining(before) >= size and trainer_of(model).starts_anywhere:
                resp = rows.responsibilities(before)
                resp = merged(resp, size + n_fixed, rows.weight, n_fixed)
                found.append(self._fit(clone(model), rows, resp))
        larger = earlier[-1] if earlier else None
        if larger is not None and n_explaining(larger) < size:
            found.append(larger)
        return max(found, key=lambda own: standing(rows, own))

    def _fit(self, model, rows, resp):
        # Fewer experts than asked for is what a path is there to find.
        kinds = ExpertCollapseWarning, ConvergenceWarning
        return quietly(rows.fit, model, resp, kinds=kinds)


def standing(rows, model):
    """What a fit is judged by among others: no spike, then its log-likelihood."""
    return not is_spike(rows, model), model.log_likelihood_


def is_spike(rows, model):
    """Whether a linear expert owes its likelihood to hardly any rows.

    One whose spread is next to nothing must have many, as it has where y has no noise.
    """
    n = n_explaining(model)
    mass = rows.evidence(model.likelihoods_[0]) * model.expert_load_[:n]
    narrow = are_narrow(model.likelihoods_[:n], rows.n_outputs)
    return any(
        own < (ROWS_IF_NARROW if few else ROWS_PER_CHANNEL) * traits(expert).n_channels
        for own, few, expert in zip(mass, narrow, model.experts_[:n], strict=True)
    )


def are_narrow(likelihoods, n_outputs):
    """Which experts (K,) have a far smaller spread than others, or the least of all."""
    spread = np.array([own.penalty_variance(n_outputs) for own in likelihoods])
    floored = np.array([own.floored_ for own in likelihoods])
    return floored | np.any(spread < NARROW**2 * spread.max(axis=0), axis=1)


def scores_of_fold(path, rows, train, test, scorer):
    """Scores (n_sizes, n_grid) of held-out rows; parameters and experts left."""
    training, held_out = rows.take(train), rows.take(test)
    shape = len(path.sizes), len(path.grid)
    scores, counts, left = np.empty(shape), np.empty(shape), np.empty(shape)
    for size, number, model in path.walk(training):
        at = path.sizes.index(size), number
        if scorer is None:
            scores[at] = held_out.log_density(model)
        else:
            # A function of the user's own takes what it takes.
            weighs = rows.weight is not None and hasattr(scorer, "set_score_request")
            # Sums of squares times weights must be numbers.
            counted = counted_weights(held_out.weight)[0] if weighs else None
            weight = {"sample_weight": counted} if weighs else {}
            scores[at] = scored(scorer, model, held_out, weight)
        counts[at] = np.nan if model.n_parameters_ is None else model.n_parameters_
        left[at] = n_explaining(model)
    return scores, counts, left


def scored(scorer, model, held_out, weight):
    """Score of held-out rows, which may lack some of the classes."""
    try:
        score = scorer(model, held_out.X, held_out.y, **weight)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise ValueError(
            f"The scorer {scorer} cannot score a fold of {held_out.n_rows} rows "
            f"({error}); use scoring=None, the log-density, or other folds."
        ) from error
    if np.ndim(score) or not isinstance(score, Real) or not np.isfinite(score):
        raise ValueError(
            f"The scorer {scorer} says {score!r} of a fold of {held_out.n_rows} rows, "
            "but expected a finite number; use scoring=None, the log-density, or other "
            "folds."
        )
    return score


def simplest_within_error(scores, counts, slack=0.0):
    """Number of the candidate with fewest parameters that is no worse than the best.

    No worse means that the mean of the differences over folds is within one standard
    error of it, or no more than training leaves open.

    Parameters
    ----------
    scores : (n_candidates, n_folds)
    counts : (n_candidates,) parameters, NaN where they have no count
    slack : float
        What training leaves open, in units of the scores.
    """
    best = int(np.argmax(scores.mean(axis=1)))
    if not np.isfinite(scores[best]).all():
        # Rows that no candidate finds possible tell none of them apart.
        return best
    # One that finds a row impossible is no rival.
    gap = np.minimum(scores[best] - scores, np.finfo(np.float32).max)
    n_folds = scores.shape[1]
    error = gap.std(axis=1, ddof=min(1, n_folds - 1)) / np.sqrt(n_folds)
    close = np.flatnonzero(gap.mean(axis=1) <= np.maximum(error, slack))
    if np.isnan(counts[close]).any():
        return int(close[0])
    return int(close[np.argmin(counts[close])])


def smallest_of_equals(values, became, total_weight):
    """Number of the first candidate that is the best one, for all that can be told.

    Its criterion differs by no more than training leaves open, or it became the same
    mixture and the difference is "not worth more than a bare mention": a larger one
    that lost an expert is the smaller one, with penalties that settled elsewhere.

    Parameters
    ----------
    values : (n_candidates,) of a criterion, ascending in size
    became : (n_candidates, n_traits)
        Experts that each ended with, and what else tells it from others.
    total_weight : float

    References
    ----------
    Kass & Raftery (1995), Bayes factors, JASA 90, section 3.2.
    """
    gap = values - values.min()
    same = (became == became[np.argmin(values)]).all(axis=1) & (gap <= BARE_MENTION)
    return int(np.flatnonzero(same | (gap <= 2.0 * PATH_TOL * total_weight))[0])
