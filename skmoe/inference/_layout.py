"""Free parameters of a fitted mixture: their names, their values, who reads them."""

import copy
from typing import NamedTuple

import numpy as np

from .._estimators.answers import fitted_mixture
from .._tables.frames import column_labels
from ..experts._base import traits

INTERCEPT = "(intercept)"
REMEDY = {
    "gate": "use gate='softmax' or gate='constant'",
    "router": "use router=None",
    "experts": "use LinearExpert",
    "members": "use n_members=1",
}


class Term(NamedTuple):
    """Name of a free parameter.

    Attributes
    ----------
    part : {"gate", "expert", "dispersion"}
    component : str
        Name of the expert; of what is shared by all, ``"all"``; of a gate, also the
        place in the tree.
    outcome : str
        Output or class, where there are several.
    term : str
        Name of the column, of the intercept, or of the dispersion.
    """

    part: str
    component: str
    outcome: str
    term: str


class Channels(NamedTuple):
    """Where the coefficients of a part stand.

    Each coefficient multiplies one column of ``[1, view]`` and adds to one channel: a
    logit of the gate, a linear predictor, or the logarithm of a dispersion.

    Attributes
    ----------
    at : (m,) places among all free parameters
    channel : (m,) which channel a coefficient adds to
    column : (m,) which column of ``[1, view]`` it multiplies
    """

    at: np.ndarray
    channel: np.ndarray
    column: np.ndarray


class Layout(NamedTuple):
    """Free parameters of a fitted mixture.

    Attributes
    ----------
    terms : list of Term
    estimate : (P,) values; of dispersions, their logarithms
    gate : Channels, of the slots of the tree
    experts : list of Channels
    fixed : dict of the values of coefficients that were given, by Term
    """

    terms: list
    estimate: np.ndarray
    gate: Channels
    experts: list
    fixed: dict

    @property
    def is_dispersion(self):
        """Which parameters are logarithms of dispersions, (P,)."""
        return np.array([own.part == "dispersion" for own in self.terms], dtype=bool)


class _Writer:
    """Collects parameters one by one."""

    def __init__(self):
        self.terms, self.values, self._places = [], [], {}
        self.fixed = {}

    def place(self, term, value):
        """Place of a parameter; one that is there already is shared."""
        if term not in self._places:
            self._places[term] = len(self.terms)
            self.terms.append(term)
            self.values.append(float(value))
        return self._places[term]


def layout_of(model):
    """The ``Layout`` of a mixture that :func:`check_parametric` has passed.

    Parameters
    ----------
    model : Unwrapped

    Returns
    -------
    Layout
    """
    mixture, writer = model.mixture, _Writer()
    views = mixture._learned.views
    gate = _gate_channels(writer, mixture, seen_names(model, views.gate))
    experts = []
    for k, name in enumerate(mixture.named_experts_):
        names = seen_names(model, views.experts[k])
        experts.append(_expert_channels(writer, mixture, k, name, names))
    values = np.array(writer.values)
    return Layout(writer.terms, values, gate, experts, writer.fixed)


def seen_names(model, view):
    """Names of the columns that a part sees."""
    own = model.made
    if own is None:
        own = model.names(np.empty((0, model.mixture.n_features_in_)))
    own = [str(name) for name in own]
    if view.transformer is not None:
        return [str(name) for name in view.transformer.get_feature_names_out(own)]
    if view.dropped:
        labels = column_labels(np.empty((0, len(own))))
        gone = {str(name) for name in view.dropped}
        pairs = zip(own, labels, strict=True)
        return [name for name, j in pairs if name not in gone and str(j) not in gone]
    return own


def _channels(rows):
    at, channel, column = zip(*rows, strict=True) if rows else ((), (), ())
    return Channels(*(np.array(own, dtype=int) for own in (at, channel, column)))


def _gate_channels(writer, mixture, names):
    """Slots of every node but the first of each, relative to which they are told."""
    tree, rows = mixture.gate_.tree_for(len(mixture.experts_)), []
    experts = np.array(list(mixture.named_experts_), dtype=object)
    nodes = zip(tree.slots, mixture.gate_.nodes(), strict=True)
    for slots, gate in nodes:
        slopes = gate.coef_ - gate.coef_[0]
        level = gate.intercept_ - gate.intercept_[0]
        for place, slot in enumerate(range(slots.start + 1, slots.stop), start=1):
            component = "+".join(experts[tree.beneath[slot] > 0])
            values = [level[place], *slopes[place]]
            for column, value in _free(values, gate.scale_ if slopes.size else None):
                term = INTERCEPT if column == 0 else names[column - 1]
                at = writer.place(Term("gate", component, "", term), value)
                rows.append((at, slot, column))
    return _channels(rows)


def _free(values, scale):
    """Columns of ``[1, view]`` whose coefficients are free, and the coefficients."""
    for column, value in enumerate(values):
        if column == 0 or scale is None or scale[column - 1] > 0:
            yield column, value


def _expert_channels(writer, mixture, k, name, names):
    """Linear predictors of an expert, and dispersions of its likelihood."""
    expert, likelihood = mixture.experts_[k], mixture.likelihoods_[k]
    if traits(expert).is_bare:
        return _channels([])
    outcomes, slopes, level = _predictors(mixture, expert)
    common, rows = set(expert.common_ + 1), []
    held = expert.held_at(slopes.shape[1])
    for channel, outcome in enumerate(outcomes):
        values = [level[channel], *slopes[channel]]
        own = {Term("expert", name, outcome, names[j]): values[j + 1] for j in held}
        writer.fixed |= own
        for column, value in _free(values, expert.scale_):
            if column - 1 in held or (column == 0 and not expert.fit_intercept):
                continue
            term = INTERCEPT if column == 0 else names[column - 1]
            of = "all" if column in common else name
            at = writer.place(Term("expert", of, outcome, term), value)
            rows.append((at, channel, column))
    owner = "all" if likelihood.pooled else name
    for j, dispersion in enumerate(likelihood.free_dispersions):
        values = np.broadcast_to(vars(likelihood)[dispersion], len(outcomes))
        for o, outcome in enumerate(outcomes):
            term = Term("dispersion", owner, outcome, dispersion.rstrip("_"))
            at = writer.place(term, np.log(values[o]))
            rows.append((at, (1 + j) * len(outcomes) + o, 0))
    return _channels(rows)


def _predictors(mixture, expert):
    """Names, slopes and intercepts of linear predictors; classes but the first."""
    slopes, level = np.atleast_2d(expert.coef_), np.atleast_1d(expert.intercept_)
    classes = mixture._learned.target.classes
    if classes is not None:
        names = [str(own) for own in classes[1:]]
        return names, slopes[1:] - slopes[0], level[1:] - level[0]
    d = len(slopes)
    return ([""] if d == 1 else [f"y{o}" for o in range(d)]), slopes, level


def at(mixture, layout, theta):
    """The ``FittedMixture`` of a fitted estimator with other parameters (P,)."""
    own = fitted_mixture(mixture)
    gate, experts = copy.deepcopy(own.gate), [copy.copy(e) for e in own.experts]
    _set_gate(gate, own.n_experts, layout.gate, theta)
    likelihoods = []
    for k, channels in enumerate(layout.experts):
        likelihood = own.likelihoods[k]
        if len(channels.at):
            values = _matrix(channels, theta, np.size(experts[k].intercept_))
            likelihood = _set_expert(experts[k], likelihood, values, own.target.classes)
        likelihoods.append(likelihood)
    return own._replace(gate=gate, experts=experts, likelihoods=likelihoods)


def _matrix(channels, theta, least=0):
    """Parameters by channel and column of ``[1, view]``; others are zero."""
    shape = [max(least, channels.channel.max(initial=-1) + 1)]
    values = np.zeros((*shape, channels.column.max(initial=0) + 1))
    values[channels.channel, channels.column] = theta[channels.at]
    return values


def _set_gate(gate, n_experts, channels, theta):
    tree = gate.tree_for(n_experts)
    values = _matrix(channels, theta, tree.n_slots)
    for slots, node in zip(tree.slots, gate.nodes(), strict=True):
        p = node.coef_.shape[1]
        own = np.zeros((slots.stop - slots.start, p + 1))
        given = values[slots][:, : p + 1]
        own[:, : given.shape[1]] = given
        node.coef_, node.intercept_ = own[:, 1:], own[:, 0]


def _set_expert(expert, likelihood, values, classes):
    """Set coefficients of an expert; returns its likelihood."""
    shape, p = np.shape(expert.intercept_), np.shape(expert.coef_)[-1]
    n = max(int(np.prod(shape)), 1) - (classes is not None)
    coef = np.zeros((n, p + 1))
    coef[:, : values.shape[1]] = values[:n]
    coef[:, 1:] += expert.held(n, p)
    dispersions = values[n:, 0]
    if classes is not None:
        coef, dispersions = np.vstack([np.zeros(p + 1), coef]), dispersions[:0]
    expert.coef_ = coef[:, 1:].reshape(np.shape(expert.coef_))
    level = coef[:, 0].reshape(shape)
    expert.intercept_ = level if shape else float(level)
    names = likelihood.free_dispersions
    if not names:
        return likelihood
    return likelihood.with_dispersions(
        np.exp(dispersions.reshape(len(names), n)), False
    )


def check_parametric(model):
    """Raise ``ValueError`` unless all parts of a mixture have scores."""
    mixture = model.mixture
    problem = _without_scores(mixture)
    if problem is not None:
        part, what = problem
        raise ValueError(
            f"{type(mixture).__name__} has {what}, but standard errors expected linear "
            "experts under a dense softmax gate, whose scores are known; "
            f"{REMEDY[part]}."
        )


def _without_scores(mixture):
    """Parameter and name of the first part without scores, or None."""
    if mixture.n_members > 1:
        return "members", f"n_members={mixture.n_members}"
    if not mixture.gate_.is_linear:
        return "gate", f"the gate {mixture.gate!r}"
    if not mixture.router_.is_dense:
        return "router", f"the router {mixture.router!r}"
    if mixture.shared_expert_ is not None:
        return "experts", "a shared expert"
    pairs = zip(mixture.named_experts_.items(), mixture.likelihoods_, strict=True)
    for (name, expert), likelihood in pairs:
        own = traits(expert)
        if not (own.is_linear or own.is_bare):
            return "experts", f"the {type(expert).__name__} {name!r}"
        if likelihood.free_dispersions is None:
            return "experts", f"the likelihood {likelihood!r} of {name!r}"
    return None
