"""Which expert is which: starts that are given, and ``relabel``."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.inference import relabel
from skmoe.trainers import EM, TwoStage

FREE = LinearExpert(alpha=0)
LEVELS = np.array([-4.0, 0.0, 4.0])


def three(n=150):
    """Rows of three lines, whose slopes are their levels over two."""
    rng = np.random.default_rng(0)
    own, x = rng.integers(0, 3, n), rng.normal(size=n)
    y = LEVELS[own] + 0.5 * LEVELS[own] * x + 0.3 * rng.normal(size=n)
    return x[:, None], y, own


X, Y, OWN = three()


def mixture(n_experts=3, **more):
    return MoERegressor(FREE, n_experts, gate="constant", random_state=0, **more)


def levels(model):
    return [round(float(expert.intercept_)) for expert in model.experts_]


# -- starts ------------------------------------------------------------------------


STARTS = {
    "numbers": OWN,
    "floats": OWN.astype(float),
    "counted from one": OWN + 1,
    "words": np.array(["a", "b", "c"])[OWN],
    "responsibilities": np.eye(3)[OWN] * 0.7 + 0.1,
}


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("n_experts", [3, "auto"])
def test_experts_keep_the_order_of_the_start(name, n_experts):
    model = mixture(n_experts).fit(X, Y, start=STARTS[name])
    assert levels(model) == LEVELS.tolist()


def test_labels_may_be_names_of_experts():
    named = [("low", Ridge()), ("high", Ridge())]
    start = np.where(Y < 0, "low", "high")
    model = MoERegressor(named, gate="constant").fit(X, Y, start=start)
    low, high = (model.named_experts_[name].intercept_ for name in ("low", "high"))
    assert low < high


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_start_is_where_training_begins():
    """One step from the true labels is at the optimum nearly."""
    best = mixture().fit(X, Y).lower_bounds_[-1]
    one = mixture(trainer=EM(max_iter=1)).fit(X, Y, start=OWN)
    assert len(one.lower_bounds_) == 1
    assert one.lower_bounds_[0] == pytest.approx(best, abs=1e-3)
    other = mixture(trainer=EM(max_iter=1)).fit(X, Y, start=np.arange(len(Y)) % 3)
    assert other.lower_bounds_[0] < best - 0.1


def test_noise_has_a_share_where_labels_say_nothing_of_it():
    y = np.where(np.arange(len(Y)) < 5, 40.0, Y)
    model = mixture(noise=True).fit(X, y, start=OWN)
    assert model.outlier_proba(X, y)[:5].min() > 0.9
    assert [round(float(e.intercept_)) for e in model.experts_[:3]] == LEVELS.tolist()


def test_noise_may_be_a_label():
    far = np.arange(len(Y)) < 5
    start = np.where(far, "noise", np.array(["expert0", "expert1", "expert2"])[OWN])
    y = np.where(far, 40.0, Y)
    for n_experts in (3, "auto"):
        model = mixture(n_experts, noise=True).fit(X, y, start=start)
        assert model.n_experts_ == 4
        assert model.outlier_proba(X, y)[:5].min() > 0.9


def test_starts_of_groups():
    groups = np.repeat(np.arange(50), 3)
    by_group = OWN[::3]
    y = LEVELS[by_group][groups] + 0.1 * X[:, 0]
    one = mixture().fit(X, y + 0.1 * Y, groups=groups, start=by_group)
    two = mixture().fit(X, y + 0.1 * Y, groups=groups, start=by_group[groups])
    np.testing.assert_array_equal(one.predict_experts(X), two.predict_experts(X))
    again = one.responsibilities(X, y + 0.1 * Y, groups)
    three = mixture().fit(X, y + 0.1 * Y, groups=groups, start=again)
    np.testing.assert_allclose(
        three.predict_experts(X), one.predict_experts(X), atol=1e-4
    )


REFUSED = [
    ({}, OWN[:-1], r"start of shape \(149,\), but expected labels \(150,\)"),
    ({}, np.arange(150), "start with 150 labels, but expected at most 3"),
    ({}, np.ones((150, 2)) / 2, "start with 2 columns, but expected 3"),
    ({}, np.ones((150, 3)), r"start with \[1.0, 1.0, 1.0\] in row 0, but expected"),
    ({}, np.where(OWN == 1, np.nan, OWN), "start without a label in row"),
    ({"n_members": 2}, OWN, "start with n_members=2, but members differ"),
    ({"trainer": TwoStage()}, OWN, "start with trainer=TwoStage"),
]


@pytest.mark.parametrize(("more", "start", "said"), REFUSED, ids=lambda own: "")
def test_starts_that_make_no_sense(more, start, said):
    with pytest.raises(ValueError, match=said):
        mixture(**more).fit(X, Y, start=start)


def test_a_start_begins_anew_whatever_was_fitted():
    model = mixture(warm_start=True).fit(X, Y, start=2 - OWN)
    assert levels(model) == LEVELS[::-1].tolist()
    assert levels(model.fit(X, Y, start=OWN)) == LEVELS.tolist()


# -- relabel -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    return mixture().fit(X, Y, start=(OWN + 1) % 3)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("intercept", LEVELS.tolist()),
        ("x0", LEVELS.tolist()),
        (lambda expert: -expert.intercept_, LEVELS[::-1].tolist()),
        ([2, 1, 0], None),
    ],
    ids=["intercept", "x0", "callable", "positions"],
)
def test_relabel(fitted, by, expected):
    before = levels(fitted)
    model = relabel(fitted, by=by)
    assert levels(model) == (expected or before[::-1])
    assert levels(fitted) == before
    order = [before.index(own) for own in levels(model)]
    np.testing.assert_allclose(model.gate_proba(X), fitted.gate_proba(X)[:, order])
    found, known = (m.responsibilities(X, Y) for m in (model, fitted))
    np.testing.assert_allclose(found, known[:, order])
    np.testing.assert_allclose(model.expert_load_, fitted.expert_load_[order])
    np.testing.assert_allclose(model.predict(X), fitted.predict(X))
    assert list(model.named_experts_.values()) == model.experts_
    np.testing.assert_allclose(model.history_["load"][-1], model.expert_load_)


def test_relabel_by_load_is_the_order_of_a_fit(fitted):
    assert levels(relabel(fitted, by="load")) == levels(mixture().fit(X, Y))


def test_relabel_keeps_noise_last_and_takes_classes():
    model = mixture(noise=True).fit(X, Y, start=(OWN + 1) % 3)
    again = relabel(model)
    assert [round(float(e.intercept_)) for e in again.experts_[:3]] == LEVELS.tolist()
    assert again.likelihoods_[-1].is_noise
    labels = np.where(Y + X[:, 0] > 0, "yes", "no")
    model = MoEClassifier(LinearExpert(alpha=1.0), 2, random_state=0).fit(X, labels)
    slopes = [expert.coef_[-1, 0] for expert in relabel(model, "x0").experts_]
    assert slopes == sorted(slopes)


def test_relabelled_mixtures_go_on(fitted):
    model = relabel(mixture(warm_start=True).fit(X, Y), by="intercept")
    total = model.log_likelihood_
    assert levels(model.fit(X, Y)) == LEVELS.tolist()
    assert model.log_likelihood_ == pytest.approx(total, abs=1e-3)


APART = [
    (mixture(n_members=2), "intercept", "n_members=2, whose experts are told apart"),
    (MoERegressor([Ridge(), FREE]), "load", "experts=.* are told apart"),
    (HierarchicalMoERegressor(branching=(2, 2)), "load", "in which experts have plac"),
    (mixture(2), "dose", r"or one of the columns \[.x0.\]"),
    (mixture(2), [0, 0], "each of the positions 0 to 1 once"),
    (mixture(2), lambda expert: np.nan, "expected a number of each"),
    (MoERegressor(Ridge(), 2), "dose", "or one of the columns"),
]


@pytest.mark.parametrize(("model", "by", "said"), APART, ids=lambda own: "")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_not_relabelled(model, by, said):
    with pytest.raises(ValueError, match=said):
        relabel(model.fit(X, Y), by=by)
