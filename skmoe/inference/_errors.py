"""Standard errors of the parameters of a fitted mixture."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, stats
from sklearn.base import BaseEstimator

from .._estimators.answers import left_out
from .._typing import Table
from .._warnings import warn
from ..exceptions import did_you_mean
from ..experts._base import traits
from ..inspection._unwrap import unwrap
from ._bootstrap import bootstrapped
from ._information import Sample, summed
from ._layout import check_parametric, layout_of

# Smallest eigenvalue of the information, in units of its diagonal.
SINGULAR = 1e-9
# Largest step to the maximum, in standard errors, that is none.
LARGEST_STEP = 0.1
# Largest standard error of a logit per standard deviation of a column: beyond it, a
# column tells components, or classes, apart without error, and the likelihood rises
# for ever.
SEPARATED = 30.0
KINDS = ("observed", "sandwich", "bootstrap")


class StandardErrors(NamedTuple):
    """Parameters of a mixture, and how far their estimates may be off.

    Attributes
    ----------
    terms : list of tuple (part, component, outcome, term)
        Of a gate, coefficients are relative to the first component.
    estimate : ndarray of shape (P,)
        In units of the data; dispersions as they are.
    error : ndarray of shape (P,)
        Standard errors of the same.
    covariance : ndarray of shape (P, P)
        Of the estimates, but of the logarithms of dispersions.
    kind : str
    n_units : int
        Rows, or subjects.
    log_likelihood : float
        Of the rows given.
    replicates : ndarray of shape (n_boot, P) or None
        Estimates of the bootstrap, dispersions as logarithms.
    fixed : dict or None
        Values of coefficients that were given, which have no error, by their terms.
    """

    terms: list
    estimate: np.ndarray
    error: np.ndarray
    covariance: np.ndarray
    kind: str
    n_units: int
    log_likelihood: float
    replicates: np.ndarray | None = None
    fixed: dict | None = None

    @property
    def positive(self):
        """Which parameters are dispersions, (P,)."""
        return np.array([own.part == "dispersion" for own in self.terms], dtype=bool)

    def interval(self, coverage=0.95):
        """Ends (P, 2) of intervals; symmetric, of dispersions in their logarithms."""
        z = stats.norm.ppf(0.5 + 0.5 * coverage)
        center = np.where(self.positive, _log(self.estimate), self.estimate)
        half = z * np.sqrt(np.diag(self.covariance))
        ends = np.column_stack([center - half, center + half])
        ends[self.positive] = np.exp(ends[self.positive])
        return ends

    def to_frame(self):
        """A pandas frame with a row per parameter.

        Returns
        -------
        pandas.DataFrame
            Columns part, component, outcome, term, estimate, error.
        """
        import pandas as pd

        frame = pd.DataFrame(self.terms)
        return frame.assign(estimate=self.estimate, error=self.error)


def _log(values):
    return np.log(np.maximum(values, np.finfo(float).tiny))


def standard_errors(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    kind: str = "observed",
    *,
    penalized: bool = False,
    n_boot: int = 200,
    random_state: Any = 0,
    n_jobs: int | None = None,
    **sizes: ArrayLike | None,
) -> StandardErrors:
    """Standard errors of coefficients, gate and dispersions.

    Parameters
    ----------
    model : fitted mixture, or a pipeline or search around one
        Of linear experts under a softmax or constant gate, dense, one member; trees of
        these, too.
    X : array-like or data frame of shape (n, p)
        The rows that it was fitted to.
    y : array-like of shape (n,) or (n, n_outputs)
    sample_weight : array-like of shape (n,), default=None
        A row of weight two counts as two rows.
    groups : array-like of shape (n,), default=None
        Subjects, if the model was fitted with them: they are what is independent.
    kind : {"observed", "sandwich", "bootstrap"}, default="observed"
        ``"observed"``: inverse of the observed information, by Louis' formula [1]_.
        ``"sandwich"``: also right where the family is not [2]_.
        ``"bootstrap"``: spread of refits to rows, or subjects, that are drawn again,
        each from where the fit ended, components matched by whom they serve.
    penalized : bool, default=False
        Whether to go on where penalties act.  Errors then are those of the penalised
        estimate, which is biased towards zero: by the curvature of the penalised
        likelihood, at penalties as they are.
    n_boot : int, default=200
        Refits of the bootstrap.
    random_state : int or RandomState, default=0
        Draws of the bootstrap.
    n_jobs : int, default=None
        Refits at a time.
    **sizes
        ``offset`` or ``trials`` as in ``fit``.

    Returns
    -------
    StandardErrors

    Raises
    ------
    ValueError
        For parts whose scores are unknown; where penalties act, unless asked; at a
        boundary, or where the information is singular: there a standard error means
        nothing.

    References
    ----------
    .. [1] Louis, T. A. (1982). Finding the observed information matrix when using the
       EM algorithm. J. R. Statist. Soc. B 44.
    .. [2] White, H. (1982). Maximum likelihood estimation of misspecified models.
       Econometrica 50.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_gated_regression
    >>> from skmoe.experts import LinearExpert
    >>> from skmoe.gates import SoftmaxGate
    >>> from skmoe.inference import standard_errors
    >>> X, y = make_gated_regression(300, 2, 2, random_state=0)[:2]
    >>> model = MoERegressor(LinearExpert(alpha=0), 2, gate=SoftmaxGate(alpha=0))
    >>> found = standard_errors(model.fit(X, y), X, y)
    >>> len(found.terms), bool((found.error > 0).all())
    (11, True)
    """
    if kind not in KINDS:
        raise ValueError(
            f"standard_errors got kind={kind!r}, but expected one of {KINDS}"
            + did_you_mean(kind, KINDS)
        )
    model = unwrap(model)
    check_parametric(model)
    _check_penalties(model.mixture, penalized)
    _check_boundary(model.mixture)
    _check_groups(model.mixture, groups)
    _check_beside(model.mixture, sizes)
    layout = layout_of(model)
    sample = Sample.read(model, X, y, sample_weight, groups, sizes)
    sums = summed(sample, layout)
    known = layout, kind, sample.units.n_units, float(sums.value[0])
    if kind == "bootstrap":
        seen = model.seen(X)
        draws = n_boot, random_state, n_jobs
        rows = seen, y, sample_weight, groups, sizes
        replicates = bootstrapped(model, layout, sample.units, rows, draws)
        covariance = np.cov(replicates, rowvar=False).reshape(2 * (len(layout.terms),))
        return _result(*known, covariance, replicates)
    return _result(*known, _covariance(model.mixture, layout, sums, kind))


def _result(layout, kind, n_units, log_likelihood, covariance, replicates=None):
    positive, spread = layout.is_dispersion, np.sqrt(np.diag(covariance))
    estimate = np.where(positive, np.exp(layout.estimate), layout.estimate)
    error = np.where(positive, estimate * spread, spread)
    found = layout.terms, estimate, error, covariance
    known = kind, n_units, log_likelihood, replicates, layout.fixed
    return StandardErrors(*found, *known)


def _covariance(mixture, layout, sums, kind):
    """Covariance of the estimates, (P, P)."""
    penalty = _penalty_curvature(mixture, layout)
    inverse = _inverted(sums.information + penalty, layout)
    _check_separated(mixture, layout, np.sqrt(np.diag(inverse)))
    step = np.abs(inverse @ sums.score) / np.sqrt(np.diag(inverse))
    if not penalty.any() and step.max() > LARGEST_STEP:
        warn(
            f"the likelihood has its maximum {step.max():.2g} standard errors away in "
            f"{_said(layout.terms[int(step.argmax())])}, so that the errors are of a "
            "fit that has not ended; fit with a smaller tol, or more max_iter."
        )
    return inverse if kind == "observed" else inverse @ sums.outer @ inverse


def _check_separated(mixture, layout, error):
    """Raise ``ValueError`` where a column tells components or classes apart at once."""
    gates = [gate for gate in mixture.gate_.nodes() if np.size(gate.coef_)]
    logits = [(layout.gate, gate) for gate in gates[:1]]
    if mixture._learned.target.classes is not None:
        logits += list(zip(layout.experts, mixture.experts_, strict=True))
    for channels, part in logits:
        slopes = channels.column > 0
        at, column = channels.at[slopes], channels.column[slopes]
        wide = error[at] * part.scale_[column - 1] if len(at) else np.zeros(1)
        if wide.max() > SEPARATED:
            raise ValueError(
                f"{_said(layout.terms[at[int(wide.argmax())]])} separates without "
                f"error (standard error {wide.max():.2g} per standard deviation, "
                f"expected at most {SEPARATED:g}), so that it has no finite estimate; "
                "use fewer experts, or a penalty and penalized=True."
            )


def _inverted(information, layout):
    """Inverse of the information; ValueError where there is none."""
    scale = np.sqrt(np.abs(np.diag(information)))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = linalg.eigh(information / np.outer(scale, scale))
    if not values[0] > SINGULAR:
        flat = layout.terms[int(np.abs(vectors[:, 0]).argmax())]
        raise ValueError(
            f"the likelihood is flat in {_said(flat)} (least eigenvalue of the "
            f"information {values[0]:.1e}, expected more than {SINGULAR:g}), so that a "
            "standard error means nothing; use fewer experts or columns, or a penalty, "
            "or more rows."
        )
    root = vectors / np.sqrt(values) / scale[:, None]
    return root @ root.T


def _said(term):
    """A parameter in words."""
    outcome = f" of {term.outcome}" if term.outcome else ""
    return f"{term.term!r}{outcome} of the {term.part} {term.component!r}"


def _check_penalties(mixture, penalized):
    """Raise ``ValueError`` where penalties act, unless asked; always for a lasso."""
    for name, part in _penalised(mixture):
        if part.has_lasso:
            raise ValueError(
                f"{name} has a lasso (l1_ratio={part.l1_ratio!r}), but standard errors "
                "expected l1_ratio=0: what a lasso sets to zero has no error."
            )
        if part.alpha_ > 0 and not penalized:
            raise ValueError(
                f"{name} is penalised (alpha_={part.alpha_:.3g}), but standard errors "
                "expected alpha=0: a penalised estimate is biased. Fit with "
                "LinearExpert(alpha=0) and SoftmaxGate(alpha=0), or pass "
                "penalized=True for the errors of the penalised estimate."
            )


def _check_groups(mixture, groups):
    """Raise ``ValueError`` unless rows come in groups as they did in ``fit``."""
    grouped = mixture.n_groups_ is not None
    if grouped == (groups is not None):
        return
    had, has = ("with", "without") if grouped else ("without", "with")
    raise ValueError(
        f"{type(mixture).__name__} was fitted {had} groups, but standard errors got "
        f"rows {has} them; pass groups here as in fit, so that it is the same "
        "likelihood that is at its maximum."
    )


def _check_beside(mixture, sizes):
    """Raise ``ValueError`` for rows without an offset or trials that ``fit`` had."""
    for name in left_out(mixture, sizes):
        raise ValueError(
            f"{type(mixture).__name__} was fitted with {name}, but standard errors "
            f"got rows without; pass {name} here as in fit, so that it is the same "
            "likelihood that is at its maximum."
        )


def _penalised(mixture):
    """Names and parts that may have penalties."""
    for gate in mixture.gate_.nodes():
        if np.size(gate.coef_) and len(gate.coef_) > 1:
            yield "the gate", gate
    for name, expert in mixture.named_experts_.items():
        if not traits(expert).is_bare:
            yield f"the expert {name!r}", expert


def _check_boundary(mixture):
    """Raise ``ValueError`` where a dispersion is held by its floor."""
    pairs = zip(mixture.named_experts_, mixture.likelihoods_, strict=True)
    for name, likelihood in pairs:
        if likelihood.floored_:
            raise ValueError(
                f"the dispersion of {name!r} is held by its floor, at the boundary, "
                "where a standard error means nothing; use fewer experts, or "
                "likelihood=Gaussian(variance='shared')."
            )


def _penalty_curvature(mixture, layout):
    """Second derivatives (P, P) of the penalties, at the dispersions as they are."""
    total = np.zeros((len(layout.terms),) * 2)
    tree = mixture.gate_.tree_for(len(mixture.experts_))
    for slots, gate in zip(tree.slots, mixture.gate_.nodes(), strict=True):
        if np.size(gate.coef_):
            _add_gate_penalty(total, layout.gate, slots, gate)
    groups = zip(mixture.experts_, mixture.likelihoods_, layout.experts, strict=True)
    classes = mixture._learned.target.classes
    for expert, likelihood, channels in groups:
        if len(channels.at):
            between = _between(expert, likelihood, classes)
            _add_expert_penalty(total, channels, expert, between)
            if likelihood.scales_ridge:
                _add_scaled(total, channels, layout.estimate)
    return total


def _between(expert, likelihood, classes):
    """Second derivatives of the ridge in the slopes of a standardised column.

    Those of classes are relative to the first one; two classes share the ridge of one
    log-odds.
    """
    if classes is None:
        variance = likelihood.penalty_variance(np.size(expert.intercept_))
        return np.diag(expert.alpha_ / np.asarray(variance))
    n = len(classes)
    around = np.eye(n - 1) - 1.0 / n
    return expert.alpha_ * (2.0 if n == 2 else 1.0) * around


def _add_gate_penalty(total, channels, slots, gate):
    """That of coefficients around their mean over the children of a node."""
    children = slots.stop - slots.start
    scale = gate.penalty_scale()
    for column in range(1, gate.coef_.shape[1] + 1):
        inside = (channels.channel > slots.start) & (channels.channel < slots.stop)
        at = channels.at[inside & (channels.column == column)]
        around = np.eye(len(at)) - 1.0 / children
        total[np.ix_(at, at)] += gate.alpha_ * scale[column - 1] ** 2 * around


def _add_expert_penalty(total, channels, expert, between):
    """That of slopes, in nats."""
    for column, width in enumerate(expert.penalty_scale(), start=1):
        chosen = channels.column == column
        at, channel = channels.at[chosen], channels.channel[chosen]
        total[np.ix_(at, at)] += width**2 * between[np.ix_(channel, channel)]


def _add_scaled(total, channels, theta):
    """What follows from a ridge that stands against the variance around an expert."""
    slopes = channels.at[channels.column > 0]
    slope = total[np.ix_(slopes, slopes)] @ theta[slopes]
    owners = channels.channel[channels.column > 0]
    n_outputs = 1 + owners.max(initial=0)
    for output in range(n_outputs):
        scale = channels.at[channels.channel == n_outputs + output]
        own = slopes[owners == output]
        gradient = slope[owners == output]
        total[own, scale] -= 2.0 * gradient
        total[scale, own] -= 2.0 * gradient
        total[scale, scale] += 2.0 * gradient @ theta[own]
