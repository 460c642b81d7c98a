"""From what the user wrote to unfitted parts: gate, experts, trainer, router."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

from sklearn.base import clone, is_classifier

from .._numerics.tree import Tree
from .._stamp import Stamped
from ..experts import AdditiveExpert, LinearExpert, MLPExpert
from ..experts._base import BuiltInExpert, is_frozen
from ..experts._noise import NOISE, ZERO, NoiseExpert, ZeroExpert
from ..gates import (
    AdditiveGate,
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    MLPGate,
    SoftmaxGate,
)
from ..gates._base import BaseGate
from ..gates._tree import NoiseTreeGate
from ..likelihoods import Categorical, Likelihood
from ..likelihoods._base import is_listed
from ..likelihoods._families import Families
from ..likelihoods._zero import BesideZeros
from ..routers import DenseRouter, TopKRouter
from ..routers._base import BaseRouter, is_count
from ..trainers import EM, Gradient, HardEM, Trainer, TwoStage
from .families import LIKELIHOODS, check_zeros, in_order

EXPERTS = {"linear": LinearExpert, "additive": AdditiveExpert, "mlp": MLPExpert}
GATES = {
    "softmax": SoftmaxGate,
    "additive": AdditiveGate,
    "mlp": MLPGate,
    "gaussian": GaussianGate,
    "constant": ConstantGate,
}
TRAINERS = {
    "em": EM,
    "hard-em": HardEM,
    "gradient": Gradient,
    "two-stage": TwoStage,
}
# Pools stand above the mixtures, which are among their members: the package fills in.
POOLS: dict[str, type] = {}
# Value of ``n_experts`` by which rows that are held out say how many, and the most.
AUTO, BOUND = "auto", 4
# Value of ``noise`` by which its share is the same for every row.
CONSTANT = "constant"
# More are no mixture, and would exhaust memory before anything is read.
MOST_EXPERTS = 2**16
# Names beside those of the experts: of the shared expert, and of the trainer's
# splitter in metadata routing.
SHARED = "shared_expert"
SPLITTER = "splitter"


class PoolMember(NamedTuple):
    """A member of a pool.

    Attributes
    ----------
    name : str
    estimator : unfitted estimator
    dropped : str or None
        Why it was left out; None if it is an expert of the mixture.
    """

    name: str
    estimator: Any
    dropped: str | None

    def idle(self):
        """The member, which was fitted and left out."""
        return self._replace(dropped="adds nothing to the others")


class Pool(Stamped):
    """Base of what stands for different experts until it has seen the table."""

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""

    def encoding(self):
        """Unfitted transformer from raw columns to numbers, for the gate."""
        raise NotImplementedError

    def members(self, classify):
        """Names and unfitted estimators, of classifiers or of regressors."""
        raise NotImplementedError

    def screen(self, names, experts, X, y, apart=(), correction=None):
        """A ``PoolMember`` for each, with the reason of those that are left out."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Asked:
    """What the user wrote, before anything is made of it.

    Attributes
    ----------
    owner : str, class of the mixture, for messages
    classify : bool, whether it predicts classes
    parameters : names of its parameters, which no expert may have
    others : parameters of the mixture by their names
    """

    owner: str
    classify: bool
    parameters: frozenset
    experts: Any
    n_experts: int
    gate: Any
    router: Any
    trainer: Any
    shared_expert: Any
    gate_features: Any
    expert_features: Any
    likelihood: Any = None
    noise: Any = False
    zero_inflation: Any = False

    @property
    def variance_model(self):
        """Estimator that predicts variances from what experts see, or None."""
        asked = isinstance(self.likelihood, Likelihood)
        return self.likelihood.model if asked else None

    @property
    def chooses_columns(self):
        """Whether gate, or experts, are given other columns than those of X."""
        return self.gate_features is not None or self.expert_features is not None

    @cached_property
    def bare(self):
        """Names and unfitted experts of the components that stand for none."""
        found = [(NOISE, NoiseExpert())] if self.noise else []
        return [*found, (ZERO, ZeroExpert())] if self.zero_inflation else found

    @property
    def n_bare(self):
        """How many there are: none, or one."""
        return len(self.bare)

    @property
    def bare_parameter(self):
        """The parameter by which the user asked for one."""
        if self.noise:
            return f"noise={self.noise!r}"
        return f"zero_inflation={self.zero_inflation!r}"

    @cached_property
    def pool(self):
        """The pool that gives the experts, or None."""
        return pool_of(self.experts)

    @cached_property
    def named(self):
        """Names and experts, as two lists."""
        if self.pool is not None:
            return self.pool.members(self.classify)
        return named_experts(self.experts, self.n_experts)

    @cached_property
    def by_name(self):
        """Experts by name, the shared one included."""
        named = dict(zip(*self.named, strict=True))
        if self.shared_expert is not None:
            named[SHARED] = self.shared_expert
        return named

    def features_of(self, name):
        """Specification of the columns of a named expert, or of the shared one.

        A specification for all is one for the routed experts: the shared expert sees
        X as it is, unless a dict names it.
        """
        if isinstance(self.expert_features, dict):
            return self.expert_features.get(name)
        return None if name == SHARED else self.expert_features


def asked_of(model, n_experts=None):
    """What the user wrote, of a mixture; "auto" is as many experts as there may be."""
    given = model.get_params(deep=False)
    own = {f.name: given[f.name] for f in fields(Asked) if f.name in given}
    # A tree of gates says itself how many leaves it has.
    known = model.n_experts if n_experts is None else n_experts
    most = len(own["likelihood"]) if is_listed(own.get("likelihood")) else BOUND
    own["n_experts"] = most if known == AUTO else known
    return Asked(type(model).__name__, model._classify, frozenset(given), **own)


class ResolvedParts(NamedTuple):
    """Unfitted parts of a mixture, as objects.

    Attributes
    ----------
    asked : Asked
    gate, names, experts, trainer, router, likelihood, shared : parts; experts are a
        list, with noise as the last one, and ``shared`` may be None
    least_rows : int or None, rows that a fit must have; None for one per expert
    """

    asked: Asked
    gate: object
    names: list
    experts: list
    trainer: object
    router: object
    likelihood: object
    shared: object
    least_rows: int | None = None

    @property
    def support(self):
        """What checks targets: the likelihood, or its ``BesideZeros``."""
        apart = self.asked.zero_inflation and not self.likelihood.discrete
        return BesideZeros(self.likelihood) if apart else self.likelihood

    def by_name(self):
        """Experts by name, the shared one included."""
        named = dict(zip(self.names, self.experts, strict=True))
        return named if self.shared is None else {**named, SHARED: self.shared}


def resolve(asked, whole_gate):
    """Objects for what the user wrote, checked and cloned, noise included.

    Parameters
    ----------
    asked : Asked
    whole_gate : callable
        Of ``asked``, the resolved gate and the number of experts: the gate over all.
    """
    owner = asked.owner
    gate = resolve_gate(asked.gate, owner)
    _check_pool(asked)
    names, experts = asked.named
    if not names:
        raise ValueError(f"{owner} got experts=[], but expected at least one.")
    likelihood = resolve_likelihood(asked)
    check_names(names, {*asked.parameters, SPLITTER, *dict(asked.bare)}, owner)
    experts = [
        adapt_expert(e, name, asked.classify, owner, likelihood.of_expert(k))
        for k, (name, e) in enumerate(zip(names, experts, strict=True))
    ]
    trainer = preset(asked.trainer, TRAINERS, "trainer", owner)
    check_base(trainer, Trainer, "trainer", owner)
    router = resolve_router(asked.router, len(experts), owner)
    gate = whole_gate(asked, gate, len(experts))
    if asked.zero_inflation:
        check_zeros(asked, likelihood, router)
    names = [*names, *(name for name, _ in asked.bare)]
    experts += [expert for _, expert in asked.bare]
    router = router.of_experts(names)
    shared = _resolve_shared(asked, names, experts)
    return ResolvedParts(
        asked, gate, names, experts, trainer, router, likelihood, shared
    )


def flat_gate(asked, gate, n_experts):
    """The gate over experts, and over noise where its share is constant."""
    if asked.noise != CONSTANT:
        return gate
    return NoiseTreeGate(gate, Tree(((None,) * n_experts, None)))


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


def check_base(part, base, name, owner):
    """Raise ``ValueError`` unless a part derives from the base of its kind."""
    if not isinstance(part, base):
        raise ValueError(
            f"{owner} got {name}={part!r}, but expected a {name} that derives from "
            f"{base.__module__}.{base.__name__}, which says what it owes."
        )


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
    if is_count(router):
        router = TopKRouter(int(router))
    if not isinstance(router, BaseRouter):
        raise ValueError(
            f"{owner} got router={router!r}, but expected None for a dense mixture, "
            "an integer for top-k, or a router such as TopKRouter(2)."
        )
    router = clone(router)
    router.check(n_experts)
    return router


def resolve_likelihood(asked):
    """Likelihood object; that of classes is the categorical one."""
    if asked.classify:
        return Categorical()
    if not is_listed(asked.likelihood):
        likelihood = _family(asked.likelihood, asked.owner)
    else:
        given = in_order(asked.likelihood, asked.named[0], asked.owner)
        likelihood = Families([_family(own, asked.owner) for own in given])
    likelihood.check()
    return likelihood


def _family(given, owner):
    """Likelihood of values for a string or an object."""
    likelihood = preset(given, LIKELIHOODS, "likelihood", owner)
    check_base(likelihood, Likelihood, "likelihood", owner)
    if isinstance(likelihood, Categorical):
        raise ValueError(
            f"{owner} got likelihood={likelihood!r}, which is for classes; use "
            "MoEClassifier."
        )
    return likelihood


def pool_of(experts):
    """The pool that stands for experts, or None."""
    if isinstance(experts, str):
        return POOLS[experts]() if experts in POOLS else None
    return experts if isinstance(experts, Pool) else None


def has_own_names(experts):
    """Whether experts have names of their own, and are no copies of one."""
    return isinstance(experts, (list, tuple)) or pool_of(experts) is not None


def are_named(experts):
    """Whether experts have names that are more than numbers."""
    if isinstance(experts, (list, tuple)):
        return any(isinstance(entry, tuple) for entry in experts)
    return pool_of(experts) is not None


def _check_pool(asked):
    if asked.pool is None:
        return
    asked.pool.check()
    if asked.n_bare:
        raise ValueError(
            f"{asked.owner} got experts={asked.experts!r} with "
            f"{asked.bare_parameter}, but a pool is made for two stages, which do not "
            "fit that; list the experts instead."
        )


def _resolve_shared(asked, names, experts):
    if asked.shared_expert is None:
        return None
    for name, expert in zip(names, experts, strict=True):
        if asked.classify and not isinstance(expert, BuiltInExpert):
            raise ValueError(
                f"{asked.owner} got shared_expert with expert {name!r}={expert!r}, "
                "which cannot add to the log-probabilities of another classifier; use "
                "LinearExpert or MLPExpert beside a shared expert."
            )
    return adapt_expert(asked.shared_expert, SHARED, asked.classify, asked.owner)


def named_experts(experts, n_experts):
    """Names and unfitted experts, from what the user gave.

    Parameters
    ----------
    experts : None, estimator, list of estimators or of (name, estimator)
        None stands for linear experts.
    n_experts : int
    """
    if experts is None:
        experts = LinearExpert()
    if isinstance(experts, str):
        experts = preset(experts, EXPERTS, "experts", "The mixture")
    if not isinstance(experts, (list, tuple)):
        names = [f"expert{k}" for k in range(n_experts)]
        return names, [experts] * n_experts
    pairs = [e if isinstance(e, tuple) else (None, e) for e in experts]
    if all(name is None for name, _ in pairs):
        return default_names([e for _, e in pairs]), [e for _, e in pairs]
    return [name for name, _ in pairs], [expert for _, expert in pairs]


def default_names(experts):
    """Lower-case class names, numbered where they repeat, as ``make_pipeline`` does."""
    # Classes, which fit refuses, have names, too.
    kinds = [own if isinstance(own, type) else type(own) for own in experts]
    names = [kind.__name__.lower() for kind in kinds]
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
    if likelihood is not None and likelihood.is_latent:
        raise ValueError(
            f"{owner} got expert {name!r}={expert!r} with {likelihood!r}, which needs "
            "experts that follow it; use LinearExpert or AdditiveExpert."
        )
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
