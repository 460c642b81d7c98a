"""Students of fitted mixtures."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.distillation import distill
from skmoe.experts import LinearExpert
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
