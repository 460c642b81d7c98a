"""LightGBM."""

from lightgbm import LGBMClassifier, LGBMRegressor

from ._native import NativeCategories

NAME = "LightGBM"


def make(classify, seed, pool):
    """LightGBM with its own settings and categories."""
    kind = LGBMClassifier if classify else LGBMRegressor
    return NativeCategories(kind(random_state=seed, n_jobs=1, verbose=-1))
