"""Parts that gain from sums: the optimum of arrays, from rows in batches."""

import pickle

import numpy as np
import pytest
from read_rows import in_batches, limit_samples
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor
from skmoe._numerics.sample import row_keys
from skmoe.data import RowSource
from skmoe.experts import LinearExpert
from skmoe.gates import GaussianGate, SoftmaxGate
from skmoe.likelihoods import Gaussian, Likelihood, StudentT
from skmoe.likelihoods._sums import DispersionSums
from skmoe.routers import TopKRouter
from skmoe.trainers import EM
from skmoe.trainers._em import streamed, summed_parts

N_ROWS = 1800


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    """Samples that hold two thirds of the rows, and first runs on a third."""
    limit_samples(1200, 600, monkeypatch.setattr)


@pytest.fixture(scope="module")
def table():
    """Columns, linear predictors of two regimes, weights, and a generator."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(N_ROWS, 2))
    first = rng.random(N_ROWS) < 1 / (1 + np.exp(-2 * Z[:, 0]))
    eta = np.where(first, 2 + 0.4 * Z[:, 1], 0.5 - 0.6 * Z[:, 1])
    weight = rng.uniform(0.5, 2.0, N_ROWS) * (rng.random(N_ROWS) > 0.1)
    return Z * [1.0, 100.0] + [0.0, 1e3], eta, weight, rng


def drawn(family, eta, rng):
    """Targets of a family with linear predictors ``eta``."""
    mean = np.exp(eta)
    draws = {
        "poisson": lambda: rng.poisson(mean).astype(float),
        "negative-binomial": lambda: rng.poisson(mean * rng.gamma(5, 0.2, len(eta))),
        "gamma": lambda: rng.gamma(5, mean / 5),
        "student-t": lambda: 3 * eta + 0.3 * rng.standard_t(4, len(eta)),
        "gaussian": lambda: 3 * eta + 0.3 * rng.normal(size=len(eta)),
    }
    return np.asarray(draws[family](), dtype=float)


def both(kind, rows, weight, **parameters):
    """A fit to arrays, and one to the same rows in batches."""
    given = {
        "n_experts": 2,
        "random_state": 0,
        "trainer": EM(tol=1e-10, max_refits=150),
    }
    model = kind(**{**given, **parameters}).fit(*rows, weight)
    return model, kind(**model.get_params(deep=False)).fit(in_batches(*rows, weight))


# Penalties that are given, which settle in fewer steps.
FIXED = {"gate": SoftmaxGate(alpha=1.0), "experts": LinearExpert(alpha=1.0)}


def assert_near(model, other, ask):
    found, expected = ask(other), ask(model)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * expected.std())
    assert other.log_likelihood_ == pytest.approx(model.log_likelihood_, rel=1e-7)
    assert other.n_parameters_ == pytest.approx(model.n_parameters_, rel=1e-4)
    np.testing.assert_allclose(other.expert_load_, model.expert_load_, atol=1e-4)


@pytest.mark.parametrize("family", ["poisson", "negative-binomial", "gamma"])
def test_families_by_a_log_link(table, family):
    X, eta, weight, _ = table
    y = drawn(family, eta, np.random.default_rng(1))
    # Dispersions of counts take hundreds of steps where regimes overlap.
    n_experts = 1 if family == "negative-binomial" else 2
    given = {"likelihood": family, "n_experts": n_experts, **FIXED}
    model, other = both(MoERegressor, (X, y), weight, **given)
    assert_near(model, other, lambda own: own.predict(X))


@pytest.mark.parametrize("likelihood", [StudentT(), StudentT(df=4)], ids=repr)
def test_heavy_tails(table, likelihood):
    X, eta, weight, _ = table
    y = drawn("student-t", eta, np.random.default_rng(1))
    parts = {"gate": SoftmaxGate(alpha=1.0), "experts": LinearExpert(alpha=0.0)}
    model, other = both(MoERegressor, (X, y), weight, likelihood=likelihood, **parts)
    assert_near(model, other, lambda own: own.predict(X))
    for name in ("sigma_", "df_"):
        pairs = zip(model.likelihoods_, other.likelihoods_, strict=True)
        for own, found in pairs:
            assert vars(found)[name] == pytest.approx(vars(own)[name], rel=1e-3)


@pytest.mark.parametrize("covariance", ["full", "diag", "tied"])
def test_gaussian_gates(table, covariance):
    X, eta, weight, _ = table
    y = drawn("gaussian", eta, np.random.default_rng(1))
    gate = GaussianGate(covariance)
    parts = {"gate": gate, "experts": LinearExpert(alpha=0.0)}
    model, other = both(MoERegressor, (X, y), weight, **parts)
    assert_near(model, other, lambda own: own.predict(X))
    np.testing.assert_allclose(
        other.gate_.covariances_, model.gate_.covariances_, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_noise(table, family):
    X, eta, weight, _ = table
    rng = np.random.default_rng(1)
    y, outliers = drawn(family, eta, rng), rng.random(N_ROWS) < 0.05
    y[outliers] = np.round(rng.uniform(-40, 40, outliers.sum()))
    y = np.abs(y) if family == "poisson" else y
    # The end of the range is in a row that no sample holds.
    keys = row_keys(np.column_stack([X, np.full(N_ROWS, 60.0)]))
    y[np.argmax(np.where(weight > 0, keys, np.uint64(0)))] = 60.0
    parts = {"gate": SoftmaxGate(alpha=1.0), "experts": LinearExpert(alpha=0.0)}
    # One start of so few rows may end where one expert explains them all.
    given = {"likelihood": family, "noise": True, "n_init": 3, **parts}
    model, other = both(MoERegressor, (X, y), weight, **given)
    assert_near(model, other, lambda own: own.predict(X))
    noise = [vars(own.likelihoods_[-1]) for own in (model, other)]
    assert noise[0]["high_"] == noise[1]["high_"] == 60.0
    assert noise[0]["low_"] == noise[1]["low_"]
    gone = [own.responsibilities(X, y)[:, -1] for own in (model, other)]
    np.testing.assert_allclose(*gone, atol=1e-2)


def test_classes(table):
    X, eta, weight, _ = table
    side = (X[:, 1] > 1e3) ^ (X[:, 0] > 0)
    side ^= np.random.default_rng(1).random(N_ROWS) < 0.1
    labels = np.where(side, "up", "down")
    # Of several experts there is more than one optimum.
    parts = {"gate": "gaussian", "experts": LinearExpert(alpha=1.0), "n_experts": 1}
    model, other = both(MoEClassifier, (X, labels), weight, **parts)
    found, expected = other.predict_proba(X), model.predict_proba(X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    experts = [LinearExpert(alpha=1.0), LinearExpert(alpha=2.0)]
    other = MoEClassifier(experts, n_experts=2, random_state=0)
    other.fit(in_batches(X, labels, weight))
    assert (other.predict(X) == labels).mean() > 0.85


def test_experts_need_not_be_alike(table):
    X, eta, weight, _ = table
    y = drawn("gaussian", eta, np.random.default_rng(1))
    experts = [LinearExpert(), LinearExpert(alpha=0.0)]
    model, other = both(MoERegressor, (X, y), weight, experts=experts)
    assert_near(model, other, lambda own: own.predict(X))


def test_penalties_by_evidence_are_renewed_from_sums(table):
    X, eta, weight, _ = table
    for family, gate in (("gamma", "softmax"), ("gaussian", "gaussian")):
        y = drawn(family, eta, np.random.default_rng(1))
        trainer = EM(tol=1e-8, max_refits=100)
        given = {"likelihood": family, "gate": gate, "trainer": trainer}
        model, other = both(MoERegressor, (X, y), weight, **given)
        strengths = [[own.alpha_ for own in fit.experts_] for fit in (model, other)]
        np.testing.assert_allclose(*strengths, rtol=5e-3)
        np.testing.assert_allclose(
            other.predict(X), model.predict(X), atol=5e-3 * np.std(y)
        )


def test_cuts_and_threads_change_nothing(table):
    X, eta, weight, _ = table
    y = drawn("gamma", eta, np.random.default_rng(1))
    given = {"n_experts": 2, "likelihood": "gamma", "random_state": 0, **FIXED}
    fits = [
        MoERegressor(**given, n_jobs=n_jobs).fit(
            in_batches(X, y, weight, sizes=(size,))
        )
        for n_jobs, size in ((1, 700), (3, 411))
    ]
    np.testing.assert_array_equal(fits[0].predict(X), fits[1].predict(X))
    # Neither rows nor the source stay with the model.
    assert len(pickle.dumps(fits[0])) < 20_000
    assert fits[0].history_["rows"] == np.count_nonzero(weight)


def test_passes_are_counted(table):
    X, eta, weight, _ = table
    y, passes = drawn("poisson", eta, np.random.default_rng(1)), []

    def read():
        passes.append(0)
        yield X, y, weight

    model = MoERegressor(n_experts=2, likelihood="poisson", random_state=0)
    model.fit(RowSource.from_batches(read))
    assert model.history_["passes"] == len(passes) <= 11


def test_a_sample_that_holds_all_rows_is_enough(table):
    X, eta, _, _ = table
    X, y = X[:1000], drawn("poisson", eta, np.random.default_rng(1))[:1000]
    model = MoERegressor(n_experts=2, likelihood="poisson", random_state=0).fit(X, y)
    other = MoERegressor(**model.get_params(deep=False)).fit(in_batches(X, y))
    np.testing.assert_allclose(other.predict(X), model.predict(X), rtol=1e-9)
    assert other.history_["passes"] == 1


def test_what_is_summed_may_be_sent_to_another_process(table, monkeypatch):
    X, eta, weight, _ = table
    y, sent = drawn("poisson", eta, np.random.default_rng(1)), []
    whole = summed_parts.timed_sums

    def pickled(stream, passes, accumulate, make_statistics, n_jobs):
        own = pickle.dumps((accumulate, make_statistics))
        sent.append(len(own))
        return whole(stream, passes, *pickle.loads(own), n_jobs)

    given = {"n_experts": 2, "likelihood": "poisson", "random_state": 0, **FIXED}
    model = MoERegressor(**given).fit(in_batches(X, y, weight))
    for module in (streamed, summed_parts):
        monkeypatch.setattr(module, "timed_sums", pickled)
    other = MoERegressor(**given).fit(in_batches(X, y, weight))
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    y = drawn("gaussian", eta, np.random.default_rng(1))
    MoERegressor(n_experts=2, random_state=0).fit(in_batches(X, y, weight))
    # Parameters travel, rows do not.
    assert sent
    assert max(sent) < 20_000


# -- what rows bring along -------------------------------------------------------------


SIZED = {"poisson": "offset", "binomial": "trials"}


def sized(table, family):
    """Targets of a family, their weights, and what else the rows bring along."""
    X, eta, weight, _ = table
    rng = np.random.default_rng(3)
    if family == "binomial":
        trials = rng.integers(1, 12, N_ROWS).astype(float)
        y = rng.binomial(trials.astype(int), 1 / (1 + np.exp(2 - 2 * eta)))
        return y.astype(float), weight, trials
    offset = rng.normal(size=N_ROWS)
    return drawn(family, eta + offset, rng), weight, offset


@pytest.mark.parametrize("family", SIZED)
def test_offsets_and_trials_come_with_the_rows(table, family):
    X, name = table[0], SIZED[family]
    y, weight, size = sized(table, family)
    given = {"n_experts": 2, "random_state": 0, "likelihood": family, **FIXED}
    model = MoERegressor(**given, trainer=EM(tol=1e-10, max_refits=150))
    other = clone(model).fit(in_batches(X, y, weight, size, size=name))
    model.fit(X, y, weight, **{name: size})
    assert_near(model, other, lambda own: own.predict(X, **{name: size}))
    source = RowSource.from_arrays(X, y, weight, **{name: size})
    # Of rows of a source what they bring along is known.
    found = [np.concatenate([*own]) for own in (other.predict(source),)]
    np.testing.assert_array_equal(*found, other.predict(X, **{name: size}))
    total = sum(weight @ own for own in [np.concatenate([*other.log_density(source)])])
    assert other.log_likelihood_ == pytest.approx(total, rel=1e-9)
    expected = other.bic(X, y, weight, **{name: size})
    assert other.bic(source) == pytest.approx(expected, rel=1e-9)


def test_columns_of_parquet_are_what_rows_bring_along(table, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    y, weight, size = (own[:900] for own in sized(table, "binomial"))
    X = table[0][:900]
    columns = {"a": X[:, 0], "b": X[:, 1], "y": y, "n": size.astype(int), "w": weight}
    pytest.importorskip("pyarrow.parquet").write_table(
        arrow.table(columns), tmp_path / "rows.parquet"
    )
    source = RowSource.from_parquet(tmp_path, "y", weight="w", trials="n")
    assert source.names == ["a", "b"]
    model = MoERegressor(n_experts=2, likelihood="binomial", random_state=0)
    other = clone(model).fit(source)
    # The sample holds all rows: the model is that of arrays.
    expected = model.fit(X, y, weight, trials=size).predict(X, trials=size)
    found = np.concatenate([*other.predict(source)])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_what_rows_bring_along_is_checked(table):
    X = table[0]
    y, weight, size = sized(table, "binomial")
    model = MoERegressor(n_experts=2, likelihood="binomial", random_state=0)

    def source(**given):
        return RowSource.from_arrays(X, y, weight, **given)

    with pytest.raises(ValueError, match="got offset with Binomial"):
        model.fit(source(offset=size))
    with pytest.raises(ValueError, match="exceeds its trials by"):
        model.fit(source(trials=np.where(np.arange(N_ROWS) == 1500, 1.0, size)))
    with pytest.raises(ValueError, match="whole numbers >= 1"):
        model.fit(source(trials=size - 1))
    with pytest.raises(ValueError, match="None for trials"):
        model.fit(RowSource.from_batches(lambda: [(X, y, None, None)], size="trials"))
    with pytest.raises(ValueError, match="got both offset and trials"):
        source(trials=size, offset=size)
    with pytest.raises(ValueError, match="got size='rate'"):
        RowSource.from_batches(list, size="rate")
    with pytest.raises(ValueError, match=r"expected \(X, y, sample_weight, trials\)"):
        model.fit(in_batches(X, y, size="trials"))
    with pytest.raises(ValueError, match="MoEClassifier got trials with Categorical"):
        MoEClassifier().fit(source(trials=size))
    model.fit(source(trials=size))
    with pytest.raises(ValueError, match=r"a RowSource with trials=\.\.\."):
        model.predict(source(trials=size), trials=size)


# -- routers ---------------------------------------------------------------------------


ROUTERS = [("poisson", 1), ("gaussian", TopKRouter(1, training="sparse"))]


@pytest.mark.parametrize(("family", "router"), ROUTERS, ids=["refit", "sparse"])
def test_rows_train_the_experts_that_a_router_keeps(table, family, router):
    X, eta, weight, _ = table
    y = drawn(family, eta, np.random.default_rng(1))
    given = {"likelihood": family, "router": router, "trainer": EM(tol=1e-5), **FIXED}
    model, other = both(MoERegressor, (X, y), weight, **given)
    # The objective has jumps, at which either may stop.
    assert other.log_likelihood_ > model.log_likelihood_ - 0.01 * N_ROWS
    # All rows have had their share in that of the experts that predict them.
    found = np.concatenate([*other.log_density(in_batches(X, y, weight))])
    assert other.log_likelihood_ == pytest.approx(weight @ found, rel=1e-9)
    assert ("soft_bound" in other.history_) == (router == 1)


def test_a_router_has_its_say_in_a_sample_that_holds_all_rows(table):
    X, eta, *_ = table
    y = drawn("poisson", eta, np.random.default_rng(1))[:800]
    model = MoERegressor(n_experts=2, likelihood="poisson", router=1, random_state=0)
    other = clone(model).fit(in_batches(X[:800], y))
    expected = model.fit(X[:800], y).predict(X)
    np.testing.assert_allclose(other.predict(X), expected, rtol=1e-9)


# -- columns that parts see ------------------------------------------------------------


CHOICES = {
    "by number": {"gate_features": [0], "expert_features": slice(1, 2)},
    "by name": {"gate_features": ["a"], "expert_features": None},
    "apart": {"expert_features": {"one": [1], "other": [1, 0]}},
}


@pytest.mark.parametrize("name", CHOICES)
def test_parts_see_the_columns_that_are_chosen(table, name):
    pandas = pytest.importorskip("pandas")
    X, eta, weight, _ = table
    X = pandas.DataFrame(X, columns=["a", "b"])
    family = "gaussian" if name == "by number" else "poisson"
    y = drawn(family, eta, np.random.default_rng(1))
    given = {**FIXED, "likelihood": family, **CHOICES[name]}
    if name == "apart":
        given["experts"] = [(own, FIXED["experts"]) for own in ("one", "other")]
    model, other = both(MoERegressor, (X, y), weight, **given)
    assert_near(model, other, lambda own: own.predict(X))
    found = [np.shape(own.coef_)[-1] for own in (other.gate_, *other.experts_)]
    expected = [np.shape(own.coef_)[-1] for own in (model.gate_, *model.experts_)]
    assert found == expected
    lazily = np.concatenate([*other.predict(in_batches(X, y))])
    np.testing.assert_array_equal(lazily, other.predict(X))


def test_curves_of_chosen_columns(table):
    X, eta, *_ = table
    y = drawn("gaussian", eta, np.random.default_rng(1))[:1000]
    given = {"gate_features": [0], "expert_features": [1], "random_state": 0}
    likelihood = EM(objective="likelihood")
    model = MoERegressor("additive", 2, gate="additive", trainer=likelihood, **given)
    other = clone(model).fit(in_batches(X[:1000], y))
    expected = model.fit(X[:1000], y).predict(X)
    np.testing.assert_allclose(other.predict(X), expected, rtol=1e-9)


# -- sums ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["negative-binomial", "gamma", "student-t"])
def test_dispersions_climb_to_their_optimum(table, family):
    _, eta, weight, _ = table
    y = drawn(family, eta, np.random.default_rng(1))[:, None]
    model = MoERegressor(n_experts=1, likelihood=family, random_state=0)
    known = model.fit(eta[:, None], y[:, 0], weight).likelihoods_[0]
    prediction = model.predict_experts(eta[:, None])[:, :1]
    rows = summed_parts.ExpertRows(None, y, weight, prediction, known)
    sums = DispersionSums(known, np.var(y, axis=0))
    theta = best = sums.vector(known)
    theta = theta + 0.7
    for _ in range(30):
        own = sums.zeros()
        sums.add(own, theta, rows)
        theta = sums.moved(theta, own, np.zeros(1))
    np.testing.assert_allclose(theta, best, atol=2e-2)
    value = [weight @ sums.at(at).log_prob(y, prediction) for at in (theta, best)]
    assert value[0] >= value[1] - 1e-6


def test_moments_of_a_gaussian_gate_are_found_again():
    rng = np.random.default_rng(0)
    X, resp = rng.normal(size=(400, 3)) * [1, 9, 0.1], rng.dirichlet(np.ones(3), 400)
    weight = rng.uniform(1, 2, 400)
    for covariance in ("full", "diag", "tied"):
        gate = GaussianGate(covariance).fit(X, resp, weight)
        own = gate.sums(X, weight, None, weight.sum())
        again = own.at(own.vector(gate))
        np.testing.assert_allclose(again.log_joint(X), gate.log_joint(X), rtol=1e-8)
        sums = own.zeros()
        for part in np.array_split(np.arange(400), 3):
            own.add(sums, None, X[part], resp[part], weight[part])
        found = own.at(own.moved(None, sums))
        np.testing.assert_allclose(found.log_joint(X), gate.log_joint(X), rtol=1e-8)


# -- what is refused -------------------------------------------------------------------


class Unknown(Likelihood):
    """A family that does not say what its dispersions are."""


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"likelihood": Unknown()}, r"likelihood=Unknown\(\).*told by name"),
        ({"likelihood": Gaussian("shared"), "gate": "gaussian"}, "told by name"),
        (
            {"gate": "gaussian", "experts": LinearExpert(alpha=1.0)},
            "alpha='evidence' or alpha=0",
        ),
        (
            {"gate": "gaussian", "experts": LinearExpert(alpha=1.0, l1_ratio=0.5)},
            "takes all rows at once",
        ),
        ({"likelihood": "poisson", "gate": SoftmaxGate(0.1, l1_ratio=1)}, "lasso"),
    ],
    ids=["unknown", "shared", "ridge", "lasso", "gate's lasso"],
)
def test_what_takes_all_rows_is_refused_by_name(table, parameters, said):
    X, eta, *_ = table
    y = drawn("poisson", eta, np.random.default_rng(1))
    with pytest.raises(ValueError, match=said):
        MoERegressor(n_experts=2, **parameters).fit(in_batches(X, y))


def test_targets_of_later_batches_are_checked(table):
    X, eta, *_ = table
    y = drawn("poisson", eta, np.random.default_rng(1))
    y[-1] = -1.0
    with pytest.raises(ValueError, match=r"y with the value -1\.0"):
        MoERegressor(n_experts=2, likelihood="poisson").fit(in_batches(X, y))


def test_an_expert_without_rows_is_removed(table):
    X, eta, *_ = table
    y = drawn("poisson", eta, np.random.default_rng(1))
    trainer = EM(min_load=0.9)
    given = {"n_experts": 3, "likelihood": "poisson", "random_state": 0}
    with pytest.warns(UserWarning, match="lost its rows"):
        model = MoERegressor(**given, trainer=trainer).fit(in_batches(X, y))
    assert model.n_experts_ < 3
    assert np.isfinite(model.predict(X)).all()
