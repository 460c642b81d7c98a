"""What a fitted mixture answers, whatever its task: densities, routes, criteria."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import mixture
from .._sklearn import safe_indexing
from .._tables.table import row_weights
from ..engines import run_calls
from ..experts._answers import predict_expert
from ..experts._counts import expert_parameters
from ..routers._base import routed
from . import routed as routed_linear
from .shared import SHARED


class Evaluation:
    """Methods that only read fitted attributes.

    The estimator gives ``_read``, ``_gate_view``, ``_expert_views``, ``_offset``,
    ``_check_y`` and ``_encode``.
    """

    def _views(self, X):
        check_is_fitted(self)
        table = self._read(X, reset=False)
        return table, self._gate_view(table), self._expert_views(table)

    def _route(self, gate_view):
        if self.router_.gated:
            return self.gate_.route(gate_view, self.router_)
        shape = (gate_view.shape[0], len(self.experts_))
        log_gate = np.broadcast_to(-np.log(shape[1]), shape)
        return routed(self.router_, log_gate, X=gate_view)

    def _each(self, views, offset):
        """Prediction (n, d) of every expert, the shared one's part included."""
        classes = getattr(self, "classes_", None)
        calls = [
            (expert, view, classes, offset)
            for expert, view in zip(self.experts_, views, strict=True)
        ]
        return run_calls(predict_expert, calls, self.n_jobs)

    def _predictions(self, views, offset):
        return np.stack(self._each(views, offset), axis=1)

    def _log_prob(self, views, y, offset, size=None):
        predictions = self._each(views, offset)
        if y.ndim == 2 and y.shape[1] != predictions[0].shape[1]:
            raise ValueError(
                f"{type(self).__name__} got y with {y.shape[1]} outputs, but was "
                f"fitted with {predictions[0].shape[1]}; give the same ones."
            )
        return mixture.log_prob(self._likelihoods_at(views), y, predictions, size)

    def _likelihoods_at(self, views):
        """Likelihoods of the rows that the experts see."""
        return mixture.at_views(self.likelihoods_, views)

    def _combined(self, X, **sizes):
        """Mixture mean (n, d): only the experts that a row was routed to are asked."""
        table, gate_view, views = self._views(X)
        offset, size = self._offset(table), self._size(table.n_rows, **sizes)
        mean = routed_linear.predict(self, gate_view, views)
        if mean is not None:
            return mean if offset is None else mean + offset
        routing = self._route(gate_view)
        if routing.indices.shape[1] == len(self.experts_):
            weights, predictions = routing.dense(), self._predictions(views, offset)
            own = mixture.Components(weights, predictions, self.likelihoods_, size)
            return mixture.mean(weights, own.means())
        return self._combine_sparse(routing, views, offset, size)

    def _combine_sparse(self, routing, views, offset, size):
        classes = getattr(self, "classes_", None)
        groups = list(mixture.dispatch(routing.indices, len(self.experts_)))

        def predict(k, rows, slots):
            own = None if offset is None else offset[rows]
            view = safe_indexing(views[k], rows)
            part = predict_expert(self.experts_[k], view, classes, own)
            part = self.likelihoods_[k].mean(part, None if size is None else size[rows])
            return routing.weights[rows, slots][:, None] * part

        parts = run_calls(predict, groups, self.n_jobs)
        out = np.zeros((len(routing.indices), parts[0].shape[1]))
        for (_, rows, _), part in zip(groups, parts, strict=True):
            out[rows] += part
        return out

    def _log_parts(self, X, y, **sizes):
        """Log gate weights after routing, and expert log-densities, both (n, K)."""
        table, gate_view, views = self._views(X)
        size = self._size(table.n_rows, **sizes)
        y = self._encode(self._check_y(y, len_of=gate_view))
        with np.errstate(divide="ignore"):
            log_gate = np.log(self._route(gate_view).dense())
        return log_gate, self._log_prob(views, y, self._offset(table), size)

    def _size(self, n_rows):
        """Exposures or trials of rows: none here."""
        return

    # -- public methods of both estimators ---------------------------------------

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
        _, gate_view, _ = self._views(X)
        return self._route(gate_view).dense()

    def route(self, X):
        """Active experts of each row, and their weights.

        Returns
        -------
        skmoe.routers.Routing
        """
        _, gate_view, _ = self._views(X)
        return self._route(gate_view)

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of :meth:`transform`: those of the experts."""
        check_is_fitted(self)
        return np.asarray(list(self.named_experts_), dtype=object)

    def log_density(self, X, y, **sizes):
        """Natural logarithm of p(y_i | x_i), in units of y, shape (n,).

        Normalising constants are included.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, n_outputs)
        **sizes
            ``offset`` or ``trials`` as in ``fit`` of a regressor.
        """
        return mixture.log_density(*self._log_parts(X, y, **sizes))

    def responsibilities(self, X, y, **sizes):
        """Posterior probability of each expert given x and y, shape (n, K).

        Parameters are those of :meth:`log_density`.  Where no expert finds y possible,
        they are the gate's weights.
        """
        return mixture.responsibilities(*self._log_parts(X, y, **sizes))

    def _criterion(self, X, y, sample_weight, sizes):
        if self.n_parameters_ is None:
            raise ValueError(
                f"{uncounted(self)} has no count of parameters, which the criterion "
                "needs; use linear models, give it an attribute n_parameters_, or "
                "compare models by cross-validation."
            )
        log_gate, log_prob = self._log_parts(X, y, **sizes)
        weight = row_weights(log_gate, sample_weight)
        deviance = -2 * float(weight @ mixture.log_density(log_gate, log_prob))
        return deviance, weight, log_gate, log_prob

    def aic(self, X, y, sample_weight=None, **sizes):
        """Akaike's criterion on the given data; lower is better."""
        deviance, *_ = self._criterion(X, y, sample_weight, sizes)
        return deviance + 2 * self.n_parameters_

    def bic(self, X, y, sample_weight=None, **sizes):
        """Bayesian information criterion on the given data; lower is better."""
        deviance, weight, *_ = self._criterion(X, y, sample_weight, sizes)
        return deviance + self.n_parameters_ * np.log(weight.sum())

    def icl(self, X, y, sample_weight=None, **sizes):
        """Integrated completed likelihood: BIC plus twice the entropy of who serves.

        Each row counts with all its responsibilities.  flexmix counts the largest one
        only: its ICL is BIC less twice the sum of their logarithms, which is no more.
        """
        parts = self._criterion(X, y, sample_weight, sizes)
        deviance, weight, log_gate, log_prob = parts
        resp = mixture.responsibilities(log_gate, log_prob)
        penalty = self.n_parameters_ * np.log(weight.sum())
        return deviance + penalty + 2 * mixture.entropy(resp, weight)

    def _weights(self, table, sample_weight):
        return row_weights(table.raw, sample_weight)


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
