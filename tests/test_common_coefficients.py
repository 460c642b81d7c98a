"""Coefficients that all experts have in common: ``LinearExpert(common=[...])``."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from densities import DENSITIES, DISPERSIONS
from scipy import optimize, sparse, special
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._numerics.arrow import solve_arrow
from skmoe.data import RowSource
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM
from skmoe.trainers._em import trainers

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
FOLDER = Path(__file__).parent / "known_answers"
ANSWERS = json.loads((FOLDER / "flexmix_common.json").read_text())
FINE = EM(tol=1e-10, max_iter=3000)


def expert(common=("x1",), **more):
    return LinearExpert(**{"alpha": 0, "common": list(common), **more})


def mixture(experts=None, n_experts=2, **more):
    given = {"gate": "constant", "random_state": 0, "trainer": FINE, **more}
    return MoERegressor(experts or expert(), n_experts, **given)


def rows(n=120, seed=0):
    """X and targets of all kinds, of which x1 and x2 say the same in both regimes."""
    rng = np.random.default_rng(seed)
    X, first = rng.normal(size=(n, 3)), np.arange(n) < 0.4 * n
    at = np.where(first, 1 + X[:, 0], -1 - 0.5 * X[:, 0]) + X[:, 1:] @ [0.4, -0.2]
    y = at + np.where(first, 0.2, 0.4) * rng.normal(size=n)
    targets = {
        "gaussian": y,
        "student-t": y + 0.1 * rng.standard_t(3, n),
        "poisson": rng.poisson(np.exp(1 + at / 2)),
        "gamma": np.exp(at) * rng.gamma(4, 0.25, n),
        "negative-binomial": rng.negative_binomial(8, 8 / (8 + np.exp(1 + at))),
        "trials": rng.integers(1, 8, n),
    }
    proba = special.expit(2 * at)
    targets["binomial"] = rng.binomial(targets["trials"], proba)
    return X, targets


X, TARGETS = rows()
Y = TARGETS["gaussian"]


def commons(model, columns=(1,)):
    """Common coefficients of all experts that have some, as rows."""
    own = [e for e in model.experts_ if isinstance(e, LinearExpert)]
    return np.array([np.atleast_2d(e.coef_)[:, list(columns)].ravel() for e in own])


# -- the same numbers as others -----------------------------------------------------


def of_flexmix(case):
    """Mixture, X, y and arguments of ``fit`` for which flexmix has the answer."""
    if case == "counts":
        table = pd.read_csv(FOLDER / "subjects_counts.csv")
        parts, seen = {"likelihood": "poisson"}, ["x"]
        return parts, seen, table, table.y, {"groups": table.subject}
    by_w = {"gate": SoftmaxGate(alpha=0), "gate_features": ["w"]}
    if case == "binomial":
        table = pd.read_csv(FOLDER / "bregfix_binomial_k3.csv")
        parts = {"likelihood": "binomial", **by_w}
        return parts, ["x"], table, table.yes, {"trials": table.trials}
    table = pd.read_csv(FOLDER / "nregfix_k3.csv")
    equal = {"likelihood": Gaussian(variance="shared")}
    return equal if case == "equal" else by_w, ["x1", "x2"], table, table.y, {}


@pytest.mark.parametrize("case", ANSWERS)
def test_fits_are_those_of_flexmix(case):
    answer = ANSWERS[case]
    parts, seen, table, y, more = of_flexmix(case)
    model = mixture(
        expert([answer["order"][0].removeprefix("coef.")]),
        answer["n_experts"],
        expert_features=seen,
        **parts,
    ).fit(table.drop(columns="subject", errors="ignore"), y, **more)
    assert model.log_likelihood_ == pytest.approx(answer["loglik"], abs=1e-5)
    assert model.n_parameters_ == pytest.approx(answer["df"])
    found = [
        [
            e.coef_[-1],
            e.intercept_,
            *e.coef_[:-1],
            *np.ravel(vars(own).get("sigma_", [])),
        ]
        for e, own in zip(model.experts_, model.likelihoods_, strict=True)
    ]
    wanted = np.array(answer["parameters"])
    np.testing.assert_allclose(
        np.sort(found, axis=0), np.sort(wanted, axis=0), rtol=2e-4, atol=2e-4
    )


@pytest.mark.parametrize("family", DENSITIES)
def test_no_direct_search_finds_more(family):
    y, weight = TARGETS[family], 1.0 + np.arange(len(X)) % 2
    more = {"trials": TARGETS["trials"]} if family == "binomial" else {}
    model = mixture(expert(["x1", "x2"]), likelihood=family)
    model.fit(X, y, sample_weight=weight, **more)
    name = DISPERSIONS.get(family)
    spread = [vars(own).get(name, 1.0) for own in model.likelihoods_]

    def loss(theta):
        shared, own = theta[:2], theta[2:8].reshape(2, 3)
        share = special.log_softmax([theta[8], 0.0])
        parts = [
            share[k]
            + DENSITIES[family](
                y,
                own[k, 0] + own[k, 1] * X[:, 0] + X[:, 1:] @ shared,
                own[k, 2],
                TARGETS["trials"],
            )
            for k in range(2)
        ]
        return -weight @ special.logsumexp(parts, axis=0)

    own = [
        [e.intercept_, e.coef_[0], np.log(s)]
        for e, s in zip(model.experts_, spread, strict=True)
    ]
    share = np.log(model.gate_proba(X)[0])
    theta = np.r_[model.experts_[0].coef_[1:], np.ravel(own), share[0] - share[1]]
    assert loss(theta) == pytest.approx(-model.log_likelihood_, abs=1e-6)
    moved = theta + 0.02 * np.random.default_rng(0).normal(size=9)
    found = optimize.minimize(loss, moved, method="BFGS")
    assert loss(theta) <= found.fun + 1e-5
    np.testing.assert_allclose(theta[:2], found.x[:2], atol=2e-3)


def test_system_is_that_of_pairs_of_row_and_expert():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=(30, 4)), np.ones(30)])
    weights, y = rng.random((30, 3)), rng.normal(size=(30, 3))
    ridge, common = np.array([[0.5], [1.0], [0.0]]), np.array([2, 0])
    grams = np.einsum("ni,nk,nj->kij", Z, weights, Z)[:, None]
    right = np.einsum("ni,nk->ki", Z, weights * y)[:, None]
    found = solve_arrow(grams, right, ridge, common, np.zeros((3, 4), bool))[:, 0]
    varies = [1, 3, 4]
    stacked = np.zeros((90, 2 + 9))
    for k in range(3):
        stacked[30 * k : 30 * k + 30, :2] = Z[:, common]
        stacked[30 * k : 30 * k + 30, 2 + 3 * k : 5 + 3 * k] = Z[:, varies]
    w = weights.T.ravel()[:, None]
    paid = np.r_[0, 0, np.outer(ridge, [1, 1, 0]).ravel()]
    wanted = np.linalg.solve(
        stacked.T @ (w * stacked) + np.diag(paid), (w * stacked).T @ y.T.ravel()
    )
    np.testing.assert_allclose(found[:, common], np.tile(wanted[:2], (3, 1)))
    np.testing.assert_allclose(found[:, varies], wanted[2:].reshape(3, 3))


@pytest.mark.parametrize("alpha", [0, 2.0, "evidence"])
@pytest.mark.parametrize("groups", [None, np.arange(len(X)) // 2])
def test_the_compiled_pass_is_the_general_em(alpha, groups, monkeypatch):
    model = mixture(expert(["x1", "x2"], alpha=alpha))
    start = np.tile(Y > 0, (2, 1)).T ^ [False, True]
    start = start if groups is None else np.repeat(start[::2], 2, axis=0)
    given = {"groups": groups, "start": 0.9 * start + 0.05}
    fused = model.fit(X, Y, **given)
    bound, coef = fused.lower_bounds_[-1], [e.coef_ for e in fused.experts_]
    monkeypatch.setattr(trainers, "fits_fused", lambda task: False)
    general = model.fit(X, Y, **given)
    tight = alpha != "evidence"
    assert general.lower_bounds_[-1] == pytest.approx(
        bound, abs=1e-6 if tight else 1e-2
    )
    found = [e.coef_ for e in general.experts_]
    np.testing.assert_allclose(found, coef, atol=1e-3 if tight else 2e-2)
    assert np.ptp(commons(general, (1, 2)), axis=0).max() < 1e-12


def test_one_expert_is_least_squares():
    model = mixture(expert(["x0", "x2"]), 1).fit(X, Y)
    wanted = LinearRegression().fit(X, Y)
    np.testing.assert_allclose(model.experts_[0].coef_, wanted.coef_)
    assert model.experts_[0].intercept_ == pytest.approx(wanted.intercept_)
    assert model.n_parameters_ == 5


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_weights_are_repetitions(family):
    y, times = TARGETS[family], 1 + np.arange(len(X)) % 2
    model = mixture(likelihood=family)
    coef = [e.coef_ for e in model.fit(X, y, sample_weight=times).experts_]
    again = np.repeat(np.arange(len(X)), times)
    repeated = model.fit(X[again], y[again])
    np.testing.assert_allclose([e.coef_ for e in repeated.experts_], coef, atol=1e-3)


# -- whatever the other parts -------------------------------------------------------

OTHERS = {
    "hard EM": {"trainer": "hard-em"},
    "noise": {"noise": True},
    "softmax": {"gate": SoftmaxGate(alpha=0)},
    "student-t": {"likelihood": "student-t"},
    "heteroscedastic": {"likelihood": "heteroscedastic"},
    "shared expert": {"shared_expert": LinearRegression()},
    "top 1": {"router": 1},
    "families": {"likelihood": ["gaussian", "student-t"]},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_parts_leave_them_common(name):
    model = mixture(**{"trainer": EM(max_iter=20), **OTHERS[name]}).fit(X, Y)
    found = commons(model)
    np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape))
    assert np.abs(found).min() > 0.0
    bounds = np.array(model.lower_bounds_)
    assert np.diff(bounds).min(initial=0) > -1e-9


def test_trees_have_them_too():
    tree = HierarchicalMoERegressor(expert(), trainer=EM(max_iter=20), random_state=0)
    found = commons(tree.fit(X, Y))
    np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape))


def test_members_have_their_own():
    model = mixture(n_members=2, trainer=EM(max_iter=5)).fit(X, Y)
    first, second = commons(model)[:2], commons(model)[2:]
    np.testing.assert_allclose(np.ptp(first), 0, atol=1e-12)
    np.testing.assert_allclose(np.ptp(second), 0, atol=1e-12)


@pytest.mark.parametrize("likelihood", ["gaussian", Gaussian(covariance="spherical")])
def test_each_output_has_its_own(likelihood):
    both = np.column_stack([Y, -3 * Y + X[:, 2]])
    model = mixture(likelihood=likelihood, trainer=EM(max_iter=20)).fit(X, both)
    first, second = commons(model)
    np.testing.assert_allclose(first, second)
    assert first[1] == pytest.approx(-3 * first[0], rel=0.1)


def test_they_count_once():
    one, two = (mixture(expert(own)).fit(X, Y) for own in (["x1"], ["x1", "x2"]))
    assert one.n_parameters_ == 1 + 2 * 4 + 1
    assert two.n_parameters_ == 1 + 2 * 3 + 2
    assert [e.n_parameters_ for e in two.experts_] == [2, 2]
    assert [e.n_common_ for e in two.experts_] == [2, 2]


@pytest.mark.parametrize("family", ["gaussian", "gamma"])
def test_they_pay_no_penalty(family):
    y = TARGETS[family]
    model = mixture(expert(alpha=1e9), likelihood=family).fit(X, y)
    for own in model.experts_:
        assert np.abs(own.coef_[[0, 2]]).max() < 1e-6 < 0.1 < own.coef_[1]


def test_columns_that_say_nothing_more_are_zero():
    wide = np.column_stack([X, X[:, 0] + X[:, 2], np.ones(len(X))])
    model = mixture(expert(["x1", "x3", "x4"])).fit(wide, Y)
    np.testing.assert_array_equal(commons(model, (3, 4)), 0.0)
    plain = mixture().fit(X, Y)
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_, abs=1e-4)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_a_fit_that_goes_on_makes_them_common(family):
    y = TARGETS[family]
    model = mixture(LinearExpert(alpha=0), likelihood=family, warm_start=True)
    model.fit(X, y)
    assert np.ptp(commons(model)) > 1e-6
    model.set_params(experts=expert()).fit(X, y)
    assert np.ptp(commons(model)) < 1e-12
    fresh = mixture(likelihood=family).fit(X, y)
    assert model.log_likelihood_ == pytest.approx(fresh.log_likelihood_, abs=1e-4)


# -- columns ------------------------------------------------------------------------

FRAME = pd.DataFrame(X, columns=["dose", "age", "time"])
BRIEF = {"trainer": EM(max_iter=3)}


@pytest.mark.parametrize(
    ("columns", "table", "more"),
    [
        ([1], X, {}),
        ([-2], X, {}),
        (["x1"], X, {}),
        (["age"], FRAME, {}),
        ([1], FRAME, {}),
        ([1], X, {"expert_features": FunctionTransformer(np.sinh)}),
    ],
)
def test_columns_are_told_by_name_or_position(columns, table, more):
    model = mixture(expert(columns), **BRIEF, **more).fit(table, Y)
    assert np.ptp(commons(model)) < 1e-12
    assert np.ptp(commons(model, (0,))) > 1e-3


def test_names_are_those_of_what_experts_see():
    made = PolynomialFeatures(2, include_bias=False)
    model = mixture(expert(["age^2"]), expert_features=made, **BRIEF).fit(FRAME, Y)
    place = list(made.fit(FRAME).get_feature_names_out()).index("age^2")
    assert np.ptp(commons(model, (place,))) < 1e-12
    part = mixture(expert(["time"]), expert_features=["age", "time"], **BRIEF)
    assert np.ptp(commons(part.fit(FRAME, Y), (1,))) < 1e-12


OTHER = LinearExpert(alpha=0)
WRONG = {
    "only \\['dose', 'age', 'time'\\]": mixture(expert(["weight"])),
    "see 3 columns": mixture(expert([3])),
    "stands twice": mixture(expert([1, "age"])),
    "expected None or a list": mixture(LinearExpert(common="age")),
    "without a lasso": mixture(expert(["age"], alpha=1.0, l1_ratio=1)),
    "columns without names": mixture(
        expert(["age"]), expert_features=FunctionTransformer(np.sinh)
    ),
    "1 of 2 have it": mixture([expert(["age"]), OTHER]),
    "1 of 2 have": mixture([expert(["age"]), LinearRegression()]),
    "same standardize": mixture([expert(["age"]), expert(["age"], standardize=False)]),
    "and fit_intercept": mixture(
        [expert(["age"]), expert(["age"], fit_intercept=False)]
    ),
    "see different columns": mixture(
        [("a", expert(["age"])), ("b", expert(["age"]))],
        expert_features={"a": ["age"], "b": ["age", "time"]},
    ),
    "Gradient, which fits": mixture(expert(["age"]), trainer="gradient"),
    "TwoStage, which fits": mixture(expert(["age"]), trainer="two-stage"),
    "depend on each other": mixture(
        expert(["age"]), likelihood=Gaussian(covariance="full")
    ),
    "objective='prediction'": mixture(
        expert(["age"]), trainer=EM(objective="prediction")
    ),
    "GrowingTrainer, which": HierarchicalMoERegressor(expert(["age"]), "grow"),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_serve_them_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        WRONG[message].fit(FRAME, Y)


def test_doors_that_do_not_serve_them_refuse_them():
    with pytest.raises(ValueError, match="use common=None"):
        mixture().fit(RowSource.from_arrays(X, Y))
    with pytest.raises(AttributeError) as told:
        mixture().partial_fit(X, Y)
    assert "use common=None" in str(told.value.__cause__)
    with pytest.raises(ValueError, match="Gradient, which"):
        mixture(trainer="gradient").partial_fit(X, Y)
    with pytest.raises(ValueError, match="only regressors have common"):
        MoEClassifier(expert()).fit(X, Y > 0)
    wide = sparse.random_array((60, 120), density=0.2, rng=0, format="csr")
    with pytest.raises(ValueError, match="stay sparse"):
        mixture().fit(wide, Y[:60])


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_without_an_intercept(family):
    origin = expert(["x1"], fit_intercept=False)
    own = mixture(origin, likelihood=family).fit(X, TARGETS[family])
    wide = np.column_stack([X, np.ones(len(X))])
    more = mixture(origin, likelihood=family).fit(wide, TARGETS[family])
    whole = mixture(likelihood=family).fit(X, TARGETS[family])
    assert np.ptp(commons(own)) < 1e-12
    assert [e.intercept_ for e in own.experts_] == [0.0, 0.0]
    assert own.n_parameters_ == whole.n_parameters_ - 2
    # A column of ones is an intercept.
    assert more.log_likelihood_ == pytest.approx(whole.log_likelihood_, abs=1e-4)
