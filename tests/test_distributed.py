"""Mixtures on Dask collections: the model of a source, whatever the cluster does."""

import gc
import os
import pickle
import signal
import sys
import time

import numpy as np
import pytest
from read_rows import limit_samples, two_regimes
from sklearn.base import clone
from sklearn.tree import DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe._estimators import first_pass
from skmoe._numerics.sample import ContentSample, row_keys
from skmoe.data import RowSource
from skmoe.distributed import DaskMoEClassifier, DaskMoERegressor, _engine, _tasks
from skmoe.engines import _threads
from skmoe.experts import AdditiveExpert, LinearExpert
from skmoe.routers import HashRouter
from skmoe.trainers import EM

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

N_ROWS, N_SAMPLED = 1200, 300
CUTS = [(300,) * 4, (1, 0, 700, 0, 0, 399, 100), (1200,)]
COMMON = {"n_experts": 2, "random_state": 0}


def cluster(**parameters):
    """Two workers of one thread each."""
    return distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", **parameters
    )


@pytest.fixture(scope="module")
def client():
    """Workers that are threads of this process."""
    with cluster(processes=False) as own, distributed.Client(own) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def small_samples():
    """Samples that do not hold all rows, and several units of these in a pass."""
    with pytest.MonkeyPatch.context() as patch:
        limit_samples(N_SAMPLED, setattr=patch.setattr)
        patch.setattr(_threads, "LEAST_ROWS", 300)
        yield


@pytest.fixture(scope="module")
def rows():
    """Columns, numbers, labels and weights, some of them zero."""
    return two_regimes(N_ROWS, 1, slice(1100, None))


@pytest.fixture(scope="module")
def model(client, rows):
    """A regressor, fitted to uneven partitions."""
    X, y, _, weight = rows
    return DaskMoERegressor(**COMMON, client=client).fit(*cut(CUTS[1], X, y, weight))


def cut(sizes, *arrays):
    """Dask arrays in partitions of so many rows."""
    return [
        da.from_array(own, chunks=(tuple(sizes), *((-1,) * (own.ndim - 1))))
        for own in arrays
    ]


def numbers_of(model):
    """All fitted parameters of a mixture as one vector."""
    gate = sorted(vars(model.gate_).items())
    parts = [own for _, own in gate if isinstance(own, np.ndarray)]
    parts.append(model.log_likelihood_)
    for expert, own in zip(model.experts_, model.likelihoods_, strict=True):
        ends = [own.low_, own.high_] if own.is_noise else []
        parts += ends or [expert.coef_, expert.intercept_]
    parts += [own.sigma_ for own in model.likelihoods_ if hasattr(own, "sigma_")]
    return np.concatenate([np.ravel(own) for own in parts])


def assert_same(model, other):
    np.testing.assert_array_equal(numbers_of(model), numbers_of(other))


# -- the same model --------------------------------------------------------------------


@pytest.mark.parametrize("sizes", CUTS)
def test_partitions_give_the_regressor_of_a_source(client, rows, sizes):
    X, y, _, weight = rows
    source = RowSource.from_arrays(X, y, weight)
    model = DaskMoERegressor(**COMMON, client=client).fit(*cut(sizes, X, y, weight))
    assert_same(model, MoERegressor(**COMMON).fit(source))
    assert model.n_features_in_ == 3
    assert model.history_["rows"] == np.count_nonzero(weight)


@pytest.mark.parametrize("sizes", CUTS[1:])
def test_partitions_give_the_classifier_of_a_source(client, rows, sizes):
    X, _, labels, weight = rows
    source = RowSource.from_arrays(X, labels, weight)
    asked = {**COMMON, "gate": "constant"}
    model = DaskMoEClassifier(**asked, client=client)
    model.fit(*cut(sizes, X, labels, weight))
    assert_same(model, MoEClassifier(**asked).fit(source))
    assert model.classes_.tolist() == ["no", "rare", "yes"]


@pytest.mark.parametrize(
    "other", [{"likelihood": "poisson"}, {"gate": "gaussian"}, {"noise": True}]
)
def test_other_parts_that_are_summed(client, rows, other):
    X, _, _, weight = rows
    counts = np.random.default_rng(1).poisson(np.exp(0.5 * X[:, 0])).astype(float)
    asked = {**COMMON, **other, "trainer": EM(tol=1e-3)}
    model = DaskMoERegressor(**asked, client=client)
    model.fit(*cut(CUTS[1], X, counts, weight))
    source = RowSource.from_arrays(X, counts, weight)
    assert_same(model, MoERegressor(**asked).fit(source))
    assert len(model.history_["communication"]["seconds"]) > 2


def test_two_outputs_of_other_chunks(client, rows):
    X, y, _, weight = rows
    both = np.column_stack([y, X[:, 0] - y]).astype(np.float32)
    # Columns, and the rows of y, are cut as they please.
    collections = [
        da.from_array(X.astype(np.float32), chunks=(500, 2)),
        da.from_array(both, chunks=(N_ROWS, 1)),
    ]
    model = DaskMoERegressor(**COMMON, client=client).fit(*collections)
    source = RowSource.from_arrays(X.astype(np.float32), both)
    assert_same(model, MoERegressor(**COMMON).fit(source))
    assert model.predict(collections[0]).shape == (N_ROWS, 2)


def test_data_frames(client, rows):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    X, y, _, weight = rows
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=y, w=weight)
    frames = dd.from_pandas(frame, npartitions=5)
    # The second one is empty.
    frames = dd.concat([frames.partitions[:2], frames.partitions[2:]])
    frames = frames.map_partitions(lambda own: own[own.index != 3])
    kept = frame[frame.index != 3]
    asked = frames[["a", "b", "c"]], frames["y"], frames["w"]
    model = DaskMoERegressor(**COMMON, client=client).fit(*asked)
    names = ["a", "b", "c"], "y", "w"
    source = RowSource.from_arrays(*(kept[own].to_numpy() for own in names))
    assert_same(model, MoERegressor(**COMMON).fit(source))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    lazy = model.predict(asked[0])
    assert np.isnan(lazy.chunks[0]).all()
    local = model.to_local()
    np.testing.assert_array_equal(lazy, local.predict(kept[["a", "b", "c"]]))


BRIEF = {**COMMON, "trainer": EM(objective="likelihood", max_iter=3)}


@pytest.mark.filterwarnings("ignore:EM stopped")
def test_rows_bring_offsets_along(client, rows):
    X, y, _, weight = rows
    offset = 0.3 * y
    mean = np.exp(0.5 * X[:, 0] + offset)
    counts = np.random.default_rng(1).poisson(mean).astype(float)
    asked = {**BRIEF, "likelihood": "poisson", "experts": LinearExpert(alpha=1.0)}
    lazy_X, lazy_y, lazy_w, lazily = cut(CUTS[1], X, counts, weight, offset)
    model = DaskMoERegressor(**asked, client=client)
    model.fit(lazy_X, lazy_y, lazy_w, offset=lazily)
    source = RowSource.from_arrays(X, counts, weight, offset=offset)
    assert_same(model, MoERegressor(**asked).fit(source))
    local = model.to_local()
    parts = in_parts(lambda own, size: local.predict(own, offset=size), X, offset)
    assert_lazy(model.predict(lazy_X, offset=lazily), parts)
    lazy = model.log_density(lazy_X, lazy_y, offset=lazily)
    whole = local.log_density(X, counts, offset=offset)
    np.testing.assert_allclose(lazy, whole, rtol=1e-12)
    with pytest.raises(ValueError, match="got offset as ndarray"):
        model.fit(lazy_X, lazy_y, offset=offset)
    with pytest.raises(ValueError, match="got offset with Gaussian"):
        model.set_params(likelihood="gaussian").fit(lazy_X, lazy_y, offset=lazily)


@pytest.mark.filterwarnings("ignore:EM stopped")
def test_trials_come_without_weights(client, rows):
    X, y, _, _ = rows
    trials = 1.0 + np.random.default_rng(0).integers(0, 9, N_ROWS)
    counts = np.where(y > 0.5, trials, np.floor(trials / 2))
    asked = {**BRIEF, "likelihood": "binomial", "n_experts": 1}
    lazy_X, lazy_y, lazily = cut(CUTS[1], X, counts, trials)
    model = DaskMoERegressor(**asked, client=client)
    model.fit(lazy_X, lazy_y, trials=lazily)
    source = RowSource.from_arrays(X, counts, trials=trials)
    assert_same(model, MoERegressor(**asked).fit(source))


@pytest.mark.filterwarnings("ignore:EM stopped")
def test_routers_train_on_partitions(client, rows):
    X, y, _, weight = rows
    asked = {**BRIEF, "router": 1, "gate": "gaussian"}
    model = DaskMoERegressor(**asked, client=client)
    model.fit(*cut(CUTS[1], X, y, weight))
    source = RowSource.from_arrays(X, y, weight)
    assert_same(model, MoERegressor(**asked).fit(source))


@pytest.mark.filterwarnings("ignore:EM stopped")
def test_tables_of_text_and_categories(client):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    rng = np.random.default_rng(0)
    shop = rng.choice(["north", "south", "west"], N_ROWS)
    # Levels, and gaps, that not all partitions have.
    shop[:400] = "north"
    frame = pd.DataFrame({"size": rng.normal(size=N_ROWS).round(1), "shop": shop})
    frame["grade"] = pd.Categorical(rng.choice(["a", "b"], N_ROWS))
    y = np.sin(2 * frame["size"]) + (shop == "south") + (frame["grade"] == "b")
    y = y + 0.2 * rng.normal(size=N_ROWS)
    frame.loc[900::7, "shop"] = None
    frame.loc[::50, "size"] = np.nan
    asked = {**BRIEF, "experts": AdditiveExpert(n_knots=8)}
    asked |= {"gate": "constant", "n_experts": 1}
    frames = dd.from_pandas(frame, npartitions=4), dd.from_pandas(y, npartitions=4)
    model = DaskMoERegressor(**asked, client=client).fit(*frames)
    source = RowSource.from_batches(
        lambda: [(frame[:500], y[:500]), (frame[500:], y[500:])]
    )
    other = MoERegressor(**asked).fit(source)
    np.testing.assert_array_equal(model.predict(frame), other.predict(frame))
    assert model.feature_names_in_.tolist() == ["size", "shop", "grade"]
    assert len(model.history_["communication"]["seconds"]) > 2
    np.testing.assert_array_equal(model.predict(frames[0]), model.predict(frame))
    with pytest.raises(ValueError, match="'shop' of the source holds no numbers"):
        DaskMoERegressor(**COMMON, client=client).fit(*frames)


def test_partitions_of_other_types(client):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame({"a": np.arange(600.0), "b": np.arange(600.0)})
    frames = dd.from_pandas(frame, npartitions=2)
    frames = frames.map_partitions(
        lambda own: own.assign(b="word") if own.index[0] else own, meta=frame
    )
    model = DaskMoERegressor("additive", 1, gate="constant", client=client)
    with pytest.raises(ValueError, match="'b' of the source held numbers"):
        model.fit(frames, frames["a"])


def test_few_rows_are_read_once(client, rows, monkeypatch):
    X, y, _, weight = rows
    for name in ("LEAST_SAMPLE", "LARGEST_SAMPLE"):
        monkeypatch.setattr(first_pass, name, N_ROWS)
    source = RowSource.from_arrays(X, y, weight)
    model = DaskMoERegressor(**COMMON, client=client).fit(*cut(CUTS[1], X, y, weight))
    assert_same(model, MoERegressor(**COMMON).fit(source))
    assert model.history_["passes"] == 1
    assert len(model.history_["communication"]["seconds"]) == 1


@pytest.mark.parametrize("sizes", [(7, 600, 0, 593), (1200,)])
def test_any_cut_gives_the_same_bits(client, rows, sizes, monkeypatch):
    X, y, _, weight = rows
    monkeypatch.setattr(_threads, "MOST_BLOCKS", 1)
    for module in (first_pass, _tasks):
        monkeypatch.setattr(module, "CHUNK_ROWS", 300)
    asked = {**COMMON, "trainer": EM(tol=1e-3)}
    source = RowSource.from_arrays(X, y, weight)
    expected = numbers_of(MoERegressor(**asked).fit(source))
    model = DaskMoERegressor(**asked, client=client).fit(*cut(sizes, X, y, weight))
    np.testing.assert_array_equal(numbers_of(model), expected)
    assert model.history_["communication"]["tasks"] > 1


def test_the_number_of_tasks_changes_no_bit(client, rows, monkeypatch):
    X, y, _, weight = rows
    found = []
    for size in (1, 2, 8):
        monkeypatch.setattr(_engine, "range_units", lambda *_, size=size: size)
        own = DaskMoERegressor(**COMMON, trainer=EM(tol=1e-3), client=client)
        found.append(numbers_of(own.fit(*cut(CUTS[1], X, y, weight))))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_groups_are_branches_of_the_tree():
    found = [_engine.range_units(7, slots) for slots in (1, 2, 3, 4, 5, 9)]
    assert found == [8, 4, 2, 2, 1, 1]
    assert _engine.range_units(64, 3) == 16


def test_samples_of_parts_are_that_of_all():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 40, size=(3000, 2)).astype(float)
    weight = rng.uniform(1, 2, len(X))

    def drawn(part):
        sample = ContentSample(200)
        sample.add(row_keys(X[part]), weight[part], X[part])
        return sample

    edges = [(0, 30), (30, 30), (30, 1700), (1700, 3000)]
    parts = [drawn(slice(*own)) for own in edges]
    whole, merged = drawn(slice(None)), parts[0]
    for own in parts[1:]:
        merged = merged.extended(own)
    for one, other in zip(whole.rows(), merged.rows(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    assert not merged.whole
    assert parts[0].extended(parts[1]).whole


# -- answers ---------------------------------------------------------------------------


def in_parts(method, *rows):
    """What a method says of rows, partition by partition."""
    edges = np.cumsum(CUTS[1])[:-1]
    parts = zip(*(np.split(own, edges) for own in rows), strict=True)
    return np.concatenate([method(*own) for own in parts if len(own[0])])


def assert_lazy(lazy, expected):
    """That a Dask array is cut as X is, and holds the same bits when it is computed."""
    assert isinstance(lazy, da.Array)
    assert lazy.chunks[0] == CUTS[1]
    assert lazy.dtype == expected.dtype
    assert lazy.shape == expected.shape
    np.testing.assert_array_equal(lazy, expected)


def test_answers_are_lazy_and_those_of_the_local_model(model, rows):
    X, y, _, _ = rows
    lazy_X, lazy_y = cut(CUTS[1], X, y)
    local = model.to_local()
    assert type(local) is MoERegressor
    assert_lazy(model.predict(lazy_X), in_parts(local.predict, X))
    assert_lazy(model.gate_proba(lazy_X), in_parts(local.gate_proba, X))
    assert_lazy(model.transform(lazy_X), in_parts(local.transform, X))
    for name in ("log_density", "responsibilities"):
        lazy = getattr(model, name)(lazy_X, lazy_y)
        assert_lazy(lazy, in_parts(getattr(local, name), X, y))
    mean, std = model.predict(lazy_X, return_std=True)
    assert_lazy(mean, in_parts(local.predict, X))
    assert_lazy(std, in_parts(lambda own: local.predict(own, return_std=True)[1], X))
    np.testing.assert_array_equal(model.predict(X), local.predict(X))
    assert model.score(lazy_X, lazy_y) == pytest.approx(local.score(X, y), rel=1e-12)
    with pytest.raises(ValueError, match="got offset with Gaussian"):
        model.predict(lazy_X, offset=y)


def test_classes_are_answered_lazily(client, rows):
    X, _, labels, _ = rows
    lazy_X, lazy_y = cut(CUTS[1], X, labels)
    # The client is found.
    model = DaskMoEClassifier(**COMMON).fit(lazy_X, lazy_y)
    local = model.to_local()
    assert type(local) is MoEClassifier
    assert_lazy(model.predict(lazy_X), in_parts(local.predict, X))
    assert_lazy(model.predict_proba(lazy_X), in_parts(local.predict_proba, X))
    assert_lazy(model.predict_log_proba(lazy_X), in_parts(local.predict_log_proba, X))
    np.testing.assert_array_equal(model.predict(X), local.predict(X))
    np.testing.assert_array_equal(model.predict_proba(X), local.predict_proba(X))


# -- the client ------------------------------------------------------------------------


def test_the_client_stays_where_it_is(model, client, rows):
    assert clone(model).client is client
    assert model.get_params()["client"] is client
    text = pickle.dumps(model)
    # Neither rows nor futures stay with the model.
    assert len(text) < 20_000
    again = pickle.loads(text)
    assert again.client is None
    np.testing.assert_array_equal(again.predict(rows[0]), model.predict(rows[0]))
    np.testing.assert_array_equal(numbers_of(again.to_local()), numbers_of(model))


def freed(client, name=""):
    """Whether no result of this name is asked for any longer; soon is enough."""
    for _ in range(300):
        if not [key for key in client.futures if name in str(key)]:
            return True
        time.sleep(0.05)
    return False


def test_rows_do_not_stay_on_the_workers(client, rows):
    X, y = cut(CUTS[1], *rows[:2])
    gc.disable()
    try:
        DaskMoERegressor(**COMMON, client=client).fit(X, y)
        assert freed(client)
        broken = DaskMoERegressor(**COMMON, likelihood="poisson", client=client)
        with pytest.raises(ValueError, match="expected counts"):
            broken.fit(X, y)
        assert freed(client, "encoded_units")
    finally:
        gc.enable()


def test_bytes_of_a_pass_do_not_depend_on_rows(client, rows):
    X, y, _, _ = rows
    found = []
    for times in (1, 3):
        lazy = cut([300 * times] * 4, np.tile(X, (times, 1)), np.tile(y, times))
        model = DaskMoERegressor(**COMMON, client=client).fit(*lazy)
        found.append(model.history_["communication"])
    # Of two experts and one gate: likelihood, loads, gradient of the gate, products of
    # four channels, and of these with y, and squares.
    numbers = 1 + 2 + 2 * 4 + 10 * (1 + 2) + 2 * 4 + 2
    for own in found:
        assert own["workers"] == own["tasks"] == 2
        assert own["sent"][0] == 0
        assert set(own["received"][1:-1]) == {2 * 8 * numbers}
        assert len(own["seconds"]) == len(own["sent"]) == len(own["received"])
        # A row of doubles, y and weight among them, is moved at most once.
        assert 0 <= own["recut"] <= 5 * 8 * 3 * N_ROWS
    assert abs(found[0]["sent"][1] - found[1]["sent"][1]) < 100


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MoERegressor, MoEClassifier])
def test_plain_estimators_name_those_of_dask(rows, kind):
    lazy_X, lazy_y = cut(CUTS[0], rows[0], rows[1])
    model = kind(**COMMON)
    with pytest.raises(ValueError, match="DaskMoERegressor or DaskMoEClassifier"):
        model.fit(lazy_X, lazy_y)
    model.fit(rows[0], rows[2] if kind is MoEClassifier else rows[1])
    with pytest.raises(ValueError, match="Dask collection"):
        model.predict(lazy_X)


def test_plain_estimators_refuse_data_frames(rows):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frames = dd.from_pandas(pd.DataFrame(rows[0]), npartitions=2)
    with pytest.raises(ValueError, match="DaskMoERegressor"):
        MoERegressor().fit(frames, rows[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gate": "mlp"}, "gate='mlp'; use gate='softmax'"),
        ({"experts": "mlp"}, "use LinearExpert"),
        ({"router": HashRouter()}, "router=Hash"),
        ({"n_members": 2}, "n_members=2"),
        ({"warm_start": True}, "warm_start=True"),
    ],
)
def test_other_parts_are_refused_by_name(client, rows, changes, words):
    model = DaskMoERegressor(**{**COMMON, **changes}, client=client)
    with pytest.raises(ValueError, match=f"got Dask collections with .*{words}"):
        model.fit(*cut(CUTS[0], *rows[:2]))


def test_rows_in_memory_are_refused(client, rows):
    X, y = cut(CUTS[0], *rows[:2])
    model = DaskMoERegressor(client=client)
    with pytest.raises(ValueError, match="got X as ndarray, but .*MoERegressor"):
        model.fit(rows[0], rows[1])
    with pytest.raises(ValueError, match="got y as ndarray"):
        model.fit(X, rows[1])
    with pytest.raises(ValueError, match="got sample_weight as ndarray"):
        model.fit(X, y, rows[3])
    with pytest.raises(ValueError, match="y is None"):
        model.fit(X, None)


def test_rows_that_do_not_belong_together(client, rows):
    X, y, _, _ = rows
    model = DaskMoERegressor(**COMMON, client=client)
    (lazy_X,), (lazy_y,) = cut(CUTS[0], X), cut((600, 599), y[:-1])
    with pytest.raises(ValueError, match="'X': 4, 'y': 2"):
        model.fit(lazy_X, lazy_y)
    (lazy_y,) = cut((300, 300, 300, 299), y[:-1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(lazy_X, lazy_y)


def test_a_failed_fit_leaves_the_model(client, rows):
    X, y, _, _ = rows
    model = DaskMoERegressor(**COMMON, client=client).fit(*cut(CUTS[0], X, y))
    before = numbers_of(model)
    broken = X.copy()
    broken[700, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in column 'x1'"):
        model.fit(*cut(CUTS[0], broken, y))
    with pytest.raises(ValueError, match="no rows of positive weight"):
        model.fit(*cut(CUTS[0], X, y, np.zeros(N_ROWS)))
    np.testing.assert_array_equal(numbers_of(model), before)


def test_partitions_of_other_columns(client, rows):
    X, y, _, _ = rows
    parts = [da.from_array(X[:600], chunks=300), da.from_array(X[600:, :2], chunks=300)]
    blocks = [own.to_delayed().ravel()[0] for own in parts]
    mixed = da.concatenate([da.from_delayed(own, (300, 3), float) for own in blocks])
    model = DaskMoERegressor(**COMMON, client=client)
    with pytest.raises(ValueError, match="same columns"):
        model.fit(mixed, da.from_array(y[:600], chunks=300))


def test_without_a_client(rows, monkeypatch):
    def none():
        raise ValueError("No global client found and no address provided")

    monkeypatch.setattr(distributed, "get_client", none)
    with pytest.raises(ValueError, match="got client=None.*distributed.Client"):
        DaskMoERegressor(**COMMON).fit(*cut(CUTS[0], *rows[:2]))


def test_without_dask(rows, monkeypatch):
    lazy = cut(CUTS[0], *rows[:2])
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install skmoe\[dask\]"):
        DaskMoERegressor(**COMMON).fit(*lazy)


# -- workers that die ------------------------------------------------------------------


def kill(workers):
    """End a worker process by a signal that it cannot hear."""
    os.kill(next(iter(workers.values())).pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def processes():
    """A cluster of two processes, and its client."""
    with (
        # They come to the scheduler when they have imported what they need.
        cluster(processes=True, preload=["skmoe.distributed"]) as own,
        distributed.Client(own, set_as_default=False) as client,
    ):
        client.run(limit_samples, N_SAMPLED)
        yield own, client


def test_processes_refit_experts_of_other_libraries(processes, client, rows):
    X, y, _, _ = rows
    lazy = cut(CUTS[1], X, y)
    trees = DecisionTreeRegressor(max_depth=3, random_state=0)
    asked = {**COMMON, "experts": trees, "trainer": EM(tol=0.1)}
    found = DaskMoERegressor(**asked, placement="shard", client=processes[1])
    expected = DaskMoERegressor(**asked, client=client).fit(*lazy)
    np.testing.assert_allclose(found.fit(*lazy).predict(X), expected.predict(X))
    lazily = processes[1].compute(found.predict(lazy[0])).result()
    np.testing.assert_array_equal(lazily, found.to_local().predict(X))


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_changes_nothing(processes, rows, monkeypatch):
    X, y, _, _ = rows
    lazy = cut((500, 0, 300, 400), X, y)
    asked = {**COMMON, "experts": LinearExpert(alpha=1.0), "trainer": EM(tol=1e-3)}
    ask, calls = _engine.Workers.submit, []

    def asked_and_killed(self, function, *arguments):
        found = ask(self, function, *arguments)
        calls.append(function)
        # In the second of the passes over all rows.
        if calls.count(_tasks.sums_over) == 4 and function is _tasks.sums_over:
            kill(processes[0].workers)
        return found

    monkeypatch.setattr(_engine.Workers, "submit", asked_and_killed)
    model = DaskMoERegressor(**asked, client=processes[1]).fit(*lazy)
    assert calls.count(_tasks.sums_over) > 4
    assert_same(model, MoERegressor(**asked).fit(RowSource.from_arrays(X, y)))
