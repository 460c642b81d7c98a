"""Experts by name, as parameters in the manner of scikit-learn's compositions."""

from sklearn.frozen import FrozenEstimator

from .._stamp import Stamped
from .parts import named_experts

PRESETS = {
    "auto": "AutoPool()",
    "two-stage": "TwoStage()",
    "softmax": "SoftmaxGate()",
    "constant": "ConstantGate()",
    "em": "EM()",
    "hard-em": "HardEM()",
    "gradient": "Gradient()",
    "gaussian": "GaussianGate() or Gaussian()",
}
# For parameters that stand for a part without being its name.
EXAMPLES = {"experts": "LinearExpert()", "router": "TopKRouter()"}


class ExpertParameters(Stamped):
    """``get_params`` and ``set_params`` that reach the experts by name."""

    def get_params(self, deep=True):
        """Parameters, with those of named experts as ``name`` and ``name__x``."""
        params = super().get_params(deep=deep)
        if deep:
            for name, expert in listed(self.experts):
                params[name] = expert
                if hasattr(expert, "get_params") and not isinstance(expert, type):
                    own = expert.get_params(deep=True)
                    params.update({f"{name}__{k}": v for k, v in own.items()})
        return params

    def set_params(self, **params):
        """Set parameters, those of nested objects and of experts by name included."""
        if "experts" in params:
            self.experts = params.pop("experts")
        for position, (name, _) in enumerate(listed(self.experts)):
            if name in params:
                self.experts = replaced(self.experts, position, params.pop(name))
        known = super().get_params(deep=False)
        for key in params:
            refuse_preset(key, params, known)
        nested = {k: v for k, v in params.items() if k.split("__")[0] not in known}
        if nested and isinstance(self.experts, (list, tuple)):
            params = {k: v for k, v in params.items() if k not in nested}
            set_nested(self, dict(listed(self.experts)), nested)
        elif nested:
            params = {**params, **nested}
        super().set_params(**params)
        return self


def listed(experts):
    """Names and experts of a list, as pairs; none where they are no list."""
    if not isinstance(experts, (list, tuple)):
        return []
    return list(zip(*named_experts(experts, len(experts)), strict=True))


def replaced(experts, position, expert):
    """A list of experts with another one in one place, under the same name."""
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
        experts[name].set_params(**{rest: value})


def refuse_preset(key, params, known):
    """Raise ``ValueError`` for a parameter of a part that is given by its name only."""
    name, _, nested = key.partition("__")
    # A part that comes with its parameters is set before them.
    value = params.get(name, known.get(name))
    if not nested or not (value is None or isinstance(value, (str, int))):
        return
    if name in known:
        example = PRESETS.get(value, EXAMPLES.get(name, "an object"))
        raise ValueError(
            f"Cannot set {key!r}: {name}={value!r} is a preset without "
            f"parameters of its own; pass the object, such as {name}={example}, "
            "and set the parameter on it."
        )


def refuse_classes(owner, name=None, value=None):
    """Raise ``ValueError`` for a parameter that is a class, where instances serve.

    ``owner`` is an estimator or a part; without ``name`` all its parameters are looked
    at, with their lists, dicts and our own parts.  What estimators of other libraries
    take is theirs to say.
    """
    if name is None:
        for key, own in owner.get_params(deep=False).items():
            refuse_classes(owner, key, own)
    elif isinstance(value, type):
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
