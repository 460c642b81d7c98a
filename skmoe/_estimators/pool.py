"""A pool of different experts for tables as they come."""

from __future__ import annotations

import numbers
import time
from collections.abc import Sequence

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.utils import get_tags

from .._sklearn import available_if, safe_indexing
from .._stamp import Stamped
from .._tables.columns import text_positions
from .._warnings import heard
from ..experts._encoding import numeric_encoding, ordinal_encoding
from ..experts._foreign import fit_expert, weight_arguments
from ..experts._forest import CompactForest
from ..experts._linear import LinearExpert
from ..experts._mlp import MLPExpert
from ..gates import SoftmaxGate
from .classifier import MoEClassifier
from .presets import Pool, PoolMember
from .regressor import MoERegressor

# Rows of the pilot fits by which a time budget is shared out.
PILOT_ROWS = 1000
# Fits that a member costs: five folds, and all rows.
FITS_PER_MEMBER = 6
# Rows, and rows per column, below which a member is left out.
FEWEST_ROWS = {
    "boosting": 50,
    "neighbours": 125,
    "network": 50,
    "smooth_network": 50,
    "additive": 100,
    "mixture": 100,
}
FEWEST_PER_COLUMN = {"mixture": 50}
FEWEST_CLASSES = {"linear": 2, "boosting": 2, "additive": 2}
MOST_ROWS = {"neighbours": 200_000}
MOST_COLUMNS = {"mixture": 300, "neighbours": 300, "additive": 150}


class TablePipeline(Stamped, Pipeline):
    """A pipeline that lets gaps in where its first step does."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = get_tags(self.steps[0][1]).input_tags.allow_nan
        return tags


def _has_proba(model):
    if not hasattr(model.estimator, "predict_proba"):
        raise AttributeError(
            f"TreesOnTables has no predict_proba with estimator={model.estimator!r}; "
            "use a classifier that has."
        )


class TreesOnTables(Stamped):
    """Histogram-based boosted trees that split raw categories as categories.

    Parameters
    ----------
    estimator : HistGradientBoostingRegressor or HistGradientBoostingClassifier
    text : list of int, default=None
        Positions of the text columns, see :class:`TableEncoder`.
    """

    def __init__(self, estimator, text=None):
        self.estimator = estimator
        self.text = text

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.regressor_tags, tags.classifier_tags = (
            inner.regressor_tags,
            inner.classifier_tags,
        )
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X, y, sample_weight=None):
        """Fit the encoder and the trees, one model per output; returns self."""
        self.encoder_ = ordinal_encoding(np.nan).set_params(text=self.text).fit(X)
        encoded = self.encoder_.transform(X)
        categories = list(range(len(self.encoder_.text_)))
        trees = clone(self.estimator).set_params(categorical_features=categories)
        if np.ndim(y) == 2:
            trees = MultiOutputRegressor(trees)
        given = sample_weight is not None
        weights = weight_arguments(trees, sample_weight) if given else {}
        self.estimator_ = trees.fit(encoded, y, **weights)
        if is_classifier(trees):
            self.classes_ = trees.classes_
        return self

    def predict(self, X):
        """Predictions of the trees."""
        return self.estimator_.predict(self.encoder_.transform(X))

    @available_if(_has_proba)
    def predict_proba(self, X):
        """Class probabilities of the trees."""
        return self.estimator_.predict_proba(self.encoder_.transform(X))


class AutoPool(Pool):
    """Experts of different kinds, each in the pipeline that a raw table needs.

    What ``experts="auto"`` stands for; made for ``trainer="two-stage"``.  Categories
    (columns that are no numbers) and missing values may stay in the table.

    ==============  =====================================================
    member          estimator
    ==============  =====================================================
    linear          ridge with its penalty by cross-validation; logistic
    boosting        histogram-based boosted trees on raw categories
    forest          extremely randomised trees
    neighbours      ten nearest neighbours on columns made normal
    network         average of three two-layer perceptrons
    smooth_network  the same, with a stronger penalty
    mixture         mixture of linear experts
    ==============  =====================================================

    Parameters
    ----------
    include : list of str, default=None
        Members to consider; None for all of them.
    max_time : float, default=None
        Seconds that fitting all members and their local corrections may take on one
        core, with five folds, estimated by pilot fits on up to 1000 rows, which are
        part of it; the cheapest members come first, and the first one always stays.
        Results then depend on the machine.

    Notes
    -----
    Only ratios of ``sample_weight`` count; neighbours, which take no weights, are
    fitted to rows drawn in proportion to them.  Members keep their warnings back:
    whether one has converged shows in the loss of its predictions.

    A fitted mixture lists all members in ``expert_pool_``, with the reason for those
    that it left out: too few rows (boosting and networks need 50, neighbours 125, the
    mixture 100, and 50 per column), too many rows (neighbours: 200 000) or columns
    (neighbours and mixture: 300), a single class (linear, boosting), or the time.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.experts import AutoPool
    >>> X, y = make_regimes(60, random_state=0)
    >>> pool = AutoPool(include=["linear", "neighbours"])
    >>> model = MoERegressor(pool, trainer="two-stage", random_state=0).fit(X, y)
    >>> [member.name for member in model.expert_pool_]
    ['linear', 'neighbours']
    """

    def __init__(
        self, include: Sequence[str] | None = None, max_time: float | None = None
    ) -> None:
        self.include = include
        self.max_time = max_time

    def check(self):
        """Raise ``ValueError`` for parameters that make no sense."""
        known, include = [*MEMBERS], self.include
        listed = isinstance(include, (list, tuple, set)) and set(include) <= {*known}
        if include is not None and not (listed and include):
            raise ValueError(
                f"AutoPool got include={self.include!r}, but expected None or some of "
                f"{known}."
            )
        is_number = isinstance(self.max_time, numbers.Real)
        if self.max_time is not None and not (is_number and self.max_time > 0):
            raise ValueError(
                f"AutoPool got max_time={self.max_time!r}, but expected None or "
                "seconds > 0."
            )

    def encoding(self):
        """Unfitted transformer from raw columns to numbers, for the gate."""
        return numeric_encoding()

    def members(self, classify):
        """Names and unfitted estimators, of classifiers or of regressors."""
        include = USUAL if self.include is None else self.include
        names = [name for name in MEMBERS if name in include]
        return names, [MEMBERS[name](classify) for name in names]

    def screen(self, names, experts, X, y, apart=(), correction=None):
        """All members, with the reasons of those that are left out.

        Parameters
        ----------
        names : list of str
        experts : list of unfitted estimators
        X : table of shape (n, p)
        y : (n,) or (n, n_outputs)
        apart : container of str, default=()
            Members that see other columns than those of X, whose places say nothing
            to them.
        correction : (estimator, int), default=None
            What is fitted beside each member, and how often, by a budget of time.

        Returns
        -------
        list of PoolMember

        Raises
        ------
        ValueError
            If nobody is left.
        """
        n_classes = len(np.unique(y)) if is_classifier(experts[0]) else None
        text = text_positions(X)
        experts = [
            expert if name in apart else _with_text(expert, text)
            for name, expert in zip(names, experts, strict=True)
        ]
        reasons = {name: _misfit(name, *X.shape, n_classes) for name in names}
        if all(reasons.values()):
            why = "; ".join(f"{name} {reason}" for name, reason in reasons.items())
            raise ValueError(
                f"AutoPool got X with n_samples={X.shape[0]} and n_features="
                f"{X.shape[1]}, for which none of its members is made ({why}); include "
                "more of them."
            )
        if self.max_time is not None:
            named = zip(names, experts, strict=True)
            fits = {n: _with_text(e, text) for n, e in named if not reasons[n]}
            reasons |= self._too_slow(fits, X, y, correction)
        return [
            PoolMember(name, expert, reasons[name])
            for name, expert in zip(names, experts, strict=True)
        ]

    def _too_slow(self, experts, X, y, correction):
        """Reasons of the members that do not fit into the time, cheapest first."""
        started, n_rows = time.perf_counter(), X.shape[0]
        # In the order of y, so that rows of the first and the last class are there.
        order = np.argsort(y if np.ndim(y) == 1 else y[:, 0], kind="stable")
        places = np.linspace(0, n_rows - 1, min(n_rows, PILOT_ROWS)).astype(int)
        rows = np.sort(order[places])
        pilot, labels = safe_indexing(X, rows), y[rows]
        scale = n_rows / len(rows)
        seconds = {
            name: scale * FITS_PER_MEMBER * _seconds_of_fit(expert, pilot, labels)
            for name, expert in experts.items()
        }
        if correction is not None:
            model, n_fits = correction
            encoded = numeric_encoding().fit_transform(pilot)
            outputs = labels.reshape(len(rows), -1).T
            spent = sum(_seconds_of_fit(model, encoded, own) for own in outputs)
            seconds = {k: own + scale * n_fits * spent for k, own in seconds.items()}
        reasons, left = {}, self.max_time - (time.perf_counter() - started)
        for position, name in enumerate(sorted(seconds, key=seconds.get)):
            if position and seconds[name] > left:
                reasons[name] = (
                    f"would take about {seconds[name]:.3g} s of max_time="
                    f"{self.max_time}"
                )
            else:
                left -= seconds[name]
        return reasons


def _seconds_of_fit(expert, X, y):
    started = time.perf_counter()
    # The same is said again by the fits that count.
    heard(fit_expert, expert, X, y, np.ones(len(y)), 0)
    return time.perf_counter() - started


def _with_text(expert, text):
    """The expert, which reads columns at these positions as text, whatever its rows."""
    keys = [key for key in expert.get_params() if key.split("__")[-1] == "text"]
    return clone(expert).set_params(**dict.fromkeys(keys, text))


def _misfit(name, n_rows, n_columns, n_classes=None):
    """Why a member does not suit a table of some size and classes, or None."""
    if n_classes is not None and n_classes < FEWEST_CLASSES.get(name, 0):
        return f"needs at least {FEWEST_CLASSES[name]} classes"
    if n_rows < FEWEST_ROWS.get(name, 0):
        return f"needs at least {FEWEST_ROWS[name]} rows"
    if n_rows < FEWEST_PER_COLUMN.get(name, 0) * n_columns:
        return f"needs at least {FEWEST_PER_COLUMN[name]} rows per column"
    if n_rows > MOST_ROWS.get(name, np.inf):
        return f"is too slow beyond {MOST_ROWS[name]} rows"
    if n_columns > MOST_COLUMNS.get(name, np.inf):
        return f"suits at most {MOST_COLUMNS[name]} columns"
    return None


def _linear(classify):
    last = LogisticRegression(max_iter=500)
    last = last if classify else RidgeCV(tuple(np.logspace(-2, 4, 13)))
    return TablePipeline([("encode", numeric_encoding()), ("linear", last)])


def _boosting(classify):
    # Early stopping would hold rows out, and cannot where a class has a single one.
    # Classifiers are the more cautious: the log-loss punishes those too sure.
    if classify:
        trees = HistGradientBoostingClassifier(
            max_leaf_nodes=15, l2_regularization=1.0, max_iter=300
        )
    else:
        trees = HistGradientBoostingRegressor(max_features=0.5, max_iter=300)
    return TreesOnTables(trees.set_params(learning_rate=0.05, early_stopping=False))


def _forest(classify):
    if classify:
        trees = ExtraTreesClassifier(n_estimators=60)
    else:
        trees = ExtraTreesRegressor(n_estimators=60, min_samples_leaf=2)
    last = CompactForest(trees)
    return TablePipeline([("encode", ordinal_encoding(-1)), ("forest", last)])


def _neighbours(classify):
    kind = KNeighborsClassifier if classify else KNeighborsRegressor
    normal = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    last = kind(n_neighbors=10, weights="distance")
    return TablePipeline([("encode", numeric_encoding(normal)), ("neighbours", last)])


def _mixture_kind(classify):
    return MoEClassifier if classify else MoERegressor


def _networks(alpha, classify):
    # A mixture of one expert is that expert.
    expert = MLPExpert((64, 64), alpha=alpha)
    last = _mixture_kind(classify)(expert, n_experts=1, trainer="gradient", n_members=1)
    return TablePipeline([("encode", numeric_encoding()), ("network", last)])


def _network(classify):
    return _networks(1.0, classify)


def _smooth_network(classify):
    return _networks(30.0, classify)


def _additive(classify):
    return _mixture_kind(classify)("additive", gate="additive", n_experts=4)


def _mixture(classify):
    last = MoERegressor(n_experts=8)
    if classify:
        last = MoEClassifier(
            LinearExpert(alpha=1.0), n_experts=4, gate=SoftmaxGate(alpha=1.0)
        )
    return TablePipeline([("encode", numeric_encoding()), ("mixture", last)])


MEMBERS = {
    "linear": _linear,
    "boosting": _boosting,
    "forest": _forest,
    "neighbours": _neighbours,
    "network": _network,
    "smooth_network": _smooth_network,
    "additive": _additive,
    "mixture": _mixture,
}
# What "auto" stands for; the others are there by name.
USUAL = (
    "linear",
    "boosting",
    "forest",
    "neighbours",
    "network",
    "smooth_network",
    "additive",
)
