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
    done: Callable[[int], Any] | None = None,
    few: bool = False,
) -> list[Any]:
    """Results of ``function(*a)`` for each tuple ``a``, in order.

    Threads are preferred; ``joblib.parallel_config`` may choose another backend.
    ``done`` is told the number of each call, in their order, when its result is there.
    Unless ``n_jobs`` says otherwise, ``few`` rows are not worth asking who could help.
    """
    runs_foreign_code()
    if few and n_jobs in (None, 1):
        return [function(*own) for own in arguments]
    if effective_n_jobs(n_jobs) == 1:
        # Parallel would cost more than an expert's answer for a single row.
        return list(_told((function(*own) for own in arguments), done))
    # scikit-learn's own Parallel also resets the filters of warnings in each thread,
    # which belong to the process: others would warn where they are silenced.
    config = get_config()
    # As they come in, where somebody waits for that: not all backends can.
    way = "list" if done is None else "generator"
    results = Parallel(n_jobs=n_jobs, prefer="threads", return_as=way)(
        delayed(_configured)(config, function, own) for own in arguments
    )
    return list(_told(results, done))


def _told(results, done):
    for number, result in enumerate(results):
        if done is not None:
            done(number)
        yield result


def _configured(config, function, arguments):
    with config_context(**config):
        return function(*arguments)
