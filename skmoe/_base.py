"""What both estimators share: parameters, training and committing what was fitted."""

import copy
import functools
import numbers
from typing import NamedTuple

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import (
    check_random_state,
    murmurhash3_32,
)
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from . import mixture
from ._evaluation import Evaluation, count_parameters
from ._members import MembersGate, MembersRouter
from ._parameters import ExpertParameters
from ._reading import SHARED, Reading
from ._resolve import (
    TRAINERS,
    adapt_expert,
    check_names,
    preset,
    resolve_gate,
    resolve_router,
)
from ._shared import contribution, fit_shared
from ._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    VisualBlock,
    raise_for_params,
    routing_enabled,
)
from ._tree import Tree
from .experts._base import BuiltInExpert
from .experts._foreign import expert_parameters, is_frozen, warn_without_weight
from .experts._noise import NOISE, NoiseExpert
from .gates._tree import NoiseTreeGate
from .trainers._folds import draw_folds
from .trainers._task import Fit, Task

# What ``fit`` learned of X and y before training; members and snapshots need it too.
READING_ATTRIBUTES = (
    "n_features_in_",
    "feature_names_in_",
    "classes_",
    "gate_features_",
    "expert_features_",
    "shared_expert_",
    "_shared_features",
    "_dropped",
    "_allowed",
    "_reads_text",
    "_y_ndim",
)

# Value of ``noise`` by which its share is the same for every row.
CONSTANT = "constant"
# Name of the trainer's splitter in metadata routing, beside those of the experts.
SPLITTER = "splitter"


class ResolvedParts(NamedTuple):
    """Unfitted parts of a mixture, as objects."""

    gate: object
    names: list
    experts: list
    trainer: object
    router: object
    likelihood: object
    shared: object

    def by_name(self):
        """Experts by name, the shared one included."""
        named = dict(zip(self.names, self.experts, strict=True))
        return named if self.shared is None else {**named, SHARED: self.shared}


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


class BaseMoE(
    CallbackSupportMixin, TransformerMixin, Reading, Evaluation, ExpertParameters
):
    """Parameters, training and evaluation that do not depend on the task."""

    _doc_link_module = "skmoe"

    _parameter_constraints = {
        "experts": [
            HasMethods(["fit"]),
            HasMethods(["members"]),
            StrOptions({"auto"}),
            list,
            tuple,
            None,
        ],
        "n_experts": [Interval(numbers.Integral, 1, None, closed="left")],
        "gate": [str, HasMethods(["fit"])],
        "router": [
            Interval(numbers.Integral, 1, None, closed="left"),
            HasMethods(["route"]),
            None,
        ],
        "trainer": [str, HasMethods(["fit_task"])],
        "shared_expert": [HasMethods(["fit"]), None],
        "gate_features": "no_validation",
        "expert_features": "no_validation",
        "n_members": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_init": [Interval(numbers.Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- routing, representation -------------------------------------------------

    def get_metadata_routing(self):
        """Metadata routing of this object and its experts."""
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        names, experts = self._named_experts()
        if not self._experts_by_name():
            names, experts = ["experts"], experts[:1]
        named = self._and_shared(names, experts)
        splitter = getattr(self.trainer, "splitter", None)
        if splitter is not None:
            splitting = MethodMapping().add(caller="fit", callee="split")
            router.add(**{SPLITTER: splitter}, method_mapping=splitting)
        return router.add(**named, method_mapping=mapping)

    def _sk_visual_block_(self):
        named = self._and_shared(*self._named_experts())
        notes = {
            member.name: f"{member.name} (left out: {member.dropped})"
            for member in getattr(self, "expert_pool_", ())
            if member.dropped
        }
        names = [notes.get(name, name) for name in named]
        return VisualBlock("parallel", list(named.values()), names=names)

    # ``set_output`` wraps the method only where the class defines it itself.
    def transform(self, X):
        """Gate weights as features; the same as :meth:`gate_proba`."""
        return self.gate_proba(X)

    # -- fitting -----------------------------------------------------------------

    def _fit(self, X, y, sample_weight, fit_params, sizes=None):
        parts = self._resolve_parts()
        table = self._read(X, reset=True, gate=parts.gate, experts=parts.by_name())
        y, weight = self._read_target(table, y, sample_weight)
        parts = self._screen(parts, table, y, weight)
        n_experts, experts = len(parts.experts), parts.by_name()
        previous = self._previous(n_experts) if self.warm_start else None
        self._check_size(table, weight, n_experts)
        self._fit_features(table, y, weight, parts.gate, experts)
        warn_without_weight(_weighted_parts(parts, weight))
        fit_params, split_params = self._route_fit_params(experts, fit_params)
        task = self._make_task(parts, table, y, weight)
        task.size = self._read_size(task, sizes)
        task.folds = self._split(parts, task, split_params)
        task.fit_params = [fit_params[name] for name in parts.names]
        own = fit_params.get(SHARED, {})
        task = self._with_shared(task, self._fit_shared(parts, table, y, weight, own))
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
        experts = parts.by_name()
        table = self._read(X, reset=fresh, gate=parts.gate, experts=experts)
        y, weight = self._read_batch(table, y, sample_weight, fresh, classes)
        if fresh:
            self._fit_features(table, y, weight, parts.gate, experts)
            offset = self._fit_shared(parts, table, y, weight, {})
        else:
            offset = self._offset(table)
        task = self._with_shared(self._make_task(parts, table, y, weight), offset)
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
        if self._pool() is not None:
            self._pool().check()
            if self._has_noise():
                raise ValueError(
                    f"{owner} got experts={self.experts!r} with noise={self.noise!r}, "
                    "but a pool is made for two stages, which fit no noise; list the "
                    "experts instead."
                )
        names, experts = self._named_experts()
        if not names:
            raise ValueError(f"{owner} got experts=[], but expected at least one.")
        likelihood = self._make_likelihood()
        check_names(names, {*self._get_param_names(), SPLITTER}, owner)
        experts = [
            adapt_expert(e, name, self._classify, owner, likelihood)
            for name, e in zip(names, experts, strict=True)
        ]
        trainer = preset(self.trainer, TRAINERS, "trainer", owner)
        router = resolve_router(self.router, len(experts), owner)
        gate = self._whole_gate(gate, len(experts))
        names, experts = self._and_noise(names, experts)
        shared = self._resolve_shared(names, experts, owner)
        return ResolvedParts(gate, names, experts, trainer, router, likelihood, shared)

    def _has_noise(self):
        """Whether a noise component is asked for."""
        return bool(getattr(self, "noise", False))

    def _constant_noise(self):
        """Whether noise has the same share of every row."""
        return getattr(self, "noise", False) == CONSTANT

    def _whole_gate(self, gate, n_experts):
        """The gate over experts, and over noise where its share is constant."""
        if not self._constant_noise():
            return gate
        return NoiseTreeGate(gate, Tree(((None,) * n_experts, None)))

    def _and_noise(self, names, experts):
        """Names and experts, and the noise component if there is one."""
        if not self._has_noise():
            return names, experts
        return [*names, NOISE], [*experts, NoiseExpert()]

    def _read_size(self, task, sizes):
        """Exposures or trials of rows: none here."""
        return

    def _split(self, parts, task, split_params):
        """Folds by the splitter of the trainer, of all rows; None if it has none."""
        splitter = getattr(parts.trainer, "splitter", None)
        if splitter is None:
            return None
        if parts.shared is not None:
            raise ValueError(
                f"{type(self).__name__} got shared_expert with cv={splitter!r}, but a "
                "shared expert is fitted to random folds, which would part groups; "
                "give cv as an integer, or the expert as one of the others."
            )
        return draw_folds(task.labels, task.classes, splitter, 0, split_params)

    def _resolve_shared(self, names, experts, owner):
        if self.shared_expert is None:
            return None
        for name, expert in zip(names, experts, strict=True):
            if self._classify and not isinstance(expert, BuiltInExpert):
                raise ValueError(
                    f"{owner} got shared_expert with expert {name!r}={expert!r}, which "
                    "cannot add to the log-probabilities of another classifier; use "
                    "LinearExpert or MLPExpert beside a shared expert."
                )
        return adapt_expert(self.shared_expert, SHARED, self._classify, owner)

    def _fit_shared(self, parts, table, y, weight, fit_params):
        """Set ``shared_expert_``; returns its out-of-fold contribution, or None."""
        self.shared_expert_ = None
        if parts.shared is None:
            return None
        (seed,) = self._seed_experts([SHARED], [parts.shared])
        self.shared_expert_, offset = fit_shared(
            parts.shared,
            self._shared_view(table, parts.shared),
            y,
            weight,
            classes=getattr(self, "classes_", None),
            seed=seed,
            n_jobs=self.n_jobs,
            fit_params=fit_params,
        )
        return offset

    def _offset(self, table):
        """Contribution (n, d) or (n, C) of the fitted shared expert, or None."""
        shared = self.shared_expert_
        if shared is None:
            return None
        view = self._shared_view(table, shared)
        return contribution(shared, view, getattr(self, "classes_", None))

    def _with_shared(self, task, offset):
        """The task of what the shared expert leaves."""
        if offset is None:
            return task
        if task.classes is None and offset.shape != task.y.shape:
            raise ValueError(
                f"shared_expert predicts {offset.shape[1]} outputs, but y has "
                f"{task.y.shape[1]}; use one that predicts all of them."
            )
        task.has_shared = True
        if task.classes is not None:
            task.offset = offset
            return task
        task.y = task.y - offset
        task.labels = task.y.reshape(task.labels.shape)
        return task

    def _make_task(self, parts, table, y, weight):
        seeds = self._seed_experts(parts.names, parts.experts)
        # A model of the variance may be as random as an expert.
        self._seed_experts(["likelihood"], [parts.likelihood])
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
            resp=getattr(self, "_start_resp", None),
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
        """Arguments of each expert's ``fit``, by name, and of the splitter."""
        if not routing_enabled():
            raise_for_params(fit_params, self, "fit", allow=[])
            return {name: {} for name in names}, {}
        routed = process_routing(self, "fit", **fit_params)
        splitting = dict(routed.get(SPLITTER, {}).get("split", {}))
        common = not self._experts_by_name()
        keys = {n: "experts" if common and n != SHARED else n for n in names}
        fit_params = {
            n: {} if n == NOISE and self._has_noise() else dict(routed[k]["fit"])
            for n, k in keys.items()
        }
        return fit_params, splitting

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
        if (self.shared_expert is None) != (self.shared_expert_ is None):
            raise ValueError(
                f"{type(self).__name__} got shared_expert={self.shared_expert!r}, but "
                f"was fitted with {self.shared_expert_!r}, and its experts model what "
                "that leaves; clone the estimator to start afresh."
            )
        members = getattr(self, "members_", [self])
        sizes = {len(m.experts_) for m in members}
        if len(members) != self.n_members or sizes != {n_experts}:
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
        attributes["n_parameters_"] = count_parameters(attributes, self.shared_expert_)
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
        log_prob = self._log_prob(views, task.y, task.offset, task.size)
        with np.errstate(divide="ignore"):
            log_gate = np.log(self._route(gate_view).dense())
        return mixture.log_density(log_gate, log_prob)


def _weighted_parts(parts, weight):
    """What is fitted to rows of unequal weight, by name."""
    unequal = np.ptp(weight[weight > 0]) > 0
    weighs = getattr(parts.trainer, "weighs_rows", True) or unequal
    found = parts.by_name() if weighs else {}
    model = getattr(parts.likelihood, "model", None)
    # Its rows have responsibilities for weights under any trainer.
    if model is not None and (weighs or len(parts.experts) > 1):
        found["likelihood"] = model
    return found


def _positive_rows(task):
    """Drop rows of weight zero: they must count for nothing anywhere."""
    rows = np.flatnonzero(task.weight > 0)
    if len(rows) == len(task.weight):
        return task
    return task.on_rows(rows)


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
        again = int(expert_parameters(members[0].shared_expert_))
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
        "n_iter_": max(m.n_iter_ for m in members),
        "converged_": all(m.converged_ for m in members),
        "n_parameters_": None if None in counts else sum(counts),
        "members_": members,
        "_kept": [k for m in members for k in m._kept],
    }
