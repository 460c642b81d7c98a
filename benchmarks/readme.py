"""The figures and outputs of the README, from where they come.

    python benchmarks/readme.py [--write] [--first]

Without ``--write`` it says what differs.  The table is made of the results in
``benchmarks/results``, the output of the code by running it; with ``--first`` also what
the first command prints, in ``docs/install.md``, which takes a minute and whose costs
are those of the machine.
"""

import argparse
import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
TREES = "HistGradientBoosting"
EBM = "EBM"
# So many times the loss of boosted trees is a failure.
FAILED = 10
NAMES = {
    TREES: "boosted trees",
    "skmoe additive, n_experts=1": "one additive model",
    "skmoe additive": "additive mixture of 4 experts",
    "skmoe additive, n_members=5": "five of them averaged (`n_members=5`)",
    EBM: "explainable boosting (EBM), with pairs, on other folds",
}


def over_trees(results, model):
    """Loss and cost of a model over those of boosted trees, a row per table."""
    rows = results[results.model.isin([model, TREES])]
    # The same folds of both, where one of them was run on fewer.
    both = rows.pivot_table(
        index=["task", "table", "fold"], columns="model", values=["loss", "fit_seconds"]
    ).dropna()
    means = both.groupby(["task", "table"]).mean()
    return pd.DataFrame(
        {
            what: means[what][model] / means[what][TREES]
            for what in ("loss", "fit_seconds")
        }
    )


def losses(ratios):
    """Geometric means of both tasks, in words where a table was a failure."""
    for task in ("regression", "classification"):
        logs = np.log(ratios[task])
        mean = f"{np.exp(logs.mean()):.2f}"
        failed = logs > np.log(FAILED)
        if failed.any():
            rest = np.exp(logs[~failed].mean())
            mean += f" ({rest:.2f} without {', '.join(logs.index[failed])})"
        yield mean


def cost(ratios):
    """Geometric mean of the costs."""
    mean = np.exp(np.log(ratios).mean())
    return f"{mean:.1f}" if mean < 2 else f"{mean:.0f}"


def table():
    """The lines of the README's table of results."""
    lines = [
        "| | RMSE | log-loss | better on | cost of a fit |",
        "|---|---|---|---|---|",
        f"| {NAMES[TREES]} | 1 | 1 | | 1 |",
    ]
    own = pd.read_parquet(RESULTS / "additive.parquet")
    others = pd.read_parquet(RESULTS / "tables.parquet")
    for model in list(NAMES)[1:]:
        ratios = over_trees(others if model == EBM else own, model)
        better = f"{(ratios['loss'] < 1).sum()} of {len(ratios)}"
        cells = [*losses(ratios["loss"]), better, cost(ratios["fit_seconds"])]
        lines.append(f"| {NAMES[model]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def named(text):
    """Ratios that the text names ("airfoil .80"), beside those of five averaged."""
    own = pd.read_parquet(RESULTS / "additive.parquet")
    ratios = over_trees(own, "skmoe additive, n_members=5")["loss"].droplevel("task")
    said = re.findall(r"(\w+) (1?\.\d\d)\b", text)
    return [
        (name, float(value), ratios[name]) for name, value in said if name in ratios
    ]


def output(code):
    """What a block of Python prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    return printed.getvalue().rstrip()


def first_command():
    """What ``examples/quickstart.py`` prints."""
    script = ROOT / "examples" / "quickstart.py"
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return run.stdout.strip()


def readme(text):
    """The README with its table and its output as they are now."""
    text = re.sub(r"\| \| RMSE.*?\n\n", lambda _: f"{table()}\n\n", text, flags=re.S)
    code = re.search(r"```python\n(.*?)```\n", text, flags=re.S)
    block = f"```text\n{output(code[1])}\n```"
    return text[: code.end()] + re.sub(
        r"```text\n.*?```", lambda _: block, text[code.end() :], count=1, flags=re.S
    )


def install(text):
    """The page of the first command with what that prints."""
    block = f"```text\n{first_command()}\n```"
    return re.sub(r"```text\n.*?```", lambda _: block, text, count=1, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--first", action="store_true")
    asked = parser.parse_args()
    pages = {"README.md": readme}
    if asked.first:
        pages["docs/install.md"] = install
    for name, made in pages.items():
        path = ROOT / name
        text = path.read_text()
        new = made(text)
        print(f"{name}: {'as it should be' if new == text else 'differs'}")
        if asked.write:
            path.write_text(new)


if __name__ == "__main__":
    main()
