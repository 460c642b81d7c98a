"""linear-tree's model tree over ridge regressions."""

from lineartree import LinearTreeRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import validate_data

from skmoe.experts._encoding import numeric_encoding

NAME = "linear-tree"
TASKS = ("regression",)


class LinearTree(LinearTreeRegressor):
    """linear-tree 0.3.5 as scikit-learn 1.9 needs it: validation is a function now."""

    def _validate_data(self, X, *args, force_all_finite=True, **options):
        return validate_data(
            self, X, *args, ensure_all_finite=force_all_finite, **options
        )


def make(classify, seed, pool):
    """A tree of depth five over standardised columns."""
    return make_pipeline(
        numeric_encoding(), LinearTree(Ridge(), max_depth=5, min_samples_leaf=0.02)
    )
