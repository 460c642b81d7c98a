"""What the predictive density of a fitted regressor says: quantiles, modes, draws."""

from __future__ import annotations

import numbers

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .. import mixture
from .._typing import Table
from . import answers

# Rows whose quantiles are sought at a time, so that their experts stay in cache.
BLOCK_ROWS = 16_384


class Predictive:
    """Methods that read the whole density of a mixture for regression."""

    def outlier_proba(
        self,
        X: Table,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
        """Probability that a row, or a group of rows, is noise, given x and y.

        Beyond the range of y in training, where noise has no density, it counts with
        the height that it has within: what lies far outside is an outlier too.

        Parameters
        ----------
        X : array-like or data frame of shape (n, p)
        y : array-like of shape (n,) or (n, n_outputs)
        groups, offset, trials : array-like of shape (n,), default=None
            As in :meth:`fit`.

        Returns
        -------
        ndarray of shape (n,), or (n_groups,) in order of first appearance

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
        own = answers.fitted_mixture(self)
        if not own.has_noise:
            raise AttributeError(
                f"{type(self).__name__} has no outlier_proba without a noise "
                "component; fit it with noise=True."
            )
        log_gate, log_prob = answers.log_parts(self, X, y, offset=offset, trials=trials)
        noise = own.is_noise()
        for k in np.flatnonzero(noise):
            log_prob[:, k] = own.likelihoods[k].log_height()
        subjects = answers.given_subjects(self, log_gate, groups)
        log_gate, log_prob = answers.of_subjects(log_gate, log_prob, subjects)
        return mixture.responsibilities(log_gate, log_prob)[:, noise].sum(axis=1)

    def predict_quantile(
        self,
        X: Table,
        q: ArrayLike = 0.5,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
        """Quantiles of the mixture.

        The distribution function of the mixture is inverted row by row; it lies
        between those of its experts, so that the root is bracketed from the start.
        After training in two stages the levels are those that came true for rows left
        out, see :class:`~skmoe.trainers.TwoStage`.

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
        own, seen = answers.see(self, X, offset=offset, trials=trials)
        components = own.components(seen)
        n, _, d = components.predictions.shape
        out = np.empty((n, d, levels.size))
        for start in range(0, n, BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            block = components.on_rows(rows)
            for i, level in enumerate(levels.flat):
                out[rows, :, i] = mixture.quantile(own.level(level), block)
        # Where spreads are near rounding, neighbours may end a bit apart.
        order = np.argsort(levels, axis=None)
        out[:, :, order] = np.maximum.accumulate(out[:, :, order], axis=2)
        return own.target.shaped(out.reshape(n, d, *levels.shape))

    def predict_interval(
        self,
        X: Table,
        coverage: float = 0.9,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
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

    def predict_mode(
        self,
        X: Table,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
        """Mean of the most probable expert of each row, noise left out.

        Where y are levels in order, it is the most likely one of that expert.

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
        own, seen = answers.see(self, X, offset=offset, trials=trials)
        components = own.explained(seen)
        best = components.weights.argmax(axis=1)
        return own.target.shaped(components.modes()[np.arange(len(best)), best])

    def sample_y(
        self,
        X: Table,
        n_samples: int = 1,
        random_state: int | RandomState | None = None,
        *,
        offset: ArrayLike | None = None,
        trials: ArrayLike | None = None,
    ) -> NDArray:
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
        mixed, seen = answers.see(self, X, offset=offset, trials=trials)
        components = mixed.components(seen)
        n, _, d = components.predictions.shape
        out = np.empty((n, d, n_samples))
        for sample in range(n_samples):
            expert = chosen(components.weights, rng.uniform(size=n))
            found = drawn(components, expert, rng)
            out[:, :, sample] = mixed.calibrated(found, components)
        return mixed.target.shaped(out)


def chosen(weights, level):
    """Places (n,) in rows of weights (n, K) that levels (n,) in [0, 1) lead to."""
    ends = np.cumsum(weights, axis=1)
    place = level[:, None] * ends[:, -1:]
    return np.minimum((place >= ends).sum(axis=1), weights.shape[1] - 1)


def drawn(components, expert, rng):
    """Targets (n, d) of rows, each from the density of one expert (n,)."""
    n, n_experts, d = components.predictions.shape
    out = np.empty((n, d))
    for k in range(n_experts):
        rows = np.flatnonzero(expert == k)
        own = components.on_rows(rows)
        likelihood, at = own.likelihoods[k], own.predictions[:, k]
        out[rows] = likelihood.sample(at, rng, own.size)
    return out
