"""RealMLP with its tuned defaults (Holzmueller, Grinsztajn, Steinwart 2024)."""

from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor
from sklearn.pipeline import make_pipeline

from skmoe.experts._encoding import numeric_encoding

NAME = "RealMLP"
# What its authors recommend where the log-loss counts.
FOR_LOG_LOSS = {"val_metric_name": "cross_entropy", "use_ls": False}


def network(classify, seed, **given):
    """One network on numeric columns, a fifth of the rows held out, on one core."""
    kind = RealMLP_TD_Classifier if classify else RealMLP_TD_Regressor
    own = FOR_LOG_LOSS if classify else {}
    return kind(n_cv=1, device="cpu", n_threads=1, random_state=seed, **own, **given)


def make(classify, seed, pool):
    """RealMLP with its defaults; categories are indicators."""
    return make_pipeline(numeric_encoding(), network(classify, seed))
