"""The types that skops may make when it loads a model."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .._warnings import warn

#: Packages of ours whose classes open files, or reach other processes.
OUTWARD = ("skmoe.data", "skmoe.distributed", "skmoe.export", "skmoe.testing")
#: Parts of libraries whose classes hold numbers, and do nothing when they are made.
HOLDERS = (
    "scipy.interpolate.",
    "scipy.sparse.",
    "scipy.spatial.",
    "sklearn._loss.",
    "sklearn.calibration.",
    "sklearn.compose.",
    "sklearn.ensemble.",
    "sklearn.gaussian_process.",
    "sklearn.linear_model.",
    "sklearn.metrics._dist_metrics.",
    "sklearn.metrics._scorer.",
    "sklearn.model_selection.",
    "sklearn.neighbors.",
    "sklearn.neural_network.",
    "sklearn.preprocessing.",
    "sklearn.tree.",
    "sklearn.utils._bunch.",
    "sklearn.utils._metadata_requests.",
)
#: What splines of SciPy and boosted trees hold, which makes an array of an array; a
#: partial calls no function that is not itself trusted.
ARRAYS = ("scipy", "sklearn")
HARMLESS = ("asarray", "check_array", "functools.partial")


def trusted_types(model: Any) -> list[str]:
    """Names of types for ``skops.io.load(trusted=...)`` of a fitted model.

    A file of skops holds no code, and is loaded only if all types in it are trusted.
    The list has those that this model holds beyond what skops trusts by itself: classes
    of skmoe, NumPy, SciPy and scikit-learn that hold numbers and parameters.  What
    opens files, functions, methods, and classes of other libraries are left out with a
    warning that names them, and such a file is refused until you have looked at them
    and have added their names.

    Parameters
    ----------
    model : fitted mixture, or whatever holds some
        The model itself, of which you know where it comes from, and not one that was
        loaded from the file in question.

    Returns
    -------
    list of str
        Sorted; keep it where the model is loaded, as it says what a file may hold.

    Raises
    ------
    ImportError
        Without skops (``pip install "skmoe[skops]"``).

    Warns
    -----
    UserWarning
        Of types that are left out, with the reason for each.

    Notes
    -----
    Trees and neighbours of scikit-learn are among them where a model holds some.
    Nobody looks at the indices in their arrays, so that a file which somebody has
    tampered with may end the process that predicts by it; it runs no code of theirs.

    Examples
    --------
    >>> from skmoe import MoERegressor
    >>> from skmoe.datasets import make_regimes
    >>> from skmoe.export import trusted_types
    >>> X, y = make_regimes(200, random_state=0)
    >>> model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    >>> trusted = trusted_types(model)  # doctest: +SKIP
    >>> skops.io.loads(skops.io.dumps(model), trusted=trusted)  # doctest: +SKIP
    MoERegressor(n_experts=2, random_state=0)
    """
    skops = reader()
    found = skops.get_untrusted_types(data=skops.dumps(model))
    reasons = {name: why_left_out(name) for name in found}
    left_out = [f"{name} ({why})" for name, why in reasons.items() if why is not None]
    if left_out:
        warn(
            f"trusted_types left out {', '.join(left_out)}, so that skops.io.load "
            "refuses the model until you have looked at what they are and have added "
            "their names to the list.",
            UserWarning,
        )
    return [name for name, why in reasons.items() if why is None]


def reader():
    """``skops.io``, or an ``ImportError`` that names the extra."""
    try:
        import skops.io as skops
    except ImportError as error:
        raise ImportError(
            'trusted_types needs skops; install it by pip install "skmoe[skops]".'
        ) from error
    return skops


def why_left_out(name):
    """Why nobody can vouch for a type by its name alone; None if we do."""
    module, _, own = name.rpartition(".")
    # A method has its class for a module.
    thing = vars(sys.modules[module]).get(own) if module in sys.modules else None
    package = name.partition(".")[0]
    if name in HARMLESS or (package in ARRAYS and own in HARMLESS):
        return None
    if not isinstance(thing, type):
        return "a function or method, which a file might call"
    if package == "skmoe":
        return "opens files or connections" if module.startswith(OUTWARD) else None
    if issubclass(thing, np.memmap):
        return "opens files; load the model without mmap_mode"
    if issubclass(thing, (np.ndarray, np.generic, np.dtype)):
        return None
    if package == "sklearn" and issubclass(thing, BaseEstimator):
        return None
    return None if name.startswith(HOLDERS) else "none of those that we know"
