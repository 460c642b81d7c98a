"""Additive experts and gates: curves, levels, gaps, and penalties by evidence."""

import warnings

import naive
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._kernels import curves as kernels
from skmoe._numerics import systems
from skmoe._numerics.additive import LeastSquares, Softmax, weighed
from skmoe._numerics.systems import system_for
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.experts._curves import CurveEncoding
from skmoe.gates import AdditiveGate
from skmoe.trainers import EM


def regimes(n=400, seed=0, noise=0.2):
    """A raw table with gaps and categories, and a target of two regimes."""
    rng = np.random.RandomState(seed)
    a, b = rng.uniform(-2, 2, n), rng.normal(size=n)
    kind = rng.choice(["low", "mid", "high"], size=n)
    bend = np.where(kind == "high", -np.abs(a), np.sin(2 * a))
    y = bend + 0.5 * (kind == "mid") + noise * rng.normal(size=n)
    X = pd.DataFrame({"a": a, "b": b, "kind": kind})
    X.loc[::9, "b"] = np.nan
    return X, y


X, Y = regimes()
SHORT = EM(max_iter=12)
CLASSES = np.where(Y > 0.4, "up", np.where(Y > -0.5, "even", "down"))


@pytest.fixture(scope="module")
def bins():
    return CurveEncoding(8).fit(X).bins(X)


@pytest.fixture(scope="module")
def model():
    return MoERegressor("additive", 2, gate="additive", random_state=0).fit(X, Y)


# -- sums over rows ------------------------------------------------------------------


def test_bins_are_a_design(bins):
    """Products and Gram matrices are those of the columns that the bins stand for."""
    rng = np.random.default_rng(0)
    Z = naive.hats(bins)
    coef, values = rng.normal(size=(3, Z.shape[1])), rng.normal(size=(len(Z), 3))
    np.testing.assert_allclose(bins.linear(coef), Z @ coef.T, atol=1e-12)
    np.testing.assert_allclose(bins.gather(values), values.T @ Z, atol=1e-11)
    grams = bins.grams(np.abs(values))
    for gram, weight in zip(grams, np.abs(values).T, strict=True):
        expected = np.tril(Z.T @ (weight[:, None] * Z))
        np.testing.assert_allclose(np.tril(gram), expected, atol=1e-11)


def test_few_values_are_their_own_bins(bins):
    """With at most as many values as bins, training rows are where they are."""
    few = X.iloc[:200]
    encoding = CurveEncoding(8).fit(few)
    coef = np.random.default_rng(1).normal(size=(2, encoding.basis_.n_coef + 1))
    binned, exact = encoding.bins(few), encoding.places(few)
    np.testing.assert_allclose(binned.linear(coef), exact.linear(coef), atol=1e-12)


def test_rows_can_be_taken(bins):
    rows = np.array([5, 0, 7])
    coef = np.random.default_rng(2).normal(size=(2, bins.basis.n_coef + 1))
    np.testing.assert_array_equal(bins[rows].linear(coef), bins.linear(coef)[rows])


@pytest.mark.parametrize("ends", ["held", "linear"])
def test_beyond_the_last_knots(ends):
    x = np.linspace(0, 1, 50).reshape(-1, 1)
    expert = AdditiveExpert(ends=ends).fit(x, 3 * x[:, 0])
    inside, beyond = expert.predict(np.array([[1.0], [2.0]]))
    expected = inside if ends == "held" else inside + 3
    assert beyond == pytest.approx(expected, abs=0.05)


def test_kernels_in_plain_python(bins):
    """Compiled kernels do what their Python does, on a few rows."""
    part = bins[np.arange(20)]
    table = np.random.default_rng(3).normal(size=(part.starts[-1], 2))
    compiled, plain = np.zeros((20, 2)), np.zeros((20, 2))
    kernels.look_up(part.codes, part.starts, table, compiled, 0, 20)
    kernels.look_up.py_func(part.codes, part.starts, table, plain, 0, 20)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12)


# -- penalties by evidence -----------------------------------------------------------


def test_strengths_climb_the_evidence(bins):
    """Where penalties have come to rest, the marginal likelihood is level in each."""
    weight, target = np.ones(len(Y)), Y[:, None]
    fitted = AdditiveExpert(8).fit(X, Y)
    variance = np.mean((Y - fitted.predict(X)) ** 2) * len(Y)
    variance /= len(Y) - fitted.n_parameters_

    def evidence(strengths):
        return naive.log_evidence(naive.hats(bins), bins.basis, Y, strengths, variance)

    strengths = np.full(len(bins.basis.blocks), 10.0)
    for _ in range(300):
        least = LeastSquares(bins, target, weight, [variance])
        weights, rest = least.derivatives(np.zeros(target.shape))
        system, _ = system_for(None, bins, weights, strengths[None])
        coef = system.solve(bins.gather(rest), bins, weights)
        mass = bins.gather(weights)[0]
        found, _ = weighed(least, coef, strengths[None], mass, system)
        strengths = found.strengths[0]
    best = evidence(strengths)
    for k in np.flatnonzero(strengths < 1e5):
        for factor in (0.5, 2.0):
            other = strengths.copy()
            other[k] *= factor
            assert evidence(other) < best + 1e-6


def test_a_column_that_does_not_matter_is_flat():
    rng = np.random.RandomState(0)
    Z = rng.uniform(-1, 1, (500, 3))
    expert = AdditiveExpert().fit(Z, np.sin(3 * Z[:, 0]) + 0.2 * rng.normal(size=500))
    assert expert.effective_[0, 0] > 3
    assert expert.effective_[0, 1:].max() < 1.5
    assert np.ptp(expert.curves_[1].values) < 0.1


def test_curves_lie_in_their_bands():
    """Over many draws the truth is in 95 % bands about as often."""
    inside = []
    for seed in range(20):
        rng = np.random.RandomState(seed)
        Z = rng.uniform(-1, 1, (400, 2))
        truth = [np.sin(3 * Z[:, 0]), Z[:, 1] ** 2]
        expert = AdditiveExpert(12).fit(Z, sum(truth) + 0.3 * rng.normal(size=400))
        for j, true in enumerate((np.sin(3 * Z[:, 0]), Z[:, 1] ** 2)):
            curve = expert.curves_[j]
            order = np.argsort(Z[:, j])
            at = np.interp(curve.knots, Z[order, j], true[order]) - true.mean()
            error = np.abs(curve.values - at)[1:-1]
            inside.append(error < 1.96 * curve.standard_errors[1:-1])
    assert 0.88 < np.mean(inside) < 0.99


def test_fixed_penalties_stay():
    expert = AdditiveExpert(8, alpha=3.0).fit(X, Y)
    assert np.all(expert.alpha_ == 3.0)
    assert expert.n_parameters_ < expert.encoding_.basis_.n_coef


def test_maximum_likelihood_is_least_squares(bins):
    expert = AdditiveExpert(8, alpha=0).fit(X, Y)
    Z = naive.hats(bins)
    best = Z @ np.linalg.lstsq(Z, Y, rcond=None)[0]
    np.testing.assert_allclose(expert.predict(bins), best, atol=1e-6)


# -- what a user sees ----------------------------------------------------------------


def test_raw_tables_go_in(model):
    """Text, gaps, and levels and gaps that training did not have."""
    rows = X.iloc[:3].copy()
    rows["kind"] = ["unheard", "low", "high"]
    rows["a"] = [np.nan, 99.0, -99.0]
    assert np.isfinite(model.predict(rows)).all()
    np.testing.assert_allclose(model.gate_proba(rows).sum(axis=1), 1.0)


def test_regimes_are_found(model):
    """The gate tells regimes apart by the column that they differ in, and no other."""
    spent = dict.fromkeys(["kind", "a", "b"], 0.0)
    gate = model.gate_
    for curve in gate.curves_:
        spent[curve.name] = np.ptp(curve.values)
    assert spent["kind"] > 5 * spent["b"]
    alone = AdditiveExpert().fit(X, Y)
    test, truth = regimes(2000, seed=1, noise=0.0)
    worse = np.mean((alone.predict(test) - truth) ** 2)
    assert np.mean((model.predict(test) - truth) ** 2) < 0.4 * worse


def test_objective_rises_between_renewals(model):
    bounds = np.array(model.lower_bounds_)
    falls = np.flatnonzero(np.diff(bounds) < -1e-9) + 1
    assert set(falls) <= set(model.history_["renewed"])


def test_curves_have_names_and_units(model):
    curves = model.experts_[0].curves_
    assert [curve.name for curve in curves] == ["kind", "a", "b"]
    assert curves[0].levels == ["high", "low", "mid"]
    assert curves[1].knots.min() == X["a"].min()
    assert np.isfinite(curves[2].gap)
    assert np.isnan(curves[1].gap)


@pytest.mark.parametrize("unit", [1e-120, 1e120])
def test_units_of_y_do_not_matter(model, unit):
    other = MoERegressor("additive", 2, gate="additive", random_state=0)
    other.fit(X, unit * Y)
    np.testing.assert_allclose(other.predict(X) / unit, model.predict(X), rtol=1e-5)


def test_weights_are_repetitions():
    times = np.random.RandomState(3).randint(0, 3, len(Y))
    mixture = MoERegressor(
        "additive", 2, gate="additive", trainer=SHORT, random_state=0
    )
    rows = np.repeat(np.arange(len(Y)), times)
    with _no_care():
        mixture.fit(X, Y, sample_weight=times)
        other = clone(mixture).fit(X.iloc[rows], Y[rows])
    np.testing.assert_allclose(mixture.predict(X), other.predict(X), rtol=1e-5)


def test_scaling_a_column_changes_nothing(model):
    scaled = X.assign(a=1e6 * X["a"] + 3)
    other = clone(model).fit(scaled, Y)
    np.testing.assert_allclose(other.predict(scaled), model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_threads_change_nothing(model, n_jobs):
    other = clone(model).set_params(n_jobs=n_jobs).fit(X, Y)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


# -- with every other part -----------------------------------------------------------


MIXTURES = {
    "softmax gate": {"gate": "softmax"},
    "constant gate": {"gate": "constant"},
    "top-1": {"gate": "additive", "router": 1},
    "hard": {"gate": "additive", "trainer": "hard-em"},
    "two stages": {"gate": "additive", "trainer": "two-stage"},
    "members": {"gate": "additive", "n_members": 2},
    "noise": {"gate": "additive", "noise": True},
    "student-t": {"gate": "additive", "likelihood": "student-t"},
    "mixed": {"experts": [AdditiveExpert(), LinearExpert()], "expert_features": None},
}


@pytest.mark.parametrize("kind", MIXTURES)
def test_mixtures(kind):
    arguments = {"experts": "additive", "n_experts": 2, "trainer": SHORT}
    arguments |= MIXTURES[kind]
    rows = X[["a", "b"]].fillna(0.0)
    with _no_care():
        fitted = MoERegressor(random_state=0, **arguments).fit(rows, Y)
    mean, spread = fitted.predict(rows, return_std=True)
    np.testing.assert_allclose(mean, fitted.predict(rows))
    assert np.isfinite(mean).all()
    assert (spread > 0).all()
    np.testing.assert_allclose(fitted.gate_proba(rows).sum(axis=1), 1.0)
    one_by_one = np.concatenate([fitted.predict(rows.iloc[[k]]) for k in range(5)])
    np.testing.assert_allclose(one_by_one, mean[:5], rtol=1e-9)


def _no_care():
    return warnings.catch_warnings(action="ignore")


@pytest.mark.parametrize("likelihood", ["poisson", "gamma", "negative-binomial"])
def test_counts_and_amounts(likelihood):
    rng = np.random.RandomState(0)
    mean = np.exp(np.sin(2 * X["a"].to_numpy()) + (X["kind"] == "mid"))
    y = rng.poisson(mean) if likelihood != "gamma" else rng.gamma(2.0, mean / 2.0)
    y = y + (1e-3 if likelihood == "gamma" else 0)
    fitted = MoERegressor(
        "additive", 1, gate="constant", likelihood=likelihood, random_state=0
    ).fit(X, y)
    assert np.corrcoef(np.log(fitted.predict(X)), np.log(mean))[0, 1] > 0.95


def test_classes():
    fitted = MoEClassifier("additive", 2, gate="additive", random_state=0)
    with _no_care():
        fitted.fit(X, CLASSES)
    proba = fitted.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)
    assert np.mean(fitted.predict(X) == CLASSES) > 0.75


def test_two_classes_have_the_newton_step_of_their_logit(bins):
    """Mirrored curves of two classes move as one curve of the logit would."""
    up = (Y > 0).astype(float)
    softmax = Softmax(bins, np.column_stack([1 - up, up]))
    weights, rest = softmax.derivatives(np.zeros((len(Y), 2)))
    grams, slope = bins.grams(weights), bins.gather(rest)
    Z = naive.hats(bins)
    expected = np.tril(2 * 0.25 * Z.T @ Z)
    np.testing.assert_allclose(np.tril(grams[0]), expected, atol=1e-9)
    np.testing.assert_allclose(slope[0], Z.T @ (0.5 - up), atol=1e-9)


def test_trees_and_several_outputs():
    both = np.column_stack([Y, -2 * Y])
    flat = MoERegressor("additive", 2, gate="additive", trainer=SHORT, random_state=0)
    with _no_care():
        flat.fit(X, both)
        tree = HierarchicalMoERegressor(
            "additive", branching=(2, 2), trainer=SHORT, random_state=0
        ).fit(X, Y)
    assert flat.predict(X).shape == both.shape
    np.testing.assert_allclose(
        flat.predict(X)[:, 1], -2 * flat.predict(X)[:, 0], rtol=1e-6
    )
    assert np.isfinite(tree.predict(X)).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_knots": 1},
        {"n_knots": 2.5},
        {"alpha": "much"},
        {"alpha": -1},
        {"ends": "up"},
    ],
)
def test_wrong_parameters_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"AdditiveExpert got {name}="):
        MoERegressor(AdditiveExpert(**wrong)).fit(X[["a"]], Y)
    with pytest.raises(ValueError, match=f"AdditiveGate got {name}="):
        MoERegressor(Ridge(), gate=AdditiveGate(**wrong)).fit(X[["a"]], Y)


def test_as_the_shared_expert():
    with _no_care():
        fitted = MoERegressor(
            LinearExpert(), 2, shared_expert=AdditiveExpert(), random_state=0
        ).fit(X[["a"]], Y)
    alone = AdditiveExpert().fit(X[["a"]], Y)
    assert np.corrcoef(fitted.predict(X[["a"]]), alone.predict(X[["a"]]))[0, 1] > 0.9


def test_pictures_of_many_experts_end():
    picture = MoERegressor(n_experts=100_000)._repr_html_()
    assert "and 99950 more" in picture


def test_a_second_fit_begins_anew():
    expert = AdditiveExpert(8).fit(X, -Y).fit(X, Y)
    np.testing.assert_array_equal(
        expert.predict(X), AdditiveExpert(8).fit(X, Y).predict(X)
    )


# -- many coefficients ---------------------------------------------------------------


def wide(n=600, p=12, seed=0):
    """Related columns, of which three matter."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, p)) + rng.normal(size=(n, 1))
    return Z, np.sin(2 * Z[:, 0]) + Z[:, 1] ** 2 - Z[:, 2] + 0.3 * rng.normal(size=n)


def systems_of(bins, y, monkeypatch):
    """Coefficients and what they spend: of one factor, and of products alone."""
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    model = LeastSquares(bins, y[:, None], weight, [0.1])
    strengths = np.full((1, len(bins.basis.blocks)), 30.0)
    weights, rest = model.derivatives(np.zeros((len(y), 1)))
    for most, loose in ((10**6, -1.0), (0, 0.3)):
        monkeypatch.setattr(systems, "FEW_TOGETHER", 0)
        monkeypatch.setattr(systems, "MOST_TOGETHER", most)
        monkeypatch.setattr(systems, "LOOSE", loose)
        system, _ = system_for(None, bins, weights, strengths)
        coef = system.solve(bins.gather(rest), bins, weights)
        yield coef, system.spent(bins, weights, bins.gather(weights)[0])[0]


def test_products_solve_what_a_factor_does(monkeypatch):
    """Coefficients agree, and effective degrees of freedom nearly."""
    for X_, y in (wide(), (X, Y)):
        bins = CurveEncoding(8).fit(X_).bins(X_)
        (one, spent), (other, probed) = systems_of(bins, y, monkeypatch)
        np.testing.assert_allclose(other, one, atol=1e-6)
        np.testing.assert_allclose(probed, spent, atol=0.25)
        assert abs(probed.sum() - spent.sum()) < 0.05 * spent.sum()


def test_a_factor_is_of_the_penalised_system(bins):
    """Solutions, and effective degrees of freedom, are those of the dense matrix."""
    rng, Z = np.random.default_rng(5), naive.hats(bins)
    weight, strengths = rng.uniform(0.5, 2.0, len(Z)), np.array([3.0, 20.0, 5.0, 1.0])
    H = naive.penalised_system(Z, bins.basis, weight, strengths)
    system, _ = system_for(None, bins, weight[:, None], strengths[None])
    right, inverse = rng.normal(size=(1, len(H))), np.linalg.inv(H)
    solved = system.solve(right, bins, weight[:, None])
    np.testing.assert_allclose(solved[0], inverse @ right[0], atol=1e-9)
    # Without rows at the coefficients there is no mean to be taken out.
    spent, variances = system.spent(bins, weight[:, None], np.zeros(len(H)))
    traces = [
        np.trace(own.matrix @ inverse[own.slots, own.slots])
        for own in bins.basis.blocks
    ]
    ranks = [own.rank for own in bins.basis.blocks]
    np.testing.assert_allclose(spent[0], ranks - strengths * traces, atol=1e-9)
    np.testing.assert_allclose(variances[0], np.diag(inverse), atol=1e-9)
    product = bins.multiplied(weight[:, None], right)
    np.testing.assert_allclose(product[0], Z.T @ (weight * (Z @ right[0])), atol=1e-9)


def test_bands_are_columns_alone(monkeypatch):
    """What is solved for apart is a column's own system, of numbers exactly."""
    monkeypatch.setattr(systems, "FEW_TOGETHER", 0)
    monkeypatch.setattr(systems, "MOST_TOGETHER", 0)
    rows = X[["b"]]
    bins = CurveEncoding(8).fit(rows).bins(rows)
    Z, weight, strengths = naive.hats(bins), np.ones(len(X)), np.array([3.0, 2.0])
    H = naive.penalised_system(Z, bins.basis, weight, strengths)[:-1, :-1]
    system, _ = system_for(None, bins, weight[:, None], strengths[None])
    right = np.random.default_rng(6).normal(size=(1, len(Z[0])))
    near = system._nearly(right)[0, :-1]
    np.testing.assert_allclose(near, np.linalg.solve(H, right[0, :-1]), atol=1e-9)
    traces, inverse = system._traces[0], np.linalg.inv(H)
    for own, found in zip(bins.basis.blocks, traces, strict=True):
        expected = np.trace(own.matrix @ inverse[own.slots, own.slots])
        assert found == pytest.approx(expected)


def test_weights_that_move_a_little_keep_the_factor(monkeypatch):
    Z, y = wide()
    bins = CurveEncoding(8).fit(Z).bins(Z)
    rng = np.random.default_rng(2)
    before = rng.uniform(0.5, 2.0, (len(y), 1))
    after = before * rng.uniform(0.95, 1.05, before.shape)
    strengths = np.full((1, len(bins.basis.blocks)), 30.0)
    known, fresh = system_for(None, bins, before, strengths)
    assert fresh
    kept, fresh = system_for(known, bins, after, strengths)
    assert kept is known
    assert not fresh
    right = bins.gather(after * y[:, None])
    exact, _ = system_for(None, bins, after, strengths)
    np.testing.assert_allclose(
        known.solve(right, bins, after, fresh=False),
        exact.solve(right, bins, after),
        atol=1e-6,
    )
    assert system_for(known, bins, before**3, strengths)[0] is not known


def test_many_columns_keep_their_knots():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(400, 60))
    expert = AdditiveExpert().fit(Z, np.sin(3 * Z[:, 0]) + 0.2 * rng.normal(size=400))
    assert expert.encoding_.basis_.n_coef == 60 * 32
    assert expert.effective_[0, 0] > 3
    assert expert.effective_[0, 1:].mean() < 0.5


def test_a_column_of_many_levels():
    """Each level has a value of its own, shrunk to their mean."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 3000, 9000)
    truth = rng.normal(size=3000)
    table = pd.DataFrame({"who": levels.astype(str), "x": rng.normal(size=9000)})
    y = truth[levels] + table["x"].to_numpy() + 0.3 * rng.normal(size=9000)
    expert = AdditiveExpert().fit(table, y)
    assert expert.encoding_.basis_.n_coef > 2500
    assert np.mean((expert.predict(table) - y) ** 2) < 0.15


def test_a_system_is_not_pickled(model):
    for part in (model.gate_, *model.experts_):
        assert part._system is None


@pytest.mark.parametrize("seed", range(4))
def test_regimes_that_differ_by_their_answers_alone_are_found(seed):
    """The gate's column is none of the experts'."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform(-1, 1, size=(400, 2))
    target = np.where(rows[:, 1] < 0, 20.0, -20.0) + np.sin(3 * rows[:, 0])
    target += 0.3 * rng.normal(size=400)
    model = MoERegressor("additive", n_experts=2, gate="additive", random_state=seed)
    model.set_params(expert_features=[0], gate_features=[1]).fit(rows, target)
    assert model.score(rows, target) > 0.98
