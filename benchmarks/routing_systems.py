"""Published routing systems on tables: accuracy, balance, stability and speed.

Eight neural experts under a softmax gate, trained by gradient; only the router and its
published auxiliary losses differ.  Beside them the dense mixture, one network of the
same number of hidden units, and boosted trees.  Cross-validated over five folds, one
seed per fold; a second seed measures how far the routing is reproduced.

    python benchmarks/routing_systems.py --data DIR [--tables elevators ...]

With ``--systems dense Switch ...`` only some of them run.

DIR holds NAME.parquet with the target last; numeric columns are used.  The output:
RMSE / sd(y); load: largest over mean share of rows; entropy of the gate in nats;
agreement: adjusted Rand index of the top experts of two seeds; switched: share of rows
whose top expert changes in an epoch, mean of the last ten; rows per second of training
(per epoch) and of prediction.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoERegressor
from skmoe.datasets import make_gated_regression
from skmoe.experts import MLPExpert
from skmoe.gates import SigmoidGate, SoftmaxGate
from skmoe.losses import (
    EntropyLoss,
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    RouterZLoss,
    SlotBalancingLoss,
)
from skmoe.routers import (
    BalancedRouter,
    BatchPrioritizedRouter,
    BiasBalancedRouter,
    CappedExpertChoiceRouter,
    DenseRouter,
    ExpertChoiceRouter,
    GShardRouter,
    HashRouter,
    MultiHashRouter,
    NoisyTopKRouter,
    ResidualRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
from skmoe.trainers import Gradient

TABLES = ("elevators", "kin8nm", "cpu_act", "california")
HEADER = (
    "| system | error | load | entropy | agreement | switched | training rows/s "
    "| prediction rows/s |\n|---|---|---|---|---|---|---|---|"
)
N_EXPERTS, HIDDEN, MOST_ROWS = 8, 32, 6000
SYSTEMS = {
    "dense": (DenseRouter(), ()),
    "top-2, trained soft": (TopKRouter(2), ()),
    "top-2 (Mixtral)": (TopKRouter(2, training="sparse"), (LoadBalancingLoss(),)),
    "noisy top-2 (Shazeer)": (NoisyTopKRouter(2), (ImportanceLoss(), LoadLoss())),
    "Switch": (SwitchRouter(), (LoadBalancingLoss(),)),
    "GShard": (GShardRouter(), (LoadBalancingLoss(),)),
    "ST-MoE": (GShardRouter(threshold=0.2), (LoadBalancingLoss(), RouterZLoss())),
    "BASE": (BalancedRouter(), ()),
    "hash": (HashRouter(), ()),
    "expert choice": (ExpertChoiceRouter(), ()),
    "bias-balanced top-2": (BiasBalancedRouter(2), ()),
    "top-p": (TopPRouter(0.9), ()),
    "V-MoE, half of the places": (
        BatchPrioritizedRouter(2, 0.5),
        (ImportanceLoss(), LoadBalancingLoss()),
    ),
    "GShard, balance by slot": (GShardRouter(), (SlotBalancingLoss(),)),
    "ST-MoE, priority by score": (
        GShardRouter(threshold=0.2, priority="score"),
        (LoadBalancingLoss(), RouterZLoss()),
    ),
    "expert choice, at most 3": (CappedExpertChoiceRouter(), ()),
    "two hashes": (MultiHashRouter(2), ()),
    "DeepSeek-V3": (BiasBalancedRouter(2), (LoadBalancingLoss(0.0001),)),
    "residual top-1 (DeepSpeed)": (ResidualRouter(1), (LoadBalancingLoss(),)),
    "top-p in training": (
        TopPRouter(0.4, training="sparse"),
        (LoadBalancingLoss(), EntropyLoss()),
    ),
}
SIGMOIDS = {"DeepSeek-V3"}


def system(name, seed):
    """Mixture with the router and losses of a system."""
    router, losses = SYSTEMS[name]
    return MoERegressor(
        MLPExpert((HIDDEN,)),
        n_experts=N_EXPERTS,
        gate=SigmoidGate(alpha=1.0) if name in SIGMOIDS else SoftmaxGate(alpha=1.0),
        router=router,
        trainer=Gradient(losses=losses, start="random"),
        random_state=seed,
    )


def rivals(seed):
    """Models without routing."""
    network = MLPRegressor(
        hidden_layer_sizes=(N_EXPERTS * HIDDEN,),
        early_stopping=True,
        max_iter=500,
        n_iter_no_change=15,
        random_state=seed,
    )
    return {
        "one network (scikit-learn)": TransformedTargetRegressor(
            make_pipeline(StandardScaler(), network), transformer=StandardScaler()
        ),
        "boosted trees": HistGradientBoostingRegressor(random_state=seed),
    }


def load_table(folder, name):
    """Columns and target, at most MOST_ROWS rows."""
    if name == "synthetic":
        return make_gated_regression(5000, 6, 8, noise=0.5, random_state=0)
    frame = pd.read_parquet(folder / f"{name}.parquet")
    frame = frame.select_dtypes("number").dropna()
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0)
    return frame.iloc[:, :-1].to_numpy(float), frame.iloc[:, -1].to_numpy(float)


def timed(function, *arguments):
    """Result and seconds of a call."""
    started = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - started


def run_fold(name, fold, X, y, train, test):
    """All columns of one system on one fold."""
    model, fit_seconds = timed(system(name, fold).fit, X[train], y[train])
    model.predict(X[test][:2])
    predicted, seconds = timed(model.predict, X[test])
    other = system(name, fold + 100).fit(X[train], y[train])
    proba = model.gate_proba(X[test])
    load = proba.mean(axis=0)
    tops = [m.gate_proba(X[test]).argmax(axis=1) for m in (model, other)]
    log_proba = np.log(np.where(proba > 0, proba, 1.0))
    return {
        "error": np.sqrt(np.mean((predicted - y[test]) ** 2)) / y.std(),
        "load": load.max() / load.mean(),
        "entropy": -np.sum(proba * log_proba, axis=1).mean(),
        "agreement": adjusted_rand_score(*tops),
        "switched": np.mean(model.history_["switched"][-10:]),
        "training": len(train) * model.n_iter_ / fit_seconds,
        "prediction": len(test) / seconds,
    }


def run_rival(model, X, y, train, test):
    """Error and prediction rate of a model without routing."""
    model.fit(X[train], y[train])
    predicted, seconds = timed(model.predict, X[test])
    error = np.sqrt(np.mean((predicted - y[test]) ** 2)) / y.std()
    return {"error": error, "prediction": len(test) / seconds}


def line(name, rows):
    """One line of the Markdown table: means over folds."""
    mean = pd.DataFrame(rows).mean()
    spread = pd.DataFrame(rows)["error"].sem()
    cells = [f"{mean['error']:.3f} ± {spread:.3f}"]
    for column, form in (
        ("load", "{:.2f}"),
        ("entropy", "{:.2f}"),
        ("agreement", "{:.2f}"),
        ("switched", "{:.3f}"),
        ("training", "{:,.0f}"),
        ("prediction", "{:,.0f}"),
    ):
        cells.append(form.format(mean[column]) if column in mean else "")
    return f"| {name} | " + " | ".join(cells) + " |"


def main():
    """Print a table per data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=[*TABLES, "synthetic"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--systems", nargs="*", default=[*SYSTEMS, *rivals(0)])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for table in arguments.tables:
        X, y = load_table(arguments.data, table)
        splitter = KFold(arguments.folds, shuffle=True, random_state=0)
        splits = list(enumerate(splitter.split(X)))
        print(f"\n### {table} ({len(y)} rows, {X.shape[1]} columns)\n")
        print("| system | error | load | entropy | agreement | switched ", end="")
        print(
            "| training rows/s | prediction rows/s |\n|---|---|---|---|---|---|---|---|"
        )
        for name in filter(SYSTEMS.get, arguments.systems):
            rows = [run_fold(name, f, X, y, *split) for f, split in splits]
            print(line(name, rows), flush=True)
        for name in filter(rivals(0).get, arguments.systems):
            rows = [run_rival(rivals(f)[name], X, y, *split) for f, split in splits]
            print(line(name, rows), flush=True)


if __name__ == "__main__":
    main()
