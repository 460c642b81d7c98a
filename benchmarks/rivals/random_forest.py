"""scikit-learn's random forest."""

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline

from skmoe.experts._encoding import ordinal_encoding

NAME = "random forest"


def make(classify, seed, pool):
    """A forest on ordinal categories."""
    kind = RandomForestClassifier if classify else RandomForestRegressor
    forest = kind(n_estimators=200, random_state=seed)
    return make_pipeline(ordinal_encoding(-1), forest)
