"""Shared data of the tests."""

import os
import sys
from pathlib import Path

import pytest

from skmoe.datasets import make_gated_classification, make_gated_regression

sys.path.insert(0, str(Path(__file__).parent))
# For the type checker, not to be run.
collect_ignore = ["typed_use.py"]


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="also run the checks that repeat others on further configurations",
    )


def pytest_collection_modifyitems(config, items):
    """Tests marked ``thorough`` are for ``--thorough`` only."""
    if config.getoption("--thorough"):
        return
    parts = {True: [], False: []}
    for item in items:
        parts[item.get_closest_marker("thorough") is not None].append(item)
    config.hook.pytest_deselected(items=parts[True])
    items[:] = parts[False]


def pytest_configure(config):
    """Processes of ``-n`` share the cores: libraries in them keep to one thread.

    Each takes tests that stand together, so that what a module prepares, or compiles,
    is mostly made once; one that is done early takes from the others.
    """
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if config.option.dist == "load":
            config.option.dist = "worksteal"


@pytest.fixture(scope="session")
def regression():
    """Rows of a mixture of three linear experts."""
    return make_gated_regression(400, 4, 3, random_state=0)


@pytest.fixture(scope="session")
def classification():
    """Rows of a mixture of two logistic experts, three classes."""
    return make_gated_classification(400, 4, 2, n_classes=3, random_state=0)
