"""Terms of answers by column: of curves, of linear parts, and of any others."""

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state

from .._sklearn import safe_indexing
from .._tables.frames import as_columns, as_table, column_labels, stacked, with_order
from ..experts._base import is_frozen, traits
from ..gates import SoftmaxGate
from ._additive import cells_of, curved_experts, curved_gate

LEVEL, SHARED = "level", "shared expert"


class Terms(dict):
    """Terms of the answers of one part, with what they are terms of.

    Attributes
    ----------
    term, value : also as items
        Names, and numbers (n, ..., terms) that sum to what is on the ``scale``.
    scale : str
        The link of a likelihood, ``"softmax"`` of classes and gates, or
        ``"probability"``.
    cells : dict of (n,) arrays by term
        The values of columns.
    """

    def __init__(self, term, value, scale, cells):
        super().__init__(term=list(term), value=value)
        self.scale, self.cells = scale, cells

    def __reduce__(self):
        return Terms, (self["term"], self["value"], self.scale, self.cells)

    def __eq__(self, other):
        return (
            isinstance(other, Terms)
            and self["term"] == other["term"]
            and np.array_equal(self["value"], other["value"])
        )

    __hash__ = None


def terms_of(model, X, background=None, n_draws=32, random_state=0):
    """Terms of the experts, by name, and of the gate.

    Parameters
    ----------
    model : Unwrapped
    X : table of n rows
    background : table, or None
        As :func:`explain` takes it.
    n_draws : int
    random_state : int, RandomState or None

    Returns
    -------
    experts : dict of Terms
    gate : Terms or None
    """
    reader = _Reader(model, X, background)
    experts, gate = reader.experts(), reader.gate()
    names = list(model.named_experts_)
    if background is None or (len(experts) == len(names) and gate is not None):
        return experts, gate
    drawn = _Drawn(X, background, n_draws, random_state)
    answers = drawn.terms(model.predict_experts)
    scale = "probability" if model.is_classifier else "identity"
    for k, name in enumerate(names):
        if name not in experts:
            experts[name] = drawn.named(model, answers[:, k], scale, reader.own_cells)
    if gate is None:
        weights = drawn.terms(model.gate_proba)
        gate = drawn.named(model, weights, "probability", reader.own_cells)
    return {name: experts[name] for name in names if name in experts}, gate


class _Reader:
    """Reads terms off the parts that have them."""

    def __init__(self, model, X, background):
        self.model, (self.own, self.table) = model, model.read(X)
        self.around = None if background is None else model.read(background)[1]
        self.share = None if background is None else model.gate_proba(background)
        self.own_cells = _own_cells(model, X)

    def experts(self):
        """``Terms`` of each expert that has some, by name."""
        own, is_class = self.own, self.own.target.classes is not None
        offset, found = own.offset(self.table), {}
        curved = curved_experts(self.model, own)
        for k, (name, expert) in enumerate(self.model.named_experts_.items()):
            # Of a frozen classifier probabilities are smoothed, and labels its own.
            if is_class and is_frozen(expert):
                continue
            terms = None
            if name in curved:
                terms = self._of_curves(curved[name])
            elif traits(unfrozen(expert)).is_linear:
                scale = "softmax" if is_class else own.likelihoods[k].link
                terms = self._of_lines(k, unfrozen(expert), scale)
            if terms is not None:
                found[name] = _squeezed(_with_shared(terms, offset))
        return found

    def gate(self):
        """``Terms`` of the gate, or None."""
        part = curved_gate(self.model, self.own)
        if part is not None:
            return self._of_curves(part)
        first, *others = self.own.gate.nodes()
        if others or not isinstance(first, SoftmaxGate):
            return None
        view = self.own.views.gate
        line = first.coef_, first.intercept_, first.center_
        share = None if self.share is None else np.ones(len(self.share))
        return self._linear(view, line, share, "softmax")

    def _of_curves(self, part):
        value = part.fitted.terms(part.view.of(self.table))
        level = np.broadcast_to(part.fitted.level[:, None], (*value.shape[:2], 1))
        value = np.concatenate([level, value], axis=2)
        cells = cells_of(part, self.table) | self.own_cells
        return Terms([LEVEL, *part.names], value, part.fitted.link, cells)

    def _of_lines(self, k, expert, scale):
        coef, level = np.atleast_2d(expert.coef_), np.atleast_1d(expert.intercept_)
        if scale == "softmax" and len(level) == 1:
            # One set of coefficients speaks for the second class.
            coef, level = np.vstack([-coef, coef]) / 2, np.append(-level, level) / 2
        share = None if self.share is None else self.share[:, k]
        line = coef, level, expert.center_
        return self._linear(self.own.views.experts[k], line, share, scale)

    def _linear(self, view, line, share, scale):
        """Coefficients times columns, less their means in training or background."""
        (coef, level, means), rows = line, view.of(self.table)
        names = linear_names(self.model, view, coef.shape[1])
        means = np.broadcast_to(means, coef.shape[1])
        if share is not None:
            share = share / max(share.sum(), np.finfo(float).tiny)
            means = np.asarray(view.of(self.around).T @ share).ravel()
        dense = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
        value = coef * (dense - means)[:, None, :]
        level = np.broadcast_to((level + coef @ means)[:, None], (*value.shape[:2], 1))
        cells = dict(zip(names, dense.T, strict=True)) | self.own_cells
        value = np.concatenate([level, value], axis=2)
        return Terms([LEVEL, *names], value, scale, cells)


def unfrozen(expert):
    """An expert without the wrapper that says it is taken as it is."""
    while is_frozen(expert):
        expert = expert.estimator
    return expert


def linear_names(model, view, size):
    """Names of the columns that a linear part sees by a view."""
    transformer = view.transformer
    if transformer is None:
        names = [own for own in model.inner_names if own not in set(view.dropped)]
    else:
        try:
            names = [*map(str, transformer.get_feature_names_out(model.made))]
        except (AttributeError, ValueError):
            # It has no names for what it makes.
            names = []
    return names if len(names) == size else [f"column {j}" for j in range(size)]


def _own_cells(model, X):
    """Values of a user's columns, by name: none of sparse ones, which may be many."""
    if sparse.issparse(X):
        return {}
    pairs = zip(map(str, model.names(X)), as_columns(X), strict=True)
    return {name: np.asarray(own) for name, own in pairs}


def _with_shared(terms, offset):
    """With what a shared expert adds, (n, d), as the last term."""
    if offset is None:
        return terms
    value = np.concatenate([terms["value"], offset[:, :, None]], axis=2)
    return Terms([*terms["term"], SHARED], value, terms.scale, terms.cells)


def _squeezed(terms):
    """Without the axis of a single output."""
    if terms["value"].shape[1] == 1:
        terms["value"] = terms["value"][:, 0]
    return terms


class _Drawn:
    """Shares of columns in any answer, by random orders in which they are changed.

    The columns of the explained row are set, one after another, to what a row of the
    background has; what an answer loses by that is the column's, on average over
    orders and rows of the background.  What is left is the level.

    References
    ----------
    .. [1] Štrumbelj, E. & Kononenko, I. (2014). Explaining prediction models and
       individual predictions with feature contributions. Knowledge and Information
       Systems 41.
    .. [2] Mitchell, R. et al. (2022). Sampling permutations for Shapley value
       estimation. JMLR 23: an order, and its reverse.
    """

    def __init__(self, X, background, n_draws, random_state):
        self.X, self.labels = X, column_labels(X)
        rng, around = check_random_state(random_state), as_table(background)
        chosen = rng.randint(around.shape[0], size=n_draws)
        self.rows = [safe_indexing(around, [own]) for own in chosen]
        self.orders = [rng.permutation(len(self.labels)) for _ in chosen]

    def terms(self, answer):
        """Terms (n, ..., p + 1) of what ``answer`` says of rows (n, ...)."""
        total = sum(
            self._along(answer, row, own)
            for row, order in zip(self.rows, self.orders, strict=True)
            for own in (order, order[::-1])
        )
        return total / (2 * len(self.rows))

    def _along(self, answer, row, order):
        """What answers change by, column after column, from a row of the background."""
        n_rows, both = np.shape(self.X)[0], stacked([self.X, row])
        tables = [both]
        for j in order:
            # The last row is that of the background.
            place = np.full(n_rows + 1, n_rows)
            tables.append(with_order(tables[-1], self.labels[j], place))
        found = answer(stacked(tables))
        found = found.reshape(len(tables), n_rows + 1, *found.shape[1:])[:, :-1]
        value = np.empty((*found.shape[1:], len(order) + 1))
        value[..., 0] = found[-1]
        value[..., 1 + np.asarray(order)] = np.moveaxis(found[:-1] - found[1:], 0, -1)
        return value

    def named(self, model, value, scale, cells):
        """``Terms`` with the names of the columns that the user has."""
        names = [str(own) for own in model.names(self.X)]
        return Terms([LEVEL, *names], value, scale, cells)
