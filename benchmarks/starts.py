"""How often the best known optimum is reached, and what it costs, by scheme of starts.

    python benchmarks/starts.py known  [--cases NAME ...] [--seeds 20] [--schemes ...]
    python benchmarks/starts.py mixtures [--seeds 5] [--schemes ...]
    python benchmarks/starts.py large [--rows 100000]

``known`` fits the known answers of R packages under ``tests/known_answers`` with
``n_init=20``; ``mixtures`` 20 generated overlapping mixtures, whose best known optimum
is the best that any scheme has found; ``large`` splits the CPU time
of a default fit into starts and run.  Results are appended to ``--out``, one JSON line
per fit; fits that stand there are not repeated.
"""

import argparse
import contextlib
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ConstantGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.trainers import EM, _partitions
from skmoe.trainers._em import drivers, starts

FOLDER = Path(__file__).parents[1] / "tests" / "known_answers"
ANSWERS = json.loads((FOLDER / "answers.json").read_text())
PLAIN = LinearExpert(alpha=0)
TREES = {"hme_mcycle": -550.248147741639, "hme_sim": -1070.22177162831}
COVARIANCES = {"EEE": ("full", "shared"), "VVV": ("full", "expert")}
REACHED = 1e-3
MOVES = {
    "reseeded": (_partitions.reseeded,),
    "divided": (_partitions.divided,),
    "drawn": (_partitions.drawn,),
    "kept": _partitions.MOVES,
}


@contextlib.contextmanager
def scheme(name):
    """Starts by a scheme: short runs of fresh starts only, or perturbed restarts.

    ``fresh`` is short runs of n_init starts, a quarter of which is run to the end;
    ``kept`` is what the library does; others use one kind of perturbation only.
    """
    before = starts.FRESH, starts.HOPS, starts.CLASS_HOPS, drivers.REFIT_HOPS
    moves = _partitions.MOVES
    if name.startswith("fresh"):
        starts.FRESH, starts.HOPS, starts.CLASS_HOPS, drivers.REFIT_HOPS = 1, 0, 0, 0
    else:
        _partitions.MOVES = MOVES[name]
    yield 40 if name == "fresh-40" else 20
    starts.FRESH, starts.HOPS, starts.CLASS_HOPS, drivers.REFIT_HOPS = before
    _partitions.MOVES = moves


def known_cases():
    """Reference log-likelihood by case."""
    cases = {
        f"{name}/{variance}": own["loglik"]
        for name, case in ANSWERS.items()
        for variance, own in case.get("references", {}).items()
    }
    covariances = ANSWERS["ais_multi_k2"]["covariances"]
    several = {f"ais_multi_k2/{c}": covariances[c]["loglik"] for c in COVARIANCES}
    return {**cases, **TREES, **several}


def fit_known(case, n_init, seed):
    """A known answer fitted from one seed."""
    given = {"n_init": n_init, "random_state": seed}
    if case in TREES:
        return fit_tree(case, given)
    name, variance = case.split("/")
    model = ANSWERS[name]["model"]
    table = pd.read_csv(FOLDER / f"{name}.csv")
    if variance in COVARIANCES:
        covariance, variance = COVARIANCES[variance]
        likelihood = Gaussian(variance=variance, covariance=covariance)
        given["trainer"] = EM(max_refits=500)
        columns, gated = ["BMI", "male"], ["BMI"]
        experts = ["male"]
    else:
        likelihood = Gaussian(variance=variance)
        given["trainer"] = EM(tol=1e-10)
        experts, gated = model["expert_columns"], model["gate_columns"]
        columns = list(dict.fromkeys(experts + gated))
        columns = columns or [c for c in table.columns if c != model["response"]][:1]
    given |= {
        "n_experts": model["n_experts"],
        "gate": SoftmaxGate(alpha=0) if gated else ConstantGate(),
        "gate_features": gated or None,
        "expert_features": experts,
    }
    weight = table[model["weight_column"]] if model.get("weight_column") else None
    if model["expert_family"] == "binomial":
        estimator = MoEClassifier(PLAIN, **given)
    else:
        estimator = MoERegressor(PLAIN, likelihood=likelihood, **given)
    return estimator.fit(table[columns], table[model["response"]], sample_weight=weight)


def fit_tree(case, given):
    """A planted tree, or accelerations of a helmet."""
    curve = case == "hme_mcycle"
    table = pd.read_csv(FOLDER / ("mcycle_k4.csv" if curve else "hme_sim.csv"))
    columns = ["times"] if curve else ["x1", "x2"]
    trainer = EM(tol=1e-9, max_iter=3000, min_load=0.0)
    model = HierarchicalMoERegressor(
        PLAIN, branching=(2, 2), gate=SoftmaxGate(alpha=0), trainer=trainer, **given
    )
    return model.fit(table[columns].to_numpy(), table["y"].to_numpy())


def overlapping(number):
    """One of the generated mixtures: X, y and the number of experts."""
    rng = np.random.default_rng(number)
    n, p = int(rng.integers(300, 1001)), int(rng.integers(1, 6))
    n_experts = 2 + number % 4
    X = rng.normal(size=(n, p))
    logits = X @ rng.normal(size=(p, n_experts)) * rng.choice([0.0, 0.5, 1.5])
    own = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    means = X @ rng.normal(size=(p, n_experts)) + rng.normal(size=n_experts)
    spread = rng.choice([0.2, 0.5, 1.0], size=n_experts)
    y = means[np.arange(n), own] + spread[own] * rng.normal(size=n)
    return X, y, n_experts


def fit_mixture(case, n_init, seed):
    X, y, n_experts = overlapping(int(case))
    model = MoERegressor(
        PLAIN,
        n_experts=n_experts,
        gate=SoftmaxGate(alpha=0),
        trainer=EM(tol=1e-8, max_iter=2000),
        n_init=n_init,
        random_state=seed,
    )
    return model.fit(X, y)


def fill(out, cases, schemes, seeds, fit):
    """Run what is not in the file yet."""
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    done = {(row["scheme"], row["case"], row["seed"]) for row in rows}
    with out.open("a") as file:
        for case in cases:
            for name in schemes:
                for seed in range(seeds):
                    if (name, case, seed) in done:
                        continue
                    with scheme(name) as n_init:
                        started = time.process_time()
                        value = fit(case, n_init, seed).log_likelihood_
                    row = {"scheme": name, "case": case, "seed": seed}
                    row |= {"value": value, "cpu": time.process_time() - started}
                    file.write(json.dumps(row) + "\n")
                    file.flush()


def report(out, cases, schemes, best):
    """Seeds that reach the best known optimum, and CPU seconds per fit."""
    table = pd.DataFrame(map(json.loads, out.read_text().splitlines()))
    table = table[table.case.isin(list(cases)) & table.scheme.isin(schemes)]
    known = best or dict(table.groupby("case").value.max())
    short = table.value - table.case.map(known)
    table = table.assign(reached=short >= -REACHED, short=short)
    print("| case | " + " | ".join(schemes) + " |\n|" + "---|" * (len(schemes) + 1))
    for case, own in table.groupby("case", sort=False):
        cells = [_cell(own[own.scheme == name]) for name in schemes]
        print(f"| {case} | " + " | ".join(cells) + " |")
    cells = [_cell(table[table.scheme == name]) for name in schemes]
    print("| all | " + " | ".join(cells) + " |")


def _cell(rows):
    if rows.empty:
        return "-"
    return f"{rows.reached.sum()}/{len(rows)}, {rows.cpu.mean():.2f} s"


def large(n_rows):
    """CPU seconds of starts and run of a default fit, five problems."""
    print("| seed | starts | run | log-likelihood per row |\n|---|---|---|---|")
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n_rows, 10))
        own = (X @ rng.normal(size=(10, 5)) + rng.gumbel(size=(n_rows, 5))).argmax(1)
        y = (X @ rng.normal(size=(10, 5)))[np.arange(n_rows), own]
        y += 0.5 * rng.normal(size=n_rows)
        spent, real = [], drivers.linear_starts

        def timed(*args, real=real, spent=spent, **kwargs):
            started = time.process_time()
            found = real(*args, **kwargs)
            spent.append(time.process_time() - started)
            return found

        drivers.linear_starts = timed
        started = time.process_time()
        model = MoERegressor(n_experts=5, random_state=0).fit(X, y)
        total = time.process_time() - started
        drivers.linear_starts = real
        value = model.log_likelihood_ / n_rows
        print(f"| {seed} | {spent[0]:.3f} | {total - spent[0]:.3f} | {value:.4f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["known", "mixtures", "large"])
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--schemes", nargs="*", default=["fresh", "fresh-40", "kept"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("starts.jsonl"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.what == "large":
        return large(options.rows)
    known = options.what == "known"
    best = known_cases() if known else None
    cases = options.cases or list(best or map(str, range(20)))
    options.out.touch()
    fit = fit_known if known else fit_mixture
    fill(options.out, cases, options.schemes, options.seeds, fit)
    return report(options.out, cases, options.schemes, best)


if __name__ == "__main__":
    main()
