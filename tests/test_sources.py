"""Rows that are read in batches: the same model as of arrays, and what is refused."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import read_rows
from read_rows import limit_samples, two_regimes
from sklearn.base import clone

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._estimators import first_pass
from skmoe._numerics.design import block_moments, merged_moments, weighted_moments
from skmoe._numerics.sample import ContentSample, label_numbers, row_keys
from skmoe.data import RowSource
from skmoe.datasets import make_gated_regression
from skmoe.engines import map_rows, recut, sum_blocks, unit_rows
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.routers import HashRouter
from skmoe.trainers import EM, HardEM

N_ROWS = 3000


@pytest.fixture(scope="module")
def rows():
    """Columns, numbers, labels and weights, some of them zero."""
    return two_regimes(N_ROWS, 2, slice(1000, 1400))


in_batches = partial(read_rows.in_batches, sizes=(700, 300, 0, 400, 1, 2500))


def on_disk(folder, *arrays):
    """A source of memory maps."""
    maps = []
    for number, own in enumerate(arrays):
        np.save(folder / f"{number}.npy", own)
        maps.append(np.load(folder / f"{number}.npy", mmap_mode="r"))
    return RowSource.from_arrays(*maps)


def numbers_of(model):
    """All fitted parameters of a mixture as one vector."""
    parts = [model.gate_.coef_, model.gate_.intercept_, model.log_likelihood_]
    for expert in model.experts_:
        parts += [expert.coef_, expert.intercept_]
    parts += [own.sigma_ for own in model.likelihoods_ if hasattr(own, "sigma_")]
    return np.concatenate([np.ravel(own) for own in parts])


def assert_same(model, other):
    np.testing.assert_allclose(
        numbers_of(model), numbers_of(other), rtol=1e-10, atol=1e-10
    )
    assert model.n_iter_ == other.n_iter_
    assert model.n_parameters_ == pytest.approx(other.n_parameters_, rel=1e-9)
    np.testing.assert_allclose(model.expert_load_, other.expert_load_, rtol=1e-10)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"gate": "constant", "n_experts": 2},
        {"experts": LinearExpert(alpha=3.0), "gate": SoftmaxGate(alpha=1.0)},
        {"experts": LinearExpert(standardize=False), "n_init": 3},
        {"experts": LinearExpert(alpha=0.1, l1_ratio=0.5), "trainer": HardEM()},
        {"n_experts": 1},
    ],
    ids=["default", "constant", "fixed", "restarts", "lasso", "one"],
)
def test_numbers_give_the_model_of_arrays(rows, tmp_path, parameters):
    X, y, _, weight = rows
    model = MoERegressor(**{"n_experts": 2, "random_state": 0, **parameters})
    model.fit(X, y, weight)
    for source in (on_disk(tmp_path, X, y, weight), in_batches(X, y, weight)):
        other = MoERegressor(**model.get_params(deep=False)).fit(source)
        assert_same(model, other)
    np.testing.assert_allclose(model.predict(X), other.predict(X), rtol=1e-9)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"experts": LinearExpert(alpha=1.0)}, {"gate": "constant"}],
    ids=["default", "fixed", "constant"],
)
def test_classes_give_the_model_of_arrays(rows, tmp_path, parameters):
    X, _, labels, weight = rows
    parameters = {"n_experts": 2, "random_state": 0, **parameters}
    model = MoEClassifier(**parameters).fit(X, labels, weight)
    for source in (on_disk(tmp_path, X, labels, weight), in_batches(X, labels, weight)):
        other = MoEClassifier(**parameters).fit(source)
        assert_same(model, other)
        assert other.classes_.tolist() == ["no", "rare", "yes"]
    assert (model.predict(X) == other.predict(X)).all()


def test_columns_flat_among_the_rows_of_an_expert_have_no_coefficient():
    rng = np.random.RandomState(8)
    X = rng.normal(size=(400, 3))
    X[:, 0] += 4.0 * np.sign(X[:, 0])
    X[:, 2] = 0.1 * (X[:, 0] > 0) * rng.normal(size=400)
    y = np.where(X[:, 0] > 0, 2, -2) * X[:, 1] + rng.normal(size=400) > 0
    model = MoEClassifier(LinearExpert(alpha=0.0), 2, trainer=HardEM(), random_state=0)
    other = clone(model).fit(in_batches(X, y, sizes=(70, 30)))
    assert_same(model.fit(X, y), other)
    blind = [(expert.coef_[:, 2] == 0.0).all() for expert in other.experts_]
    assert sorted(blind) == [False, True]


def test_the_number_of_experts_is_chosen_on_the_sample(rows):
    X, y, *_ = rows
    model = MoERegressor(random_state=0).fit(X[:1500], y[:1500])
    other = MoERegressor(random_state=0).fit(in_batches(X[:1500], y[:1500]))
    assert_same(model, other)
    assert other.history_["n_experts"] == model.history_["n_experts"]


def test_several_outputs_and_floats_of_32_bits(rows):
    X, y, *_ = rows
    X, Y = (X / [1, 1e3, 1]).astype(np.float32), np.column_stack([y, y**2])
    model = MoERegressor(n_experts=2, random_state=0).fit(X, Y)
    other = MoERegressor(n_experts=2, random_state=0).fit(in_batches(X, Y))
    assert_same(model, other)
    assert other.predict(X).shape == Y.shape


@pytest.mark.usefixtures("small_samples")
def test_answers_do_not_depend_on_threads(rows):
    X, y, *_ = rows
    sums = [
        MoERegressor(n_experts=2, random_state=0, n_jobs=n).fit(in_batches(X, y))
        for n in (1, 3)
    ]
    np.testing.assert_array_equal(*map(numbers_of, sums))


def test_equal_loads_are_ordered_by_all_rows():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(1000, 1)) + side for side in (-9, 9)])
    y = np.where(X[:, 0] > 0, 2 + X[:, 0], -3 * X[:, 0]) + 0.1 * rng.normal(size=2000)
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    assert np.ptp(model.expert_load_) < 1e-3
    other = MoERegressor(n_experts=2, random_state=0).fit(in_batches(X, y))
    assert_same(model, other)
    again = MoEClassifier(n_experts=2, random_state=0).fit(X, y > 0)
    other = MoEClassifier(n_experts=2, random_state=0).fit(in_batches(X, y > 0))
    np.testing.assert_allclose(again.predict_proba(X), other.predict_proba(X))


@pytest.fixture
def small_samples(monkeypatch):
    """Samples that hold a quarter of the rows, and first runs on half of that."""
    limit_samples(1000, 500, monkeypatch.setattr)


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize(
    "parameters",
    [
        {"experts": LinearExpert(alpha=1.0), "gate": SoftmaxGate(alpha=1.0)},
        {"experts": LinearExpert(alpha=0.0), "gate": "constant", "n_init": 2},
        {"n_experts": 1, "experts": LinearExpert(alpha=2.0)},
        {
            "experts": LinearExpert(alpha=0.1, l1_ratio=0.5),
            "gate": SoftmaxGate(alpha=0.1),
        },
    ],
    ids=["fixed", "constant", "one", "lasso"],
)
def test_all_rows_have_the_optimum_of_arrays(rows, parameters):
    X, y, _, weight = rows
    parameters = {"n_experts": 2, "random_state": 0, **parameters}
    parameters["trainer"] = EM(tol=1e-14, max_iter=2000)
    model = MoERegressor(**parameters).fit(X, y, weight)
    other = MoERegressor(**parameters).fit(in_batches(X, y, weight))
    np.testing.assert_allclose(numbers_of(model), numbers_of(other), rtol=3e-5)
    np.testing.assert_allclose(other.predict(X), model.predict(X), rtol=0, atol=1e-6)
    assert other.n_parameters_ == model.n_parameters_


@pytest.mark.usefixtures("small_samples")
def test_all_rows_have_the_optimum_of_arrays_for_classes(rows):
    X, _, labels, weight = rows
    parameters = {"n_experts": 2, "random_state": 0, "trainer": EM(tol=1e-15)}
    parameters["experts"] = LinearExpert(alpha=1.0)
    parameters["gate"] = SoftmaxGate(alpha=1.0)
    model = MoEClassifier(**parameters).fit(X, labels, weight)
    other = MoEClassifier(**parameters).fit(in_batches(X, labels, weight))
    np.testing.assert_allclose(
        other.predict_proba(X), model.predict_proba(X), atol=1e-6
    )
    assert other.history_["passes"] < 40


@pytest.mark.usefixtures("small_samples")
def test_more_rows_than_the_sample_holds():
    X, y = make_gated_regression(6000, 3, 3, random_state=0)
    model = MoERegressor(n_experts=3, random_state=0).fit(X, y)
    fits = [
        MoERegressor(n_experts=3, random_state=0).fit(own)
        for own in (in_batches(X, y), RowSource.from_arrays(X, y))
    ]
    np.testing.assert_array_equal(*map(numbers_of, fits))
    np.testing.assert_allclose(model.predict(X), fits[0].predict(X), atol=2e-3)
    at = [own.log_likelihood_ / 6000 for own in (model, fits[0])]
    assert at[0] == pytest.approx(at[1], abs=1e-6)
    # That before EM, and at most ten of it.
    assert fits[0].history_["passes"] <= 11
    # Neither rows nor the source stay with the model.
    assert len(pickle.dumps(fits[0])) < 20_000


# -- parquet ---------------------------------------------------------------------------


def written(folder, rows, n_files=2):
    """Parquet files with a text column, and columns of several types of numbers."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    X, y, labels, weight = rows
    table = arrow.table(
        {
            "a": X[:, 0],
            "word": labels,
            "b": X[:, 1].astype(np.float32),
            "y": y,
            "w": weight,
            "c": np.arange(len(y)) % 5,
            "d": X[:, 2] > 0,
        }
    )
    for number in range(n_files):
        part = table.slice(number * len(y) // n_files, len(y) // n_files)
        path = folder / f"part{number}.parquet"
        parquet.write_table(part, path, row_group_size=700)
    columns = [X[:, 0], X[:, 1].astype(np.float32), np.arange(len(y)) % 5, X[:, 2] > 0]
    return np.column_stack(columns)


NAMES = ["a", "b", "c", "d"]


def test_parquet_gives_the_model_of_arrays(rows, tmp_path):
    _, y, labels, weight = rows
    X = written(tmp_path, rows)
    source = RowSource.from_parquet(tmp_path, "y", columns=NAMES, weight="w")
    parameters = {"n_experts": 2, "random_state": 0}
    model = MoERegressor(**parameters).fit(source)
    assert_same(MoERegressor(**parameters).fit(X, y, weight), model)
    assert model.feature_names_in_.tolist() == NAMES
    # The source has names, its batches have none, and nobody is told of it.
    found = np.concatenate(list(model.predict(source)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        np.testing.assert_array_equal(found, model.predict(X))
    words = RowSource.from_parquet(tmp_path, "word", columns=NAMES)
    other = MoEClassifier(**parameters).fit(words)
    assert_same(MoEClassifier(**parameters).fit(X, labels), other)


def test_one_file_all_other_columns(rows, tmp_path):
    written(tmp_path, rows, n_files=1)
    path = tmp_path / "part0.parquet"
    with pytest.raises(ValueError, match="'word' of the source holds no numbers"):
        MoERegressor().fit(RowSource.from_parquet(path, "y"))
    source = RowSource.from_parquet(str(path), ["y", "word"], weight="w")
    assert source.names == NAMES
    with pytest.raises(ValueError, match="no file at"):
        RowSource.from_parquet(tmp_path / "none.parquet", "y")
    with pytest.raises(ValueError, match=r"expected \['e', 'z'\] among them"):
        RowSource.from_parquet(path, "z", columns=["a", "e"])
    model = MoERegressor(n_experts=2, random_state=0)
    model.fit(RowSource.from_parquet(path, "y", columns=["a", "b"]))
    with pytest.raises(ValueError, match="was fitted with"):
        model.predict(RowSource.from_parquet(path, "y", columns=["b", "a"]))


def test_gaps_in_parquet_are_refused_by_name(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for gaps in ([1.0, None, 2.0], [True, None, False]):
        table = arrow.table({"a": [0.0, 1.0, 2.0], "b": gaps, "y": [0.0, 1.0, 2.0]})
        parquet.write_table(table, tmp_path / "gaps.parquet")
        source = RowSource.from_parquet(tmp_path, "y")
        with pytest.raises(ValueError, match="NaN.*column 'b'"):
            MoERegressor(n_experts=1).fit(source)


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"experts": "mlp"}, "experts='mlp'.*use LinearExpert"),
        ({"gate": "mlp"}, "gate='mlp'.*gate='softmax'"),
        ({"likelihood": "heteroscedastic"}, r"likelihood=Het.*gaussian"),
        ({"router": HashRouter()}, "router=HashRouter.*TopKRouter"),
        ({"trainer": "gradient"}, "trainer='gradient'.*trainer='em'"),
        ({"trainer": EM(objective="prediction")}, "trainer=EM.*likelihood"),
        ({"shared_expert": LinearExpert()}, "shared_expert=None"),
        ({"gate_features": "piecewise-linear"}, "choose columns"),
        ({"n_members": 2}, "n_members=1"),
        ({"warm_start": True}, "warm_start=False"),
    ],
    ids=lambda own: next(iter(own)) if isinstance(own, dict) else "",
)
def test_other_parts_are_refused_by_name(rows, parameters, said):
    model = MoERegressor(**{"n_experts": 2, **parameters})
    with pytest.raises(ValueError, match=f"MoERegressor got a RowSource with .*{said}"):
        model.fit(in_batches(*rows[:2]))


def test_what_a_source_holds_is_not_given_beside_it(rows):
    X, y, labels, weight = rows
    source = in_batches(X, y)
    with pytest.raises(ValueError, match="a source holds y and weights itself"):
        MoERegressor().fit(source, y)
    with pytest.raises(ValueError, match=r"sample_weight=\.\.\."):
        MoERegressor().fit(source, sample_weight=weight)
    with pytest.raises(ValueError, match=r"offset=\.\.\."):
        MoERegressor().fit(source, offset=y)
    with pytest.raises(
        ValueError, match="class_weight='balanced'; give the source weights"
    ):
        MoEClassifier(class_weight="balanced").fit(in_batches(X, labels))
    with pytest.raises(ValueError, match="branching='grow'; use a shape"):
        HierarchicalMoERegressor(branching="grow").fit(source, None)
    with pytest.raises(ValueError, match="gate='gaussian'; .*in a tree not"):
        HierarchicalMoERegressor("additive", gate="gaussian").fit(source, None)
    with pytest.raises(ValueError, match="rows are read at once"):
        MoERegressor(trainer="gradient").partial_fit(source, y)
    with pytest.raises(ValueError, match="requires y"):
        MoERegressor().fit(X)


@pytest.mark.usefixtures("small_samples")
def test_a_failed_fit_leaves_the_model_as_it_was(rows):
    X, y, *_ = rows
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    before, gaps = numbers_of(model), X.copy()
    gaps[-1, 1] = np.nan
    passes = []

    def other_rows():
        passes.append(0)
        yield X[: N_ROWS - len(passes)], y[: N_ROWS - len(passes)]

    iterator = iter([(X, y)])
    wrong = {
        "NaN": in_batches(gaps, y),
        "2999 rows .* 2998 in a later": RowSource.from_batches(other_rows),
        "3000 rows .* and 0 in a later": RowSource.from_batches(lambda: iterator),
        "no rows of positive weight": in_batches(X, y, np.zeros(N_ROWS)),
        "finite number >= 0": in_batches(X, y, -np.ones(N_ROWS)),
        "beside which a row is lost": in_batches(X, y, np.geomspace(1e-30, 1, N_ROWS)),
        "expected .X, y. or": RowSource.from_batches(lambda: [X]),
        "same columns": RowSource.from_batches(lambda: [(X, y), (X[:, :2], y)]),
        "same outputs": RowSource.from_batches(
            lambda: [(X, y), (X, np.column_stack([y, y]))]
        ),
        "inconsistent": RowSource.from_batches(lambda: [(X, y[:9])]),
    }
    for said, source in wrong.items():
        with pytest.raises(ValueError, match=said):
            model.fit(source)
        np.testing.assert_array_equal(numbers_of(model), before)


def test_sources_say_what_they_expect(rows):
    X, y, *_ = rows
    with pytest.raises(ValueError, match="as many in each"):
        RowSource.from_arrays(X, y[:9])
    with pytest.raises(ValueError, match="do not call it"):
        RowSource.from_batches(iter([(X, y)]))
    wide = np.random.default_rng(0).normal(size=(30, 20_000))
    source = RowSource.from_arrays(wide, wide[:, 0] > 0)
    with pytest.raises(ValueError, match="20000 columns"):
        MoEClassifier(n_experts=2).fit(source)


# -- answers ---------------------------------------------------------------------------


def test_answers_come_in_batches(rows):
    X, y, labels, _ = rows
    source = in_batches(X, y)
    model = MoERegressor(n_experts=2, random_state=0).fit(source)
    answers = model.predict(source)
    assert len(next(answers)) == 700
    rest = np.concatenate(list(answers))
    np.testing.assert_allclose(rest, model.predict(X[700:]), rtol=1e-12)
    found = np.concatenate(list(model.log_density(source)))
    np.testing.assert_allclose(found, model.log_density(X, y), rtol=1e-10)
    mean, std = next(model.predict(source, return_std=True))
    assert mean.shape == std.shape == (700,)
    with pytest.raises(ValueError, match=r"loop over source.batches\(\)"):
        model.gate_proba(source)
    source = in_batches(X, labels)
    model = MoEClassifier(n_experts=2, random_state=0).fit(source)
    assert (np.concatenate(list(model.predict(source))) == model.predict(X)).all()
    assert next(model.predict_proba(source)).shape == (700, 3)


@pytest.mark.usefixtures("small_samples")
def test_all_rows_of_several_outputs_and_32_bits():
    X, y = make_gated_regression(N_ROWS, 3, 2, random_state=0)
    X, Y = X.astype(np.float32), np.column_stack([y, y**2])
    parts = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=1.0)}
    model = MoERegressor(**parts, n_experts=2, trainer=EM(tol=1e-11), random_state=0)
    other = clone(model).fit(in_batches(X, Y))
    np.testing.assert_allclose(other.predict(X), model.fit(X, Y).predict(X), atol=1e-3)


@pytest.mark.usefixtures("small_samples")
def test_trees_have_the_optimum_of_arrays():
    X, y = make_gated_regression(N_ROWS, 3, 4, random_state=0)
    parts = {"experts": LinearExpert(alpha=0.0), "gate": SoftmaxGate(alpha=1.0)}
    trainer = EM(tol=1e-11, max_iter=2000)
    tree = HierarchicalMoERegressor(**parts, trainer=trainer, random_state=0)
    tree.fit(in_batches(X, y))
    before, value = tree.predict(X), tree.lower_bounds_[-1]
    assert tree.history_["passes"] > 1
    # EM of arrays stays where all rows have led.
    tree.set_params(warm_start=True).fit(X, y)
    assert tree.lower_bounds_[-1] == pytest.approx(value, abs=1e-9)
    np.testing.assert_allclose(tree.predict(X), before, atol=1e-3)


@pytest.mark.parametrize("n_sampled", [1000, N_ROWS])
def test_passes_are_counted(rows, monkeypatch, n_sampled):
    for name in ("LEAST_SAMPLE", "LARGEST_SAMPLE"):
        monkeypatch.setattr(first_pass, name, n_sampled)
    X, y, *_ = rows
    passes = []

    def read():
        passes.append(0)
        yield X, y

    model = MoERegressor(n_experts=2, random_state=0).fit(RowSource.from_batches(read))
    assert model.history_["passes"] == len(passes)
    # A sample that holds all rows needs no other pass.
    assert (len(passes) == 1) == (n_sampled == N_ROWS)


def test_frames_give_their_names(rows):
    pandas = pytest.importorskip("pandas")
    X, y, *_ = rows
    frame = pandas.DataFrame(X, columns=["a", "b", "c"])
    source = in_batches(frame, pandas.Series(y))
    model = MoERegressor(n_experts=2, random_state=0).fit(source)
    assert_same(MoERegressor(n_experts=2, random_state=0).fit(X, y), model)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    found = np.concatenate(list(model.predict(source)))
    np.testing.assert_allclose(found, model.predict(frame), rtol=1e-12)
    renamed = frame.rename(columns={"a": "z"})
    other = RowSource.from_batches(lambda: [(frame, y), (renamed, y)])
    with pytest.raises(ValueError, match="same columns"):
        model.fit(other)


def test_few_different_rows_count_as_often_as_they_come():
    X, y = np.tile([[0.0], [1.0], [2.0]], (50, 1)), np.tile([0.0, 1.0, 4.0], 50)
    model = MoERegressor(n_experts=4, experts=LinearExpert(alpha=1.0), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = clone(model).fit(in_batches(X, y, sizes=(40,)))
        model.fit(X, y)
    np.testing.assert_allclose(other.predict(X), model.predict(X), atol=0.05)
    with pytest.raises(ValueError, match="n_samples=3 .* 4 experts"):
        clone(model).fit(in_batches(X[:3], y[:3]))


@pytest.mark.usefixtures("small_samples")
def test_progress_is_told(rows, capsys):
    MoERegressor(n_experts=2, random_state=0, verbose=1).fit(in_batches(*rows[:2]))
    told = capsys.readouterr().out
    assert f"first pass: {N_ROWS} rows" in told
    assert f"pass 2 over {N_ROWS} rows: " in told


# -- the engine, sums and samples ------------------------------------------------------


def test_blocks_give_the_sums_of_arrays_to_the_last_bit():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(70_001, 3))
    edges = np.sort(rng.integers(0, len(values), 40))
    size = unit_rows(len(values))

    def add(own, start, stop):
        own[0][:] += values[start:stop].sum(axis=0)

    def zeros():
        return (np.zeros(3),)

    (expected,) = map_rows(add, zeros, len(values))
    for n_jobs in (1, 4):
        blocks = recut(((own,) for own in np.split(values, edges)), size)
        (total,) = sum_blocks(
            lambda own, block: own[0].__iadd__(block.sum(axis=0)), zeros, blocks, n_jobs
        )
        np.testing.assert_array_equal(total, expected)


def test_blocks_within_a_batch_are_no_copies():
    X = np.arange(12.0).reshape(6, 2)
    blocks = list(recut([(X,)], 3))
    assert [len(own) for (own,) in blocks] == [3, 3]
    assert all(np.shares_memory(own, X) for (own,) in blocks)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_errors_end_a_pass(n_jobs):
    def read():
        yield (np.zeros(1),)
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="the disk is gone"):
        sum_blocks(lambda own, block: None, tuple, read(), n_jobs)

    def fails(own, block):
        raise RuntimeError("no sum")

    with pytest.raises(RuntimeError, match="no sum"):
        sum_blocks(fails, tuple, iter([(np.zeros(1),)] * 9), n_jobs)


def test_moments_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    unit = np.array([1e150, 1e-150, 1.0, 1.0])
    X = rng.normal(size=(40_000, 4)) * unit + [0, 0, 1e6, 0]
    X[:, 3], weight = 0.1, rng.uniform(0, 1, len(X)) * (rng.random(len(X)) > 0.5)
    mean = np.average(X / unit, axis=0, weights=weight)
    std = np.sqrt(np.average((X / unit - mean) ** 2, axis=0, weights=weight))
    center, scale = weighted_moments(X, weight)
    np.testing.assert_allclose(center / unit, mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose((scale / unit)[:3], std[:3], rtol=1e-12)
    # To the last bit, or rounding would be divided by.
    assert center[3] == 0.1
    assert scale[3] == 0.0
    empty, own = block_moments(X[:9], np.zeros(9)), block_moments(X, weight)
    for both in (merged_moments(empty, own), merged_moments(own, empty)):
        assert both is own


def drawn(size, batches):
    """Weights and columns of a sample of batches (X, weight), and whether it is all."""
    sample = ContentSample(size)
    for X, weight in batches:
        sample.add(row_keys(X), weight, X)
    weight, X = sample.rows()
    return weight, X, sample.whole


def test_the_sample_does_not_depend_on_how_rows_come():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(5000, 2)), rng.uniform(1, 2, 5000)
    own, rows, whole = drawn(400, [(X, weight)])
    assert len(rows) == 400
    assert not whole
    order = rng.permutation(5000)
    batches = [(X[part], weight[part]) for part in np.array_split(order, 7)]
    other, again, _ = drawn(400, batches)
    places, others = np.lexsort(rows.T), np.lexsort(again.T)
    np.testing.assert_array_equal(rows[places], again[others])
    np.testing.assert_array_equal(own[places], other[others])
    # They come in the order of the rows, and are like all of them.
    assert (
        np.diff([np.flatnonzero((row == X).all(axis=1))[0] for row in rows]) > 0
    ).all()
    assert np.abs(rows.mean(axis=0)).max() < 0.15


def test_equal_rows_are_one_with_all_their_weight():
    X = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [3.0, 1.0], [2.0, 0.0]])
    weight, rows, whole = drawn(3, [(X, np.arange(1.0, 6.0))] * 4)
    assert whole
    np.testing.assert_array_equal(rows, X[[0, 1, 3]])
    np.testing.assert_array_equal(weight, [16.0, 28.0, 16.0])
    X = np.random.default_rng(0).normal(size=(300, 1))
    once = drawn(50, [(X, np.full(300, 2.0))])
    twice = drawn(50, [(np.vstack([X, X]), np.ones(600))])
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a, b)


def test_keys_tell_rows_and_labels_apart():
    X = np.random.default_rng(0).integers(0, 1000, size=(2000, 2)).astype(float)
    X = np.unique(X, axis=0)
    keys = row_keys(X)
    assert len(np.unique(keys)) == len(X)
    # High and low bits are dealt out evenly.
    for part in (keys >> np.uint64(60), keys & np.uint64(15)):
        assert np.bincount(part.astype(int), minlength=16).min() > len(X) / 32
    words = np.array(["a", "b", "a"])
    assert label_numbers(words)[0] == label_numbers(words[1:])[1]
    assert label_numbers(words)[0] != label_numbers(words)[1]
    np.testing.assert_array_equal(label_numbers(np.array([3, 1]))[:, 0], [3.0, 1.0])
