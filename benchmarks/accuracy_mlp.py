"""Mixtures of neural experts trained by gradient, beside scikit-learn's MLP.

    python benchmarks/accuracy_mlp.py --data DIR [--tables concrete ...]

Five folds.  Both sides choose among four settings on an inner 80/20 split of the
training part by the measure that is reported: scikit-learn's MLP among two shapes and
two penalties, the mixture of four experts among two shapes, with and without
piecewise-linear embedding.  Both stop early and see standardised columns, the target of
regressions standardised too.  RMSE / sd(y), or log-loss; mean and standard error of the
paired difference over folds.

DIR holds NAME.parquet with numeric columns and the target last; at most 5000 rows are
used.
"""

import argparse
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import MLPExpert
from skmoe.trainers import Gradient

REGRESSION = [
    "mcycle",
    "concrete",
    "airfoil",
    "kin8nm",
    "pumadyn32nm",
    "cpu_act",
    "pol",
    "elevators",
    "kin40k",
]
CLASSES = (
    "spambase",
    "phoneme",
    "magic",
    "protein_homology",
    "peterson_barney",
    "satimage",
    "letter",
)
MOST_ROWS, N_EXPERTS = 5000, 4


def networks(classify, seed):
    """Four settings of scikit-learn's MLP."""
    kind = MLPClassifier if classify else MLPRegressor
    for shape, alpha in product([(256,), (128, 128)], [1e-4, 1e-1]):
        network = kind(
            hidden_layer_sizes=shape,
            alpha=alpha,
            early_stopping=True,
            max_iter=500,
            n_iter_no_change=15,
            random_state=seed,
        )
        pipeline = make_pipeline(StandardScaler(), network)
        yield (
            pipeline
            if classify
            else TransformedTargetRegressor(pipeline, transformer=StandardScaler())
        )


def mixtures(classify, seed):
    """Four settings of the mixture."""
    kind = MoEClassifier if classify else MoERegressor
    for shape, features in product([(64,), (64, 64)], [None, "piecewise-linear"]):
        yield kind(
            MLPExpert(shape),
            n_experts=N_EXPERTS,
            expert_features=features,
            trainer=Gradient(objective="prediction"),
            random_state=seed,
        )


def loss(model, X, y):
    """Log-loss, or root mean squared error."""
    if is_classifier(model):
        return log_loss(y, model.predict_proba(X), labels=model.classes_)
    return np.sqrt(np.mean((model.predict(X) - y) ** 2))


def tuned(candidates, X, y, classify):
    """The best setting on an inner split, fitted to all rows."""
    split = train_test_split(
        X, y, test_size=0.2, random_state=0, stratify=y if classify else None
    )
    candidates = list(candidates)
    scores = [loss(m.fit(split[0], split[2]), split[1], split[3]) for m in candidates]
    return candidates[int(np.argmin(scores))].fit(X, y)


def load_table(folder, name, most=MOST_ROWS):
    """Columns and target of so many rows, at most."""
    frame = pd.read_parquet(folder / f"{name}.parquet")
    y = frame.iloc[:, -1]
    X = frame.iloc[:, :-1].select_dtypes("number")
    kept = X.notna().all(axis=1).to_numpy()
    X, y = X[kept].to_numpy(float), y[kept].to_numpy()
    if len(y) > most:
        rows = np.random.default_rng(0).choice(len(y), most, replace=False)
        X, y = X[rows], y[rows]
    return X, y


def run_table(folder, name, n_folds):
    """Losses (folds, 2) of both sides, the network's first, and seconds."""
    X, y = load_table(folder, name)
    classify = name in CLASSES
    kind = StratifiedKFold if classify else KFold
    splitter = kind(n_folds, shuffle=True, random_state=0)
    unit = 1.0 if classify else y.std()
    losses, seconds = [], []
    for fold, (train, test) in enumerate(splitter.split(X, y)):
        row = []
        for make in (networks, mixtures):
            started = time.perf_counter()
            model = tuned(make(classify, fold), X[train], y[train], classify)
            row.append(loss(model, X[test], y[test]) / unit)
            seconds.append(time.perf_counter() - started)
        losses.append(row)
    return np.array(losses), np.reshape(seconds, (-1, 2)).mean(axis=0)


def main():
    """Print one line per table, and how many are won."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tables", nargs="*", default=[*REGRESSION, *CLASSES])
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| table | MLP | mixture | ratio | difference | seconds |")
    print("|---|---|---|---|---|---|", flush=True)
    won = 0
    for name in arguments.tables:
        losses, seconds = run_table(arguments.data, name, arguments.folds)
        theirs, ours = losses.mean(axis=0)
        gap = losses[:, 1] - losses[:, 0]
        won += ours < theirs
        print(
            f"| {name} | {theirs:.4f} | {ours:.4f} | {ours / theirs:.3f} "
            f"| {gap.mean():+.4f} ± {gap.std(ddof=1) / np.sqrt(len(gap)):.4f} "
            f"| {seconds[0]:.0f} / {seconds[1]:.0f} |",
            flush=True,
        )
    print(f"\nThe mixture has the lower loss on {won} of {len(arguments.tables)}.")


if __name__ == "__main__":
    main()
