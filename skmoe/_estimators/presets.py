"""From what the user wrote to objects: gate, router, trainer, experts."""

import numbers

from sklearn.base import clone, is_classifier

from ..experts._base import BuiltInExpert
from ..experts._foreign import is_frozen
from ..gates import ClassifierGate, ConstantGate, GaussianGate, SoftmaxGate
from ..gates._base import BaseGate
from ..likelihoods import (
    Binomial,
    Gamma,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from ..routers import DenseRouter, TopKRouter
from ..trainers import EM, Gradient, HardEM, TwoStage

GATES = {"softmax": SoftmaxGate, "gaussian": GaussianGate, "constant": ConstantGate}
TRAINERS = {
    "em": EM,
    "hard-em": HardEM,
    "gradient": Gradient,
    "two-stage": TwoStage,
}
LIKELIHOODS = {
    "gaussian": Gaussian,
    "heteroscedastic": HeteroscedasticGaussian,
    "student-t": StudentT,
    "laplace": Laplace,
    "poisson": Poisson,
    "negative-binomial": NegativeBinomial,
    "gamma": Gamma,
    "binomial": Binomial,
}


def preset(value, table, name, owner):
    """Object for a string of ``table``; a clone of an object."""
    if not isinstance(value, str):
        return clone(value)
    if value not in table:
        raise ValueError(
            f"{owner} got {name}={value!r}, but expected one of {sorted(table)} or "
            f"an object, such as {name}={next(iter(table.values())).__name__}()."
        )
    return table[value]()


def resolve_gate(gate, owner):
    """Gate object; a classifier is wrapped in ``ClassifierGate``."""
    resolved = preset(gate, GATES, "gate", owner)
    if is_classifier(resolved):
        resolved = ClassifierGate(resolved)
    if not isinstance(resolved, BaseGate):
        raise ValueError(
            f"{owner} got gate={gate!r}, but expected one of {sorted(GATES)}, a gate "
            "of skmoe.gates or a scikit-learn classifier."
        )
    resolved.check()
    return resolved


def resolve_router(router, n_experts, owner):
    """Router object for None, an integer or a router."""
    if router is None:
        return DenseRouter()
    if isinstance(router, numbers.Integral) and not isinstance(router, bool):
        router = TopKRouter(int(router))
    if not hasattr(router, "route"):
        raise ValueError(
            f"{owner} got router={router!r}, but expected None for a dense mixture, "
            "an integer for top-k, or a router such as TopKRouter(2)."
        )
    router = clone(router)
    router.check(n_experts)
    return router


def named_experts(experts, n_experts, default):
    """Names and unfitted experts, from what the user gave.

    Parameters
    ----------
    experts : None, estimator, list of estimators or of (name, estimator)
    n_experts : int
    default : estimator
        What ``None`` stands for.
    """
    if experts is None:
        experts = default
    if not isinstance(experts, (list, tuple)):
        names = [f"expert{k}" for k in range(n_experts)]
        return names, [experts] * n_experts
    pairs = [e if isinstance(e, tuple) else (None, e) for e in experts]
    if all(name is None for name, _ in pairs):
        return default_names([e for _, e in pairs]), [e for _, e in pairs]
    return [name for name, _ in pairs], [expert for _, expert in pairs]


def default_names(experts):
    """Lower-case class names, numbered where they repeat, as ``make_pipeline`` does."""
    names = [type(e).__name__.lower() for e in experts]
    counts = {name: names.count(name) for name in names}
    seen = dict.fromkeys(names, 0)
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name}-{seen[name]}" if counts[name] > 1 else name)
    return unique


def check_names(names, parameters, owner):
    """Refuse names that repeat, equal a parameter, or contain ``__``."""
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise ValueError(
            f"{owner} got experts with the same name {twice}; give each its own."
        )
    for name in names:
        if not isinstance(name, str) or "__" in name or name in parameters:
            raise ValueError(
                f"{owner} got an expert named {name!r}; names must be strings "
                "without '__' that are no parameter of the mixture."
            )


def adapt_expert(expert, name, classify, owner, likelihood=None):
    """The expert for its task and likelihood; an error if it cannot do it."""
    if isinstance(expert, BuiltInExpert):
        expert.check()
        if classify:
            return expert.for_classes()
        if likelihood is None:
            return expert.for_values()
        return expert.for_likelihood(likelihood)
    needed = ("fit", "predict_proba" if classify else "predict")
    missing = [m for m in needed if not _has(expert, m)]
    if isinstance(expert, type) or missing:
        what = "classifier with predict_proba" if classify else "regressor"
        raise ValueError(
            f"{owner} got expert {name!r}={expert!r}, but expected an instance of a "
            f"{what}" + (f"; it has no {missing[0]}." if missing else ".")
        )
    if not classify and is_classifier(expert):
        raise ValueError(
            f"{owner} got expert {name!r}={expert!r}, a classifier; use regressors, "
            "or MoEClassifier."
        )
    return expert if is_frozen(expert) else clone(expert)


def _has(expert, method):
    # A stack has what its final estimator has, which None hides until it is fitted.
    hidden = getattr(expert, "final_estimator", expert) is None
    return hasattr(type(expert) if hidden else expert, method)
