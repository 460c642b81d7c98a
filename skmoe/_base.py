"""What both estimators share: fitting as a transaction, and reading X."""

import copy
import functools
import numbers
from typing import NamedTuple

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import (
    check_random_state,
    get_tags,
    murmurhash3_32,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from . import _features, mixture
from ._evaluation import Evaluation, count_parameters
from ._inputs import read_table, text_columns, without_columns
from ._members import MembersGate, MembersRouter
from ._parameters import ExpertParameters
from ._resolve import (
    TRAINERS,
    adapt_expert,
    check_names,
    preset,
    resolve_gate,
    resolve_router,
)
from ._sklearn import (
    HasMethods,
    Interval,
    VisualBlock,
    raise_for_params,
    routing_enabled,
    safe_indexing,
)
from .experts._base import BuiltInExpert
from .experts._foreign import is_frozen, warn_without_weight
from .trainers._task import Fit, Task

# What ``fit`` learned of X and y before training; members and snapshots need it too.
READING_ATTRIBUTES = (
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "gate_features_",
    "expert_features_",
    "_dropped",
    "_y_ndim",
)


class ResolvedParts(NamedTuple):
    """Unfitted parts of a mixture, as objects."""

    gate: object
    names: list
    experts: list
    trainer: object
    router: object
    likelihood: object


def can_partial_fit(model):
    """Whether the trainer of a mixture learns from one batch after another."""
    trainer = model.trainer
    kind = TRAINERS.get(trainer) if isinstance(trainer, str) else type(trainer)
    if not hasattr(kind, "partial_task"):
        raise AttributeError(
            f"{type(model).__name__} has no partial_fit with trainer={trainer!r}; use "
            "trainer='gradient'."
        )
    return True


def transactional(fit):
    """Leave a fitted estimator exactly as it was if ``fit`` raises."""

    @functools.wraps(fit)
    def wrapped(self, *args, **kwargs):
        before = self.__dict__.copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return wrapped


class BaseMoE(CallbackSupportMixin, TransformerMixin, Evaluation, ExpertParameters):
    """Parameters, training and evaluation that do not depend on the task."""

    _doc_link_module = "skmoe"

    _parameter_constraints = {
        "experts": [HasMethods(["fit"]), list, tuple, None],
        "n_experts": [Interval(numbers.Integral, 1, None, closed="left")],
        "gate": [str, HasMethods(["fit"])],
        "router": [
            Interval(numbers.Integral, 1, None, closed="left"),
            HasMethods(["route"]),
            None,
        ],
        "trainer": [str, HasMethods(["fit_task"])],
        "gate_features": "no_validation",
        "expert_features": "no_validation",
        "n_members": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_init": [Interval(numbers.Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- tags, routing, representation -------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            tags.input_tags.allow_nan = self._all_allow("allow_nan")
            tags.input_tags.sparse = self._all_allow("sparse")
        except (TypeError, ValueError, AttributeError):
            # Tags are asked for before parameters are validated.
            pass
        return tags

    def _all_allow(self, what):
        gate = resolve_gate(self.gate, type(self).__name__)
        gate_features = _features.resolve(self.gate_features, "gate_features")
        if gate_features is not None:
            gate_ok = _features.allows(gate_features, what)
        elif hasattr(gate, "_resolved"):
            gate_ok = _features.allows(gate._resolved(), what)
        else:
            gate_ok = not gate.numeric or what == "sparse"
        return gate_ok and all(
            self._expert_allows(expert, what) for expert in self._named_experts()[1]
        )

    def _expert_allows(self, expert, what):
        if self.expert_features is not None and not isinstance(
            self.expert_features, dict
        ):
            spec = _features.resolve(self.expert_features, "expert_features")
            return _features.allows(spec, what)
        if isinstance(expert, BuiltInExpert):
            return what == "sparse"
        return _features.allows(expert, what)

    def get_metadata_routing(self):
        """Metadata routing of this object and its experts."""
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        names, experts = self._named_experts()
        if not isinstance(self.experts, (list, tuple)):
            names, experts = ["experts"], experts[:1]
        return router.add(
            **dict(zip(names, experts, strict=True)), method_mapping=mapping
        )

    def _sk_visual_block_(self):
        names, experts = self._named_experts()
        return VisualBlock("parallel", experts, names=names)

    # ``set_output`` wraps the method only where the class defines it itself.
    def transform(self, X):
        """Gate weights as features; the same as :meth:`gate_proba`."""
        return self.gate_proba(X)

    # -- fitting -----------------------------------------------------------------

    def _fit(self, X, y, sample_weight, fit_params):
        parts = self._resolve_parts()
        n_experts = len(parts.experts)
        previous = self._previous(n_experts) if self.warm_start else None
        table = self._read(X, reset=True, gate=parts.gate, experts=parts.experts)
        y, weight = self._read_target(table, y, sample_weight)
        self._check_size(table, weight, n_experts)
        self._fit_features(table, y, weight, parts.names, parts.experts)
        warn_without_weight(parts.names, parts.experts)
        task = self._make_task(parts, table, y, weight)
        task.fit_params = self._route_fit_params(parts.names, fit_params)
        self._train(parts.trainer, _positive_rows(task), previous, X, y)
        return self

    def _partial_fit(self, X, y, sample_weight, freeze, classes=None):
        if self.n_members > 1:
            raise ValueError(
                f"partial_fit got n_members={self.n_members}, but expected 1; train "
                "the members one by one and average their predictions."
            )
        parts = self._resolve_parts()
        previous = self._previous(len(parts.experts))
        fresh = previous is None
        table = self._read(X, reset=fresh, gate=parts.gate, experts=parts.experts)
        y, weight = self._read_batch(table, y, sample_weight, fresh, classes)
        if fresh:
            self._fit_features(table, y, weight, parts.names, parts.experts)
        task = self._make_task(parts, table, y, weight)
        task.seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        task.warm_start = None if fresh else previous[0]
        task.freeze = freeze
        task = _positive_rows(task)
        self._commit(task, [parts.trainer.partial_task(task)])
        return self

    def _resolve_parts(self):
        """Objects for what the user wrote, checked and cloned."""
        owner = type(self).__name__
        gate = resolve_gate(self.gate, owner)
        names, experts = self._named_experts()
        if not names:
            raise ValueError(f"{owner} got experts=[], but expected at least one.")
        check_names(names, set(self._get_param_names()), owner)
        experts = [
            adapt_expert(e, name, self._classify, owner)
            for name, e in zip(names, experts, strict=True)
        ]
        trainer = preset(self.trainer, TRAINERS, "trainer", owner)
        router = resolve_router(self.router, len(experts), owner)
        likelihood = self._make_likelihood()
        return ResolvedParts(gate, names, experts, trainer, router, likelihood)

    def _make_task(self, parts, table, y, weight):
        seeds = self._seed_experts(parts.names, parts.experts)
        gate_view, expert_views = self._training_views(table, parts.gate, parts.experts)
        return Task(
            gate=parts.gate,
            router=parts.router,
            likelihood=parts.likelihood,
            names=parts.names,
            experts=parts.experts,
            gate_view=gate_view,
            expert_views=expert_views,
            y=self._encode(y),
            labels=y,
            classes=getattr(self, "classes_", None),
            weight=weight,
            n_init=self.n_init,
            n_jobs=self.n_jobs,
            expert_seeds=seeds,
        )

    def _train(self, trainer, task, previous, X, y):
        rng = check_random_state(self.random_state)
        context = self._open_callbacks(X, y)
        fits = []
        for member in range(self.n_members):
            task.seed = int(rng.randint(np.iinfo(np.int32).max))
            task.start = member if self.n_members > 1 else None
            task.warm_start = previous[member] if previous else None
            task.report = self._reporter(context, task, X, y)
            fits.append(trainer.fit_task(task))
        self._commit(task, fits)
        if context is not None:
            context.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes=dict
            )

    def _route_fit_params(self, names, fit_params):
        if not routing_enabled():
            raise_for_params(fit_params, self, "fit", allow=[])
            return []
        routed = process_routing(self, "fit", **fit_params)
        single = not isinstance(self.experts, (list, tuple))
        return [dict(routed["experts" if single else name]["fit"]) for name in names]

    def _seed_experts(self, names, experts):
        """Seed unseeded experts by name, so that neither order nor chance matters.

        Returns the seeds of the resamples of experts that take no weights.
        """
        rng = check_random_state(self.random_state)
        base = int(rng.randint(np.iinfo(np.int32).max))
        seeds = [murmurhash3_32(name, seed=base, positive=True) for name in names]
        for seed, expert in zip(seeds, experts, strict=True):
            if is_frozen(expert):
                continue
            unseeded = [
                key
                for key, value in sorted(expert.get_params(deep=True).items())
                if key.split("__")[-1] == "random_state" and value is None
            ]
            own = np.random.RandomState(seed)
            expert.set_params(
                **{key: int(own.randint(np.iinfo(np.int32).max)) for key in unseeded}
            )
        return [int(seed) for seed in seeds]

    def _check_size(self, table, weight, n_experts):
        n_rows = int(np.count_nonzero(weight))
        if n_rows < n_experts or n_rows < 2:
            raise ValueError(
                f"{type(self).__name__} got n_samples={n_rows} with positive weight, "
                f"but {n_experts} experts need at least {max(2, n_experts)} rows; "
                "use fewer experts or more rows."
            )

    def _previous(self, n_experts):
        """Earlier fits to continue from, one per member, or None."""
        if not hasattr(self, "gate_"):
            return None
        members = getattr(self, "members_", [self])
        sizes = {len(m.experts_) for m in members}
        if len(members) != self.n_members or sizes != {n_experts}:
            raise ValueError(
                f"The fitted mixture has {len(members)} members with {sizes} experts, "
                f"but {self.n_members} with {n_experts} are asked for; clone "
                "the estimator to start afresh."
            )
        return [m._as_fit() for m in members]

    def _as_fit(self):
        return Fit(
            self.gate_,
            self.experts_,
            self.likelihoods_,
            list(range(len(self.experts_))),
            self.log_likelihood_,
            self.lower_bounds_,
            self.expert_load_,
            self.n_iter_,
            self.converged_,
            {},
            self.router_,
            getattr(self, "_trainer_state", None),
        )

    # -- callbacks ---------------------------------------------------------------

    def _open_callbacks(self, X, y):
        if not getattr(self, "_skl_callbacks", None):
            return None
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return context

    def _reporter(self, context, task, X, y):
        def report(iteration, bound, make_fit):
            if self.verbose:
                print(f"[{type(self).__name__}] iteration {iteration}: {bound:.6f}")
            if context is None:
                return False
            sub = context.subcontext(task_name="iteration")
            sub.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return sub.call_on_fit_task_end(
                estimator=self,
                X=X,
                y=y,
                reconstruction_attributes=lambda: self._attributes(task, make_fit()),
            )

        return report

    # -- committing --------------------------------------------------------------

    def _attributes(self, task, fit):
        """Fitted attributes of one mixture, as a dict."""
        names = [task.names[k] for k in fit.kept]
        router = copy.deepcopy(task.router if fit.router is None else fit.router)
        if hasattr(router, "k") and router.k > len(names):
            router.set_params(k=len(names))
        attributes = {
            "gate_": fit.gate,
            "router_": router,
            "experts_": fit.experts,
            "named_experts_": dict(zip(names, fit.experts, strict=True)),
            "n_experts_": len(names),
            "likelihoods_": fit.likelihoods,
            "log_likelihood_": fit.log_likelihood,
            "lower_bounds_": fit.lower_bounds,
            "n_iter_": fit.n_iter,
            "converged_": fit.converged,
            "expert_load_": fit.load,
            "history_": fit.history,
            "_kept": fit.kept,
            "_trainer_state": fit.state,
        }
        attributes["n_parameters_"] = count_parameters(attributes)
        read = {k: v for k, v in vars(self).items() if k in READING_ATTRIBUTES}
        return {**read, **attributes}

    def _commit(self, task, fits):
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
        self.log_likelihood_ = float(
            task.weight @ self._log_density(task.gate_view, task.expert_views, task)
        )

    def _log_density(self, gate_view, expert_views, task):
        views = [expert_views[k] for k in self._kept]
        log_prob = self._log_prob(views, task.y)
        with np.errstate(divide="ignore"):
            log_gate = np.log(self._route(gate_view).dense())
        return mixture.log_density(log_gate, log_prob)

    # -- reading X ---------------------------------------------------------------

    def _read(self, X, *, reset, gate=None, experts=None):
        gate = self.gate_ if gate is None else gate
        experts = self.experts_ if experts is None else experts
        numeric_gate = gate.numeric and self.gate_features is None
        linear = any(isinstance(e, BuiltInExpert) for e in experts)
        linear = linear and self.expert_features is None
        drops = hasattr(gate, "segments")
        allow_text = not numeric_gate and (not linear or drops)
        tags = get_tags(self).input_tags
        return read_table(self, X, reset=reset, allow_text=allow_text, tags=tags)

    def _fit_features(self, table, y, weight, names, experts):
        self._dropped = []
        if table.numbers is None and any(isinstance(e, BuiltInExpert) for e in experts):
            # Built-in experts read numbers: they skip the text column of the gate.
            self._dropped = text_columns(table.raw)
        made = []

        def fitted(spec, name):
            """Equal specifications share one fitted transformer."""
            for earlier, transformer in made:
                if _features.same(earlier, spec):
                    return transformer
            transformer = _features.fit_features(
                _features.resolve(spec, name), table.raw, y, weight
            )
            made.append((spec, transformer))
            return transformer

        self.gate_features_ = fitted(self.gate_features, "gate_features")
        specs = self.expert_features
        if not isinstance(specs, dict):
            specs = dict.fromkeys(names, specs)
        unknown = sorted(set(specs) - set(names))
        if unknown:
            raise ValueError(
                f"expert_features names {unknown}, but the experts are {names}."
            )
        self.expert_features_ = [
            fitted(specs.get(name), "expert_features") for name in names
        ]

    def _training_views(self, table, gate, experts):
        """Views of gate and experts; dense where a built-in part reads them."""
        gate_view = self._gate_view(table, gate)
        views = self._expert_views(table, experts, range(len(experts)))
        if gate.numeric:
            gate_view = table.dense(gate_view)
        views = [
            table.dense(view) if isinstance(expert, BuiltInExpert) else view
            for expert, view in zip(experts, views, strict=True)
        ]
        return gate_view, views

    def _gate_view(self, table, gate=None):
        gate = self.gate_ if gate is None else gate
        if self.gate_features_ is not None:
            return table.view(self.gate_features_)
        return table.numbers if gate.numeric else table.raw

    def _expert_views(self, table, experts=None, kept=None):
        """What each expert sees; equal transformers are applied once."""
        experts = self.experts_ if experts is None else experts
        kept = self._kept if kept is None else kept
        dropped = without_columns(table.raw, self._dropped) if self._dropped else None
        views = []
        for expert, k in zip(experts, kept, strict=True):
            transformer = self.expert_features_[k]
            if transformer is not None:
                views.append(table.view(transformer))
            elif not isinstance(expert, BuiltInExpert):
                views.append(table.raw)
            else:
                views.append(table.numbers if dropped is None else dropped)
        return views


def _positive_rows(task):
    """Drop rows of weight zero: they must count for nothing anywhere."""
    rows = np.flatnonzero(task.weight > 0)
    if len(rows) == len(task.weight):
        return task
    cache = {}

    def take(view):
        if id(view) not in cache:
            cache[id(view)] = safe_indexing(view, rows)
        return cache[id(view)]

    task.gate_view = take(task.gate_view)
    task.expert_views = [take(view) for view in task.expert_views]
    task.y, task.labels = task.y[rows], task.labels[rows]
    task.weight = task.weight[rows]
    return task


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
    return {
        **best,
        "gate_": MembersGate([m.gate_ for m in members]),
        "router_": MembersRouter([m.router_ for m in members], sizes),
        "experts_": experts,
        "named_experts_": dict(zip(names, experts, strict=True)),
        "n_experts_": len(experts),
        "likelihoods_": [x for m in members for x in m.likelihoods_],
        "expert_load_": load,
        "n_iter_": max(m.n_iter_ for m in members),
        "converged_": all(m.converged_ for m in members),
        "n_parameters_": None if None in counts else sum(counts),
        "members_": members,
        "_kept": [k for m in members for k in m._kept],
    }
