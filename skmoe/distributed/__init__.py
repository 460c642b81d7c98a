"""Mixtures of experts on the partitions of Dask collections."""

from .._stamp import public
from ._estimators import DaskMoEClassifier, DaskMoERegressor

__all__ = ["DaskMoEClassifier", "DaskMoERegressor"]

public(__name__, DaskMoEClassifier, DaskMoERegressor)
