"""What the predictive density of a fitted regressor says: quantiles, modes, draws."""

import numbers

import numpy as np
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import mixture
from ..likelihoods import Uniform

# Rows whose quantiles are sought at a time, so that their experts stay in cache.
BLOCK_ROWS = 16_384


class Predictive:
    """Methods that read the whole density of a mixture for regression."""

    def _size(self, n_rows, offset=None, trials=None, likelihood=None):
        """Exposures or trials (n,) of rows, None for one."""
        likelihood = self.likelihoods_[0] if likelihood is None else likelihood
        given = {"offset": offset, "trials": trials}
        for name, value in given.items():
            if value is not None and name != likelihood.takes:
                raise ValueError(
                    f"{type(self).__name__} got {name} with {likelihood!r}, which "
                    f"takes {likelihood.takes or 'neither offset nor trials'}; offset "
                    "is for counts and gamma, trials for binomial."
                )
        value = given.get(likelihood.takes)
        if value is None:
            return None
        value = check_array(
            value, ensure_2d=False, dtype=float, input_name=likelihood.takes
        )
        if value.shape != (n_rows,):
            raise ValueError(
                f"{likelihood.takes} has shape {value.shape}, but expected "
                f"({n_rows},), one number for each row of X."
            )
        return likelihood.size_of(value)

    def _explained(self, X, offset=None, trials=None):
        """Components without noise; rows that were routed to it go by their gate."""
        noise = self._is_noise()
        components = self._components(X, offset, trials)
        if not noise.any():
            return components
        weights = components.weights[:, ~noise]
        lost = np.flatnonzero(~(weights.sum(axis=1) > 0))
        if len(lost):
            _, gate_view, _ = self._views(X)
            gate = np.exp(self.gate_.predict_log_proba(gate_view))
            weights[lost] = np.maximum(gate[lost][:, ~noise], np.finfo(float).tiny)
        weights = weights / weights.sum(axis=1, keepdims=True)
        own = [components.likelihoods[k] for k in np.flatnonzero(~noise)]
        predictions = components.predictions[:, ~noise]
        return mixture.Components(weights, predictions, own, components.size)

    def _is_noise(self):
        """Which experts are noise, (K,)."""
        check_is_fitted(self)
        return np.array([isinstance(x, Uniform) for x in self.likelihoods_])

    def outlier_proba(self, X, y, *, offset=None, trials=None):
        """Probability that a row is noise, given x and y.

        Beyond the range of y in training, where noise has no density, it counts with
        the height that it has within: what lies far outside is an outlier too.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, n_outputs)
        offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n,)

        Raises
        ------
        AttributeError
            For a mixture without a noise component.

        Examples
        --------
        >>> import numpy as np
        >>> from skmoe import MoERegressor
        >>> X = np.arange(40.0).reshape(-1, 1)
        >>> y = 2 * X[:, 0] + np.sin(X[:, 0])
        >>> y[7] = 60.0
        >>> model = MoERegressor(n_experts=1, noise=True).fit(X, y)
        >>> bool(model.outlier_proba(X, y)[7] > 0.99)
        True
        """
        noise = self._is_noise()
        if not noise.any():
            raise AttributeError(
                f"{type(self).__name__} has no outlier_proba without a noise "
                "component; fit it with noise=True."
            )
        log_gate, log_prob = self._log_parts(X, y, offset=offset, trials=trials)
        for k in np.flatnonzero(noise):
            log_prob[:, k] = self.likelihoods_[k].log_height()
        return mixture.responsibilities(log_gate, log_prob)[:, noise].sum(axis=1)

    def _components(self, X, offset=None, trials=None):
        """Weights, predictions and likelihoods of the experts, with the rows' sizes."""
        table, gate_view, views = self._views(X)
        size = self._size(table.n_rows, offset, trials)
        predictions = self._predictions(views, self._offset(table))
        weights = self._route(gate_view).dense()
        own = self._likelihoods_at(views)
        return mixture.Components(weights, predictions, own, size)

    def predict_quantile(self, X, q=0.5, *, offset=None, trials=None):
        """Quantiles of the mixture.

        The distribution function of the mixture is inverted row by row; it lies
        between those of its experts, so that the root is bracketed from the start.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        q : float or array-like of shape (n_q,), default=0.5
            Probabilities in (0, 1).
        offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n,) or (n, n_q)
            With several outputs (n, n_outputs) or (n, n_outputs, n_q), the quantiles
            of each output by itself.

        Raises
        ------
        ValueError
            For probabilities outside (0, 1).

        Examples
        --------
        >>> from skmoe import MoERegressor
        >>> from skmoe.datasets import make_regimes
        >>> X, y = make_regimes(200, random_state=0)
        >>> MoERegressor(n_experts=2).fit(X, y).predict_quantile(X, [0.1, 0.9]).shape
        (200, 2)
        """
        levels = np.asarray(q, dtype=float)
        if levels.ndim > 1 or not np.all((levels > 0) & (levels < 1)):
            raise ValueError(
                f"predict_quantile got q={q!r}, but expected a probability, or a list "
                "of them, between 0 and 1 exclusive."
            )
        components = self._components(X, offset, trials)
        n, _, d = components.predictions.shape
        out = np.empty((n, d, levels.size))
        for start in range(0, n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = components.on_rows(rows)
            for i, level in enumerate(levels.flat):
                out[rows, :, i] = mixture.quantile(level, block)
        # Where spreads are near rounding, neighbours may end a bit apart.
        order = np.argsort(levels, axis=None)
        out[:, :, order] = np.maximum.accumulate(out[:, :, order], axis=2)
        return self._shaped(out.reshape(n, d, *levels.shape))

    def predict_interval(self, X, coverage=0.9, *, offset=None, trials=None):
        """Central interval of the mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        coverage : float, default=0.9
            Probability between the ends, as much beyond either of them.
        offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n, 2) or (n, n_outputs, 2)
        """
        if not isinstance(coverage, numbers.Real) or not 0 < coverage < 1:
            raise ValueError(
                f"predict_interval got coverage={coverage!r}, but expected a "
                "probability between 0 and 1 exclusive, such as 0.9."
            )
        beyond = (1.0 - coverage) / 2.0
        ends = [beyond, 1.0 - beyond]
        return self.predict_quantile(X, ends, offset=offset, trials=trials)

    def predict_mode(self, X, *, offset=None, trials=None):
        """Mean of the most probable expert of each row, noise left out.

        Where a mixture has several branches, its mean may lie between them, where no y
        is; this is on one of them.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs)
        """
        components = self._explained(X, offset, trials)
        best = components.weights.argmax(axis=1)
        return self._shaped(components.means()[np.arange(len(best)), best])

    def sample_y(self, X, n_samples=1, random_state=None, *, offset=None, trials=None):
        """Draws from the predictive density.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        n_samples : int, default=1
            Draws per row.
        random_state : int, RandomState or None, default=None
        offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n, n_samples) or (n, n_outputs, n_samples)
        """
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise ValueError(
                f"sample_y got n_samples={n_samples!r}, but expected an integer >= 1."
            )
        rng = check_random_state(random_state)
        components = self._components(X, offset, trials)
        n, n_experts, d = components.predictions.shape
        ends = np.cumsum(components.weights, axis=1)
        out = np.empty((n, d, n_samples))
        for sample in range(n_samples):
            place = rng.uniform(size=(n, 1)) * ends[:, -1:]
            expert = np.minimum((place >= ends).sum(axis=1), n_experts - 1)
            for k in range(n_experts):
                rows = np.flatnonzero(expert == k)
                own = components.on_rows(rows)
                likelihood, at = own.likelihoods[k], own.predictions[:, k]
                out[rows, :, sample] = likelihood.sample(at, rng, own.size)
        return self._shaped(out)
