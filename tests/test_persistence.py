"""Models that are kept answer to the bit as before, in any way of keeping them."""

import gzip
import io
import json
import os
import pickle
import pickletools
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from kinds import KINDS, QUICK, X, Y, answers, fitted, rows_of, said
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmoe import MoERegressor, _stamp
from skmoe._stamp import VERSIONS
from skmoe.exceptions import OtherVersionWarning
from skmoe.export import offload, slim, trusted_types
from skmoe.inspection import ConvergenceDisplay

of_each_kind = pytest.mark.parametrize("name", KINDS)


def same(found, wanted):
    """Whether two sets of answers are equal to the bit."""
    return joblib.hash(found) == joblib.hash(wanted)


def addresses(part):
    """Names of skmoe in the pickle of a part."""
    arguments = (arg for _, arg, _ in pickletools.genops(pickle.dumps(part)))
    texts = (str(arg) for arg in arguments if isinstance(arg, str))
    return {text.replace(" ", ".") for text in texts if text.startswith("skmoe")}


@of_each_kind
def test_kept_models_answer_to_the_bit(name, tmp_path):
    model, before = fitted(name), said(name)
    assert same(answers(name, pickle.loads(pickle.dumps(model))), before)
    joblib.dump(model, tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    assert same(answers(name, mapped), before)
    small = slim(model)
    assert same(answers(name, small), before)
    assert len(pickle.dumps(small)) <= len(pickle.dumps(model))
    assert same(answers(name, model, ["predict"]), answers(name, small, ["predict"]))


@of_each_kind
def test_pickles_name_public_modules_only(name):
    """So files may move, and what was saved before still loads."""
    found = addresses(fitted(name))
    assert found & {"skmoe", "skmoe.model_selection"}
    private = [own for own in found if any(p.startswith("_") for p in own.split("."))]
    assert not private


@of_each_kind
def test_skops_keeps_models_to_the_bit(name):
    skops = pytest.importorskip("skops.io")
    model = fitted(name)
    data = skops.dumps(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = skops.loads(data, trusted=trusted_types(model))
    assert same(answers(name, kept), said(name))


# Loads everything in a folder in another process, and prints what it says of rows.
ELSEWHERE = """
import json, pickle, sys
from pathlib import Path
import joblib
from kinds import QUICK, answers
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    kept = pickle.loads(path.read_bytes())
    found[path.name] = [joblib.hash(answers(path.name, own, QUICK)) for own in kept]
print(json.dumps(found))
"""


def test_another_process_answers_to_the_bit(tmp_path):
    """Models as they are, and slim ones, which are made in this one."""
    wanted = {}
    for name in KINDS:
        model = fitted(name)
        (tmp_path / name).write_bytes(pickle.dumps([model, slim(model)]))
        wanted[name] = [joblib.hash(answers(name, model, QUICK))] * 2
    run = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    paths = [str(Path(__file__).parent), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    found = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert not found.returncode, found.stderr
    assert json.loads(found.stdout) == wanted


def skops_way(model):
    """The bytes of a model, and what loads them."""
    skops = pytest.importorskip("skops.io")
    trusted = trusted_types(model)
    return skops.dumps(model), lambda data: skops.loads(data, trusted=trusted)


def joblib_way(model):
    """The same by joblib."""
    stream = io.BytesIO()
    joblib.dump(model, stream)
    return stream.getvalue(), lambda data: joblib.load(io.BytesIO(data))


def pickle_way(model):
    """The same by pickle."""
    return pickle.dumps(model), pickle.loads


def slim_way(model):
    """The same of a slim copy."""
    return pickle_way(slim(model))


@pytest.mark.parametrize("way", [pickle_way, joblib_way, skops_way, slim_way])
@pytest.mark.parametrize("package", VERSIONS)
def test_other_versions_are_told_of_in_any_way_of_keeping(way, package, monkeypatch):
    for name in ("linear", "class networks", "pipeline", "search"):
        model = fitted(name)
        monkeypatch.setitem(VERSIONS, package, "0.9")
        data, load = way(model)
        monkeypatch.undo()
        with pytest.warns(OtherVersionWarning, match=f"{package} 0.9") as caught:
            kept = load(data)
        assert len([w for w in caught if w.category is OtherVersionWarning]) == 1
        assert same(answers(name, kept, QUICK), answers(name, model, QUICK))


SAVED = Path(__file__).parent / "saved"


def of_scikit_learn(data):
    """Whether a pickle holds estimators of scikit-learn, which are of its version."""
    texts = (arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str))
    return any(text.startswith("sklearn.") for text in texts)


@pytest.mark.parametrize("folder", sorted(SAVED.glob("*/")), ids=lambda own: own.name)
def test_models_of_each_release_load_or_are_refused(folder):
    contents = json.loads((folder / "answers.json").read_text())
    rows = {k: np.array(own) for k, own in contents["rows"].items() if k != "table"}
    rows["table"] = pd.DataFrame(contents["rows"]["table"])
    others = contents["versions"]["scikit-learn"] != VERSIONS["scikit-learn"]
    older = tuple(map(int, folder.name.split(".")[:2])) < _stamp.OLDEST
    assert contents["models"]
    for name, own in contents["models"].items():
        path = folder / f"{name.replace(' ', '-')}.pickle.gz"
        data = gzip.decompress(path.read_bytes())
        if others and of_scikit_learn(data):
            # scikit-learn promises nothing between versions.
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OtherVersionWarning)
            if older:
                with pytest.raises(ValueError, match="cannot read; load it where"):
                    pickle.loads(data)
                continue
            model = pickle.loads(data)
        table, y = rows.get(name.split()[0], rows[""]), np.array(own.pop("y"))
        for method, wanted in own.items():
            of_target = method in ("log_density", "responsibilities")
            found = getattr(model, method)(*(table, y)[: 1 + of_target])
            if method == "predict" and found.dtype.kind == "U":
                assert list(found) == wanted
                continue
            np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


def test_states_that_are_too_old_are_refused(monkeypatch):
    data = pickle.dumps(fitted("linear"))
    monkeypatch.setattr(_stamp, "OLDEST", (9, 1))
    with pytest.raises(ValueError, match="cannot read; load it where skmoe=="):
        pickle.loads(data)


def test_slim_says_what_it_left_out():
    for name in ("linear", "batch", "networks", "members"):
        small = slim(fitted(name))
        y = rows_of(name)[1]
        for own in (small, pickle.loads(pickle.dumps(small)), slim(small)):
            with pytest.raises(AttributeError, match="slim left out; keep the model"):
                own.history_  # noqa: B018
            with pytest.raises(AttributeError, match="has no history_, which"):
                ConvergenceDisplay.from_estimator(own, plot=False)
            assert not hasattr(own, "expert_pool_")
            own.set_params(warm_start=True)
            with pytest.raises(ValueError, match="cannot go on training, as"):
                own.fit(X, y)
            if name != "members":
                with pytest.raises(ValueError, match="clone this one and fit"):
                    own.partial_fit(X, y)
            assert same(answers(name, own, QUICK), answers(name, small, QUICK))
        again = small.set_params(warm_start=False).fit(X, y)
        assert "history_" in vars(again)
        again.set_params(warm_start=True).fit(X, y)


def test_slim_leaves_nothing_of_training():
    model = fitted("batch networks")
    assert 2 * len(pickle.dumps(slim(model))) < len(pickle.dumps(model))
    held = slim([model, make_pipeline(StandardScaler(), fitted("members"))])
    mixtures = [held[0], held[1][-1], *held[1][-1].members_]
    assert not [own for own in mixtures if "history_" in vars(own)]
    assert not np.shares_memory(held[0].gate_.coef_, model.gate_.coef_)
    assert "n_experts" in model.history_ or model.history_["bound"]


def test_slim_is_of_fitted_mixtures():
    for model in (MoERegressor(), LinearRegression().fit(X, Y)):
        with pytest.raises(ValueError, match="in which there is no fitted mixture"):
            slim(model)


def test_what_might_run_code_is_not_trusted(tmp_path):
    pytest.importorskip("skops.io")
    model = make_pipeline(FunctionTransformer(np.linalg.inv), fitted("linear"))
    with pytest.warns(UserWarning, match=r"numpy.linalg.*inv \(a function or method"):
        assert "skmoe.MoERegressor" in trusted_types(model)
    stored = offload(fitted("linear"), tmp_path / "folder")
    with pytest.warns(UserWarning, match="OffloadedRegressor .opens files"):
        assert not trusted_types(stored)
    joblib.dump(fitted("linear"), tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    with pytest.warns(UserWarning, match="numpy.memmap .opens files; load"):
        trusted_types(mapped)


def test_skops_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ImportError, match=r"skmoe\[skops\]"):
        trusted_types(fitted("linear"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["cloudpickle", "skops"])
def test_mlflow_keeps_mixtures(way, tmp_path):
    pytest.importorskip("skops")
    flavour = pytest.importorskip("mlflow.sklearn", reason="no MLflow here")
    model = fitted("linear")
    given = {"serialization_format": way, "pip_requirements": ["skmoe"]}
    if way == "skops":
        given["skops_trusted_types"] = trusted_types(model)
    flavour.save_model(model, str(tmp_path / "model"), **given)
    kept = flavour.load_model(str(tmp_path / "model"))
    assert same(answers("linear", kept, QUICK), answers("linear", model, QUICK))
