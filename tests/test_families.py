"""Answers of R packages for families beyond the Gaussian, penalties and noise."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM

FOLDER = Path(__file__).parent / "known_answers"
CASES = json.loads((FOLDER / "families.json").read_text())
FAMILIES = {
    "poisson": "poisson",
    "binomial": "binomial",
    "gamma": "gamma",
    "t": "student-t",
}
EXACT = EM(tol=1e-12, max_iter=5000)
# Where only the value of the likelihood is compared, to 1e-3.
CLOSE = EM(tol=1e-8, max_iter=2000)
# Where fewer starts find the optimum, too, and each is long.
N_INIT = {
    "titanic_binomial_k2": 30,
    "dmft_poisson_k3": 4,
    "sim_t_k2": 4,
    "tempanomalies_t_k2": 4,
    "npreg_poisson_k2": 4,
}
LIKELY = [name for name, case in CASES.items() if "n_parameters" in case["reference"]]
NOISY = [name for name in LIKELY if CASES[name]["model"].get("noise")]
LIKELY = [name for name in LIKELY if name not in NOISY]
PENALISED = [name for name in CASES if "lasso" in name]


def load(name):
    model = CASES[name]["model"]
    table = pd.read_csv(FOLDER / f"{name}.csv")
    columns = list(dict.fromkeys(model["gate_columns"] + model["expert_columns"]))
    trials = table[model["trials_column"]] if model.get("trials_column") else None
    return model, table[columns], table[model.get("response", "y")], trials


def fit(name):
    model, X, y, trials = load(name)
    gated = bool(model["gate_columns"])
    warnings = CASES[name]["reference"].get("warnings")
    estimator = MoERegressor(
        LinearExpert(alpha=0),
        n_experts=model["n_experts"],
        gate=SoftmaxGate(alpha=0) if gated else ConstantGate(),
        gate_features=model["gate_columns"] if gated else None,
        expert_features=model["expert_columns"],
        likelihood=FAMILIES[model["expert_family"]],
        n_init=N_INIT.get(name, 16),
        random_state=0,
        trainer=CLOSE if warnings else EXACT,
    )
    return estimator.fit(X, y, trials=trials), X, y, trials


@pytest.fixture(scope="module")
def name(request):
    """A case, for whose tests in a row one fit will do."""
    return request.param


@pytest.fixture(scope="module")
def fitted(name):
    return fit(name)


@pytest.mark.parametrize("name", LIKELY, indirect=True)
def test_log_likelihood(fitted, name):
    model, X, y, trials = fitted
    reference = CASES[name]["reference"]
    assert model.log_likelihood_ >= reference["loglik"] - 1e-3
    total = model.log_density(X, y, trials=trials).sum()
    assert total == pytest.approx(model.log_likelihood_, abs=1e-6)
    if not reference.get("warnings"):
        assert model.log_likelihood_ <= reference["loglik"] + 1e-3
        assert model.n_parameters_ == reference["n_parameters"]


SHARP = [n for n in LIKELY if not CASES[n]["reference"].get("warnings")]


def matched(model, reference):
    """Our experts in the order of the reference's coefficients."""
    expected = np.array([list(c.values()) for c in reference["expert_coef"].values()])
    ours = np.array([[e.intercept_, *e.coef_] for e in model.experts_])
    distance = np.abs(ours[:, None] - expected[None]).sum(axis=2)
    return distance.argmin(axis=0), ours, expected


@pytest.mark.parametrize(
    "name", [n for n in SHARP if n != "faithful_gamma_k2"], indirect=True
)
def test_parameters(fitted, name):
    model, X, y, trials = fitted
    reference = CASES[name]["reference"]
    order, ours, expected = matched(model, reference)
    np.testing.assert_allclose(ours[order], expected, rtol=1e-3, atol=2e-4)
    if "scale_sigma" in reference:
        sigma = [model.likelihoods_[k].sigma_ for k in order]
        np.testing.assert_allclose(sigma, reference["scale_sigma"], rtol=1e-3)
        df = [model.likelihoods_[k].df_ for k in order]
        np.testing.assert_allclose(df, reference["dof_nu"], rtol=1e-3)
    gate = np.column_stack([model.gate_.intercept_, model.gate_.coef_])[order]
    rows = reference["gate_coef_reference_component_1"].values()
    expected = np.array([list(row.values()) for row in rows])
    np.testing.assert_allclose(gate - gate[0], expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", ["faithful_gamma_k2"], indirect=True)
def test_gamma_parameters(fitted, name):
    model, *_ = fitted
    expected = CASES[name]["reference"]["expert_parameters"].values()
    means = np.sort([np.exp(e.intercept_) for e in model.experts_])
    wanted = [own["shape"] * own["scale"] for own in expected]
    np.testing.assert_allclose(means, wanted, rtol=1e-3)
    shapes = np.sort([x.shape_ for x in model.likelihoods_])
    np.testing.assert_allclose(shapes, [own["shape"] for own in expected], rtol=1e-3)


@pytest.mark.parametrize(
    "name", [n for n in SHARP if "row_checks" in CASES[n]["reference"]], indirect=True
)
def test_rows(fitted, name):
    model, X, y, trials = fitted
    order, *_ = matched(model, CASES[name]["reference"])
    for row in CASES[name]["reference"]["row_checks"]:
        at = [row["csv_row_1based"] - 1]
        own = None if trials is None else trials.iloc[at]
        # Means of the reference are chances, not counts.
        means = model.predict_experts(X.iloc[at])[0, order]
        np.testing.assert_allclose(means, row["expert_means"], rtol=1e-3)
        density = model.log_density(X.iloc[at], y.iloc[at], trials=own)
        assert density == pytest.approx(row["log_density_of_observed_y"], abs=1e-3)
        resp = model.responsibilities(X.iloc[at], y.iloc[at], trials=own)[0, order]
        np.testing.assert_allclose(resp, row["responsibilities"], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("name", PENALISED)
def test_lasso(name):
    """RMoE's gate has a reference expert; with two experts the penalty is the same."""
    strength, likelihood = 3, "poisson"
    if "gaussian" in name:
        strength, likelihood = 5, Gaussian(variance="shared")
    _, X, y, _ = load(name)
    lasso = {"alpha": strength, "l1_ratio": 1, "standardize": False}
    model = MoERegressor(
        LinearExpert(**lasso),
        n_experts=2,
        gate=SoftmaxGate(**lasso),
        likelihood=likelihood,
        n_init=20,
        random_state=0,
        trainer=EXACT,
    ).fit(X, y)
    reference = CASES[name]["reference"]
    value = model.lower_bounds_[-1] * len(y)
    assert value == pytest.approx(reference["penalised_loglik"], abs=1e-3)
    assert model.log_likelihood_ == pytest.approx(reference["loglik"], abs=1e-3)
    order, ours, expected = matched(model, reference)
    # The reference rounds smaller coefficients to its own tolerance.
    np.testing.assert_allclose(ours[order], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(ours[order] == 0, expected == 0)
    gate = np.column_stack([model.gate_.intercept_, model.gate_.coef_])[order]
    last = reference["gate_coef_reference_LAST_component"]["component_1"]
    wanted = np.array(list(last.values()))
    np.testing.assert_allclose(gate[0] - gate[1], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("noise", "answer"), [(True, "reference"), ("constant", "constant_noise")]
)
@pytest.mark.parametrize("name", NOISY)
def test_noise(name, noise, answer):
    model, X, y, _ = load(name)
    reference = CASES[name][answer]
    found = MoERegressor(
        LinearExpert(alpha=0),
        n_experts=2,
        gate=SoftmaxGate(alpha=0),
        noise=noise,
        n_init=20,
        random_state=0,
        trainer=EXACT,
    ).fit(X, y)
    assert found.log_likelihood_ >= reference["loglik"] - 1e-3
    assert found.n_parameters_ == reference["n_parameters"]
    # Beside a constant share of noise MoEClust fits the gate to responsibilities that
    # are normalised without it, which ends below the maximum.
    if (name, noise) == ("tonedata_noise_k2", True):
        assert found.log_likelihood_ <= reference["loglik"] + 1e-3
        found.experts_.pop()
        order, ours, expected = matched(found, reference)
        np.testing.assert_allclose(ours[order], expected, rtol=1e-3, atol=1e-4)
        sigma = [found.likelihoods_[k].sigma_ for k in order]
        np.testing.assert_allclose(sigma, reference["sigma"], rtol=1e-3)
