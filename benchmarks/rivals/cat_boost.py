"""CatBoost."""

from catboost import CatBoostClassifier, CatBoostRegressor

from ._native import CatBoostCategories

NAME = "CatBoost"


def make(classify, seed, pool):
    """CatBoost with its own settings and categories."""
    kind = CatBoostClassifier if classify else CatBoostRegressor
    return CatBoostCategories(
        kind(random_seed=seed, thread_count=1, verbose=False, allow_writing_files=False)
    )
