"""Columns of ``cv_results_``."""

import numpy as np


def candidates(sizes, grid):
    """Columns of ``cv_results_`` that say what was tried."""
    params = [{"n_experts": size, **own} for size in sizes for own in grid]
    names = dict.fromkeys(name for own in params for name in own)
    columns = {
        f"param_{name}": np.array([own.get(name) for own in params], dtype=object)
        for name in names
    }
    return {"params": params, **columns}


def ranked(scores, counts, left):
    """Columns of ``cv_results_`` that say what came of each candidate."""
    ranks = np.empty(len(scores), dtype=int)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return {
        "mean_test_score": scores,
        "n_parameters": counts,
        "n_experts_left": left,
        "rank_test_score": ranks,
    }
