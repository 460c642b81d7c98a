"""What a process has spent, and what a call costs, with the standard library alone.

The interpreter of a rival imports this file too, so that all are measured alike.
"""

import resource
import time


def cpu_seconds():
    """Seconds of processors, of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def peak_megabytes():
    """The most memory that this process has held, in MB."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def least_seconds(call, *arguments, repeats=7):
    """CPU seconds of a call, the least of several after one that does not count."""
    call(*arguments)
    times = []
    for _ in range(repeats):
        begun = cpu_seconds()
        call(*arguments)
        times.append(cpu_seconds() - begun)
    return min(times)
