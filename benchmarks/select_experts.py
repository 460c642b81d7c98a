"""Does the search find the number of experts, and what does its warm path save?

    python benchmarks/select_experts.py [--seeds 20] [--rows 1500]

Data: two to six linear regimes under a softmax gate, noise of half the standard
deviation of a slope.  Sizes one to eight are searched by BIC, ICL and five folds (best,
and one-standard-error rule).  Seconds are those of five folds: the same search with
fits that start from earlier ones, and with fits that start anew.
"""

import argparse
import os
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.progress import track

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.model_selection import MoERegressorCV

TRUE_SIZES = (2, 3, 4, 5, 6)
LARGEST = 8


def search(X, y, **options):
    """A fitted search and its seconds."""
    start = time.perf_counter()
    model = MoERegressorCV(MoERegressor(random_state=0), n_experts=LARGEST, **options)
    return model.fit(X, y), time.perf_counter() - start


def size_of(found, index):
    """Number of experts of a candidate that kept their rows."""
    return round(found.cv_results_["n_experts_left"][index])


def choices(X, y):
    """Numbers of experts by each rule, and the seconds of the cold and warm search."""
    by_bic, _ = search(X, y, criterion="bic")
    warm, seconds = search(X, y)
    cold, cold_seconds = search(X, y, warm_start_path=False)
    best = int(np.argmin(warm.cv_results_["rank_test_score"]))
    chosen = {
        "BIC": size_of(by_bic, by_bic.best_index_),
        "ICL": size_of(by_bic, int(np.argmin(by_bic.cv_results_["icl"]))),
        "folds, best": size_of(warm, best),
        "folds, one error": warm.n_experts_,
        "folds, one error, cold": cold.n_experts_,
    }
    return chosen, cold_seconds / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1500)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    X, y = make_gated_regression(300, random_state=0)
    search(X, y)
    rows, ratios = {}, {}
    for true in TRUE_SIZES:
        for seed in track(range(arguments.seeds), description=f"{true} experts"):
            X, y = make_gated_regression(
                arguments.rows, n_experts=true, random_state=seed
            )
            chosen, ratio = choices(X, y)
            ratios.setdefault(true, []).append(ratio)
            for rule, size in chosen.items():
                rows.setdefault(rule, {}).setdefault(true, []).append(size)
    print("| found on | " + " | ".join(map(str, TRUE_SIZES)) + " experts |")
    print("|---" * (len(TRUE_SIZES) + 1) + "|")
    for rule, by_size in rows.items():
        shares = [np.mean(np.array(by_size[true]) == true) for true in TRUE_SIZES]
        print(f"| {rule} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    middle = [np.exp(np.mean(np.log(ratios[true]))) for true in TRUE_SIZES]
    print("| cold / warm | " + " | ".join(f"{ratio:.1f}" for ratio in middle) + " |")


if __name__ == "__main__":
    main()
