"""Threads of the engines, and processes that are forked beside them."""

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from skmoe.engines import map_rows, single_threaded_blas
from skmoe.engines._threads import TreeSum, unit_rows
from skmoe.trainers._partitions import kmeans_partition

if not hasattr(os, "fork"):  # pragma: no cover
    pytest.skip("forks are for POSIX", allow_module_level=True)

PRELUDE = """
import multiprocessing, os, signal, sys, threading, time, warnings
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_info
from skmoe import MoERegressor
from skmoe.engines import _threads, single_threaded_blas
from skmoe.experts import MLPExpert
from skmoe.trainers import EM, Gradient

warnings.simplefilter("ignore")
X = np.random.default_rng(0).normal(size=(9000, 2))
y = np.where(X[:, 0] > 0, X[:, 1], -X[:, 1])


def boosting():
    return HistGradientBoostingRegressor(max_iter=2, max_leaf_nodes=4)


def fit():
    models = [
        MoERegressor(n_experts=2, n_jobs=2),
        MoERegressor(boosting(), 2, trainer=EM(max_iter=2)),
        MoERegressor([boosting(), boosting()], trainer="two-stage", n_jobs=2),
        MoERegressor(MLPExpert(), 2, trainer=Gradient(max_epochs=2)),
    ]
    for model in models:
        rows = slice(None if model.experts is None else 200)
        model.fit(X[rows], y[rows]).predict(X[rows])
    return True


def blas():
    return [d["num_threads"] for d in threadpool_info() if d["user_api"] == "blas"]


def child(call, seconds=60):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if call() else 2
        finally:
            os._exit(status)
    end = time.time() + seconds
    while time.time() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise SystemExit("a forked child hangs")

"""


def runs(code):
    """Run a script in a process of its own, with two threads for each library."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "2")}
    # Waiting threads give their core away, or a busy machine takes minutes.
    environment["OMP_WAIT_POLICY"] = "passive"
    script = PRELUDE + textwrap.dedent(code)
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:] + found.stdout[-500:]


def test_forked_children_fit_and_predict():
    runs(
        """
        fit()
        assert child(fit) == 0
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.apply_async(fit).get(60)
        fit()
        """
    )


def test_children_that_are_forked_during_a_fit_have_their_threads():
    runs(
        """
        usual = blas()
        statuses = []

        def usual_again():
            return blas() == usual and _threads._limit.depth == 0

        # From another thread, and from the one that fits.
        with single_threaded_blas():
            assert set(blas()) == {1}
            forks = lambda: statuses.append(child(usual_again))
            thread = threading.Thread(target=forks)
            thread.start()
            thread.join()
            statuses.append(child(usual_again))
        assert statuses == [0, 0] and blas() == usual

        # The context goes on in the child, where its end must do no harm.
        pid = None
        with single_threaded_blas():
            pid = os.fork()
        if pid == 0:
            with single_threaded_blas():
                inside = set(blas()) == {1}
            os._exit(0 if inside and usual_again() else 1)
        assert os.waitpid(pid, 0)[1] == 0 and blas() == usual
        """
    )


def test_a_fork_while_a_lock_is_held_does_not_hang():
    runs(
        """
        def limited():
            with single_threaded_blas():
                return True

        with _threads._limit.lock:
            assert child(limited, seconds=20) == 0
        """
    )


def test_starts_leave_openmp_alone():
    """K-means of a start keeps to its thread, and gives the same groups as ever."""
    points = np.random.default_rng(0).normal(size=(500, 3))
    resp = kmeans_partition(points, np.ones(500), 3)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0)
    with single_threaded_blas():
        np.testing.assert_array_equal(kmeans_partition(points, np.ones(500), 3), resp)
    total = map_rows(
        lambda own, start, stop: own[0].__iadd__(stop - start),
        lambda: (np.zeros(1),),
        9000,
        2,
    )
    assert total[0][0] == 9000


def rows_of(n_rows, n_jobs, seconds=None):
    """The sum of random numbers (n, 3) over rows, and the units that were summed."""
    values, units = np.random.default_rng(0).normal(size=(n_rows, 3)), []

    def accumulate(own, start, stop):
        if seconds is not None:
            # The first units take longest, so that the last ones end first.
            time.sleep(seconds / (1 + start))
        units.append((start, stop))
        own[0][:] += values[start:stop].sum(axis=0)

    (total,) = map_rows(accumulate, lambda: (np.zeros(3),), n_rows, n_jobs)
    np.testing.assert_allclose(total, values.sum(axis=0), atol=1e-8)
    return total, sorted(units)


@pytest.mark.parametrize("n_rows", [1, 4000, 20_000, 70_001])
def test_sums_do_not_depend_on_threads(n_rows):
    alone, units = rows_of(n_rows, None)
    for n_jobs in (2, 5):
        total, same = rows_of(n_rows, n_jobs, seconds=0.01)
        np.testing.assert_array_equal(total, alone)
        assert same == units
    assert units[0][0] == 0
    assert units[-1][1] == n_rows
    assert all(stop % 248 == 0 for _, stop in units[:-1])


def test_units_stay_small_however_many_rows_there_are():
    assert unit_rows(1) == 248
    assert unit_rows(8191) >= 8191
    assert 200_000 // 16 <= unit_rows(200_000) < 200_000 // 16 + 248
    assert unit_rows(10**9) == unit_rows(10**7) == 248 * 256


def test_a_tree_of_sums_holds_few_parts_and_keeps_their_order():
    tree, held = TreeSum(lambda left, right: f"({left}{right})"), []
    for number in range(11):
        tree.add(number, chr(97 + number))
        held.append(len(tree._waiting))
    assert tree.total() == "((((ab)(cd))((ef)(gh)))((ij)k))"
    assert max(held) == 3
    other = TreeSum(lambda left, right: f"({left}{right})")
    for number in np.random.default_rng(0).permutation(11):
        other.add(number, chr(97 + number))
    assert other.total() == tree.total()
