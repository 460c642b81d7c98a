"""Linear experts: ridge regression and multinomial logistic regression."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._design import column_scale, make_design, read_only, to_data_scale
from .._kernels.blocks import gram_pass
from .._linalg import n_pairs, ridge_diagonal, solve_symmetric, unpack_grams
from .._multinomial import fit_multinomial
from .._network import Network
from ..engines import map_rows
from ._base import BuiltInExpert


class LinearStatistics(NamedTuple):
    """Sufficient statistics of a weighted linear regression; additive over rows."""

    grams: np.ndarray
    cross: np.ndarray


class LinearExpert(BuiltInExpert):
    """Linear expert with sufficient statistics.

    In a regressor it is ridge regression on standardised columns, for any number of
    outputs; in a classifier it is multinomial logistic regression.  Mixtures of these
    under a softmax gate are trained by the fused EM, in one pass over the rows per
    iteration.

    Parameters
    ----------
    alpha : float, default=1.0
        Ridge penalty on standardised coefficients, in units of rows, as in
        :class:`sklearn.linear_model.Ridge`.  ``0`` is maximum likelihood.

    Attributes
    ----------
    coef_ : ndarray of shape (p,), (n_outputs, p) or (n_classes, p)
        Coefficients on the scale of the data.  Two classes have two rows.
    intercept_ : float or ndarray
    scale_ : ndarray of shape (p,)
        Standard deviations of the columns in training.
    n_parameters_ : int

    See Also
    --------
    sklearn.linear_model.Ridge : the same penalty, on columns as they are.

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, eq. 24.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.experts import LinearExpert
    >>> X = np.arange(6.0).reshape(-1, 1)
    >>> expert = LinearExpert(alpha=0).fit(X, 2 * X[:, 0] + 1)
    >>> expert.coef_.round(6), round(float(expert.intercept_), 6)
    (array([2.]), 1.0)
    """

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def check(self):
        """Raise ``ValueError`` for a penalty that is not a non-negative number."""
        if not (np.isscalar(self.alpha) and 0 <= self.alpha < np.inf):
            raise ValueError(
                f"LinearExpert got alpha={self.alpha!r}, but expected a finite number "
                ">= 0; 0 is the unpenalised maximum-likelihood estimate."
            )

    def network(self, n_inputs, n_outputs):
        """Architecture for trainers that follow a gradient: no hidden layers."""
        return Network((n_inputs, n_outputs))

    def set_network(self, network, theta, design, center=0.0, scale=1.0):
        """Set parameters of standardised columns; outputs times ``scale``, plus
        ``center``."""
        weights, bias = network.layers(theta)[0]
        coef = np.column_stack([weights.T, bias]) * np.reshape(scale, (-1, 1))
        coef[:, -1] += center
        return self.set_standardised(coef, design)

    def accumulate(self, design, y, weight):
        """Statistics of a row block; ``design`` fixes the standardisation."""
        weight = read_only(np.reshape(weight, (-1, 1)), float)
        targets = read_only(weight * np.reshape(y, (len(weight), -1)), float)
        n_channels = design.X.shape[1] + 1

        def make():
            return (
                np.zeros((n_pairs(n_channels), 1)),
                np.zeros((targets.shape[1], n_channels)),
            )

        def run(statistics, start, stop):
            gram_pass(*design, weight, targets, *statistics, start, stop)

        return LinearStatistics(*map_rows(run, make, len(weight)))

    def solve(self, statistics, design):
        """Set the coefficients from accumulated statistics; returns self."""
        n_channels = design.X.shape[1] + 1
        gram = unpack_grams(statistics.grams, n_channels)
        gram = gram + np.diag(ridge_diagonal(n_channels, self.alpha))
        coef = solve_symmetric(gram, statistics.cross.T[None])[0].T
        return self.set_standardised(coef, design)

    def set_standardised(self, coef, design):
        """Set the coefficients (n_outputs, q) of standardised columns."""
        self._squared_norms = np.sum(coef[:, :-1] ** 2, axis=1)
        slopes, intercepts = to_data_scale(coef, design)
        self.coef_, self.intercept_ = self._shaped(slopes, intercepts)
        self.scale_ = column_scale(design)
        self.n_parameters_ = self._count(slopes)
        self.n_features_in_ = slopes.shape[1]
        return self

    def _shaped(self, slopes, intercepts):
        if len(slopes) == 1:
            return slopes[0], float(intercepts[0])
        return slopes, intercepts

    def _count(self, slopes):
        return slopes.shape[0] * (slopes.shape[1] + 1)

    def fit(self, X, y, sample_weight=None):
        """Fit to weighted rows.

        Parameters
        ----------
        X : ndarray or sparse array of shape (n, p)
        y : ndarray of shape (n,) or (n, n_outputs)
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self
        """
        self.check()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        return self.fit_design(make_design(X, weight), y, weight)

    def fit_design(self, design, y, weight):
        """``fit`` with the standardisation of ``design``, which the penalty refers to.

        In a mixture all experts are penalised on the scale of all rows, not on that
        of the rows that each is responsible for.
        """
        y = np.asarray(y, dtype=float)
        # Centring y keeps the products accurate when y sits far from zero.
        shift = np.average(y, axis=0, weights=weight)
        self.solve(self.accumulate(design, y - shift, weight), design)
        self.intercept_ = self.intercept_ + shift
        return self

    def _linear(self, X):
        check_is_fitted(self)
        return X @ self.coef_.T + self.intercept_

    def predict(self, X):
        """Fitted values, shape (n,) or (n, n_outputs)."""
        return self._linear(X)

    def prior_scatter(self):
        """What the penalty adds to the residual sums of squares, (n_outputs,)."""
        return self.alpha * self._squared_norms

    def penalty(self, variance):
        """Penalty in nats, given the variance of each output around the expert."""
        return 0.5 * float(np.sum(self.prior_scatter() / variance))


class LinearClassifierExpert(LinearExpert):
    """Multinomial logistic regression, as :class:`LinearExpert` in a classifier.

    Parameters
    ----------
    alpha : float, default=1.0
        As in :class:`LinearExpert`; the inverse of the ``C`` of
        :class:`sklearn.linear_model.LogisticRegression` on standardised columns.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_, intercept_ : ndarray of shape (n_classes, p), (n_classes,)
    """

    def _shaped(self, slopes, intercepts):
        return slopes, intercepts

    def _count(self, slopes):
        return (slopes.shape[0] - 1) * (slopes.shape[1] + 1)

    def fit(self, X, y, sample_weight=None):
        """Fit to weighted rows with labels ``y``."""
        self.check()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        return self.fit_design(make_design(X, weight), y, weight)

    def fit_design(self, design, y, weight, offset=None):
        """As in regression; ``offset`` (n, n_classes) is added to the logits."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        n_classes = len(self.classes_)
        coef, self.converged_ = fit_multinomial(
            design,
            read_only(np.eye(n_classes)[codes]),
            read_only(weight, float),
            np.zeros((n_classes, design.X.shape[1] + 1)),
            self.alpha * (2.0 if n_classes == 2 else 1.0),
            offset=offset,
        )
        return self.set_standardised(coef, design)

    def predict_proba(self, X):
        """Class probabilities (n, n_classes)."""
        logits = self._linear(X)
        logits -= logits.max(axis=1, keepdims=True)
        proba = np.exp(logits)
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self, X):
        """Most probable labels (n,)."""
        return self.classes_[self._linear(X).argmax(axis=1)]

    def penalty(self):
        """Penalty in nats."""
        factor = 2.0 if len(self.classes_) == 2 else 1.0
        return 0.5 * self.alpha * factor * float(np.sum(self._squared_norms))


LinearExpert._regressor = LinearExpert
LinearExpert._classifier = LinearClassifierExpert
