"""The loss by which models are chosen and compared."""

import numpy as np
from sklearn.metrics import log_loss, root_mean_squared_error

# Predicted probabilities are kept this far from zero, for every model.
PROBA_FLOOR = 1e-6


def loss_of(task, model, X, y, classes):
    """RMSE, or log-loss with a row for each class that there is."""
    if task == "regression":
        return root_mean_squared_error(y, model.predict(X))
    proba = np.zeros((len(X), len(classes)))
    proba[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(X)
    proba = np.maximum(proba, PROBA_FLOOR)
    return log_loss(y, proba / proba.sum(axis=1, keepdims=True), labels=classes)
