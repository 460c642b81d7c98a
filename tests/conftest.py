"""Shared data of the tests."""

import sys
from pathlib import Path

import pytest

from skmoe.datasets import make_gated_classification, make_gated_regression

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def regression():
    """Rows of a mixture of three linear experts."""
    return make_gated_regression(400, 4, 3, random_state=0)


@pytest.fixture(scope="session")
def classification():
    """Rows of a mixture of two logistic experts, three classes."""
    return make_gated_classification(400, 4, 2, n_classes=3, random_state=0)
