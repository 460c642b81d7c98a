"""The softmax gate: penalised multinomial logistic regression on soft targets."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np

from .._numerics.design import (
    column_scale,
    from_data_scale,
    known_design,
    make_design,
    read_only,
    to_data_scale,
)
from .._numerics.evidence import RidgePart, probed_softmax, ridge_of_softmax
from .._numerics.grams import Columns
from .._numerics.linalg import Penalty, check_penalty, use_products
from .._numerics.multinomial import (
    ByProducts,
    fit_multinomial,
    fit_near,
    log_weights,
    multinomial_statistics,
    softmax_parameters,
)
from .._numerics.network import Network
from .._sklearn import check_fitted
from ._base import BaseGate, LinearForm
from ._sums import SoftmaxSums


class SoftmaxGate(RidgePart, BaseGate):
    """Multinomial logistic gate, ``g_k(x) = softmax_k(W x + b)``.

    Inside EM it takes one damped Newton step per iteration: the exact joint Hessian
    for up to 200 coefficients, its diagonal blocks beyond.  Columns are standardised
    inside.

    Parameters
    ----------
    alpha : float or "evidence", default="evidence"
        Penalty on standardised coefficients, in units of rows; intercepts are free.
        ``0`` is maximum likelihood.  ``"evidence"`` chooses it, while EM runs, so that
        the marginal likelihood has its maximum [4]_; trainers by gradient and a lasso
        take 0.1.
    l1_ratio : float, default=0.0
        Share of the penalty that is a lasso, which sets coefficients to zero [3]_:
        ``alpha * (l1_ratio * |W|_1 + (1 - l1_ratio) / 2 * |W|^2)`` nats.
    standardize : bool, default=True
        Whether the penalty refers to standardised columns, or to columns as they are.
    max_iter : int, default=100
        Newton steps of ``fit`` on its own; EM does not use it.
    tol : float, default=1e-9
        ``fit`` stops when the log-likelihood rises by less, in nats per row.

    Attributes
    ----------
    coef_ : ndarray of shape (K, p)
        On the scale of the data; without a lasso columns sum to zero.
    intercept_ : ndarray of shape (K,)
    center_, scale_ : ndarray of shape (p,)
        Means and standard deviations of the columns in training.
    alpha_ : float
        The penalty, given or chosen.
    n_parameters_ : int or float
        With ``alpha="evidence"``, effective degrees of freedom.

    References
    ----------
    .. [1] Jordan, M. I., Jacobs, R. A. (1994). Hierarchical mixtures of experts and
       the EM algorithm. Neural Computation 6, section 3.
    .. [2] Chen, K., Xu, L., Chi, H. (1999). Improved learning algorithms for mixture
       of experts in multiclass classification. Neural Networks 12.
    .. [3] Chamroukhi, F., Huynh, B. T. (2019). Regularized maximum likelihood
       estimation and feature selection in mixtures-of-experts models. Journal de la
       SFdS 160.
    .. [4] MacKay, D. J. C. (1992). The evidence framework applied to classification
       networks. Neural Computation 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skmoe.gates import SoftmaxGate
    >>> X = np.array([[-1.0], [0.0], [1.0]])
    >>> resp = np.array([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    >>> gate = SoftmaxGate(alpha=0).fit(X, resp)
    >>> np.exp(gate.predict_log_proba(X)).round(6).tolist()
    [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]
    """

    differentiable = exchangeable = is_linear = reads_sparse = streams = True
    start_alpha = 0.1

    def __init__(
        self,
        alpha: float | str = "evidence",
        l1_ratio: float = 0.0,
        standardize: bool = True,
        max_iter: int = 100,
        tol: float = 1e-9,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.standardize = standardize
        self.max_iter = max_iter
        self.tol = tol

    @property
    def penalty_rows(self):
        """How much weight of rows the penalty outweighs."""
        return self.strength

    @property
    def renews(self):
        """Whether the penalty is chosen anew while EM runs."""
        return self.by_evidence

    def check(self):
        check_penalty(self)

    @property
    def has_lasso(self):
        """Whether a share of the penalty is a lasso."""
        return self.l1_ratio > 0

    def linear_form(self, X):
        """Penalty and columns for the fused EM, which fits this gate itself."""
        return LinearForm(Penalty.of(self), self.standardize, X, self.by_evidence)

    def sums(self, X, weight, scales, total):
        """By Newton steps."""
        return SoftmaxSums(self, make_design(X, weight, self.standardize, scales))

    def network(self, n_inputs, n_outputs):
        """Architecture for trainers that follow a gradient: no hidden layers."""
        return Network((n_inputs, n_outputs))

    def set_network(self, network, theta, design):
        """Set parameters of standardised columns."""
        weights, bias = network.layers(theta)[0]
        return self.set_standardised(np.column_stack([weights.T, bias]), design)

    def fit(self, X, resp, sample_weight=None):
        """Fit to responsibilities until convergence.

        Parameters
        ----------
        X : ndarray or sparse array of shape (n, p)
        resp : ndarray of shape (n, K)
            Soft targets.
        sample_weight : ndarray of shape (n,), default=None

        Returns
        -------
        self
        """
        self.forget_penalty()
        rows = X, resp, sample_weight
        self._newton(*rows, self.max_iter)
        refit = partial(self._newton, *rows, self.max_iter)
        self.settle_penalty(partial(self.renewed, *rows), refit)
        self.count(Columns(X, sample_weight))
        return self

    def renewed(self, X, resp, sample_weight=None):
        """A copy with the penalty by evidence, and how far its logarithm moved."""
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design = make_design(X, weight, self.standardize)
        coef, near = from_data_scale(self.coef_, self.intercept_, design), self.strength
        if use_products(design.X, len(coef)):
            model = ByProducts(design, resp * np.reshape(weight, (-1, 1)))
            proba = np.exp(self.predict_log_proba(X))
            return self.moved_to(probed_softmax(model, proba, coef, near))
        data = design, read_only(resp, float), read_only(weight, float)
        none = read_only(np.zeros((0, len(coef))))
        _, _, grams = multinomial_statistics(*data, coef, none)
        return self.moved_to(ridge_of_softmax(grams, coef, near))

    def set_penalties(self, ridge, effective):
        """Set what evidence says, by expert (K,), of which it says the same."""
        return self.set_penalty((ridge[0], effective.sum()))

    def count(self, columns):
        """Free parameters, given the ``Columns`` that the gate was fitted to."""
        self.n_parameters_ = self._count(columns.rank())
        return self.n_parameters_

    def _count(self, rank=np.inf):
        if self.counts_effective:
            return self.effective_ + len(self.coef_) - 1
        return softmax_parameters(self.coef_, rank)

    def update(self, X, resp, sample_weight=None):
        """One damped Newton step from the current coefficients."""
        return self._newton(X, resp, sample_weight, 1)

    @property
    def stays_near(self):
        """Whether it is fitted near to what it was: not by a lasso."""
        return not self.has_lasso

    def update_near(self, anchor, pull, X, resp, sample_weight):
        """One damped Newton step, on columns that are standardised as the anchor's."""
        design, ridge = known_design(X, anchor), Penalty.of(self).ridge
        own = [
            from_data_scale(gate.coef_, gate.intercept_, design)
            for gate in (self, anchor)
        ]
        rows = design, read_only(resp, float), read_only(sample_weight, float)
        coef, _ = fit_near(*rows, *own, ridge, pull, max_iter=1)
        return self.set_standardised(coef, design)

    def way_from(self, anchor):
        slopes, levels = self.coef_ - anchor.coef_, self.intercept_ - anchor.intercept_
        levels = levels + slopes @ anchor.center_
        return np.sum((slopes * anchor.scale_) ** 2) + np.sum(levels**2)

    def _newton(self, X, resp, sample_weight, max_iter):
        self.check()
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        design, penalty = make_design(X, weight, self.standardize), Penalty.of(self)
        if max_iter == 1 and "coef_" in vars(self):
            start = from_data_scale(self.coef_, self.intercept_, design)
        else:
            start = np.zeros((resp.shape[1], X.shape[1] + 1))
        coef, self.converged_ = fit_multinomial(
            design,
            read_only(resp, float),
            read_only(weight, float),
            start,
            penalty.ridge,
            lasso=penalty.lasso,
            max_iter=max_iter,
            tol=self.tol,
        )
        return self.set_standardised(coef, design)

    def set_standardised(self, coef, design):
        """Set coefficients (K, q) of standardised columns."""
        if self.l1_ratio == 0:
            coef = coef - coef.mean(axis=0)
        self._measure(coef[:, :-1])
        self.coef_, self.intercept_ = to_data_scale(coef, design)
        self.center_, self.scale_ = design.center, column_scale(design)
        self.alpha_ = float(self.strength)
        self.n_parameters_ = self._count()
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def _measure(self, slopes):
        """Set what penalties refer to, of standardised slopes (K, p)."""
        self._squared_norm = float(np.sum(slopes**2))
        self._absolute_norm = float(np.sum(np.abs(slopes)))

    def reordered(self, order):
        gate = copy.copy(self)
        gate.coef_, gate.intercept_ = self.coef_[order], self.intercept_[order]
        return gate

    def dropped(self, k):
        kept = [j for j in range(len(self.coef_)) if j != k]
        gate = self.reordered(kept)
        if self.l1_ratio == 0:
            gate.coef_ = gate.coef_ - gate.coef_.mean(axis=0)
        gate._measure(gate.coef_ * gate.scale_)
        gate.n_parameters_ = gate._count()
        return gate

    def predict_log_proba(self, X):
        return log_weights(self.scores(X))

    def scores(self, X):
        check_fitted(self, "coef_")
        return X @ self.coef_.T + self.intercept_

    def penalty(self):
        ridge, lasso = Penalty.of(self)
        return 0.5 * ridge * self._squared_norm + lasso * self._absolute_norm
