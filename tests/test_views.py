"""What gate and experts see of X: it stands where they do."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._estimators import base, parts
from skmoe._estimators.base import fit_from
from skmoe._estimators.views import Allowed, Views
from skmoe._sklearn import InvalidParameterError
from skmoe.experts import AutoPool, LinearExpert
from skmoe.inspection import export_text
from skmoe.trainers import EM

NAMED = {"left": [0], "middle": [1, 2], "right": [0, 1, 2]}


def two_lines(**changes):
    """A mixture that loses the expert on the first column, and its rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = np.where(X[:, 2] > 0, 3 * X[:, 1], X[:, 2] - 2 * X[:, 1])
    model = MoERegressor(
        [(name, LinearExpert()) for name in NAMED],
        expert_features=NAMED,
        trainer=EM(min_load=0.3),
        random_state=0,
        **changes,
    )
    return model, X, y + 0.1 * rng.normal(size=400)


def columns_of(model):
    """Columns that each expert's transformer selects."""
    return [features.transformers[0][2] for features in model.expert_features_]


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.parametrize("n_members", [1, 3])
def test_what_experts_see_stands_where_they_do(n_members):
    model, X, y = two_lines(n_members=n_members)
    model.fit(X, y)
    left = list(NAMED)[1:]
    assert [name.split("_")[-1] for name in model.named_experts_] == left * n_members
    assert columns_of(model) == [NAMED[name] for name in left] * n_members
    seen = [t.transform(X) for t in model.expert_features_]
    each = [e.predict(v) for e, v in zip(model.experts_, seen, strict=True)]
    np.testing.assert_allclose(model.predict_experts(X), np.stack(each, axis=1))
    for member in vars(model).get("members_", []):
        assert columns_of(member) == [NAMED[name] for name in left]


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
def test_a_lost_expert_stays_lost_in_what_is_seen():
    model, X, y = two_lines(warm_start=True)
    before = columns_of(model.fit(X, y))
    assert columns_of(model.fit(X, y)) == before == [[1, 2], [0, 1, 2]]
    assert list(model.named_experts_) == ["middle", "right"]


def test_views_are_spread_over_what_was_asked_for():
    views = Views(None, ["second", "fourth"], None, False, Allowed(False, False))
    spread = views.spread([1, 3], 4).experts
    assert [spread[1], spread[3]] == ["second", "fourth"]
    assert len(spread) == 4
    assert views.only([1, 0, 1]).experts == ["fourth", "second", "fourth"]


def test_features_of_other_tasks_are_there_too(classification):
    X, y = classification
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    model = MoEClassifier(n_experts=2, gate_features=["x0"], expert_features=["x1"])
    model.fit(frame, y)
    assert len(model.expert_features_) == model.n_experts_
    assert list(model.gate_features_.get_feature_names_out()) == ["x0"]
    plain = MoEClassifier(n_experts=2).fit(X, y)
    assert plain.gate_features_ is None
    assert plain.expert_features_ == [None] * plain.n_experts_


def test_a_mixture_starts_from_what_it_is_given(regression):
    """Responsibilities are an argument, and leave nothing behind."""
    X, y = regression
    resp = np.eye(2)[(X[:, 0] > 0).astype(int)]
    model = MoERegressor(n_experts=2)
    first, second = (
        fit_from(clone(model), X, y, resp=own) for own in (resp, resp[:, ::-1])
    )
    np.testing.assert_allclose(first.gate_proba(X), second.gate_proba(X)[:, ::-1])
    assert {*vars(first)} == {*vars(model.fit(X, y))}
    with pytest.raises(InvalidParameterError, match="n_experts"):
        fit_from(clone(model).set_params(n_experts=0), X, y, resp=resp)


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
def test_text_names_the_columns_of_the_experts_that_are_left():
    _, X, y = two_lines()
    frame = pd.DataFrame(X, columns=["north", "east", "height"])
    model = HierarchicalMoERegressor(
        [(name, LinearExpert()) for name in NAMED],
        branching=(3,),
        expert_features=NAMED,
        trainer=EM(min_load=0.3),
        random_state=0,
    ).fit(frame, y)
    assert list(model.named_experts_) == ["middle", "right"]
    lines = export_text(model).splitlines()
    terms = lines[1 + next(k for k, own in enumerate(lines) if "middle" in own)]
    assert "east" in terms
    assert "north" not in terms


@pytest.mark.parametrize("experts", [None, AutoPool(include=["linear", "forest"])])
def test_a_fit_asks_once_what_the_user_wrote(experts, regression, monkeypatch):
    asked, found = base.asked_of, []
    pools, pool_of = [], parts.pool_of

    def counted(model, *own):
        found.append(asked(model, *own))
        return found[-1]

    def counting(experts):
        pools.append(experts)
        return pool_of(experts)

    monkeypatch.setattr(base, "asked_of", counted)
    monkeypatch.setattr(parts, "pool_of", counting)
    X, y = regression
    trainer = "em" if experts is None else "two-stage"
    model = MoERegressor(experts, n_experts=2, trainer=trainer, random_state=0)
    model.fit(X, y)
    own = [one for one in found if one.owner == "MoERegressor"]
    # Once by ``fit``; scikit-learn asks for the tags while it validates X.
    assert 1 <= len(own) <= 2
    # Beside these the choice of the size asks once.
    assert len(pools) <= 4


@pytest.mark.parametrize("name", ["gate_features", "expert_features"])
def test_a_column_that_is_not_there_is_told_by_its_name(name):
    X = pd.DataFrame({"age": np.arange(20.0), "bmi": np.arange(20.0) % 7})
    model = MoERegressor(n_experts=2, **{name: ["agee"]})
    with pytest.raises(ValueError, match=f"{name} got the column 'agee'.*mean 'age'"):
        model.fit(X, X["age"])
