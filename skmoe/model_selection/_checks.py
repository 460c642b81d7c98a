"""What a search is given: sizes, penalties, folds."""

import numbers
import reprlib
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import (
    GroupKFold,
    ParameterGrid,
    StratifiedGroupKFold,
    check_cv,
)
from sklearn.utils.multiclass import check_classification_targets

from .._estimators.base import BaseMoE, check_groups
from .._estimators.parameters import refuse_classes
from .._estimators.parts import MOST_EXPERTS, has_own_names, resolve_router
from .._estimators.subjects import GroupsDiffer
from .._warnings import warn
from ..trainers._folds import check_whole, checked_folds
from ._merging import trainer_of

# Folds if none are given.
N_FOLDS = 5
# What scikit-learn says of small classes; we name them, and what follows.
SMALL_CLASS = "The least populated class"


def check_rows(n_rows, owner):
    """Raise ``ValueError`` for a single row, which no search can learn from."""
    if n_rows < 2:
        raise ValueError(
            f"{owner} got n_samples={n_rows}, but a search compares fits, each of at "
            "least two rows, and scores others with criterion='cv'; bring more."
        )


def check_source(criterion, given, owner):
    """Raise ``ValueError`` for folds of a source, and for what it holds itself.

    ``given`` are the other arguments of ``fit``, by name.
    """
    beside = sorted(name for name, own in given.items() if own is not None)
    if beside:
        raise ValueError(
            f"{owner} got a RowSource with {beside}, but a source holds y and weights "
            "itself; leave them out, or give the rows as arrays."
        )
    if criterion == "cv":
        raise ValueError(
            f"{owner} got a RowSource with criterion='cv', but folds take rows that "
            "are at hand; use criterion='bic', 'aic' or 'icl', or give the rows as "
            "arrays."
        )


def check_sizes(given, owner):
    """Sizes to try, ascending; an integer stands for all up to it."""
    whole = isinstance(given, numbers.Integral)
    listed = [given] if whole else list(np.ravel(np.asarray(given, dtype=object)))
    if not listed or not all(_is_count(size) for size in listed):
        raise ValueError(
            f"{owner} got n_experts={given!r}, but expected integers >= 1, at "
            f"most {MOST_EXPERTS}, or one for all up to it."
        )
    listed = range(1, given + 1) if whole else listed
    return sorted({int(size) for size in listed})


def suits(router, n_experts, owner):
    """Whether a router, as given, can serve so many experts."""
    try:
        resolve_router(router, n_experts, owner)
    except ValueError:
        return False
    return True


def _is_count(size):
    whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    return whole and 1 <= size <= MOST_EXPERTS


def check_mixture(mixture, sizes, classify, owner):
    """Raise ``ValueError`` unless the mixture has the task and all the sizes."""
    if not isinstance(mixture, BaseMoE) or "n_experts" not in mixture.get_params():
        raise ValueError(
            f"{owner} got estimator={mixture!r}, which has no n_experts; pass a "
            "MoERegressor or MoEClassifier."
        )
    if mixture._classify != classify:
        other = "MoERegressorCV" if classify else "MoEClassifierCV"
        raise ValueError(
            f"{owner} got estimator={mixture!r}, which is for another task; use "
            f"{other}."
        )
    if has_own_names(mixture.experts) and len(sizes) > 1:
        raise ValueError(
            f"{owner} got a mixture with experts by name, whose number is fixed; pass "
            "one estimator, or n_experts=[1]."
        )


def check_grid(param_grid, mixture, owner):
    """Penalties to try, as a list of dicts that the mixture takes."""
    try:
        grid = list(ParameterGrid(param_grid or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{owner} got param_grid={param_grid!r}, but expected a dict, or several, "
            "from names of parameters to lists of values that are not empty."
        ) from error
    for params in grid:
        if "n_experts" in params:
            raise ValueError(
                f"{owner} got param_grid={param_grid!r}, but sizes are the search's "
                "own; give them as n_experts."
            )
        refuse_classes(clone(mixture).set_params(**params))
    return grid


def splits_of(cv, rows, groups, classify, owner):
    """Training and held-out rows of each fold, with none that no model could score.

    Rows of weight zero take no part.  Where no training row has the class of a held-out
    one, that row is not scored.
    """
    if classify:
        check_classification_targets(rows.y)
    n_folds = N_FOLDS if cv is None else cv
    if isinstance(n_folds, numbers.Integral):
        _check_n_folds(n_folds, rows, groups, classify, owner)
    # A list of folds may be as long as the rows.
    shown = f"{owner} got cv={reprlib.repr(cv)}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=SMALL_CLASS)
        splitter = check_cv(cv, rows.y, classifier=classify)
        if groups is not None and isinstance(n_folds, numbers.Integral):
            kind = StratifiedGroupKFold if classify else GroupKFold
            splitter = kind(n_folds)
        splits = splitter.split(rows.X, rows.y, groups)
        splits = rows.counting(checked_folds(splits, rows.n_rows, shown))
    if rows.groups is not None:
        check_whole(splits, rows.groups, shown)
    if classify:
        splits = _of_known_classes(splits, np.ravel(rows.y), owner)
    if not splits:
        raise ValueError(
            f"{shown}, which leaves no fold with rows to train and to "
            "score on; use other folds, or criterion='bic'."
        )
    if min(len(train) for train, _ in splits) < 2:
        raise ValueError(
            f"{shown} for {rows.n_rows} rows, which leaves a fold with "
            "one row to train on, but a mixture needs two; bring more rows, or use "
            "other folds, or criterion='bic'."
        )
    return splits


def _check_n_folds(n_folds, rows, groups, classify, owner):
    counts, what = [rows.n_rows], "rows"
    if groups is not None:
        counts, what = [len(np.unique(groups))], "groups"
    elif classify:
        counts, what = np.unique(rows.y, return_counts=True)[1], "rows of one class"
    most = int(max(counts))
    if n_folds > most:
        remedy = f"cv={most}" if most > 1 else "more rows"
        raise ValueError(
            f"{owner} makes {n_folds} folds, but there are at most {most} {what}; use "
            f"{remedy}, or criterion='bic', which needs no folds."
        )


def _of_known_classes(splits, y, owner):
    """Folds without held-out rows whose class no training row has."""
    kept, unknown = [], set()
    for train, test in splits:
        known = np.isin(y[test], y[train])
        unknown.update(y[test][~known].tolist())
        if known.any():
            kept.append((train, np.asarray(test)[known]))
    if unknown:
        classes = sorted(unknown, key=str)
        found = [int(np.sum(y == label)) for label in classes]
        warn(
            f"{owner}: the classes {classes} have {found} rows, and a fold holds all "
            "of them out: there they are not scored; use fewer folds, criterion='bic', "
            "or join such classes with others."
        )
    return kept


def sharing(mixture, rows, groups, cv):
    """Labels (n,) of groups whose rows are to share experts; None if they are not.

    They are not under a trainer that makes nothing of it, nor where the gate tells
    their rows apart, if ``cv`` is a splitter of the user's, for which they are.
    """
    if groups is None or not trainer_of(mixture).shares_experts:
        return None
    try:
        check_groups(clone(mixture), rows.X, rows.y, rows.weight, groups)
    except GroupsDiffer:
        if cv is None or isinstance(cv, numbers.Integral):
            raise
        return None
    return groups
