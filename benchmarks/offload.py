"""Experts on disk under a budget, beside the same experts in memory.

    OMP_NUM_THREADS=1 python benchmarks/offload.py [--experts 64] [--megabytes 50]
        [--budget 400] [--kinds forest network] [--folder DIR]

A gate knows the segment of each row, and each segment has one expert (router=1).  Two
kinds of experts, of so many megabytes: forests, which scikit-learn copies from their
file when they are loaded, and networks, whose weights stay maps of it.  Segments are as
popular as Zipf's law says: the share of the r-th is in proportion to 1 / r^s.  Traffic
is either requests, each of 500 rows of one segment, or bulk, calls with 200 000 rows of
all segments; a tenth of these for networks, which take longer.

Each side answers the same calls in a process of its own, in which it is the only model;
the first requests, in which the most popular experts come, do not count.  Throughput is
rows per second of process time on disk over that in memory (which other work on the
machine disturbs less than time itself; reading is from the page cache); memory is
private, the highest beyond that before the calls.
"""

import argparse
import copy
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
from rows import Peak
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.neural_network import MLPRegressor

from skmoe import MoERegressor
from skmoe.export import OffloadedRegressor, offload
from skmoe.gates import GroupGate

MB = 1_000_000
N_COLUMNS, N_TRAIN = 10, 20_000
ROWS_SHARE = {"forest": 1, "network": 10}
# Name: exponent of Zipf's law, rows per call, whether a call is of one segment, calls,
# of which so many are not measured.
TRAFFIC = {
    "requests, s = 1": (1.0, 500, True, 200, 80),
    "requests, s = 1.5": (1.5, 500, True, 200, 80),
    "requests, s = 2": (2.0, 500, True, 200, 80),
    "bulk, s = 1.5": (1.5, 200_000, False, 2, 1),
}


def forest(rng, megabytes):
    """A forest whose file has so many megabytes."""
    X, y = rng.normal(size=(N_TRAIN, N_COLUMNS + 1)), rng.normal(size=N_TRAIN)
    settings = {"max_features": 1, "random_state": 0}
    one = ExtraTreesRegressor(1, **settings).fit(X, y)
    n_trees = max(1, round(megabytes * MB / len(pickle.dumps(one))))
    return ExtraTreesRegressor(n_trees, **settings).fit(X, y)


def network(rng, megabytes):
    """A network of two equal layers with so many megabytes of weights, untrained."""
    X, y = rng.normal(size=(50, N_COLUMNS + 1)), rng.normal(size=50)
    # Adam keeps two more arrays for each, which predictions do not need.
    width = int(np.sqrt(megabytes * MB / 8))
    found = MLPRegressor(hidden_layer_sizes=(width, width), max_iter=1)
    found.fit(X, y)
    del found._optimizer
    return found


def shifted(expert, by):
    """A copy whose predictions are larger by a number, so that segments differ."""
    own = copy.deepcopy(expert)
    if isinstance(own, ExtraTreesRegressor):
        for tree in own.estimators_:
            tree.tree_.value[...] += by
    else:
        own.intercepts_[-1] += by
    return own


def mixture(kind, n_experts, megabytes):
    """A mixture whose gate has learned which expert serves which segment."""
    rng = np.random.default_rng(0)
    expert = {"forest": forest, "network": network}[kind](rng, megabytes)
    experts = [
        (f"segment{k}", FrozenEstimator(shifted(expert, 100.0 * k)))
        for k in range(n_experts)
    ]
    segment = np.repeat(np.arange(n_experts), 2)
    X = np.column_stack([segment, rng.normal(size=(len(segment), N_COLUMNS))])
    gate = GroupGate(0, alpha=0.0)
    return MoERegressor(experts, gate=gate, router=1).fit(X, 100.0 * segment)


def calls(n_experts, exponent, n_rows, alone, n_calls):
    """Rows of each call, by the popularity of segments."""
    rng = np.random.default_rng(1)
    share = np.arange(1, n_experts + 1) ** -exponent
    # Popular segments are not those with the first numbers.
    share = rng.permutation(share / share.sum())
    for _ in range(n_calls):
        segment = rng.choice(n_experts, 1 if alone else n_rows, p=share)
        columns = rng.normal(size=(n_rows, N_COLUMNS))
        yield np.column_stack([np.broadcast_to(segment, n_rows), columns])


def answer(side, folder, name, n_experts, budget, share):
    """Figures of one side under one kind of traffic, in a process of its own."""
    exponent, n_rows, alone, n_calls, n_first = TRAFFIC[name]
    traffic = exponent, n_rows // share, alone
    on_disk = side == "disk"
    if on_disk:
        model = OffloadedRegressor(str(folder / "offloaded"), budget * MB)
        model.mixture_.gate_proba(np.zeros((1, N_COLUMNS + 1)))
    else:
        model = joblib.load(folder / "resident.joblib")
    total, seconds, digest = 0.0, 0.0, 0
    with Peak() as peak:
        for number, X in enumerate(calls(n_experts, *traffic, n_calls)):
            started = time.process_time()
            found = model.predict(X)
            if number >= n_first:
                seconds += time.process_time() - started
                total += len(X)
            digest = joblib.hash((digest, found))
    figures = {"rate": total / seconds, "mb": peak.mb, "digest": digest}
    if on_disk:
        figures |= model.statistics_._asdict()
    return figures


def ask(*arguments):
    """``answer`` in another process."""
    command = [sys.executable, __file__, "--answer", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def run_kind(kind, folder, arguments):
    """Print a line for each kind of traffic."""
    model = mixture(kind, arguments.experts, arguments.megabytes)
    joblib.dump(model, folder / "resident.joblib")
    offload(model, folder / "offloaded", arguments.budget * MB)
    del model
    for name in TRAFFIC:
        sizes = arguments.experts, arguments.budget, ROWS_SHARE[kind]
        memory, disk = (ask(side, folder, name, *sizes) for side in ("memory", "disk"))
        misses = disk["loads"] / disk["asked"]
        print(
            f"| {kind} | {name} | {memory['rate']:.3g} | {disk['rate']:.3g} "
            f"| {disk['rate'] / memory['rate']:.2f} | {misses:.2f} | {disk['mb']:.0f} "
            f"| {'equal' if disk['digest'] == memory['digest'] else 'DIFFER'} |",
            flush=True,
        )


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experts", type=int, default=64)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--budget", type=int, default=400)
    parser.add_argument("--kinds", nargs="*", default=["forest", "network"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--answer", nargs=6)
    arguments = parser.parse_args()
    if arguments.answer:
        side, folder, name, *sizes = arguments.answer
        print(json.dumps(answer(side, Path(folder), name, *map(int, sizes))))
        return
    print(
        "| experts | traffic | rows/s in memory | on disk | ratio | loads per call of "
        "an expert | private MB on disk | answers |\n|---|---|---|---|---|---|---|---|"
    )
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            run_kind(kind, Path(folder), arguments)


if __name__ == "__main__":
    main()
