"""Minutes until a newcomer sees something: install, import, first fit, first picture.

    python benchmarks/first_success.py [--repeats 3]

Makes a fresh environment, installs the package of this tree into it with what pip has
at hand, and measures there, in seconds of processor time and of the clock: the
installation; ``import skmoe`` beside ``import sklearn.ensemble``, each in a process of
its own; the first fit of linear experts and of the README's mixture, which compile
kernels, and the same in the next process, which reads them; the first picture.  What
needs no compilation is repeated, and the least counts.  Prints the table of
``docs/measurements.md``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
FIT = """
import numpy as np, pandas as pd
from skmoe import MoERegressor
rng = np.random.default_rng(0)
X = pd.DataFrame(
    {"hour": rng.integers(0, 24, 600), "day": rng.choice(["work", "free"], 600)}
)
peak = np.where(X["day"] == "work", np.exp(-((X["hour"] - 8) ** 2) / 4), 0.3)
y = 100 * peak + rng.normal(size=600)
begun = __import__("time").process_time()
model = MoERegressor(EXPERTS).fit(X if EXPERTS else X[["hour"]], y)
print(__import__("time").process_time() - begun)
"""
PICTURE = """
import matplotlib
matplotlib.use("Agg")
from skmoe.inspection import CurveDisplay
CurveDisplay.from_estimator(model, X).figure_.savefig("first.png")
"""
LINEAR = FIT.replace("MoERegressor(EXPERTS)", "MoERegressor(n_experts=2)")
LINEAR = LINEAR.replace("X if EXPERTS else ", "")
ADDITIVE = FIT.replace(
    "MoERegressor(EXPERTS)",
    'MoERegressor("additive", gate="additive", n_experts=2, random_state=0)',
).replace('X if EXPERTS else X[["hour"]]', "X")


def measured(command, **options):
    """Seconds of processors and of the clock of a command, and what it prints."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, **options
    )
    clock = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": spent, "clock": clock, "said": done.stdout.strip()}


def least(python, code, repeats, **options):
    """The quickest of several processes."""
    runs = [measured([python, "-c", code], **options) for _ in range(repeats)]
    return min(runs, key=lambda run: run["cpu"])


def steps(folder, repeats):
    """What is measured, by name, in the order in which a newcomer does it."""
    python = str(folder / "venv" / "bin" / "python")
    own = {
        "cwd": folder,
        "env": {
            k: v
            for k, v in os.environ.items()
            if k not in ("PYTHONPATH", "NUMBA_CACHE_DIR")
        },
    }
    venv.create(folder / "venv", with_pip=True)
    install = [python, "-m", "pip", "install", "-q", f"{ROOT}[plot,data]"]
    yield "`pip install`, dependencies and `[plot,data]`", measured(install, **own)
    # Bytecode is written by the first import.
    measured([python, "-c", "import skmoe, sklearn.ensemble"], **own)
    ensemble = least(python, "import sklearn.ensemble", repeats, **own)
    yield "`import sklearn.ensemble`", ensemble
    yield "`import skmoe`", least(python, "import skmoe", repeats, **own)
    for name, code in (("linear", LINEAR), ("additive", ADDITIVE)):
        first = measured([python, "-c", code], **own)
        yield f"first fit, {name} experts, compiling", first
        yield (
            f"the same in the next process, {name}",
            least(python, code, repeats, **own),
        )
    yield (
        "first picture, its fit included",
        measured([python, "-c", ADDITIVE + PICTURE], **own),
    )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="file to keep the figures in")
    options = parser.parse_args()
    print("| step | processor s | clock s | of which `fit`, processor s |")
    print("|---|---|---|---|")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, run in steps(Path(folder), options.repeats):
            found[name] = run
            fit = f"{float(run['said']):.1f}" if run["said"] else ""
            print(f"| {name} | {run['cpu']:.1f} | {run['clock']:.1f} | {fit} |")
            sys.stdout.flush()
    if options.json:
        Path(options.json).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
