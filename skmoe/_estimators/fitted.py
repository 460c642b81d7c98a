"""What becomes of trained parts: attributes of the estimator, and back."""

import functools
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .. import mixture
from .._numerics.calibration import Calibration, averaged
from .._warnings import quietly, warn
from ..exceptions import ExpertCollapseWarning
from ..experts._base import BuiltInExpert, called
from ..experts._foreign import holds_frozen
from ..gates._base import BaseGate
from ..gates._tree import NoiseTreeGate
from ..likelihoods._base import is_listed
from ..trainers._task import Fit, counts_of
from .answers import Seen, fitted_mixture, of_subjects
from .exact import held_up, warn_of_matching
from .lean import refuse_lean
from .members import MembersGate, MembersRouter
from .parts import AUTO, BOUND, SHARED, has_own_names
from .shared import SharedExpert
from .training import Reporter, parts_of_size, train
from .views import Views

# What scikit-learn's validation of X has set; members and snapshots need it, too.
COLUMNS = ("n_features_in_", "feature_names_in_")
# Where ``history_`` keeps how many experts pay.
AUTO_KEY = "n_experts"


class Learned(NamedTuple):
    """What a fitted mixture keeps besides its public attributes.

    Attributes
    ----------
    views : Views of the experts that are left
    target : ValueTarget or ClassTarget
    shared : SharedExpert or None
    widths : dict of the number of columns that each part was trained on
    kept : numbers of the experts that are left of those asked for
    n_asked : int, experts asked for
    state : what the trainer needs to continue, or None
    before : experts and likelihoods at the maximum of the penalised objective, or None
    choice : record of how many experts pay, or None where their number was given
    n_groups : groups of rows that were given, or None
    beside : names of what else was given of rows, ``offset`` or ``trials``
    lean : bool, whether what only training needs has been left out
    constant_gate : bool, whether weights were seen to be the same for every row
    calibration : Calibration of the levels of the distribution, or None
    """

    # Files hold fields by their places, so those that are new come last.
    views: Views
    target: object
    shared: SharedExpert | None
    widths: dict
    kept: list = ()
    n_asked: int = 0
    state: object = None
    before: object = None
    choice: dict | None = None
    n_groups: int | None = None
    beside: tuple = ()
    lean: bool = False
    constant_gate: bool = False
    calibration: Calibration | None = None

    def after(self, task, fit):
        """The same after training, for the experts that are left."""
        return self._replace(
            views=self.views.only(fit.kept),
            kept=fit.kept,
            n_asked=task.recipe.n_experts,
            state=fit.state,
            before=fit.before,
            calibration=fit.calibration,
        )


def previous_fits(model, parts):
    """Earlier fits to continue from, one per member, or None.

    Experts that were lost on the way stay lost; ``kept`` says which are left.
    """
    if model._learned is None:
        return None
    refuse_lean(model)
    owner = type(model).__name__
    shared = parts.asked.shared_expert
    if (shared is None) != (model.shared_expert_ is None):
        raise ValueError(
            f"{owner} got shared_expert={shared!r}, but "
            f"was fitted with {model.shared_expert_!r}, and its experts model what "
            "that leaves; clone the estimator to start afresh."
        )
    members = members_of(model)
    n_experts, sizes = len(parts.experts), {len(m.experts_) for m in members}
    known = all(n_experts in (len(m.experts_), m._learned.n_asked) for m in members)
    if len(members) != model.n_members or not known:
        raise ValueError(
            f"The fitted mixture has {len(members)} members with {sizes} experts, "
            f"but {model.n_members} with {n_experts} are asked for; clone "
            "the estimator to start afresh."
        )
    _check_kinds(parts, members, owner)
    return [_as_fit(m, n_experts) for m in members]


def is_open(model, parts):
    """Whether rows are to say how many experts a mixture has.

    They are not where the experts, or the classes of a frozen gate, are counted.
    """
    asked, gate = parts.asked, parts.gate.node_gate
    features = asked.expert_features
    named = isinstance(features, dict) and bool({*features} - {SHARED})
    counted = named or has_own_names(asked.experts) or is_listed(asked.likelihood)
    frozen = gate.foreign is not None and holds_frozen(gate.foreign)
    return model.n_experts == AUTO and not counted and not frozen


def settled(model, parts, goes_on, resp=None):
    """Parts of as many experts as are known, and whether rows are to say how many.

    Parameters
    ----------
    model : mixture
    parts : ResolvedParts of as many experts as there may be
    goes_on : bool, whether training goes on from an earlier fit, if there is one
    resp : (n, K) responsibilities to start from, or None
    """
    if not is_open(model, parts):
        return parts, False
    n_bare = parts.asked.n_bare
    if resp is not None:
        size = np.shape(resp)[1] - n_bare
    elif goes_on and model._learned is not None:
        size = model._learned.n_asked - n_bare
    else:
        return parts._replace(least_rows=1), True
    parts = parts if size <= BOUND else model._resolve(size)
    return parts_of_size(parts, max(size, 1)), False


def members_of(model):
    """The parts of an average; a mixture that is none is its own only one."""
    return vars(model).get("members_", [model])


def _check_kinds(parts, members, owner):
    """Raise ``ValueError`` for parts of another kind than those that were fitted."""
    numbers = zip(members[0]._learned.kept, members[0].likelihoods_, strict=False)
    for number, fitted in numbers:
        if fitted.is_bare:
            continue
        asked = parts.likelihood.of_expert(number)
        models = [own.models_variance and type(own.model) for own in (asked, fitted)]
        if type(asked) is not type(fitted) or models[0] is not models[1]:
            raise ValueError(
                f"{owner} got likelihood={asked!r}, but was fitted with "
                f"{fitted!r}; clone the estimator to start afresh."
            )
    constant = isinstance(parts.gate, NoiseTreeGate)
    if any(isinstance(m.gate_, NoiseTreeGate) != constant for m in members):
        raise ValueError(
            f"{owner} got noise={parts.asked.noise!r}, but was fitted with "
            "another share of noise; clone the estimator to start afresh."
        )
    for member in members:
        if not parts.gate.same_kind(member.gate_):
            raise ValueError(
                f"{owner} got gate={parts.asked.gate!r}, but was fitted "
                f"with {member.gate_!r}, a gate of another kind; clone the "
                "estimator to start afresh."
            )


def _as_fit(model, n_experts):
    """What was fitted, for a task with this many experts."""
    left, learned = len(model.experts_), model._learned
    return Fit(
        gate=model.gate_,
        experts=model.experts_,
        likelihoods=model.likelihoods_,
        kept=list(range(left)) if left == n_experts else learned.kept,
        log_likelihood=model.log_likelihood_,
        lower_bounds=model.lower_bounds_,
        load=model.expert_load_,
        n_iter=model.n_iter_,
        converged=model.converged_,
        history=model.history_,
        router=model.router_,
        state=learned.state,
        before=learned.before,
    )


def as_read(model, target, widths=None):
    """What a fit reads of X and y, to go on only with the same."""
    read = {name: vars(model).get(name) for name in COLUMNS}
    return {
        **read,
        "classes_": target.classes,
        "n_outputs": target.n_outputs,
        "widths": widths,
    }


def read_before(model):
    """What the last fit read; nothing where there was none."""
    learned = model._learned
    return {} if learned is None else as_read(model, learned.target, learned.widths)


def check_same(before, read, owner):
    """Raise ``ValueError`` if X or y are others than the last fit read."""
    for name, now in read.items():
        earlier = before.get(name)
        if earlier is None or now is None:
            continue
        if name == "widths":
            # Parts that see as much as before, or are gone, are none of the news.
            other = {k for k, n in now.items() if earlier.get(k, n) != n}
            earlier, now = ({k: own[k] for k in other} for own in (earlier, now))
        if not np.array_equal(earlier, now):
            raise ValueError(
                f"{owner} got {_told(name, now)}, but was fitted "
                f"with {_told(name, earlier)}, from which it cannot go on; clone "
                "the estimator to start afresh."
            )


def _told(name, value):
    """What was read, in words."""
    if name == "widths":
        return ", ".join(f"n_features={n} for {part}" for part, n in value.items())
    words = {
        "n_features_in_": "n_features={}",
        "feature_names_in_": "the columns {}",
        "classes_": "the classes {}",
        "n_outputs": "n_outputs={}",
    }
    return words[name].format(np.asarray(value).tolist())


def attributes_of(model, learned, task, fit):
    """Fitted attributes of one mixture, as a dict.

    ``learned`` is what was known before training, of all experts asked for.
    """
    names = [task.recipe.names[k] for k in fit.kept]
    router = task.recipe.router if fit.router is None else fit.router
    learned, shared = learned.after(task, fit), learned.shared
    told = {} if learned.choice is None else {AUTO_KEY: learned.choice}
    counts = counts_of(task.rows, fit) + [0 if shared is None else shared.n_parameters]
    read = {k: v for k, v in vars(model).items() if k in COLUMNS}
    if learned.target.classes is not None:
        read["classes_"] = learned.target.classes
    return {
        **read,
        "gate_features_": learned.views.gate.transformer,
        "expert_features_": [view.transformer for view in learned.views.experts],
        "shared_expert_": None if shared is None else shared.estimator,
        "gate_": fit.gate,
        "router_": router.resized(len(names)),
        "experts_": fit.experts,
        "named_experts_": dict(zip(names, fit.experts, strict=True)),
        "n_experts_": len(names),
        "n_groups_": learned.n_groups,
        "likelihoods_": fit.likelihoods,
        "log_likelihood_": fit.log_likelihood * task.rows.weight_unit,
        "lower_bounds_": fit.lower_bounds,
        "n_iter_": fit.n_iter,
        "converged_": fit.converged,
        "expert_load_": fit.load,
        "history_": {**fit.history, **told},
        "n_parameters_": None if None in counts else _total(counts),
        "_learned": learned,
    }


def _total(counts):
    """Sum of numbers of parameters, which need not be whole where penalties act."""
    total = float(sum(counts))
    # Parts that share a parameter count a fraction of it each.
    whole = round(total)
    return whole if abs(total - whole) < 1e-9 else total


def tell_idle(model, fits, names):
    """Say in ``expert_pool_`` which members no fit has kept, and why, and what has
    become of the others."""
    pairs = [own for fit in fits for own in zip(fit.kept, fit.experts, strict=True)]
    used = {}
    for k, expert in pairs:
        used.setdefault(names[k], []).append(called(names[k], expert))
    reasons = {name: why for fit in fits for name, why in fit.reasons.items()}
    for place, own in enumerate(model.expert_pool_):
        if own.name in used:
            # Members of an average may be corrected in different ways.
            news = {"called": " / ".join(dict.fromkeys(used[own.name]))}
        else:
            lost = reasons.get(own.name, "lost all its rows")
            news = {"dropped": own.dropped or lost}
        model.expert_pool_[place] = own._replace(**news)


def fit_and_commit(model, parts, task, previous, learned, X, y):
    """Train all members and set what becomes of it; returns the model.

    ``previous`` are fits to go on from, or None; X and y are what callbacks are told.
    """
    snapshot = functools.partial(attributes_of, model, learned, task)
    reporter = Reporter(model, X, y, snapshot)
    # Where so many are the most there may be, nobody expects all of them.
    kinds = () if learned.choice is None else ExpertCollapseWarning
    call = train, model, parts, task, previous, reporter
    fits = quietly(*call, kinds=kinds)
    commit(model, learned, task, fits)
    if task.recipe.pooled:
        tell_idle(model, fits, task.recipe.names)
    else:
        warn_of_floors(model, task.rows, fits, task.recipe.names)
        n_columns = max(view.shape[1] for view in task.rows.expert_views)
        if np.count_nonzero(task.rows.weight) <= n_columns:
            warn_of_matching(task.rows, fits, n_columns)
    reporter.end()
    return model


def commit(model, learned, task, fits):
    """Set the fitted attributes; those of an average of mixtures if there are more."""
    owner = type(model).__name__
    for fit in fits:
        check_finite(fit, task.recipe.names, owner)
    view = task.rows.gate_view
    seen = [learned._replace(constant_gate=fit.gate.is_constant(view)) for fit in fits]
    attributes = [
        attributes_of(model, own, task, fit)
        for own, fit in zip(seen, fits, strict=True)
    ]
    if len(fits) == 1:
        vars(model).pop("members_", None)
        vars(model).update(attributes[0])
        return
    members = []
    for own in attributes:
        member = clone(model).set_params(n_members=1)
        vars(member).update(own)
        members.append(member)
    vars(model).update(joined(members, attributes, learned.views))
    rows = task.rows
    density = _log_density(model, rows)
    total = float(rows.subjects.weight @ density)
    model.log_likelihood_ = total * rows.weight_unit
    check_number(model.log_likelihood_, "log-likelihood", owner)


def _log_density(model, rows):
    """Log-density (S,) of subjects under a mixture that is fitted to them."""
    views = [rows.expert_views[k] for k in model._learned.kept]
    seen = Seen(rows.gate_view, views, rows.log_prior, rows.size)
    parts = fitted_mixture(model).log_parts(seen, rows.y)
    return mixture.log_density(*of_subjects(*parts, rows.subjects))


def check_finite(fit, names, owner):
    """Raise ``ValueError`` for a fit that holds NaN or infinity.

    What is not built in may hold them by its own right.
    """
    check_number(fit.log_likelihood, "log-likelihood", owner)
    check_number(fit.lower_bounds[-1:], "objective", owner)
    check_number(fit.load, "load of the experts", owner)
    parts = [("gate", gate) for gate in fit.gate.nodes() if isinstance(gate, BaseGate)]
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


def joined(members, attributes, views):
    """Attributes of the average of several fitted mixtures.

    ``views`` are those of all experts that each of them was asked for.
    """
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
    shared = members[0]._learned.shared
    if shared is not None and None not in counts:
        # All members have the same one.
        counts = [counts[0], *(count - shared.n_parameters for count in counts[1:])]
    kept = [k for m in members for k in m._learned.kept]
    return {
        **best,
        "gate_": MembersGate([m.gate_ for m in members]),
        "router_": MembersRouter([m.router_ for m in members], sizes),
        "experts_": experts,
        "named_experts_": dict(zip(names, experts, strict=True)),
        "expert_features_": [f for m in members for f in m.expert_features_],
        "n_experts_": len(experts),
        "likelihoods_": [x for m in members for x in m.likelihoods_],
        "expert_load_": load,
        "converged_": all(m.converged_ for m in members),
        "n_parameters_": None if None in counts else _total(counts),
        "members_": members,
        "_learned": best["_learned"]._replace(
            views=views.only(kept),
            kept=kept,
            calibration=averaged([m._learned.calibration for m in members]),
        ),
    }


def warn_of_floors(model, rows, fits, names):
    """Warn of experts whose residuals are smaller than the floor lets their spread be.

    Parameters
    ----------
    model : fitted mixture, for its target and ``n_jobs``
    rows : Rows that it was trained on
    fits : list of Fit, one per member
    names : list of str, of all experts asked for
    """
    found = {}
    for fit in fits:
        held = [own.least_squares and own.floored_ for own in fit.likelihoods]
        if any(held):
            found |= held_up(model, rows, fit, names, np.flatnonzero(held))
    if not found:
        return
    least = 10.0 ** np.floor(np.log10(min(found.values())) - 1.0)
    warn(
        f"The standard deviation of {', '.join(map(repr, found))} is held up by the "
        "floor of the variance, above that of its residuals, so that intervals are too "
        f"wide; use likelihood=Gaussian(floor={least:.0e}) if y is so exact.",
        UserWarning,
    )
