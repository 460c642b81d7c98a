"""How well components are told apart, and criteria of the number of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from .. import mixture as functions
from .._estimators import answers
from .._estimators.evaluation import judged
from .._tables.table import row_weights
from .._typing import Table
from ..inspection._unwrap import unwrap


class FitIndices(NamedTuple):
    """What is reported of a fitted mixture; it prints as a table.

    Attributes
    ----------
    log_likelihood, n_parameters, n_rows : float
        Of the rows, or groups, given.
    aic, bic, adjusted_bic : float
        Lower is better; ``adjusted_bic`` counts (n + 2) / 24 rows.
    icl : float
        BIC plus twice the entropy of who serves.
    icl_hard : float
        The same by the largest responsibility of each row, as flexmix has it.
    entropy_r2 : float
        One where every row has its component, zero where none is told apart.
    average_posterior : ndarray of shape (K, K)
        Mean responsibilities (columns) of the rows that are given to each component
        (rows); NaN where none is.
    """

    log_likelihood: float
    n_parameters: float
    n_rows: float
    aic: float
    bic: float
    adjusted_bic: float
    icl: float
    icl_hard: float
    entropy_r2: float
    average_posterior: np.ndarray

    def __str__(self):
        lines = [f"{own:18} {self[i]:.6g}" for i, own in enumerate(self._fields[:-1])]
        lines.append("average_posterior")
        lines += ["  ".join(f"{v:6.3f}" for v in row) for row in self.average_posterior]
        return "\n".join(lines)

    def __repr__(self):
        return str(self)


def fit_indices(
    model: BaseEstimator,
    X: Table,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    **sizes: ArrayLike | None,
) -> FitIndices:
    """Criteria and measures of separation of a fitted mixture on some rows.

    The adjusted BIC is that of [1]_, the entropy R-squared that of [2]_.

    Parameters
    ----------
    model : fitted mixture, or a pipeline or search around one
    X : array-like or data frame of shape (n, p)
    y : array-like of shape (n,) or (n, n_outputs)
    sample_weight : array-like of shape (n,), default=None
    groups : array-like of shape (n,), default=None
        As in ``fit``: groups are counted in place of rows.
    **sizes
        ``offset`` or ``trials`` as in ``fit``.

    Returns
    -------
    FitIndices

    Raises
    ------
    ValueError
        Where a part has no count of parameters.

    References
    ----------
    .. [1] Sclove, S. L. (1987). Application of model-selection criteria to some
       problems in multivariate analysis. Psychometrika 52.
    .. [2] Ramaswamy, V. et al. (1993). An empirical pooling approach for estimating
       marketing mix elasticities with PIMS data. Marketing Science 12.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe import MoERegressor
    >>> from skmoe.inference import fit_indices
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> y = np.where(X[:, 0] > 0, 2.0, -2.0) + 0.1 * np.sin(50 * X[:, 0])
    >>> found = fit_indices(MoERegressor("linear", 2).fit(X, y), X, y)
    >>> bool(found.entropy_r2 > 0.9)
    True
    """
    model = unwrap(model)
    mixture, X = model.mixture, model.seen(X)
    found = judged(mixture, X, y, sample_weight, sizes, groups)
    resp = mixture.responsibilities(X, y, groups, **sizes)
    weight = row_weights(X, sample_weight)
    weight = answers.given_subjects(mixture, weight, groups, weight).weight
    weight = weight * (found.n_rows / weight.sum())
    count = mixture.n_parameters_
    aic, bic, icl = found.criteria(count)
    hard = -float(weight @ np.log(resp.max(axis=1)))
    k = resp.shape[1]
    most = found.n_rows * np.log(k) if k > 1 else 1.0
    return FitIndices(
        log_likelihood=-0.5 * found.deviance,
        n_parameters=count,
        n_rows=found.n_rows,
        aic=aic,
        bic=bic,
        adjusted_bic=found.deviance + count * np.log((found.n_rows + 2.0) / 24.0),
        icl=icl,
        icl_hard=bic + 2.0 * hard,
        entropy_r2=1.0 - functions.entropy(resp, weight) / most,
        average_posterior=_average(resp, weight),
    )


def _average(resp, weight):
    """Mean responsibilities (K, K) of the rows given to each component."""
    k = resp.shape[1]
    given = np.eye(k)[resp.argmax(axis=1)] * weight[:, None]
    total = given.sum(axis=0)[:, None]
    return np.where(total > 0, given.T @ resp, np.nan) / np.where(total > 0, total, 1.0)
