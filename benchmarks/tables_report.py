"""Markdown tables of the results of ``tables.py``: losses, ranks, seconds, pairs."""

import numpy as np
import pandas as pd
from scipy import stats

OURS = "skmoe two-stage"
PAIRS = [
    ("skmoe two-stage", "stacking"),
    ("skmoe two-stage", "voting"),
    ("skmoe two-stage", "best expert by CV"),
    ("skmoe two-stage", "ensemble of equal size"),
    ("skmoe two-stage, router=1", "skmoe two-stage"),
    ("skmoe two-stage", "skmoe two-stage, local_correction=None"),
    ("skmoe interpretable", "ridge / logistic"),
    ("skmoe interpretable", "linear-tree"),
    ("skmoe interpretable", "skmoe linear mixture"),
    ("skmoe interpretable", "EBM"),
    ("skmoe additive", "skmoe additive, n_experts=1"),
    ("skmoe additive", "HistGradientBoosting"),
    ("skmoe additive, n_members=5", "HistGradientBoosting"),
    ("skmoe additive, n_members=5", "EBM"),
]
# Resamples of the tables.
N_DRAWS = 10_000


def markdown(title, frame):
    """A titled Markdown table; the index is the first column."""
    lines = [f"\n## {title}\n", f"| | {' | '.join(map(str, frame.columns))} |"]
    lines.append("|---" * (len(frame.columns) + 1) + "|")
    for name, row in frame.iterrows():
        lines.append(f"| {name} | {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def mean_losses(losses):
    """Mean loss (tables, models); NaN where a model lacks folds that others have."""
    by_fold = losses.pivot_table(
        index=["table", "fold"], columns="model", values="loss"
    )
    counts = by_fold.groupby("table").count()
    whole = counts.eq(counts.max(axis=1), axis=0)
    return by_fold.groupby("table").mean().where(whole)


def relative(losses):
    """Mean loss of each model over the folds, relative to the best rival of ours."""
    means = mean_losses(losses)
    rivals = [m for m in means if not m.startswith("skmoe two-stage")]
    return means.div(means[rivals].min(axis=1), axis=0)


def ranks(means):
    """Mean rank per model, the Friedman test and the critical difference."""
    # Rounding of the mean over folds, which differs between machines, breaks no ties.
    ranked = np.log(means).round(9).rank(axis=1)
    n_tables, n_models = means.shape
    p_value = np.nan
    if n_models > 2:
        p_value = stats.friedmanchisquare(*ranked.to_numpy().T).pvalue
    q = stats.studentized_range.ppf(0.95, n_models, np.inf) / np.sqrt(2)
    critical = q * np.sqrt(n_models * (n_models + 1) / (6 * n_tables))
    return ranked.mean().sort_values(kind="stable"), p_value, critical


def pair(losses, first, second):
    """Geometric mean of the ratio over tables, its 95 % interval, the worst table."""
    both = losses.pivot_table(index=["table", "fold"], columns="model", values="loss")[
        [first, second]
    ].dropna()
    means = both.groupby("table").mean()
    logs = np.log(means[first] / means[second])
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std() / np.sqrt(len(logs))
    low, middle, high = np.exp(logs.mean() + np.array([-half, 0.0, half]))
    # The t interval widens with a table far on the better side; this one does not.
    draws = np.random.default_rng(0).choice(logs, size=(N_DRAWS, len(logs)))
    ends = np.exp(np.quantile(draws.mean(axis=1), [0.025, 0.975]))
    signed = stats.wilcoxon(logs).pvalue if len(logs) > 5 else np.nan
    return {
        "geometric mean": f"{middle:.4f}",
        "95 % interval": f"{low:.4f} to {high:.4f}",
        "bootstrap": f"{ends[0]:.4f} to {ends[1]:.4f}",
        "median": f"{np.exp(logs.median()):.4f}",
        "Wilcoxon p": f"{signed:.3f}",
        "better on": f"{int((logs < 0).sum())} of {len(logs)}",
        "worst table": f"{logs.idxmax()} {np.exp(logs.max()):.4f}",
    }


def beyond_error(losses, first, second):
    """Tables on which the first is worse by more than 2 % and one paired error."""
    found = []
    for table, own in losses.groupby("table"):
        both = own.pivot_table(index="fold", columns="model", values="loss")
        if not {first, second} <= set(both):
            continue
        both = both[[first, second]].dropna()
        difference = both[first] - both[second]
        error = difference.std() / np.sqrt(len(difference))
        if difference.mean() > max(0.02 * both[second].mean(), error):
            found.append(f"{table} {both[first].mean() / both[second].mean():.3f}")
    return found


def task_report(task, losses):
    """All tables for one task."""
    shown = relative(losses)
    complete = shown.dropna(axis=1)
    order, p_value, critical = ranks(complete)
    parts = [
        markdown(
            f"{task}: loss relative to the best rival",
            shown[order.index].T.map(lambda v: f"{v:.3f}"),
        )
    ]
    seconds = losses.groupby("model")[["fit_seconds", "predict_seconds"]].mean()
    table = seconds.loc[order.index].map(lambda v: f"{v:.3g}")
    table.insert(0, "mean rank", order.map(lambda v: f"{v:.2f}"))
    parts.append(markdown(f"{task}: mean ranks and seconds", table))
    parts.append(
        f"\n{len(shown)} tables, Friedman p = {p_value:.2g}, critical difference of "
        f"ranks {critical:.2f} (Nemenyi, 5 %)."
    )
    left = sorted(set(shown) - set(complete))
    if left:
        parts.append(f"Not on all tables, and so not ranked: {', '.join(left)}.")
    present = set(shown)
    rows = {
        f"{a} / {b}": pair(losses, a, b)
        for a, b in PAIRS
        if a in present and b in present
    }
    if rows and len(shown) > 1:
        parts.append(markdown(f"{task}: pairs", pd.DataFrame(rows).T))
    if {OURS, "best expert by CV"} <= present:
        worse = beyond_error(losses, OURS, "best expert by CV")
        parts.append(f"\nWorse than the best expert by CV beyond error: {worse}.")
    return "\n".join(parts)


def report(results):
    """All tables, as Markdown."""
    parts = []
    if "error" in results:
        failed = results[results.error.notna()]
        for (table, model), own in failed.groupby(["table", "model"]):
            parts.append(f"{model} failed on {table}: {own.error.iloc[0]}")
        results = results[results.error.isna()]
    for task, losses in results.groupby("task"):
        if losses.table.nunique() > 1:
            parts.append(task_report(task, losses))
    return "\n".join(parts)
