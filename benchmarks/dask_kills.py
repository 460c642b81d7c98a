"""Workers killed at random moments of a fit and its predictions: bits, seconds, passes.

    OMP_NUM_THREADS=1 python benchmarks/dask_kills.py [--kills 50] [--rows 40000]
        [--columns 10] [--folder FOLDER] [--seconds 840] [--quick]

Two worker processes, and samples of 5000 rows, so that small data take passes over all
rows.  Each trial fits a mixture to 16 uneven partitions, one of them
empty, and predicts them, while a worker is ended by SIGKILL at a random moment of the
time that this usually takes; another is started for it.  Every fifth trial is left in
peace, so that the usual time is one of the same minutes.  Trials are written to
``FOLDER/kills.json`` line by line, and those that are there are not made again.  It
ends early when its time is over.  A trial that does not come to its end within two
minutes, or ten times the usual time, counts as a hang.
"""

import argparse
import json
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
from dask_scale import N_EXPERTS, cluster, kill_at, lazy, numbers_of, regimes

from skmoe.distributed import DaskMoERegressor

LONGEST, IN_PEACE, N_SAMPLED = 120.0, 5, 5000
# Run by each worker, those that are started for others as well.
PRELOAD = f"""
import skmoe.distributed
from skmoe._estimators import first_pass

first_pass.LEAST_SAMPLE = first_pass.LARGEST_SAMPLE = {N_SAMPLED}
"""


class HangError(Exception):
    """A trial has not come to its end."""


def hangs(number, frame):
    """What the alarm does."""
    raise HangError


def trial(model, rows):
    """Seconds, seconds of each pass, and all numbers of a fit and its predictions."""
    begun = time.perf_counter()
    model.fit(*rows)
    mean = model.predict(rows[0]).compute()
    seconds = time.perf_counter() - begun
    told = model.history_["communication"]["seconds"]
    return seconds, told, np.concatenate([numbers_of(model), mean])


def disturbed(model, rows, workers, usual, delay, number, expected):
    """The record of a trial in which a worker is killed, None for no delay."""
    n_workers, thread = len(workers), None
    signal.alarm(int(max(LONGEST, 10 * usual)))
    try:
        if delay is not None:
            thread = kill_at(workers, delay, number)
        seconds, told, found = trial(model, rows)
    except HangError:
        return {"trial": number, "delay": delay, "hang": True}
    finally:
        signal.alarm(0)
        if thread is not None:
            thread.join()
    model.client.wait_for_workers(n_workers)
    return {
        "trial": number,
        "delay": delay,
        "hang": False,
        "seconds": seconds,
        "usual": usual,
        "passes": len(told),
        "longest": max(told),
        "median": float(np.median(told)),
        "equal": bool(np.array_equal(found, expected)),
    }


def told(records):
    """Lines about what became of the trials."""
    peace = [own for own in records if own["delay"] is None]
    killed = [own for own in records if own["delay"] is not None]
    hung = [own for own in killed if own["hang"]]
    done = [own for own in killed if not own["hang"]]
    yield f"{len(killed)} kills, {len(hung)} hangs"
    if not done:
        return
    equal = sum(own["equal"] for own in done)
    yield f"{equal} of {len(done)} with the same bits"
    rest = np.median([own["seconds"] for own in peace]) if peace else np.nan
    # The trial in peace that came before each: the machine may be busier later.
    extra = np.array([own["seconds"] - own["usual"] for own in done])
    low, middle, high = np.percentile(extra, [10, 50, 90])
    yield (
        f"{rest:.1f} s in peace; killed {middle:.1f} s more in the median, "
        f"{low:.1f} to {high:.1f} s for eight of ten, {extra.max():.1f} s at most"
    )
    usual = {own["passes"] for own in peace}
    more = sum(own["passes"] not in usual for own in done)
    slow = np.median([own["longest"] for own in done])
    yield f"passes: {sorted(usual)} in peace, others in {more} of the killed trials"
    first = np.median([own["longest"] for own in peace]) if peace else np.nan
    yield f"longest pass in the median: {first:.1f} s in peace, {slow:.1f} s killed"


def main():
    """Make the trials that are not there yet, and tell of all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seconds", type=float, default=840)
    parser.add_argument("--quick", action="store_true", help="three kills")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    path, n_kills = folder / "kills.json", 3 if asked.quick else asked.kills
    records = [json.loads(own) for own in path.open()] if path.exists() else []
    ends = time.monotonic() + asked.seconds
    import dask
    from distributed import Client

    # A cluster gives up a worker that is not there 15 s after it died: on busy machines
    # it is still starting, or has been killed again.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    preload = folder / "samples.py"
    preload.write_text(PRELOAD)
    exec(PRELOAD, {})
    signal.signal(signal.SIGALRM, hangs)
    rows = lazy(*regimes(asked.rows, asked.columns), 16)
    with cluster(2, preload) as own, Client(own) as client:
        model = DaskMoERegressor(n_experts=N_EXPERTS, random_state=0, client=client)
        trial(model, rows)
        usual, _, expected = trial(model, rows)
        while sum(own["delay"] is not None for own in records) < n_kills:
            if time.monotonic() > ends:
                break
            number = len(records)
            rng = np.random.default_rng(number)
            delay = None if number % IN_PEACE == 0 else rng.uniform(0, usual)
            given = model, rows, own.workers, usual, delay, number, expected
            records.append(disturbed(*given))
            if delay is None and not records[-1]["hang"]:
                usual = records[-1]["seconds"]
            with path.open("a") as file:
                print(json.dumps(records[-1]), file=file)
    print(f"{asked.rows} rows, {asked.columns} columns; trials in {path}")
    print("\n".join(told(records)))


if __name__ == "__main__":
    main()
