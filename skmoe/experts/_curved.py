"""What additive experts and gates share: parameters, readings, penalties, curves."""

import copy
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._numerics.additive import (
    MOST_ROUNDS,
    ROUND_STEPS,
    SMALLEST_GAIN,
    paid,
    stepped,
    weighed,
)
from .._numerics.curves import CurveRows
from .._numerics.evidence import EVIDENCE, LEAST_EFFECTIVE
from .._numerics.systems import START_STRENGTH
from ..exceptions import did_you_mean
from ._curves import CurveEncoding


class Curve(NamedTuple):
    """The curve of one column, in the units of the data.

    Attributes
    ----------
    name : str
    knots : ndarray of shape (b,), between which the curve is straight; or None
    levels : list of str, of a column of categories; or None
    values : ndarray of shape (b,) or (n_outputs, b)
        Their mean over the training rows is zero.
    standard_errors : ndarray of the shape of ``values``
    gap : float or ndarray of shape (n_outputs,)
        Value where there is a gap; NaN if training had none.
    gap_error : float or ndarray of shape (n_outputs,)
        Its standard error.
    """

    name: str
    knots: np.ndarray | None
    levels: list | None
    values: np.ndarray
    standard_errors: np.ndarray
    gap: float | np.ndarray
    gap_error: float | np.ndarray


class CurvedPart:
    """What additive experts and gates share: parameters, and their reading of X."""

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        name = type(self).__name__
        whole = isinstance(self.n_knots, (int, np.integer))
        if not whole or isinstance(self.n_knots, bool) or not 2 <= self.n_knots <= 250:
            raise ValueError(
                f"{name} got n_knots={self.n_knots!r}, but expected an integer from 2 "
                "to 250."
            )
        if self.ends not in ("held", "linear"):
            raise ValueError(
                f"{name} got ends={self.ends!r}, but expected 'held' or 'linear'"
                + did_you_mean(self.ends, ("held", "linear"))
            )
        number = np.isscalar(self.alpha) and not isinstance(self.alpha, str)
        if self.alpha != EVIDENCE and not (number and 0 <= self.alpha < np.inf):
            raise ValueError(
                f"{name} got alpha={self.alpha!r}, but expected 'evidence', or a "
                "finite number >= 0; 0 is the unpenalised maximum-likelihood estimate"
                + did_you_mean(self.alpha, (EVIDENCE,))
            )

    @property
    def curves(self):
        """Unfitted ``CurveEncoding`` by which the part reads raw tables."""
        return CurveEncoding(self.n_knots, self.ends == "held")

    def _rows(self, X):
        """What a part sees of X: that already, or a raw table."""
        return X if isinstance(X, CurveRows) else self.encoding_.places(X)

    def seen(self, X):
        """What the fitted part reads of rows as a stream has them."""
        return self.encoding_.binned(X)

    def _on(self, encoding):
        """Coefficients and penalties of the fit on the curves of an encoding.

        That is another one where a fit goes on with other rows.
        """
        if encoding is self.encoding_:
            return self._coef, self.alpha_
        start = self._start_strengths(len(self._coef), len(encoding.basis_.blocks))
        return encoding.carried(self.encoding_, self._coef, self.alpha_, start)

    def _sums(self, X):
        """Sums (n, n_sets) of the curves."""
        check_is_fitted(self, "_coef")
        rows = self._rows(X)
        return rows.linear(self._on(rows.encoding)[0])

    def _bins(self, X, weight):
        if isinstance(X, CurveRows):
            return X
        return self.curves.fit(X, weight).bins(X)

    def _start_strengths(self, n_sets, n_blocks):
        start = START_STRENGTH if self.alpha == EVIDENCE else float(self.alpha)
        return np.full((n_sets, n_blocks), start)

    def _begun(self, previous, bins, n_sets):
        """Where a fit starts: at an earlier one, or at nothing."""
        if previous is not None:
            return previous._on(bins.encoding)
        coef = np.zeros((n_sets, bins.basis.n_coef + 1))
        return coef, self._start_strengths(n_sets, len(bins.basis.blocks))

    def _known_system(self, encoding):
        """The system of the last step, which serves the next one on the same curves."""
        known = "_coef" in vars(self) and encoding is self.encoding_
        return self._system if known else None

    @property
    def knot_values(self):
        """Coefficients (n_sets, q) of the fitted curves, the last an intercept."""
        return self._coef

    def with_knot_values(self, coef):
        """A copy with other coefficients, and the same penalties."""
        part = self.at_rest()
        part._coef, part._squares = coef, self.encoding_.basis_.squares(coef)
        return part

    def told(self, evidence, n_parameters, mass):
        """A copy with what ``Evidence`` says of rows of masses (q,) at the knots, and
        how far penalties moved."""
        part = self.at_rest()
        part.n_parameters_, part._shares = n_parameters, mass
        return part, part._take(evidence)

    def at_rest(self):
        """A copy without what only the next step needs."""
        part = copy.copy(self)
        part._system = None
        return part

    def _keep(self, model, coef, strengths, mass, system):
        """Set a fit as it stands, before what its evidence says is known."""
        self._system = system
        self.encoding_, self._coef, self.alpha_ = model.bins.encoding, coef, strengths
        self._squares = model.bins.basis.squares(coef)
        self.n_features_in_ = model.bins.shape[1]
        self._shares = mass
        return self

    def _paid(self):
        """Penalty of each set of curves, relative to its unit."""
        return 0.5 * np.sum(self.alpha_ * self._squares, axis=1)

    def _learn(self, model):
        """Set what the evidence of the fit says; returns how far penalties moved."""
        # Of a curve that is flat, evidence asks for more than there are numbers.
        with np.errstate(over="ignore"):
            found, self._system = weighed(
                model, self._coef, self.alpha_, self._shares, self._system
            )
        self.n_parameters_ = model.spent(found.effective)
        return self._take(found)

    def _take(self, found):
        """Set what evidence found; returns how far penalties moved."""
        before, self.effective_ = self.alpha_, found.effective
        if self.alpha == EVIDENCE:
            self.alpha_ = found.strengths
        self._variances = found.variances
        if self.alpha != EVIDENCE:
            return 0.0
        matters = found.effective > LEAST_EFFECTIVE
        moved = np.abs(np.log(self.alpha_[matters] / before[matters]))
        return float(moved.max(initial=0.0))

    def _means(self):
        """Mean (n_sets, p) of each curve over the training rows."""
        slots = self.encoding_.basis_.slots()
        shares = self._shares / max(self._shares[-1], np.finfo(float).tiny)
        means = [self._coef[:, own] @ shares[own] for own in slots]
        return np.reshape(means, (len(slots), len(self._coef))).T

    @property
    def curves_(self):
        """The ``Curve`` of each column."""
        check_is_fitted(self, "_coef")
        first, means = self.encoding_.basis_.first, self._means()
        each = zip(self.encoding_.columns_, first, means.T, strict=False)
        return [self._curve(own, at, mean[:, None]) for own, at, mean in each]

    def _curve(self, column, first, mean):
        slots = slice(first, first + len(column.knots))
        errors = np.full_like(self._coef, np.nan)
        if "_variances" in vars(self):
            errors = np.sqrt(np.maximum(self._variances, 0.0))
        values, own_errors = self._coef[:, slots] - mean, errors[:, slots]
        gap = gap_error = np.full(len(values), np.nan)
        if column.gaps:
            gap = self._coef[:, slots.stop] - mean[:, 0]
            gap_error = errors[:, slots.stop]
        knots, levels = column.knots, None
        if column.levels is not None:
            knots, levels = None, [column.levels[int(k)] for k in column.knots]
        if len(values) == 1:
            values, own_errors = values[0], own_errors[0]
            gap, gap_error = float(gap[0]), float(gap_error[0])
        return Curve(column.name, knots, levels, values, own_errors, gap, gap_error)


def settled(part, model, coef, strengths, mass):
    """Fit a part outside of a mixture: steps and penalties until neither gains."""
    value, system, bins = -np.inf, None, model.bins
    for _ in range(MOST_ROUNDS):
        coef, system = stepped(model, coef, strengths, ROUND_STEPS, system)
        part._keep(model, coef, strengths, mass, system)
        moved = part._learn(model)
        strengths, system, before = part.alpha_, part._system, value
        value = model.value(bins.linear(coef)) - paid(model, coef, strengths)
        gain = abs(value - before)
        if gain <= SMALLEST_GAIN * mass[-1] and moved < 0.1:
            break
    part._system = None
    return part
