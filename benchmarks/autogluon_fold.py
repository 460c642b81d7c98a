"""One fold for AutoGluon, run by the interpreter that has it (tables_autogluon.py).

    PYTHON benchmarks/autogluon_fold.py FOLDER

FOLDER holds train.parquet with the target in the last column, test.parquet without it,
and asked.json: the task, the seconds and the preset.  Left there: predicted.parquet,
one column of predictions or one of probabilities for each class, and found.json.

AutoGluon's clock is here that of the processors.  On an idle machine with one thread
they are the same; on a busy one it is not robbed of time that others computed in.
"""

import os

# Before numerical libraries are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib
import json
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
from spent import cpu_seconds, least_seconds, peak_megabytes

METRICS = {"regression": "root_mean_squared_error", "classification": "log_loss"}
# Loaded before the clock starts, as are the parts of the models beside it.
PARTS = ("lightgbm", "catboost", "xgboost", "torch", "fastai.tabular.all")


def set_clock():
    """Let the time of day go on as this process computes."""
    begun = time.time() - cpu_seconds()
    time.time = lambda: begun + cpu_seconds()


def load_parts():
    """Import what is installed; returns what is not, or does not work."""
    left = []
    for name in PARTS:
        try:
            importlib.import_module(name)
        except Exception as error:  # AutoGluon goes on without it, too.
            left.append(f"{name}: {error!r}"[:200])
    return left


def fitted(train, folder, asked):
    """A predictor that was given so many seconds of one processor."""
    from autogluon.tabular import TabularPredictor

    problem = asked["task"]
    if problem == "classification":
        two = train.iloc[:, -1].nunique() == 2
        problem = "binary" if two else "multiclass"
    predictor = TabularPredictor(
        label=train.columns[-1],
        problem_type=problem,
        eval_metric=METRICS[asked["task"]],
        path=str(folder / "model"),
        verbosity=asked["verbosity"],
    )
    # In this process, whose seconds are counted: workers of ray outlive a fit.
    return predictor.fit(
        train,
        presets=asked["presets"],
        time_limit=asked["seconds"],
        num_cpus=1,
        num_gpus=0,
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
        ds_args={"memory_safe_fits": False, "enable_ray_logging": False},
    )


def megabytes(predictor, folder):
    """Size on disk of what predictions need."""
    path = Path(predictor.clone_for_deployment(str(folder / "deployed")))
    return sum(own.stat().st_size for own in path.rglob("*") if own.is_file()) / 1e6


def main(folder):
    """Fit, predict, and write down what it took."""
    asked = json.loads((folder / "asked.json").read_text())
    train = pd.read_parquet(folder / "train.parquet")
    test = pd.read_parquet(folder / "test.parquet")
    found = {"without": load_parts(), "loaded_mb": peak_megabytes()}
    set_clock()
    begun, wall = cpu_seconds(), time.perf_counter()
    predictor = fitted(train, folder, asked)
    found["fit_seconds"] = cpu_seconds() - begun
    found["wall_seconds"] = time.perf_counter() - wall
    found["peak_mb"] = peak_megabytes()
    found["n_models"] = len(predictor.model_names())
    found["disk_mb"] = megabytes(predictor, folder)
    with suppress(Exception):  # Models stay on disk where memory does not hold them.
        predictor.persist()
    is_classes = asked["task"] == "classification"
    answer = predictor.predict_proba if is_classes else predictor.predict
    begun = cpu_seconds()
    predicted = pd.DataFrame(answer(test))
    found["predict_seconds"] = cpu_seconds() - begun
    predicted.columns = predicted.columns.astype(str)
    predicted.to_parquet(folder / "predicted.parquet", index=False)
    found["one_row_seconds"] = least_seconds(answer, test[:1])
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
