"""Whether a likelihood keeps its promises."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.base import BaseEstimator

from ..likelihoods import Likelihood
from ..likelihoods._links import INVERSE_LINKS, LINKS
from ._common import check_count, check_parameters, close

N_ROWS, N_DRAWS = 200, 4000
# Levels between which densities are integrated.
LEVELS = 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999
GRID, STEP = 4001, 1e-5
# Largest distance of a distribution function from that of so many draws.
MOST_DISTANCE = 2.0 / np.sqrt(N_DRAWS)


def check_likelihood(
    likelihood: BaseEstimator,
    y: ArrayLike | None = None,
    prediction: ArrayLike | None = None,
    size: ArrayLike | None = None,
) -> None:
    """Raise ``AssertionError`` where a family of densities breaks the protocol.

    Densities must integrate to what their distribution function says, quantiles
    invert it, draws follow it, means and variances be theirs, and derivatives be
    those of the logarithm.  The fitted dispersion must count a weight of two as two
    rows and a weight of zero as none, and be no worse than any that was fitted to
    other rows.

    Parameters
    ----------
    likelihood : likelihood
    y : array-like of shape (n, n_outputs), default=None
        Targets; 200 rows in the support by default.
    prediction : array-like of shape (n, n_outputs), default=None
        Predictions of the targets.
    size : array-like of shape (n,), default=None
        Exposures or numbers of trials; by default some, where the family takes them.

    Examples
    --------
    >>> from skmoe.likelihoods import Gamma
    >>> from skmoe.testing import check_likelihood
    >>> check_likelihood(Gamma())
    """
    assert isinstance(likelihood, Likelihood), "a likelihood derives from Likelihood"
    check_parameters(likelihood)
    likelihood.check()
    assert likelihood.link in LINKS, f"link is one of {[*LINKS]}"
    assert likelihood.takes in (None, "offset", "trials"), "takes is one of three"
    if y is None:
        y, prediction, size = _rows(likelihood)
    likelihood.check_target(y, size)
    finite = np.isfinite(likelihood.predictor(y, size))
    assert finite.all(), "predictor is a number, to start from"
    fitted = _check_fits(likelihood, y, prediction, size)
    at = fitted.usable(prediction)
    np.testing.assert_array_equal(fitted.usable(at), at, "usable twice is usable once")
    _check_density(fitted, at, size)
    _check_moments(fitted, at, size)
    _check_draws(fitted, at, size)
    _check_derivatives(fitted, y, at, size)


def _rows(likelihood):
    """Targets in the support, predictions of them, and sizes or None."""
    rng = np.random.default_rng(0)
    linear = rng.normal(size=(N_ROWS, 1))
    prediction = INVERSE_LINKS[likelihood.link](0.5 * linear)
    size = None
    if likelihood.takes == "trials":
        size = rng.integers(1, 9, size=N_ROWS).astype(float)
        y = rng.binomial(size[:, None].astype(int), prediction).astype(float)
    elif likelihood.takes == "offset":
        size = rng.uniform(0.5, 2.0, size=N_ROWS)
    mean = prediction if size is None else prediction * size[:, None]
    if likelihood.takes == "trials":
        return y, prediction, size
    if likelihood.discrete and likelihood.link == "identity":
        y = np.clip(np.rint(2.0 + mean + rng.normal(size=mean.shape)), 0.0, 4.0)
    elif likelihood.discrete:
        y = rng.poisson(mean * rng.gamma(2.0, 0.5, size=mean.shape)).astype(float)
    elif likelihood.link == "log":
        # A third of them are the value that has a probability of its own.
        kept = 1.0 if likelihood.atom is None else rng.uniform(size=mean.shape) > 0.3
        y = kept * mean * rng.gamma(2.0, 0.5, size=mean.shape)
    else:
        y = _within(likelihood.support, mean + 0.3 * rng.normal(size=mean.shape))
    return y, prediction, size


def _within(support, values):
    """Values that lie inside the support."""
    low, high = np.clip(support, -1e9, 1e9)
    return np.clip(values, low + 1e-3, high - 1e-3)


def _fit(likelihood, y, prediction, weight, size):
    (fitted,) = likelihood.fit_dispersions(
        y, [prediction], np.reshape(weight, (-1, 1)), size=size
    )
    return fitted


def _check_fits(likelihood, y, prediction, size):
    """The likelihood as it is fitted, if weights are numbers of rows."""
    rng = np.random.default_rng(1)
    weight = rng.integers(1, 4, size=len(y)).astype(float)
    before = repr(likelihood)
    fitted = _fit(likelihood, y, prediction, weight, size)
    assert repr(likelihood) == before, "fitting leaves the likelihood as it is"
    assert type(fitted) is type(likelihood), "a fitted copy is of the same kind"
    check_count(fitted.n_parameters_)
    rows = np.repeat(np.arange(len(y)), weight.astype(int))
    sizes = None if size is None else size[rows]
    repeated = _fit(likelihood, y[rows], prediction[rows], np.ones(len(rows)), sizes)
    own, other = (x.log_prob(y, prediction, size) for x in (fitted, repeated))
    close(other, own, "a weight of two is two rows", 1e-4, 1e-5)
    some = weight * (np.arange(len(y)) < len(y) // 2)
    alone = _fit(likelihood, y, prediction, some, size)
    total = weight @ own
    other = weight @ alone.log_prob(y, prediction, size)
    assert total >= other - 1e-6 * abs(total), "no other dispersion is likelier"
    beside = np.column_stack([weight, np.zeros(len(y))])
    _, kept = likelihood.fit_dispersions(
        y, [prediction] * 2, beside, size=size, previous=[fitted] * 2
    )
    close(kept.log_prob(y, prediction, size), own, "without rows it stays as it was")
    return fitted


def _one(values, row):
    return None if values is None else values[[row]]


def _check_density(fitted, prediction, size):
    """Whether densities, distribution function and quantiles fit together."""
    for row in (0, 1):
        at, own = prediction[[row]], _one(size, row)
        levels = [p for p in LEVELS if p > _share_of_atom(fitted, at, own)]
        quantiles = [fitted.quantile(level, at, own)[0, 0] for level in levels]
        assert np.all(np.diff(quantiles) >= 0), "quantiles rise with the level"
        for level, quantile in zip(levels, quantiles, strict=True):
            found = fitted.cdf(np.array([[quantile]]), at, own)[0, 0]
            if fitted.discrete:
                below = fitted.cdf(np.array([[quantile - 1.0]]), at, own)[0, 0]
                least = found >= level * (1.0 - 1e-9) and below < level
                assert least, "the quantile is the least count that reaches the level"
            else:
                close(found, level, "cdf of a quantile is its level", 1e-6)
        low, high = quantiles[0], quantiles[-1]
        t, step = _grid(fitted, low, high)
        many = np.repeat(at, len(t), axis=0)
        sizes = None if own is None else np.repeat(own, len(t))
        density = np.exp(fitted.log_prob(t[:, None], many, sizes))
        ends = fitted.cdf(np.array([[low], [high]]), at.repeat(2, 0), _sizes(own, 2))
        mass = ends[1, 0] - ends[0, 0]
        found = density[1:].sum() if fitted.discrete else np.trapezoid(density, dx=step)
        close(found, mass, "densities add up to what cdf says", 2e-3, 1e-6)


def _share_of_atom(fitted, prediction, size):
    """Probability of the value that has one of its own, which quantiles stay at."""
    if fitted.atom is None:
        return 0.0
    at = np.full(prediction.shape, float(fitted.atom))
    share, found = fitted.cdf(at, prediction, size), fitted.quantile(0.0, prediction)
    logarithm = fitted.log_prob(at, prediction, size)
    close(np.exp(logarithm), share[:, 0], "an atom has the probability of log_density")
    np.testing.assert_array_equal(found, at, "the atom is the least value")
    return share[0, 0]


def _sizes(size, n_rows):
    """The size of one row for many."""
    return None if size is None else np.repeat(size, n_rows)


def _grid(fitted, low, high):
    """Points from ``low`` to ``high``, and the step between them."""
    if fitted.discrete:
        return np.arange(low, high + 1.0), 1.0
    return np.linspace(low, high, GRID, retstep=True)


def _check_moments(fitted, prediction, size):
    """Whether means and variances are those of the quantiles."""
    levels = (np.arange(20_000) + 0.5) / 20_000
    for row in (0, 1):
        at, own = prediction[[row]], _one(size, row)
        many, sizes = np.repeat(at, len(levels), axis=0), _sizes(own, len(levels))
        values = fitted.quantile(levels[:, None], many, sizes)[:, 0]
        mean = fitted.mean(at, own)[0, 0]
        variance = fitted.variance_of(at, own)[0, 0]
        if not np.isfinite(variance):
            continue
        spread = 0.02 * np.sqrt(variance)
        close(values.mean(), mean, "mean is that of the density", 0.02, spread)
        close(values.var(), variance, "variance_of is that of the density", 0.05, 1e-9)


def _check_draws(fitted, prediction, size):
    """Whether draws follow the distribution function."""
    many = np.repeat(prediction[:1], N_DRAWS, axis=0)
    sizes = None if size is None else np.repeat(size[:1], N_DRAWS)
    draws = fitted.sample(many, np.random.default_rng(2), sizes)
    assert draws.shape == many.shape, "one draw per row and output"
    again = fitted.sample(many, np.random.default_rng(2), sizes)
    np.testing.assert_array_equal(draws, again, "draws follow the random numbers")
    fitted.check_target(draws, sizes)
    upper = fitted.cdf(draws, many, sizes)[:, 0]
    lower = fitted.cdf(draws - 1.0, many, sizes)[:, 0] if fitted.discrete else upper
    lower = np.where(draws[:, 0] == fitted.atom, 0.0, lower)
    # Between the two a count is as good as any number.
    levels = lower + np.random.default_rng(3).uniform(size=N_DRAWS) * (upper - lower)
    distance = stats.kstest(levels, "uniform").statistic
    assert distance < MOST_DISTANCE, "draws follow cdf"


def _check_derivatives(fitted, y, prediction, size):
    """Whether the slope is that of the logarithm, and the curvature positive."""
    slope, curvature = fitted.derivatives(y, prediction, size)
    assert slope.shape == y.shape, "derivatives: a slope per row and output"
    assert np.all(curvature >= 0), "derivatives: the curvature is not negative"
    link, inverse = LINKS[fitted.link], INVERSE_LINKS[fitted.link]
    at = link(prediction)
    step = STEP * (np.sqrt(fitted.variance_of(prediction, size)).mean())
    step = STEP if fitted.link != "identity" or not np.isfinite(step) else step
    up, down = (
        fitted.log_density(y, fitted.usable(inverse(at + own)), size)
        for own in (step, -step)
    )
    found = (up - down) / (2.0 * step)
    scale = 1e-3 * np.abs(found).max()
    close(slope, found, "derivatives: the slope is that of log_density", 1e-3, scale)
