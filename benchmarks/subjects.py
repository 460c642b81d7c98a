"""Subjects that share one expert, beside single rows, and beside flexmix.

    OMP_NUM_THREADS=1 python benchmarks/subjects.py [--quick] [--errors]

Times of an iteration (E-step and M-step), the best of several, with all parts the same
but for groups.  Where R is there with flexmix, both are fitted to convergence from the
same labels, on 2000 subjects of six rows, in CPU time; without it that is left out.
``--errors`` is the CPU time of standard errors beside that of the fit, nothing else.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from skmoe import MoERegressor
from skmoe.engines import single_threaded_blas
from skmoe.experts import LinearExpert
from skmoe.gates import SoftmaxGate
from skmoe.inference import standard_errors
from skmoe.trainers import EM
from skmoe.trainers._em.drivers import FusedDriver

REPEATS = 9
SCRIPT = """
suppressMessages(library(flexmix))
table <- read.csv("{folder}/table.csv")
took <- system.time(fit <- flexmix(y ~ x1 + x2 + x3 | subject, data = table,
  cluster = table$start + 1, concomitant = FLXPmultinom(~w1 + w2),
  control = list(tolerance = 1e-8, iter.max = 1000, minprior = 0)))
cat(took[["user.self"]] + took[["sys.self"]], logLik(fit)[1], fit@iter)
"""


class Caught(Exception):
    """The problem that EM was about to solve."""


def problem_of(model, X, y, groups):
    """The fused problem that a fit would begin with."""

    def fit(driver):
        raise Caught(driver.fused.problem)

    whole, FusedDriver.fit = FusedDriver.fit, fit
    try:
        model.fit(X, y, groups=groups)
    except Caught as caught:
        return caught.args[0]
    finally:
        FusedDriver.fit = whole


def subjects(n_subjects, n_rows, n_columns, n_of_subjects, n_experts):
    """Rows of subjects, whose first columns are constant within subjects."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(n_subjects), n_rows)
    known = rng.normal(size=(n_subjects, n_of_subjects))
    free = rng.normal(size=(len(groups), n_columns - n_of_subjects))
    X = np.hstack([known[groups], free])
    scores = 2 * known @ rng.normal(size=(n_of_subjects, n_experts))
    own = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    slopes = rng.normal(size=(n_experts, n_columns))
    y = np.sum(X * slopes[own[groups]], axis=1) + rng.normal(size=len(groups))
    return X, y, groups, own[groups]


def iteration(problem, resp):
    """Seconds of the fastest iteration."""
    theta, times = problem.start(resp), []
    problem.maximise(theta, problem.evaluate(theta)[1])
    for _ in range(REPEATS):
        begun = time.perf_counter()
        problem.maximise(theta, problem.evaluate(theta)[1])
        times.append(time.perf_counter() - begun)
    return min(times)


def beside_rows(n_subjects, n_rows=10, n_columns=10, n_experts=4):
    """Print times of an iteration, with subjects and without."""
    X, y, groups, own = subjects(n_subjects, n_rows, n_columns, 3, n_experts)
    model = MoERegressor(LinearExpert(), n_experts, gate_features=[0, 1, 2])
    resp = 0.7 * np.eye(n_experts)[own] + 0.3 / n_experts
    print(f"{n_subjects} subjects x {n_rows} rows, {n_columns} columns, K={n_experts}")
    with single_threaded_blas():
        rows = iteration(problem_of(model, X, y, None), resp)
        grouped = iteration(problem_of(model, X, y, groups), resp)
    print(f"  rows {1e3 * rows:.1f} ms, subjects {1e3 * grouped:.1f} ms an iteration")
    print(f"  ratio {grouped / rows:.2f}")


def beside_flexmix(n_subjects=2000, n_rows=6):
    """Print CPU times of fits from the same labels, with flexmix and here."""
    X, y, groups, own = subjects(n_subjects, n_rows, 5, 2, 3)
    start = np.where(np.random.default_rng(1).random(n_subjects)[groups] < 0.3, 0, own)
    model = MoERegressor(
        LinearExpert(alpha=0),
        3,
        gate=SoftmaxGate(alpha=0),
        gate_features=[0, 1],
        expert_features=[2, 3, 4],
        trainer=EM(tol=1e-10),
    )
    times = []
    for _ in range(3):
        begun = time.process_time()
        model.fit(X, y, groups=groups, start=start)
        times.append(time.process_time() - begun)
    print(f"{n_subjects} subjects x {n_rows} rows, K=3, from the same labels")
    print(f"  skmoe {min(times):.3f} s, log-likelihood {model.log_likelihood_:.2f}")
    if shutil.which("Rscript") is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        table = np.column_stack([groups, start, X, y])
        names = "subject,start,w1,w2,x1,x2,x3,y"
        path = Path(folder) / "table.csv"
        np.savetxt(path, table, delimiter=",", header=names, comments="")
        code = SCRIPT.format(folder=folder)
        found = subprocess.run(
            ["Rscript", "-e", code], capture_output=True, text=True, check=False
        )
    if found.returncode:
        print(f"  flexmix did not run: {found.stderr.strip().splitlines()[-1]}")
        return
    seconds, total, n_iter = map(float, found.stdout.split()[-3:])
    print(f"  flexmix {seconds:.3f} s, log-likelihood {total:.2f}, {n_iter:.0f} steps")
    print(f"  ratio {seconds / min(times):.0f}")


def errors_beside_fit(n_subjects, n_rows=10, n_columns=10, n_experts=4):
    """Print CPU times of a fit without penalties, and of its standard errors."""
    X, y, groups, _ = subjects(n_subjects, n_rows, n_columns, 3, n_experts)
    model = MoERegressor(
        LinearExpert(alpha=0),
        n_experts,
        gate=SoftmaxGate(alpha=0),
        gate_features=[0, 1, 2],
        random_state=0,
    )
    print(f"{n_subjects} subjects x {n_rows} rows, {n_columns} columns, K={n_experts}")
    # Kernels are compiled before.
    few = groups < 50
    model.fit(X[few], y[few], groups=groups[few])
    begun = time.process_time()
    model.fit(X, y, groups=groups)
    fitted = time.process_time()
    print(f"  fit {fitted - begun:.2f} s, {model.n_iter_} iterations", flush=True)
    for kind in ("observed", "sandwich"):
        begun_errors = time.process_time()
        found = standard_errors(model, X, y, groups=groups, kind=kind)
        took = time.process_time() - begun_errors
        print(f"  {kind} {took:.2f} s, {len(found.terms)} parameters, ", end="")
        print(f"ratio {took / (fitted - begun):.2f}", flush=True)


def main():
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the subjects")
    parser.add_argument("--errors", action="store_true", help="standard errors only")
    asked = parser.parse_args()
    quick = asked.quick
    warnings.simplefilter("ignore")
    if asked.errors:
        errors_beside_fit(10_000 if quick else 100_000)
        return
    beside_rows(10_000 if quick else 100_000)
    beside_rows(40_000 if quick else 400_000, n_rows=2)
    beside_flexmix(200 if quick else 2000)


if __name__ == "__main__":
    main()
