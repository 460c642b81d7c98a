"""Rows by which training by gradient stops, and what is told of how it went."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert
from skmoe.trainers import Gradient
from skmoe.trainers._gradient.record import Record, joined
from skmoe.trainers._gradient.validation import drawn
from skmoe.trainers._rows import Rows

SHORT = {"max_epochs": 6, "start": "random"}


@pytest.fixture(scope="module")
def data():
    return make_gated_regression(300, 2, 3, noise=0.3, random_state=1)


def fitted(X, y, *, groups=None, **given):
    trainer = Gradient(**(SHORT | given))
    model = MoERegressor(n_experts=2, trainer=trainer, random_state=0)
    return model.fit(X, y, groups=groups)


def same_fit(one, other, X):
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


def rows_of(classes, y):
    X = np.zeros((len(y), 1))
    return Rows(X, [X], y, y, classes, np.ones(len(y)))


# -- which rows ----------------------------------------------------------------


def test_classes_are_held_out_in_proportion():
    y = np.repeat([0, 1, 2, 3], [800, 150, 49, 1])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        training, held_out = drawn(0.1, rows_of(np.arange(4), y), rng)
        counts = np.bincount(y[held_out], minlength=4)
        assert np.abs(counts - [80, 15, 4.9, 0]).max() <= 1
        assert counts[3] == 0
        np.testing.assert_array_equal(np.union1d(training, held_out), np.arange(1000))


def test_groups_are_held_out_as_a_whole(data):
    """What is known of a group's other rows says nothing of new groups."""
    X, y = data
    groups = np.repeat(np.arange(30), 10)
    seen = []

    class Watched(Gradient):
        def fit(self, rows, recipe, start, report):
            seen.append(rows)
            return super().fit(rows, recipe, start, report)

    MoERegressor(n_experts=2, trainer=Watched(**SHORT)).fit(X, y, groups=groups)
    training, held_out = seen[0].folds[-1]
    assert len(held_out) == 30
    assert not set(groups[training]) & set(groups[held_out])
    model = fitted(X, y, groups=groups, validation=GroupKFold(5))
    np.testing.assert_allclose(model.log_likelihood_, model.log_density(X, y).sum())
    with pytest.raises(ValueError, match=r"validation=KFold.*use GroupKFold"):
        fitted(X, y, groups=groups, validation=KFold(5, shuffle=True))


def test_rows_are_held_out_by_number_mask_or_splitter(data):
    X, y = data
    latest = np.arange(200, 300)
    first = fitted(X, y, validation=latest)
    same_fit(fitted(X, y, validation=np.arange(300) >= 200), first, X)
    same_fit(fitted(X, y, validation=list(latest)), first, X)
    same_fit(fitted(X, y, validation=TimeSeriesSplit(2)), first, X)
    # Nothing is learned from what they say.
    other = y.copy()
    other[latest] = y[latest] + 1e-9
    close = fitted(X, other, validation=latest)
    np.testing.assert_allclose(close.predict(X), first.predict(X), atol=1e-6)
    assert fitted(X, y, validation=0.1).predict(X)[0] == fitted(X, y).predict(X)[0]


def test_rows_of_their_own_only_judge(data):
    X, y = data
    own, others = slice(0, 200), slice(200, 300)
    judged = fitted(X[own], y[own], validation=(X[others], y[others]))
    assert judged.history_["kept"][-1]
    plain = fitted(X[own], y[own], early_stopping=False)
    np.testing.assert_allclose(judged.predict(X), plain.predict(X), rtol=1e-9)
    density = judged.log_density(X[own], y[own])
    np.testing.assert_allclose(judged.log_likelihood_, density.sum())
    found = -judged.log_density(X[others], y[others]).mean()
    np.testing.assert_allclose(judged.history_["held_out_loss"][-1], found)


def test_rows_of_their_own_beside_a_shared_expert_and_classes(data):
    X, y = data
    validation = X[:50], y[:50], np.linspace(0.1, 1, 50)
    trainer = Gradient(validation=validation, **SHORT)
    model = MoERegressor(
        n_experts=2, shared_expert=Ridge(), trainer=trainer, random_state=0
    ).fit(X[50:], y[50:])
    assert np.isfinite(model.history_["held_out_loss"]).all()
    labels = np.where(y > 0, "up", "down")
    trainer = Gradient(validation=(X[:50], labels[:50]), **SHORT)
    classifier = MoEClassifier(n_experts=2, trainer=trainer, random_state=0)
    classifier.fit(X[50:], labels[50:])
    assert np.isfinite(clone(classifier).fit(X, labels).log_likelihood_)
    classifier.set_params(trainer__validation=(X[:50], np.full(50, "sideways")))
    with pytest.raises(ValueError, match="validation as rows of their own.*sideways"):
        classifier.fit(X, labels)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (1.0, r"a share in \(0, 1\)"),
        (2, "validation=2"),
        ("tail", "validation='tail'"),
        ([0.5, 0.5], "expected None"),
        ([300], "row 300, but X has 300 rows"),
        ([-1], "row -1"),
        ([], "holds out no row"),
        (np.ones(3, dtype=bool), "mask of 3 rows"),
        (np.ones(300, dtype=bool), "fewer than two rows"),
        ((np.zeros((3, 5)), np.zeros(3)), "5 features"),
        ((np.zeros((3, 2)), np.zeros(2)), "3 rows of X, 2 of y"),
        ((np.zeros((3, 2)),), "expected None"),
    ],
)
def test_nonsense_is_refused(data, validation, message):
    model = fitted(*data)
    before = model.predict(data[0])
    model.set_params(trainer__validation=validation)
    with pytest.raises(ValueError, match=message):
        model.fit(*data)
    np.testing.assert_array_equal(model.predict(data[0]), before)


def test_what_cannot_be_held_out_is_refused(data):
    X, y = data
    with pytest.raises(ValueError, match="early_stopping=False"):
        fitted(X, y, validation=0.2, early_stopping=False)


FOREIGN = {
    "ridge": Ridge(),
    "tree": DecisionTreeRegressor(max_depth=3, random_state=0),
    "neighbours": KNeighborsRegressor(7),
    "pipeline": make_pipeline(StandardScaler(), Ridge()),
    "mixed": [LinearExpert(), DecisionTreeRegressor(max_depth=3, random_state=0)],
    "frozen": FrozenEstimator(LinearRegression()),
}


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.NoSampleWeightWarning")
@pytest.mark.parametrize("start", ["linear", "random"])
@pytest.mark.parametrize("name", FOREIGN)
def test_rows_of_their_own_judge_experts_that_are_no_networks(data, name, start):
    X, y = data
    own, others = slice(0, 200), slice(200, 300)
    experts = FOREIGN[name]
    if name == "frozen":
        fits = [LinearRegression().fit(X[rows], y[rows]) for rows in (own, others)]
        experts = [FrozenEstimator(fit) for fit in fits]

    def fit(max_refits, **given):
        trainer = Gradient(max_epochs=8, max_refits=max_refits, start=start, **given)
        model = MoERegressor(experts, 2, trainer=trainer, random_state=0)
        return model.fit(X[own], y[own])

    judged = fit(2, validation=(X[others], y[others]))
    held, kept = (judged.history_[name] for name in ("held_out_loss", "kept"))
    density = judged.log_density(X[own], y[own])
    np.testing.assert_allclose(judged.log_likelihood_, density.sum())
    found = -judged.log_density(X[others], y[others]).mean()
    np.testing.assert_allclose(held[kept.index(True)], found)
    # All else of the first round is as if they were not there.
    judged = fit(1, validation=(X[others], y[others]))
    whole = fit(1, early_stopping=False)
    for one, other in zip(judged.experts_, whole.experts_, strict=True):
        np.testing.assert_array_equal(one.predict(X), other.predict(X))
    first, other = (own.history_["bound"][0] for own in (judged, whole))
    np.testing.assert_allclose(first, other, rtol=1e-12)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_rows_of_their_own_are_tables_too(data, kind):
    frames = pytest.importorskip(kind)
    X, y = data
    town = np.where(X[:, 0] > 0, "north", "south")
    table = frames.DataFrame({"a": X[:, 0], "b": X[:, 1], "town": town})
    labels = np.where(y > 0, "up", "down")
    reads = make_column_transformer(
        (OneHotEncoder(), ["town"]), remainder="passthrough"
    )
    expert = make_pipeline(reads, LogisticRegression())
    trainer = Gradient(validation=(table[:60], labels[:60]), max_refits=2, **SHORT)
    model = MoEClassifier(
        expert, 2, gate_features=["a", "b"], trainer=trainer, random_state=0
    ).fit(table[60:], labels[60:])
    kept = model.history_["kept"].index(True)
    found = -model.log_density(table[:60], labels[:60]).mean()
    np.testing.assert_allclose(model.history_["held_out_loss"][kept], found)


@pytest.mark.parametrize("name", ["learning_rate", "max_epochs", "temperature"])
def test_parameters_of_another_kind_are_refused_in_words(data, name):
    with pytest.raises(ValueError, match=f"Gradient got {name}='much'"):
        fitted(*data, **{name: "much"})


# -- what is told --------------------------------------------------------------


def test_converged_means_that_nothing_was_gained_any_more(data):
    X, y = data
    assert not fitted(X, y, max_epochs=1).converged_
    assert not fitted(X, y, max_epochs=1, schedule="constant").converged_
    assert not fitted(X, y, max_epochs=20, early_stopping=False).converged_
    stopped = fitted(
        X, y, learning_rate=0.1, schedule="constant", n_iter_no_change=3, max_epochs=99
    )
    assert stopped.n_iter_ < 99
    assert stopped.converged_


def test_losses_that_stand_still_have_settled():
    record = Record([])
    for value in [3.0, 2.0, 1.0, 1.0, 1.00001, 0.99999]:
        record.add(held_out_loss=np.nan, bound=-value)
    assert record.has_settled(0, 3)
    assert not record.has_settled(0, 4)
    assert not record.has_settled(4, 3)


def test_history_says_which_stage_and_which_epoch_was_kept(data):
    X, y = data
    trainer = Gradient(max_epochs=10)
    model = MoERegressor(n_experts=3, router=1, trainer=trainer, random_state=0)
    history = model.fit(X, y).history_
    assert history["phase"] == ["guided"] + ["soft"] * 6 + ["sparse"] * 3
    assert sum(history["kept"]) == 1
    dense = clone(model).set_params(router=None).fit(X, y).history_
    assert dense["phase"][-1] == "soft"
    assert np.argmax(dense["kept"]) == np.argmin(dense["held_out_loss"])


@pytest.mark.parametrize("expert", [None, Ridge()])
def test_warm_start_goes_on_with_the_record(data, expert):
    X, y = data
    model = MoERegressor(
        expert,
        n_experts=2,
        trainer=Gradient(max_refits=2, **SHORT),
        random_state=0,
        warm_start=True,
    )
    first = model.fit(X, y).history_
    n_first = model.n_iter_
    model.fit(X, y)
    assert model.n_iter_ == len(model.history_["bound"]) > n_first
    assert model.history_["task_loss"][:n_first] == first["task_loss"]
    assert sum(model.history_["kept"]) == 1
    assert len(model.lower_bounds_) < model.n_iter_


def test_warm_start_keeps_the_moments(data):
    X, y = data
    trainer = Gradient(start="random", max_epochs=5, schedule="constant", warmup=0)
    model = MoERegressor(
        n_experts=2, trainer=trainer, random_state=0, warm_start=True
    ).fit(X, y)
    before = model._learned.state.optimizer.now
    model.fit(X, y)
    after = model._learned.state.optimizer.now
    assert before == 15
    assert 15 < after <= 30


def test_histories_are_joined_by_name():
    earlier = {"bound": [1.0], "kept": [True], "Loss": [2.0], "n_experts": {"k": 3}}
    later = {"bound": [3.0], "kept": [True], "Other": [4.0]}
    found = joined(earlier, later)
    assert found["bound"] == [1.0, 3.0]
    assert found["kept"] == [False, True]
    np.testing.assert_array_equal(found["Loss"], [2.0, np.nan])
    np.testing.assert_array_equal(found["Other"], [np.nan, 4.0])
    assert "n_experts" not in found
