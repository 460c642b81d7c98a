"""Students of fitted mixtures."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._tables.frames import as_columns
from skmoe.distillation import Candidate, Distilled, _choice, distill
from skmoe.distillation._choice import cheapest_within
from skmoe.distillation._lesson import made_rows
from skmoe.distillation._students import students
from skmoe.experts import AutoPool, LinearExpert, TablePipeline
from skmoe.experts._encoding import numeric_encoding
from skmoe.trainers import Gradient


def test_student_follows_its_teacher(regression):
    X, y = regression
    teacher = MoERegressor(n_experts=3, n_members=3, random_state=0).fit(X, y)
    student = distill(teacher, X, n_experts=3)
    assert student.n_experts_ <= 3 < teacher.n_experts_
    assert student.score(X, teacher.predict(X)) > 0.95
    # The distribution is learned, not only the mean.
    _, theirs = teacher.predict(X, return_std=True)
    _, ours = student.predict(X, return_std=True)
    assert np.corrcoef(theirs, ours)[0, 1] > 0.9


def test_one_expert_learns_mean_and_spread_exactly(regression):
    """A student that is the teacher's own model gives back its parameters."""
    X, y = regression
    teacher = MoERegressor(LinearExpert(alpha=0), n_experts=1).fit(X, y)
    student = distill(teacher, X, n_experts=1)
    np.testing.assert_allclose(student.predict(X), teacher.predict(X), rtol=1e-8)
    ours, theirs = (m.likelihoods_[0].sigma_ for m in (student, teacher))
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_any_estimator_may_be_the_student(regression):
    X, y = regression
    teacher = MoERegressor(n_experts=3, router=1, random_state=0).fit(X, y)
    tree = distill(teacher, X, DecisionTreeRegressor(min_samples_leaf=3))
    assert tree.score(X, teacher.predict(X)) > 0.8
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = MoERegressor(n_experts=2).fit(frame, y)
    assert distill(named, frame).feature_names_in_.tolist() == list("abcd")


def test_true_targets_are_mixed_in(regression):
    X, y = regression
    teacher = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    only = distill(teacher, X, n_experts=2, y=y, hard_share=1.0)
    direct = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    np.testing.assert_allclose(only.predict(X), direct.predict(X), rtol=1e-6)
    weight = np.arange(len(X)) < 200
    half = distill(teacher, X, n_experts=2, sample_weight=weight * 1.0)
    direct = distill(teacher, X[:200], n_experts=2)
    np.testing.assert_allclose(half.predict(X), direct.predict(X), rtol=1e-5)


@pytest.mark.parametrize("trainer", ["em", Gradient(max_epochs=60, learning_rate=0.05)])
def test_the_teacher_leaves_after_a_stage(regression, trainer):
    """A teacher that is wrong by a constant: mixed in to the end, it is believed."""
    X, y = regression
    alone = LinearExpert(alpha=0)
    teacher = MoERegressor(alone, n_experts=1).fit(X, y + 9.0)
    student = MoERegressor(alone, n_experts=1, trainer=trainer, random_state=0)
    off = [
        distill(teacher, X, student, y=y, hard_share=0.5, soft_until=until)
        .predict(X)
        .mean()
        - y.mean()
        for until in (1.0, 0.3)
    ]
    assert off[0] == pytest.approx(4.5, abs=1.0)
    assert abs(off[1]) < 0.5
    staged = distill(teacher, X, student, y=y, hard_share=0.5, soft_until=0.3)
    assert repr(staged) == repr(student)
    if trainer == "em":
        direct = MoERegressor(alone, n_experts=1).fit(X, y)
        np.testing.assert_allclose(staged.predict(X), direct.predict(X), rtol=1e-6)


def test_stages_need_targets_and_a_student_that_goes_on(regression):
    X, y = regression
    teacher = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="soft_until=0"):
        distill(teacher, X, y=y, soft_until=0)
    with pytest.raises(ValueError, match="without y"):
        distill(teacher, X, soft_until=0.5)
    with pytest.raises(ValueError, match="does not go on"):
        distill(teacher, X, DecisionTreeRegressor(), y=y, soft_until=0.5)


def test_several_outputs(regression):
    X, y = regression
    teacher = MoERegressor(n_experts=3).fit(X, np.column_stack([y, -y]))
    student = distill(teacher, X, n_experts=3)
    assert student.predict(X).shape == (400, 2)
    assert student.score(X, teacher.predict(X)) > 0.9


def test_classes(classification):
    X, y = classification
    labels = np.array(["a", "b", "c"])[y]
    teacher = MoEClassifier(n_experts=2, n_members=2, random_state=0).fit(X, labels)
    student = distill(teacher, X, n_experts=2)
    gap = np.abs(student.predict_proba(X) - teacher.predict_proba(X)).mean()
    assert gap < 0.05
    simple = distill(teacher, X, LogisticRegression(), y=labels)
    assert simple.score(X, labels) > 0.4


def test_bad_input_is_refused(regression):
    X, y = regression
    teacher = MoERegressor(n_experts=2)
    with pytest.raises(ValueError, match="not fitted"):
        distill(teacher, X)
    teacher.fit(X, y)
    with pytest.raises(ValueError, match="hard_share=2"):
        distill(teacher, X, hard_share=2)
    mixed = MoERegressor([DecisionTreeRegressor(max_depth=2)] * 2).fit(X, y)
    with pytest.raises(ValueError, match="pass the student"):
        distill(mixed, X)


class Parrot(RegressorMixin, BaseEstimator):
    """Says of rows that it has seen what they were, and of others a constant."""

    def fit(self, X, y):
        self.said_ = {tuple(own): value for own, value in zip(X, y, strict=True)}
        self.mean_ = np.mean(y)
        return self

    def predict(self, X):
        return np.array([self.said_.get(tuple(own), self.mean_) for own in X])


def only_student(monkeypatch, model):
    """One student to choose from, for which a test need not wait."""
    monkeypatch.setattr(_choice, "students", lambda *_: {"only": model})


def test_a_teacher_is_judged_on_rows_that_it_has_not_seen(regression, monkeypatch):
    """One that knows its own rows by heart has no loss there, and is worth nothing."""
    only_student(monkeypatch, Ridge())
    X, y = (own[:150] for own in regression)
    teacher = Parrot().fit(X, y)
    assert np.array_equal(teacher.predict(X), y)
    found = distill(teacher, X, "auto", y=y, random_state=0).distilled_
    assert found.teacher.loss == pytest.approx(y.std(), rel=0.05)
    assert found.chosen.loss < found.teacher.loss
    assert found.metric == "RMSE"
    assert list(found.to_frame().index) == ["only", "teacher"]


def raw_rows(n_rows):
    """A table of numbers with gaps and a category, and its target."""
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b", "c"], n_rows)
    size = rng.uniform(-2, 2, n_rows)
    y = np.where(kind == "a", np.abs(size), -size) + 0.1 * rng.normal(size=n_rows)
    size[::17] = np.nan
    return pd.DataFrame({"size": size, "kind": pd.Categorical(kind)}), y


def test_a_teacher_without_mistakes_has_a_ratio():
    def compared(student, teacher):
        prices = 1e-3, 1e-4, None
        own = Candidate("linear", student, *prices)
        return Distilled(own, Candidate("teacher", teacher, *prices), "RMSE", 0.02, [])

    assert compared(0.0, 0.0).loss_ratio == 1
    assert compared(0.1, 0.0).loss_ratio == np.inf
    assert "inf" in str(compared(0.1, 0.0))


def test_a_student_of_a_raw_table_is_chosen(monkeypatch):
    X, y = raw_rows(120)
    only_student(monkeypatch, students(X, False, 0)["small_trees"])
    teacher = TablePipeline([("encode", numeric_encoding()), ("ridge", Ridge())])
    student = distill(teacher.fit(X, y), X, "auto", y=y, random_state=0)
    found = student.distilled_
    assert found.loss_ratio < 1.0
    assert student.predict(X).shape == (120,)
    assert np.isfinite(student.predict(X.iloc[:1])).all()
    said = str(found)
    assert said.startswith(f"Student {found.chosen.name!r}")
    assert f"{found.teacher.loss:.4g} of the teacher" in said
    kept = pickle.loads(pickle.dumps(student))
    assert kept.distilled_ == found


@pytest.mark.thorough
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_pool_has_a_cheap_student(n_jobs):
    X, y = raw_rows(200)
    pool = AutoPool(include=["linear", "boosting"])
    teacher = MoERegressor(pool, trainer="two-stage", random_state=0).fit(X, y)
    options = {"y": y, "random_state": 0, "n_jobs": n_jobs}
    student = distill(teacher, X, "auto", tolerance=0.1, **options)
    found = student.distilled_
    names = [own.name for own in found.candidates]
    assert names == ["linear", "network", "additive", "small_trees", "trees"]
    assert found.loss_ratio < 1.1
    assert found.price_ratio < 0.5
    assert np.isfinite(student.predict(X.iloc[:1])).all()


def test_a_student_of_classes_is_chosen(classification, monkeypatch):
    only_student(monkeypatch, LogisticRegression())
    X, y = classification
    labels = np.array(["a", "b", "c"])[y]
    # Its rows are new to it: it is not fitted again.
    teacher = LogisticRegression().fit(X[:200], labels[:200])
    few = slice(200, 320)
    frozen, options = FrozenEstimator(teacher), {"y": labels[few], "random_state": 0}
    student = distill(frozen, X[few], "auto", **options)
    found = student.distilled_
    assert found.metric == "log-loss"
    own = log_loss(labels[few], teacher.predict_proba(X[few]))
    assert found.teacher.loss == pytest.approx(own)
    assert list(student.classes_) == ["a", "b", "c"]


def test_outputs_count_in_their_own_units(regression, monkeypatch):
    only_student(monkeypatch, Ridge())
    X, y = (own[:150] for own in regression)
    teacher = LinearRegression()
    losses = []
    for unit in (1.0, 1e6):
        targets = np.column_stack([y, unit * X[:, 0] ** 2])
        teacher.fit(X, targets)
        student = distill(teacher, X, "auto", y=targets, random_state=0)
        losses.append([own.loss for own in student.distilled_.candidates])
        assert student.predict(X).shape == (150, 2)
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_the_spread_of_a_student_is_that_of_the_targets(monkeypatch):
    """Answers of a teacher have none: they are taught with the errors it makes."""
    only_student(monkeypatch, MoERegressor(n_experts=2, random_state=0))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = X @ [2.0, 1.0] + rng.normal(size=300)
    student = distill(LinearRegression().fit(X, y), X, "auto", y=y, random_state=0)
    _, spread = student.predict(X, return_std=True)
    assert spread.mean() == pytest.approx(1.0, rel=0.1)


def test_weights_of_a_choice_count_rows(regression, monkeypatch):
    only_student(monkeypatch, Ridge())
    X, y = (own[:150] for own in regression)
    weight = np.where(np.arange(150) < 100, 2.0, 0.0)
    teacher = LinearRegression().fit(X[:100], y[:100])
    options = {"random_state": 0}
    some = distill(teacher, X, "auto", y=y, sample_weight=weight, **options)
    only = distill(teacher, X[:100], "auto", y=y[:100], **options)
    np.testing.assert_allclose(some.predict(X), only.predict(X), rtol=1e-6)
    losses = [own.distilled_.teacher.loss for own in (some, only)]
    assert losses[0] == pytest.approx(losses[1])


def candidate(name, loss, seconds, failed=None):
    return Candidate(name, loss, seconds, seconds, failed)


def test_the_cheapest_of_those_that_are_good_is_chosen():
    teacher = candidate("teacher", 1.0, 1.0)
    poor, good = candidate("poor", 1.5, 0.01), candidate("good", 1.01, 0.1)
    best = candidate("best", 0.9, 0.5)
    broken = candidate("broken", np.nan, np.nan, "no rows")
    every = [broken, poor, good, best]
    assert cheapest_within(every, teacher, 0.02) is good
    assert cheapest_within(every, teacher, 0.005) is best
    assert cheapest_within(every, teacher, 0.5) is poor
    assert cheapest_within([broken, poor], teacher, 0.02) is poor
    assert "the best, as none" in str(Distilled(poor, teacher, "RMSE", 0.02, every))
    with pytest.raises(ValueError, match="broken: no rows.*give the student"):
        cheapest_within([broken], teacher, 0.02)


def as_polars(X):
    return pytest.importorskip("polars").from_pandas(X)


@pytest.mark.parametrize("kind", [pd.DataFrame, as_polars, pd.DataFrame.to_numpy])
def test_made_rows_are_between_two_rows(kind):
    X, _ = raw_rows(60)
    X["count"] = np.arange(60) % 7
    table = kind(X)
    made, first = made_rows(table, np.ones(60), np.random.default_rng(0))
    assert type(made) is type(table)
    assert len(made) == len(first) == 480
    size, kinds, counts = (pd.Series(list(own)) for own in as_columns(made))
    assert set(kinds) == {"a", "b", "c"}
    assert set(counts) <= set(range(7))
    gaps = X["size"].isna().mean()
    assert 0.3 * gaps < size.isna().mean() < 2 * gaps
    assert size.min() >= X["size"].min()
    assert size.max() <= X["size"].max()
    if kind is pd.DataFrame:
        # Of objects nobody knows whether they are numbers.
        assert len(set(size)) > 300


def test_a_choice_of_students_refuses(regression):
    X, y = regression
    teacher = LinearRegression().fit(X, y)
    refused = [
        ({"student": "Auto"}, "student='Auto'.*did you mean 'auto'"),
        ({"y": None}, "without y"),
        ({"y": y[:3]}, "inconsistent numbers of samples"),
        ({"n_experts": 2}, "n_experts=2"),
        ({"soft_until": 0.5}, "soft_until=0.5"),
        ({"tolerance": -1}, "tolerance=-1"),
        ({"cv": 1}, "cv=1.*FrozenEstimator"),
        ({"cv": "kfold"}, "cv='kfold'"),
        ({"hard_share": 2}, "hard_share=2"),
        ({"X": csr_matrix(X)}, "sparse X"),
        ({"X": X[0]}, "one row or column"),
    ]
    given = {"X": X, "student": "auto", "y": y}
    for own, match in refused:
        with pytest.raises(ValueError, match=match):
            distill(teacher, **{**given, **own})
    with pytest.raises(ValueError, match="no predict_proba"):
        distill(LinearSVC().fit(X, y > 0), X, "auto", y=y > 0)
