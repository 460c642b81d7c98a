"""Cheap models that may be students, by name."""

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from .._estimators.classifier import MoEClassifier
from .._estimators.pool_members import TablePipeline, TreesOnTables
from .._estimators.regressor import MoERegressor
from .._tables.columns import column_numbers, text_positions
from .._tables.frames import as_columns
from ..experts._encoding import numeric_encoding
from ..experts._mlp import MLPExpert

# Columns beyond which a student takes too long to fit.
MOST_COLUMNS = {"additive": 100, "linear": 300}


def is_plain(X):
    """Whether a table holds numbers only, and no gaps."""
    if text_positions(X):
        return False
    return all(np.isfinite(column_numbers(own)).all() for own in as_columns(X))


def students(X, classify, seed):
    """Unfitted estimators by name, for tables such as X."""
    own = {
        "linear": _mixture(classify, seed, n_experts=6),
        "network": _network(classify, seed),
    }
    if not is_plain(X):
        # Reading a table costs more than the answer; numbers are not read twice.
        own = {
            name: TablePipeline([("encode", numeric_encoding()), (name, model)])
            for name, model in own.items()
        }
    own["additive"] = _mixture(
        classify, seed, experts="additive", n_experts=3, gate="additive"
    )
    own["small_trees"] = _trees(classify, seed, 60, 0.15)
    own["trees"] = _trees(classify, seed, 200, 0.1)
    n_columns = np.shape(X)[1]
    return {
        name: model
        for name, model in own.items()
        if n_columns <= MOST_COLUMNS.get(name, np.inf)
    }


def _mixture(classify, seed, **parameters):
    kind = MoEClassifier if classify else MoERegressor
    return kind(random_state=seed, **parameters)


def _network(classify, seed):
    # A mixture of one expert is that expert; one start alone may be a tenth worse.
    own = {"experts": MLPExpert((64, 64), alpha=0.1), "n_experts": 1, "n_members": 3}
    return _mixture(classify, seed, trainer="gradient", **own)


def _trees(classify, seed, n_trees, learning_rate):
    kind = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    trees = kind(
        max_iter=n_trees,
        learning_rate=learning_rate,
        max_leaf_nodes=15,
        early_stopping=False,
        random_state=seed,
    )
    return TreesOnTables(trees)
