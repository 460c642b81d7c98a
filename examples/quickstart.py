"""A mixture of linear experts on a real table, beside its usual rivals.

    python examples/quickstart.py [--data FILE.parquet --target NAME] [--picture FILE]

Without arguments: hourly bicycle rentals (UCI 275, CC BY 4.0) with weather and
calendar.  The script cross-validates a linear model, gradient-boosted trees and
mixtures, prints which expert serves whom, and saves a picture.
"""

import argparse
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from sklearn.callback import ProgressBar
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from skmoe import MoERegressor
from skmoe.experts import LinearExpert
from skmoe.inspection import ExpertUsageDisplay, expert_usage, gate_importance
from skmoe.trainers import EM

mpl.use("Agg")
HERE = Path(__file__).parent
NUMBERS = make_column_selector(dtype_include="number")
WORDS = make_column_selector(dtype_exclude="number")


def read(path, target):
    """Features and target of a parquet file; rows without a target are dropped."""
    table = pd.read_parquet(path)
    if target not in table.columns:
        raise SystemExit(
            f"--target {target!r} is no column of {path}; it has {list(table.columns)}."
        )
    table = table.dropna(subset=[target])
    return table.drop(columns=target), table[target].to_numpy(float)


def linear_columns():
    """Scaled numbers and indicators of categories, with missing values filled."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
        verbose_feature_names_out=False,
    )


def tree_columns():
    """Numbers as they are, categories as codes."""
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer(
        (encode, WORDS), remainder="passthrough", verbose_feature_names_out=False
    )


def mixture(n_experts, **more):
    """Pipeline of a mixture of linear experts."""
    return make_pipeline(
        linear_columns(),
        MoERegressor(
            LinearExpert(),
            n_experts=n_experts,
            trainer=EM(tol=1e-5),
            n_jobs=-1,
            random_state=0,
            **more,
        ),
    )


def rivals():
    """The models to compare, by name."""
    trees = HistGradientBoostingRegressor(random_state=0)
    return {
        "ridge": make_pipeline(linear_columns(), RidgeCV(np.logspace(-3, 3, 7))),
        "boosted trees": make_pipeline(tree_columns(), trees),
        "mixture of 4": mixture(4),
        "mixture of 16": mixture(16),
        "mixture of 16, top 2": mixture(16, router=2),
    }


def compare(X, y):
    """Print cross-validated errors and fit times."""
    folds = KFold(5, shuffle=True, random_state=0)
    print(f"{len(y)} rows, {X.shape[1]} columns; 5-fold cross-validation\n")
    print(f"{'model':22}{'RMSE':>9}{'R2':>8}{'fit s':>8}")
    for name, model in rivals().items():
        scores = cross_validate(
            model, X, y, cv=folds, scoring=("neg_root_mean_squared_error", "r2")
        )
        rmse = -scores["test_neg_root_mean_squared_error"].mean()
        r2, seconds = scores["test_r2"].mean(), scores["fit_time"].mean()
        print(f"{name:22}{rmse:9.4g}{r2:8.3f}{seconds:8.2f}", flush=True)


def report(X, y):
    """Fit one mixture with a progress bar and print who serves whom."""
    pipeline = mixture(4)
    pipeline.set_callbacks(ProgressBar())
    with warnings.catch_warnings():
        # Not every step of a pipeline knows callbacks, and says so.
        warnings.simplefilter("ignore", UserWarning)
        pipeline.fit(X, y)
    columns = pipeline[:-1].transform(X)
    names = list(pipeline[:-1].get_feature_names_out())
    frame = pd.DataFrame(columns, columns=names)
    model = pipeline[-1]
    usage = pd.DataFrame(expert_usage(model, columns, y))
    print("\nWhich expert serves whom\n")
    print(usage.round(3).to_string(index=False))
    importance = pd.DataFrame(gate_importance(model, columns, random_state=0))
    importance["feature"] = [names[int(f[1:])] for f in importance["feature"]]
    print("\nWhat the gate looks at\n")
    print(importance.head(6).round(3).to_string(index=False))
    leader = model.gate_proba(columns).argmax(axis=1)
    print("\nMean of these columns where each expert leads (standardised)\n")
    top = importance["feature"].head(4).tolist()
    print(frame[top].groupby(leader).mean().round(2).to_string())
    return model, columns, frame, top[0]


def draw(model, columns, frame, feature, y, path):
    """Save a picture: usage, the gate along its main column, fit against truth."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    ExpertUsageDisplay.from_estimator(model, columns, y, ax=axes[0])
    axes[0].set_title("Who serves whom")
    proba = model.gate_proba(columns)
    edges = np.unique(np.quantile(frame[feature], np.linspace(0, 1, 25)))
    bins = np.clip(np.digitize(frame[feature], edges) - 1, 0, len(edges) - 2)
    means = pd.DataFrame(proba).groupby(bins).mean()
    middles = frame[feature].groupby(bins).mean()
    for k, name in enumerate(model.named_experts_):
        axes[1].plot(middles, means[k], marker="o", markersize=3, label=name)
    axes[1].set(xlabel=feature, ylabel="mean gate weight", title="The gate")
    axes[1].legend()
    shown = np.random.default_rng(0).permutation(len(y))[:2000]
    leader = proba.argmax(axis=1)[shown]
    predicted = model.predict(columns[shown])
    for k, name in enumerate(model.named_experts_):
        own = leader == k
        axes[2].scatter(predicted[own], y[shown][own], s=6, alpha=0.5, label=name)
    axes[2].axline((0, 0), slope=1, color="black", linewidth=0.8)
    axes[2].set(xlabel="predicted", ylabel="observed", title="Rows by leading expert")
    axes[2].legend()
    figure.savefig(path, dpi=110)
    print(f"\nPicture saved as {path}")


def main():
    """Compare, explain, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=HERE / "data" / "bike_hourly.parquet"
    )
    parser.add_argument("--target", default="target")
    parser.add_argument("--picture", type=Path, default=Path("quickstart.png"))
    arguments = parser.parse_args()
    X, y = read(arguments.data, arguments.target)
    compare(X, y)
    model, columns, frame, feature = report(X, y)
    draw(model, columns, frame, feature, y, arguments.picture)


if __name__ == "__main__":
    main()
