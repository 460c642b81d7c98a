"""What both estimators share: parameters, routing, and the course of a fit."""

import functools
import numbers
from dataclasses import replace

import numpy as np
from sklearn.base import TransformerMixin, clone
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state, murmurhash3_32
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from .._numerics.design import counted_weights
from .._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    VisualBlock,
    raise_for_params,
    routing_enabled,
)
from .._warnings import tells_once, warn
from ..experts._base import BuiltInExpert
from ..experts._foreign import is_frozen, seed_unseeded, warn_without_weight
from ..experts._noise import NOISE
from ..gates._base import BaseGate
from ..trainers._folds import draw_folds
from ..trainers._recipe import Recipe
from ..trainers._rows import Rows
from ..trainers._task import Report, Start, Task, trained
from .evaluation import Evaluation
from .fitted import SAME, Fitted
from .parameters import ExpertParameters
from .parts import SPLITTER, Parts
from .presets import TRAINERS
from .reading import Reading
from .shared import SHARED, Shared

# Share of the rows below which a sum of weights is taken for a slip of units.
LIGHT = 0.1


# What ``partial_fit`` can leave alone, besides experts by name.
FREEZE = ("experts", "gate")


def can_partial_fit(model):
    """Whether the trainer of a mixture learns from one batch after another."""
    trainer = model.trainer
    kind = TRAINERS.get(trainer) if isinstance(trainer, str) else type(trainer)
    if kind is None or not kind.takes_batches:
        raise AttributeError(
            f"{type(model).__name__} has no partial_fit with trainer={trainer!r}; use "
            "trainer='gradient'."
        )
    return True


def check_freeze(freeze, names):
    """Raise ``ValueError`` unless ``freeze`` says what stays as it is."""
    known = freeze is None or (isinstance(freeze, str) and freeze in FREEZE)
    if isinstance(freeze, (list, tuple)):
        known = all(isinstance(name, str) and name in names for name in freeze)
    if not known:
        raise ValueError(
            f"partial_fit got freeze={freeze!r}, but expected None, 'experts', 'gate' "
            f"or a list of names out of {names}."
        )


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
    CallbackSupportMixin,
    TransformerMixin,
    Parts,
    Shared,
    Fitted,
    Reading,
    Evaluation,
    ExpertParameters,
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
        "trainer": [str, HasMethods(["fit"])],
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

    @tells_once
    def _fit(self, X, y, sample_weight, fit_params, sizes=None):
        before, parts = self._as_read(), self._resolve_parts()
        table = self._read(X, reset=True, gate=parts.gate, experts=parts.by_name())
        y, weight = self._read_target(table, y, sample_weight)
        weight, unit = counted_weights(weight)
        parts = self._screen(parts, table, y, weight)
        n_experts, experts = len(parts.experts), parts.by_name()
        goes_on = self.warm_start and parts.trainer.continues
        previous = self._previous(parts) if goes_on else None
        if previous is not None:
            self._check_same(before, *SAME[:-1])
        self._check_size(table, weight, n_experts)
        self._fit_features(table, y, weight, parts.gate, experts)
        if self._pool() is None:
            warn_without_weight(_weighted_parts(parts, weight))
            warn_of_light_weights(parts, weight, unit)
        fit_params, split_params = self._route_fit_params(experts, fit_params)
        task = self._make_task(parts, table, y, weight, unit)
        if previous is not None:
            self._check_same(before, "_widths")
        task = task.with_rows(
            size=self._read_size(task, sizes),
            folds=self._split(parts, task, split_params),
            fit_params=[fit_params[name] for name in parts.names],
        )
        own = fit_params.get(SHARED, {})
        task = self._with_shared(task, self._fit_shared(parts, table, y, weight, own))
        self._train(parts, _positive_rows(task), previous, X, y)
        return self

    @tells_once
    def _partial_fit(self, X, y, sample_weight, freeze, classes=None):
        if self.n_members > 1:
            raise ValueError(
                f"partial_fit got n_members={self.n_members}, but expected 1; train "
                "the members one by one and average their predictions."
            )
        before, parts = self._as_read(), self._resolve_parts()
        check_freeze(freeze, parts.names)
        previous = self._previous(parts)
        fresh = previous is None
        experts = parts.by_name()
        table = self._read(X, reset=fresh, gate=parts.gate, experts=experts)
        y, weight = self._read_batch(table, y, sample_weight, fresh, classes)
        if not fresh:
            self._check_same(before, "_n_outputs")
        weight, unit = counted_weights(weight)
        if fresh:
            self._fit_features(table, y, weight, parts.gate, experts)
            offset = self._fit_shared(parts, table, y, weight, {})
        else:
            offset = self._offset(table)
        task = self._make_task(parts, table, y, weight, unit).with_start(freeze=freeze)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        task = _positive_rows(self._with_shared(task, offset).with_recipe(seed=seed))
        own = task.going_on(None if fresh else previous[0])
        fit = parts.trainer.fit_batch(own.rows, own.recipe, own.start, own.report)
        self._commit(task, [own.numbered(fit)])
        return self

    def _read_size(self, task, sizes):
        """Exposures or trials of rows: none here."""
        return

    def _split(self, parts, task, split_params):
        """Folds by the splitter of the trainer, of all rows; None if it has none."""
        splitter = parts.trainer.splitter
        if splitter is None:
            return None
        if parts.shared is not None:
            raise ValueError(
                f"{type(self).__name__} got shared_expert with cv={splitter!r}, but a "
                "shared expert is fitted to random folds, which would part groups; "
                "give cv as an integer, or the expert as one of the others."
            )
        return draw_folds(
            task.rows.labels, task.rows.classes, splitter, 0, split_params
        )

    def _make_task(self, parts, table, y, weight, unit):
        gate_view, expert_views = self._training_views(
            table, parts.gate, parts.experts, parts.trainer.keeps_sparse
        )
        widths = zip(parts.names, expert_views, strict=True)
        self._widths = {"the gate": gate_view.shape[1]}
        self._widths.update((name, view.shape[1]) for name, view in widths)
        rows = Rows(
            gate_view=gate_view,
            expert_views=expert_views,
            y=self._encode(y),
            labels=y,
            classes=getattr(self, "classes_", None),
            weight=weight,
            weight_unit=unit,
        )
        recipe = Recipe(
            **self._seeded(parts),
            router=parts.router,
            names=parts.names,
            n_jobs=self.n_jobs,
            has_shared=parts.shared is not None,
            pooled=self._pool() is not None,
            named=self._names_given(),
        )
        start = Start(n_init=self.n_init, resp=getattr(self, "_start_resp", None))
        return Task(rows, recipe, start)

    def _seeded(self, parts, member=0):
        """Copies of what may be random, with the seeds of one member."""
        experts = [e if is_frozen(e) else clone(e) for e in parts.experts]
        # A gate, or a model of the variance, may be as random as an expert.
        others = {"likelihood": clone(parts.likelihood), "gate": clone(parts.gate)}
        seeds = self._seed_experts(parts.names, experts, member)
        self._seed_experts([*others], [*others.values()], member)
        return {"experts": experts, "expert_seeds": seeds, **others}

    def _train(self, parts, task, previous, X, y):
        rng = check_random_state(self.random_state)
        context = self._open_callbacks(X, y)
        fits = []
        for member in range(self.n_members):
            if member:
                # Draws of trainers differ by the seed of the task already.
                own = self._seeded(parts, member)
                own["expert_seeds"] = task.recipe.expert_seeds
                task = task.with_recipe(**own)
            task = task.with_recipe(seed=int(rng.randint(np.iinfo(np.int32).max)))
            task = task.with_start(only=member if self.n_members > 1 else None)
            own = task.going_on(previous[member] if previous else None)
            report = Report(self._reporter(context, task, own, X, y), self._tell)
            fits.append(
                own.numbered(trained(parts.trainer, replace(own, report=report)))
            )
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

    def _seed_experts(self, names, experts, member=0):
        """Seed unseeded experts by name, so that neither order nor chance matters.

        Returns the seeds of the resamples of experts that take no weights.
        """
        rng = check_random_state(self.random_state)
        base = int(rng.randint(np.iinfo(np.int32).max, size=member + 1)[-1])
        seeds = [murmurhash3_32(name, seed=base, positive=True) for name in names]
        for seed, expert in zip(seeds, experts, strict=True):
            if not is_frozen(expert):
                seed_unseeded(expert, np.random.RandomState(seed))
        return [int(seed) for seed in seeds]

    def _check_size(self, table, weight, n_experts):
        n_rows = int(np.count_nonzero(weight))
        if n_rows < n_experts or n_rows < 2:
            raise ValueError(
                f"{type(self).__name__} got n_samples={n_rows} with positive weight, "
                f"but {n_experts} experts need at least {max(2, n_experts)} rows; "
                "use fewer experts or more rows."
            )

    # -- callbacks ---------------------------------------------------------------

    def _open_callbacks(self, X, y):
        if not getattr(self, "_skl_callbacks", None):
            return None
        context = self._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return context

    def _tell(self, text):
        if self.verbose:
            print(f"[{type(self).__name__}] {text}")

    def _reporter(self, context, task, own, X, y):
        def report(iteration, bound, make_fit):
            self._tell(f"iteration {iteration}: {bound:.6f}")
            if context is None:
                return False
            sub = context.subcontext(task_name="iteration")
            sub.call_on_fit_task_begin(estimator=self, X=X, y=y)
            return sub.call_on_fit_task_end(
                estimator=self,
                X=X,
                y=y,
                reconstruction_attributes=lambda: self._attributes(
                    task, own.numbered(make_fit())
                ),
            )

        return report


def _weighted_parts(parts, weight):
    """What is fitted to rows of unequal weight, by name."""
    unequal = np.ptp(weight[weight > 0]) > 0
    weighs = parts.trainer.weighs_rows or unequal
    found = parts.by_name() if weighs else {}
    model = getattr(parts.likelihood, "model", None)
    # Its rows have responsibilities for weights under any trainer.
    if model is not None and (weighs or len(parts.experts) > 1):
        found["likelihood"] = model
    return found


def _positive_rows(task):
    """Drop rows of weight zero: they must count for nothing anywhere."""
    rows = np.flatnonzero(task.rows.weight > 0)
    if len(rows) == len(task.rows.weight):
        return task
    return task.on_rows(rows)


def warn_of_light_weights(parts, weight, unit):
    """Warn where the weights of all rows are little beside the penalties."""
    total, n_rows = weight.sum() * unit, np.count_nonzero(weight)
    own = [e.penalty_rows for e in parts.experts if isinstance(e, BuiltInExpert)]
    own += [parts.gate.penalty_rows] if isinstance(parts.gate, BaseGate) else []
    against = max(own, default=0.0) * len(parts.experts)
    light = total < LIGHT * n_rows and LIGHT * total < against
    if light and parts.trainer.penalties_see_weight:
        warn(
            f"sample_weight sums to {total:.3g} for {n_rows} rows, but penalties count "
            "in rows of weight one and so outweigh the data; pass sample_weight * "
            "(len(sample_weight) / sample_weight.sum()) if only ratios matter, or a "
            "smaller alpha.",
            UserWarning,
        )
