"""XGBoost."""

from xgboost import XGBClassifier, XGBRegressor

from ._native import NativeCategories

NAME = "XGBoost"


def make(classify, seed, pool):
    """XGBoost with its own settings and categories."""
    kind = XGBClassifier if classify else XGBRegressor
    return NativeCategories(kind(random_state=seed, n_jobs=1, enable_categorical=True))
