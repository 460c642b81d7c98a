"""What the predictive density of a fitted regressor says: quantiles, modes, draws."""

import numbers

import numpy as np
from sklearn.utils import check_random_state

from . import mixture

# Rows whose quantiles are sought at a time, so that their experts stay in cache.
BLOCK_ROWS = 16_384


class Predictive:
    """Methods that read the whole density of a mixture for regression."""

    def _components(self, X):
        """Weights (n, K) and predictions (n, K, d) of the experts."""
        table, gate_view, views = self._views(X)
        predictions = self._predictions(views, self._offset(table))
        return self._route(gate_view).dense(), predictions

    def predict_quantile(self, X, q=0.5):
        """Quantiles of the mixture.

        The distribution function of the mixture is inverted row by row; it lies
        between those of its experts, so that the root is bracketed from the start.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        q : float or array-like of shape (n_q,), default=0.5
            Probabilities in (0, 1).

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
        weights, predictions = self._components(X)
        n, _, d = predictions.shape
        out = np.empty((n, d, levels.size))
        for start in range(0, n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            for i, level in enumerate(levels.flat):
                out[rows, :, i] = mixture.quantile(
                    level, weights[rows], predictions[rows], self.likelihoods_
                )
        return self._shaped(out.reshape(n, d, *levels.shape))

    def predict_interval(self, X, coverage=0.9):
        """Central interval of the mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        coverage : float, default=0.9
            Probability between the ends, as much beyond either of them.

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
        return self.predict_quantile(X, [beyond, 1.0 - beyond])

    def predict_mode(self, X):
        """Prediction of the most probable expert of each row.

        Where a mixture has several branches, its mean may lie between them, where no y
        is; this is on one of them.

        Returns
        -------
        ndarray of shape (n,) or (n, n_outputs)
        """
        weights, predictions = self._components(X)
        best = weights.argmax(axis=1)
        return self._shaped(predictions[np.arange(len(best)), best])

    def sample_y(self, X, n_samples=1, random_state=None):
        """Draws from the predictive density.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        n_samples : int, default=1
            Draws per row.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        ndarray of shape (n, n_samples) or (n, n_outputs, n_samples)
        """
        if not isinstance(n_samples, numbers.Integral) or n_samples < 1:
            raise ValueError(
                f"sample_y got n_samples={n_samples!r}, but expected an integer >= 1."
            )
        rng = check_random_state(random_state)
        weights, predictions = self._components(X)
        n, n_experts, d = predictions.shape
        ends = np.cumsum(weights, axis=1)
        out = np.empty((n, d, n_samples))
        for sample in range(n_samples):
            place = rng.uniform(size=(n, 1)) * ends[:, -1:]
            expert = np.minimum((place >= ends).sum(axis=1), n_experts - 1)
            for k, likelihood in enumerate(self.likelihoods_):
                rows = np.flatnonzero(expert == k)
                out[rows, :, sample] = likelihood.sample(predictions[rows, k], rng)
        return self._shaped(out)
