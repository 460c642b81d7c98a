"""Coefficients that are given: ``LinearExpert(fixed={...})``."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from densities import DENSITIES, DISPERSIONS
from scipy import optimize, sparse, special
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._numerics.given import Given
from skmoe.data import RowSource
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors, summary
from skmoe.testing import check_expert
from skmoe.trainers import EM, Gradient
from skmoe.trainers._em import trainers

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
FOLDER = Path(__file__).parent / "known_answers"
ANSWERS = json.loads((FOLDER / "flexmix_fixed.json").read_text())
FINE = EM(tol=1e-10, max_iter=3000)


def expert(fixed=None, **more):
    return LinearExpert(**{"alpha": 0, "fixed": fixed, **more})


def mixture(experts, n_experts=2, **more):
    given = {"gate": "constant", "random_state": 0, "trainer": FINE, **more}
    return MoERegressor(experts, n_experts, **given)


def rows(n=120, seed=0):
    """X and targets; x1 acts alike in both regimes, x2 in the second one only."""
    rng = np.random.default_rng(seed)
    X, first = rng.normal(size=(n, 3)), np.arange(n) < 0.4 * n
    at = np.where(first, 1 + X[:, 0], -1 - 0.5 * X[:, 0]) + 0.4 * X[:, 1]
    at = at - 0.6 * np.where(first, 0.0, X[:, 2])
    y = at + np.where(first, 0.2, 0.4) * rng.normal(size=n)
    targets = {
        "gaussian": y,
        "poisson": rng.poisson(np.exp(1 + at / 2)),
        "gamma": np.exp(at) * rng.gamma(4, 0.25, n),
        "negative-binomial": rng.negative_binomial(8, 8 / (8 + np.exp(1 + at))),
        "trials": rng.integers(1, 8, n),
    }
    targets["binomial"] = rng.binomial(targets["trials"], special.expit(2 * at))
    return X, targets


X, TARGETS = rows()
Y = TARGETS["gaussian"]
FRAME = pd.DataFrame(X, columns=["dose", "age", "time"])
START = np.where(np.arange(len(X)) < 0.4 * len(X), 0, 1)
# Every expert gets another one, and all the first.
ALIKE, APART = [{"x1": 0.4}] * 2, [{"x1": 0.3, "x2": 0.0}, {"x1": 0.4}]


def own(fixed, **more):
    """Experts with fixed coefficients each."""
    return [expert(each, **more) for each in fixed]


def slopes(model):
    return np.array([np.atleast_2d(e.coef_) for e in model.experts_])


# -- the same numbers as others -----------------------------------------------------


def of_flexmix(case):
    """Mixture, table, y and arguments of ``fit`` for which flexmix has the answer."""
    if case == "offset":
        table = pd.read_csv(FOLDER / "subjects_counts.csv")
        model = mixture(expert({"x": 0.3}), likelihood="poisson", expert_features=["x"])
        return model, table[["x"]], table.y, {"groups": table.subject}
    if case == "zeros":
        table = pd.read_csv(FOLDER / "subjects_counts.csv")
        more = {"likelihood": "poisson", "expert_features": ["x"]}
        model = mixture(expert(), 1, zero_inflation=True, **more)
        zeros = np.where(table.subject % 3 == 0, 0, table.y)
        return model, table[["x"]], zeros, {"groups": table.subject}
    if case == "binomial":
        table = pd.read_csv(FOLDER / "bregfix_binomial_k3.csv")
        experts = own([None, None, {"x": 0.0}])
        model = mixture(experts, 3, likelihood="binomial", expert_features=["x"])
        return model, table[["x"]], table.yes, {"trials": table.trials}
    table = pd.read_csv(FOLDER / "nregfix_k3.csv")
    model = mixture(
        own([None, None, {"x1": 0.0}]),
        3,
        gate=SoftmaxGate(alpha=0),
        gate_features=["w"],
        expert_features=["x1", "x2"],
    )
    return model, table, table.y, {}


@pytest.mark.parametrize("case", ANSWERS)
def test_fits_are_those_of_flexmix(case):
    answer, (model, table, y, more) = ANSWERS[case], of_flexmix(case)
    model.fit(table, y, **more)
    assert model.log_likelihood_ == pytest.approx(answer["loglik"], abs=1e-5)
    assert model.n_parameters_ == answer["df"]
    names = ["x1", "x2"] if case == "gaussian" else ["x"]
    keys = ["(Intercept)", *names, *(["sigma"] if case == "gaussian" else [])]
    given = {"x": 0.3} if case == "offset" else dict.fromkeys(names, 0.0)
    found, answers = [], [given | own for own in answer["parameters"]]
    for e, family in zip(model.experts_, model.likelihoods_, strict=True):
        if isinstance(e, LinearExpert):
            sigma = np.ravel(vars(family).get("sigma_", []))
            found.append([e.intercept_, *e.coef_, *sigma])
    # The intercept of certain zeros is minus infinity there.
    wanted = [[own[k] for k in keys] for own in answers if own[keys[0]] is not None]
    found, wanted = sorted(found), sorted(wanted)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("family", DENSITIES)
def test_no_direct_search_finds_more(family):
    y, weight = TARGETS[family], 1.0 + np.arange(len(X)) % 2
    more = {"trials": TARGETS["trials"]} if family == "binomial" else {}
    model = mixture(own(APART), likelihood=family)
    model.fit(X, y, sample_weight=weight, start=START, **more)
    name = DISPERSIONS.get(family)
    spread = [vars(each).get(name, 1.0) for each in model.likelihoods_]

    def coefficients(theta):
        return [0.0 + theta[1], 0.3, 0.0], [theta[4], 0.4, theta[5]]

    def loss(theta):
        share = special.log_softmax([theta[7], 0.0])
        parts = [
            share[k]
            + DENSITIES[family](
                y,
                theta[3 * k] + X @ coefficients(theta)[k],
                theta[2 + 4 * k],
                TARGETS["trials"],
            )
            for k in range(2)
        ]
        return -weight @ special.logsumexp(parts, axis=0)

    one, two = model.experts_
    share = np.log(model.gate_proba(X)[0])
    first = [one.intercept_, one.coef_[0], np.log(spread[0])]
    second = [two.intercept_, two.coef_[0], two.coef_[2], np.log(spread[1])]
    theta = np.array([*first, *second, share[0] - share[1]], dtype=float)
    np.testing.assert_array_equal([one.coef_[1:], [two.coef_[1]] * 2][0], [0.3, 0.0])
    assert two.coef_[1] == 0.4
    assert loss(theta) == pytest.approx(-model.log_likelihood_, abs=1e-6)
    moved = theta + 0.02 * np.random.default_rng(0).normal(size=8)
    found = optimize.minimize(loss, moved, method="BFGS")
    assert loss(theta) <= found.fun + 1e-5
    np.testing.assert_allclose(theta[[1, 4, 5]], found.x[[1, 4, 5]], atol=3e-3)


LASSO = {"l1_ratio": 0.5, "standardize": False}


@pytest.mark.parametrize(
    ("alpha", "more"),
    [
        (0, {}),
        (2.0, {}),
        ("evidence", {}),
        (2.0, {"common": [0]}),
        ("evidence", {"common": [0]}),
        (20.0, LASSO),
    ],
)
def test_what_is_given_is_taken_from_the_target(alpha, more):
    left, rest = X[:, [0, 2]], Y - 0.4 * X[:, 1]
    held = mixture(expert({1: 0.4}, alpha=alpha, **more)).fit(X, Y)
    free = mixture(expert(alpha=alpha, **more)).fit(left, rest)
    assert held.log_likelihood_ == pytest.approx(free.log_likelihood_, abs=1e-4)
    assert held.n_parameters_ == pytest.approx(free.n_parameters_, rel=1e-4)
    np.testing.assert_allclose(slopes(held)[:, :, [0, 2]], slopes(free), atol=1e-4)
    np.testing.assert_array_equal(slopes(held)[:, :, 1], 0.4)
    wanted = free.predict(left) + 0.4 * X[:, 1]
    np.testing.assert_allclose(held.predict(X), wanted, atol=1e-4)
    np.testing.assert_allclose(held.bic(X, Y), free.bic(left, rest), rtol=1e-7)


def test_an_offset_of_all_experts_is_that_of_the_fit():
    counts, exposure = TARGETS["poisson"], np.exp(X[:, 2])
    held = mixture(expert({2: 1.0}), likelihood="poisson")
    held.fit(X, counts, start=START)
    free = mixture(expert(), likelihood="poisson")
    free.fit(X[:, :2], counts, offset=np.log(exposure), start=START)
    assert held.log_likelihood_ == pytest.approx(free.log_likelihood_, abs=1e-5)
    assert held.n_parameters_ == free.n_parameters_ == 7
    np.testing.assert_allclose(slopes(held)[:, :, :2], slopes(free), atol=1e-3)


@pytest.mark.parametrize("alpha", [0, 2.0, "evidence"])
@pytest.mark.parametrize("groups", [None, np.arange(len(X)) // 2])
@pytest.mark.parametrize("common", [None, ["x1"]])
def test_the_compiled_pass_is_the_general_em(alpha, groups, common, monkeypatch):
    fixed = APART if common is None else [{"x2": 0.0}, {"x2": -0.5}]
    model = mixture(own(fixed, alpha=alpha, common=common))
    given = {"groups": groups, "start": START}
    fused = model.fit(X, Y, **given)
    bound, coef = fused.lower_bounds_[-1], slopes(fused)
    monkeypatch.setattr(trainers, "fits_fused", lambda task: False)
    general = model.fit(X, Y, **given)
    tight = alpha != "evidence"
    assert general.lower_bounds_[-1] == pytest.approx(
        bound, abs=1e-6 if tight else 1e-2
    )
    np.testing.assert_allclose(slopes(general), coef, atol=1e-3 if tight else 2e-2)
    np.testing.assert_array_equal(slopes(general)[0, 0, 2], 0.0)


def test_what_is_left_are_the_rows_without_it():
    rng = np.random.default_rng(0)
    Z = np.column_stack([rng.normal(size=(30, 4)), np.ones(30)])
    weight, y = rng.random(30), rng.normal(size=30)
    at = np.array([True, False, True, False, False])
    given = Given(at, np.where(at, rng.normal(size=5), 0.0))
    gram, right = Z.T @ (weight[:, None] * Z), Z.T @ (weight * y)
    grams, rights = given.left(gram[None], right[None])
    rest = y - Z @ given.coef
    free = Z[:, ~at]
    wanted = free.T @ (weight[:, None] * free)
    np.testing.assert_allclose(grams[0][np.ix_(~at, ~at)], wanted)
    np.testing.assert_allclose(rights[0][~at], free.T @ (weight * rest))
    assert not grams[0][at].any()
    assert not rights[0][at].any()
    square = given.squares(gram[None], right[None], np.array([weight @ y**2]))
    np.testing.assert_allclose(square, weight @ rest**2)


# -- one expert by itself -----------------------------------------------------------


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("standardize", [True, False])
def test_one_expert_is_least_squares_of_the_rest(fit_intercept, standardize):
    more = {"fit_intercept": fit_intercept, "standardize": standardize}
    found = expert({-1: -0.3}, **more).fit(X, Y)
    wanted = LinearRegression(fit_intercept=fit_intercept)
    wanted.fit(X[:, :2], Y + 0.3 * X[:, 2])
    np.testing.assert_allclose(found.coef_, [*wanted.coef_, -0.3], atol=1e-9)
    assert found.intercept_ == pytest.approx(wanted.intercept_)
    assert found.n_parameters_ == 2 + fit_intercept


def test_the_expert_keeps_its_promises():
    check_expert(LinearExpert(fixed={0: 0.5}))


def test_a_constant_column_keeps_its_value():
    wide = np.column_stack([X, np.full(len(X), 3.0)])
    held = mixture(expert({3: 2.0})).fit(wide, Y)
    plain = mixture(expert()).fit(X, Y)
    np.testing.assert_array_equal(slopes(held)[:, 0, 3], 2.0)
    np.testing.assert_allclose(held.predict(wide), plain.predict(X), atol=1e-4)
    # Without an intercept it is the intercept.
    fixed = {3: 0.5}
    at = mixture(expert(fixed, fit_intercept=False), 1).fit(wide, Y).predict(0 * wide)
    np.testing.assert_array_equal(at, 0.0)


def test_columns_that_follow_from_others_count_once():
    wide = np.column_stack([X, X[:, 0] + X[:, 1]])
    one = mixture(expert({2: 0.0}), 1).fit(wide, Y)
    assert one.n_parameters_ == 4
    assert mixture(expert({0: 0.0}), 1).fit(wide, Y).n_parameters_ == 5


def test_many_sparse_columns_are_those_of_a_table():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(200, 120)) * (rng.random((200, 120)) < 0.1)
    y = 2 * wide[:, 0] + wide[:, 1] + 0.1 * rng.normal(size=200)
    fixed, more = {0: 1.0, 7: 0.0}, {"trainer": EM(max_iter=5)}
    for family, target in (("gaussian", y), ("poisson", rng.poisson(np.exp(y / 4)))):
        model = mixture(expert(fixed, alpha=1.0), 1, likelihood=family, **more)
        dense = slopes(model.fit(wide, target))
        found = slopes(model.fit(sparse.csr_array(wide), target))
        np.testing.assert_allclose(found, dense, atol=1e-4)
        np.testing.assert_array_equal(found[0, 0, [0, 7]], [1.0, 0.0])


# -- whatever the other parts -------------------------------------------------------

OTHERS = {
    "hard EM": {"trainer": "hard-em"},
    "gradient": {"trainer": Gradient(max_epochs=3), "gate": "softmax"},
    "mean": {"trainer": EM(objective="prediction")},
    "noise": {"noise": True},
    "softmax": {"gate": SoftmaxGate(alpha=0)},
    "student-t": {"likelihood": "student-t"},
    "heteroscedastic": {"likelihood": "heteroscedastic"},
    "shared expert": {"shared_expert": LinearRegression()},
    "members": {"n_members": 2},
    "families": {"likelihood": ["gaussian", "student-t"]},
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("fixed", [ALIKE, APART])
def test_other_parts_leave_them(name, fixed):
    model = mixture(own(fixed), **{"trainer": EM(max_iter=10), **OTHERS[name]})
    model.fit(X, Y, start=None if "n_members" in OTHERS[name] else START)
    for k, e in enumerate(e for e in model.experts_ if isinstance(e, LinearExpert)):
        for at, value in fixed[k % 2].items():
            assert e.coef_[int(at[1])] == value
        assert e.coef_[0] != 0.0
    assert np.diff(model.lower_bounds_).min(initial=0) > -1e-9 or name == "gradient"


@pytest.mark.parametrize(
    "branching", [(2, 2), pytest.param("grow", marks=pytest.mark.thorough)]
)
def test_trees_have_them_too(branching):
    more = {"trainer": EM(max_iter=3), "random_state": 0}
    tree = HierarchicalMoERegressor(expert({"x1": 0.4}), branching, **more)
    np.testing.assert_array_equal(slopes(tree.fit(X, Y))[:, 0, 1], 0.4)


def test_a_shared_expert_has_them_too():
    model = mixture(expert(), shared_expert=expert({"x1": 0.4}))
    assert model.fit(X, Y).shared_expert_.coef_[1] == 0.4


def test_each_output_may_have_its_own():
    both = np.column_stack([Y, -3 * Y + X[:, 2]])
    model = mixture(expert({"x1": [0.4, -1.2], "x2": 0.0})).fit(X, both)
    np.testing.assert_array_equal(slopes(model)[:, :, 1], [[0.4, -1.2]] * 2)
    np.testing.assert_array_equal(slopes(model)[:, :, 2], 0.0)


def test_which_expert_suits_which_rows_is_found():
    """In either order, from any start."""
    for fixed in ([{"x2": 0.0}, None], [None, {"x2": 0.0}]):
        for family in ("gaussian", "poisson"):
            y, more = TARGETS[family], {"likelihood": family, "trainer": EM(tol=1e-8)}
            model = mixture(own(fixed), **more).fit(X, y)
            plain = mixture(expert(), **more).fit(X, y, start=START)
            gap = plain.log_likelihood_ - model.log_likelihood_
            assert -1e-4 < gap < 4.0
            assert model.n_parameters_ == plain.n_parameters_ - 1


def test_a_fit_that_goes_on_takes_them():
    model = mixture(expert(), warm_start=True).fit(X, Y)
    model.set_params(experts=expert({"x1": 0.3})).fit(X, Y)
    np.testing.assert_array_equal(slopes(model)[:, 0, 1], 0.3)
    fresh = mixture(expert({"x1": 0.3})).fit(X, Y)
    assert model.log_likelihood_ == pytest.approx(fresh.log_likelihood_, abs=1e-4)


@pytest.mark.parametrize("family", ["gaussian", "gamma"])
def test_they_pay_no_penalty(family):
    model = mixture(expert({"x1": 0.4}, alpha=1e9), likelihood=family)
    for e in model.fit(X, TARGETS[family], start=START).experts_:
        assert np.abs(e.coef_[[0, 2]]).max() < 1e-6 < e.coef_[1]


def test_rows_from_a_source_have_them_too():
    many, targets = rows(30_000)
    model = mixture(expert({"x2": 0.2}), trainer=EM(max_iter=20))
    found = model.fit(RowSource.from_arrays(many, targets["gaussian"]))
    bound, coef = found.lower_bounds_[-1], slopes(found)
    model.fit(many, targets["gaussian"])
    np.testing.assert_allclose(coef, slopes(model), atol=1e-6)
    assert model.lower_bounds_[-1] == pytest.approx(bound, abs=1e-8)
    np.testing.assert_array_equal(coef[:, 0, 2], 0.2)


@pytest.mark.parametrize("fixed", [{"age": 0.4}, [{"age": 0.4}, None]])
def test_batches_have_them_too(fixed):
    """As batches of what is left of the target, where all are given the same."""
    many, targets = rows(2000)
    rng, y = np.random.default_rng(1), targets["gaussian"]
    order, trainer = rng.permutation(len(y)), EM(step_exponent=1.0)
    experts = own(fixed) if isinstance(fixed, list) else expert(fixed)
    held = mixture(experts, trainer=trainer)
    free = mixture(expert(), trainer=trainer)
    for part in np.split(order, 4):
        held.partial_fit(pd.DataFrame(many[part], columns=FRAME.columns), y[part])
        free.partial_fit(many[part][:, [0, 2]], y[part] - 0.4 * many[part][:, 1])
    assert (slopes(held)[:, 0, 1] == 0.4).sum() == (1 if isinstance(fixed, list) else 2)
    if not isinstance(fixed, list):
        np.testing.assert_allclose(slopes(held)[..., [0, 2]], slopes(free), atol=0.01)
        assert held.n_parameters_ == free.n_parameters_


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_weights_are_repetitions(family):
    y, times = TARGETS[family], 1 + np.arange(len(X)) % 2
    model = mixture(own(APART), likelihood=family)
    coef = slopes(model.fit(X, y, sample_weight=times, start=START))
    again = np.repeat(np.arange(len(X)), times)
    found = slopes(model.fit(X[again], y[again], start=START[again]))
    np.testing.assert_allclose(found, coef, atol=1e-3)


# -- errors -------------------------------------------------------------------------


def test_errors_are_of_what_is_fitted():
    held = mixture(expert({"x1": 0.4})).fit(X, Y, start=START)
    free = mixture(expert()).fit(X[:, [0, 2]], Y - 0.4 * X[:, 1], start=START)
    found = standard_errors(held, X, Y)
    wanted = standard_errors(free, X[:, [0, 2]], Y - 0.4 * X[:, 1])
    np.testing.assert_allclose(found.error, wanted.error, rtol=1e-3)
    names = list(held.named_experts_)
    assert {(own.component, own.term): 0.4 for own in found.fixed} == {
        (name, "x1"): 0.4 for name in names
    }
    text = str(summary(held, X, Y, effects=True))
    assert f"Fixed coefficients, which have no error\n{names[0]}  x1  0.4" in text
    boot = standard_errors(held, X, Y, kind="bootstrap", n_boot=3)
    assert len(boot.error) == len(found.error) == 9
    effects = summary(held, X, Y, effects=True).found
    moved = [own.term for own in effects.terms if own.part == "effect"].index("x1")
    assert effects.estimate[9 + moved] == pytest.approx(0.4)


# -- columns ------------------------------------------------------------------------

BRIEF = {"trainer": EM(max_iter=3)}


@pytest.mark.parametrize(
    ("column", "table", "more"),
    [
        (1, X, {}),
        (-2, X, {}),
        (np.int64(1), X, {}),
        ("x1", X, {}),
        ("age", FRAME, {}),
        ("age", FRAME[["time", "dose", "age"]], {}),
        (1, X, {"expert_features": FunctionTransformer(np.sinh)}),
    ],
)
def test_columns_are_told_by_name_or_position(column, table, more):
    model = mixture(expert({column: 0.7}), **BRIEF, **more).fit(table, Y)
    held = (slopes(model)[:, 0] == 0.7).all(axis=0)
    at = list(getattr(table, "columns", ["x0", "x1", "x2"]))
    assert held.tolist() == [name in ("age", "x1") for name in at]
    assert model.experts.fixed == {column: 0.7}


WRONG = {
    "only \\['dose', 'age', 'time'\\]": mixture(expert({"weight": 0})),
    "see 3 columns": mixture(expert({3: 0})),
    "stands twice": mixture(expert({1: 0, "age": 0})),
    "a dict of finite": mixture(expert(["age"])),
    "or one for each": mixture(expert({"age": np.inf})),
    "names or positions": mixture(expert({1.5: 0})),
    "for 1 outputs": mixture(expert({"age": [1, 2]})),
    "are fixed, too": mixture(expert({"age": 0}, common=["age"])),
    "TwoStage got": mixture(expert({"age": 0}), trainer="two-stage"),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_serve_them_is_refused_by_name(message):
    with pytest.raises(ValueError, match=message):
        WRONG[message].fit(FRAME, Y)


def test_others_have_none():
    held = expert({"age": 0.0})
    with pytest.raises(ValueError, match="in a classifier"):
        MoEClassifier(held).fit(FRAME, Y > 0)
    with pytest.raises(ValueError, match="only the experts of a mixture know names"):
        held.fit(X, Y)
    with pytest.raises(ValueError, match="positions from 0 to 2"):
        expert({5: 0.0}).fit(X, Y)
    for other in (own(APART), expert({0: 0.0})):
        family = "gaussian" if isinstance(other, list) else "poisson"
        with pytest.raises(ValueError, match="or equal experts with likelihood='gau"):
            mixture(other, likelihood=family).fit(RowSource.from_arrays(X, Y))
    with pytest.raises(AttributeError, match="partial_fit"):
        mixture(held, likelihood="poisson").partial_fit(FRAME, Y)
