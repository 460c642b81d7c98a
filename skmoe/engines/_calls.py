"""Independent calls on any joblib backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from sklearn import config_context, get_config

from ._threads import runs_foreign_code


def run_calls(
    function: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    n_jobs: int | None = None,
) -> list[Any]:
    """Results of ``function(*a)`` for each tuple ``a``, in order.

    Threads are preferred; ``joblib.parallel_config`` may choose another backend.
    """
    runs_foreign_code()
    if effective_n_jobs(n_jobs) == 1:
        # Parallel would cost more than an expert's answer for a single row.
        return [function(*own) for own in arguments]
    # scikit-learn's own Parallel also resets the filters of warnings in each thread,
    # which belong to the process: others would warn where they are silenced.
    config = get_config()
    return Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(_configured)(config, function, own) for own in arguments
    )


def _configured(config, function, arguments):
    with config_context(**config):
        return function(*arguments)
