"""Exported graphs beside the mixtures that they come from: one row, and many rows.

    OMP_NUM_THREADS=1 python benchmarks/onnx_speed.py [--rows 100000] [--kinds linear]

Eight experts on 20 columns, two for foreign ones (a forest, a network), dense and with
one expert per row (router=1).  Both sides run on one core and take turns; times are
those of the processor, the best of several, with one row in microseconds and with many
in milliseconds.  "bound" is what routing could reach at best, for foreign experts: the
gate for all rows, and each expert for its own, each a session of its own.  "off" is the
largest difference of predictions, relative to their spread.
"""

import argparse
import time
import warnings

import numpy as np
import onnxruntime
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import MLPExpert
from skmoe.export import to_onnx

N_COLUMNS, N_TRAIN, N_EXPERTS = 20, 4000, 8
KINDS = {
    "linear": {},
    "additive": {"experts": "additive"},
    "additive gate": {"experts": "additive", "gate": "additive"},
    "network": {"experts": MLPExpert((32,), max_iter=20)},
    "Ridge, forest": {
        "experts": [Ridge(), RandomForestRegressor(100, max_depth=10, random_state=0)]
    },
}
ROUTERS = {"dense": None, "top-1": 1}


def session_of(model):
    """A session on one core."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )


def best(calls, repeats, n_loops=1):
    """Best processor time in seconds of each of several calls that take turns."""
    times = [np.inf] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.process_time()
            for _ in range(n_loops):
                call()
            spent = (time.process_time() - start) / n_loops
            times[number] = min(times[number], spent)
    return times


def parts_at_best(model, X, own):
    """Seconds of the gate for all rows, and of each expert for its own rows."""
    gate = session_of(to_onnx(model, own, outputs=["top_expert"]))
    total, top = best([lambda: gate.run(None, {"X": X})], 3)[0], model.route(X)
    for k, name in enumerate(model.named_experts_):
        rows = np.ascontiguousarray(X[top.indices[:, 0] == k])
        alone = MoERegressor(model.experts_[k], n_experts=1).fit(own, own[:, 0])
        # The expert is the one that is there, whatever it was fitted to.
        alone.experts_ = [model.experts_[k]]
        alone.named_experts_ = {name: model.experts_[k]}
        one = session_of(to_onnx(alone, own))
        total += best([lambda one=one, rows=rows: one.run(None, {"X": rows})], 3)[0]
    return total


def measured(name, parameters, router, n_rows):
    """One line of the table."""
    X, y = make_gated_regression(N_TRAIN, N_COLUMNS, N_EXPERTS, random_state=0)
    many = np.random.default_rng(1).normal(size=(n_rows, N_COLUMNS))
    model = MoERegressor(
        **{"n_experts": N_EXPERTS, "random_state": 0, **parameters}, router=router
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    session = session_of(to_onnx(model, X[:200]))
    row = np.ascontiguousarray(X[:1])

    def run(rows):
        return session.run(None, {"X": rows})[0]

    one = best([lambda: run(row), lambda: model.predict(row)], 5, 200)
    calls = best([lambda: run(many), lambda: model.predict(many)], 3)
    expected = model.predict(many[:5000])
    off = np.abs(run(many[:5000]) - expected).max() / expected.std()
    bound = ""
    if router == 1:
        at_best = parts_at_best(model, many, X[:200])
        bound = f"{1e3 * at_best:.0f} ({calls[0] / at_best:.2f})"
    return (
        f"| {name} | {'top-1' if router else 'dense'} | {1e6 * one[0]:.0f} | "
        f"{1e6 * one[1]:.0f} | {one[1] / one[0]:.0f} | {1e3 * calls[0]:.0f} | "
        f"{1e3 * calls[1]:.0f} | {calls[1] / calls[0]:.1f} | {bound} | {off:.0e} |"
    )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    print(
        "| experts | router | row, us | Python | times | rows, ms | Python | times |",
        end="",
    )
    print(" bound, ms (ratio) | off |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in given.kinds:
        for router in ROUTERS.values():
            line = measured(name, KINDS[name], router, given.rows)
            print(line, flush=True)


if __name__ == "__main__":
    main()
