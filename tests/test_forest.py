"""Forests as arrays say what the forests of scikit-learn say."""

import pickle

import naive
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from skmoe.experts import CompactForest

RNG = np.random.default_rng(0)
# Some columns of few values, so that rows lie at thresholds.
TABLE = np.column_stack([RNG.normal(size=(80, 2)), RNG.integers(0, 3, (80, 2))])
y = TABLE[:, 0] * TABLE[:, 2] + RNG.normal(size=80)
TARGETS = {
    "one": y,
    "two": np.column_stack([y, -3 * y + TABLE[:, 1]]),
    "small": 1e-12 * y,
    "labels": np.where(y > 0, "b", np.where(y > -1, "a", "c")),
}
FORESTS = [
    (ExtraTreesRegressor(7, random_state=0), "one"),
    (ExtraTreesRegressor(7, random_state=0), "two"),
    (ExtraTreesRegressor(7, random_state=0), "small"),
    (RandomForestRegressor(7, min_samples_leaf=3, random_state=0), "one"),
    (ExtraTreesClassifier(7, random_state=0), "labels"),
    (RandomForestClassifier(7, max_depth=3, random_state=0), "labels"),
]


def moments(own, weight):
    """Mean and standard deviation of targets."""
    center = np.average(own, axis=0, weights=weight)
    return center, np.sqrt(np.average((own - center) ** 2, axis=0, weights=weight))


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("forest", "target"), FORESTS)
def test_answers_are_those_of_the_forest(forest, target, weighted, gaps):
    own, X = TARGETS[target], TABLE
    if gaps:
        X = np.where(RNG.random(TABLE.shape) < 0.2, np.nan, TABLE)
    weight = RNG.uniform(0.5, 2, 80) if weighted else None
    compact = CompactForest(forest).fit(X, own, weight)
    # Midway between rows, on them, and beyond them.
    asked = np.concatenate([X, (X[:40] + X[40:]) / 2, 3 * X])
    classify = target == "labels"
    center, scale = (0.0, 1.0) if classify else moments(own, weight)
    fitted = forest.fit(X, own if classify else (own - center) / scale, weight)
    expected = naive.forest_mean([t.tree_ for t in fitted.estimators_], asked)
    if classify:
        np.testing.assert_allclose(compact.predict_proba(asked), expected, atol=1e-6)
        np.testing.assert_array_equal(compact.predict(asked), fitted.predict(asked))
    else:
        means = center + scale * expected.reshape(-1, *own.shape[1:])
        found = compact.predict(asked)
        np.testing.assert_allclose(found / scale, means / scale, rtol=0, atol=1e-6)


def test_forest_is_kept_in_a_fraction_of_the_memory():
    forest = ExtraTreesRegressor(50, random_state=0)
    compact = CompactForest(forest).fit(TABLE, y)
    whole = len(pickle.dumps(clone(forest).fit(TABLE, y)))
    assert len(pickle.dumps(compact)) < whole / 4


def test_trees_that_grew_best_first_are_refused():
    forest = ExtraTreesRegressor(3, max_leaf_nodes=10, random_state=0)
    with pytest.raises(ValueError, match="max_leaf_nodes=None"):
        CompactForest(forest).fit(TABLE, y)


def test_other_columns_are_refused():
    compact = CompactForest(ExtraTreesRegressor(3, random_state=0)).fit(TABLE, y)
    with pytest.raises(ValueError, match="4 features"):
        compact.predict(TABLE[:, :3])
