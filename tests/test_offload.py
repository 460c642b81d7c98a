"""Experts on disk answer as those in memory do, and take no more room than is given."""

import os
import pickle
import subprocess
import sys
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._estimators.shown import shown_names
from skmoe.data import RowSource
from skmoe.datasets import make_gated_regression
from skmoe.export import OffloadedClassifier, OffloadedRegressor, offload
from skmoe.gates import GroupGate
from skmoe.routers import BudgetRouter, TopPRouter
from skmoe.trainers import TwoStage

X, Y = make_gated_regression(150, 3, 3, random_state=0)
LABELS = np.array(["low", "mid", "high"])[np.digitize(Y, np.quantile(Y, [0.3, 0.7]))]
FOREIGN = [
    RandomForestRegressor(3, random_state=0),
    make_pipeline(StandardScaler(), Ridge()),
    HistGradientBoostingRegressor(max_iter=5),
    MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0),
    SVR(),
    KNeighborsRegressor(3),
    GaussianProcessRegressor(alpha=0.1),
]
REGRESSORS = {
    "foreign": MoERegressor(FOREIGN, router=2),
    "foreign, dense": MoERegressor(FOREIGN[:2]),
    "two stages": MoERegressor(FOREIGN[:3], trainer="two-stage", router=1),
    "linear": MoERegressor(n_experts=3),
    "linear, top-1": MoERegressor(n_experts=3, router=1),
    "linear, top-p": MoERegressor(n_experts=3, router=TopPRouter(0.8)),
    "additive": MoERegressor("additive", 2, router=1),
    "networks": MoERegressor("mlp", 2, router=1, trainer="gradient"),
    "members": MoERegressor(n_experts=2, n_members=2, router=1),
    "noise": MoERegressor(n_experts=2, noise=True),
    "shared": MoERegressor(n_experts=2, router=1, shared_expert=Ridge()),
    "variances": MoERegressor(n_experts=2, likelihood="heteroscedastic"),
    "frozen": MoERegressor([FrozenEstimator(Ridge().fit(X, Y))] * 2),
    "tree": HierarchicalMoERegressor(router=1),
    "budget": MoERegressor(FOREIGN[:3], router=BudgetRouter(budget=1.3)),
}
CLASSIFIERS = {
    "foreign": [LogisticRegression(), DecisionTreeClassifier(max_depth=3)],
    "linear": None,
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.NoSampleWeightWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
    # Segments of a few rows have many columns, so that an expert takes room.
    "ignore:.* are matched exactly",
)


def segments(n_experts, n_columns=200):
    """A mixture in which column 0 says which expert serves, all of about one size."""
    rng = np.random.default_rng(0)
    segment = np.repeat(np.arange(n_experts), 6)
    table = np.column_stack([segment, rng.normal(size=(len(segment), n_columns))])
    experts = [
        (f"e{k}", FrozenEstimator(KNeighborsRegressor(1).fit(table, 0 * segment + k)))
        for k in range(n_experts)
    ]
    model = MoERegressor(experts, gate=GroupGate(0, alpha=0.0), router=1)
    return model.fit(table, segment.astype(float)), table


@pytest.fixture(scope="module")
def served():
    """Six experts by segment, and a row of each."""
    model, table = segments(6)
    return model, table[::6]


def size_of(model, tmp_path):
    """Bytes of one expert on disk."""
    joblib.dump(model.experts_[0], tmp_path / "one")
    return (tmp_path / "one").stat().st_size


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_answer_to_the_bit(name, tmp_path):
    model = clone(REGRESSORS[name]).set_params(random_state=0).fit(X, Y)
    before = joblib.hash(model.predict(X)), list(model.experts_)
    on_disk = pickle.loads(pickle.dumps(offload(model, tmp_path / "m")))
    same = np.testing.assert_array_equal
    same(on_disk.predict(X), model.predict(X))
    same(on_disk.predict(X, return_std=True), model.predict(X, return_std=True))
    same(on_disk.predict(X[:1]), model.predict(X[:1]))
    same(on_disk.log_density(X, Y), model.log_density(X, Y))
    same(on_disk.responsibilities(X, Y), model.responsibilities(X, Y))
    same(on_disk.predict_experts(X), model.predict_experts(X))
    same(on_disk.gate_proba(X), model.gate_proba(X))
    same(on_disk.transform(X), model.transform(X))
    same(on_disk.route(X).indices, model.route(X).indices)
    same(on_disk.predict_quantile(X[:5], [0.2]), model.predict_quantile(X[:5], [0.2]))
    same(on_disk.predict_interval(X[:5]), model.predict_interval(X[:5]))
    same(on_disk.predict_mode(X), model.predict_mode(X))
    draws = [own.sample_y(X[:5], 2, random_state=0) for own in (on_disk, model)]
    same(*draws)
    assert on_disk.score(X, Y) == model.score(X, Y)
    assert list(on_disk.get_feature_names_out()) == list(model.get_feature_names_out())
    assert on_disk.n_experts_ == model.n_experts_
    # The model itself is as it was.
    assert before == (joblib.hash(model.predict(X)), list(model.experts_))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_answer_to_the_bit(name, tmp_path):
    model = MoEClassifier(CLASSIFIERS[name], 2, router=1, random_state=0)
    model.fit(X, LABELS)
    on_disk = offload(model, tmp_path / "m")
    same = np.testing.assert_array_equal
    same(on_disk.predict(X), model.predict(X))
    same(on_disk.predict_proba(X), model.predict_proba(X))
    same(on_disk.predict_log_proba(X), model.predict_log_proba(X))
    same(on_disk.log_density(X, LABELS), model.log_density(X, LABELS))
    same(on_disk.predict_experts(X), model.predict_experts(X))
    same(on_disk.classes_, model.classes_)
    assert is_classifier(on_disk)
    assert not is_regressor(on_disk)
    with pytest.raises(ValueError, match="use OffloadedClassifier"):
        OffloadedRegressor(tmp_path / "m").predict(X)


def test_what_a_mixture_counts_is_the_same(tmp_path):
    model = MoERegressor(n_experts=2, likelihood="poisson", random_state=0)
    counts, offset = np.round(np.abs(Y)), np.full(len(X), 0.5)
    model.fit(X, counts, offset=offset)
    on_disk = offload(model, tmp_path / "m")
    for criterion in ("aic", "bic", "icl"):
        own, other = (
            getattr(m, criterion)(X, counts, offset=offset) for m in (on_disk, model)
        )
        assert own == other
    found = [own.predict(X, offset=offset) for own in (on_disk, model)]
    np.testing.assert_array_equal(*found)
    noisy = MoERegressor(n_experts=1, noise=True, random_state=0).fit(X, Y)
    there = offload(noisy, tmp_path / "noisy")
    found = [own.outlier_proba(X, Y) for own in (there, noisy)]
    np.testing.assert_array_equal(*found)


def test_frames_and_sources_are_read(tmp_path):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = MoERegressor(DecisionTreeRegressor(max_depth=2), 2).fit(frame, Y)
    on_disk = offload(model, tmp_path / "m")
    np.testing.assert_array_equal(on_disk.predict(frame), model.predict(frame))
    assert list(on_disk.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        on_disk.predict(frame.rename(columns={"a": "z"}))
    plain = MoERegressor(n_experts=2, random_state=0).fit(X, Y)
    there = offload(plain, tmp_path / "plain")
    batches = there.predict(RowSource.from_arrays(X, Y))
    np.testing.assert_allclose(np.concatenate(list(batches)), plain.predict(X))


def test_only_experts_of_the_rows_are_loaded(served, tmp_path):
    model, rows = served
    on_disk = offload(model, tmp_path / "m")
    on_disk.gate_proba(rows)
    assert on_disk.statistics_.loads == 0
    np.testing.assert_array_equal(on_disk.predict(rows[[2, 4, 4]]), [2.0, 4.0, 4.0])
    assert on_disk.statistics_[:4] == (2, 2, 0, 2)
    on_disk.predict(rows[[4]])
    assert on_disk.statistics_[:4] == (3, 2, 0, 2)


def test_experts_asked_least_recently_are_let_go(served, tmp_path):
    model, rows = served
    size = size_of(model, tmp_path)
    on_disk = offload(model, tmp_path / "m", budget=3 * size + 100)
    held = on_disk.mixture_.experts_[0].shelf.holds
    for k in (0, 1, 2, 0, 3):
        assert on_disk.predict(rows[[k]]) == k
    assert [k for k in range(6) if held(k)] == [0, 2, 3]
    assert on_disk.statistics_[:4] == (5, 4, 1, 3)
    assert on_disk.statistics_.n_bytes <= on_disk.budget


def test_calls_to_all_experts_ask_those_in_memory_first(served, tmp_path):
    """In their order every call would load every expert."""
    model, rows = served
    on_disk = offload(model, tmp_path / "m", budget=3 * size_of(model, tmp_path) + 100)
    for _ in range(4):
        np.testing.assert_array_equal(on_disk.predict(rows), np.arange(6.0))
    assert on_disk.statistics_.loads == 6 + 3 * 3


@pytest.mark.parametrize("room", [1, 2, 5])
def test_threads_share_the_room(served, tmp_path, room):
    model, rows = served
    size = size_of(model, tmp_path)
    on_disk = offload(model, tmp_path / "m", budget=room * size + 100)
    shelf, most, wrong = on_disk.mixture_.experts_[0].shelf, [], []

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(15):
            own = rng.integers(0, 6, 4)
            wrong.append(not np.array_equal(on_disk.predict(rows[own]), own))
            most.append(shelf.use.n_bytes)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(wrong) == 4 * 15
    assert not any(wrong)
    assert max(most) <= on_disk.budget
    assert shelf.use.loads - shelf.use.drops == shelf.use.n_held <= room


def test_workers_change_nothing(served, tmp_path):
    model, rows = served
    on_disk = offload(model, tmp_path / "m", budget=2 * size_of(model, tmp_path) + 100)
    on_disk.mixture_.n_jobs = 3
    np.testing.assert_array_equal(on_disk.predict(rows), np.arange(6.0))


def test_linear_experts_of_one_pass_are_one_map(tmp_path):
    model = MoERegressor(n_experts=3, router=1, random_state=0).fit(X, Y)
    on_disk = offload(model, tmp_path / "m")
    on_disk.predict(X)
    assert on_disk.statistics_.loads == 0
    stack = on_disk.mixture_.experts_[0].stack
    assert isinstance(stack.base, np.memmap)


def test_arrays_are_maps_and_files_stay_as_they_are(tmp_path):
    network = MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0)
    on_disk = offload(MoERegressor(network, 2).fit(X, Y), tmp_path / "m")
    own = on_disk.mixture_.experts_[0].load()
    assert isinstance(own.coefs_[0], np.memmap)
    own.coefs_[0][:] = np.nan
    on_disk.verify()
    assert np.isfinite(on_disk.predict(X)).all()
    modes = {path.stat().st_mode & 0o222 for path in (tmp_path / "m").iterdir()}
    assert modes == {0}


def test_an_expert_in_two_places_is_one_file(tmp_path):
    model = clone(REGRESSORS["frozen"]).fit(X, Y)
    on_disk = offload(model, tmp_path / "m")
    assert len(list((tmp_path / "m").glob("expert*"))) == 1
    on_disk.predict(X)
    assert on_disk.statistics_.loads == 1
    names = " = ".join(model.named_experts_)
    assert repr(on_disk.mixture_.experts_[1]).startswith(f"StoredExpert({names}, ")


def test_it_is_a_reference(served, tmp_path):
    model, rows = served
    on_disk = offload(model, tmp_path / "m", budget=10**8)
    on_disk.predict(rows)
    text = pickle.dumps(on_disk)
    assert len(text) < 1000
    for other in (pickle.loads(text), clone(on_disk), FrozenEstimator(on_disk)):
        np.testing.assert_array_equal(other.predict(rows), np.arange(6.0))
    assert clone(on_disk).statistics_.loads == 0
    few = clone(on_disk).set_params(budget=size_of(model, tmp_path) + 100)
    few.predict(rows)
    assert few.statistics_.n_held == 1
    few.set_params(budget=None).predict(rows)
    assert few.statistics_.n_held == 6


def test_it_ends_a_pipeline(tmp_path):
    pipe = make_pipeline(StandardScaler(), MoERegressor(n_experts=2)).fit(X, Y)
    expected = pipe.predict(X)
    pipe.steps[-1] = ("there", offload(pipe[-1], tmp_path / "m"))
    np.testing.assert_array_equal(pipe.predict(X), expected)
    assert is_regressor(pipe)
    with pytest.raises(AttributeError, match="has no fit.*FrozenEstimator"):
        pipe.fit(X, Y)


def test_processes_read_at_the_same_time(served, tmp_path):
    model, rows = served
    on_disk = offload(model, tmp_path / "m", budget=2 * size_of(model, tmp_path) + 100)
    joblib.dump((on_disk, rows), tmp_path / "asked")
    code = (
        "import joblib, sys; model, rows = joblib.load(sys.argv[1]);"
        "print(*[own for _ in range(3) for own in model.predict(rows)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "asked")]
    many = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process in many:
        answer = process.communicate(timeout=120)[0].split()
        assert list(map(float, answer)) == 3 * [*range(6)]


def test_unfitted_and_other_models_are_refused(tmp_path):
    with pytest.raises(NotFittedError):
        offload(MoERegressor(), tmp_path / "m")
    with pytest.raises(TypeError, match="offload got a Pipeline.*last step"):
        offload(make_pipeline(MoERegressor()).fit(X, Y), tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_folders_that_hold_files_are_left_alone(served, tmp_path):
    model, _ = served
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        offload(model, tmp_path)
    with pytest.raises(FileExistsError, match="holds other files"):
        offload(model, tmp_path / "notes")
    offload(model, tmp_path / "a" / "b")
    with pytest.raises(FileExistsError, match="holds other files"):
        offload(model, tmp_path / "a" / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "notes"]
    assert os.listdir(tmp_path / "a") == ["b"]
    (tmp_path / "empty").mkdir()
    offload(model, tmp_path / "empty").verify()


def test_what_fails_leaves_nothing(served, tmp_path, monkeypatch):
    model, _ = served

    def full(*arguments):
        raise OSError("no space left")

    with pytest.raises(ValueError, match=r"largest expert, 'e\d', has \d+ bytes"):
        offload(model, tmp_path / "m", budget=100)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        offload(MoERegressor(n_experts=1).fit(X, Y), tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("budget", [0, -1, 1.5, True, "1GB"])
def test_budgets_that_are_none_are_refused(served, tmp_path, budget):
    with pytest.raises(ValueError, match="positive number of bytes"):
        offload(served[0], tmp_path / "m", budget)
    with pytest.raises(ValueError, match="positive number of bytes"):
        OffloadedRegressor(tmp_path, budget).predict(X)


def _missing(path):
    path.unlink()


def _shorter(path):
    path.write_bytes(path.read_bytes()[:-7])


def _garbage(path):
    path.write_bytes(b"?" * path.stat().st_size)


DAMAGES = [
    (_missing, FileNotFoundError, "is missing"),
    (_shorter, ValueError, "bytes, but expected"),
    (_garbage, ValueError, "cannot be read|damaged"),
]


@pytest.mark.parametrize(("damage", "kind", "said"), DAMAGES)
@pytest.mark.parametrize("file", ["expert-0002.joblib", "mixture.pickle"])
def test_damaged_files_are_named(served, tmp_path, file, damage, kind, said):
    model, rows = served
    offload(model, tmp_path / "m")
    path = tmp_path / "m" / file
    path.chmod(0o644)
    whole = path.read_bytes()
    damage(path)
    on_disk = OffloadedRegressor(tmp_path / "m")
    with pytest.raises(kind, match=f"{file}.*{said}"):
        on_disk.predict(rows)
    # What failed has taken no room, and comes once it is there.
    path.write_bytes(whole)
    np.testing.assert_array_equal(on_disk.predict(rows), np.arange(6.0))
    use = on_disk.statistics_
    assert use.n_held == 6
    assert use.n_bytes == sum(own.size for own in on_disk._open().shelf.stored)


def test_one_bit_is_found_by_its_check_sum(served, tmp_path):
    on_disk = offload(served[0], tmp_path / "m")
    on_disk.verify()
    path = tmp_path / "m" / "expert-0001.joblib"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="expert-0001.joblib differs"):
        on_disk.verify()


@pytest.mark.parametrize("text", [None, "{", "{}", "[]", '{"format": 99}'])
def test_folders_of_something_else_are_told(tmp_path, text):
    if text is not None:
        (tmp_path / "contents.json").write_text(text)
    kind = FileNotFoundError if text is None else ValueError
    for own in (OffloadedRegressor, OffloadedClassifier):
        with pytest.raises(kind, match=r"contents\.json"):
            own(tmp_path).predict(X)


def test_names_of_corrected_experts_travel(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    y = X[:, 0] + 3.0 * (X[:, 1] > 0)
    trainer = TwoStage(cv=2, local_correction="trees")
    model = MoERegressor([("line", Ridge())], trainer=trainer, random_state=0)
    on_disk = offload(model.fit(X, y), tmp_path / "folder")
    assert "trees" in shown_names(model)[0]
    assert shown_names(on_disk.mixture_) == shown_names(model)
    assert on_disk.statistics_.loads == 0
