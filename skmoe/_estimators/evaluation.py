"""What a fitted mixture answers, whatever its task: densities, routes, criteria."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import mixture
from .._numerics.design import evidence
from .._sklearn import check_names_in
from .._tables.table import row_weights
from ..experts._counts import expert_parameters
from . import answers
from .parts import SHARED
from .sources import densities


class Evaluation:
    """Methods that only read fitted attributes."""

    def gate_proba(self, X):
        """Gate weights after routing.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n, K)
            Rows sum to one; experts that do not serve a row have weight zero.
        """
        return answers.route(self, X).dense()

    def route(self, X):
        """Active experts of each row, and their weights.

        Returns
        -------
        skmoe.routers.Routing
        """
        return answers.route(self, X)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of :meth:`transform`: those of the experts.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X, only to be checked against those of ``fit``.
        """
        check_is_fitted(self)
        check_names_in(self, input_features, generate_names=False)
        return np.asarray(list(self.named_experts_), dtype=object)

    @densities
    def log_density(self, X, y, **sizes):
        """Natural logarithm of p(y_i | x_i), in units of y, shape (n,).

        Normalising constants are included.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p), or RowSource
            For a source, which holds y, the answer is an iterator over its batches.
        y : array-like of shape (n,) or (n, n_outputs)
        **sizes
            ``offset`` or ``trials`` as in ``fit`` of a regressor.
        """
        return mixture.log_density(*answers.log_parts(self, X, y, **sizes))

    def responsibilities(self, X, y, **sizes):
        """Posterior probability of each expert given x and y, shape (n, K).

        Parameters are those of :meth:`log_density`.  Where no expert finds y possible,
        they are the gate's weights.
        """
        return mixture.responsibilities(*answers.log_parts(self, X, y, **sizes))

    def aic(self, X, y, sample_weight=None, **sizes):
        """Akaike's criterion on the given data; lower is better."""
        deviance, *_ = criterion_parts(self, X, y, sample_weight, sizes)
        return deviance + 2 * self.n_parameters_

    def bic(self, X, y, sample_weight=None, **sizes):
        """Bayesian information criterion on the given data; lower is better."""
        deviance, weight, *_ = criterion_parts(self, X, y, sample_weight, sizes)
        return deviance + self.n_parameters_ * np.log(weight.sum())

    def icl(self, X, y, sample_weight=None, **sizes):
        """Integrated completed likelihood: BIC plus twice the entropy of who serves.

        Each row counts with all its responsibilities.  flexmix counts the largest one
        only: its ICL is BIC less twice the sum of their logarithms, which is no more.
        """
        parts = criterion_parts(self, X, y, sample_weight, sizes)
        deviance, weight, log_gate, log_prob = parts
        resp = mixture.responsibilities(log_gate, log_prob)
        penalty = self.n_parameters_ * np.log(weight.sum())
        return deviance + penalty + 2 * mixture.entropy(resp, weight)


def criterion_parts(model, X, y, sample_weight, sizes):
    """Deviance, weights of rows (n,), log gate weights and log-densities (n, K)."""
    check_is_fitted(model)
    if model.n_parameters_ is None:
        raise ValueError(
            f"{uncounted(model)} has no count of parameters, which the criterion "
            "needs; use linear models, give it an attribute n_parameters_, or "
            "compare models by cross-validation."
        )
    log_gate, log_prob = answers.log_parts(model, X, y, **sizes)
    weight = row_weights(log_gate, sample_weight)
    # In units in which the penalties of the criteria are none of a fraction of a row.
    relative = weight / weight.max()
    weight = relative * (evidence(weight) / relative.sum())
    deviance = -2 * float(weight @ mixture.log_density(log_gate, log_prob))
    return deviance, weight, log_gate, log_prob


def uncounted(model):
    """Name and class of the first part, expert or other, without a count."""
    parts = {**model.named_experts_, SHARED: model.shared_expert_}
    for name, expert in parts.items():
        if expert is not None and expert_parameters(expert) is None:
            return f"The {type(expert).__name__} {name!r}"
    for likelihood in model.likelihoods_:
        if likelihood.n_parameters_ is None:
            return f"The model of the variance, {type(likelihood.model_).__name__},"
    return f"The gate {model.gate!r}"
