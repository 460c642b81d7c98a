"""Does the bootstrap test of one more expert hold its level, and what does it find?

    python benchmarks/bootstrap_level.py [--sets 200] [--draws 39] [--folder FOLDER]

Data sets of 200 rows and one column are generated, and ``bootstrap_test`` asks for one
more expert at 5 %.

- level: linear regimes as many as are fitted, one or two, under a constant gate, and
  two under a softmax gate; a test that holds its level rejects 5 % of the sets.
- power: one regime is fitted where two are true, at a distance at which BIC finds two
  in most sets, and at one at which it finds them in some.

Sets that are done are kept in the folder, and a run that was stopped goes on.  Shares
of rejections have 95 % intervals by Clopper and Pearson.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.exceptions import ConvergenceWarning

from skmoe import MoERegressor
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import bootstrap_test

LEVEL = 0.05
# Regimes of the data and of the fit, half the distance of the regimes, and the gate.
DESIGNS = {
    "1 against 2, one is true": (1, 1, 0.0, "constant"),
    "2 against 3, two are true": (2, 2, 0.5, "constant"),
    "2 against 3, two are true, softmax gate": (2, 2, 0.5, "softmax"),
    "1 against 2, two are far apart": (2, 1, 0.33, "constant"),
    "1 against 2, two are near": (2, 1, 0.25, "constant"),
}


def drawn(rng, n_regimes, distance, gate):
    """Rows of regimes whose levels and slopes are opposite, at a noise of 0.5."""
    X = rng.normal(size=(200, 1))
    slope = 2.0 * X[:, 0] if gate == "softmax" else np.zeros(len(X))
    second = rng.random(len(X)) < 1 / (1 + np.exp(-slope))
    sign = np.where(second & (n_regimes > 1), -distance, distance)
    y = sign * (1 + X[:, 0]) + 0.5 * rng.normal(size=len(X))
    return X, y


def one(design, seed, n_boot):
    """P-value of a data set, whether BIC finds one more expert, and CPU seconds."""
    n_regimes, n_experts, distance, gate = DESIGNS[design]
    X, y = drawn(np.random.default_rng(seed), n_regimes, distance, gate)
    model = MoERegressor(
        LinearExpert(alpha=0),
        n_experts,
        gate=SoftmaxGate(alpha=0) if gate == "softmax" else gate,
        random_state=0,
    )
    begun = time.process_time()
    found = bootstrap_test(model.fit(X, y), X, y, n_boot=n_boot, random_state=seed)
    more = found.alternative.bic(X, y) < model.bic(X, y)
    return found.p_value, bool(more), time.process_time() - begun


def told(design, done):
    """One line of the table of a design."""
    p, more, seconds = map(np.array, zip(*done, strict=True))
    hits = int((p <= LEVEL + 1e-9).sum())
    low, high = stats.binomtest(hits, len(p)).proportion_ci()
    return (
        f"| {design} | {len(p)} | {100 * hits / len(p):.1f} | {100 * low:.1f} to "
        f"{100 * high:.1f} | {100 * more.mean():.1f} | {seconds.mean():.1f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--draws", type=int, default=39)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results"))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    path = asked.folder / f"bootstrap_level_{asked.draws}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.simplefilter("ignore", ExpertCollapseWarning)
    print("| | sets | rejected, % | 95 % interval | BIC takes one more, % | seconds |")
    print("|---|---|---|---|---|---|")
    for design in DESIGNS:
        done = known.setdefault(design, [])
        for seed in range(len(done), asked.sets):
            done.append(one(design, seed, asked.draws))
            path.write_text(json.dumps(known))
        print(told(design, done[: asked.sets]), flush=True)


if __name__ == "__main__":
    main()
