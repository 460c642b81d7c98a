"""The benchmark harness: what it remembers, and what it reports."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FOLDER = Path(__file__).parent.parent / "benchmarks"
if not FOLDER.exists():
    pytest.skip("not a source tree", allow_module_level=True)


@pytest.fixture(autouse=True)
def _on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def results(factor=0.9, n_tables=6):
    """Losses of three models; ours is better by a factor than stacking."""
    rng = np.random.default_rng(0)
    rows = []
    for table in range(n_tables):
        for fold in range(5):
            loss = (1 + table) * (1 + 0.1 * rng.random())
            for model, times in (
                ("stacking", 1.0),
                ("skmoe two-stage", factor),
                ("ridge / logistic", 1.5),
            ):
                rows.append(
                    {
                        "table": f"t{table}",
                        "task": "regression",
                        "fold": fold,
                        "model": model,
                        "loss": times * loss,
                        "fit_seconds": 1.0,
                        "predict_seconds": 0.1,
                        "error": None,
                    }
                )
    return pd.DataFrame(rows)


def test_report_names_ratios_ranks_and_pairs():
    from tables_report import pair, ranks, relative, report

    losses = results()
    shown = relative(losses)
    np.testing.assert_allclose(shown["skmoe two-stage"], 0.9)
    np.testing.assert_allclose(shown["stacking"], 1.0)
    order, p_value, critical = ranks(shown)
    assert order.to_dict() == {
        "skmoe two-stage": 1.0,
        "stacking": 2.0,
        "ridge / logistic": 3.0,
    }
    # Demsar (2006): q = 2.343 for three models.
    assert critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 6)), rel=1e-3)
    assert p_value < 0.01
    found = pair(losses, "skmoe two-stage", "stacking")
    assert found["geometric mean"] == "0.9000"
    assert found["better on"] == "6 of 6"
    assert "skmoe two-stage / stacking" in report(losses)


def test_rounding_breaks_no_ties_between_models():
    from tables_report import ranks

    means = pd.DataFrame({"a": [0.3, 0.1, 2.0], "b": [0.1 + 0.2, 0.1, 2.0]})
    assert means.loc[0, "a"] != means.loc[0, "b"]
    assert ranks(means)[0].to_dict() == {"a": 1.5, "b": 1.5}


def test_report_names_what_failed():
    from tables_report import report

    losses = results()
    broken = losses.iloc[[0]].assign(model="other", loss=np.nan, error="ValueError()")
    text = report(pd.concat([losses, broken]))
    assert "other failed on t0: ValueError()" in text


def test_documented_tables_are_those_stored():
    from tables_report import report

    documented = (FOLDER.parent / "docs" / "measurements.md").read_text()
    stored = report(pd.read_parquet(FOLDER / "results" / "tables.parquet"))
    blocks = [b for b in stored.split("\n\n") if b.startswith("|")]
    # Losses, ranks and pairs of two tasks.
    assert len(blocks) == 6
    for block in blocks:
        table = "\n".join(line for line in block.split("\n") if line.startswith("|"))
        assert table in documented


def test_documented_splits_are_those_stored(capsys):
    import published

    documented = (FOLDER.parent / "docs" / "measurements.md").read_text()
    rows = pd.read_parquet(FOLDER / "results" / "published.parquet")
    uci, splits = (rows[rows.protocol == name] for name in ("uci", "splits"))
    published.report_uci(uci)
    lines = capsys.readouterr().out.strip().split("\n")[2:]
    assert len(lines) == 4
    for line in lines:
        table, count, *figures = line.strip("| ").split(" | ")[:8]
        assert f"| {table} | first {count} | {' | '.join(figures)} |" in documented
    published.report_splits(splits)
    lines = capsys.readouterr().out.strip().split("\n")[2:]
    assert len(lines) == 3
    every = documented.split("\n")
    for line in lines:
        table, error, seeds, *_, chosen = line.strip("| ").split(" | ")
        found = [own for own in every if f"| {error} | {seeds} |" in own]
        assert len(found) == 1
        assert found[0].startswith(f"| {table} | ")
        assert found[0].endswith(f" | {chosen} |")


def test_models_without_all_folds_are_not_compared():
    from tables_report import beyond_error, relative

    losses = results()
    first = (losses.table == "t0") & (losses.model == "stacking")
    fewer = losses[~(first & (losses.fold > 1))]
    assert np.isnan(relative(fewer).loc["t0", "stacking"])
    assert len(beyond_error(losses[~first], "skmoe two-stage", "stacking")) == 0


def test_worse_beyond_error():
    from tables_report import beyond_error

    losses = results(factor=1.3)
    assert len(beyond_error(losses, "skmoe two-stage", "stacking")) == 6
    losses = results(factor=1.01)
    assert beyond_error(losses, "skmoe two-stage", "stacking") == []


def test_fits_are_remembered_and_credited():
    from rivals import _memory

    calls = []

    class Counting(Ridge):
        def fit(self, X, y):
            calls.append(len(X))
            return super().fit(X, y)

    _memory.forget()
    X, y = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2))), np.arange(50.0)
    expert = _memory.Remembered(Counting())
    first, seconds = _memory.timed(expert.fit, X, y)
    again, credited = _memory.timed(_memory.Remembered(Counting()).fit, X, y)
    assert calls == [50]
    assert credited > 0.5 * seconds
    np.testing.assert_array_equal(again.predict(X), first.predict(X))
    _memory.Remembered(Counting(alpha=2.0)).fit(X, y)
    _memory.Remembered(Counting()).fit(X[:40], y[:40])
    assert calls == [50, 50, 40]
    # A pool gives members other parameters in the fit to all rows.
    other = _memory.Remembered(Counting()).set_params(alpha=3.0)
    assert other.fit(X, y).estimator_.alpha == 3.0
    assert other.set_params(estimator__alpha=2.0).fit(X, y).estimator_.alpha == 2.0
    assert calls == [50, 50, 40, 50]


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    import tables

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["u", "v"])
        frame["kind"] = pd.Categorical(rng.choice(["p", "q"], 60))
        frame["target"] = frame["u"] + (frame["kind"] == "p")
        frame.to_parquet(tmp_path / f"{name}.parquet")
    out = tmp_path / "results" / "out.parquet"
    out.parent.mkdir()
    command = ["tables.py", "run", "--data", str(tmp_path), "--out", str(out)]
    models = ["--models", "ridge / logistic", "random forest"]
    monkeypatch.setattr(sys, "argv", [*command, *models])
    monkeypatch.setattr(tables, "FOLDS", 2)
    tables.main()
    found = pd.read_parquet(out)
    assert len(found) == 2 * 2 * 2 * 2
    assert "mean rank" in capsys.readouterr().out
    found.iloc[:-1].to_parquet(out)
    monkeypatch.setattr(sys, "argv", [*command, *models, "--seed", "3"])
    with pytest.raises(SystemExit, match="seed=0"):
        tables.main()
    monkeypatch.setattr(sys, "argv", [*command, *models])
    tables.main()
    again = pd.read_parquet(out)
    np.testing.assert_allclose(again.loss, found.loss)
    # Seconds of what was not run again are the same to the bit.
    assert again.fit_seconds[:-1].equals(found.fit_seconds[:-1])
    assert again.fit_seconds.iloc[-1] != found.fit_seconds.iloc[-1]


def test_what_failed_is_run_again(tmp_path):
    from stored import Stored

    stored = Stored(tmp_path / "new" / "out.parquet", ["table", "fold"])
    assert not stored.has("a", 0)
    stored.add([{"table": "a", "fold": 0, "error": "ValueError()"}])
    assert not stored.has("a", 0)
    stored.add([{"table": "a", "fold": 0, "error": None}])
    again = Stored(stored.path, stored.keys)
    assert again.has("a", 0)
    assert not again.has("a", 1)
    assert len(again.rows) == 1


def test_published_splits_go_on_where_they_stopped(tmp_path, monkeypatch, capsys):
    import published

    from skmoe import MoERegressor

    def linear(seed):
        return MoERegressor(n_experts=1, random_state=seed)

    def two(seed):
        return MoERegressor(n_experts=2, random_state=seed)

    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    y = np.abs(X[:, 0]) + 0.1 * rng.normal(size=120)
    pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "y": y}).to_parquet(
        tmp_path / "bends.parquet"
    )
    test = np.array([rng.permutation(120) < 20 for _ in range(3)])
    np.savez(tmp_path / "yacht.npz", X=X, y=y, test=test)
    monkeypatch.setattr(published, "SPLITS", {"bends": (90, 0.05)})
    monkeypatch.setattr(published, "UCI", ("yacht",))
    monkeypatch.setattr(published, "CONFIGURATIONS", {"one": linear, "two": two})
    out = tmp_path / "out.parquet"
    common = ["--data", str(tmp_path), "--out", str(out), "--runs"]
    calls, once = [], published.run

    def counted(*call):
        calls.append(call)
        return once(*call)

    monkeypatch.setattr(published, "run", counted)
    for what, runs in (("splits", "1"), ("splits", "2"), ("uci", "3"), ("report", "1")):
        monkeypatch.setattr(sys, "argv", ["published.py", what, *common, runs])
        published.main()
    assert [call[3] for call in calls] == [0, 1, 0, 1, 2]
    rows = pd.read_parquet(out)
    assert rows.groupby("protocol").size().to_dict() == {"splits": 2, "uci": 3}
    assert set(rows.chosen) == {"two"}
    assert (rows.smse < 0.3).all()
    shown = capsys.readouterr().out.split("| table |")[-2:]
    shown = "".join(shown)
    assert "| bends | 0." in shown
    assert "| yacht | 3 |" in shown


@pytest.mark.filterwarnings("ignore:The standard deviation of")
def test_published_configurations_share_their_experts(monkeypatch):
    import published
    from rivals import _memory

    from skmoe.experts import AutoPool

    monkeypatch.setattr(published, "AutoPool", lambda: AutoPool(include=["linear"]))
    monkeypatch.setattr(published, "selective", lambda *_: Ridge())
    _memory.forget()
    X = np.random.default_rng(0).normal(size=(60, 2))
    for objective in ("prediction", "likelihood"):
        published.pool_and_networks(objective, 0).fit(X, X[:, 0])
        # Five folds and all rows, of two experts.
        assert len(_memory._FITS) == 12
    published.pool_and_networks("prediction", 0).fit(X[:50], X[:50, 0])
    assert len(_memory._FITS) == 24


def test_published_says_what_it_needs(tmp_path, monkeypatch, capsys):
    import published

    for what, needed in (("uci", "needs --data"), ("report", "no results")):
        out = ["--out", str(tmp_path / "none.parquet")]
        monkeypatch.setattr(sys, "argv", ["published.py", what, *out])
        with pytest.raises(SystemExit):
            published.main()
        assert needed in capsys.readouterr().err


def test_defaults_are_measured_by_the_rule(tmp_path):
    import defaults

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=100), "kind": rng.choice(["x", "y"], 100)}
    )
    frame["target"] = frame.a + rng.normal(size=100)
    frame.to_parquet(tmp_path / "small.parquet")
    names = [name for name in defaults.all_models() if "additive" not in name]
    rows = defaults.run_cell(tmp_path, "small", 60, 0, names)
    assert [row["error"] for row in rows] == [None] * len(names)
    assert defaults.run_cell(tmp_path, "small", 90, 0, names) == []
    found = pd.DataFrame(rows)
    auto, one = (defaults.name_of("linear", size) for size in ("auto", 1))
    found.loc[found.model == auto, "loss"] = (
        1.05 * found.loss[found.model == one].item()
    )
    also = found.assign(model=found.model.str.replace("linear,", "additive,"))
    shown = defaults.report(pd.concat([found, also]).drop_duplicates("model"))
    assert "1.050 small" in shown
    assert "1 of 1" in shown


@pytest.mark.thorough
def test_rows_from_disk_are_measured_beside_memory(tmp_path):
    pytest.importorskip("pyarrow")
    if not Path("/proc/self/status").exists():
        pytest.skip("private memory is read from /proc")
    from rows import WAYS, measure, write

    write(tmp_path, 3000, 3)
    found = {way: measure(way, tmp_path, 3000, None, 100) for way in WAYS}
    for way in ("map", "parquet"):
        assert found[way]["value"] == pytest.approx(found["memory"]["value"], rel=1e-9)
        # The first pass holds so few rows whole, so that none need be read again.
        assert found[way]["passes"] == 1
        assert found[way]["private"] >= 0


def test_partitions_of_the_cluster_hold_all_rows():
    from dask_scale import PARTITIONS, uneven

    for n_parts in PARTITIONS:
        sizes = uneven(1000, n_parts)
        assert (len(sizes), sum(sizes), sizes[1]) == (n_parts, 1000, 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_deep_rivals_have_the_time_of_the_mixture(tmp_path, monkeypatch, capsys):
    import deep_rivals
    import network_experts

    from skmoe.experts import MLPExpert

    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 2))
    for name, y in (("smooth", X[:, 0] ** 2), ("sides", (X[:, 0] > 0).astype(int))):
        frame = pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "y": y})
        frame.to_parquet(tmp_path / f"{name}.parquet")
    limits = []

    def tree(fit, classify, seed, seconds):
        limits.append(seconds)
        kind = DecisionTreeClassifier if classify else DecisionTreeRegressor
        return kind(max_depth=2, random_state=seed)

    def small(classify, seed):
        yield network_experts.mixture(classify, seed, MLPExpert((4,)))

    monkeypatch.setattr(deep_rivals, "settings", small)
    monkeypatch.setattr(deep_rivals, "N_MEMBERS", 1)
    monkeypatch.setattr(deep_rivals, "CLASSES", ("sides",))
    monkeypatch.setattr(deep_rivals, "RIVALS", {"TabM": tree})
    command = ["deep_rivals.py", "run", "--data", str(tmp_path), "--folds", "2"]
    command += ["--tables", "smooth", "sides", "--out", str(tmp_path / "out.parquet")]
    monkeypatch.setattr(sys, "argv", command)
    deep_rivals.main()
    rows = pd.read_parquet(tmp_path / "out.parquet")
    ours = rows[rows.model == "mixture"]
    assert sorted(set(limits) - {None}) == sorted(ours.seconds)
    # Unlimited on the first fold only.
    assert limits.count(None) == 2
    assert len(rows) == 2 * (2 * 2 + 1)
    assert set(ours.what) == {"4, standardised"}
    deep_rivals.main()
    assert len(limits) == 6
    monkeypatch.setattr(sys, "argv", ["deep_rivals.py", "report", *command[-2:]])
    capsys.readouterr()
    deep_rivals.main()
    shown = capsys.readouterr().out
    first = rows[rows.fold == 0].pivot(index="table", columns="model", values="loss")
    ratio = first.loc["sides", "mixture"] / first.loc["sides", "TabM"]
    line = next(own for own in shown.split("\n") if own.startswith("| sides"))
    assert f" | {ratio:.3f} | " in line
    assert "all: mixture / TabM, in its time" in shown


def test_documented_losses_of_the_pool_are_those_stored(monkeypatch, capsys):
    import pool

    monkeypatch.setattr(sys, "argv", ["pool.py"])
    pool.main()
    documented = (FOLDER.parent / "docs" / "measurements.md").read_text()
    blocks = capsys.readouterr().out.split("\n\n")
    tables = [block.strip() for block in blocks if block.strip().startswith("|")]
    assert len(tables) == 3
    assert all(table in documented for table in tables)


def test_documented_deep_rivals_are_those_stored(monkeypatch, capsys):
    import deep_rivals

    documented = (FOLDER.parent / "docs" / "measurements.md").read_text()
    out = str(FOLDER / "results" / "deep_rivals.parquet")
    monkeypatch.setattr(sys, "argv", ["deep_rivals.py", "report", "--out", out])
    deep_rivals.main()
    blocks = [b for b in capsys.readouterr().out.split("\n\n") if b.startswith("|")]
    # Losses, seconds and pairs.
    assert len(blocks) == 3
    for block in blocks:
        table = "\n".join(line for line in block.split("\n") if line.startswith("|"))
        assert table in documented


def test_tabm_stops_in_time_or_by_held_out_rows(monkeypatch):
    pytest.importorskip("tabm")
    from rivals import tab_m

    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(150, 2)), np.ones(150)])
    brief = tab_m.TabMRegressor(seconds=0.01).fit(X, X[:, 0])
    assert brief.n_epochs_ <= 1
    assert brief.predict(X).shape == (150,)
    # Whatever the first epoch brings, no later one is better.
    monkeypatch.setattr(tab_m, "PATIENCE", 2)
    monkeypatch.setattr(tab_m, "RATE", 0.0)
    model = tab_m.TabMClassifier().fit(X, np.where(X[:, 0] > 0, "b", "a"))
    assert model.n_epochs_ == pytest.approx(4)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)


@pytest.mark.thorough
def test_trials_of_sparse_routing_are_relative_to_the_dense_mixture(tmp_path):
    import sparse_trials

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(150, 2)), columns=["a", "b"])
    frame["target"] = np.abs(frame.a) + 0.1 * rng.normal(size=150)
    frame.to_parquet(tmp_path / "bend.parquet")
    found = sparse_trials.losses(tmp_path, "bend", 1)
    assert len(found) == len(sparse_trials.TRIALS)
    # A line leaves nearly all of the spread; every trial finds the bend.
    assert (found < 0.7 * frame.target.std()).all()


# What the harness asks of AutoGluon: shares of classes, or the mean.
STAND_IN = """
import pandas as pd

__version__ = "0.stand-in"


class TabularPredictor:
    def __init__(self, label, problem_type, eval_metric, path, verbosity):
        self.label, self.kind, self.metric = label, problem_type, eval_metric
        self.path = path

    def fit(self, train, presets, time_limit, num_cpus, **_):
        assert (presets, time_limit, num_cpus) == ("best_quality", 5.0, 1)
        right = "root_mean_squared_error" if self.kind == "regression" else "log_loss"
        assert self.metric == right
        self.y = train[self.label]
        return self

    def model_names(self):
        return ["constant"]

    def clone_for_deployment(self, path):
        return path

    def persist(self):
        raise MemoryError

    def predict(self, X):
        assert self.label not in X
        return pd.Series(self.y.mean(), index=X.index, name=self.label)

    def predict_proba(self, X):
        shares = self.y.value_counts(normalize=True).sort_index()
        return pd.DataFrame([shares] * len(X), index=X.index)
"""


@pytest.fixture
def two_tables(tmp_path):
    """A folder with a table of each task."""
    folder = tmp_path / "tables"
    folder.mkdir()
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"u": rng.normal(size=80), "kind": rng.choice(["p", "q"], 80)})
    X["kind"] = X.kind.astype("category")
    X.assign(y=X.u + rng.normal(size=80)).to_parquet(folder / "line.parquet")
    labels = pd.Categorical(np.where(X.u > 0.3, "yes", "no"))
    X.assign(y=labels).to_parquet(folder / "sides.parquet")
    return folder


def test_a_rival_of_another_environment_answers_by_files(
    two_tables, tmp_path, monkeypatch, capsys
):
    import tables_autogluon

    package = tmp_path / "autogluon" / "tabular"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "out.parquet"
    command = ["tables_autogluon.py", "run", "--out", str(out)]
    options = ["--data", str(two_tables), "--seconds", "5"]
    monkeypatch.setattr(sys, "argv", [*command, *options])
    tables_autogluon.main()
    found = pd.read_parquet(out)
    assert found.error.isna().all(), found.error.tolist()
    own = found[found.model == "AutoGluon, 5 s"].set_index("table")
    assert set(own.version) == {"0.stand-in"}
    assert (own[["peak_mb", "wall_seconds", "one_row_seconds"]] > 0).all(axis=None)
    # Losses of constants: a standard deviation, and an entropy.
    assert own.loss["line"] == pytest.approx(np.sqrt(2), rel=0.4)
    assert own.loss["sides"] == pytest.approx(0.66, abs=0.05)
    monkeypatch.setattr(tables_autogluon, "run_fold", None)
    tables_autogluon.main()
    trees = found[found.model == "HistGradientBoosting"]
    trees.to_parquet(tmp_path / "beside.parquet")
    beside = ["--beside", str(tmp_path / "beside.parquet")]
    ours = ["--ours", "HistGradientBoosting"]
    command[1] = "report"
    monkeypatch.setattr(sys, "argv", [*command, *beside, *ours])
    capsys.readouterr()
    tables_autogluon.main()
    shown = capsys.readouterr().out
    ratio = own.loss["line"] / trees.set_index("table").loss["line"]
    assert f"| line | {ratio:.3g} |" in shown
    monkeypatch.setattr(sys, "argv", [*command, *beside, "--seed", "4"])
    with pytest.raises(SystemExit):
        tables_autogluon.main()
    assert "no results of seed=4" in capsys.readouterr().err


def test_an_interpreter_without_the_rival_is_refused(tmp_path, monkeypatch):
    from tables_autogluon import version_of

    monkeypatch.setenv("PYTHONPATH", "")
    nowhere = str(tmp_path / "python")
    for python in (nowhere, "/bin/false", str(FOLDER)):
        with pytest.raises(SystemExit, match="install .*autogluon.tabular.* there"):
            version_of(python)


def test_frontier_compares_days_of_other_speeds_by_the_baseline(tmp_path):
    pytest.importorskip("matplotlib")
    import frontier

    losses = results()
    names = {"stacking": frontier.BASELINE, "ridge / logistic": "other"}
    losses["model"] = losses.model.replace(names)
    slow = losses.assign(fit_seconds=3.0)
    slow.loc[slow.model == "other", "fit_seconds"] = 30.0
    part = losses[(losses.table != "t0") & (losses.model == "other")]
    part = part.assign(model="not everywhere")
    shown, left, speed = frontier.points([slow, pd.concat([losses, part])])
    assert speed == pytest.approx(1.0)
    np.testing.assert_allclose(shown.seconds["other"], 10.0)
    np.testing.assert_allclose(shown.loss["other"], 1.5)
    np.testing.assert_allclose(shown.loss["skmoe two-stage"], 0.9)
    assert left == ["not everywhere (5 of 6 tables)"]
    part.to_parquet(tmp_path / "part.parquet")
    with pytest.raises(SystemExit, match="expected results of HistGradientBoosting"):
        frontier.read(tmp_path / "part.parquet")


def test_frontier_is_drawn_without_labels_on_labels(tmp_path):
    pytest.importorskip("matplotlib")
    import frontier

    rng = np.random.default_rng(0)
    shown = pd.DataFrame(
        {
            "seconds": np.sort(10.0 ** rng.uniform(-1, 1, 14)),
            "loss": np.exp(rng.uniform(-0.4, 0.2, 14)),
            "ours": np.arange(14) % 2 == 0,
        },
        index=[f"{frontier.OURS if i % 2 == 0 else ''}model {i}" for i in range(14)],
    )
    best = frontier.envelope(shown)
    assert best.ours.all()
    assert best.loss.is_monotonic_decreasing
    assert best.loss.min() == shown.loss[shown.ours].min()
    figure = frontier.draw(shown, 3, 1.0)
    figure.savefig(tmp_path / "picture.png")
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    found = [own.get_window_extent(renderer) for own in axes.texts]
    assert len(found) == 14
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])


def test_students_stand_beside_the_pool_and_alone(two_tables, monkeypatch):
    import students
    from sklearn.dummy import DummyRegressor

    known = {"mean": lambda classify: DummyRegressor(), "none": lambda classify: "none"}
    monkeypatch.setattr(students, "STUDENTS", known)
    asked = SimpleNamespace(data=two_tables, seed=0, max_rows=60, pool=[Ridge()])
    frame = pd.read_parquet(two_tables / "line.parquet").drop(columns="kind")
    frame.to_parquet(two_tables / "line.parquet")
    rows = pd.DataFrame(students.run_table(asked, "line", [*known]))
    assert rows.model.tolist() == ["pool", "mean", "mean, no teacher", "none"]
    assert rows.error.isna().tolist() == [True, True, True, False]
    shown = students.report(rows.assign(chosen=[None, "short", None, None]))
    assert "mean chose 1 x short" in shown
    assert "none failed on line: " in shown
    loss = rows.set_index("model").loss
    assert f"| mean | {loss['mean'] / loss['pool']:.3f} | line" in shown
    ratios = pd.DataFrame({"loss": [1.01, 1.03, 0.9], "fit_seconds": 1.0})
    costs = pd.DataFrame({"one row": [0.005, 0.005, 0.02], "1000 rows": 0.001})
    met = students.beside(ratios.join(costs).set_axis(["a", "b", "c"]))
    assert (met["goal, one row"], met["goal, 1000 rows"]) == ("1 of 3", "2 of 3")


def test_intervals_have_one_price_for_width_and_misses():
    from intervals import interval_scores, pool_fold, pool_report

    y = np.array([0.0, 1.0, 2.0, 9.0, 4.0, 5.0])
    ends = np.column_stack([np.arange(6.0) - 1, np.arange(6.0) + 1])
    found = interval_scores(ends, y)
    assert found["covers"] == pytest.approx(100 * 5 / 6)
    assert [found[own] for own in ("low", "middle", "high")] == [100, 50, 100]
    # Five above, at two over a tenth each.
    assert found["price"] == pytest.approx(2 + 20 * 5 / 6)
    X = pd.DataFrame({"u": np.linspace(0, 1, 60), "kind": ["p", "q"] * 30})
    rows, target = np.arange(60), X.u.to_numpy()
    given = X, target, rows[:40], rows[40:]
    trees = pool_fold("t", "boosted quantiles", None, *given)
    wide = {**trees, "model": "wide", "width": 2 * trees["width"]}
    assert "2.00" in pool_report(pd.DataFrame([trees, wide]))
    assert "nonsense" in pool_fold("t", "other", "nonsense", *given)["error"]
