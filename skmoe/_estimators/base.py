"""What both estimators share: parameters, and the course of a fit."""

from __future__ import annotations

import functools
import numbers
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)

from .._sklearn import (
    CallbackSupportMixin,
    HasMethods,
    Interval,
    StrOptions,
    fit_context,
    printed_as_estimator,
    raise_for_params,
    routing_enabled,
    safe_indexing,
    with_callbacks,
)
from .._typing import Method, Table
from .._warnings import quietly, tells_once
from ..data import RowSource
from ..exceptions import ExpertCollapseWarning, did_you_mean
from ..experts._base import seed_experts, traits
from ..trainers._task import Trainer
from .answers import fitted_mixture
from .choice import sized
from .common import with_common, with_fixed
from .evaluation import Evaluation
from .fitted import (
    Learned,
    as_read,
    check_same,
    commit,
    fit_and_commit,
    is_open,
    previous_fits,
    read_before,
    settled,
)
from .lean import LeftOut, is_lean
from .parameters import ExpertParameters, refuse_classes, warn_before
from .parts import (
    AUTO,
    BOUND,
    MOST_EXPERTS,
    SHARED,
    SPLITTER,
    asked_of,
    flat_gate,
    has_own_names,
    resolve,
)
from .presets import EXPERTS, TRAINERS
from .shared import fit_shared
from .shown import block_of, few_of
from .sources import fit_source
from .splits import splitting, with_judges
from .start import read_start
from .subjects import check_constant, read_groups
from .training import (
    check_given,
    check_size,
    given_rows,
    make_task,
    positive_rows,
    told_of_compiling,
    train_batch,
    training_size,
    warn_of_weights,
    widths_of,
    with_options,
    with_shared,
)
from .views import Reading, fit_views, training_views, what_all_allow

# What ``partial_fit`` can leave alone, besides experts by name.
FREEZE = ("experts", "gate")


def can_partial_fit(model):
    """Whether a trainer learns the parts of a mixture batch by batch."""
    trainer = model.trainer
    if isinstance(trainer, type):
        # Not an instance, which the method itself refuses.
        return True
    kind = TRAINERS.get(trainer) if isinstance(trainer, str) else type(trainer)
    refused = f"trainer={trainer!r}; use trainer='em' or trainer='gradient'"
    if kind is not None and kind.takes_batches:
        try:
            parts = model._resolve()
            refused = parts.trainer.refused_batches(parts, model.n_members)
        except (TypeError, ValueError):
            # The method itself says what is wrong.
            return True
        if is_lean(model):
            # The method itself says so.
            return True
        if refused is None and model._learned is not None:
            refused = parts.trainer.refused_state(model._learned.state)
    if refused is not None:
        raise AttributeError(
            f"{type(model).__name__} has no partial_fit with {refused}."
        )
    return True


def check_freeze(freeze, names, owner="partial_fit"):
    """Raise ``ValueError`` unless ``freeze`` says what stays as it is."""
    known = freeze is None or (isinstance(freeze, str) and freeze in FREEZE)
    if isinstance(freeze, (list, tuple)):
        known = all(isinstance(name, str) and name in names for name in freeze)
    if not known:
        raise ValueError(
            f"{owner} got freeze={freeze!r}, but expected None, 'experts', 'gate' or a "
            f"list of names out of {names}" + did_you_mean(freeze, FREEZE)
        )


def transactional(fit: Method) -> Method:
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

    return cast(Method, wrapped)


def checked(fit: Method) -> Method:
    """A ``fit`` that validates parameters, warns once, and is undone if it raises."""
    validated = fit_context(prefer_skip_nested_validation=False)(tells_once(fit))

    @functools.wraps(fit)
    def kinds_first(self, *args, **kwargs):
        refuse_classes(self)
        warn_before(self)
        return validated(self, *args, **kwargs)

    return cast(Method, transactional(kinds_first))


@printed_as_estimator
class BaseMoE(CallbackSupportMixin, TransformerMixin, Evaluation, ExpertParameters):
    """Parameters, and the course of a fit, whatever the task.

    A subclass gives ``_classify``, ``_target`` and ``fit``.
    """

    # What a fitted mixture keeps besides its public attributes.
    _learned: Any = None
    # What a lean copy does not have, and says so.
    history_ = LeftOut()
    lower_bounds_ = LeftOut()
    expert_pool_ = LeftOut()

    _parameter_constraints = {
        "experts": [
            HasMethods(["fit"]),
            HasMethods(["members"]),
            StrOptions({"auto", *EXPERTS}),
            list,
            tuple,
            None,
        ],
        "n_experts": [
            Interval(numbers.Integral, 1, MOST_EXPERTS, closed="both"),
            StrOptions({AUTO}),
        ],
        "gate": [str, HasMethods(["fit"])],
        "router": [
            Interval(numbers.Integral, 1, None, closed="left"),
            HasMethods(["route"]),
            None,
        ],
        "trainer": [str, HasMethods(["fit"])],
        "shared_expert": [HasMethods(["fit"]), StrOptions({*EXPERTS}), None],
        "gate_features": "no_validation",
        "expert_features": "no_validation",
        "n_members": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_init": [Interval(numbers.Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- what scikit-learn asks ---------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        learned = self._learned
        allowed = learned.views.allowed if learned else what_all_allow(asked_of(self))
        tags.input_tags.allow_nan, tags.input_tags.sparse = allowed
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata routing of this object and its experts."""
        router = MetadataRouter(owner=self).add_self_request(self)
        mapping = MethodMapping().add(caller="fit", callee="fit")
        named = asked_of(self).by_name
        if not has_own_names(self.experts):
            # All are copies of one, and a shared expert is the last.
            shared = {k: v for k, v in named.items() if k == SHARED}
            named = {"experts": next(iter(named.values())), **shared}
        if isinstance(self.trainer, Trainer) and self.trainer.splitter is not None:
            splitting = MethodMapping().add(caller="fit", callee="split")
            router.add(**{SPLITTER: self.trainer.splitter}, method_mapping=splitting)
        return router.add(**named, method_mapping=mapping)

    def __repr__(self, N_CHAR_MAX=700):
        text, few = super().__repr__(N_CHAR_MAX), few_of(self)
        return text if few is None else f"{text}  # {few} of at most {BOUND} experts"

    def _sk_visual_block_(self):
        return block_of(self)

    # ``set_output`` wraps the method only where the class defines it itself.
    def transform(self, X: Table) -> NDArray:
        """Gate weights as features; the same as :meth:`gate_proba`."""
        return self.gate_proba(X)

    # -- fitting -----------------------------------------------------------------

    def _resolve(self, n_experts=None):
        """Objects for what the user wrote, checked and cloned."""
        return resolve(asked_of(self, n_experts), flat_gate)

    def _previous(self, parts):
        """Earlier fits to continue from, one per member, or None."""
        return previous_fits(self, parts)

    def _fit(self, X, y, sample_weight, fit_params, sizes, start=None, groups=None):
        with told_of_compiling(self):
            if isinstance(X, RowSource):
                beside = {"y": y, "sample_weight": sample_weight, "groups": groups}
                given = beside | {"start": start} | sizes | fit_params
                return fit_source(self, X, **given)
            given = X, y, sample_weight, fit_params, sizes, start, groups
            return self._fit_rows(*given)

    def _fit_rows(self, X, y, sample_weight, fit_params, sizes, start, groups):
        owner, before, parts = type(self).__name__, read_before(self), self._resolve()
        reading = Reading(parts.asked, parts.gate.node_gate)
        table = reading.read(self, X)
        rows = self._target.read(y, table, sample_weight, self)
        known = None if groups is None else read_groups(groups, table.n_rows, owner)
        given = given_rows(table, *rows, known)
        parts, resp = self._screen(parts, given), None
        if start is not None:
            resp = read_start(start, parts, given, self, is_open(self, parts))
        goes_on = self.warm_start and parts.trainer.continues and resp is None
        parts, counts = settled(self, parts, goes_on, resp)
        previous = self._previous(parts) if goes_on else None
        if previous is not None:
            check_same(before, as_read(self, given.target), owner)
        check_given(parts, given)
        views = fit_views(reading, parts.by_name(), given, self.random_state)
        if groups is not None:
            check_constant(parts, given, views.gate, self)
        routed = route_fit_params(self, parts, fit_params, groups)
        seen = training_views(views, table, parts)
        parts = placed(self, parts, views, table)
        task = make_task(self, parts, given, seen, resp)
        widths = widths_of(parts.names, seen)
        if previous is not None:
            check_same(before, {"widths": widths}, owner)
        task, shared = completed(self, task, parts, given, views, sizes, *routed)
        choice = None if previous is None else self._learned.choice
        if counts:
            parts, task, views, choice = sized(self, parts, task, views, given.target)
        warn_of_weights(parts, given)
        learned = Learned(views, given.target, shared, widths, choice=choice)
        beside = tuple(name for name, own in sizes.items() if own is not None)
        learned = learned._replace(n_groups=given.n_groups, beside=beside)
        return fit_and_commit(self, parts, task, previous, learned, X, y)

    def _partial_fit(self, X, y, sample_weight, freeze, classes=None, sizes=None):
        if self.n_members > 1:
            raise ValueError(
                f"partial_fit got n_members={self.n_members}, but expected 1; train "
                "the members one by one and average their predictions."
            )
        parts, counts = settled(self, self._resolve(), goes_on=True)
        check_freeze(freeze, parts.names)
        (previous,) = self._previous(parts) or (None,)
        reading = Reading(parts.asked, parts.gate.node_gate)
        views = reading if previous is None else self._learned.views
        table = views.read(self, X)
        earlier = None if previous is None else self._learned.target
        given = given_rows(
            table,
            *self._target.read_batch(y, table, sample_weight, self, earlier, classes),
        )
        size = training_size(parts, given, sizes or {})
        if previous is None:
            return first_batch(self, parts, given, reading, freeze, counts, size)
        parts, task, learned = after_fit(self, parts, previous, given, size)
        fit = train_batch(self, parts, task, previous, freeze)
        commit(self, learned, task, [fit])
        return self

    def _screen(self, parts, given):
        """The parts without the members of a pool that do not suit the data."""
        vars(self).pop("expert_pool_", None)
        if parts.asked.pool is None:
            return parts
        self.expert_pool_ = screened(parts, given)
        kept = [member for member in self.expert_pool_ if not member.dropped]
        names = [member.name for member in kept]
        return parts._replace(
            names=names,
            experts=[member.estimator for member in kept],
            router=parts.router.of_experts(names),
        )


@with_callbacks
@checked
def fit_from(model, X, y, sample_weight=None, *, resp, groups=None, **sizes):
    """Fit a mixture from responsibilities (n, K); returns it.

    ``sizes`` are ``offset`` or ``trials`` of a regressor.
    """
    return model._fit(X, y, sample_weight, {}, sizes, resp, groups)


def placed(model, parts, views, table):
    """The parts, whose experts know columns of fixed coefficients by position."""
    if any(traits(own).holds for own in parts.by_name().values()):
        return with_fixed(model, parts, views, table)
    return parts


def check_groups(model, X, y, sample_weight, groups):
    """Raise ``GroupsDiffer`` where a mixture would not be fitted to groups for what
    its gate reads."""
    parts = model._resolve()
    reading = Reading(parts.asked, parts.gate.node_gate)
    table = reading.read(model, X)
    known = read_groups(groups, table.n_rows, type(model).__name__)
    rows = model._target.read(y, table, sample_weight, model)
    given = given_rows(table, *rows, known)
    views = fit_views(reading, parts.by_name(), given, model.random_state)
    check_constant(parts, given, views.gate, model)


def after_fit(model, parts, previous, given, size):
    """Placed parts, the task of rows that come after a fit, and what is ``Learned``."""
    table, before = given.table, model._learned
    n_outputs = {"n_outputs": given.target.n_outputs}
    check_same(read_before(model), n_outputs, type(model).__name__)
    views = before.views.spread(previous.kept, len(parts.experts))
    parts = placed(model, parts, views, table)
    seen = training_views(views, table, parts)
    task = make_task(model, parts, given, seen).with_rows(size=size)
    task = positive_rows(with_shared(task, fitted_mixture(model).offset(table)))
    widths = widths_of(parts.names, seen)
    known = views, given.target, before.shared, widths
    return parts, task, Learned(*known, choice=before.choice)


def first_batch(model, parts, given, reading, freeze, counts, size):
    """A mixture after the first of its batches."""
    if parts.trainer.fits_first_batch:
        check_size(parts, int(np.count_nonzero(given.weight)))
    views = fit_views(reading, parts.by_name(), given, model.random_state)
    shared, offset = fit_shared_of(model, parts, given, views, {})
    parts = placed(model, parts, views, given.table)
    seen = training_views(views, given.table, parts)
    task = make_task(model, parts, given, seen).with_rows(size=size)
    task, choice = positive_rows(with_shared(task, offset)), None
    widths = widths_of(parts.names, seen)
    if counts and parts.trainer.fits_first_batch:
        parts, task, views, choice = sized(model, parts, task, views, given.target)
    learned = Learned(views, given.target, shared, widths, choice=choice)
    # Where so many are the most there may be, nobody expects all of them.
    kinds = () if choice is None else ExpertCollapseWarning
    fit = quietly(train_batch, model, parts, task, None, freeze, kinds=kinds)
    commit(model, learned, task, [fit])
    return model


def screened(parts, given):
    """All members of a pool, with the reasons of those that do not suit the data."""
    asked = parts.asked
    if asked.pool.terms().is_bounded and not parts.trainer.keeps_budgets:
        raise ValueError(
            f"{asked.owner} got {asked.pool!r} and trainer={parts.trainer!r}, which "
            "keeps no budgets; use trainer='two-stage'."
        )
    rows = np.flatnonzero(given.weight > 0)
    X = safe_indexing(given.table.raw, rows)
    apart = [name for name in parts.names if asked.features_of(name) is not None]
    return asked.pool.screen(parts.names, parts.experts, X, given.labels[rows], apart)


def completed(model, task, parts, given, views, sizes, fit_params, split_params):
    """A task with what not all fits have, and the fitted shared expert."""
    split, trainer = None, parts.trainer
    if given.groups is not None or trainer.splitter is not None:
        split = splitting(parts, split_params, given.groups)
    task = with_options(
        task,
        trainer,
        training_size(parts, given, sizes),
        split,
        [fit_params[name] for name in parts.names],
    )
    if any(traits(expert).shares for expert in parts.experts):
        task = with_common(model, task, parts.experts, views.experts)
    own = fit_params.get(SHARED, {})
    shared, offset = fit_shared_of(model, parts, given, views, own)
    task = positive_rows(with_shared(task, offset))
    if trainer.judges is not None:
        task = with_judges(model, task, parts, given.target, views, shared)
    return task, shared


def route_fit_params(model, parts, fit_params, groups=None):
    """Arguments of each expert's ``fit``, by name, and of the splitter."""
    names = parts.by_name()
    if groups is not None and routing_enabled():
        fit_params = {**fit_params, "groups": groups}
    if not routing_enabled():
        raise_for_params(fit_params, model, "fit", allow=[])
        return {name: {} for name in names}, {}
    routed = process_routing(model, "fit", **fit_params)
    split_params = dict(routed.get(SPLITTER, {}).get("split", {}))
    common = not has_own_names(parts.asked.experts)
    keys = {n: "experts" if common and n != SHARED else n for n in names}
    fit_params = {
        n: {} if n in dict(parts.asked.bare) else dict(routed[k]["fit"])
        for n, k in keys.items()
    }
    return fit_params, split_params


def fit_shared_of(model, parts, given, views, fit_params):
    """The fitted shared expert and its out-of-fold contribution; None for both."""
    if parts.shared is None:
        return None, None
    (seed,) = seed_experts(model.random_state, [SHARED], [parts.shared])
    return fit_shared(
        parts.shared,
        views.shared.training(given.table),
        given.labels,
        given.weight,
        classes=given.target.classes,
        seed=seed,
        n_jobs=model.n_jobs,
        fit_params=fit_params,
        groups=None if given.groups is None else given.groups.codes,
    )
