"""What pickles hold: versions, so that another one is told of, and addresses."""

import threading

import numpy as np
import sklearn
from sklearn.base import BaseEstimator

from ._version import __version__
from ._warnings import warn
from .exceptions import OtherVersionWarning

KEY = "_saved_by"
# Of NumPy patches do not matter.
VERSIONS = {
    "skmoe": __version__,
    "scikit-learn": sklearn.__version__,
    "numpy": ".".join(np.__version__.split(".")[:2]),
}


class _Told(threading.local):
    """The versions that a thread was told of last."""

    versions = None


_told = _Told()


def public(package, *things):
    """Give classes and functions the address of the package that offers them.

    It is what pickles and skops write down, so it stays when files move.
    """
    for thing in things:
        thing.__module__ = package


class Stamped(BaseEstimator):
    """Base of estimators and their parts: the state says which versions wrote it."""

    def __getstate__(self):
        return {**super().__getstate__(), KEY: VERSIONS}

    def __setstate__(self, state):
        saved = state.get(KEY)
        # All parts of one pickle share one object, which they are told of once.
        told = saved is not None and saved is _told.versions
        if saved is not VERSIONS and saved != VERSIONS and not told:
            _told.versions = saved
            warn(OtherVersionWarning(type(self).__name__, saved, VERSIONS))
        super().__setstate__({k: v for k, v in state.items() if k != KEY})
