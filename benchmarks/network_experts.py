"""What makes neural experts better, and the best of them beside scikit-learn's MLP.

    python benchmarks/network_experts.py --data DIR --part options [--tables ...]
    python benchmarks/network_experts.py --data DIR --part rivals [--tables ...]

DIR holds NAME.parquet with the target last; numeric columns and at most 3000 rows are
used.  Losses are RMSE / sd(y), or log-loss; seconds are of CPU, on one core.

``options``: mixtures of four experts of one or two hidden layers of 64, trained by
``Gradient(objective="prediction")``, with one thing changed at a time; fitted to 64 %
of the rows, judged on 16 %, two splits.  The last 20 % are never looked at.  Ratios are
to two hidden layers of 64.

``rivals``: two splits into 75 % and 25 %.  Each side chooses among four settings by one
inner split of the 75 %: scikit-learn's MLP among two shapes and two learning rates, the
mixture among one or two hidden layers, with and without piecewise-linear encoding; the
mixture is then the mean of four.  Both stop early, and have at most 200 epochs.  Beside
them the mean of four MLPs of the setting chosen, which says what averaging alone does.
"""

import argparse
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from accuracy_mlp import CLASSES, REGRESSION, load_table, loss
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import MLPExpert
from skmoe.trainers import Gradient

MOST_ROWS, N_EXPERTS, N_MEMBERS, N_SPLITS = 3000, 4, 4, 2
OPTION_TABLES = (
    "concrete",
    "airfoil",
    "kin8nm",
    "pumadyn32nm",
    "cpu_act",
    "pol",
    "phoneme",
    "spambase",
)


class SmoothlyClipped(TransformerMixin, BaseEstimator):
    """Columns less their median over their interquartile range, clipped smoothly.

    As RealMLP does (Holzmueller, Grinsztajn, Steinwart 2024), at three.
    """

    def fit(self, X, y=None):
        """Find medians and ranges."""
        X = np.asarray(X, dtype=float)
        low, self.center_, high = np.quantile(X, [0.25, 0.5, 0.75], axis=0)
        half = 0.5 * np.ptp(X, axis=0)
        spread = np.where(high > low, high - low, half)
        self.scale_ = np.divide(
            1.0, spread, out=np.zeros_like(spread), where=spread > 0
        )
        return self

    def transform(self, X):
        """The columns, all between -3 and 3."""
        Z = (np.asarray(X, dtype=float) - self.center_) * self.scale_
        return Z / np.sqrt(1.0 + (Z / 3.0) ** 2)

    def get_feature_names_out(self, names=None):
        """Names of the columns."""
        return np.array([f"x{j}" for j in range(len(self.center_))], dtype=object)


def mixture(classify, seed, expert, **options):
    """Mixture of neural experts, trained for its prediction."""
    kind = MoEClassifier if classify else MoERegressor
    trainer = Gradient(objective="prediction")
    given = {"n_experts": N_EXPERTS, "trainer": trainer, "random_state": seed}
    return kind(expert, **given, **options)


CLIPPED = SmoothlyClipped()
OPTIONS = {
    "one layer": (MLPExpert((64,)), {}),
    "two layers": (MLPExpert((64, 64)), {}),
    "piecewise-linear": (
        MLPExpert((64, 64)),
        {"expert_features": "piecewise-linear"},
    ),
    "periodic": (MLPExpert((64, 64), n_frequencies=8), {}),
    "clipped": (
        MLPExpert((64, 64)),
        {"expert_features": CLIPPED, "gate_features": CLIPPED},
    ),
    "mean of four": (MLPExpert((64, 64)), {"n_members": N_MEMBERS}),
}


def timed_loss(model, fit, test):
    """Loss on rows not seen, and seconds of CPU of the fit."""
    started = time.process_time()
    model.fit(*fit)
    seconds = time.process_time() - started
    return loss(model, *test), seconds


def halves(X, y, classify, share, seed):
    """Rows to fit to and rows to judge by, as pairs."""
    stratify = y if classify else None
    split = train_test_split(
        X, y, test_size=share, random_state=seed, stratify=stratify
    )
    return (split[0], split[2]), (split[1], split[3])


def options(X, y, classify):
    """Losses and seconds (splits, options, 2)."""
    seen, _ = halves(X, y, classify, 0.2, 0)
    rows = []
    for seed in range(N_SPLITS):
        fit, test = halves(*seen, classify, 0.2, seed)
        made = [mixture(classify, seed, e, **o) for e, o in OPTIONS.values()]
        rows.append([timed_loss(model, fit, test) for model in made])
    return np.array(rows)


def networks(classify, seed):
    """Settings of scikit-learn's MLP."""
    kind = MLPClassifier if classify else MLPRegressor
    for shape, rate in product([(256,), (128, 128)], [1e-3, 1e-2]):
        yield standardised(
            kind(
                hidden_layer_sizes=shape,
                learning_rate_init=rate,
                early_stopping=True,
                n_iter_no_change=15,
                random_state=seed,
            ),
            classify,
        )


def standardised(network, classify):
    """On standardised columns and targets."""
    own = make_pipeline(StandardScaler(), network)
    if classify:
        return own
    return TransformedTargetRegressor(own, transformer=StandardScaler())


def mean_of_four(model, classify):
    """Four networks that differ by their seed."""
    path = (
        "mlpclassifier__random_state"
        if classify
        else ("regressor__mlpregressor__random_state")
    )
    seeds = [(f"m{k}", clone(model).set_params(**{path: k})) for k in range(N_MEMBERS)]
    if classify:
        return VotingClassifier(seeds, voting="soft")
    return VotingRegressor(seeds)


def mixtures(classify, seed):
    """Settings of the mixture."""
    encodings = [None, "piecewise-linear"]
    for shape, encoding in product([(64,), (64, 64)], encodings):
        yield mixture(classify, seed, MLPExpert(shape), expert_features=encoding)


def chosen(candidates, fit, classify):
    """The best setting by one inner split."""
    part, held = halves(*fit, classify, 0.2, 0)
    candidates = list(candidates)
    losses = [timed_loss(model, part, held)[0] for model in candidates]
    return clone(candidates[int(np.argmin(losses))])


def rivals(X, y, classify):
    """Losses and seconds (splits, 3, 2): MLP, the mean of four of them, mixture."""
    rows = []
    for seed in range(N_SPLITS):
        fit, test = halves(X, y, classify, 0.25, seed)
        begun = time.process_time()
        network = chosen(networks(classify, seed), fit, classify)
        spent = time.process_time() - begun
        row = [timed_loss(clone(network), fit, test)]
        row.append(timed_loss(mean_of_four(network, classify), fit, test))
        begun = time.process_time()
        own = chosen(mixtures(classify, seed), fit, classify)
        own_spent = time.process_time() - begun
        row.append(timed_loss(own.set_params(n_members=N_MEMBERS), fit, test))
        spends = [spent, spent, own_spent]
        rows.append([(a, b + c) for (a, b), c in zip(row, spends, strict=True)])
    return np.array(rows)


def show(name, found, base, unit):
    """A line of the Markdown table: losses, their ratios, seconds."""
    losses, seconds = found.mean(axis=0).T
    cells = [f"{own / unit:.4f}" for own in losses]
    cells += [f"{own / losses[base]:.3f}" for own in losses]
    cells += [f"{own:.1f}" for own in seconds]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return losses / losses[base]


def main():
    """Print a table, and geometric means of its ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", choices=["options", "rivals"], default="rivals")
    parser.add_argument("--tables", nargs="*")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    run, base = (options, 1) if given.part == "options" else (rivals, 0)
    names = list(OPTIONS)
    if given.part == "rivals":
        names = ["MLP", "mean of four MLPs", "mean of four mixtures"]
    tables = OPTION_TABLES if given.part == "options" else [*REGRESSION, *CLASSES]
    columns = [*names, *(f"ratio {n}" for n in names), *(f"seconds {n}" for n in names)]
    print("| table | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|", flush=True)
    ratios = []
    for table in given.tables or tables:
        X, y = load_table(given.data, table, MOST_ROWS)
        classify = table in CLASSES
        found = run(X, y, classify)
        ratios.append(show(table, found, base, 1.0 if classify else y.std()))
    ratios = np.array(ratios)
    print("\nGeometric means and numbers of tables with a lower loss:")
    for name, own in zip(names, ratios.T, strict=True):
        print(f"{name}: {np.exp(np.log(own).mean()):.3f}, {np.sum(own < 1)}")


if __name__ == "__main__":
    main()
