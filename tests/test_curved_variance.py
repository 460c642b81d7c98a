"""Variances by curves: optima, raw tables, all methods, and what bounds them."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from records import never_falls
from scipy import optimize, stats
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoERegressor
from skmoe.data import RowSource
from skmoe.experts import AdditiveExpert
from skmoe.likelihoods import HeteroscedasticGaussian
from skmoe.model_selection import MoERegressorCV
from skmoe.trainers import EM, TwoStage

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
    "ignore:EM stopped",
    "ignore:TwoStage got 2 experts that say the same",
)
CURVES = HeteroscedasticGaussian(AdditiveExpert())


def made(n, seed=0):
    """A raw table; the spread follows a curve of one column and a level of another."""
    rng = np.random.default_rng(seed)
    x, kind = rng.uniform(-2, 2, n), rng.choice(["u", "v", "w"], n)
    gaps = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    std = np.exp(-1 + np.cos(2 * x) + 0.8 * (kind == "v"))
    X = pd.DataFrame({"x": x, "kind": kind, "gaps": gaps})
    return X, np.sin(2 * x) + (kind == "u") + std * rng.normal(size=n), std


def mixture(n_experts=1, likelihood="heteroscedastic", **more):
    options = {"experts": "additive", "gate": "additive", "random_state": 0}
    options |= {"n_experts": n_experts, "likelihood": likelihood}
    return MoERegressor(**options | {"trainer": EM(max_iter=15)} | more)


X, Y, STD = made(500)
FEW, FEW_Y = X.iloc[:150], Y[:150]


@pytest.fixture(scope="module")
def model():
    return mixture(2).fit(X, Y)


# -- optima ---------------------------------------------------------------------------


def test_one_expert_maximises_the_likelihood():
    """The optimum that BFGS finds on the likelihood written out."""
    x, knots = X[["x"]].to_numpy()[:200], np.quantile(X["x"][:200], [0, 0.5, 1])
    expert = AdditiveExpert(3, alpha=0)
    model = mixture(experts=expert, trainer=EM(tol=1e-12, max_iter=300))
    model.fit(x, Y[:200])
    knots = model.experts_[0].curves_[0].knots
    hats = np.column_stack([np.interp(x[:, 0], knots, own) for own in np.eye(3)])

    def loss(theta):
        log_variance = hats @ theta[3:]
        square = (Y[:200] - hats @ theta[:3]) ** 2 * np.exp(-log_variance)
        return 0.5 * np.sum(log_variance + square + np.log(2 * np.pi))

    found = optimize.minimize(loss, np.zeros(6), method="BFGS")
    assert model.log_likelihood_ == pytest.approx(-found.fun, abs=1e-4)
    variance = model.likelihoods_[0].model_
    at_knots = variance.predict(knots[:, None])
    np.testing.assert_allclose(np.log(at_knots), found.x[3:], atol=1e-2)


@pytest.mark.parametrize("alpha", ["evidence", 5.0])
def test_the_objective_rises_between_renewals(alpha):
    fitted = mixture(2, experts=AdditiveExpert(alpha=alpha)).fit(FEW, FEW_Y)
    assert never_falls(fitted)


def test_a_spread_that_follows_curves_is_found(model):
    new, y, std = made(3000, seed=1)
    plain = mixture(2, "gaussian").fit(X, Y)
    gain = np.mean(model.log_density(new, y) - plain.log_density(new, y))
    assert gain > 0.05
    low, high = model.predict_interval(new, 0.9).T
    inside = (y >= low) & (y <= high)
    thirds = np.digitize(new["x"], [-2 / 3, 2 / 3])
    for part in range(3):
        assert inside[thirds == part].mean() == pytest.approx(0.9, abs=0.06)
    found = model.predict(new, return_std=True)[1]
    assert np.median(np.abs(np.log(found / std))) < 0.2


def test_curves_of_the_variance_can_be_read():
    curves = mixture().fit(X, Y).likelihoods_[0].model_.curves_
    by_name = {own.name: own for own in curves}
    assert list(by_name) == ["kind", "x", "gaps"]
    # Of the logarithm of the variance, about their means over the rows.
    levels = dict(zip(by_name["kind"].levels, by_name["kind"].values, strict=True))
    assert levels["v"] - levels["u"] == pytest.approx(1.6, abs=0.5)
    curve = by_name["x"]
    wanted = 2 * np.cos(2 * curve.knots)
    wanted = wanted - np.mean(2 * np.cos(2 * X["x"]))
    assert stats.pearsonr(curve.values, wanted).statistic > 0.95
    assert np.all(np.abs(curve.values - wanted) < 5 * curve.standard_errors)
    assert np.ptp(by_name["gaps"].values) < 0.3


# -- all methods ----------------------------------------------------------------------


def test_methods_see_the_spread_of_their_rows(model):
    some = X.iloc[[250, 3, 77]]
    for method in ("predict_quantile", "predict_interval", "predict_mode"):
        ask = getattr(model, method)
        np.testing.assert_allclose(ask(some), ask(X)[[250, 3, 77]], rtol=1e-9)
    low, high = model.predict_quantile(some, [0.1, 0.9]).T
    draws = model.sample_y(some, 4000, random_state=0)
    assert np.mean(draws < low[:, None], axis=1) == pytest.approx(0.1, abs=0.03)
    assert np.mean(draws > high[:, None], axis=1) == pytest.approx(0.1, abs=0.03)
    parts = [
        stats.norm.logpdf(Y, e.predict(X), np.sqrt(own.model_.predict(X)))
        for e, own in zip(model.experts_, model.likelihoods_, strict=True)
    ]
    by_hand = np.sum(model.gate_proba(X) * np.exp(np.column_stack(parts)), axis=1)
    np.testing.assert_allclose(model.log_density(X, Y), np.log(by_hand), rtol=1e-9)


def test_criteria_count_effective_degrees_of_freedom(model):
    spent = [own.n_parameters_ for own in (*model.experts_, *model.likelihoods_)]
    assert all(1 < own < 60 for own in spent)
    assert model.n_parameters_ == pytest.approx(
        sum(spent) + model.gate_.n_parameters_, rel=1e-9
    )
    assert model.bic(X, Y) < mixture(2, "gaussian").fit(X, Y).bic(X, Y)


def test_copies_answer_alike(model):
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        density = other.log_density(X, Y)
        np.testing.assert_array_equal(density, model.log_density(X, Y))


OPTIONS = {
    "noise": {"noise": True},
    "members": {"n_members": 2},
    "one-hot": {"trainer": "hard-em"},
    "two stages": {"trainer": TwoStage(cv=2, gate_cv=2, alphas=None)},
    "columns": {
        "experts": [("a", AdditiveExpert()), ("b", AdditiveExpert(8))],
        "expert_features": {"a": ["x"], "b": ["kind", "gaps"]},
    },
    "prediction": {"trainer": EM(max_iter=5, objective="prediction")},
    "foreign experts": {
        "experts": [AdditiveExpert(), HistGradientBoostingRegressor(max_iter=5)],
        "expert_features": {
            "additiveexpert": ["x", "kind"],
            "histgradientboostingregressor": ["x", "gaps"],
        },
        "likelihood": CURVES,
        "gate": "constant",
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_goes_with_all_other_parts(name):
    options = {"n_experts": 2, "trainer": EM(max_iter=5)} | OPTIONS[name]
    fitted = mixture(**options).fit(FEW, FEW_Y)
    density = fitted.log_density(FEW, FEW_Y)
    assert np.isfinite(density).all()
    found = fitted.predict(FEW, return_std=True)[1]
    assert stats.spearmanr(found, STD[: len(FEW)]).statistic > 0.3


def test_trees_have_it_too():
    options = {"gate": "additive", "trainer": EM(max_iter=5), "random_state": 0}
    tree = HierarchicalMoERegressor(
        "additive", branching=(2, 2), likelihood="heteroscedastic", **options
    ).fit(FEW, FEW_Y)
    assert never_falls(tree)
    assert np.ptp(tree.predict(FEW, return_std=True)[1]) > 0.1


def test_several_outputs_have_their_own_spreads():
    both = np.column_stack([Y, X["x"] + np.random.default_rng(1).normal(size=len(Y))])
    found = mixture().fit(X, both).predict(X, return_std=True)[1]
    assert stats.spearmanr(found[:, 0], STD).statistic > 0.8
    assert np.median(np.abs(np.log(found[:, 1]))) < 0.2


def test_sizes_are_chosen():
    search = MoERegressorCV(
        mixture(trainer=EM(max_iter=5)), n_experts=2, criterion="bic"
    )
    assert search.fit(FEW, FEW_Y).n_experts_ in (1, 2)


# -- behaviour that users rely on -----------------------------------------------------


def test_weights_are_repetition():
    weight = np.arange(len(FEW)) % 3
    fitted = mixture(2).fit(FEW, FEW_Y, sample_weight=weight)
    rows = np.repeat(np.arange(len(FEW)), weight)
    repeated = mixture(2).fit(FEW.iloc[rows], FEW_Y[rows])
    np.testing.assert_allclose(
        fitted.log_density(FEW, FEW_Y), repeated.log_density(FEW, FEW_Y), atol=1e-6
    )


@pytest.mark.parametrize("scale", [1e-8, 1e6])
def test_units_of_the_target_do_not_matter(scale):
    std = mixture(2).fit(FEW, FEW_Y).predict(FEW, return_std=True)[1]
    scaled = mixture(2).fit(FEW, scale * FEW_Y).predict(FEW, return_std=True)[1]
    np.testing.assert_allclose(scaled / scale, std, rtol=1e-8)


def test_a_fit_goes_on_with_other_rows():
    fitted = mixture(2, warm_start=True).fit(FEW, FEW_Y)
    before = fitted.lower_bounds_[-1]
    assert fitted.fit(FEW, FEW_Y).lower_bounds_[-1] > before - 0.01
    fitted.fit(X, Y)
    assert stats.spearmanr(fitted.predict(X, return_std=True)[1], STD).statistic > 0.8


# -- what keeps a variance in bounds --------------------------------------------------


def test_heavy_tails_are_no_structure():
    """Squares that scatter more than normal ones are no evidence for bends."""
    rng = np.random.default_rng(0)
    y = X["x"] + rng.standard_t(2.5, size=len(X))
    fitted = mixture().fit(X, y).likelihoods_[0].model_
    assert fitted.overdispersion_[0] > 2
    assert all(np.ptp(own.values) < 1.5 for own in fitted.curves_)


def test_nobodys_variance_stays_near():
    """Where an expert has no rows, neither its variance nor its location runs away."""
    mean = np.where(X["kind"] == "u", np.sin(2 * X["x"]), -X["x"])
    y = mean + STD * np.random.default_rng(2).normal(size=len(X))
    fitted = mixture(2, trainer=EM()).fit(X, y)
    for expert, own in zip(fitted.experts_, fitted.likelihoods_, strict=True):
        assert np.abs(expert.predict(X)).max() < 20
        assert own.model_.predict(X).max() < 400 * STD.max() ** 2


def test_exact_fits_stay_finite():
    fitted = mixture().fit(FEW, FEW["x"].to_numpy())
    assert np.isfinite(fitted.log_density(FEW, FEW["x"])).all()
    assert fitted.predict(FEW, return_std=True)[1].max() < 0.02
    assert np.isfinite(mixture().fit(FEW, np.ones(len(FEW))).log_likelihood_)


# -- other experts, and what cannot be ------------------------------------------------


def test_curves_of_the_variance_around_lines():
    numbers = X[["x", "gaps"]].fillna(0.0).to_numpy()
    for expert in ("linear", Ridge()):
        lines = {"experts": expert, "gate": "softmax", "trainer": EM(max_iter=5)}
        fitted = mixture(2, CURVES, **lines).fit(numbers, Y)
        found = fitted.predict(numbers, return_std=True)[1]
        assert stats.spearmanr(found, STD).statistic > 0.5


@pytest.mark.parametrize("model", [Ridge(), HistGradientBoostingRegressor()])
def test_models_that_read_no_curves_are_named(model):
    with pytest.raises(ValueError, match=r"reads curves; use model=None"):
        mixture(likelihood=HeteroscedasticGaussian(model)).fit(FEW, FEW_Y)


def test_rows_that_come_in_batches_are_refused():
    source = RowSource.from_arrays(FEW[["x"]].to_numpy(), FEW_Y)
    with pytest.raises(ValueError, match=r"likelihood=Heteroscedastic"):
        mixture(gate="constant").fit(source)
    assert not hasattr(mixture(), "partial_fit")
