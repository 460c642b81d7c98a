"""What an epoch of training by gradient costs, by number of experts and precision.

    OMP_NUM_THREADS=1 python benchmarks/speed_epochs.py [--rows 12000] [--repeats 3]

Each row has one of K experts (``TopKRouter(1, training="sparse")``), batches of 128; or
all of them, where single precision is compared with double.  CPU seconds per epoch,
what is done once left out: the difference of fits of two and of eight epochs, the best
of the repeats of each.
"""

import argparse
import time
import warnings

import numpy as np

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.routers import TopKRouter
from skmoe.trainers import Gradient

SHORT, LONG = 2, 8
EXPERTS = {
    "linear": LinearExpert(),
    "16 hidden": MLPExpert((16,)),
}
WIDE = [(4, (64,), 128), (8, (256,), 512), (8, (128, 128), 512)]


def seconds(X, y, repeats, expert, n_experts, router, batch_size):
    """CPU seconds of an epoch."""
    best = {}
    for epochs in (SHORT, LONG):
        trainer = Gradient(
            start="random",
            early_stopping=False,
            max_epochs=epochs,
            batch_size=batch_size,
        )
        model = MoERegressor(
            expert, n_experts, router=router, trainer=trainer, random_state=0
        )
        taken = []
        for _ in range(repeats):
            begun = time.process_time()
            model.fit(X, y)
            taken.append(time.process_time() - begun)
        best[epochs] = min(taken)
    return (best[LONG] - best[SHORT]) / (LONG - SHORT)


def main():
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y = make_gated_regression(arguments.rows, 10, 4, random_state=0)
    print("| experts | K = 8 | 64 | 512 | 512 / 8 |\n|---|---|---|---|---|")
    router = TopKRouter(1, training="sparse")
    for name, expert in EXPERTS.items():
        found = [
            seconds(X, y, arguments.repeats, expert, n_experts, router, 128)
            for n_experts in (8, 64, 512)
        ]
        cells = " | ".join(f"{own:.3f}" for own in found)
        print(f"| {name} | {cells} | {found[2] / found[0]:.1f} |", flush=True)
    print("\n| K | hidden | batch | double | single | ratio |\n" + "|---" * 6 + "|")
    for n_experts, hidden, batch in WIDE:
        pair = [
            seconds(
                X.astype(kind),
                y,
                arguments.repeats,
                MLPExpert(hidden),
                n_experts,
                None,
                batch,
            )
            for kind in (np.float64, np.float32)
        ]
        shown = " × ".join(map(str, hidden))
        cells = f"{pair[0]:.3f} | {pair[1]:.3f} | {pair[0] / pair[1]:.2f}"
        print(f"| {n_experts} | {shown} | {batch} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
