"""Experts by name, as parameters in the manner of scikit-learn's compositions."""

import numpy as np

from .._sklearn import safe_indexing
from .._stamp import Stamped
from .._warnings import warn
from ..experts import AutoPool, LinearExpert
from ..gates import SoftmaxGate
from ..trainers import TwoStage
from .presets import named_experts

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

    def _pool(self):
        """The pool that gives the experts, or None."""
        if isinstance(self.experts, str):
            return AutoPool() if self.experts == "auto" else None
        return self.experts if isinstance(self.experts, AutoPool) else None

    def _experts_by_name(self):
        """Whether experts have names of their own, and are no copies of one."""
        return isinstance(self.experts, (list, tuple)) or self._pool() is not None

    def _names_given(self):
        """Whether experts have names that are more than numbers."""
        if not isinstance(self.experts, (list, tuple)):
            return self._pool() is not None
        return any(isinstance(entry, tuple) for entry in self.experts)

    def _named_experts(self):
        pool = self._pool()
        if pool is not None:
            return pool.members(self._classify, self._flat, SoftmaxGate)
        return named_experts(self.experts, self.n_experts, LinearExpert())

    def _screen(self, parts, table, y, weight):
        """The parts without the members of a pool that do not suit the data."""
        self.__dict__.pop("expert_pool_", None)
        pool = self._pool()
        if pool is None:
            return parts
        if not isinstance(parts.trainer, TwoStage):
            warn(
                f"{type(self).__name__} got experts={self.experts!r} with "
                f"trainer={self.trainer!r}, which gives credit to the members that "
                "memorise; use trainer='two-stage'.",
                UserWarning,
            )
        rows = np.flatnonzero(weight > 0)
        X = safe_indexing(table.raw, rows)
        apart = [n for n in parts.names if self._features_of(n) is not None]
        correction = None
        if isinstance(parts.trainer, TwoStage):
            correction = parts.trainer.correction(self._classify)
        self.expert_pool_ = pool.screen(
            parts.names, parts.experts, X, y[rows], apart, correction
        )
        kept = [member for member in self.expert_pool_ if not member.dropped]
        return parts._replace(
            names=[member.name for member in kept],
            experts=[member.estimator for member in kept],
        )

    def get_params(self, deep=True):
        """Parameters, with those of named experts as ``name`` and ``name__x``."""
        params = super().get_params(deep=deep)
        if deep and isinstance(self.experts, (list, tuple)) and self.experts:
            for name, expert in zip(*self._named_experts(), strict=True):
                params[name] = expert
                if hasattr(expert, "get_params") and not isinstance(expert, type):
                    own = expert.get_params(deep=True)
                    params.update({f"{name}__{k}": v for k, v in own.items()})
        return params

    def set_params(self, **params):
        """Set parameters, those of nested objects and of experts by name included."""
        if "experts" in params:
            self.experts = params.pop("experts")
        if isinstance(self.experts, (list, tuple)):
            names = self._named_experts()[0]
            for name in [n for n in names if n in params]:
                self._replace_expert(names.index(name), params.pop(name))
        for key in params:
            self._refuse_preset(key, params)
        own = set(self._get_param_names())
        nested = {k: v for k, v in params.items() if k.split("__")[0] not in own}
        if nested and isinstance(self.experts, (list, tuple)):
            params = {k: v for k, v in params.items() if k not in nested}
            self._set_nested(nested)
        elif nested:
            params = {**params, **nested}
        super().set_params(**params)
        return self

    def _replace_expert(self, position, expert):
        experts = list(self.experts)
        old = experts[position]
        experts[position] = (old[0], expert) if isinstance(old, tuple) else expert
        self.experts = experts

    def _set_nested(self, params):
        experts = dict(zip(*self._named_experts(), strict=True))
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in experts or not rest:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid "
                    f"parameters are: {sorted(self._get_param_names())} and the "
                    f"experts {sorted(experts)}."
                )
            experts[name].set_params(**{rest: value})

    def _refuse_preset(self, key, params):
        name, _, nested = key.partition("__")
        # A part that comes with its parameters is set before them.
        value = params.get(name, getattr(self, name, None))
        if not nested or not (value is None or isinstance(value, (str, int))):
            return
        if name in self._get_param_names():
            example = PRESETS.get(value, EXAMPLES.get(name, "an object"))
            raise ValueError(
                f"Cannot set {key!r}: {name}={value!r} is a preset without "
                f"parameters of its own; pass the object, such as {name}={example}, "
                "and set the parameter on it."
            )
