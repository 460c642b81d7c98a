"""How often intervals of coefficients cover the truth.

    python benchmarks/coverage.py --sets 500 --folder benchmarks/results

Data sets of three designs are generated, a mixture is fitted to each without
penalties, and intervals of 95 % of all coefficients of gate and experts are held
against the truth.

- ``gaussian``: two regimes with unequal variances under a gate that depends on x.
- ``wrong variance``: the same, but errors have a spread that depends on x, so that the
  family is wrong and only sandwich and bootstrap know it.
- ``subjects``: counts, six rows per subject, one regime per subject.

The bootstrap is tried on the first ``--boot-sets`` data sets only.  A fit that is
refused (a gate that separates, say) is counted and left out.
"""

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.trainers import EM

SLOPES = np.array([[0.5, 1.0], [-0.5, -1.0]])
GATE = np.array([0.3, 1.0])
KINDS = ("observed", "sandwich", "bootstrap")


def gaussian(rng, wrong=False):
    """Rows of two regimes; X, y, regimes, groups, family."""
    X = rng.normal(size=(400, 1))
    second = rng.random(400) < 1 / (1 + np.exp(-GATE[0] - GATE[1] * X[:, 0]))
    spread = np.where(second, 0.3, 0.5)
    if wrong:
        spread = spread * np.exp(0.5 * X[:, 0])
    slope = SLOPES[second.astype(int)]
    y = slope[:, 0] * 4 + slope[:, 1] * X[:, 0] + spread * rng.normal(size=400)
    return X, y, second, None, "gaussian"


def subjects(rng):
    """Counts of subjects whose rows share a regime."""
    groups = np.repeat(np.arange(150), 6)
    between = rng.normal(size=150)
    chosen = rng.random(150) < 1 / (1 + np.exp(-GATE[0] - GATE[1] * between))
    X = np.column_stack([between[groups], rng.normal(size=900)])
    slope = SLOPES[chosen[groups].astype(int)]
    y = rng.poisson(np.exp(slope[:, 0] + 0.5 * slope[:, 1] * X[:, 1] + 0.5))
    return X, y, chosen[groups], groups, "poisson"


DESIGNS = {
    "gaussian": gaussian,
    "wrong variance": lambda rng: gaussian(rng, wrong=True),
    "subjects": subjects,
}


def truth(design):
    """True intercepts and slopes of the experts."""
    if design == "subjects":
        return np.column_stack([SLOPES[:, 0] + 0.5, 0.5 * SLOPES[:, 1]])
    return np.column_stack([SLOPES[:, 0] * 4, SLOPES[:, 1]])


def fitted(X, y, second, groups, family):
    """The mixture of a data set, from the true regimes."""
    last = [X.shape[1] - 1]
    model = MoERegressor(
        LinearExpert(alpha=0),
        2,
        gate=SoftmaxGate(alpha=0),
        likelihood=family,
        gate_features=[0],
        expert_features=last,
        trainer=EM(tol=1e-9, max_iter=1000),
    )
    return model.fit(X, y, groups=groups, start=second.astype(int))


def one(design, seed, boot):
    """Whether each interval of one data set covers, by kind; None for a refusal."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y, second, groups, family = DESIGNS[design](np.random.default_rng(seed))
    found = {}
    try:
        model = fitted(X, y, second, groups, family)
        for kind in KINDS[: 3 if boot else 2]:
            errors = standard_errors(
                model, X, y, groups=groups, kind=kind, n_boot=100, random_state=seed
            )
            found[kind] = covers(errors, truth(design))
    except ValueError:
        return None
    return found


def covers(errors, experts):
    """Whether the interval of each coefficient holds the truth."""
    level = {}
    for own, value in zip(errors.terms, errors.estimate, strict=True):
        if own.part == "expert" and own.term == "(intercept)":
            level[own.component] = value
    order = sorted(level, key=level.get, reverse=True)
    result = []
    sign = 1.0 if order[0] == next(iter(level)) else -1.0
    for own, (low, high) in zip(errors.terms, errors.interval(0.95), strict=True):
        place = int(own.term != "(intercept)")
        if own.part == "expert":
            value = experts[order.index(own.component), place]
        elif own.part == "gate":
            value = sign * GATE[place]
        else:
            continue
        result.append(bool(low <= value <= high))
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--boot-sets", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--n-jobs", type=int, default=2)
    asked = parser.parse_args()
    answers = {}
    for design in DESIGNS:
        calls = (
            delayed(one)(design, seed, seed < asked.boot_sets)
            for seed in range(asked.sets)
        )
        found = Parallel(n_jobs=asked.n_jobs)(calls)
        kept = [own for own in found if own is not None]
        line = {"refused": len(found) - len(kept)}
        for kind in KINDS:
            hits = [hit for own in kept for hit in own.get(kind, [])]
            if hits:
                line[kind] = round(float(np.mean(hits)), 4)
        answers[design] = line
        print(design, line, flush=True)
    asked.folder.mkdir(parents=True, exist_ok=True)
    (asked.folder / "coverage.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
