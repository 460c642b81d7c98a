"""Families of densities by name, and what stands beside them."""

from ..likelihoods import (
    Beta,
    Binomial,
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
    Weibull,
)
from ..routers import DenseRouter

LIKELIHOODS = {
    "gaussian": Gaussian,
    "heteroscedastic": HeteroscedasticGaussian,
    "student-t": StudentT,
    "laplace": Laplace,
    "poisson": Poisson,
    "negative-binomial": NegativeBinomial,
    "binomial": Binomial,
    "gamma": Gamma,
    "weibull": Weibull,
    "log-normal": LogNormal,
    "inverse-gaussian": InverseGaussian,
    "tweedie": Tweedie,
    "beta": Beta,
    "ordinal": Ordinal,
}


def check_zeros(asked, likelihood, router):
    """Raise ``ValueError`` for zeros that make no sense beside other parts."""
    wrong = None
    if asked.noise:
        wrong = f"noise={asked.noise!r}", "a mixture has one of them; leave one out"
    elif likelihood.atom is not None or likelihood.support[0] != 0.0:
        wrong = (
            f"likelihood={asked.likelihood!r}",
            "zeros are told apart from counts, and from amounts that have none; use a "
            "family such as 'poisson' or 'gamma'",
        )
    elif type(router) is not DenseRouter:
        wrong = f"router={asked.router!r}", "zeros are no choice; use router=None"
    if wrong is not None:
        raise ValueError(
            f"{asked.owner} got zero_inflation={asked.zero_inflation!r} with "
            f"{wrong[0]}, but {wrong[1]}."
        )
