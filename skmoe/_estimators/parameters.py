"""Experts by name, as parameters in the manner of scikit-learn's compositions."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit

from .._sklearn import InvalidParameterError, words_of
from .._stamp import Stamped
from .._tables.features import PRESETS as FEATURES
from .._warnings import warn
from ..exceptions import NOTHING_MEANT, did_you_mean
from ..experts import LinearExpert
from ..routers import TopKRouter
from ..routers._base import is_count
from ..trainers import TwoStage
from .families import LIKELIHOODS
from .parts import built, given_experts, pool_of, preset
from .presets import EXPERTS, GATES, POOLS, TRAINERS

# What strings stand for, by parameter of a mixture.
TABLES = {
    "experts": EXPERTS,
    "shared_expert": EXPERTS,
    "gate": GATES,
    "trainer": TRAINERS,
    "likelihood": LIKELIHOODS,
    "gate_features": FEATURES,
    "expert_features": FEATURES,
}
# Of parameters whose value stands for no object, one that has parameters.
EXAMPLES = {
    "router": "TopKRouter(2)",
    "shared_expert": "LinearExpert()",
    "gate_features": "'piecewise-linear'",
    "expert_features": "'piecewise-linear'",
}


class Worded(Stamped):
    """Base of estimators that say what was meant by a word that they do not know."""

    def _validate_params(self):
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise meant(self, error) from None


class ExpertParameters(Worded):
    """``get_params`` and ``set_params`` that reach experts by name, and presets."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, with those of named experts as ``name`` and ``name__x``.

        Those of a preset are there, too, as they are in the object that it stands for.
        """
        params = super().get_params(deep=deep)
        if deep:
            for name, value in list(params.items()):
                part = stood_for(name, value)
                own = {} if part is None else part.get_params(deep=True)
                params.update({f"{name}__{k}": v for k, v in own.items()})
            for name, expert in listed(self.experts):
                params[name] = expert
                part = stood_for("experts", expert) or expert
                if hasattr(part, "get_params") and not isinstance(part, type):
                    own = part.get_params(deep=True)
                    params.update({f"{name}__{k}": v for k, v in own.items()})
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of nested objects and of experts by name included.

        A parameter of a preset, such as ``gate__alpha`` with ``gate="softmax"``, puts
        the object that the preset stands for in its place.
        """
        known = super().get_params(deep=False)
        # Before anything is set, as they may be refused.
        params = with_presets(type(self).__name__, params, known)
        if "experts" in params:
            self.experts = params.pop("experts")
        for position, (name, _) in enumerate(listed(self.experts)):
            if name in params:
                self.experts = replaced(self.experts, position, params.pop(name))
        nested = {k: v for k, v in params.items() if k.split("__")[0] not in known}
        if nested and isinstance(self.experts, (list, tuple)):
            params = {k: v for k, v in params.items() if k not in nested}
            own = {name.split("__")[0] for name in nested}
            self.experts = with_objects(self.experts, own)
            set_nested(self, dict(listed(self.experts)), nested)
        elif nested:
            params = {**params, **nested}
        super().set_params(**params)
        return self


def listed(experts):
    """Names and experts of a list, as pairs; none where they are no list."""
    if not isinstance(experts, (list, tuple)):
        return []
    return list(zip(*given_experts(experts), strict=True))


def with_objects(experts, names):
    """A list of experts with the objects that presets of some names stand for.

    They keep their names, under which they are set again.
    """
    own = dict(listed(experts))
    made = {name: stood_for("experts", own.get(name)) for name in names}
    made = {name: part for name, part in made.items() if isinstance(own.get(name), str)}
    if not any(made.values()):
        return experts
    return [(name, made.get(name) or part) for name, part in listed(experts)]


def replaced(experts, position, expert):
    """A list of experts with another one in one place, under the same name.

    An unnamed object has no other name than that of its class; that of a preset stays.
    """
    if isinstance(expert, str) or isinstance(experts[position], str):
        experts = listed(experts)
    experts = list(experts)
    old = experts[position]
    experts[position] = (old[0], expert) if isinstance(old, tuple) else expert
    return experts


def set_nested(model, experts, params):
    """Set parameters ``name__x`` of experts by name."""
    for key, value in params.items():
        name, _, rest = key.partition("__")
        if name not in experts or not rest:
            raise ValueError(
                f"Invalid parameter {name!r} for estimator {model}. Valid "
                f"parameters are: {sorted(model.get_params(deep=False))} and the "
                f"experts {sorted(experts)}."
            )
        built(experts[name], name).set_params(**{rest: value})


def stood_for(name, value):
    """The unfitted object that a value of a parameter stands for, or None.

    Parameters
    ----------
    name : str
        Parameter of a mixture.
    value : its value
    """
    if name == "experts" and value is None:
        return LinearExpert()
    if name == "router" and is_count(value):
        return TopKRouter(int(value))
    if not isinstance(value, str):
        return None
    kind = TABLES.get(name, {}).get(value)
    if kind is None and name == "experts":
        # The package fills it in.
        kind = POOLS.get(value)
    return None if kind is None else kind()


def with_presets(owner, params, known):
    """Parameters to set, with an object where those of a preset are among them.

    Parameters
    ----------
    owner : str, class of the estimator, for messages
    params : dict, what is to be set
    known : dict, values of the parameters of the estimator
    """
    own = {}
    for key, value in params.items():
        name, _, nested = key.partition("__")
        # A part that comes with its parameters is set before them.
        part = params.get(name, known.get(name))
        if nested and name in known and not hasattr(part, "set_params"):
            own.setdefault(name, {})[nested] = value
    objects = {}
    for name, nested in own.items():
        part = params.get(name, known[name])
        made = stood_for(name, part)
        if made is None:
            refuse_nested(owner, name, part, next(iter(nested)))
        objects[name] = made.set_params(**nested)
    rest = {k: v for k, v in params.items() if k.split("__")[0] not in own}
    return {**rest, **objects}


def refuse_nested(owner, name, part, nested):
    """Raise ``ValueError`` for a parameter of what has none of its own."""
    if isinstance(part, str) and name in TABLES:
        preset(part, TABLES[name], name, owner)
    remedy = f"pass an object that has, such as {name}={EXAMPLES.get(name, '...')}"
    if name == "experts":
        names = [own for own, _ in listed(part)]
        remedy = f"set those of its experts, by their names {names}"
    if name not in TABLES and name not in EXAMPLES:
        remedy = f"set {name} itself"
    raise ValueError(
        f"Cannot set '{name}__{nested}': {name}={part!r} has no parameters of its "
        f"own; {remedy}."
    )


def meant(model, error):
    """An error that says which word was nearly written, or the one that is given."""
    for name, value in model.get_params(deep=False).items():
        known = words_of(model._parameter_constraints.get(name, ()))
        end = did_you_mean(value, known)
        if end != NOTHING_MEANT and value not in known:
            return InvalidParameterError(
                f"The {name!r} parameter of {type(model).__name__} must be one of "
                f"{known}, if it is a string. Got {value!r} instead{end}"
            )
    return error


# Of these a class in place of an instance is an oversight.
INSTANCES = (BaseEstimator, BaseCrossValidator, BaseShuffleSplit)


def refuse_classes(owner, name=None, value=None):
    """Raise ``ValueError`` for a parameter that is a class, where instances serve.

    ``owner`` is an estimator or a part; without ``name`` all its parameters are looked
    at, with their lists, dicts and our own parts.  What estimators of other libraries
    take is theirs to say, and a part may take other classes, such as a type of numbers.
    """
    if name is None:
        for key, own in owner.get_params(deep=False).items():
            refuse_classes(owner, key, own)
    elif isinstance(value, type) and issubclass(value, INSTANCES):
        what = value.__name__
        raise ValueError(
            f"{type(owner).__name__}: {name}={what} is a class; pass an instance: "
            f"{name}={what}()."
        )
    elif isinstance(value, (list, tuple, dict)):
        for own in value.values() if isinstance(value, dict) else value:
            refuse_classes(owner, name, own)
    elif isinstance(value, (Stamped, FrozenEstimator)):
        refuse_classes(value)


def warn_before(model):
    """Warn of parameters that need no fit to be told of, before one is waited for."""
    owner, given = type(model).__name__, model.get_params(deep=False)
    experts, count, trainer = model.experts, given.get("n_experts"), model.trainer
    if isinstance(experts, (list, tuple)) and is_count(count) and count != len(experts):
        warn(
            f"{owner} got n_experts={count!r} with a list of {len(experts)} experts, "
            "which are all that there are; leave n_experts out, or give one estimator, "
            "which is cloned so often.",
            UserWarning,
        )
    two_stage = isinstance(trainer, TwoStage) or trainer == "two-stage"
    if pool_of(experts) is not None and not two_stage:
        warn(
            f"{owner} got experts={experts!r} with trainer={trainer!r}, which gives "
            "credit to the members that memorise, and fits each of them many times; "
            "use trainer='two-stage'.",
            UserWarning,
        )
