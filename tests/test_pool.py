"""experts="auto": different experts for tables as they come."""

import importlib.util
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import KFold, LeaveOneOut, TimeSeriesSplit
from sklearn.utils import estimator_html_repr

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._estimators.pool_members import MEMBERS, OPTIONAL, USUAL
from skmoe.datasets import make_regimes
from skmoe.experts import AutoPool, TreesOnTables
from skmoe.gates import GroupGate
from skmoe.inspection import report
from skmoe.trainers import EM, TwoStage
from skmoe.trainers._em.experts import ExpertFits
from skmoe.trainers._em.refit import RefitMixture
from skmoe.trainers._two_stage import earning
from skmoe.trainers._two_stage.out_of_fold import OutOfFold

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.NoSampleWeightWarning",
)
QUICK = AutoPool(include=["linear", "neighbours", "boosting"])
TRAINER = TwoStage(cv=3, alphas=[10.0])
# One of them is fitted to a raw table below.
NETWORKS = ("network", "smooth_network")


def raw_table(n_rows=200, seed=0):
    """Numbers with gaps, text with gaps, a category, a flag, a constant."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=n_rows),
            "gaps": np.where(rng.random(n_rows) < 0.2, np.nan, rng.random(n_rows)),
            "town": rng.choice(["x", "y", "z"], n_rows).astype(object),
            "kind": pd.Categorical(rng.choice(["p", "q"], n_rows)),
            "flag": rng.random(n_rows) < 0.5,
            "same": 1.0,
        }
    )
    frame.loc[::17, "town"] = None
    target = frame["size"] + 2.0 * (frame["kind"] == "p") + 0.1 * rng.random(n_rows)
    return frame, target.to_numpy()


@pytest.mark.parametrize(
    "name",
    [own for own in MEMBERS if own not in (*NETWORKS, *OPTIONAL)]
    + [pytest.param(own, marks=pytest.mark.thorough) for own in NETWORKS],
)
@pytest.mark.parametrize(
    "classify", [False, pytest.param(True, marks=pytest.mark.thorough)]
)
def test_every_member_takes_raw_tables(name, classify):
    X, y = raw_table(360)
    y = np.where(y > 1, "high", "low") if classify else y
    kind = MoEClassifier if classify else MoERegressor
    model = kind(AutoPool(include=[name]), trainer=TRAINER, random_state=0)
    model.fit(X[:350], y[:350])
    assert [m.dropped for m in model.expert_pool_] == [None]
    assert model.score(X[:350], y[:350]) > 0.7
    # A category that was not seen.
    later = X[350:].assign(town="new")
    assert model.predict(later).shape == (10,)


@pytest.mark.thorough
def test_polars_and_arrays_of_objects():
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    frame = pl.from_pandas(X.astype({"kind": str}))
    np.testing.assert_allclose(clone(model).fit(frame, y).predict(frame), expected)
    array = X.astype(object).to_numpy()
    np.testing.assert_allclose(clone(model).fit(array, y).predict(array), expected)


@pytest.mark.thorough
def test_numbers_with_gaps_and_nothing_else():
    X, y = raw_table()
    numbers = X[["size", "gaps", "flag"]].astype(float)
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    expected = clone(model).fit(numbers, y).predict(numbers)
    found = clone(model).fit(numbers.to_numpy(), y).predict(numbers.to_numpy())
    np.testing.assert_allclose(found, expected)


@pytest.mark.thorough
def test_names_of_any_kind():
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    turned = X.set_axis(range(6, 0, -1), axis=1)
    found = clone(model).fit(turned, y).predict(turned)
    np.testing.assert_allclose(found, expected)


@pytest.mark.thorough
def test_columns_as_they_come():
    X, y = raw_table()
    whole = pd.array(np.arange(200) % 7, dtype="Int64")
    whole[3] = pd.NA
    X["whole"] = whole
    X["yes"] = pd.array(np.arange(200) % 2 == 0, dtype="boolean")
    X["name"] = X["town"].astype("string")
    X["mixed"] = [1 if i % 2 else "one" for i in range(200)]
    X["when"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(200), "D")
    X.loc[5, "when"] = pd.NaT
    X["empty"] = np.nan
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.8
    names = list(model.gate_features_.get_feature_names_out())
    assert "when" in names
    assert "yes" in names
    rows = X.drop(columns=["when"]).astype(object).to_numpy().tolist()
    listed = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    rows = [[None if v is pd.NA else v for v in row] for row in rows]
    assert listed.fit(rows, y).predict(rows[:3]).shape == (3,)


def test_few_rows_are_read_as_in_training():
    rng = np.random.default_rng(0)
    X = np.empty((200, 2), dtype=object)
    X[:, 0] = rng.normal(size=200)
    X[:, 1] = rng.choice(["1", "2", "x", None], 200)
    y = X[:, 0].astype(float) + (X[:, 1] == "1")
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(X, y)
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, model.predict(X[:20]))


@pytest.mark.thorough
def test_a_gap_elsewhere_changes_no_category():
    rng = np.random.default_rng(0)
    kind = rng.integers(1, 5, 200)
    y = np.array([0.0, 0.0, 5.0, -5.0, 9.0])[kind] + 0.1 * rng.normal(size=200)
    X = pd.DataFrame({"size": rng.normal(size=200), "kind": pd.Categorical(kind)})
    gaps = X.copy()
    gaps.iloc[::10, 1] = np.nan
    known = np.arange(200) % 10 > 0
    for trained, other in ((X, gaps), (gaps, X)):
        model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(trained, y)
        expected = model.predict(trained)[known]
        np.testing.assert_allclose(model.predict(other)[known], expected)
        np.testing.assert_allclose(model.predict(trained[known][:1]), expected[:1])


@pytest.mark.thorough
def test_frames_of_objects_are_read_as_arrays_of_them():
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    objects = X.astype(object)
    np.testing.assert_allclose(clone(model).fit(objects, y).predict(objects), expected)


def test_a_stray_word_makes_text_of_a_column_in_every_fold():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)).astype(object)
    y = X[:, 1].astype(float)
    X[0, 0] = "?"
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.8


def test_na_among_objects():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)).astype(object)
    X[::7, 0] = pd.NA
    y = X[:, 1].astype(float)
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    found = clone(model).fit(X, y).predict(X)
    X[::7, 0] = np.nan
    model.fit(X.astype(float), y)
    np.testing.assert_allclose(found, model.predict(X.astype(float)))
    later = pd.DataFrame([{"x0": pd.NA, "x1": 1.0}])
    model.fit(pd.DataFrame(X.astype(float), columns=["x0", "x1"]), y)
    assert np.isfinite(model.predict(later)).all()


@pytest.mark.parametrize("value", [np.inf, "many"])
def test_what_cannot_be_read_is_named(value):
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(X, y)
    later = X[:3].astype({"size": object})
    later.loc[1, "size"] = value
    expected = model.predict(X[:3])
    with pytest.raises(ValueError, match="Column 'size' holds"):
        model.predict(later)
    np.testing.assert_array_equal(model.predict(X[:3]), expected)


@pytest.mark.thorough
def test_weights_are_relative():
    X, y = raw_table()
    pool = AutoPool(include=["linear", "network", "mixture"])
    model = MoERegressor(pool, trainer=TRAINER, random_state=0)
    expected = clone(model).fit(X, y)
    found = clone(model).fit(X, y, sample_weight=np.full(len(y), 2.0**20))
    np.testing.assert_allclose(found.predict(X), expected.predict(X))
    ratio = found.log_likelihood_ / expected.log_likelihood_
    np.testing.assert_allclose(ratio, 2.0**20)


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
def test_units_of_y_change_nothing(unit):
    X, y = raw_table(60)
    pool = AutoPool(include=["linear", "forest"])
    model = MoERegressor(pool, trainer=TRAINER, random_state=0)
    expected = clone(model).fit(X, y).predict(X)
    np.testing.assert_allclose(
        clone(model).fit(X, unit * y).predict(X) / unit, expected, atol=1e-3
    )


def test_spreads_of_raw_tables():
    """Weights, groups and units go with them, and intervals hold what they say."""
    X, y = raw_table(500)
    rng = np.random.default_rng(1)
    wide = np.where(X["town"] == "x", 4.0, 1.0) * np.where(X["gaps"].isna(), 2.0, 1.0)
    y = y + wide * rng.uniform(-1, 1, len(y))
    pool = AutoPool(include=["linear", "neighbours"])
    model = MoERegressor(
        pool, trainer=TRAINER, likelihood="heteroscedastic", random_state=0
    )
    weight, groups = rng.integers(1, 3, 300) * 1e3, np.arange(300) // 2
    model.fit(X[:300], y[:300], weight, groups=groups)
    ends = model.predict_interval(X[300:], 0.8)
    assert 0.72 < np.mean((ends[:, 0] < y[300:]) & (y[300:] < ends[:, 1])) < 0.88
    _, std = model.predict(X[300:], return_std=True)
    assert np.corrcoef(np.log(std), np.log(wide[300:]))[0, 1] > 0.9
    unit = clone(model).fit(X[:300], 2.0**40 * y[:300], weight, groups=groups)
    np.testing.assert_allclose(
        unit.predict_interval(X[300:], 0.8) / 2.0**40, ends, atol=1e-3
    )


def test_members_keep_their_warnings_back():
    X, y = raw_table(60)
    many = np.arange(60) % 25
    pool = AutoPool(include=["linear", "forest", "network"])
    model = MoEClassifier(pool, trainer=TRAINER, random_state=0, n_jobs=2)
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # That of scikit-learn about the labels comes from the mixture itself.
        warnings.filterwarnings("ignore", message="The number of unique classes")
        model.fit(X, many)
        regressor = MoERegressor(pool, trainer=TRAINER, random_state=0, n_jobs=2)
        regressor.fit(X, y[:, None])
        with config_context(transform_output="pandas"):
            regressor.predict(X)
    # Filters belong to the process, so that no thread may leave its own behind.
    assert warnings.filters == before


def test_rows_of_weight_zero_are_no_rows():
    X, y = raw_table()
    weight = (np.arange(200) % 3 > 0).astype(float)
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weighted = clone(model).fit(X, y, sample_weight=weight)
    fewer = clone(model).fit(X[weight > 0], y[weight > 0])
    np.testing.assert_allclose(weighted.predict(X), fewer.predict(X))
    few = (np.arange(200) < 60).astype(float)
    model.fit(X, y, sample_weight=few)
    reasons = {m.name: m.dropped for m in model.expert_pool_}
    assert reasons["neighbours"] == "needs at least 125 rows"


@pytest.mark.parametrize("two", [False, True])
def test_weights_under_metadata_routing(two):
    X, y = raw_table()
    y = np.column_stack([y, -y]) if two else y
    pool = AutoPool(include=["linear", "boosting", "mixture"])
    with config_context(enable_metadata_routing=True):
        model = MoERegressor(pool, trainer=TRAINER, random_state=0)
        model.set_fit_request(sample_weight=True)
        model.fit(X, y, sample_weight=np.arange(200) % 2 + 1.0)
    assert model.score(X, y) > 0.7


def test_two_outputs():
    X, y = raw_table()
    both = np.column_stack([y, -2 * y])
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(X, both)
    assert model.predict(X).shape == (200, 2)
    assert model.score(X, both) > 0.8


def test_what_is_left_out_and_why():
    X, y = raw_table(40)
    model = MoERegressor("auto", trainer=TRAINER, random_state=0).fit(X, y)
    reasons = {m.name: m.dropped for m in model.expert_pool_}
    assert list(reasons) == list(USUAL)
    assert reasons["neighbours"] == "needs at least 125 rows"
    assert reasons["boosting"] == "needs at least 50 rows"
    assert set(model.named_experts_) <= {"linear", "forest"}
    shown = estimator_html_repr(model)
    assert "left out: neighbours (needs at least 125 rows)" in shown
    # Those with the same reason stand together.
    few = "boosting, network, smooth_network (each needs at least 50 rows)"
    assert f"left out: {few}" in shown
    assert few in report(model, X).html
    said = repr(model.expert_pool_)
    assert "PoolMember(boosting: left out, needs at least 50 rows)" in said
    assert "TablePipeline" not in said
    with pytest.raises(ValueError, match="neighbours needs at least 125 rows"):
        MoERegressor(AutoPool(include=["neighbours"]), trainer=TRAINER).fit(X, y)


def test_one_class_is_predicted():
    X, _ = raw_table(150)
    model = MoEClassifier("auto", trainer=TRAINER, random_state=0)
    model.fit(X, np.full(150, "only"))
    reasons = {m.name: m.dropped for m in model.expert_pool_}
    assert reasons["linear"] == reasons["boosting"] == "needs at least 2 classes"
    assert list(model.named_experts_) == [n for n in reasons if reasons[n] is None]
    assert model.predict_proba(X).shape == (150, 1)
    with pytest.raises(ValueError, match="linear needs at least 2 classes"):
        MoEClassifier(AutoPool(include=["linear"]), trainer=TRAINER).fit(
            X, np.full(150, "only")
        )


def reasons_of(model):
    """Why members were left out, by name."""
    return {m.name: m.dropped for m in model.expert_pool_ if m.dropped}


BUDGETED = ["linear", "boosting", "forest"]


@pytest.mark.parametrize(
    ("budget", "unit"),
    [("max_time", "s a fit"), ("max_memory", "MB"), ("max_latency", "ms")],
)
def test_budgets_leave_out_what_is_no_part_of_them(budget, unit):
    X, y = raw_table()
    y = y + np.sin(3 * X["size"])
    pool = AutoPool(include=BUDGETED, **{budget: 1e-9})
    with pytest.warns(UserWarning, match="left out forest and .* was not kept"):
        model = MoERegressor(pool, trainer=TRAINER, random_state=0).fit(X, y)
    assert list(model.named_experts_) == ["linear", "boosting"]
    assert "LocallyCorrected" not in repr(model.experts_)
    assert f"{budget}=1e-09" in reasons_of(model)["forest"]
    assert unit in reasons_of(model)["forest"]
    pool.set_params(**{budget: 1e6})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = MoERegressor(pool, trainer=TRAINER, random_state=0).fit(X, y)
    assert set(reasons_of(model).values()) <= {"adds nothing to the others"}


@pytest.mark.filterwarnings("ignore:.*gives credit to the members:UserWarning")
def test_budgets_are_for_two_stages():
    X, y = raw_table()
    model = MoERegressor(AutoPool(max_time=5), trainer="em")
    with pytest.raises(ValueError, match="keeps no budgets; use trainer='two-stage'"):
        model.fit(X, y)


@pytest.mark.parametrize("budget", ["max_time", "max_memory", "max_latency"])
@pytest.mark.parametrize("value", [0, -1.0, np.inf, np.nan, "60"])
def test_budgets_that_make_no_sense(budget, value):
    X, y = raw_table()
    model = MoERegressor(AutoPool(**{budget: value}), trainer=TRAINER)
    with pytest.raises(ValueError, match=f"AutoPool got {budget}="):
        model.fit(X, y)


def test_packages_that_are_not_there():
    X, y = raw_table()
    pool = AutoPool(include=["linear", "catboost"])
    if importlib.util.find_spec("catboost") is not None:
        pytest.skip("catboost is there")
    with pytest.raises(ValueError, match='pip install "catboost", or leave it out'):
        MoERegressor(pool, trainer=TRAINER).fit(X, y)


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("target", ["values", "two", "labels"])
def test_members_of_other_packages(name, target):
    pytest.importorskip(name)
    X, y = raw_table(120)
    y = {"values": y, "two": np.column_stack([y, -y])}.get(target, y)
    y = np.where(y > 1, "high", "low") if target == "labels" else y
    kind = MoEClassifier if target == "labels" else MoERegressor
    model = kind(AutoPool(include=[name]), trainer=TRAINER, random_state=0)
    model.fit(X, y, sample_weight=np.arange(120) % 2 + 1.0)
    assert model.score(X, y) > 0.8


def test_members_that_add_nothing_are_left_out():
    X = np.random.default_rng(0).normal(size=(300, 3))
    y = X @ [1.0, -2.0, 0.5]
    pool = AutoPool(include=["linear", "boosting", "forest", "neighbours"])
    model = MoERegressor(pool, trainer=TRAINER, random_state=0).fit(X, y)
    assert "linear" in model.named_experts_
    assert reasons_of(model)["forest"] == "adds nothing to the others"
    assert model.predict(X).shape == (300,)


def test_a_first_look_and_folds_until_there_are_rows_enough(monkeypatch):
    seen = []

    def counted(self, numbers):
        seen.append((self.task.recipe.n_experts, *numbers))
        return fit(self, numbers)

    def noted(*given):
        own = given[3]
        if type(own) is TreesOnTables:
            lengths.append(own.estimator.max_iter)
        return looked(*given)

    fit, looked, lengths = OutOfFold.fit, earning.looked, []
    monkeypatch.setattr(OutOfFold, "fit", counted)
    monkeypatch.setattr(earning, "looked", noted)
    monkeypatch.setattr(earning, "ENOUGH_VALUES", 50)
    monkeypatch.setattr(earning, "MOST_LOOKED_AT", 60)
    monkeypatch.setattr(earning, "FEWEST_JUDGED", 2)
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer="two-stage", random_state=0).fit(X, y)
    # The first fold is a look; with the second, of 40 rows each, there are enough.
    assert [numbers for _, *numbers in seen] == [[1]]
    assert model.score(X, y) > 0.8
    # Trees that stopped early on some rows get all their time on all of them.
    assert set(lengths) == {300}
    seen.clear()
    splitter = TwoStage(cv=KFold(4, shuffle=True, random_state=0))
    MoERegressor(QUICK, trainer=splitter, random_state=0).fit(X, y)
    assert [numbers for _, *numbers in seen] == [[1], [2], [3]]


@pytest.mark.parametrize(
    "cv", [LeaveOneOut(), TimeSeriesSplit(4), TimeSeriesSplit(6, test_size=1)]
)
def test_folds_of_any_size_judge_no_more_than_they_can_tell(cv):
    X, y = raw_table(60)
    pool = AutoPool(include=["linear", "forest"], max_memory=100)
    trainer = TwoStage(cv=cv, alphas=[10.0], local_correction=None)
    model = MoERegressor(pool, trainer=trainer, random_state=0).fit(X, y)
    assert "linear" in model.named_experts_
    assert model.score(X, y) > 0.8


def test_the_fold_with_most_rows_is_looked_at_first():
    X, y = raw_table(200)
    labels = np.where(y > 1, "high", "low")
    # The first fold trains on rows of one class, of which every member says the same.
    low = np.flatnonzero(labels == "low")[:60]
    order = np.concatenate([low, np.setdiff1d(np.arange(200), low)])
    X, labels = X.iloc[order].reset_index(drop=True), labels[order]
    pool = AutoPool(include=["linear", "boosting", "forest"])
    trainer = TwoStage(cv=TimeSeriesSplit(4), alphas=[10.0])
    model = MoEClassifier(pool, trainer=trainer, random_state=0).fit(X, labels)
    assert model.score(X, labels) > 0.9


@pytest.mark.parametrize("target", ["values", "two", "labels"])
def test_trees_stop_where_rows_they_have_not_seen_say(target):
    X, y = raw_table(300)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 100)
    made = MEMBERS["boosting"](target == "labels").set_params(estimator__max_iter=30)
    y = {"values": y, "two": np.column_stack([y, -3 * y**2])}.get(target, y)
    y = np.where(y > 1, "high", "low") if target == "labels" else y
    fitted = clone(made).set_params(estimator__random_state=0).fit(X[:200], y[:200])
    settled = fitted.settled(X[200:], y[200:], weight)
    losses = []
    for n_iter in range(1, 31):
        own = clone(made).set_params(
            estimator__random_state=0, estimator__max_iter=n_iter
        )
        own.fit(X[:200], y[:200])
        if target == "labels":
            proba = own.predict_proba(X[200:])
            came = proba[np.arange(100), (y[200:] == "low").astype(int)]
            losses.append(np.average(-np.log(came), weights=weight))
        else:
            unit = np.average(y[200:] ** 2, weights=weight, axis=0) - (
                np.average(y[200:], weights=weight, axis=0) ** 2
            )
            error = np.average((y[200:] - own.predict(X[200:])) ** 2, 0, weight)
            losses.append(np.sum(error / unit))
    assert settled.estimator.max_iter == max(np.argmin(losses) + 1, 20)


def test_networks_are_averages_in_the_fit_to_all_rows():
    X, y = raw_table()
    pool = AutoPool(include=["network"])
    model = MoERegressor(pool, trainer=TRAINER, random_state=0).fit(X, y)
    assert "n_members=3" in repr(model.named_experts_["network"])


def test_parameters_reach_the_pool():
    model = MoERegressor(AutoPool(), trainer="two-stage")
    model.set_params(experts__include=["linear"])
    assert model.experts.include == ["linear"]
    model = MoERegressor("auto").set_params(experts__include=["linear"])
    assert model.experts.include == ["linear"]


def test_gate_reads_numbers_or_its_segment():
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer=TRAINER, random_state=0).fit(X, y)
    names = model.gate_features_.get_feature_names_out()
    assert len(names) == model.gate_.coef_.shape[1]
    X["kind"] = X["kind"].astype(str)
    by_kind = MoERegressor(QUICK, gate=GroupGate("kind"), trainer=TRAINER)
    proba = by_kind.fit(X, y).gate_proba(X)
    for kind in ("p", "q"):
        assert np.ptp(proba[X["kind"] == kind], axis=0).max() < 1e-12


def test_n_jobs_changes_nothing():
    X, y = raw_table()
    pool = AutoPool(include=["linear", "boosting", "forest", "mixture"])
    model = MoERegressor(pool, trainer=TRAINER, random_state=0)
    first = clone(model).fit(X, y).predict(X)
    again = clone(model).set_params(n_jobs=2).fit(X, y).predict(X)
    np.testing.assert_allclose(again, first, rtol=1e-10)


def test_what_makes_no_sense_is_refused():
    X, y = raw_table()
    with pytest.raises(ValueError, match=r"include=\['trees'\]"):
        MoERegressor(AutoPool(include=["trees"]), trainer=TRAINER).fit(X, y)
    with pytest.raises(ValueError, match="max_time=-1"):
        MoERegressor(AutoPool(max_time=-1), trainer=TRAINER).fit(X, y)
    with pytest.raises(ValueError, match="list the experts"):
        HierarchicalMoERegressor("auto", trainer=TRAINER).fit(X, y)
    with pytest.raises(ValueError, match="'experts' parameter"):
        MoERegressor("manual").fit(X, y)


def test_in_sample_training_is_warned_of():
    X, y = raw_table()
    pool = AutoPool(include=["linear"])
    with pytest.warns(UserWarning, match="credit to the members that memorise"):
        MoERegressor(pool).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        MoERegressor(pool, trainer=TRAINER).fit(X, y)


def test_refit_without_a_pool_forgets_it():
    X, y = raw_table()
    model = MoERegressor(QUICK, trainer=TRAINER).fit(X, y)
    model.set_params(experts=None, n_experts=2, trainer="em").fit(X[["size"]], y)
    assert not hasattr(model, "expert_pool_")


@pytest.mark.filterwarnings("ignore:.*gives credit to the members:UserWarning")
@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
def test_under_em_groups_are_dealt_out_by_one_fit_per_member(monkeypatch):
    counts, maximise, fit = [0], RefitMixture.maximise, ExpertFits.fit

    def counted(self, *args, **more):
        counts[-1] += 1
        return fit(self, *args, **more)

    def begun(self, *args):
        counts.append(0)
        return maximise(self, *args)

    monkeypatch.setattr(ExpertFits, "fit", counted)
    monkeypatch.setattr(RefitMixture, "maximise", begun)
    X, y = make_regimes(80, random_state=0)
    pool = AutoPool(include=["linear", "boosting", "forest"])
    trainer = EM(max_refits=1)
    model = MoERegressor(pool, trainer=trainer, random_state=0).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    assert counts[0] == len(model.expert_pool_) == 3
