"""scikit-learn's multilayer perceptron with early stopping."""

from sklearn.compose import TransformedTargetRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe.experts._encoding import numeric_encoding

NAME = "MLP"


def make(classify, seed, pool):
    """A perceptron on standardised columns, and targets."""
    kind = MLPClassifier if classify else MLPRegressor
    network = kind(
        hidden_layer_sizes=(128, 64),
        early_stopping=True,
        max_iter=500,
        random_state=seed,
    )
    pipeline = make_pipeline(numeric_encoding(), network)
    if classify:
        return pipeline
    return TransformedTargetRegressor(pipeline, transformer=StandardScaler())
