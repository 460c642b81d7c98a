"""Speed of the fused EM beside the same iteration in vectorised NumPy.

Both sides do one E-step, the same gate statistics (exact Newton where the library
uses it, diagonal blocks elsewhere), one ``X.T @ (w * X)`` per weight column, and the
same solves; the NumPy side may use both cores through BLAS, ours through threads over
row chunks.
Ratios are medians over alternating stretches of a few iterations, as a fit runs them;
the share of the machine's own matrix-product peak is printed beside them.

    python benchmarks/speed_em.py grid|threads|rows|convergence|startup|predict|regimes
"""

import argparse
import functools
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import Ridge

from skmoe import MoERegressor
from skmoe._numerics.design import make_design, read_only
from skmoe._numerics.linalg import Penalty, use_exact_newton
from skmoe._numerics.tree import flat
from skmoe.datasets import make_gated_regression, make_regimes
from skmoe.engines import single_threaded_blas
from skmoe.gates import SoftmaxGate
from skmoe.trainers import EM
from skmoe.trainers._em.fused import LinearGaussianMixture
from skmoe.trainers._em.loop import Plain, Squarem, run_em

GRID = [(p, n_experts) for p in (5, 10, 30, 100) for n_experts in (2, 5, 32)]
CORES = os.cpu_count()
# Passes of plain EM beyond which data count as slowly converging.
SLOW_PASSES = 150


def problem(X, y, n_experts, n_jobs):
    """A fused problem and random parameters."""
    weight = read_only(np.ones(len(y)))
    design = make_design(X, weight)
    target = read_only(((y - y.mean()) / y.std())[:, None])
    mixture = LinearGaussianMixture(
        design,
        design,
        target,
        weight,
        tree=flat(n_experts),
        gate_penalty=Penalty(0.1),
        expert_penalty=Penalty(1.0),
        floor=1e-6,
        n_jobs=n_jobs,
    )
    rng = np.random.default_rng(0)
    q = X.shape[1] + 1
    theta = mixture.pack(
        rng.normal(size=(n_experts, q)) * 0.3,
        rng.normal(size=(n_experts, q)) * 0.3,
        np.zeros((n_experts, 1)),
    )
    return mixture, theta


def numpy_statistics(Z, y, theta, mixture):
    """One E-step and its statistics, vectorised over rows."""
    W, B, log_variance = mixture.unpack(theta)
    logits = Z @ W.T
    joint = logits - 0.5 * (y[:, None] - Z @ B.T) ** 2 / np.exp(log_variance.T)
    joint -= 0.5 * log_variance.T
    log_gate = logsumexp(logits, axis=1, keepdims=True)
    log_row = logsumexp(joint, axis=1, keepdims=True)
    g, r = np.exp(logits - log_gate), np.exp(joint - log_row)
    columns = list(r.T)
    if use_exact_newton(*W.shape):
        pairs = zip(*np.triu_indices(len(W), 1), strict=True)
        columns += [g[:, k] * g[:, j] for k, j in pairs]
    else:
        columns += [p * (1 - p) for p in g.T]
    grams = [Z.T @ (c[:, None] * Z) for c in columns]
    return (log_row - log_gate).sum(), (r - g).T @ Z, (r * y[:, None]).T @ Z, grams


def gemm_peak():
    """Best rate of a large matrix product on all cores, in GFLOP/s."""
    a = np.random.default_rng(0).normal(size=(1500, 1500))
    times = [_timed(lambda: a @ a) for _ in range(6)]
    return 2 * 1500**3 / min(times) / 1e9


def _timed(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _stretch(function, n=3):
    """Seconds per call of a few calls in a row, after one that warms the caches."""
    function()
    return _timed(lambda: [function() for _ in range(n)]) / n


def compare(n_rows, p, n_experts, repeats=5):
    """Median ratio of NumPy to fused, fused milliseconds and GFLOP/s."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, p)), rng.normal(size=n_rows)
    mixture, theta = problem(X, y, n_experts, n_jobs=CORES)
    Z = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(n_rows)])
    target = mixture.target[:, 0]

    def fused():
        return mixture.maximise(theta, mixture.evaluate(theta)[1])

    statistics = mixture.evaluate(theta)[1]

    def plain():
        mixture.maximise(theta, statistics)
        return numpy_statistics(Z, target, theta, mixture)

    pairs = []
    for _ in range(repeats):
        with single_threaded_blas():
            ours = _stretch(fused)
        pairs.append((ours, _stretch(plain)))
    expected = plain()[0]
    assert abs(statistics.total[0] - expected) < 1e-8 * abs(expected)
    columns = statistics.gate_gram.shape[1] + statistics.expert_gram.shape[1]
    q = p + 1
    operations = n_rows * (q * (q + 1) * columns + 8 * q * n_experts)
    ours = np.median([a for a, _ in pairs])
    ratio = np.median([b / a for a, b in pairs])
    return ratio, 1e3 * ours, operations / ours / 1e9


def grid(n_rows=200_000):
    """Ratio over columns and experts."""
    peak = gemm_peak()
    print(f"n = {n_rows}, {CORES} cores, matrix-product peak {peak:.0f} GFLOP/s\n")
    print("| p | K | NumPy / fused | fused ms | share of peak |")
    print("|---|---|---|---|---|")
    for p, n_experts in GRID:
        rows = n_rows if p * n_experts <= 1000 else n_rows // 4
        ratio, ms, rate = compare(rows, p, n_experts, repeats=3)
        note = "" if rows == n_rows else f" (n = {rows})"
        print(
            f"| {p} | {n_experts} | {ratio:.1f} | {ms:.1f}{note} "
            f"| {100 * rate / peak:.0f} % |",
            flush=True,
        )


def threads():
    """Scaling with threads at n = 200 000, p = 10, K = 5."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200_000, 10)), rng.normal(size=200_000)
    print("| threads | milliseconds | speed-up |\n|---|---|---|")
    base = None
    for n_jobs in range(1, CORES + 1):
        mixture, theta = problem(X, y, 5, n_jobs)
        with single_threaded_blas():
            mixture.evaluate(theta)
            run = functools.partial(mixture.evaluate, theta)
            times = [_timed(run) for _ in range(9)]
        seconds = np.median(times)
        base = base or seconds
        print(f"| {n_jobs} | {1e3 * seconds:.1f} | {base / seconds:.2f} |")


def rows():
    """Time per row and memory above X up to ten million rows; one process each."""
    print("| rows | ns per row and iteration | memory above X / (n x K doubles) |")
    print("|---|---|---|")
    for n_rows in (10_000, 100_000, 1_000_000, 10_000_000):
        command = [sys.executable, __file__, "one", "--rows", str(n_rows)]
        subprocess.run(command, check=True)


def _resident_kib():
    """Memory in use now, from the second field of statm (pages)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def one(n_rows, p=10, n_experts=5):
    """Fit once and report: the process's peak less what it used before the fit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, p))
    y = np.abs(X[:, 0]) + X[:, 1]
    y += 0.1 * rng.normal(size=n_rows)
    small = MoERegressor(n_experts=n_experts, trainer=EM(max_iter=2), n_jobs=CORES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Enough rows that compiled code, threads and their buffers are all there.
        small.fit(rng.normal(size=(20_000, p)), rng.normal(size=20_000))
        before = _resident_kib()
        trainer = EM(max_iter=10, tol=0)
        model = MoERegressor(n_experts=n_experts, trainer=trainer, n_jobs=CORES)
        seconds = _timed(lambda: model.fit(X, y))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = (after - before) * 1024 / (n_rows * n_experts * 8)
    per_row = seconds / model.n_iter_ / n_rows * 1e9
    print(f"| {n_rows} | {per_row:.0f} | {memory:.2f} |", flush=True)


def convergence():
    """Time to within 1e-3 nats per row of the optimum: twelve overlapping experts."""
    print(
        "| rows | seed | plain: passes | SQUAREM: passes | plain / SQUAREM, seconds |"
    )
    print("|---|---|---|---|---|")
    cases = [(20_000, s) for s in range(6)] + [(200_000, s) for s in range(4)]
    ratios, slow = [], []
    for n_rows, seed in cases:
        X, y = make_gated_regression(
            n_rows, 5, 12, sharpness=0.5, noise=4.0, random_state=seed
        )
        mixture, _ = problem(X, y, 12, CORES)
        rng = np.random.default_rng(seed)
        theta = mixture.start(rng.dirichlet(np.ones(12), size=len(y)))
        with single_threaded_blas():
            runs = [_stamped(mixture, theta, a) for a in (Plain(), Squarem())]
        target = min(bounds[-1] for bounds, _ in runs) - 1e-3
        passes = [int(np.argmax(bounds >= target)) for bounds, _ in runs]
        plain, fast = (s[i] for (_, s), i in zip(runs, passes, strict=True))
        ratios.append(plain / fast)
        slow.append(passes[0] > SLOW_PASSES)
        print(
            f"| {n_rows} | {seed} | {passes[0] + 1} | {passes[1] + 1} "
            f"| {plain / fast:.1f} |",
            flush=True,
        )
    logs, slow = np.log(ratios), np.array(slow)
    print(f"\ngeometric mean {np.exp(logs.mean()):.1f}; where plain EM takes more than")
    print(f"{SLOW_PASSES} passes ({slow.sum()} runs) {np.exp(logs[slow].mean()):.1f}")


def _stamped(mixture, theta, accelerator):
    """Objective after each iteration, and the seconds since the start."""
    stamps, started = [], time.perf_counter()

    def stamp(iteration, run):
        stamps.append(time.perf_counter() - started)

    run = run_em(
        mixture, theta, accelerator, max_iter=4000, tol=1e-8, on_iteration=stamp
    )
    return np.array(run.bounds), np.array(stamps)


def startup():
    """First fit of a fresh process, once compiled, less the second."""
    code = (
        "import time, numpy as np; from skmoe import MoERegressor\n"
        "X = np.random.default_rng(0).normal(size=(500, 5)); y = abs(X[:, 0])\n"
        "t = []\n"
        "for _ in range(2):\n"
        "    s = time.perf_counter(); MoERegressor(n_experts=2).fit(X, y)\n"
        "    t.append(time.perf_counter() - s)\n"
        "print(t[0] - t[1])"
    )
    extra = []
    for _ in range(6):
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=True,
        )
        extra.append(float(result.stdout))
    print(f"first fit less second, cached: {np.median(extra[1:]):.2f} s (median of 5)")


def predict():
    """One-row predict beside scikit-learn's Ridge."""
    X, y = make_gated_regression(1000, 5, 4, random_state=0)
    model, ridge = MoERegressor(n_experts=4).fit(X, y), Ridge().fit(X, y)
    row = X[:1]
    for fitted in (model, ridge):
        fitted.predict(row)
    pairs = [
        (
            _timed(lambda: [model.predict(row) for _ in range(200)]),
            _timed(lambda: [ridge.predict(row) for _ in range(200)]),
        )
        for _ in range(7)
    ]
    ratio = np.median([a / b for a, b in pairs])
    micros = np.median([a for a, _ in pairs]) / 200 * 1e6
    print(f"one row: {micros:.0f} us, {ratio:.2f} x Ridge")


def regimes():
    """Two regimes: error beside an oracle that knows each training row's regime."""
    print("| seed | mixture | oracle | mixture / oracle | fit seconds |")
    print("|---|---|---|---|---|")
    ratios = []
    for seed in range(10):
        X, y, truth = make_regimes(
            11_000, 2, noise=0.5, random_state=seed, return_truth=True
        )
        Xt, yt, Xv, yv = X[:1000], y[:1000], X[1000:], y[1000:]
        model = MoERegressor(n_experts=2, gate=SoftmaxGate(alpha=1e-3))
        seconds = _timed(lambda m=model, X=Xt, y=yt: m.fit(X, y))
        # The oracle: the true regime of every training row, the same gate and experts.
        known = np.eye(2)[truth["regime"][:1000]]
        gate = SoftmaxGate(alpha=1e-3).fit(Xt, known)
        experts = [Ridge(alpha=1.0).fit(Xt, yt, sample_weight=k) for k in known.T]
        weights = np.exp(gate.predict_log_proba(Xv))
        oracle = np.sum(weights * np.column_stack([e.predict(Xv) for e in experts]), 1)
        error, best = (
            np.sqrt(np.mean((p - yv) ** 2)) for p in (model.predict(Xv), oracle)
        )
        ratios.append(error / best)
        print(
            f"| {seed} | {error:.3f} | {best:.3f} | {ratios[-1]:.3f} | {seconds:.3f} |"
        )
    print(f"\nmean ratio {np.mean(ratios):.3f}")


def main():
    """Run the part asked for."""
    parts = {
        f.__name__: f
        for f in (grid, threads, rows, convergence, startup, predict, regimes)
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*parts, "one"])
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.part == "one":
        one(arguments.rows)
    else:
        parts[arguments.part]()


if __name__ == "__main__":
    main()
