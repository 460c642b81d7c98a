"""Groups of rows that share one expert, from rows in batches."""

import numpy as np
import pytest
from read_rows import in_batches, limit_samples
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor
from skmoe._numerics.sample import SubjectSample
from skmoe.data import RowSource, write_predictions
from skmoe.engines import recut_whole
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.gates import AdditiveGate, SoftmaxGate
from skmoe.trainers import EM

FIXED = {"gate": SoftmaxGate(alpha=1.0), "experts": LinearExpert(alpha=1.0)}


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    """Samples that hold two thirds of the rows, and first runs on a third."""
    limit_samples(1000, 500, monkeypatch.setattr)


def panel(n_subjects=400, seed=0):
    """Rows sorted by subject: X, targets by family, weights, labels."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_subjects), rng.integers(1, 8, n_subjects))
    known = rng.normal(size=(n_subjects, 2)) * [1.0, 5.0]
    X = np.column_stack([known[codes], rng.normal(size=(len(codes), 2))])
    first = (known[:, 0] + 0.5 * rng.normal(size=n_subjects) > 0)[codes]
    mean = np.where(first, 1 + X[:, 2], -1 - 0.5 * X[:, 3])
    trials = rng.integers(1, 6, len(codes))
    targets = {
        "gaussian": mean + 0.5 * rng.normal(size=len(codes)),
        "poisson": rng.poisson(np.exp(0.5 * mean)).astype(float),
        "binomial": rng.binomial(trials, 1 / (1 + np.exp(-mean))).astype(float),
        "labels": np.where(mean + rng.logistic(size=len(codes)) > 0, "up", "down"),
    }
    weight = rng.uniform(0.5, 2.0, len(codes)) * (rng.random(len(codes)) > 0.1)
    names = np.array([f"s{(7 * k) % n_subjects}" for k in range(n_subjects)])
    return X, targets, weight, names[codes], trials.astype(float)


X, TARGETS, WEIGHT, GROUPS, TRIALS = panel()


def mixture(kind=MoERegressor, **parameters):
    given = {"n_experts": 2, "random_state": 0, "gate_features": [0, 1]}
    given |= {"trainer": EM(tol=1e-10, max_refits=150)}
    return kind(**{**given, **parameters})


def both(model, y, **sizes):
    """A fit to arrays, and one to the same rows in batches that part subjects."""
    (name, *_), known = [*sizes, None], [*sizes.values()]
    own = X, y, WEIGHT, *known, GROUPS
    source = in_batches(*own, size=name, groups=True, sizes=(311, 700))
    other = clone(model).fit(source)
    return model.fit(X, y, WEIGHT, groups=GROUPS, **sizes), other, source


def assert_near(model, other, ask):
    found, expected = ask(other), ask(model)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * expected.std())
    assert other.log_likelihood_ == pytest.approx(model.log_likelihood_, rel=1e-7)
    assert other.n_parameters_ == pytest.approx(model.n_parameters_, rel=1e-4)
    np.testing.assert_allclose(other.expert_load_, model.expert_load_, atol=1e-4)
    assert other.n_groups_ == model.n_groups_


CASES = {
    "linear": ("gaussian", FIXED),
    "evidence": ("gaussian", {}),
    "constant": ("gaussian", {"gate": "constant", "gate_features": None}),
    "poisson": ("poisson", {"likelihood": "poisson", **FIXED}),
    "noise": ("gaussian", {**FIXED, "noise": True, "experts": LinearExpert(alpha=0)}),
}


@pytest.mark.parametrize("name", CASES)
def test_groups_share_experts_as_in_memory(name):
    family, parameters = CASES[name]
    model, other, _ = both(mixture(**parameters), TARGETS[family])
    assert_near(model, other, lambda own: own.predict(X))


def test_curves_stay_where_all_rows_have_led():
    # Any sample holds all values, and so the same knots.
    columns = np.clip(np.round(X * [1, 0.3, 1, 1]), -2, 2)
    y = TARGETS["gaussian"]
    parts = {
        "gate": AdditiveGate(4, alpha=1.0),
        "experts": AdditiveExpert(4, alpha=1.0),
    }
    trainer = EM(tol=1e-7, max_refits=60)
    model = mixture(trainer=trainer, **parts)
    source = RowSource.from_arrays(columns, y, WEIGHT, groups=GROUPS)
    model.fit(source)
    before, value = model.predict(columns), model.lower_bounds_[-1]
    model.set_params(warm_start=True).fit(columns, y, WEIGHT, groups=GROUPS)
    assert model.lower_bounds_[-1] == pytest.approx(value, abs=1e-5)
    np.testing.assert_allclose(model.predict(columns), before, atol=2e-2)


@pytest.mark.thorough
def test_classes_of_groups():
    given = {"experts": LinearExpert(alpha=1.0), "trainer": EM(tol=1e-9)}
    model = mixture(MoEClassifier, gate=SoftmaxGate(alpha=1.0), **given)
    model, other, source = both(model, TARGETS["labels"])
    assert other.log_likelihood_ == pytest.approx(model.log_likelihood_, rel=1e-5)
    assert other.n_groups_ == model.n_groups_
    found = np.concatenate([*other.predict_proba(source)])
    np.testing.assert_allclose(found, model.predict_proba(X), atol=5e-3)


def test_groups_and_trials_come_with_the_rows():
    model, family = mixture(likelihood="binomial", **FIXED), "binomial"
    model, other, source = both(model, TARGETS[family], trials=TRIALS)
    assert_near(model, other, lambda own: own.predict(X))
    rows = X, TARGETS[family], WEIGHT
    given = {"groups": GROUPS, "trials": TRIALS}
    for count in ("groups", "rows"):
        expected = other.bic(*rows, count=count, **given)
        assert other.bic(source, count=count) == pytest.approx(expected, rel=1e-9)
    for method in (other.log_density, other.responsibilities):
        found = np.concatenate([*method(source)])
        np.testing.assert_allclose(found, method(*rows[:2], **given), rtol=1e-9)
    assert sum(map(len, other.predict(source))) == len(X)


def test_cuts_and_threads_change_nothing():
    y, given = TARGETS["gaussian"], {"trainer": EM(max_iter=5)}
    for family in ("gaussian", "poisson"):
        y = TARGETS[family]
        fits = [
            mixture(likelihood=family, n_jobs=n_jobs, **FIXED, **given).fit(
                in_batches(X, y, WEIGHT, GROUPS, groups=True, sizes=(size,))
            )
            for n_jobs, size in ((1, 700), (3, 13))
        ]
        np.testing.assert_array_equal(fits[0].predict(X), fits[1].predict(X))


def test_a_sample_draws_whole_groups():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(90), rng.integers(1, 6, 90))
    keys = rng.integers(0, 2**63, 90).astype(np.uint64)[codes]
    weight = rng.uniform(1, 2, len(codes))
    whole, twice = SubjectSample(100), SubjectSample(100)
    whole.add(keys, weight, codes)
    # Equal groups are one of more weight, in whatever batches they come.
    parts = np.split(np.arange(len(codes)), np.searchsorted(codes, [20, 40, 60]))
    for shift in (0, 90):
        for rows in parts:
            twice.add(keys[rows], weight[rows], codes[rows] + shift)
    found, own = whole.rows(), twice.rows()
    np.testing.assert_array_equal(found[1], own[1])
    np.testing.assert_allclose(2 * found[0], own[0])
    assert 90 < len(found[1]) <= 100
    np.testing.assert_array_equal(np.isin(codes, found[1]).sum(), len(found[1]))


def test_blocks_end_with_a_group():
    codes = np.repeat(np.arange(6), [3, 1, 9, 2, 4, 1])
    for sizes in ((20,), (1,), (5, 3)):
        cuts = np.cumsum(np.tile(sizes, 20))
        batches = [(own, own) for own in np.split(codes, cuts[cuts < 20])]
        found = [own.tolist() for own, _ in recut_whole(batches, 4, 1)]
        lengths = [len(own) for own in found]
        assert lengths == [4, 9, 6, 1]
        assert sum(found, []) == codes.tolist()


def test_columns_of_parquet_are_groups(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    y, rows = TARGETS["gaussian"], slice(0, 600)
    columns = {"a": X[rows, 0], "b": X[rows, 2], "y": y[rows], "who": GROUPS[rows]}
    table = arrow.table(columns)
    pytest.importorskip("pyarrow.parquet").write_table(
        table, tmp_path / "rows.parquet", row_group_size=101
    )
    source = RowSource.from_parquet(tmp_path, "y", groups="who")
    assert source.names == ["a", "b"]
    model = mixture(gate_features=["a"], trainer=EM(max_iter=20)).fit(source)
    given = {"groups": GROUPS[rows]}
    other = mixture(gate_features=[0], trainer=EM(max_iter=20))
    other.fit(X[rows][:, [0, 2]], y[rows], **given)
    # The sample holds all rows: the model is that of arrays.
    found = np.concatenate([*model.predict(source)])
    np.testing.assert_allclose(found, other.predict(X[rows][:, [0, 2]]), rtol=1e-9)
    assert model.n_groups_ == other.n_groups_
    with pytest.raises(ValueError, match="'log_density' and a source with groups"):
        write_predictions(model, source, tmp_path / "out.parquet", ["log_density"])


def test_what_groups_must_be():
    y, model = TARGETS["gaussian"], mixture()

    def source(groups=GROUPS, X=X):
        return RowSource.from_arrays(X, y, WEIGHT, groups=groups)

    again = GROUPS.copy()
    again[-1] = GROUPS[0]
    with pytest.raises(ValueError, match="group 's0' comes back after other groups"):
        model.fit(source(again))
    with pytest.raises(ValueError, match="which the gate reads, differs within group"):
        model.fit(source(X=X[:, [0, 2, 1, 3]]))
    with pytest.raises(ValueError, match="column 'x2', which the gate reads"):
        mixture(gate_features=None).fit(source())
    with pytest.raises(ValueError, match="without a label in row 3"):
        model.fit(source(np.where(np.arange(len(X)) == 3, np.nan, 1.0)))
    with pytest.raises(ValueError, match="None for groups"):
        model.fit(RowSource.from_batches(lambda: [(X, y, None, None)], groups=True))
    with pytest.raises(ValueError, match=r"\(X, y, sample_weight, groups\)"):
        model.fit(RowSource.from_batches(lambda: [(X, y)], groups=True))
    with pytest.raises(ValueError, match="n_groups=1 with positive weight"):
        model.fit(source(np.zeros(len(X))))
    with pytest.raises(ValueError, match="groups with zero_inflation=True"):
        mixture(likelihood="gamma", zero_inflation=True).fit(
            RowSource.from_arrays(X, TARGETS["poisson"], groups=GROUPS)
        )
    with pytest.raises(ValueError, match=r"a RowSource with groups=\.\.\."):
        model.fit(source(), groups=GROUPS)
    fitted = mixture(trainer=EM(tol=1e-2)).fit(source())
    with pytest.raises(ValueError, match=r"a RowSource with groups=\.\.\."):
        fitted.log_density(source(), groups=GROUPS)
    with pytest.raises(ValueError, match="comes back"):
        [*fitted.log_density(source(again))]
    with pytest.raises(ValueError, match="the gate says something"):
        [*fitted.log_density(source(np.repeat([1, 2], [9, len(X) - 9])))]
