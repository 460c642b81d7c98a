"""Standard errors, tables of coefficients and tests of the number of experts."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse, special, stats

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor, mixture
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert
from skmoe.gates import GaussianGate, SoftmaxGate
from skmoe.inference import bootstrap_test, fit_indices, standard_errors, summary
from skmoe.inference._information import Sample, summed
from skmoe.inference._layout import INTERCEPT, at, layout_of
from skmoe.inference._test import _Rows
from skmoe.inspection._unwrap import unwrap
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM

# Training is cut short where its end is not what is checked.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FREE, GATE = LinearExpert(alpha=0), SoftmaxGate(alpha=0)
LONG = EM(tol=1e-12, max_iter=1000)
STEP = 1e-4


def flat(likelihood="gaussian", **parameters):
    """An unfitted mixture of two experts without penalties."""
    given = {"gate": GATE, "trainer": LONG, "likelihood": likelihood, **parameters}
    return MoERegressor(FREE, 2, **given)


@pytest.fixture(scope="module")
def rows():
    X, y = make_gated_regression(150, 2, 2, random_state=0)[:2]
    return X, y / np.std(y)


@pytest.fixture(scope="module")
def gaussian(rows):
    return flat().fit(*rows)


def targets(name, y):
    """y as a family has it."""
    rng = np.random.default_rng(0)
    mean = np.exp(np.clip(y, -2, 2))
    return {
        "gaussian": y,
        "poisson": rng.poisson(3 * mean),
        "gamma": rng.gamma(2.0, mean / 2.0),
        "student-t": y + 0.2 * rng.standard_t(3, len(y)),
    }[name]


DENSITIES = {
    "gaussian": lambda y, at, s: stats.norm.logpdf(y, at, s["sigma"]),
    "poisson": lambda y, at, s: stats.poisson.logpmf(y, np.exp(at)),
    "gamma": lambda y, at, s: stats.gamma.logpdf(
        y, s["shape"], scale=np.exp(at) / s["shape"]
    ),
    "student-t": lambda y, at, s: stats.t.logpdf(y, s["df"], at, s["sigma"]),
}


def log_likelihoods(terms, theta, X, y, density):
    """Log-density of rows, written from the names of the parameters alone."""
    columns = {INTERCEPT: np.ones(len(X)), "x0": X[:, 0], "x1": X[:, 1]}
    owners = [own.component for own in terms if own.part == "expert"]
    names = [own for own in owners if own != "all"]
    names = list(dict.fromkeys(names))
    logit, at = np.zeros((len(X), 2)), np.zeros((len(X), 2))
    spread = [{}, {}]
    for own, value in zip(terms, theta, strict=True):
        which = range(2) if own.component == "all" else [names.index(own.component)]
        for k in which:
            if own.part == "dispersion":
                spread[k][own.term] = np.exp(value)
            else:
                {"gate": logit, "expert": at}[own.part][:, k] += (
                    value * columns[own.term]
                )
    parts = [density(y, at[:, k], spread[k]) for k in range(2)]
    return special.logsumexp(
        special.log_softmax(logit, axis=1) + np.column_stack(parts), axis=1
    )


def hessian(function, theta):
    """Second derivatives of the sum of a function of the parameters, by differences."""
    n = len(theta)
    moves = STEP * np.eye(n)
    found = np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            corners = [
                a * b * function(theta + a * moves[i] + b * moves[j]).sum()
                for a in (-1, 1)
                for b in (-1, 1)
            ]
            found[i, j] = found[j, i] = sum(corners) / (4 * STEP**2)
    return found


CASES = {
    "gaussian": {},
    "poisson": {},
    "gamma": {},
    "student-t": {},
    "constant gate": {"gate": "constant"},
    "shared variance": {"likelihood": Gaussian(variance="shared")},
    "common": {"experts": LinearExpert(alpha=0, common=["x1"])},
}


@pytest.mark.parametrize("case", CASES)
def test_information_is_minus_the_hessian(case, rows):
    X, y = rows
    family = case if case in DENSITIES else "gaussian"
    y = targets(family, y)
    model = flat(family).set_params(**CASES[case], trainer=EM(max_iter=30)).fit(X, y)
    own = unwrap(model)
    layout = layout_of(own)
    sums = summed(Sample.read(own, X, y, None, None, {}), layout)

    def function(theta):
        return log_likelihoods(layout.terms, theta, X, y, DENSITIES[family])

    np.testing.assert_allclose(function(layout.estimate), model.log_density(X, y))
    wanted = -hessian(function, layout.estimate)
    np.testing.assert_allclose(
        sums.information, wanted, atol=1e-5 * np.abs(wanted).max()
    )
    score = [
        (function(layout.estimate + move) - function(layout.estimate - move)) / 2 / STEP
        for move in STEP * np.eye(len(layout.terms))
    ]
    np.testing.assert_allclose(
        sums.outer, np.dot(score, np.transpose(score)), rtol=1e-4, atol=1e-4
    )


def other_cases(X, y):
    """Unfitted mixtures of other shapes, their targets, and numbers of parameters."""
    both = np.column_stack([y, 2 * y + X[:, 0]])
    odd = np.where(np.arange(len(y)) % 20, y, 10 * y)
    label = np.where(y + X[:, 1] * (X[:, 0] > 0) > 0, "yes", "no")
    brief = EM(max_iter=20)
    tree = HierarchicalMoERegressor(FREE, (2, 2), gate=GATE, trainer=brief)
    classes = MoEClassifier(FREE, 2, gate=GATE, trainer=brief)
    return {
        "outputs": (flat(trainer=brief), both, 3 + 2 * 8),
        "noise": (flat(noise=True, trainer=brief), odd, 6 + 2 * 4),
        "tree": (tree, y, 9 + 4 * 4),
        "classes": (classes, label, 3 + 2 * 3),
    }


@pytest.mark.parametrize("case", ["outputs", "noise", "tree", "classes"])
def test_information_of_other_shapes_along_directions(case, rows):
    model, target, count = other_cases(*rows)[case]
    own = unwrap(model.fit(rows[0], target))
    layout = layout_of(own)
    assert len(layout.terms) == count
    sample = Sample.read(own, rows[0], target, None, None, {})
    information = summed(sample, layout).information

    def total(theta):
        parts = at(own.mixture, layout, theta).log_parts(sample.seen, sample.y)
        return mixture.log_density(*parts).sum()

    for direction in np.random.default_rng(0).normal(size=(3, count)):
        direction /= np.sqrt(direction @ information**2 @ direction) ** 0.5
        ends = [total(layout.estimate + 0.01 * m * direction) for m in (-1, 0, 1)]
        curved = -(ends[0] - 2 * ends[1] + ends[2]) / 1e-4
        wanted = direction @ information @ direction
        np.testing.assert_allclose(curved, wanted, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("alpha", [0, 5.0])
def test_common_coefficients_are_one_parameter(alpha, rows):
    """Of one expert they are those of ridge regression that spares the column."""
    X, y = rows
    experts = LinearExpert(alpha=alpha, common=["x1"])
    two = flat().set_params(experts=experts).fit(X, y)
    found = summary(two, X, y, penalized=True).to_frame().reset_index()
    own = found[found.part == "expert"]
    assert list(own.component).count("all") == 1
    assert set(own[own.component == "all"].term) == {"x1"}
    one = MoERegressor(experts, 1).fit(X, y)
    error = standard_errors(one, X, y, penalized=True).error[:3]
    design = np.column_stack([np.ones(len(X)), X])
    paid = np.diag([0.0, alpha * X[:, 0].var(), 0.0])
    sigma = one.likelihoods_[0].sigma_
    wanted = sigma * np.sqrt(np.diag(np.linalg.inv(design.T @ design + paid)))
    np.testing.assert_allclose(error, wanted, rtol=1e-2)


def test_errors_of_one_expert_are_those_of_least_squares(rows):
    X, y = rows
    model = MoERegressor(FREE, 1).fit(X, y)
    found = standard_errors(model, X, y)
    design = np.column_stack([np.ones(len(X)), X])
    sigma = model.likelihoods_[0].sigma_
    wanted = sigma * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    np.testing.assert_allclose(found.error[:3], wanted, rtol=1e-8)
    np.testing.assert_allclose(found.error[3], sigma / np.sqrt(2 * len(y)), rtol=1e-6)
    residual = y - model.predict(X)
    bread = np.linalg.inv(design.T @ design)
    meat = (design * residual[:, None] ** 2).T @ design
    robust = standard_errors(model, X, y, kind="sandwich").covariance[:3, :3]
    np.testing.assert_allclose(robust, bread @ meat @ bread, rtol=1e-6)


@pytest.mark.parametrize("kind", ["observed", "sandwich"])
def test_weights_are_repetitions(kind, rows, gaussian):
    X, y = rows
    times = np.arange(len(y)) % 3
    repeated = np.repeat(np.arange(len(y)), times)
    with pytest.warns(UserWarning, match="maximum"):
        one = standard_errors(gaussian, X, y, sample_weight=times, kind=kind)
    with pytest.warns(UserWarning, match="maximum"):
        other = standard_errors(gaussian, X[repeated], y[repeated], kind=kind)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-7)


def test_subjects_are_what_is_independent(rows, gaussian):
    X, y = rows
    known = {"groups": np.arange(len(y))}
    alone = standard_errors(gaussian, X, y, kind="sandwich")
    single = flat().fit(X, y, **known)
    each = standard_errors(single, X, y, kind="sandwich", **known)
    np.testing.assert_allclose(each.covariance, alone.covariance, rtol=1e-4)
    with pytest.raises(ValueError, match="fitted with groups"):
        standard_errors(single, X, y)
    with pytest.raises(ValueError, match="fitted without groups"):
        standard_errors(gaussian, X, y, **known)
    uneven = {
        "sample_weight": np.arange(len(y)) + 1.0,
        "groups": np.arange(len(y)) // 2,
    }
    with pytest.raises(ValueError, match="one weight"):
        standard_errors(single, X, y, **uneven)


def test_bootstrap_agrees_with_the_sandwich(rows, gaussian):
    X, y = rows
    model = flat(gate="constant", trainer=EM(max_iter=100)).fit(X, y)
    drawn = standard_errors(model, X, y, kind="bootstrap", n_boot=40)
    known = standard_errors(model, X, y, kind="sandwich")
    assert drawn.replicates.shape == (40, len(drawn.terms))
    ratio = drawn.error / known.error
    assert 0.8 < np.median(ratio) < 1.25
    again = standard_errors(model, X, y, kind="bootstrap", n_boot=3, n_jobs=2)
    alone = standard_errors(model, X, y, kind="bootstrap", n_boot=3)
    np.testing.assert_array_equal(again.replicates, alone.replicates)


ANSWERS = Path(__file__).parent / "known_answers"
# Likelihood, columns of the experts, of the gate, target, number of experts.
FLEXMIX = {
    "patent_poisson_k3": ("poisson", ["lgRD"], ["RDS"], "y", 3),
    "npreg_poisson_k2": ("poisson", ["x"], ["x"], "y", 2),
    "bregfix_binomial_k3": ("binomial", ["x"], ["w"], "yes", 3),
    "nregfix_k3": ("gaussian", ["x1", "x2"], ["w"], "y", 3),
}


def answers(case):
    """What flexmix says of a case: log-likelihood, then estimates and errors by name.

    Names are tuples of part, component and term.
    """
    with (ANSWERS / "standard_errors.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["case"] == case]
    parts = {"coef.": "expert", "log(sigma)": "dispersion"}
    found = {}
    for row in rows:
        name = row["term"].replace("(Intercept)", INTERCEPT)
        component = int(re.search(r"Comp\.(\d+)", name).group(1))
        part = next((own for key, own in parts.items() if key in name), "gate")
        term = (
            "sigma"
            if part == "dispersion"
            else re.split(r"\d[._](?:coef\.)?", name)[-1]
        )
        found[part, component, term] = float(row["estimate"]), float(row["error"])
    return float(rows[0]["log_likelihood"]), found


def contrast(found, matched, name):
    """What a parameter of flexmix is in ours: signs by term."""
    part, component, term = name
    own = {"part": part, "term": term}
    signs = {}
    pairs = [(component, 1.0), (1, -1.0)] if part == "gate" else [(component, 1.0)]
    for other, sign in pairs:
        for i, known in enumerate(found.terms):
            asked = known.component == matched[other] and known.term == term
            if asked and known.part == own["part"]:
                signs[i] = sign
    return signs


@pytest.mark.parametrize("case", FLEXMIX)
def test_errors_are_those_of_flexmix(case):
    pd = pytest.importorskip("pandas")
    family, columns, gate_columns, target, k = FLEXMIX[case]
    table = pd.read_csv(ANSWERS / f"{case}.csv")
    X, y = table[list(dict.fromkeys(columns + gate_columns))], table[target]
    sizes = {"trials": table["trials"]} if "trials" in table else {}
    model = MoERegressor(
        FREE,
        k,
        gate=GATE,
        likelihood=family,
        gate_features=gate_columns,
        expert_features=columns,
        trainer=EM(tol=1e-11, max_iter=3000),
        n_init=4,
        random_state=0,
    ).fit(X, y, **sizes)
    total, wanted = answers(case)
    found = standard_errors(model, X, y, **sizes)
    # Variances of flexmix are unbiased ones, so that its likelihood is a little less.
    atol = 0.05 if family == "gaussian" else 1e-3
    np.testing.assert_allclose(model.log_likelihood_, total, atol=atol)
    levels = {
        own.component: value
        for own, value in zip(found.terms, found.estimate, strict=True)
        if own.part == "expert" and own.term == INTERCEPT
    }
    matched = {
        c: min(levels, key=lambda own: abs(levels[own] - value))
        for (part, c, term), (value, _) in wanted.items()
        if part == "expert" and term == INTERCEPT
    }
    assert len(set(matched.values())) == k
    for name, (_, error) in wanted.items():
        signs = contrast(found, matched, name)
        at, sign = list(signs), np.array(list(signs.values()))
        own = np.sqrt(sign @ found.covariance[np.ix_(at, at)] @ sign)
        np.testing.assert_allclose(own, error, rtol=0.02, err_msg=str(name))


def test_summary_prints_what_it_knows(rows, gaussian):
    X, y = rows
    table = summary(gaussian, X, y, effects=True)
    frame = table.to_frame()
    assert list(frame["part"].unique()) == ["gate", "expert", "dispersion", "effect"]
    coefficients = frame[frame["part"] != "dispersion"]
    wanted = 2 * stats.norm.sf(np.abs(coefficients["estimate"] / coefficients["error"]))
    np.testing.assert_allclose(coefficients["p"], wanted)
    assert (frame["lower"] < frame["estimate"]).all()
    assert (frame[frame["part"] == "dispersion"]["lower"] > 0).all()
    text = str(table)
    assert "the gate is constant" not in text.lower()
    stacked = flat(gate="constant", trainer=EM(max_iter=100)).fit(X, y)
    said = str(summary(stacked, X, y)).splitlines()[1]
    assert said == "The gate is constant: predictions are linear stacking."
    half = gaussian.log_density(X[::2], y[::2]).sum()
    with pytest.warns(UserWarning, match="maximum"):
        assert f"{half:.6g}" in str(summary(gaussian, X[::2], y[::2]))
    assert "Gate, relative to the first component 'expert0'" in text
    assert "2.5 %" in text
    assert "nan" not in text


def test_mean_effects_are_slopes_of_the_mean_prediction(rows, gaussian):
    X, y = rows
    frame = summary(gaussian, X, y, effects=True).to_frame()
    found = frame[frame["part"] == "effect"]["estimate"].to_numpy()
    moves = 1e-5 * np.eye(2)
    wanted = [
        (gaussian.predict(X + move) - gaussian.predict(X - move)).mean() / 2e-5
        for move in moves
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_names_are_those_of_the_user(rows):
    pd = pytest.importorskip("pandas")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = rows
    frame = pd.DataFrame(X, columns=["age", "income"])
    scaler = StandardScaler().set_output(transform="pandas")
    model = make_pipeline(scaler, flat(trainer=EM(max_iter=50))).fit(frame, y)
    terms = summary(model, frame, y, effects=True).to_frame()["term"]
    assert set(terms) == {INTERCEPT, "age", "income", "sigma"}


REFUSED = {
    "the gate is penalised": flat(gate=SoftmaxGate(alpha=1.0)),
    "has a lasso": flat(gate=SoftmaxGate(alpha=1.0, l1_ratio=1.0)),
    "n_members=2": flat(n_members=2),
    "the gate GaussianGate": flat(gate=GaussianGate()),
    "the router 1": flat(router=1),
    "the likelihood": flat("heteroscedastic"),
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_errors_is_refused_by_name(message, rows):
    model = REFUSED[message].set_params(trainer=EM(max_iter=3)).fit(*rows)
    with pytest.raises(ValueError, match=message):
        standard_errors(model, *rows)


def test_boundaries_are_told(rows):
    X, y = rows
    with pytest.raises(ValueError, match="kind='exact'"):
        standard_errors(flat(trainer=EM(max_iter=3)).fit(X, y), X, y, kind="exact")
    halves = np.where(X[:, 0] > 0, 1.0 + X[:, 1], -1.0 - X[:, 1])
    noise = 0.1 * np.sin(50 * X[:, 1])
    apart = flat(trainer=EM(max_iter=200)).fit(X, halves + noise)
    with pytest.raises(ValueError, match="separates without error|flat in"):
        standard_errors(apart, X, halves + noise)


def test_penalised_errors_are_those_of_ridge_regression(rows):
    X, y = rows
    model = MoERegressor(LinearExpert(alpha=20.0), 1).fit(X, y)
    found = standard_errors(model, X, y, penalized=True)
    design = np.column_stack([np.ones(len(X)), X])
    ridge = np.diag([0.0, *(20.0 * X.var(axis=0))])
    inverse = np.linalg.inv(design.T @ design + ridge)
    sigma = model.likelihoods_[0].sigma_
    wanted = sigma * np.sqrt(np.diag(inverse))
    np.testing.assert_allclose(found.error[:3], wanted, rtol=0.02)


def test_one_more_expert_is_tested():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 1))
    y = np.where(rng.random(80) < 0.5, 3 * X[:, 0], -3 * X[:, 0])
    y += 0.3 * rng.normal(size=80)
    one = MoERegressor(FREE, 1, gate="constant", trainer=EM(max_iter=30)).fit(X, y)
    found = bootstrap_test(one, X, y, n_boot=9)
    assert found.p_value == 0.1
    assert found.statistic > found.distribution.max()
    assert "1 against 2 experts" in str(found)
    again = bootstrap_test(one, X, y, n_boot=3, n_jobs=2)
    np.testing.assert_array_equal(again.distribution, found.distribution[:3])
    null = one.sample_y(X, random_state=3)[:, 0]
    assert bootstrap_test(one.fit(X, null), X, null, n_boot=9).p_value > 0.1


def test_indices_count_subjects():
    rng = np.random.default_rng(0)
    codes, x = np.repeat(np.arange(20), 3), rng.normal(size=(60, 1))
    y = np.where(codes % 2, 1, -1) * x[:, 0] + 0.5 * rng.normal(size=60)
    two = MoERegressor(FREE, 2, gate="constant", trainer=EM(max_iter=20))
    two.fit(x, y, groups=codes)
    weight = np.where(codes < 5, 2.0, 1.0)
    found = fit_indices(two, sparse.csr_array(x), y, weight, codes)
    assert found.n_rows == 25
    assert found.bic == two.bic(x, y, weight, groups=codes)
    resp, of_subjects = two.responsibilities(x, y, codes), weight[::3]
    entropy = of_subjects @ special.entr(resp).sum(axis=1)
    np.testing.assert_allclose(found.entropy_r2, 1 - entropy / (25 * np.log(2)))
    chosen = of_subjects * (resp.argmax(axis=1) == 1)
    wanted = chosen @ resp / chosen.sum()
    np.testing.assert_allclose(found.average_posterior[1], wanted)


@pytest.mark.parametrize("kind", [MoERegressor, MoEClassifier])
def test_one_more_expert_of_subjects_is_tested(kind):
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(30), 4))
    X = rng.choice([-1.0, 1.0], size=(120, 1))
    rises = np.arange(30) % 2 == 0
    y = np.where(rises[codes], 5, -5) * X[:, 0] + 0.1 * rng.normal(size=120)
    y = y if kind is MoERegressor else y > 0
    weight = np.where(codes < 10, 2.0, 1.0)
    given = {"gate": "constant", "trainer": EM(max_iter=5), "random_state": 0}
    two = kind(FREE, 2, **given)
    two.fit(X, y, weight, groups=codes)
    found = bootstrap_test(two, X, y, 2, weight, groups=codes)
    one, more = (own.log_density(X, y, codes) for own in (two, found.alternative))
    first = np.unique(codes, return_index=True)[1]
    order = codes[np.sort(first)]
    gain = 2 * np.where(order < 10, 2.0, 1.0) @ (more - one)
    np.testing.assert_allclose(found.statistic, max(0, gain))
    # A subject is drawn from one expert: its targets go with x, or against it.
    drawn = _Rows(sparse.csr_array(X), codes, weight, {}).draw(two, 3)
    level = drawn if kind is MoERegressor else np.where(drawn, 1, -1)
    signs = np.bincount(codes, np.sign(level) == X[:, 0])
    assert np.isin(signs, [0, 4]).mean() > 0.85
    assert 0 < np.count_nonzero(signs == 4) < 30


def test_distribution_of_the_test_is_drawn(rows):
    pytest.importorskip("matplotlib").use("Agg")
    X, y = rows
    one = MoERegressor(FREE, 1, trainer=EM(max_iter=3)).fit(X, y)
    ax = bootstrap_test(one, X, y, n_boot=5).plot()
    assert all([ax.get_xlabel(), ax.get_ylabel(), ax.get_title()])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (HierarchicalMoERegressor(FREE, (2,)), "flat mixture"),
        (MoERegressor([("a", FREE), ("b", FREE)]), "list of experts"),
    ],
)
def test_what_cannot_grow_is_refused(model, message, rows):
    model.set_params(trainer=EM(max_iter=3)).fit(*rows)
    with pytest.raises(ValueError, match=message):
        bootstrap_test(model, *rows)


def test_indices_of_fit(rows, gaussian):
    X, y = rows
    found = fit_indices(gaussian, X, y)
    resp = gaussian.responsibilities(X, y)
    assert found.bic == gaussian.bic(X, y)
    assert found.icl == gaussian.icl(X, y)
    hard = found.bic - 2 * np.log(resp.max(axis=1)).sum()
    np.testing.assert_allclose(found.icl_hard, hard)
    entropy = special.entr(resp).sum()
    np.testing.assert_allclose(found.entropy_r2, 1 - entropy / (len(y) * np.log(2)))
    chosen = resp.argmax(axis=1) == 1
    np.testing.assert_allclose(found.average_posterior[1], resp[chosen].mean(axis=0))
    size = found.n_parameters * np.log((len(y) + 2) / 24)
    np.testing.assert_allclose(found.adjusted_bic, size - 2 * found.log_likelihood)
    assert "entropy_r2" in str(found)
