"""What pickles hold: versions, so that another one is told of, and addresses."""

import functools
import re
import sys
import threading

import numpy as np
import sklearn
from sklearn.base import BaseEstimator

from ._version import __version__
from ._warnings import warn
from .exceptions import OtherVersionWarning

KEY = "_saved_by"
# The first version whose states are understood, raised with what they hold; models of
# each release are kept in ``tests/saved``, and are to load or to be refused.
OLDEST = (0, 0)
#: Where the pages of the API are, such as "https://…/api"; None before they are
#: published.  Only then representations in notebooks have links to them.
API_PAGES = None
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

    It is what pickles and skops write down, so it stays when files move.  The package
    then shows no other names than those it offers, such as what it imports.
    """
    for thing in things:
        thing.__module__ = package
    module = sys.modules[package]
    if "__dir__" not in vars(module):
        module.__dir__ = functools.partial(_offered, module)


def _offered(module):
    """Public names of a module."""
    return sorted(vars(module)["__all__"])


def refuse_older(name, saved):
    """Raise ``ValueError`` for a state that is too old to be understood."""
    own = (saved or {}).get("skmoe", "")
    if own and tuple(int(n) for n in re.findall(r"\d+", own)[:2]) < OLDEST:
        raise ValueError(
            f"{name} was saved by skmoe {own}, which skmoe {__version__} cannot read; "
            f"load it where skmoe=={own} is installed, or fit it again."
        )


class Stamped(BaseEstimator):
    """Base of estimators and their parts: the state says which versions wrote it."""

    def _get_doc_link(self):
        """Address of the page of a public class, or nothing."""
        kind = type(self)
        public_names = vars(sys.modules[kind.__module__]).get("__all__", ())
        if API_PAGES is None or kind.__name__ not in public_names:
            return ""
        return f"{API_PAGES}/{kind.__module__}.{kind.__name__}.html"

    def __getstate__(self):
        return {**super().__getstate__(), KEY: VERSIONS}

    def __setstate__(self, state):
        saved = state.get(KEY)
        refuse_older(type(self).__name__, saved)
        # All parts of one pickle share one object, which they are told of once.
        told = saved is not None and saved is _told.versions
        if saved is not VERSIONS and saved != VERSIONS and not told:
            _told.versions = saved
            warn(OtherVersionWarning(type(self).__name__, saved, VERSIONS))
        super().__setstate__({k: v for k, v in state.items() if k != KEY})
