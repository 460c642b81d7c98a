"""Classes with many columns: CPU time beside logistic regression in the same run.

    OMP_NUM_THREADS=1 python benchmarks/wide.py [--very-wide]

CPU seconds are summed over threads.  ``LogisticRegression`` gets the standardised
columns (sparse ones without a centre) and the same penalty; its time is the mean of
several fits.  ``--very-wide`` adds 20 000 rows x 50 000 columns with a million entries,
a few iterations of which tell what memory a fit takes.
"""

import argparse
import os
import tracemalloc
import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe.exceptions import ExpertCollapseWarning
from skmoe.trainers import EM

N_REFERENCE_FITS = 5


def cpu_seconds(function):
    """Result of a call, and the CPU seconds that it took."""
    before = os.times()
    result = function()
    after = os.times()
    return result, after.user + after.system - before.user - before.system


def regimes(n_rows, n_columns, n_classes, seed=0):
    """Normal columns; by the sign of the first, one of two rules gives the class."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_rows, n_columns))
    slopes = rng.normal(size=(2, 10, n_classes)) / np.sqrt(10)
    rule = slopes[(X[:, 0] > 0).astype(int)]
    logits = np.einsum("np,npc->nc", X[:, :10], rule)
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def texts(n_rows, n_columns, n_classes, n_words, seed=0):
    """Weighted counts of words, of which classes prefer some."""
    rng = np.random.RandomState(seed)
    common = np.arange(1.0, n_columns + 1) ** -0.8
    topics = common * np.exp(0.7 * rng.normal(size=(n_classes, n_columns)))
    topics /= topics.sum(axis=1, keepdims=True)
    y = rng.randint(n_classes, size=n_rows)
    words = np.concatenate([rng.choice(n_columns, n_words, p=topics[c]) for c in y])
    rows = np.repeat(np.arange(n_rows), n_words)
    counts = sparse.coo_array((np.ones(len(rows)), (rows, words)), (n_rows, n_columns))
    return sparse.csr_array(TfidfTransformer().fit_transform(counts.tocsr())), y


def one_hot(n_rows, n_variables=21, n_levels=5, seed=0):
    """Indicators of categories; two of the variables act together."""
    rng = np.random.RandomState(seed)
    codes = rng.randint(n_levels, size=(n_rows, n_variables))
    X = np.eye(n_levels)[codes].reshape(n_rows, -1)
    additive = X @ rng.normal(size=X.shape[1]) * 0.5
    joint = (codes[:, 0] > 2) * 3 * (codes[:, 1] - 2)
    noisy = additive + joint + rng.logistic(size=n_rows)
    return X, (noisy > np.median(additive)).astype(int)


CASES = {
    "200 x 400, 3 classes": (regimes, (200, 400, 3), 2),
    "200 x 400, 5 classes": (regimes, (200, 400, 5), 2),
    "200 x 400 text, 3 classes": (texts, (200, 400, 3, 30), 2),
    "200 x 400 text, 5 classes": (texts, (200, 400, 5, 30), 2),
    "2000 x 2000 text, 4 classes": (texts, (2000, 2000, 4, 50), 2),
    "6000 x 105 one-hot": (one_hot, (6000,), 4),
}


def report(name, make, arguments, n_experts):
    """A row of the table."""
    X, y = make(*arguments)
    scaled = StandardScaler(with_mean=not sparse.issparse(X)).fit_transform(X)
    _, reference = cpu_seconds(
        lambda: [LogisticRegression().fit(scaled, y) for _ in range(N_REFERENCE_FITS)]
    )
    reference /= N_REFERENCE_FITS
    model = MoEClassifier(n_experts=n_experts, random_state=0)
    model, seconds = cpu_seconds(lambda: model.fit(X, y))
    ratio = seconds / max(reference, 1e-3)
    print(
        f"| {name} | {n_experts} | {reference:.3f} | {seconds:.2f} | {ratio:.0f} "
        f"| {model.n_iter_} | {model.lower_bounds_[-1]:.5f} |"
    )


def report_memory():
    """What a fit of very many sparse columns takes."""
    rng = np.random.RandomState(0)
    n, p, stored = 20_000, 50_000, 1_000_000
    columns = (p * rng.random_sample(stored) ** 2).astype(int)
    places = rng.randint(n, size=stored), columns
    X = sparse.csr_array((rng.random_sample(stored), places), shape=(n, p))
    z = X[:, :50].sum(axis=1) - X[:, 50:100].sum(axis=1)
    trainer = EM(max_iter=3, short_iter=2)
    tracemalloc.start()
    for kind, y in ((MoEClassifier, z > 0), (MoERegressor, z)):
        model = kind(n_experts=2, trainer=trainer, random_state=0)
        _, seconds = cpu_seconds(lambda model=model, y=y: model.fit(X, y))
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        print(f"{kind.__name__}: {seconds:.1f} CPU s, peak {peak:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--very-wide", action="store_true")
    options = parser.parse_args()
    for category in (ConvergenceWarning, ExpertCollapseWarning):
        warnings.simplefilter("ignore", category)
    # Compiled once, before anything is measured.
    MoEClassifier(n_experts=2).fit(*regimes(100, 120, 2))
    MoEClassifier(n_experts=2).fit(*texts(100, 300, 2, 20))
    print("| table | experts | logistic, s | mixture, s | ratio | iterations | bound |")
    print("|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        report(name, *case)
    if options.very_wide:
        report_memory()


if __name__ == "__main__":
    main()
