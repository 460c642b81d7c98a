"""Maximum-likelihood answers of R packages, reached from many starts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM

FOLDER = Path(__file__).parent / "known_answers"
ANSWERS = json.loads((FOLDER / "answers.json").read_text())
CASES = [
    (name, variance)
    for name, case in ANSWERS.items()
    for variance in case.get("references", ())
]
N_INIT = 20
# Separated gates, as those of the logistic case, have many more local maxima.
HARD = {"rmoe_logistic_k2": 40}
# A maximum is admissible if every expert has 3 % of the rows and a spread above
# 1e-3 of that of y: the likelihood of unequal variances is unbounded without.
SMALLEST_SHARE, SMALLEST_SPREAD = 0.03, 1e-3


def load(name):
    model = ANSWERS[name]["model"]
    table = pd.read_csv(FOLDER / f"{name}.csv")
    columns = list(dict.fromkeys(model["expert_columns"] + model["gate_columns"]))
    # A case without covariates still needs a column to make X a matrix.
    columns = columns or [c for c in table.columns if c != model["response"]][:1]
    weight = table[model["weight_column"]] if model.get("weight_column") else None
    return model, table[columns], table[model["response"]], weight


def fit(name, variance):
    model, X, y, weight = load(name)
    gated = bool(model["gate_columns"])
    common = {
        "n_experts": model["n_experts"],
        "gate": SoftmaxGate(alpha=0) if gated else ConstantGate(),
        "gate_features": model["gate_columns"] if gated else None,
        "expert_features": model["expert_columns"],
        "n_init": HARD.get(name, N_INIT),
        "random_state": 0,
        # Three digits of a coefficient to which the likelihood is flat ask for this.
        "trainer": EM(tol=1e-10),
    }
    if model["expert_family"] == "binomial":
        estimator = MoEClassifier(LinearExpert(alpha=0), **common)
    else:
        likelihood = Gaussian(variance=variance)
        estimator = MoERegressor(LinearExpert(alpha=0), likelihood=likelihood, **common)
    return estimator.fit(X, y, sample_weight=weight), X, y


@pytest.fixture(scope="module")
def case(request):
    """A case, for whose tests in a row one fit will do."""
    return request.param


@pytest.fixture(scope="module")
def fitted(case):
    return fit(*case)


@pytest.mark.parametrize("case", CASES, indirect=True, ids="-".join)
def test_log_likelihood(fitted, case):
    (name, variance), (model, _, y) = case, fitted
    reference = ANSWERS[name]["references"][variance]
    assert model.log_likelihood_ >= reference["loglik"] - 1e-3
    assert min(model.expert_load_) >= SMALLEST_SHARE
    if isinstance(model, MoERegressor):
        spreads = [x.sigma_ for x in model.likelihoods_]
        assert min(spreads) >= SMALLEST_SPREAD * np.std(y)
    if not reference["warnings"]:
        assert model.log_likelihood_ <= reference["loglik"] + 1e-3
        assert model.n_parameters_ == reference["n_parameters"]


SHARP = [
    case for case in CASES if not ANSWERS[case[0]]["references"][case[1]]["warnings"]
]


def order(model, reference):
    """Experts in the order of the reference: by their prediction at its rows."""
    means = np.array([row["expert_means"] for row in reference["row_checks"]])
    rows = [row["csv_row_1based"] - 1 for row in reference["row_checks"]]
    return means, rows


def match(ours, theirs):
    """Permutation of our columns that is closest to theirs."""
    distance = np.abs(ours[:, :, None] - theirs[:, None, :]).sum(axis=0)
    return distance.argmin(axis=0)


@pytest.mark.parametrize("case", SHARP, indirect=True, ids="-".join)
def test_rows(fitted, case):
    (name, variance), (model, X, y) = case, fitted
    reference = ANSWERS[name]["references"][variance]
    means, rows = order(model, reference)
    X, y = X.iloc[rows], y.iloc[rows]
    ours = model.predict_experts(X)
    experts = match(ours, means)
    close = {"rtol": 1e-3, "atol": 1e-3 * np.std(fitted[2])}
    np.testing.assert_allclose(ours[:, experts], means, **close)
    checks = reference["row_checks"]
    gate = np.array([row["gate_probabilities"] for row in checks])
    np.testing.assert_allclose(model.gate_proba(X)[:, experts], gate, rtol=1e-3)
    density = np.array([row["log_density_of_observed_y"] for row in checks])
    np.testing.assert_allclose(np.exp(model.log_density(X, y) - density), 1, rtol=1e-3)
    resp = np.array([row["responsibilities"] for row in checks])
    np.testing.assert_allclose(
        model.responsibilities(X, y)[:, experts], resp, rtol=1e-3, atol=1e-6
    )
    predicted = np.array([row["predicted_mean"] for row in checks])
    np.testing.assert_allclose(model.predict(X), predicted, **close)


@pytest.mark.parametrize("case", SHARP, indirect=True, ids="-".join)
def test_parameters(fitted, case):
    (name, variance), (model, X, y) = case, fitted
    reference = ANSWERS[name]["references"][variance]
    means, rows = order(model, reference)
    experts = match(model.predict_experts(X.iloc[rows]), means)
    coefs = list(reference["expert_coef"].values())
    scale = np.std(y)
    for k, expected in zip(experts, coefs, strict=True):
        intercept, *slopes = expected.values()
        expert = model.experts_[k]
        np.testing.assert_allclose(
            expert.intercept_, intercept, rtol=1e-3, atol=1e-3 * scale
        )
        np.testing.assert_allclose(expert.coef_, slopes, rtol=1e-3, atol=1e-3)
    sigma = [model.likelihoods_[k].sigma_ for k in experts]
    np.testing.assert_allclose(sigma, reference["sigma"], rtol=1e-3)
    gate = np.column_stack([model.gate_.intercept_, model.gate_.coef_])[experts]
    expected = [
        list(row.values())
        for row in reference["gate_coef_reference_component_1"].values()
    ]
    np.testing.assert_allclose(gate - gate[0], expected, rtol=1e-3, atol=1e-4)


# Many starts of EEE end 0.36 nats below its maximum.
HARD_COVARIANCES = {"EEE": 30}
MULTIVARIATE = {
    "EEI": ("diag", "shared"),
    "VVI": ("diag", "expert"),
    "EEE": ("full", "shared"),
    "VVV": ("full", "expert"),
    "EII": ("spherical", "shared"),
    "VII": ("spherical", "expert"),
}


@pytest.mark.parametrize("code", MULTIVARIATE)
def test_several_outputs(code):
    case = ANSWERS["ais_multi_k2"]
    if code not in case["covariances"]:
        pytest.skip(f"no reference for {code}")
    covariance, variance = MULTIVARIATE[code]
    table = pd.read_csv(FOLDER / "ais_multi_k2.csv")
    model = MoERegressor(
        LinearExpert(alpha=0),
        n_experts=2,
        gate=SoftmaxGate(alpha=0),
        gate_features=["BMI"],
        expert_features=["male"],
        likelihood=Gaussian(variance=variance, covariance=covariance),
        trainer=EM(max_refits=500),
        n_init=HARD_COVARIANCES.get(code, N_INIT),
        random_state=0,
    )
    model.fit(table[["BMI", "male"]], table[case["model"]["response"]])
    expected = case["covariances"][code]
    assert model.n_parameters_ == expected["n_parameters"]
    assert model.log_likelihood_ == pytest.approx(expected["loglik"], abs=1e-3)
