"""Independent calls on any joblib backend."""

from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from ._threads import runs_foreign_code


def run_calls(function, arguments, n_jobs=None):
    """Results of ``function(*a)`` for each tuple ``a``, in order.

    Threads are preferred; ``joblib.parallel_config`` may choose another backend.
    """
    runs_foreign_code()
    if effective_n_jobs(n_jobs) == 1:
        # Parallel would cost more than an expert's answer for a single row.
        return [function(*own) for own in arguments]
    return Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(function)(*own) for own in arguments
    )
