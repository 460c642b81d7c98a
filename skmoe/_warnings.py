"""Warnings that name the user's line, however deep they are raised."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import sys
import threading
import warnings
from os.path import dirname, join

import joblib
import numba
import numpy as np
import scipy
import sklearn
import threadpoolctl

# Folders, and files, of those through whom a user calls: nothing there is to be mended.
_PACKAGES = (joblib, numba, np, scipy, sklearn, concurrent.futures, multiprocessing)
_MODULES = (contextlib, functools, threading, threadpoolctl)
BETWEEN = (
    join(dirname(__file__), ""),
    *(join(dirname(package.__file__), "") for package in _PACKAGES),
    *(module.__file__ for module in _MODULES),
    "<frozen ",
)


def warn(message, category=UserWarning):
    """Issue a warning at the line of the user's code that led to it.

    In a thread that no code of the user's has started, this is where the main thread
    is; in another process, where skmoe was entered.
    """
    own = sys._getframe(1)
    main = sys._current_frames().get(threading.main_thread().ident)
    frame = _users_frame(own) or _users_frame(main) or _entered(own)
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__", "<unknown>"),
        registry=registry,
    )


def _callers(frame):
    while frame is not None:
        yield frame
        frame = frame.f_back


def _users_frame(frame):
    """The innermost frame that is none of a library's, or None."""
    callers = (f for f in _callers(frame) if not _is_between(f))
    return next(callers, None)


def _is_between(frame):
    return frame.f_code.co_filename.startswith(BETWEEN)


def _entered(frame):
    """The outermost frame of this package."""
    own = [f for f in _callers(frame) if f.f_code.co_filename.startswith(BETWEEN[0])]
    return own[-1] if own else frame
