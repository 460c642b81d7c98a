"""A mixture of additive experts on a raw table, beside its usual rivals.

    python examples/quickstart.py [--data FILE.parquet --target NAME] [--picture FILE]

Without arguments: hourly bicycle rentals (UCI 275, CC BY 4.0) with weather and
calendar, as hours, degrees and days of the week.  The script cross-validates five
models, names the regimes that a mixture finds, draws their curves, and explains an
answer.
"""

import argparse
import time
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmoe import MoERegressor
from skmoe.inspection import CurveDisplay, curve_importance, explain_text, regimes

mpl.use("Agg")
RENTALS = Path(__file__).parent / "data" / "bike_hourly.parquet"
# Of larger tables random rows, so that all is done within a minute.
MOST_ROWS = 6000
N_EXPERTS = 8
TITLE = "Each regime has its own curves: faint where it is not asked."
WEATHER = {"1": "clear", "2": "mist", "3": "light rain", "4": "heavy rain"}
UNITS = {
    "hour": "hour of the day",
    "temperature": "temperature (°C)",
    "apparent_temperature": "apparent temperature (°C)",
    "humidity": "humidity (%)",
    "windspeed": "wind speed (km/h)",
}
DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]


def read(path, target):
    """Columns and target of a parquet file, at most ``MOST_ROWS`` rows."""
    table = pd.read_parquet(path)
    if target not in table.columns:
        raise SystemExit(
            f"--target {target!r} is no column of {path}; it has {list(table.columns)}."
        )
    table = table.dropna(subset=[target])
    if path == RENTALS:
        table = in_words(table)
    table = table.sample(min(len(table), MOST_ROWS), random_state=0, ignore_index=True)
    return table.drop(columns=target), table[target].to_numpy(float)


def in_words(table):
    """Bicycle rentals with codes as words, and numbers in °C, % and km/h."""
    days = table["weekday"].astype(int).map(dict(enumerate(DAYS)))
    words = {
        "year": (2011 + table["year"].astype(int)).astype(str),
        "weekday": days,
        "weather": table["weather"].astype(str).map(WEATHER),
    }
    numbers = {
        "temperature": 47 * table["temperature"] - 8,
        "apparent_temperature": 66 * table["apparent_temperature"] - 16,
        "humidity": 100 * table["humidity"],
        "windspeed": 67 * table["windspeed"],
    }
    words = {name: own.astype("category") for name, own in words.items()}
    return table.assign(**words, **numbers)


def mixture(n_experts):
    """A mixture that reads the table as it is."""
    return MoERegressor(
        "additive", gate="additive", n_experts=n_experts, random_state=0
    )


def rivals():
    """The models to compare, by name."""
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    return {
        "ridge on one-hot columns": make_pipeline(
            columns, RidgeCV(np.logspace(-3, 3, 7))
        ),
        "boosted trees": HistGradientBoostingRegressor(
            categorical_features="from_dtype", random_state=0
        ),
        "one additive model": mixture(1),
        "additive mixture, 4 experts": mixture(4),
        f"additive mixture, {N_EXPERTS} experts": mixture(N_EXPERTS),
    }


def compare(X, y):
    """Print cross-validated errors, and what a fit costs beside boosted trees."""
    folds = KFold(5, shuffle=True, random_state=0)
    scoring = ("neg_root_mean_squared_error", "r2")
    found = {}
    for name, model in rivals().items():
        scores = cross_validate(model, X, y, cv=folds, scoring=scoring)
        # The first fit of all compiles, so the median.
        seconds = np.median(scores["fit_time"])
        rmse = -scores["test_neg_root_mean_squared_error"].mean()
        found[name] = rmse, scores["test_r2"].mean(), seconds
    trees = found["boosted trees"]
    print(f"{'':30}{'RMSE':>8}{'R2':>7}{'cost of a fit':>16}")
    for name, (rmse, r2, seconds) in found.items():
        cost = seconds / trees[2]
        print(f"{name:30}{rmse:8.4g}{r2:7.3f}{cost:10.1f} trees")
    least = min(own[0] for own in found.values())
    if trees[0] == least:
        print(
            "\nBoosted trees err least: in them any columns interact, while experts add"
            "\nup, and only the gate lets columns interact. But a mixture can be read."
        )


def report(model, X, y):
    """Print the regimes, and how an answer is made; returns what regimes are called."""
    table = pd.DataFrame(regimes(model, X)).sort_values("answer", ascending=False)
    shown = table[["regime", "load", "answer"]].rename(columns={"answer": "mean"})
    formats = {"load": "{:.0%}".format, "mean": "{:.4g}".format}
    print("\nThe regimes that it found\n")
    print(shown.to_string(index=False, formatters=formats))
    row = X.iloc[[int(np.argmax(y))]]
    text = explain_text(model, row, n_terms=4)[0]
    labels = dict(zip(table["expert"], table["regime"], strict=True))
    expert, said = text.split(" ", 1)
    print(f"\nThe row with the largest {y.max():.4g}, in words\n")
    print(fill(f"[{labels[expert]}] {said}", 88))
    return labels


def draw(model, X, labels, path, title, ylabel, units):
    """Save the curves of the three columns of numbers that matter most."""
    table = curve_importance(model, X)
    numbers = set(X.select_dtypes("number"))
    columns = [name for name in table["feature"] if name in numbers][:3]
    display = CurveDisplay.from_estimator(
        model, X, columns or None, labels=labels, level=True, max_panels=3, plot=False
    )
    display.ylabel = ylabel
    display.plot()
    for axis in np.ravel(display.axes_):
        axis.set_xlabel(units.get(axis.get_title(), axis.get_title()))
        axis.set_title("")
    figure = display.figure_
    figure.set_size_inches(13, 4.2)
    figure.suptitle(title, x=0.01, ha="left")
    figure.savefig(path, dpi=110)
    print(f"\nPicture saved as {path}")


def main():
    """Compare, name, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=RENTALS)
    parser.add_argument("--target", default="target")
    parser.add_argument("--picture", type=Path, default=Path("quickstart.png"))
    arguments = parser.parse_args()
    X, y = read(arguments.data, arguments.target)
    print(f"{len(y)} rows, {X.shape[1]} columns; 5-fold cross-validation\n")
    began = time.perf_counter()
    compare(X, y)
    model = mixture(N_EXPERTS).fit(X, y)
    labels = report(model, X, y)
    words = TITLE, arguments.target, {}
    if arguments.data == RENTALS:
        title = f"Rush hours, free afternoons, and nights. {TITLE}"
        words = title, "rentals per hour", UNITS
    draw(model, X, labels, arguments.picture, *words)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
