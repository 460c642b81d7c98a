"""Exported graphs on open tables: differences, refusals by name, silent mismatches.

    OMP_NUM_THREADS=1 python benchmarks/onnx_tables.py --data DIR --out FILE.parquet
    python benchmarks/onnx_tables.py --out FILE.parquet --report

DIR holds NAME.parquet with the target in the last column: numbers for a regression,
else classes.  Of each table 1500 random rows train a mixture of two experts for each
kind of experts and each router; the graph is made with 200 of them as a sample, and
compared with the mixture on 3000 others, which neither has seen.  "off" is the largest
difference of predictions (or probabilities) relative to their spread.  A mismatch is
"silent" where the graph was not refused, but is off by more than was promised: 1e-9
for graphs in double precision, 1e-4 where a part is in single precision.  A run that
was stopped goes on where it stopped.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from stored import Stored

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.exceptions import OnnxExportError
from skmoe.experts import AutoPool
from skmoe.export import onnx_inputs, to_onnx
from skmoe.routers import TopPRouter

KEYS = ["table", "kind", "router"]
N_TRAIN, N_TESTED, N_SAMPLE = 1500, 3000, 200
ROUTERS = {"dense": None, "top-1": 1, "top-p": TopPRouter(0.8)}
#: Those of pools, whose fits take longest.
FEW = ("dense", "top-1")
#: What is promised, in units of the spread.
DOUBLE, SINGLE = 1e-9, 1e-4


def trees(classify):
    """Boosted trees beside a forest, which read numbers."""
    settings = {"random_state": 0}
    if classify:
        forest = ExtraTreesClassifier(20, max_depth=8, **settings)
        return [HistGradientBoostingClassifier(max_iter=20, **settings), forest]
    forest = ExtraTreesRegressor(20, max_depth=8, **settings)
    return [HistGradientBoostingRegressor(max_iter=20, **settings), forest]


#: Name: whether it reads numbers, whether it is in double precision, and what makes it.
KINDS = {
    "linear": (True, True, lambda classify: {}),
    "additive": (False, True, lambda c: {"experts": "additive", "gate": "additive"}),
    "piecewise": (True, True, lambda c: {"gate_features": "piecewise-linear"}),
    "trees": (True, False, lambda c: {"experts": trees(c), "trainer": "two-stage"}),
    "hierarchy": (True, True, lambda classify: {"branching": (2, 2)}),
    "pool": (
        False,
        False,
        lambda c: {
            "experts": AutoPool(include=["linear", "boosting"]),
            "trainer": "two-stage",
        },
    ),
}


def read(path, as_numbers):
    """Training rows, others, and their targets."""
    frame = pd.read_parquet(path).dropna(subset=None, how="all")
    frame = frame[frame.iloc[:, -1].notna()]
    frame = frame.sample(min(len(frame), N_TRAIN + N_TESTED), random_state=0)
    y = frame.pop(frame.columns[-1])
    classify = not pd.api.types.is_numeric_dtype(y) or y.nunique() <= 10
    y = y.astype(str).to_numpy() if classify else y.to_numpy(dtype=float)
    X = frame
    if as_numbers:
        X = pd.get_dummies(frame, dtype=float).astype(float)
        X = X.fillna(X.median()).fillna(0.0).to_numpy()
        X = X[:, X.std(axis=0) > 0][:, :60]
    return X[:N_TRAIN], X[N_TRAIN:], y[:N_TRAIN], classify


def mixture(kind, router, classify):
    """The unfitted mixture."""
    parameters = {**KINDS[kind][2](classify), "router": router, "random_state": 0}
    if kind == "hierarchy":
        made = HierarchicalMoEClassifier if classify else HierarchicalMoERegressor
        return made(**parameters)
    if isinstance(parameters.get("experts"), str) or "experts" not in parameters:
        parameters["n_experts"] = 2
    return (MoEClassifier if classify else MoERegressor)(**parameters)


def compared(model, sample, rows, classify):
    """How far a graph is off, relative to the spread; NaN and why if it is refused."""
    output = "proba" if classify else "prediction"
    try:
        graph = to_onnx(model, sample, outputs=[output])
    except OnnxExportError as error:
        return np.nan, str(error)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, onnx_inputs(session, rows))[0]
    expected = model.predict_proba(rows) if classify else model.predict(rows)
    return float(np.abs(found - expected).max() / max(expected.std(), 1e-12)), ""


def one(path, kind, router):
    """One line: a mixture on a table."""
    X, rest, y, classify = read(path, KINDS[kind][0])
    rest = rest if len(rest) else X
    start = time.process_time()
    line = {"table": path.stem, "kind": kind, "router": router, "off": np.nan}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = mixture(kind, ROUTERS[router], classify).fit(X, y)
            off, why = compared(model, X[:N_SAMPLE], rest, classify)
    except (ValueError, RuntimeError) as error:
        return {**line, "why": f"no fit: {error}", "silent": False, "seconds": 0.0}
    promised = DOUBLE if KINDS[kind][1] else SINGLE
    seconds = round(time.process_time() - start, 2)
    silent = bool(off > promised)
    return {**line, "off": off, "why": why, "silent": silent, "seconds": seconds}


def report(found):
    """Print what was found, by kind and router."""
    print("| experts | router | tables | refused | largest off | silent |")
    print("|---|---|---|---|---|---|")
    for (kind, router), own in found.groupby(["kind", "router"], sort=False):
        refused, most = int(own["off"].isna().sum()), own["off"].max()
        print(
            f"| {kind} | {router} | {len(own)} | {refused} | {most:.0e} | "
            f"{int(own['silent'].sum())} |"
        )
    for _, row in found[found["off"].isna() | found["silent"]].iterrows():
        print(row["table"], row["kind"], row["router"], row["off"], row["why"])


def main():
    """Go on with what is not done, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    stored = Stored(given.out, KEYS)
    paths = [] if given.report else sorted(given.data.glob("*.parquet"))
    for kind in given.kinds:
        for path in paths:
            for router in FEW if kind == "pool" else ROUTERS:
                if not stored.has(path.stem, kind, router):
                    stored.add([one(path, kind, router)])
    report(stored.rows)


if __name__ == "__main__":
    main()
