"""Means, variances, distribution functions and quantiles of likelihoods in a graph."""

import numpy as np
from scipy import special

from ...likelihoods import (
    Beta,
    Binomial,
    Categorical,
    Gamma,
    Gaussian,
    HeteroscedasticGaussian,
    InverseGaussian,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
    Tweedie,
    Uniform,
    Weibull,
    Zero,
)
from ...likelihoods._links import (
    LARGEST_CHANCE,
    LARGEST_MEAN,
    LARGEST_PREDICTOR,
    LEAST_MEAN,
)
from ...likelihoods._robust import t_quantile
from ._linear import sigmoid
from ._registry import register_likelihood
from ._special import normal_cdf, student_cdf

# Distribution functions and quantiles are those of one family each; all arguments are
# (likelihood, graph, prediction (n, d), inputs, ...), see ``register_likelihood``.


def positive(own, graph, prediction, inputs):
    """Means of a positive family, brought into their range."""
    return graph.op("Clip", prediction, LEAST_MEAN, LARGEST_MEAN)


def chance(own, graph, prediction, inputs):
    """Chances, kept away from zero and one."""
    return graph.op("Clip", prediction, LEAST_MEAN, LARGEST_CHANCE)


def constant(graph, prediction, row):
    """A matrix of the shape of predictions with the same row (d,)."""
    return graph.op("Add", graph.op("Mul", prediction, 0.0), np.asarray(row, float))


def _standardised(graph, y, prediction, scale):
    return graph.op("Div", graph.op("Sub", y, prediction), scale)


def _located(graph, prediction, z, scale):
    return graph.op("Add", prediction, graph.op("Mul", scale, z))


# -- normal densities ---------------------------------------------------------


def _sigma(own, prediction_width=None):
    return np.sqrt(np.diag(own._full)) if own._full is not None else own.sigma_


def _normal_variance(own, graph, prediction, inputs):
    return constant(graph, prediction, np.square(_sigma(own)))


def _normal_cdf(own, graph, prediction, inputs, y):
    return normal_cdf(graph, _standardised(graph, y, prediction, _sigma(own)))


def _normal_quantile(own, graph, prediction, inputs, level):
    return graph.op("Add", prediction, special.ndtri(level) * np.asarray(_sigma(own)))


def _row_variance(own, graph, prediction, inputs):
    """Variances (n, d) that the model of an expert predicts."""
    from ._experts import raw

    if own.model_ is None:
        return constant(graph, prediction, np.square(own.sigma_))
    variance = raw(own.model_, graph, inputs, "the model of a variance")
    low, high = own.range_
    held = graph.op("Min", graph.op("Max", variance, low), high)
    return graph.op("Max", held, own._least())


def _row_sigma(own, graph, prediction, inputs):
    # In the graph of the inputs, so that no loop asks the model anew.
    variance = _row_variance(own, inputs.graph, prediction, inputs)
    return inputs.graph.op("Sqrt", variance)


def _row_cdf(own, graph, prediction, inputs, y):
    sigma = _row_sigma(own, graph, prediction, inputs)
    return normal_cdf(graph, _standardised(graph, y, prediction, sigma))


def _row_quantile(own, graph, prediction, inputs, level):
    sigma = _row_sigma(own, graph, prediction, inputs)
    return _located(graph, prediction, special.ndtri(level), sigma)


# -- heavy tails --------------------------------------------------------------


def _student_variance(own, graph, prediction, inputs):
    row = own.variance_of(np.zeros((1, np.size(own.sigma_))))[0]
    return constant(graph, prediction, row)


def _student_cdf(own, graph, prediction, inputs, y):
    z = _standardised(graph, y, prediction, own.sigma_)
    return student_cdf(graph, z, np.asarray(own.df_, dtype=float))


def _student_quantile(own, graph, prediction, inputs, level):
    z = t_quantile(level, np.asarray(own.df_, dtype=float))
    return _located(graph, prediction, z, own.sigma_)


def _laplace_variance(own, graph, prediction, inputs):
    return constant(graph, prediction, 2.0 * np.square(own.scale_))


def _laplace_cdf(own, graph, prediction, inputs, y):
    z = _standardised(graph, y, prediction, own.scale_)
    tail = graph.op("Mul", graph.op("Exp", graph.op("Neg", graph.op("Abs", z))), 0.5)
    above = graph.op("Sub", 1.0, tail)
    return graph.op("Where", graph.op("Less", z, 0.0), tail, above)


def _laplace_quantile(own, graph, prediction, inputs, level):
    z = np.log(2.0 * min(level, 1.0 - level)) * (1.0 if level < 0.5 else -1.0)
    return graph.op("Add", prediction, z * np.asarray(own.scale_))


# -- positive amounts ---------------------------------------------------------


def _poisson_variance(own, graph, prediction, inputs):
    return positive(own, graph, prediction, inputs)


def _by_square(factor):
    """Variance that is a factor, by the likelihood, times the square of the mean."""

    def variance(own, graph, prediction, inputs):
        mean = positive(own, graph, prediction, inputs)
        return graph.op("Mul", mean, graph.op("Mul", mean, factor(own)))

    return variance


def _weibull_factor(own):
    inverse = 1.0 / np.asarray(own.shape_, dtype=float)
    square = special.gammaln(1 + 2 * inverse) - 2 * special.gammaln(1 + inverse)
    return np.expm1(square)


def _log_normal_factor(own):
    return np.expm1(np.minimum(np.square(own.sigma_), LARGEST_PREDICTOR))


def _gamma_factor(own):
    return 1.0 / np.asarray(own.shape_, dtype=float)


def _negative_variance(own, graph, prediction, inputs):
    mean = positive(own, graph, prediction, inputs)
    more = graph.op("Mul", mean, graph.op("Div", mean, own.theta_))
    return graph.op("Add", mean, more)


def _inverse_variance(own, graph, prediction, inputs):
    mean = positive(own, graph, prediction, inputs)
    square = graph.op("Mul", mean, graph.op("Div", mean, own.shape_))
    return graph.op("Mul", mean, square)


def _tweedie_variance(own, graph, prediction, inputs):
    mean = positive(own, graph, prediction, inputs)
    return graph.op("Mul", graph.op("Pow", mean, float(own.power)), own.phi_)


def _log_mean(own, graph, prediction):
    mean = graph.op("Log", positive(own, graph, prediction, None))
    return graph.op("Sub", mean, 0.5 * np.square(own.sigma_))


def _log_normal_cdf(own, graph, prediction, inputs, y):
    log_y = graph.op("Log", graph.op("Max", y, np.finfo(float).tiny))
    center = _log_mean(own, graph, prediction)
    return normal_cdf(graph, _standardised(graph, log_y, center, own.sigma_))


def _log_normal_quantile(own, graph, prediction, inputs, level):
    shift = special.ndtri(level) * np.asarray(own.sigma_)
    return graph.op("Exp", graph.op("Add", _log_mean(own, graph, prediction), shift))


def _weibull_scale(own, graph, prediction):
    inverse = 1.0 / np.asarray(own.shape_, dtype=float)
    mean = positive(own, graph, prediction, None)
    return graph.op("Mul", mean, np.exp(-special.gammaln(1.0 + inverse)))


def _weibull_cdf(own, graph, prediction, inputs, y):
    y = graph.op("Max", y, 0.0)
    ratio = graph.op("Div", y, _weibull_scale(own, graph, prediction))
    hazard = graph.op("Pow", ratio, np.asarray(own.shape_, dtype=float))
    return graph.op("Sub", 1.0, graph.op("Exp", graph.op("Neg", hazard)))


def _weibull_quantile(own, graph, prediction, inputs, level):
    power = (-np.log1p(-level)) ** (1.0 / np.asarray(own.shape_, dtype=float))
    return graph.op("Mul", _weibull_scale(own, graph, prediction), power)


# -- chances, levels, and what has no expert ----------------------------------


def _indicator_variance(own, graph, prediction, inputs):
    return graph.op("Mul", prediction, graph.op("Sub", 1.0, prediction))


def _binomial_variance(own, graph, prediction, inputs):
    mean = chance(own, graph, prediction, inputs)
    return _indicator_variance(own, graph, mean, inputs)


def _beta_variance(own, graph, prediction, inputs):
    spread = _binomial_variance(own, graph, prediction, inputs)
    return graph.op("Div", spread, 1.0 + np.asarray(own.precision_))


def _above(own, graph, prediction):
    """Chances (n, d, L) that a level is above each threshold."""
    cuts = np.atleast_2d(own.thresholds_)[None]
    at = graph.op("Unsqueeze", prediction, np.array([2]))
    return sigmoid(graph, graph.op("Sub", at, cuts))


def _level_mean(own, graph, prediction, inputs):
    return graph.sum(_above(own, graph, prediction), axis=2, keepdims=0)


def _level_variance(own, graph, prediction, inputs):
    above = _above(own, graph, prediction)
    n_cuts = np.atleast_2d(own.thresholds_).shape[1]
    weighted = graph.op("Mul", above, 2.0 * np.arange(n_cuts) + 1.0)
    square = graph.sum(weighted, axis=2, keepdims=0)
    mean = graph.sum(above, axis=2, keepdims=0)
    left = graph.op("Sub", square, graph.op("Mul", mean, mean))
    return graph.op("Max", left, 0.0)


def _uniform_mean(own, graph, prediction, inputs):
    return graph.op("Add", prediction, (np.asarray(own.low_) + own.high_) / 2.0)


def _uniform_variance(own, graph, prediction, inputs):
    row = own.variance_of(np.zeros((1, np.size(own.low_))))[0]
    return constant(graph, prediction, row)


def _uniform_cdf(own, graph, prediction, inputs, y):
    width = np.subtract(own.high_, own.low_)
    below = graph.op("Sub", graph.op("Sub", y, prediction), own.low_)
    return graph.op("Clip", graph.op("Div", below, width), 0.0, 1.0)


def _uniform_quantile(own, graph, prediction, inputs, level):
    width = np.subtract(own.high_, own.low_)
    return graph.op("Add", prediction, np.asarray(own.low_) + level * width)


def _zeros(own, graph, prediction, inputs):
    return graph.op("Mul", prediction, 0.0)


register_likelihood(
    Gaussian, variance=_normal_variance, cdf=_normal_cdf, quantile=_normal_quantile
)
register_likelihood(
    HeteroscedasticGaussian,
    variance=_row_variance,
    cdf=_row_cdf,
    quantile=_row_quantile,
)
register_likelihood(
    StudentT, variance=_student_variance, cdf=_student_cdf, quantile=_student_quantile
)
register_likelihood(
    Laplace, variance=_laplace_variance, cdf=_laplace_cdf, quantile=_laplace_quantile
)
register_likelihood(
    LogNormal,
    mean=positive,
    variance=_by_square(_log_normal_factor),
    cdf=_log_normal_cdf,
    quantile=_log_normal_quantile,
)
register_likelihood(
    Weibull,
    mean=positive,
    variance=_by_square(_weibull_factor),
    cdf=_weibull_cdf,
    quantile=_weibull_quantile,
)
register_likelihood(Gamma, mean=positive, variance=_by_square(_gamma_factor))
register_likelihood(Poisson, mean=positive, variance=_poisson_variance)
register_likelihood(NegativeBinomial, mean=positive, variance=_negative_variance)
register_likelihood(InverseGaussian, mean=positive, variance=_inverse_variance)
register_likelihood(Tweedie, mean=positive, variance=_tweedie_variance)
register_likelihood(Binomial, mean=chance, variance=_binomial_variance)
register_likelihood(Beta, mean=chance, variance=_beta_variance)
register_likelihood(Categorical, variance=_indicator_variance)
register_likelihood(Ordinal, mean=_level_mean, variance=_level_variance, alike=False)
register_likelihood(
    Uniform,
    mean=_uniform_mean,
    variance=_uniform_variance,
    cdf=_uniform_cdf,
    quantile=_uniform_quantile,
    alike=False,
)
register_likelihood(Zero, mean=_zeros, variance=_zeros, alike=False)
