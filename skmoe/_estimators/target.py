"""The target of a mixture: numbers, or labels of classes."""

from typing import NamedTuple

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_array, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from .._tables.columns import no_number
from .._tables.frames import as_columns, from_arrow, kind_of, refuse_name
from .._tables.names import advised
from .._tables.table import (
    check_units,
    holds_times,
    opened_target,
    row_weights,
    weights_in_range,
)
from .._tables.values import Kind, is_gap, is_single, kind_of_value
from .._warnings import warn


class ValueTarget(NamedTuple):
    """The target of a regression, as ``fit`` has read it.

    Attributes
    ----------
    n_dims : int, one or two, as y was given
    n_outputs : int
    names : tuple of str, of the outputs; empty where y had none
    """

    n_dims: int
    n_outputs: int
    names: tuple = ()

    # Labels of classes, of which there are none.
    classes = None

    @classmethod
    def read(cls, y, table, sample_weight, model):
        """The target, validated y, and weights of the rows."""
        check_given(y, type(model).__name__)
        names, y = target_names(y), checked_numbers(y, table.raw, model)
        outputs = y.reshape(len(y), -1)
        check_units(outputs, ["y"] * outputs.shape[1], small=True)
        weight = row_weights(table.raw, sample_weight)
        return cls(y.ndim, outputs.shape[1], names), y, weight

    @classmethod
    def read_batch(cls, y, table, sample_weight, model, earlier, classes):
        """The same for one of several batches."""
        return cls.read(y, table, sample_weight, model)

    def check(self, y, len_of, model):
        """Validated y, with as many rows as ``len_of``."""
        y = checked_numbers(y, len_of, model)
        n_outputs = y.shape[1] if y.ndim == 2 else 1
        if n_outputs != self.n_outputs:
            raise ValueError(
                f"{type(model).__name__} got y with {n_outputs} outputs, but was "
                f"fitted with {self.n_outputs}; give the same ones."
            )
        return y

    def encode(self, y):
        """Validated y as outputs (n, d)."""
        return y.reshape(len(y), -1)

    def shaped(self, values):
        """What is known of each output, (n, d, ...), in the shape of y."""
        return values[:, 0] if self.n_dims == 1 else values

    def size(self, likelihood, owner, n_rows, offset=None, trials=None):
        """Exposures or trials (n,) of rows, None for one."""
        given = {"offset": offset, "trials": trials}
        return sizes_of(likelihood, owner, n_rows, given)


class ClassTarget(NamedTuple):
    """The target of a classification, as ``fit`` has read it.

    Attributes
    ----------
    classes : (n_classes,) sorted labels
    names : tuple of str, of y; empty where it had none
    """

    classes: np.ndarray
    names: tuple = ()

    # Outputs of a regression, of which there are none.
    n_outputs = None

    @classmethod
    def read(cls, y, table, sample_weight, model):
        """The target, validated y, and weights of the rows."""
        check_given(y, type(model).__name__)
        names, y = target_names(y), checked_labels(y, table.raw)
        try:
            check_classification_targets(y)
        except ValueError as error:
            owner = type(model).__name__.replace("Classifier", "Regressor")
            raise advised(error, f"use {owner} for numbers") from error
        weight = row_weights(table.raw, sample_weight)
        return cls(np.unique(y), names), y, class_weights(model.class_weight, y, weight)

    @classmethod
    def read_batch(cls, y, table, sample_weight, model, earlier, classes):
        """The same for one of several batches; ``earlier`` is the target of the last.

        ``classes`` are the labels that may come, or None.
        """
        if earlier is None and classes is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit, since a "
                "batch need not hold all of them."
            )
        if isinstance(model.class_weight, str):
            raise ValueError(
                f"partial_fit got class_weight={model.class_weight!r}, but expected "
                "None or a dict: a batch does not know the balance of all rows."
            )
        known = known_classes(classes, None if earlier is None else earlier.classes)
        own, y, weight = cls.read(y, table, sample_weight, model)
        return cls(known, own.names), y, weight

    def check(self, y, len_of, model):
        """Validated y, with as many rows as ``len_of``."""
        return checked_labels(y, len_of)

    def encode(self, y):
        """Validated y as numbers of classes (n,)."""
        unseen = np.setdiff1d(y, self.classes)
        if len(unseen):
            raise ValueError(
                f"y contains labels {unseen.tolist()} that were not seen in fit; the "
                f"classes are {self.classes.tolist()}."
            )
        return np.searchsorted(self.classes, y)

    def size(self, likelihood, owner, n_rows):
        """Exposures or trials of rows: none here."""
        return


def target_names(y):
    """Names of the outputs of a series or frame that has some in words, or nothing."""
    columns = getattr(y, "columns", None)
    names = [getattr(y, "name", None)] if columns is None else list(columns)
    named = all(isinstance(own, str) and own for own in names)
    return tuple(names) if named else ()


def check_takes(likelihood, owner, given):
    """Raise ``ValueError`` for offset or trials that a likelihood does not take."""
    for name, value in given.items():
        if value is not None and name != likelihood.takes:
            raise ValueError(
                f"{owner} got {name} with {likelihood!r}, which takes "
                f"{likelihood.takes or 'neither offset nor trials'}; offset is for "
                "counts and gamma, trials for binomial."
            )


def sizes_of(likelihood, owner, n_rows, given):
    """Exposures or trials (n,) of rows by what is ``given``, by name; None for one."""
    check_takes(likelihood, owner, given)
    value = given.get(likelihood.takes)
    if value is None:
        return None
    return likelihood.size_of(size_numbers(likelihood.takes, value, n_rows))


# What sizes are, and what to do about rows whose size is none.
SIZES = {
    "offset": "the logarithm of the exposure",
    "trials": "the number of trials",
}


def size_numbers(name, value, n_rows):
    """Offset or trials (n,) as finite numbers."""
    what = SIZES[name]
    refuse_name(name, value, what)
    try:
        value = from_arrow(value)
        numbers = check_array(
            value if np.ndim(value) else np.atleast_1d(value),
            ensure_2d=False,
            dtype=float,
            ensure_all_finite=False,
        )
    except (TypeError, ValueError) as error:
        said = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            f"{name} holds no numbers ({said}), but expected {what} for each row of X."
        ) from error
    if np.ndim(value) != 1 or len(numbers) != n_rows:
        raise ValueError(
            f"{name} has shape {np.shape(value)}, but expected ({n_rows},), {what} for "
            "each row of X."
        )
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        zero = "; it is -inf for an exposure of 0" if numbers[row] == -np.inf else ""
        raise ValueError(
            f"{name} is {numbers[row]} in row {row}, but expected {what} for each row "
            f"of X, which is finite{zero}; leave such rows out."
        )
    return numbers


def check_given(y, owner):
    """Raise ``ValueError`` where there is no target."""
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")


def checked_numbers(y, len_of, model):
    """Validated numbers (n,) or (n, d)."""
    y = read_numbers(y, model)
    if y.ndim > 2:
        raise ValueError(f"y has shape {y.shape}, but expected (n,) or (n, d).")
    _check_length(len_of, y)
    return y


def read_numbers(y, model):
    """The target of a regression as floats."""
    y = opened_target(y)
    when = _time_in(y)
    if when is not None:
        _refuse_target(when, model)
    try:
        return check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=model
        )
    except (TypeError, ValueError) as error:
        cells = np.asarray(y, dtype=object).reshape(-1, 1)
        found = no_number(cells, str(error))
        if str(error).startswith("Input y contains"):
            remedy = "leave such rows out, as by X[np.isfinite(y)]"
            raise advised(error, remedy) from error
        if found is None or not is_single(found[1]) or isinstance(found[1], complex):
            raise
        _refuse_target(found[1], model, error)


# What to do about values of a target that are no numbers, by their kind.
REMEDIES = {
    Kind.SPANS: "give seconds as numbers, such as y.dt.total_seconds()",
    Kind.TIMES: "give numbers, such as days since a date",
    Kind.CLOCKS: "give numbers, such as seconds since midnight",
}


def _refuse_target(value, model, error=None):
    owner = type(model).__name__
    classes = owner.replace("Regressor", "Classifier")
    otherwise = f"give numbers, or use {classes} for classes"
    raise ValueError(
        f"{owner} could not convert {value!r} in y to a number; "
        f"{REMEDIES.get(kind_of_value(value), otherwise)}."
    ) from error


def _time_in(y):
    """A value of a target that holds times by its type, else None."""
    if not holds_times(y):
        return None
    columns = as_columns(y) if len(y.shape) == 2 else [y]
    column = next(own for own in columns if kind_of(own.dtype) in "mM")
    return next((value for value in column if not is_gap(value)), np.datetime64("NaT"))


def _check_length(X, y):
    """Raise ``ValueError`` unless y has a value for each row of X."""
    if X.shape[0] != len(y):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{X.shape[0]} rows of X, {len(y)} of y; give y a value for each row of X."
        )


def checked_labels(y, len_of):
    """Validated labels (n,)."""
    refuse_name("y", y, "a label")
    if np.asarray(y).shape[1:] == (1,):
        warn(
            "A column-vector y was passed when a 1d array was expected; give "
            "y.ravel().",
            DataConversionWarning,
        )
    y = column_or_1d(plain_labels(y))
    _check_length(len_of, y)
    return y


def plain_labels(y):
    """Labels as an array, of truth values where all are; none of them may miss."""
    if isinstance(y, np.ma.MaskedArray):
        y = (
            np.where(np.ma.getmaskarray(y), None, y.data)
            if np.ma.is_masked(y)
            else y.data
        )
    labels = np.asarray(from_arrow(y))
    if labels.dtype.kind not in "Of":
        return labels
    gaps = [bool(is_gap(value)) for value in labels.ravel()]
    if any(gaps):
        raise ValueError(
            f"Input y contains NaN: row {gaps.index(True)} has no label; leave such "
            "rows out."
        )
    truths = all(isinstance(value, (bool, np.bool_)) for value in labels.ravel())
    return labels.astype(bool) if truths else labels


def class_weights(class_weight, y, weight):
    """Weights (n,) of rows, times those of their classes."""
    if class_weight is None:
        return weight
    counts = weight > 0
    present, known = np.unique(y[counts]), weight[counts]
    factors = compute_class_weight(
        class_weight, classes=present, y=y[counts], sample_weight=known
    )
    if not np.all(factors >= 0.0):
        raise ValueError(
            f"got class_weight={class_weight!r}, but expected numbers >= 0, one for "
            "each class."
        )
    factors = factors[np.searchsorted(present, y).clip(max=len(present) - 1)]
    with np.errstate(over="ignore"):
        weight = weight * factors
    return weights_in_range(
        weight, f"sample_weight times class_weight={class_weight!r}"
    )


def known_classes(classes, earlier):
    """All labels that may come, sorted; ``earlier`` are those of the first call."""
    if classes is None:
        return earlier
    classes = np.asarray(classes)
    if classes.ndim != 1 or len(classes) == 0:
        raise ValueError(
            f"partial_fit got classes={classes!r}, but expected a list of all "
            "labels that may come."
        )
    classes = np.unique(classes)
    if earlier is not None and not np.array_equal(classes, earlier):
        raise ValueError(
            f"partial_fit got classes={classes.tolist()}, but the first call said "
            f"{earlier.tolist()}; leave classes out, or clone the estimator "
            "to start afresh."
        )
    return classes
