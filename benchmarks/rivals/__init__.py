"""Models that benchmarks compare, one file each.

A file gives ``NAME`` and ``make(classify, seed, pool)``, which returns an unfitted
estimator for raw data frames, and may restrict itself by ``TASKS``.  ``pool`` holds
the experts that mixtures, stacking, voting and the choice of the best have in common.
A file whose package is not installed is left out.  None is tuned: all stand with the
settings that their authors or these files give them, whatever the table.
"""

import importlib
import pkgutil
from types import ModuleType

BOTH = ("regression", "classification")


def all_rivals():
    """Modules by the name of the model; the missing ones as messages."""
    found, missing = {}, []
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_"):
            continue
        try:
            module = importlib.import_module(f"{__name__}.{info.name}")
        except ModuleNotFoundError as error:
            missing.append(f"{info.name}: {error}")
            continue
        found[module.NAME] = module
    return found, missing


def serves(rival: ModuleType, task):
    """Whether a model is made for a task."""
    return task in getattr(rival, "TASKS", BOTH)
