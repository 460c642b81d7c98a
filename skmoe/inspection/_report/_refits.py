"""Sections that fit again: one expert instead of many, other seeds."""

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import adjusted_rand_score

from ..._estimators.classifier import MoEClassifier
from ..._estimators.parts import asked_of, has_own_names
from ..._estimators.regressor import MoERegressor
from .._numbers import number, numbers
from ._parts import Section, Table, Words
from ._quality import scores
from ._svg import percent

HELD_OUT = 0.25


def as_fitted(model):
    """An unfitted mixture of as many experts, whose number is not chosen again."""
    other = clone(model)
    if model._learned.choice is not None:
        other.set_params(n_experts=model.n_experts_ // model.n_members)
    return other


def alternatives(model):
    """Unfitted mixtures of one expert with the parts of another one, by name.

    Parameters
    ----------
    model : fitted mixture

    Returns
    -------
    dict of unfitted mixtures
        One where all experts are copies of each other, else one for each.
    """
    kind = MoEClassifier if is_classifier(model) else MoERegressor
    own = clone(model).get_params(deep=False)
    known = kind().get_params(deep=False)
    # Of one expert there is nothing to choose, so that there is no gate either.
    alone = {"gate": "constant", "router": None, "gate_features": None}
    options = {name: own[name] for name in known if name in own} | alone
    if not has_own_names(options["experts"]):
        return {"one expert": kind(**options | {"n_experts": 1})}
    found = {}
    for name, expert in _asked(model).items():
        features = options["expert_features"]
        if isinstance(features, dict):
            features = {k: v for k, v in features.items() if k == name} or None
        one = {"experts": [(name, expert)], "expert_features": features}
        found[f"{name} alone"] = kind(**options | one)
    return found


def _asked(model):
    """Unfitted experts by the names that they have in the mixture."""
    pool = vars(model).get("expert_pool_", ())
    if pool:
        return {own.name: clone(own.estimator) for own in pool if not own.dropped}
    named = asked_of(model).named
    return {name: clone(own) for name, own in zip(*named, strict=True)}


def halves(given):
    """Rows to fit to, and others to be scored on, of classes that the former have."""
    codes, n_rows = given.rows.groups, len(given.rows.numbers)
    # A group is held out as a whole.
    units = np.arange(n_rows) if codes is None else np.unique(codes)
    order = given.rng().permutation(units)
    held = np.isin(
        units if codes is None else codes, order[: max(1, round(HELD_OUT * len(order)))]
    )
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    if given.own.is_classifier:
        test = test[np.isin(given.target[test], given.target[train])]
    return given.rows.only(train), given.rows.only(test)


def comparison_section(given):
    """The mixture against one expert, both fitted again and scored on held-out rows."""
    train, test = halves(given)
    own, table = given.own.refitted(train.X, train.y)
    seen = own.seen(test.X)
    rivals = {"the mixture": as_fitted(given.model)} | alternatives(given.model)
    found = {
        name: scores(_fitted(rival, table, train), seen, test)
        for name, rival in rivals.items()
    }
    header = list(found["the mixture"])
    columns = [numbers(own[name] for own in found.values()) for name in header]
    rows = [[name, *own] for name, *own in zip(found, *columns, strict=True)]
    note = (
        f"All were fitted anew to {len(train.numbers)} rows drawn at random from those "
        f"given, and scored on the {len(test.numbers)} others. One expert has the same "
        "parameters as the mixture but no gate and no router. Log-densities are in "
        "nats; a higher one is better. The mixture has the number of experts that "
        "it was fitted with, even where this was chosen by measurement."
    )
    return Section("Against one expert", [Table(["", *header], rows), Words(note)])


def stability_section(given, n_seeds):
    """The same mixture from other seeds."""
    found, rows = [], given.rows
    for seed in range(n_seeds):
        other = as_fitted(given.model).set_params(random_state=seed)
        _fitted(other, given.table, rows)
        lead = other.gate_proba(given.table).argmax(axis=1)
        alike = adjusted_rand_score(given.leader, lead)
        loads = np.sort(other.expert_load_)[::-1][:8]
        found.append((seed, other, alike, loads, scores(other, given.table, rows)))
    names = list(found[0][4])
    columns = [numbers(own[4][name] for own in found) for name in names]
    header = ["seed", "experts", "loads", *names, "agreement"]
    table = [
        [
            str(seed),
            str(other.n_experts_),
            ", ".join(map(percent, loads)),
            *own,
            number(alike, 2),
        ]
        for (seed, other, alike, loads, _), *own in zip(found, *columns, strict=True)
    ]
    mean = np.mean([own[2] for own in found])
    note = (
        f"The same mixture, fitted to the {len(rows.numbers)} rows of this report from "
        f"{n_seeds} seeds. Agreement: adjusted Rand index of the leading experts with "
        f"those of the mixture reported, 1 if all rows are led alike and 0 by chance; "
        f"its mean is {mean:.2f}. The number of experts is the one reported, even "
        "where this was chosen by measurement."
    )
    return Section("Over seeds", [Table(header, table), Words(note)])


def _fitted(model, table, rows):
    weight = rows.weight if np.ptp(rows.weight) > 0 else None
    sizes = rows.sizes if rows.groups is None else rows.sizes | {"groups": rows.groups}
    return model.fit(table, rows.y, sample_weight=weight, **sizes)
