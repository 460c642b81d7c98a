"""Groups of rows that share one expert: ``fit(groups=...)``."""

import json
from pathlib import Path

import naive
import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe._kernels.em import Labels, Rule
from skmoe._numerics.design import empty_design, make_design, read_only
from skmoe._numerics.linalg import Penalty
from skmoe._numerics.tree import Tree, flat
from skmoe.data import RowSource
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.gates import AdditiveGate, GroupGate, SoftmaxGate
from skmoe.inspection import expert_usage, explain
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV
from skmoe.routers import TopKRouter
from skmoe.trainers import EM, TwoStage
from skmoe.trainers._em import drivers, trainers
from skmoe.trainers._em.fused_subjects import (
    SubjectCategoricalMixture,
    SubjectGaussianMixture,
)
from skmoe.trainers._rows import Subjects, numbered

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
FOLDER = Path(__file__).parent / "known_answers"
ANSWERS = json.loads((FOLDER / "flexmix_subjects.json").read_text())
# Columns of the gate, which are constant within subjects.
OF_SUBJECTS = [0, 1]
FREE = LinearExpert(alpha=0)


def panel(n_subjects=40, seed=0):
    """Rows of unbalanced subjects in no order: X, targets of all kinds, groups."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_subjects), rng.integers(1, 7, n_subjects))
    known = rng.normal(size=(n_subjects, 2))
    X = np.column_stack([known[codes], rng.normal(size=(len(codes), 2))])
    first = known[codes, 0] > 0
    mean = np.where(first, 1 + X[:, 2], -1 - 0.5 * X[:, 3])
    y = mean + 0.5 * rng.normal(size=len(codes))
    trials = rng.integers(1, 6, len(codes))
    targets = {
        "values": y,
        "counts": rng.poisson(np.exp(0.5 * mean)),
        "amounts": np.exp(0.5 * y),
        "trials": trials,
        "successes": rng.binomial(trials, 1 / (1 + np.exp(-mean))),
        "labels": np.digitize(y, [-0.5, 0.5]),
    }
    order = rng.permutation(len(codes))
    return X[order], {k: v[order] for k, v in targets.items()}, 3 * codes[order]


X, TARGETS, GROUPS = panel()
Y = TARGETS["values"]


def mixture(experts=FREE, n_experts=2, **more):
    given = {"gate_features": OF_SUBJECTS, "random_state": 0, **more}
    return MoERegressor(experts, n_experts, **given)


def classifier(experts=None, **more):
    given = {"gate_features": OF_SUBJECTS, "random_state": 0, **more}
    return MoEClassifier(experts, 2, **given)


# -- the fused pass and its twin ----------------------------------------------------


def fused_problem(kind, target, tree, p_gate, **more):
    rng = np.random.default_rng(1)
    # One is longer than a block, and some have one row.
    codes = np.repeat(np.arange(30), np.r_[300, 1, 1, rng.integers(1, 9, 27)])
    weight = read_only(rng.integers(1, 4, len(codes)).astype(float))
    subjects = Subjects(codes, weight)
    gate = empty_design(30)
    if p_gate:
        gate = make_design(rng.normal(size=(30, p_gate)), subjects.weight)
    expert = make_design(rng.normal(size=(len(codes), 3)), weight)
    own = target(rng, len(codes))
    given = {"gate_penalty": Penalty(1.0), "expert_penalty": Penalty(1.0), **more}
    problem = kind(gate, expert, own, weight, tree=tree, subjects=subjects, **given)
    return problem, rng, codes


def compared(problem, theta, codes, statistics, hard, n_active):
    problem = problem.with_rule(hard=hard, n_active=n_active)
    found = problem._accumulate(theta)
    rule = Rule(n_active, hard, False, problem._exact_expert())
    given = problem.gate, problem.expert, problem.target, problem.weight
    expected = statistics(*given, theta, rule, problem.tree, codes)
    for name, value in expected.items():
        scale = np.abs(value).max() + 1e-300
        own = np.reshape(found._asdict()[name], np.shape(value))
        np.testing.assert_allclose(own / scale, value / scale, atol=1e-11, err_msg=name)


@pytest.mark.parametrize(
    "tree", [flat(3), Tree((None, (None, None)))], ids=lambda tree: str(tree.shape)
)
@pytest.mark.parametrize(("p_gate", "hard", "n_active"), [(2, False, 3), (0, True, 3)])
def test_gaussian_pass(tree, p_gate, hard, n_active):
    def target(rng, n):
        return read_only(rng.normal(size=(n, 2)))

    kind = SubjectGaussianMixture
    problem, rng, codes = fused_problem(kind, target, tree, p_gate, floor=1e-6)
    theta = (
        rng.normal(size=(tree.n_slots, p_gate + 1)),
        rng.normal(size=(6, 4)),
        rng.normal(size=(3, 2)),
    )
    compared(problem, theta, codes, naive.gaussian_statistics, hard, n_active)


@pytest.mark.parametrize(("hard", "n_active"), [(False, 3), (False, 2), (True, 3)])
def test_categorical_pass(hard, n_active):
    def target(rng, n):
        offset = read_only(rng.normal(size=(n, 3)))
        return Labels(read_only(rng.integers(0, 3, n), np.int64), offset)

    kind, tree = SubjectCategoricalMixture, flat(3)
    problem, rng, codes = fused_problem(kind, target, tree, 2, n_classes=3)
    theta = rng.normal(size=(3, 3)), rng.normal(size=(9, 4))
    compared(problem, theta, codes, naive.categorical_statistics, hard, n_active)


@pytest.mark.parametrize("name", ["values", "labels"])
def test_fused_and_general_em_agree(name, monkeypatch):
    make = classifier if name == "labels" else mixture
    y = TARGETS[name]
    start = (np.median(Y) < Y).astype(int)
    given = {"start": start, "groups": GROUPS}
    expert, gate = LinearExpert(alpha=1.0), SoftmaxGate(alpha=1.0)
    one = make(expert, gate=gate, trainer=EM(tol=1e-10)).fit(X, y, **given)
    monkeypatch.setattr(trainers, "fits_fused", lambda task: False)
    monkeypatch.setattr(drivers, "has_cheap_refits", lambda experts: True)
    two = make(expert, gate=gate, trainer=EM(tol=1e-10)).fit(X, y, **given)
    assert one.log_likelihood_ == pytest.approx(two.log_likelihood_, abs=1e-5)
    np.testing.assert_allclose(one.gate_proba(X), two.gate_proba(X), atol=1e-3)


# -- what holds for all parts -------------------------------------------------------


REFITS = EM(max_refits=4)
ONE = AdditiveExpert(6, alpha=1.0)
CONFIGURATIONS = {
    "linear": (mixture(), "values"),
    "lasso": (mixture(LinearExpert(alpha=1.0, l1_ratio=1.0)), "values"),
    "evidence": (mixture(None, gate=SoftmaxGate(alpha="evidence")), "values"),
    "constant": (mixture(gate="constant", gate_features=None), "values"),
    "top-1": (mixture(router=TopKRouter(1, training="sparse")), "values"),
    "ridge": (mixture(Ridge(), trainer=REFITS, n_init=2), "values"),
    "classifier gate": (
        mixture(Ridge(), gate=LogisticRegression(), trainer=REFITS),
        "values",
    ),
    "tree": (mixture(DecisionTreeRegressor(max_depth=2), trainer=REFITS), "values"),
    "mixed": (mixture([Ridge(), FREE], trainer=REFITS), "values"),
    "additive": (mixture(ONE, gate=AdditiveGate(6, alpha=1.0)), "values"),
    "noise": (mixture(noise=True), "values"),
    "constant noise": (mixture(noise="constant"), "values"),
    "members": (mixture(n_members=2), "values"),
    "student-t": (mixture(likelihood="student-t"), "values"),
    "heteroscedastic": (mixture(likelihood="heteroscedastic"), "values"),
    "poisson": (mixture(likelihood="poisson"), "counts"),
    "gamma": (mixture(likelihood="gamma"), "amounts"),
    "binomial": (mixture(likelihood="binomial"), "successes"),
    "hierarchy": (
        HierarchicalMoERegressor(branching=(2, 2), gate_features=OF_SUBJECTS),
        "values",
    ),
    "grown": (
        HierarchicalMoERegressor(
            branching="grow", max_leaf_nodes=3, gate_features=OF_SUBJECTS
        ),
        "values",
    ),
    "classes": (classifier(LinearExpert(alpha=1.0)), "labels"),
    "class trees": (
        classifier(DecisionTreeClassifier(max_depth=2), trainer=REFITS),
        "labels",
    ),
    "class hierarchy": (
        HierarchicalMoEClassifier(branching=(2,), gate_features=OF_SUBJECTS),
        "labels",
    ),
    "auto": (mixture(None, "auto", gate="constant"), "values"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_densities_of_groups_sum_to_the_likelihood(name):
    model, target = CONFIGURATIONS[name]
    more = {"groups": GROUPS}
    if target == "successes":
        more["trials"] = TARGETS["trials"]
    y, n_groups = TARGETS[target], len(np.unique(GROUPS))
    model.fit(X, y, **more)
    density, resp = (
        model.log_density(X, y, **more),
        model.responsibilities(X, y, **more),
    )
    assert model.n_groups_ == n_groups
    assert density.shape == (n_groups,)
    assert resp.shape == (n_groups, model.n_experts_)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0)
    assert density.sum() == pytest.approx(model.log_likelihood_, rel=1e-9)
    # One value per group, in order of first appearance.
    third = numbered(GROUPS)[1][2] == GROUPS
    part = {key: own[third] for key, own in more.items()}
    np.testing.assert_allclose(
        model.log_density(X[third], y[third], **part), density[2]
    )


@pytest.mark.parametrize("name", ["linear", "noise", "classes", "additive"])
def test_groups_of_one_row_are_rows(name):
    model, target = CONFIGURATIONS[name]
    y = TARGETS[target]
    alone = model.fit(X, y).responsibilities(X, y)
    groups = np.array([f"row {i}" for i in range(len(y))])
    found = model.fit(X, y, groups=groups).responsibilities(X, y, groups=groups)
    np.testing.assert_allclose(found, alone, atol=1e-10)
    assert model.n_groups_ == len(y)


@pytest.mark.parametrize("experts", [FREE, Ridge()], ids=["fused", "general"])
def test_order_of_rows_does_not_matter(experts):
    model = mixture(experts, trainer=EM(max_refits=5)).fit(X, Y, groups=GROUPS)
    first = model.predict_experts(X)
    order = np.random.default_rng(0).permutation(len(Y))
    model.fit(X[order], Y[order], groups=GROUPS[order])
    np.testing.assert_allclose(model.predict_experts(X), first, atol=1e-7)


@pytest.mark.parametrize("experts", [FREE, Ridge()], ids=["fused", "general"])
def test_weights_of_subjects_are_repetitions(experts):
    """A subject of weight two is two subjects, one of weight zero is none."""
    model = mixture(experts, gate=SoftmaxGate(alpha=1.0), trainer=EM(max_refits=5))
    weight = np.random.default_rng(2).integers(0, 3, 200)[GROUPS].astype(float)
    model.fit(X, Y, weight, groups=GROUPS)
    twice, counted = np.flatnonzero(weight == 2), np.flatnonzero(weight > 0)
    rows = np.r_[counted, twice]
    groups = np.r_[GROUPS[counted], 1000 + GROUPS[twice]]
    other = mixture(experts, gate=SoftmaxGate(alpha=1.0), trainer=EM(max_refits=5))
    other.fit(X[rows], Y[rows], groups=groups)
    assert model.log_likelihood_ == pytest.approx(other.log_likelihood_, rel=1e-8)
    np.testing.assert_allclose(
        model.predict_experts(X), other.predict_experts(X), atol=1e-6
    )
    assert model.bic(X, Y, weight, groups=GROUPS) == pytest.approx(
        other.bic(X[rows], Y[rows], groups=groups), rel=1e-8
    )


def test_a_row_of_less_weight_is_less_evidence():
    model = mixture().fit(X, Y, groups=GROUPS)
    weight = np.where(np.arange(len(Y)) % 3 == 0, 0.5, 1.0)
    weight[np.unique(GROUPS, return_index=True)[1]] = 1.0
    own = mixture(trainer=EM(max_iter=1)).fit(
        X, Y, weight, groups=GROUPS, start=model.responsibilities(X, Y, GROUPS)
    )
    experts, codes = own.predict_experts(X), numbered(GROUPS)[0]
    sigma = np.array([x.sigma_ for x in own.likelihoods_]).reshape(1, -1)
    log_prob = -0.5 * ((Y[:, None] - experts) / sigma) ** 2 - np.log(sigma)
    log_prob -= 0.5 * np.log(2 * np.pi)
    joint = np.log(own.gate_proba(X)[np.unique(codes, return_index=True)[1]])
    for row, code in enumerate(codes):
        joint[code] += weight[row] * log_prob[row]
    total = naive.logsumexp(joint, axis=1).sum()
    assert own.log_likelihood_ == pytest.approx(total, rel=1e-10)


# -- answers that are known ---------------------------------------------------------


@pytest.mark.parametrize("name", ANSWERS)
def test_flexmix(name):
    case, table = ANSWERS[name], pd.read_csv(FOLDER / f"subjects_{name}.csv")
    model = MoERegressor(
        FREE,
        case["n_experts"],
        likelihood=case["likelihood"],
        gate=SoftmaxGate(alpha=0) if case["gate"] else "constant",
        gate_features=case["gate"] or None,
        expert_features=case["columns"],
        n_init=16 if case["n_experts"] > 2 else 1,
        trainer=EM(tol=1e-10),
        random_state=0,
    )
    binomial = case["likelihood"] == "binomial"
    more = {"trials": table["trials"]} if binomial else {}
    given = table[case["columns"] + case["gate"]], table["y"]
    more["groups"] = table["subject"]
    model.fit(*given, **more)
    assert model.log_likelihood_ == pytest.approx(case["loglik"], abs=1e-4)
    bic = model.bic(*given, count="rows", **more)
    assert bic == pytest.approx(case["bic_of_rows"], abs=1e-3)
    theirs, known = np.array(case["parameters"]), np.array(case["posterior"])
    order = np.argsort(theirs[:, 0])
    mine = np.array([[e.intercept_, *e.coef_.ravel()] for e in model.experts_])
    own = np.argsort(mine[:, 0])
    np.testing.assert_allclose(
        mine[own], theirs[order, : mine.shape[1]], rtol=1e-3, atol=1e-3
    )
    resp = model.responsibilities(*given, **more)
    np.testing.assert_allclose(resp[:, own], known[:, order], atol=1e-3)


def test_subjects_are_classified_where_rows_are_not():
    """150 subjects of six rows, whose slopes are -0.5 or 0.8."""
    table = pd.read_csv(FOLDER / "subjects_slopes.csv")
    X, y, groups = table[["x"]], table["y"], table["subject"]
    model = MoERegressor(FREE, 2, gate="constant", random_state=0)
    by_row = sorted(e.coef_[0] for e in model.fit(X, y).experts_)
    by_subject = sorted(e.coef_[0] for e in model.fit(X, y, groups=groups).experts_)
    errors = [np.abs(np.subtract(own, [-0.5, 0.8])) for own in (by_row, by_subject)]
    assert errors[1].max() < 0.1 < errors[0].max()


def test_known_subjects_are_predicted_by_their_past():
    rng = np.random.default_rng(3)
    groups, x = np.repeat(np.arange(60), 8), rng.normal(size=480)
    y = np.where(groups % 2, 1.0, -1.0) * x + 0.3 * rng.normal(size=480)
    past = np.arange(480) % 8 < 6
    X = x[:, None]
    model = MoERegressor(FREE, 2, gate="constant", random_state=0)
    model.fit(X[past], y[past], groups=groups[past])
    resp = model.responsibilities(X[past], y[past], groups[past])
    codes, _ = numbered(groups[past])
    resp = dict(
        zip(groups[past][np.unique(codes, return_index=True)[1]], resp, strict=True)
    )
    shares = np.array([resp[own] for own in groups[~past]])
    known = np.sum(shares * model.predict_experts(X[~past]), axis=1)
    error = np.mean((y[~past] - known) ** 2)
    assert error < 0.2 * np.mean((y[~past] - model.predict(X[~past])) ** 2)


# -- criteria, choices and folds ----------------------------------------------------


def test_criteria_count_groups_or_rows():
    model = mixture().fit(X, Y, groups=GROUPS)
    given = {"groups": GROUPS}
    n, p = len(np.unique(GROUPS)), model.n_parameters_
    deviance = -2 * model.log_likelihood_
    assert model.aic(X, Y, **given) == pytest.approx(deviance + 2 * p)
    assert model.bic(X, Y, **given) == pytest.approx(deviance + p * np.log(n))
    rows = model.bic(X, Y, count="rows", **given)
    assert rows == pytest.approx(deviance + p * np.log(len(Y)))
    resp = model.responsibilities(X, Y, GROUPS)
    entropy = -np.sum(resp * np.log(np.maximum(resp, 1e-300)))
    icl = model.icl(X, Y, **given)
    assert icl == pytest.approx(deviance + p * np.log(n) + 2 * entropy)
    with pytest.raises(ValueError, match="count='people', but expected one of"):
        model.bic(X, Y, count="people", **given)


@pytest.mark.parametrize("criterion", ["bic", "cv"])
def test_searches_keep_groups_whole(criterion):
    search = MoERegressorCV(mixture(), n_experts=[1, 2], criterion=criterion, cv=3)
    search.fit(X, Y, groups=GROUPS)
    best = search.best_estimator_
    assert search.n_experts_ == 2
    assert best.n_groups_ == len(np.unique(GROUPS))
    if criterion == "bic":
        bic = search.cv_results_["bic"][search.best_index_]
        assert bic == pytest.approx(best.bic(X, Y, groups=GROUPS), rel=1e-4)


def test_groups_for_a_splitter_may_differ_for_the_gate():
    y = TARGETS["labels"]
    given = {"n_experts": [2], "cv": GroupKFold(3)}
    search = MoEClassifierCV(**given).fit(X, y, groups=GROUPS)
    assert search.best_estimator_.n_groups_ is None
    with pytest.raises(ValueError, match="which the gate reads, differs within group"):
        MoEClassifierCV(n_experts=[2], cv=3).fit(X, y, groups=GROUPS)
    folds = [(np.arange(40, len(Y)), np.arange(40))]
    search = MoERegressorCV(mixture(), n_experts=[2], cv=folds)
    with pytest.raises(ValueError, match=r"trains on rows of group .* use GroupKFold"):
        search.fit(X, Y, groups=GROUPS)


def test_two_stages_keep_groups_in_one_fold():
    class Spy(Ridge):
        seen = []

        def fit(self, X, y, sample_weight=None):
            known = np.ones(len(X)) if sample_weight is None else sample_weight
            self.seen.append(set(X[known > 0, 0]))
            return super().fit(X, y, sample_weight)

    experts = [("spy", Spy()), ("other", Ridge(alpha=10))]
    model = MoERegressor(experts, trainer=TwoStage(cv=3, calibrate=False))
    model.fit(X, Y, groups=GROUPS)
    assert model.n_groups_ == len(np.unique(GROUPS))
    # The first column tells subjects apart: each is left out by one fit.
    parts = [own for own in Spy.seen if len(own) < model.n_groups_]
    assert len(parts) == 3
    assert sum(map(len, parts)) == 2 * model.n_groups_


def test_splitters_of_two_stages_get_the_groups():
    experts = [Ridge(), FREE]
    model = MoERegressor(experts, trainer=TwoStage(cv=Halves()))
    with pytest.raises(ValueError, match=r"trains on rows of group .* leave groups"):
        model.fit(X, Y, groups=GROUPS)
    model.set_params(trainer=TwoStage(cv=GroupKFold(3), alphas=None))
    assert model.fit(X, Y, groups=GROUPS).n_groups_
    with config_context(enable_metadata_routing=True):
        assert model.fit(X, Y, groups=GROUPS).n_groups_


class Halves(GroupKFold):
    """Two folds, whatever the groups."""

    def split(self, X, y=None, groups=None):
        half = len(X) // 2
        rows = np.arange(len(X))
        yield rows[half:], rows[:half]
        yield rows[:half], rows[half:]


# -- what is refused ----------------------------------------------------------------


def frame():
    return pd.DataFrame(X, columns=["age", "dose", "time", "other"])


def test_columns_of_the_gate_are_constant_within_groups():
    said = r"column 'time', which the gate reads, differs within group \d+"
    with pytest.raises(ValueError, match=said):
        mixture(gate_features=["age", "time"]).fit(frame(), Y, groups=GROUPS)
    table = frame().assign(kind=np.where(np.arange(len(Y)) % 2, "a", "b"))
    known = frame().assign(kind=np.where(GROUPS % 2, "a", "b"))
    gate = GroupGate("kind")
    with pytest.raises(ValueError, match="column 'kind', which the gate reads"):
        mixture(gate=gate, gate_features=None).fit(table, Y, groups=GROUPS)
    model = mixture(gate=gate, gate_features=None)
    assert model.fit(known, Y, groups=GROUPS).n_groups_
    # In rows without weight they may be anything.
    light = frame()
    light.loc[5, "age"] = np.pi
    weight = np.where(np.arange(len(Y)) == 5, 0.0, 1.0)
    mixture(gate_features=["age"]).fit(light, Y, weight, groups=GROUPS)
    with pytest.raises(ValueError, match="the gate says something else"):
        mixture(gate_features=["time"]).fit(frame(), Y).log_density(frame(), Y, GROUPS)


REFUSED = [
    (GROUPS[:-1], {}, r"groups of shape \(\d+,\), but expected"),
    (np.where(GROUPS == 3, np.nan, GROUPS), {}, "groups without a label in row"),
    (GROUPS, {"trainer": EM(step=0.5)}, "groups with step=0.5, which is about single"),
    (GROUPS, {"trainer": EM(objective="prediction")}, "groups with objective='pred"),
    (np.zeros(len(Y)), {"gate": "constant"}, "n_groups=1 with positive weight"),
]


@pytest.mark.parametrize(("groups", "more", "said"), REFUSED, ids=lambda x: "")
def test_what_is_refused(groups, more, said):
    more = {"gate_features": None, **more} if "gate" in more else more
    with pytest.raises(ValueError, match=said):
        mixture(**more).fit(X, Y, groups=groups)


def test_a_source_holds_its_groups():
    source = RowSource.from_arrays(X, Y)
    with pytest.raises(ValueError, match=r"got a RowSource with groups=\.\.\."):
        mixture().fit(source, groups=GROUPS)


def test_usage_and_explanations_of_groups():
    model = mixture().fit(X, Y, groups=GROUPS)
    resp = model.responsibilities(X, Y, GROUPS)[numbered(GROUPS)[0]]
    table = expert_usage(model, X, Y, groups=GROUPS)
    np.testing.assert_allclose(table["responsible"], resp.mean(axis=0))
    found = explain(model, X, weights=resp)
    known = np.sum(resp * model.predict_experts(X), axis=1)
    np.testing.assert_allclose(found["contribution"].sum(axis=1), known)
    with pytest.raises(ValueError, match=r"explain got weights of shape \(5, 2\)"):
        explain(model, X, weights=resp[:5])


def test_labels_of_any_kind():
    model = mixture().fit(X, Y, groups=GROUPS)
    expected = model.log_density(X, Y, GROUPS)
    text = pd.Series([f"subject {own}" for own in GROUPS], dtype="category")
    np.testing.assert_array_equal(model.log_density(X, Y, text), expected)
    days = np.datetime64("2024-01-01") + GROUPS.astype("timedelta64[D]")
    np.testing.assert_array_equal(model.log_density(X, Y, days), expected)
