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


def in_order(given, names, owner):
    """Families in the order of the experts, from a list or a dict by their names."""
    if isinstance(given, dict):
        if {*given} != {*names}:
            raise ValueError(
                f"{owner} got likelihoods for {sorted(given)}, but has the experts "
                f"{list(names)}; give one for each of them."
            )
        return [given[name] for name in names]
    if len(given) != len(names):
        raise ValueError(
            f"{owner} got {len(given)} likelihoods for {len(names)} experts; give one "
            "for each of them."
        )
    return list(given)
