"""Likelihoods turn an expert's prediction into a density of y.

A likelihood is given to a mixture unfitted; after ``fit`` the mixture's
``likelihoods_`` holds one fitted copy per expert, with its dispersion.
"""

from .._stamp import public
from ._base import Likelihood
from ._beta import Beta
from ._categorical import Categorical, smoothed
from ._counts import Binomial, NegativeBinomial, Poisson
from ._gamma import Gamma
from ._gaussian import Gaussian
from ._heteroscedastic import HeteroscedasticGaussian
from ._ordinal import Ordinal
from ._positive import InverseGaussian, LogNormal, Weibull
from ._robust import Laplace, StudentT
from ._search import best_positive
from ._sums import DispersionSums
from ._tweedie import Tweedie
from ._uniform import Uniform
from ._zero import Zero

__all__ = [
    "Beta",
    "Binomial",
    "Categorical",
    "Gamma",
    "Gaussian",
    "HeteroscedasticGaussian",
    "InverseGaussian",
    "Laplace",
    "Likelihood",
    "LogNormal",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
    "Tweedie",
    "Uniform",
    "Weibull",
    "Zero",
    "best_positive",
    "smoothed",
]

public(
    __name__,
    Likelihood,
    best_positive,
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
    DispersionSums,
)
