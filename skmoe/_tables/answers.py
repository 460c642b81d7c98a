"""What estimators answer: checked before anything is made of it."""

import numpy as np

from .table import LARGEST, without_mask

# How far the probabilities of a row may be from one together: half precision, or two
# decimals, leave that much.
SUM_TOL = 0.01
# Rounding may leave a probability that much below zero.
BELOW_ZERO = 1e-6


def answered_values(estimator, answer, n_rows, n_outputs=None, largest=LARGEST):
    """Predicted numbers (n, d).

    Parameters
    ----------
    estimator : whose answer it is, for messages
    answer : what its ``predict`` returned
    n_rows : int
    n_outputs : int or None
        None where any number of columns will do.
    largest : float or None
        What no number may exceed; None where numbers are not looked at.

    Raises
    ------
    ValueError
        For another shape, for what is no number, or one whose square is infinite.
    """
    if _is_plain(answer, n_rows, n_outputs, largest):
        return answer.reshape(n_rows, n_outputs)
    d = "d" if n_outputs is None else n_outputs
    expected = f"numbers of shape ({n_rows}, {d})"
    expected += f" or ({n_rows},)" if n_outputs in (None, 1) else ""
    values = _numbers(estimator, "predict", answer, expected)
    columns = values.shape[1] if values.ndim == 2 else 1
    shaped = values.ndim in (1, 2) and values.shape[0] == n_rows
    if not shaped or n_outputs not in (None, columns):
        _refuse(estimator, "predict", f"an array of shape {values.shape}", expected)
    if largest is not None:
        _check_size(estimator, "predict", values, expected, largest)
    return values.reshape(n_rows, columns)


def answered_proba(estimator, answer, n_rows, n_classes, *, look=True):
    """Class probabilities (n, C), of rows that sum to one.

    A row of zeros, by which some say that no class is likely, says nothing: its classes
    are equally probable.

    Parameters
    ----------
    estimator : whose answer it is, for messages
    answer : what its ``predict_proba`` returned
    n_rows, n_classes : int
    look : bool, default=True
        Whether the numbers are looked at.

    Raises
    ------
    ValueError
        For another shape, and for what are no probabilities.
    """
    expected = (
        f"probabilities of shape ({n_rows}, {n_classes}), one for each of classes_, of "
        "rows that sum to one"
    )
    proba = _numbers(estimator, "predict_proba", answer, expected)
    if proba.shape != (n_rows, n_classes):
        found = f"an array of shape {proba.shape}"
        _refuse(estimator, "predict_proba", found, expected)
    if not look or not proba.size:
        return proba
    _check_size(estimator, "predict_proba", proba, expected, LARGEST)
    if proba.min() < -BELOW_ZERO:
        _refuse(estimator, "predict_proba", f"{proba.min():.3g}", expected)
    # Sums over few columns are slower than a product.
    total = proba @ np.ones((n_classes, 1))
    silent = total <= 0.0
    wrong = (np.abs(total - 1.0) > SUM_TOL) & ~silent
    if wrong.any():
        found = f"a row that sums to {total[np.argmax(wrong), 0]:.3g}"
        _refuse(estimator, "predict_proba", found, expected)
    if silent.any():
        proba = np.where(silent, 1.0 / n_classes, proba)
    return np.maximum(proba, 0.0) if proba.min() < 0.0 else proba


def _is_plain(answer, n_rows, n_outputs, largest):
    """Whether an answer is as it should be, which of one row is said at no cost."""
    if type(answer) is not np.ndarray or answer.dtype.kind != "f":
        return False
    own = answer.shape
    if own != (n_rows, n_outputs) and not (own == (n_rows,) and n_outputs == 1):
        return False
    return largest is None or _is_small(answer, largest)


def _is_small(values, largest):
    """Whether the squares of numbers have a sum that says that all are in range."""
    # NaN and infinity are not.
    if values.size == 1:
        return abs(values.item()) <= largest
    flat = values.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(flat.dot(flat) <= largest**2)


def _numbers(estimator, method, answer, expected):
    """The answer as an array of real numbers, single precision as it is."""
    if isinstance(answer, np.ma.MaskedArray):
        answer = without_mask(answer)
    try:
        values = np.asarray(answer)
        if values.dtype.kind == "O":
            values = values.astype(float)
    except (TypeError, ValueError):
        _refuse(estimator, method, f"a {type(answer).__name__} of no numbers", expected)
    if answer is None:
        _refuse(estimator, method, "None", expected)
    if values.dtype.kind not in "fiub":
        found = f"values of type {values.dtype}"
        _refuse(estimator, method, found, expected)
    return values if values.dtype.kind == "f" else values.astype(float)


def _check_size(estimator, method, values, expected, largest):
    if not values.size or _is_small(values, largest):
        return
    # NaN is passed on by both.
    ends = float(values.min()), float(values.max())
    if not np.isfinite(ends).all():
        _refuse(estimator, method, "NaN or infinity", expected)
    worst = max(ends, key=abs)
    if abs(worst) > largest:
        found = f"{worst:.3g}, whose square is beyond the range of numbers"
        _refuse(estimator, method, found, expected)


def _refuse(estimator, method, found, expected):
    raise ValueError(
        f"{estimator!r} answers {method} with {found}, but expected {expected}; mend "
        "its answer, or use another estimator."
    )
