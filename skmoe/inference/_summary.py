"""Tables of coefficients as statisticians read them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.base import BaseEstimator

from .._estimators.shown import (
    CONSTANT_GATE,
    counted,
    experts_in_words,
    only_stacks,
)
from .._typing import Table
from ..inspection._unwrap import unwrap
from ._effects import mean_effects
from ._errors import StandardErrors, standard_errors

TITLES = {
    "gate": "Gate, relative to the first component",
    "expert": "Experts",
    "dispersion": "Dispersions",
    "effect": "Mean marginal effects on the prediction",
}


class Summary(NamedTuple):
    """Coefficients with their errors; it prints as a table.

    Attributes
    ----------
    found : StandardErrors
    statistic, p_value : ndarray of shape (P,)
        Of Wald's test that a coefficient is zero; NaN for dispersions.
    interval : ndarray of shape (P, 2)
    coverage : float
    title : str
        First line of the table.
    reference : str
        Component that the gate's coefficients are relative to.
    only_stacks : bool
        Whether the gate says the same of every row.
    """

    found: StandardErrors
    statistic: np.ndarray
    p_value: np.ndarray
    interval: np.ndarray
    coverage: float
    title: str
    reference: str
    only_stacks: bool = False

    def to_frame(self):
        """A pandas frame with a row per parameter.

        Returns
        -------
        pandas.DataFrame
            Columns part, component, outcome, term, estimate, error, z, p, lower, upper.
        """
        low, high = self.interval.T
        own = {"z": self.statistic, "p": self.p_value, "lower": low, "upper": high}
        return self.found.to_frame().assign(**own)

    def __str__(self):
        lines = [self.title]
        if self.only_stacks:
            lines.append(f"{CONSTANT_GATE.capitalize()}.")
        for part, title in TITLES.items():
            rows = [i for i, own in enumerate(self.found.terms) if own.part == part]
            if rows:
                of = f" {self.reference!r}" if part == "gate" else ""
                lines += ["", f"{title}{of}", *self._table(rows)]
        if self.found.fixed:
            lines += ["", "Fixed coefficients, which have no error", *self._fixed()]
        return "\n".join(lines)

    def __repr__(self):
        return str(self)

    def _fixed(self):
        """Lines of what was given, columns aligned."""
        pairs = self.found.fixed.items()
        return _aligned([[_owner(own), own.term, _number(at)] for own, at in pairs])

    def _table(self, rows):
        """Lines of a table of some parameters, columns aligned."""
        ends = [f"{100 * end:.3g} %" for end in self._levels()]
        cells = [["", "", "estimate", "error", "z", "p", *ends]]
        for i in rows:
            own, values = self.found.terms[i], self._values(i)
            cells.append([_owner(own), own.term, *values])
        return _aligned(cells)

    def _levels(self):
        tail = 0.5 - 0.5 * self.coverage
        return tail, 1.0 - tail

    def _values(self, i):
        numbers = self.found.estimate[i], self.found.error[i], self.statistic[i]
        values = [_number(own) for own in numbers]
        return [*values, _chance(self.p_value[i]), *map(_number, self.interval[i])]


def _owner(term):
    """Component and outcome of a parameter."""
    return " ".join(part for part in (term.component, term.outcome) if part)


def _aligned(cells):
    """Lines of a table, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(_padded(row, widths)).rstrip() for row in cells]


def _number(value):
    return "" if np.isnan(value) else f"{value:.4g}"


def _chance(value):
    if np.isnan(value):
        return ""
    return "<.0001" if value < 1e-4 else f"{value:.4f}"


def _padded(row, widths):
    """Names to the left, numbers to the right."""
    for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if i < 2 else cell.rjust(width)


def summary(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    kind: str = "observed",
    *,
    coverage: float = 0.95,
    effects: bool = False,
    **options: Any,
) -> Summary:
    """Coefficients with standard errors, tests and intervals.

    Parameters
    ----------
    model, X, y, sample_weight, groups, kind
        As in :func:`standard_errors`.
    coverage : float, default=0.95
        Of the intervals.
    effects : bool, default=False
        Whether to add mean marginal effects: by how much the prediction rises with a
        column, through gate and experts together, on the mean over rows.  Their errors
        are by the delta method.
    **options
        As in :func:`standard_errors`.

    Returns
    -------
    Summary
        Prints as a table; ``to_frame()`` makes a pandas frame of it.  p-values are
        two-sided, by the normal distribution.

    Raises
    ------
    ValueError
        As :func:`standard_errors`.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.experts import LinearExpert
    >>> from skmoe.inference import summary
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 1))
    >>> y = np.where(rng.random(400) < 0.4, 2 + 3 * X[:, 0], -X[:, 0])
    >>> y = y + 0.5 * rng.normal(size=400)
    >>> model = MoERegressor(LinearExpert(alpha=0), 2, gate="constant").fit(X, y)
    >>> table = summary(model, X, y)
    >>> [own.term for own in table.found.terms][:3]
    ['(intercept)', '(intercept)', 'x0']
    """
    if not 0 < coverage < 1:
        raise ValueError(
            f"summary got coverage={coverage!r}, but expected a number between 0 and "
            "1, such as 0.95."
        )
    rows = X, y, sample_weight, groups
    found = standard_errors(model, *rows, kind, **options)
    if effects:
        found = mean_effects(unwrap(model), found, X, sample_weight)
    z = np.where(found.positive, np.nan, found.estimate / found.error)
    p = 2.0 * stats.norm.sf(np.abs(z))
    own = unwrap(model).mixture
    title = (
        f"{type(own).__name__}: {experts_in_words(own)}, "
        f"{counted(found.n_units, 'row' if groups is None else 'subject')}, "
        f"log-likelihood {found.log_likelihood:.6g}, errors: {found.kind}"
    )
    reference = next(iter(own.named_experts_))
    interval = found.interval(coverage)
    lines = title, reference, only_stacks(own)
    return Summary(found, z, p, interval, coverage, *lines)
