"""What the checks of all parts have in common."""

import copy

import numpy as np
from sklearn.base import clone


def close(actual, expected, what, rtol=1e-6, atol=1e-9):
    """Raise ``AssertionError`` that says ``what`` unless arrays are nearly equal."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, err_msg=what)


def check_parameters(part):
    """Raise ``AssertionError`` unless a part can be cloned and copied."""
    assert repr(clone(part)) == repr(part), "clone keeps the parameters"
    assert repr(copy.deepcopy(part)) == repr(part), "a copy keeps the parameters"


def check_fit_leaves(part, fit, what="fit leaves the parameters as they are"):
    """What ``fit`` of a clone returns, which must be the clone itself, unchanged."""
    own = clone(part)
    before = repr(own)
    fitted = fit(own)
    assert fitted is own, "fit returns self"
    assert repr(own) == before, what
    return fitted


def check_count(count):
    """Raise ``AssertionError`` unless a number of parameters is one, or None."""
    assert count is None or (np.isfinite(count) and count >= 0), (
        "n_parameters_ is a number, or None"
    )


def by_rows(answer, X):
    """What a part answers to the rows of X one by one, one below the other."""
    return np.vstack([np.atleast_2d(answer(X[i : i + 1])) for i in range(len(X))])
