"""What becomes of trained parts: attributes of the estimator, and back."""

import numpy as np
from sklearn.base import clone

from .. import mixture
from ..experts._base import BuiltInExpert
from ..gates._base import BaseGate
from ..gates._tree import NoiseTreeGate, TreeGate
from ..trainers._recipe import Fit, counts_of
from .members import MembersGate, MembersRouter

# What ``fit`` learned of X and y before training; members and snapshots need it too.
READING_ATTRIBUTES = (
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "gate_features_",
    "expert_features_",
    "shared_expert_",
    "_shared_features",
    "_shared_parameters",
    "_dropped",
    "_gate_fill",
    "_allowed",
    "_reads_text",
    "_y_ndim",
    "_n_outputs",
    "_widths",
)
# What must be the same where training goes on from an earlier fit.
SAME = ("n_features_in_", "feature_names_in_", "classes_", "_n_outputs", "_widths")


class Fitted:
    """Committing what was trained, and going on from it.

    The estimator gives ``_make_likelihood``, ``_constant_noise``, ``_route`` and
    ``_log_prob``.
    """

    def _previous(self, parts):
        """Earlier fits to continue from, one per member, or None.

        Experts that were lost on the way stay lost; ``kept`` says which are left.
        """
        if not hasattr(self, "gate_"):
            return None
        if (self.shared_expert is None) != (self.shared_expert_ is None):
            raise ValueError(
                f"{type(self).__name__} got shared_expert={self.shared_expert!r}, but "
                f"was fitted with {self.shared_expert_!r}, and its experts model what "
                "that leaves; clone the estimator to start afresh."
            )
        members = getattr(self, "members_", [self])
        n_experts, sizes = len(parts.experts), {len(m.experts_) for m in members}
        known = all(n_experts in (len(m.experts_), m._n_asked) for m in members)
        if len(members) != self.n_members or not known:
            raise ValueError(
                f"The fitted mixture has {len(members)} members with {sizes} experts, "
                f"but {self.n_members} with {n_experts} are asked for; clone "
                "the estimator to start afresh."
            )
        asked, fitted = self._make_likelihood(), self.likelihoods_[0]
        models = [type(getattr(own, "model", None)) for own in (asked, fitted)]
        if type(asked) is not type(fitted) or models[0] is not models[1]:
            raise ValueError(
                f"{type(self).__name__} got likelihood={asked!r}, but was fitted with "
                f"{fitted!r}; clone the estimator to start afresh."
            )
        constant = self._constant_noise()
        if any(isinstance(m.gate_, NoiseTreeGate) != constant for m in members):
            raise ValueError(
                f"{type(self).__name__} got noise={self.noise!r}, but was fitted with "
                "another share of noise; clone the estimator to start afresh."
            )
        for member in members:
            if not parts.gate.same_kind(member.gate_):
                raise ValueError(
                    f"{type(self).__name__} got gate={self.gate!r}, but was fitted "
                    f"with {member.gate_!r}, a gate of another kind; clone the "
                    "estimator to start afresh."
                )
        return [m._as_fit(n_experts) for m in members]

    def _as_read(self):
        """What the last fit read of X and y, to go on only with the same."""
        return {name: vars(self).get(name) for name in SAME}

    def _check_same(self, before, *names):
        """Raise ``ValueError`` if X or y are others than the last fit read."""
        for name in names:
            earlier, now = before[name], vars(self).get(name)
            if earlier is None or now is None:
                continue
            if name == "_widths":
                # Parts that see as much as before, or are gone, are none of the news.
                other = {k for k, n in now.items() if earlier.get(k, n) != n}
                earlier, now = ({k: own[k] for k in other} for own in (earlier, now))
            if not _equal(earlier, now):
                raise ValueError(
                    f"{type(self).__name__} got {_told(name, now)}, but was fitted "
                    f"with {_told(name, earlier)}, from which it cannot go on; clone "
                    "the estimator to start afresh."
                )

    def _as_fit(self, n_experts):
        """What was fitted, for a task with this many experts."""
        found = len(self.experts_)
        return Fit(
            self.gate_,
            self.experts_,
            self.likelihoods_,
            list(range(found)) if found == n_experts else self._kept,
            self.log_likelihood_,
            self.lower_bounds_,
            self.expert_load_,
            self.n_iter_,
            self.converged_,
            {},
            self.router_,
            getattr(self, "_trainer_state", None),
            getattr(self, "_before", None),
        )

    def _attributes(self, task, fit):
        """Fitted attributes of one mixture, as a dict."""
        names = [task.recipe.names[k] for k in fit.kept]
        router = task.recipe.router if fit.router is None else fit.router
        router = router.resized(len(names))
        attributes = {
            "gate_": fit.gate,
            "router_": router,
            "experts_": fit.experts,
            "named_experts_": dict(zip(names, fit.experts, strict=True)),
            "n_experts_": len(names),
            "likelihoods_": fit.likelihoods,
            "log_likelihood_": fit.log_likelihood * task.rows.weight_unit,
            "lower_bounds_": fit.lower_bounds,
            "n_iter_": fit.n_iter,
            "converged_": fit.converged,
            "expert_load_": fit.load,
            "history_": fit.history,
            "_kept": fit.kept,
            "_n_asked": task.recipe.n_experts,
            "_trainer_state": fit.state,
            "_before": fit.before,
        }
        attributes["n_parameters_"] = self._count(task, fit)
        read = {k: v for k, v in vars(self).items() if k in READING_ATTRIBUTES}
        return {**read, **attributes}

    def _count(self, task, fit):
        """Free parameters of the mixture, or None if a part has no count."""
        counts = [*counts_of(task.rows, fit), self._shared_parameters]
        return None if None in counts else int(round(sum(counts)))

    def _commit(self, task, fits):
        for fit in fits:
            check_finite(fit, task.recipe.names, type(self).__name__)
        attributes = [self._attributes(task, fit) for fit in fits]
        if len(fits) == 1:
            self.__dict__.pop("members_", None)
            self.__dict__.update(attributes[0])
            return
        members = []
        for own in attributes:
            member = clone(self).set_params(n_members=1)
            member.__dict__.update(own)
            members.append(member)
        self.__dict__.update(joined(members, attributes))
        density = self._log_density(task.rows)
        self.log_likelihood_ = float(task.rows.weight @ density) * task.rows.weight_unit
        check_number(self.log_likelihood_, "log-likelihood", type(self).__name__)

    def _log_density(self, rows):
        views = [rows.expert_views[k] for k in self._kept]
        log_prob = self._log_prob(views, rows.y, rows.log_prior, rows.size)
        with np.errstate(divide="ignore"):
            log_gate = np.log(self._route(rows.gate_view).dense())
        return mixture.log_density(log_gate, log_prob)


def check_finite(fit, names, owner):
    """Raise ``ValueError`` for a fit that holds NaN or infinity.

    What is not built in may hold them by its own right.
    """
    check_number(fit.log_likelihood, "log-likelihood", owner)
    check_number(fit.lower_bounds[-1:], "objective", owner)
    check_number(fit.load, "load of the experts", owner)
    gates = fit.gate.gates_ if isinstance(fit.gate, TreeGate) else [fit.gate]
    parts = [("gate", gate) for gate in gates if isinstance(gate, BaseGate)]
    named = zip(fit.kept, fit.experts, strict=True)
    parts += [
        (f"expert {names[k]!r}", expert)
        for k, expert in named
        if isinstance(expert, BuiltInExpert)
    ]
    for name, part in parts:
        for key, value in vars(part).items():
            if isinstance(value, (float, np.ndarray)) and key.endswith("_"):
                check_number(value, f"{key} of the {name}", owner)


def check_number(values, what, owner):
    """Raise ``ValueError`` unless all values that are numbers are finite."""
    values = np.asarray(values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"{owner} ended with a fit whose {what} is not finite, and keeps none of "
            "it; bring columns and y to ordinary units, drop outlying rows, or "
            "penalise more (alpha)."
        )


def _equal(first, second):
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second)
    return first == second


def _told(name, value):
    """What was read, in words."""
    if name == "_widths":
        return ", ".join(f"n_features={n} for {part}" for part, n in value.items())
    words = {
        "n_features_in_": "n_features={}",
        "feature_names_in_": "the columns {}",
        "classes_": "the classes {}",
        "_n_outputs": "n_outputs={}",
    }
    return words[name].format(value.tolist() if hasattr(value, "tolist") else value)


def joined(members, attributes):
    """Attributes of the average of several fitted mixtures."""
    best = max(attributes, key=lambda a: a["log_likelihood_"])
    sizes = [m.n_experts_ for m in members]
    names = [
        f"member{j}_{name}"
        for j, member in enumerate(members)
        for name in member.named_experts_
    ]
    experts = [e for m in members for e in m.experts_]
    load = np.concatenate([m.expert_load_ for m in members]) / len(members)
    counts = [m.n_parameters_ for m in members]
    if members[0].shared_expert_ is not None and None not in counts:
        # All members have the same one.
        again = members[0]._shared_parameters
        counts = [counts[0], *(count - again for count in counts[1:])]
    return {
        **best,
        "gate_": MembersGate([m.gate_ for m in members]),
        "router_": MembersRouter([m.router_ for m in members], sizes),
        "experts_": experts,
        "named_experts_": dict(zip(names, experts, strict=True)),
        "n_experts_": len(experts),
        "likelihoods_": [x for m in members for x in m.likelihoods_],
        "expert_load_": load,
        "converged_": all(m.converged_ for m in members),
        "n_parameters_": None if None in counts else sum(counts),
        "members_": members,
        "_kept": [k for m in members for k in m._kept],
    }
