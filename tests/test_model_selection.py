"""Searches over sizes and penalties, and the merging of experts."""

import warnings

import numpy as np
import pandas as pd
import pytest
from records import never_falls
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.datasets import make_gated_regression, make_regimes
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Binomial, Poisson
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV, merge_experts
from skmoe.model_selection._merging import merged, overlap
from skmoe.model_selection._path import (
    Path,
    briefly_trained,
    simplest_within_error,
    smallest_of_equals,
)
from skmoe.model_selection._rows import Rows
from skmoe.routers import (
    BalancedRouter,
    BiasBalancedRouter,
    GShardRouter,
    HashRouter,
    NoisyTopKRouter,
    TopKRouter,
)
from skmoe.trainers import Gradient


@pytest.fixture(scope="module")
def regimes():
    return make_gated_regression(600, n_experts=3, random_state=0)


@pytest.mark.parametrize("criterion", ["bic", "icl", "cv"])
def test_finds_the_number_of_experts(regimes, criterion):
    X, y = regimes
    search = MoERegressorCV(n_experts=4, criterion=criterion).fit(X, y)
    assert search.n_experts_ == 3
    assert search.best_estimator_.n_experts_ == 3
    sizes = [own["n_experts"] for own in search.cv_results_["params"]]
    assert sizes == [1, 2, 3, 4]
    scores = search.cv_results_["mean_test_score"]
    assert search.cv_results_["rank_test_score"][np.argmax(scores)] == 1
    np.testing.assert_array_equal(search.predict(X), search.best_estimator_.predict(X))


def test_scores_are_held_out_log_densities(regimes):
    """One size from nothing: the same as by hand."""
    X, y = regimes
    weight = np.linspace(0.5, 2.0, len(y))
    cv = KFold(3, shuffle=True, random_state=0)
    mixture = MoERegressor(random_state=0)
    search = MoERegressorCV(mixture, n_experts=[2], cv=cv).fit(X, y, weight)
    for fold, (train, test) in enumerate(cv.split(X)):
        own = MoERegressor(n_experts=2, random_state=0)
        own.set_params(trainer=search_trainer()).fit(X[train], y[train], weight[train])
        expected = np.average(own.log_density(X[test], y[test]), weights=weight[test])
        found = search.cv_results_[f"split{fold}_test_score"][0]
        assert found == pytest.approx(expected, rel=1e-9)


def search_trainer(n_rows=400, n_columns=5):
    """What a path trains its fits with."""
    return briefly_trained(MoERegressor(), n_rows, n_columns).trainer


def test_a_warm_path_is_as_good_as_fits_from_nothing(regimes):
    X, y = regimes
    rows, mixture = Rows(X, y, None, {}), MoERegressor(random_state=0)
    sizes = [1, 2, 3]
    warm = {s: m for s, _, m in Path(mixture, sizes, [{}]).walk(rows)}
    cold = {s: m for s, _, m in Path(mixture, sizes, [{}], warm=False).walk(rows)}
    for size in (1, 3):
        gap = cold[size].log_likelihood_ - warm[size].log_likelihood_
        assert gap < 1e-3 * len(y)


def test_penalties_are_a_path(regimes):
    X, y = regimes
    mixture = MoERegressor(LinearExpert(l1_ratio=1.0), gate=SoftmaxGate(alpha=1.0))
    grid = {"experts__alpha": [300.0, 30.0, 3.0]}
    search = MoERegressorCV(
        mixture, n_experts=[2, 3], param_grid=grid, criterion="bic"
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 6
    assert search.best_params_["n_experts"] == 3
    # The stronger the penalty, the fewer the parameters.
    assert np.all(np.diff(search.cv_results_["n_parameters"][3:]) >= 0)


def test_weights_are_repetitions_with_a_criterion(regimes):
    X, y = regimes[0][:200], regimes[1][:200]
    times = np.arange(200) % 3
    again = np.repeat(np.arange(200), times)
    search = MoERegressorCV(n_experts=4, criterion="bic")
    weighted = search.fit(X, y, times).cv_results_["bic"]
    repeated = search.fit(X[again], y[again]).cv_results_["bic"]
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4)


def test_folds_do_not_depend_on_n_jobs(regimes):
    X, y = regimes
    one = MoERegressorCV(n_experts=2, cv=2).fit(X, y)
    two = MoERegressorCV(n_experts=2, cv=2, n_jobs=2).fit(X, y)
    scores = [own.cv_results_["mean_test_score"] for own in (one, two)]
    np.testing.assert_allclose(*scores, rtol=1e-12)


def test_classifier_frames_groups_and_scorers():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 2)), columns=["a", "b"])
    y = np.where((X["a"] > 0) == (X["b"] > 0), "same", "other")
    groups = np.arange(300) // 10
    search = MoEClassifierCV(n_experts=3, cv=GroupKFold(3), scoring="accuracy")
    search.fit(X, y, groups=groups)
    assert search.n_experts_ > 1
    assert search.best_score_ > 0.9
    assert list(search.feature_names_in_) == ["a", "b"]
    assert list(search.classes_) == ["other", "same"]
    assert search.predict_proba(X).shape == (300, 2)
    assert search.set_output(transform="pandas").transform(X).shape[0] == 300


def test_sizes_reach_folds_and_criteria():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(300, 1))
    exposure = rng.uniform(1, 10, 300)
    y = rng.poisson(exposure * np.exp(np.abs(X[:, 0]))).astype(float)
    mixture = MoERegressor(likelihood="poisson", random_state=0)
    for criterion in ("cv", "bic"):
        search = MoERegressorCV(mixture, n_experts=3, criterion=criterion)
        search.fit(X, y, offset=np.log(exposure))
        assert search.n_experts_ == 2
        rate = search.predict(X)
        assert np.median(np.abs(np.log(rate) - np.abs(X[:, 0]))) < 0.1


def test_noise_is_not_merged(regimes):
    X, y = regimes
    y = y.copy()
    y[::30] += 40.0 * (-1.0) ** np.arange(20)
    mixture = MoERegressor(noise=True, random_state=0)
    search = MoERegressorCV(mixture, n_experts=5, criterion="bic").fit(X, y)
    assert list(search.best_estimator_.named_experts_)[-1] == "noise"
    assert search.n_experts_ == search.best_estimator_.n_experts_ - 1
    left = search.cv_results_["n_experts_left"][search.best_index_]
    assert search.n_experts_ == search.best_params_["n_experts"] == left
    assert search.outlier_proba(X, y)[::30].mean() > 0.8


def test_merge_keeps_what_is_needed():
    X, y = make_gated_regression(1500, n_experts=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        many = MoERegressor(n_experts=6, random_state=0).fit(X, y)
    before = many.predict(X)
    few = merge_experts(many, X, y)
    assert few.n_experts_ == 3
    assert few.bic(X, y) <= many.bic(X, y)
    np.testing.assert_array_equal(many.predict(X), before)
    with pytest.raises(ValueError, match="expected one of"):
        merge_experts(many, X, y, criterion="r2")


def test_merged_adds_the_columns_that_overlap():
    resp = np.array([[0.5, 0.0, 0.5], [0.4, 0.2, 0.4], [0.0, 1.0, 0.0]])
    cosines = overlap(resp)
    assert cosines.argmax() == 2
    assert np.all(np.diag(cosines) == 0)
    found = merged(resp, 2)
    np.testing.assert_allclose(found, [[1.0, 0.0], [0.8, 0.2], [0.0, 1.0]])
    kept = merged(resp, 2, n_fixed=1)
    np.testing.assert_allclose(kept[:, -1], resp[:, -1])


def test_one_standard_error_rule():
    scores = np.array([[1.3, 2.2, 2.9], [1.5, 1.9, 3.2], [0.0, 0.1, 0.2]])
    assert simplest_within_error(scores, np.array([5.0, 9.0, 1.0])) == 0
    assert simplest_within_error(scores[::-1], np.array([1.0, 9.0, 5.0])) == 2


def test_what_training_leaves_open_is_no_gain():
    scores = np.array([[0.2, 0.2], [0.2 + 1e-6, 0.2 + 1e-6]])
    assert simplest_within_error(scores, np.array([1.0, 2.0])) == 1
    assert simplest_within_error(scores, np.array([1.0, 2.0]), slack=1e-5) == 0


@pytest.mark.parametrize("likelihood", ["poisson", "negative-binomial"])
def test_counts_of_zero_need_one_expert(likelihood):
    X = np.random.RandomState(0).normal(size=(60, 2))
    mixture = MoERegressor(LinearExpert(alpha=0), likelihood=likelihood, random_state=0)
    search = MoERegressorCV(mixture, n_experts=(1, 2, 3), cv=3).fit(X, np.zeros(60))
    assert search.best_params_["n_experts"] == search.n_experts_ == 1


def test_too_few_rows_leave_sizes_out():
    X, y = make_regimes(12, random_state=0)
    search = MoERegressorCV(n_experts=9, cv=3).fit(X, y)
    assert max(own["n_experts"] for own in search.cv_results_["params"]) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_experts": [0, 2]}, "integers >= 1"),
        ({"n_experts": []}, "integers >= 1"),
        ({"estimator": MoERegressor([Ridge(), Ridge()])}, "number is fixed"),
        ({"criterion": "mdl"}, "criterion"),
        ({"rule": "two-errors"}, "rule"),
    ],
)
def test_bad_parameters_leave_the_search_as_it_was(regimes, options, message):
    X, y = regimes[0][:60], regimes[1][:60]
    search = MoERegressorCV(n_experts=2, criterion="bic").fit(X, y)
    before = search.predict(X)
    search.set_params(**options)
    with pytest.raises(ValueError, match=message):
        search.fit(X, y)
    np.testing.assert_array_equal(search.predict(X), before)


@pytest.mark.filterwarnings("ignore:Expert")
def test_best_rule_is_never_below_the_simplest(regimes):
    X, y = regimes
    best = MoERegressorCV(n_experts=4, rule="best").fit(X, y)
    simple = MoERegressorCV(n_experts=4).fit(X, y)
    assert best.best_score_ >= simple.best_score_


def test_lasso_drops_columns_of_experts_and_gate():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 8))
    y = np.where(X[:, 0] > 0, 3 * X[:, 1], -3 * X[:, 2]) + rng.normal(size=500)
    model = MoERegressor(
        LinearExpert(alpha=60.0, l1_ratio=1.0),
        n_experts=2,
        gate=SoftmaxGate(alpha=10.0, l1_ratio=1.0),
        random_state=0,
    ).fit(X, y)
    used = np.array([e.coef_ != 0 for e in model.experts_])
    assert used[:, [1, 2]].any(axis=1).all()
    assert used[:, 3:].mean() <= 0.3
    gate = np.abs(model.gate_.coef_[0] - model.gate_.coef_[1])
    assert gate[0] > 0
    assert np.count_nonzero(gate[1:]) <= 2
    free = np.count_nonzero(used) + 2 + 2 + 1 + np.count_nonzero(gate)
    assert model.n_parameters_ == free
    assert never_falls(model)


def test_elastic_net_of_classes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6))
    y = (np.where(X[:, 0] > 0, X[:, 1], -X[:, 1]) > 0).astype(int)
    expert = LinearExpert(alpha=8.0, l1_ratio=0.8)
    gate = SoftmaxGate(alpha=3.0, l1_ratio=1.0)
    model = MoEClassifier(expert, n_experts=2, gate=gate, random_state=0).fit(X, y)
    assert never_falls(model)
    assert np.mean([np.all(e.coef_[:, 3:] == 0, axis=0) for e in model.experts_]) > 0.5
    # A penalty that allows nothing leaves the shares of the classes.
    expert = LinearExpert(alpha=1e4, l1_ratio=1.0)
    bare = MoEClassifier(expert, n_experts=1).fit(X, y)
    assert np.all(bare.experts_[0].coef_ == 0)
    np.testing.assert_allclose(bare.predict_proba(X)[:, 1], y.mean(), rtol=1e-6)


def test_lasso_of_one_expert_has_no_descent_left():
    """The subgradient conditions of the penalised log-likelihood hold."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    y = 2 * X[:, 0] + rng.normal(size=200)
    alpha = 25.0
    expert = LinearExpert(alpha=alpha, l1_ratio=1.0, standardize=False)
    model = MoERegressor(expert, n_experts=1).fit(X, y)
    variance = model.likelihoods_[0].sigma_ ** 2
    slope = X.T @ (y - model.predict(X)) / variance
    coef = model.experts_[0].coef_
    np.testing.assert_allclose(slope[coef != 0], alpha * np.sign(coef[coef != 0]), 1e-4)
    assert np.all(np.abs(slope[coef == 0]) <= alpha + 1e-6)
    alone = LinearExpert(alpha=alpha, l1_ratio=1.0, standardize=False).fit(X, y)
    np.testing.assert_allclose(alone.coef_, coef, atol=1e-4)


@pytest.mark.parametrize("part", [LinearExpert, SoftmaxGate])
def test_bad_penalties(part):
    for options in ({"l1_ratio": 1.5}, {"alpha": -1.0}):
        with pytest.raises(ValueError, match=part.__name__):
            part(**options).check()


def test_members_are_averaged_after_the_search(regimes):
    X, y = regimes
    mixture = MoERegressor(n_members=2, random_state=0)
    search = MoERegressorCV(mixture, n_experts=[2, 3], criterion="bic").fit(X, y)
    best = search.best_estimator_
    assert best.n_experts == search.best_params_["n_experts"]
    first, second = (own.gate_proba(X) for own in best.members_)
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="n_members=2"):
        merge_experts(best, X, y)


def test_noise_may_be_searched_for(regimes):
    X, y = regimes
    for grid in ({"noise": [False, True]}, {"noise": [True, False]}):
        search = MoERegressorCV(
            MoERegressor(random_state=0),
            n_experts=[1, 2],
            param_grid=grid,
            criterion="bic",
        )
        assert np.isfinite(search.fit(X, y).cv_results_["bic"]).all()


def test_one_split_sparse_routers_and_empty_sizes(regimes):
    X, y = regimes
    split = ShuffleSplit(1, test_size=0.3, random_state=0)
    assert MoERegressorCV(n_experts=2, cv=split).fit(X, y, offset=None).n_experts_ == 2
    search = MoERegressorCV(MoERegressor(router=2), n_experts=3, cv=split).fit(X, y)
    sizes = [own["n_experts"] for own in search.cv_results_["params"]]
    assert sizes == [2, 3]
    search = MoERegressorCV(n_experts=2, param_grid={"trainer__tol": [1e-3]}, cv=split)
    assert search.fit(X, y).best_estimator_.trainer.tol == 1e-3
    with pytest.raises(ValueError, match="'alhpa' for estimator SoftmaxGate"):
        MoERegressorCV(n_experts=2, param_grid={"gate__alhpa": [1.0]}).fit(X, y)


def thirds():
    """Three folds of four hundred rows."""
    return list(KFold(3).split(np.zeros(400)))


def test_weights_of_zero_scorers_and_sizes(regimes):
    X, y = regimes
    weight = np.repeat([1.0, 0.0], [400, 200])
    search = MoERegressorCV(n_experts=2, cv=3).fit(X, y, weight)
    same = MoERegressorCV(
        n_experts=2, cv=[(np.r_[a, 400:500], np.r_[b, 500:600]) for a, b in thirds()]
    ).fit(X, y, weight)
    fewer = MoERegressorCV(n_experts=2, cv=thirds()).fit(X[:400], y[:400], weight[:400])
    np.testing.assert_allclose(
        same.cv_results_["mean_test_score"], fewer.cv_results_["mean_test_score"]
    )
    assert search.n_experts_ == 2

    def own(model, X, y):
        return -np.mean((model.predict(X) - y) ** 2)

    assert MoERegressorCV(n_experts=2, scoring=own).fit(X, y, weight).n_experts_ == 2
    counts, offset = np.round(np.exp(y / 4)), np.zeros(len(y))
    poisson = MoERegressor(likelihood="poisson", random_state=0)
    search = MoERegressorCV(poisson, n_experts=[1], criterion="bic")
    search.fit(X, counts, offset=offset)
    assert np.isfinite(search.score(X, counts, offset=offset))
    search.set_params(criterion="cv", scoring="r2")
    with pytest.raises(ValueError, match="scorers do not pass on"):
        search.fit(X, counts, offset=offset)


def test_of_sizes_that_end_alike_the_smallest_is_chosen():
    X, y = make_gated_regression(600, random_state=0)
    parts = MoERegressor(LinearExpert(alpha=1.0), gate=SoftmaxGate(alpha=0.1))
    search = MoERegressorCV(parts, n_experts=6, criterion="bic").fit(X, y)
    assert search.best_params_["n_experts"] == search.n_experts_ == 3
    assert set(search.cv_results_["n_experts_left"][2:]) == {3.0}


def test_sizes_are_no_penalty():
    X, y = make_regimes(60, random_state=0)
    with pytest.raises(ValueError, match="give them as n_experts"):
        MoERegressorCV(param_grid={"n_experts": [2]}).fit(X, y)


def crossing_lines(seed, n_rows=300, noise=0.4):
    """Two lines that cross; nothing but y tells which of them a row is on."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=(n_rows, 1))
    line = np.where(rng.random(n_rows) < 0.5, 1 + x[:, 0], 1 - x[:, 0])
    return x, line + noise * rng.normal(size=n_rows)


@pytest.mark.parametrize(
    ("gate", "alpha", "n_seeds"),
    [("constant", 1.0, 6), ("softmax", 1.0, 6), ("constant", 0.0, 2)],
)
def test_a_path_does_not_lose_small_mixtures(gate, alpha, n_seeds):
    mixture = MoERegressor(LinearExpert(alpha=alpha), gate=gate, random_state=0)
    for seed in range(n_seeds):
        X, y = crossing_lines(seed)
        search = MoERegressorCV(mixture, criterion="bic").fit(X, y)
        assert search.n_experts_ == 2, seed


@pytest.mark.parametrize(
    ("likelihood", "criterion"), [("poisson", "bic"), ("student-t", "icl")]
)
def test_a_path_of_other_families(likelihood, criterion):
    X, y = crossing_lines(0, noise=0.4 * (likelihood != "poisson"))
    if likelihood == "poisson":
        y = np.random.default_rng(0).poisson(np.exp(1 + y)).astype(float)
    mixture = MoERegressor(likelihood=likelihood, gate="constant", random_state=0)
    search = MoERegressorCV(mixture, n_experts=4, criterion=criterion)
    assert search.fit(X, y).n_experts_ == 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("trainer", ["em", "hard-em"])
@pytest.mark.parametrize("warm", [True, False])
def test_a_path_never_falls(trainer, warm):
    """Neither below a fit from nothing, nor below that of a smaller size."""
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 10, 300)
    X = np.column_stack([x, x**2])
    y = np.where(rng.random(300) < 0.5, 5 * x, 40 - (x - 5) ** 2)
    y = y + 3 * rng.normal(size=300)
    mixture = MoERegressor(LinearExpert(alpha=0), gate="constant", trainer=trainer)
    path = Path(mixture.set_params(random_state=0), [1, 2, 3, 4, 5], [{}], warm)
    found = {s: m.log_likelihood_ for s, _, m in path.walk(Rows(X, y, None, {}))}
    values = [found[size] for size in sorted(found)]
    assert np.all(np.diff(values) >= 0)
    alone = mixture.set_params(n_experts=2).fit(X, y).log_likelihood_
    assert found[2] > alone - 1.0


def test_the_path_of_folds_is_that_of_the_last_fit():
    """What a fit from nothing misses on all rows, merging finds there, too."""
    X, y = crossing_lines(3)
    mixture = MoERegressor(LinearExpert(alpha=0), random_state=0)
    search = MoERegressorCV(mixture, n_experts=4).fit(X, y)
    alone = MoERegressor(LinearExpert(alpha=0), n_experts=2, random_state=0).fit(X, y)
    assert search.n_experts_ == 2
    assert search.best_estimator_.log_likelihood_ > alone.log_likelihood_ - 0.1


@pytest.mark.parametrize("warm", [True, False])
def test_a_few_equal_rows_are_no_expert(warm):
    mixture = MoERegressor(
        LinearExpert(alpha=0), gate="constant", n_init=4, random_state=0
    )
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(100, 1))
        y = X[:, 0] + rng.normal(size=100)
        y[:8] = 0.5
        search = MoERegressorCV(
            mixture, n_experts=4, criterion="bic", warm_start_path=warm
        )
        assert search.fit(X, y).n_experts_ == 1


# What lies on the line is told to be held up.
@pytest.mark.filterwarnings("ignore:The standard deviation of")
@pytest.mark.parametrize("gate", ["constant", "softmax"])
def test_experts_without_any_noise_are_sound(gate):
    X = np.linspace(-2, 2, 200)[:, None]
    off = np.where(X[:, 0] > 0, 0.0, np.random.default_rng(0).normal(size=200))
    mixture = MoERegressor(LinearExpert(alpha=0), gate=gate, random_state=0)
    for y in (np.abs(X[:, 0]), off, np.column_stack([np.abs(X[:, 0]), X[:, 0]])):
        search = MoERegressorCV(mixture, n_experts=3, criterion="bic").fit(X, y)
        assert search.n_experts_ == 2


def test_trials_are_evidence():
    """Few rows of many trials are no spike."""
    rows = Rows(np.zeros((4, 1)), np.zeros(4), None, {"trials": np.full(4, 50)})
    assert rows.evidence(Binomial()) == 200.0
    assert rows.evidence(Poisson()) == 4.0
    light = Rows(np.zeros((4, 1)), np.zeros(4), np.full(4, 0.25), {})
    assert light.evidence(Poisson()) == 4.0


def rare_classes(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, "a", "b").astype(object)
    y[0] = "rare"
    return X, y


@pytest.mark.parametrize("cv", [None, KFold(3), 2])
def test_a_class_of_one_row_is_named(cv):
    X, y = rare_classes()
    search = MoEClassifierCV(n_experts=2, cv=cv)
    with pytest.warns(UserWarning, match=r"\['rare'\] have \[1\] rows") as caught:
        search.fit(X, y)
    assert not [w for w in caught if "populated" in str(w.message)]
    assert list(search.classes_) == ["a", "b", "rare"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    with pytest.warns(UserWarning, match="rare"):
        search.set_params(scoring="accuracy").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MoEClassifierCV(n_experts=2, criterion="bic").fit(X, y)


@pytest.mark.filterwarnings("ignore")
def test_scorers_that_cannot_score_a_fold_are_named():
    X, y = rare_classes()
    search = MoEClassifierCV(n_experts=2, scoring="neg_log_loss")
    with pytest.raises(ValueError, match="use scoring=None"):
        search.fit(X, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_experts": [2.5]}, "integers >= 1"),
        ({"n_experts": [True, 2]}, "integers >= 1"),
        ({"n_experts": True}, "integers >= 1"),
        ({"n_experts": ["2"]}, "integers >= 1"),
        ({"n_experts": {1, 2}}, "integers >= 1"),
        ({"param_grid": {"experts__alpha": 3}}, "lists of values"),
        ({"param_grid": {"experts__alpha": []}}, "lists of values"),
        ({"param_grid": [3]}, "lists of values"),
        ({"param_grid": {"nope": [1]}}, "Invalid parameter 'nope'"),
        ({"cv": 100}, "100 folds, but there are at most 60 rows; use cv=60"),
        ({"cv": []}, "leaves no fold"),
        ({"scoring": "nope"}, "scoring"),
        ({"estimator": MoEClassifier()}, "use MoEClassifierCV"),
        ({"estimator": HierarchicalMoERegressor()}, "no n_experts"),
    ],
)
def test_searches_check_what_they_are_given(regimes, options, message):
    X, y = regimes[0][:60], regimes[1][:60]
    with pytest.raises(ValueError, match=message):
        MoERegressorCV(**{"n_experts": 2, **options}).fit(X, y)


def test_folds_beyond_every_class_and_rows_without_weight(regimes):
    X, y = regimes[0][:60], regimes[1][:60]
    with pytest.raises(ValueError, match="at most 2 rows of one class; use cv=2"):
        MoEClassifierCV(n_experts=2).fit(X, np.arange(60) // 2)
    with pytest.raises(ValueError, match="leaves no fold"):
        MoERegressorCV(n_experts=2).fit(X, y, np.r_[np.ones(4), np.zeros(56)])
    for weight in (-np.ones(60), np.full(60, np.nan), np.ones(3)):
        with pytest.raises(ValueError, match="sample"):
            MoERegressorCV(n_experts=2).fit(X, y, weight)


ROUTED = [
    (2, "em"),
    (TopKRouter(3), "em"),
    (BalancedRouter(), "em"),
    (HashRouter(2), "em"),
    (NoisyTopKRouter(2), "gradient"),
    (BiasBalancedRouter(2), "gradient"),
    (GShardRouter(), "gradient"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("router", "trainer"), ROUTED)
def test_merging_and_search_under_routers(router, trainer):
    """Fewer experts than a row may have are no end."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=80)
    trainer = Gradient(max_epochs=5) if trainer == "gradient" else trainer
    own = {"router": router, "trainer": trainer, "random_state": 0}
    many = MoERegressor(LinearExpert(alpha=1.0), n_experts=4, **own)
    few = merge_experts(many.fit(X, y), X, y)
    assert few.n_experts_ < 4
    assert np.isfinite(few.log_density(X, y)).all()
    search = MoERegressorCV(many, n_experts=3, criterion="bic").fit(X, y)
    assert np.isfinite(search.log_density(X, y)).all()


def test_experts_without_a_row_in_common_can_be_merged():
    found = merged(np.eye(3)[[0, 0, 0, 1, 2, 2]], 2)
    np.testing.assert_array_equal(found.sum(axis=1), np.ones(6))
    np.testing.assert_array_equal(found.sum(axis=0), [3.0, 3.0])


def test_what_cannot_be_merged_is_refused(regimes):
    X, y = regimes[0][:100], regimes[1][:100]
    kinds = [("a", LinearExpert()), ("b", LinearExpert(2.0))]
    cases = [
        (HierarchicalMoERegressor(branching=(2,)), "branching"),
        (MoERegressor(kinds), "leave experts out"),
        (MoERegressor(n_experts=1, trainer="two-stage"), "responsibilities"),
        (MoERegressorCV(n_experts=2, criterion="bic"), "best_estimator_"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message):
            merge_experts(model.fit(X, y), X, y)
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight"):
        merge_experts(model, X, y, [1.0, 2.0])


def test_icl_and_that_of_the_most_probable_expert(regimes):
    X, y = regimes
    model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    resp = model.responsibilities(X, y)
    entropy = -np.sum(resp * np.log(np.maximum(resp, 1e-300)))
    bic, icl = model.bic(X, y), model.icl(X, y)
    assert icl == pytest.approx(bic + 2 * entropy)
    assert bic < bic - 2 * np.log(resp.max(axis=1)).sum() < icl


@pytest.mark.parametrize("seed", range(4))
def test_a_size_that_lost_an_expert_is_not_chosen_for_it(seed):
    # Two regimes: the third expert goes, and leaves the criterion a tenth apart.
    X, y = make_regimes(400, random_state=seed)
    search = MoERegressorCV(n_experts=4, criterion="bic").fit(X, y)
    assert search.best_params_ == {"n_experts": 2}
    assert search.n_experts_ == 2


def test_other_parameters_are_other_candidates():
    values, slack = np.array([10.0, 9.0, 30.0, 8.9]), 0.0
    alike = np.array([[2, 0], [2, 1], [3, 0], [2, 1]])
    assert smallest_of_equals(values, alike, slack) == 1
    other = np.array([[2, 0], [1, 1], [3, 0], [2, 1]])
    assert smallest_of_equals(values, other, slack) == 3
