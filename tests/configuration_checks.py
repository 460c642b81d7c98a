"""What a fitted mixture must answer, whatever it was fitted to."""

import pickle

import numpy as np
import pandas as pd
from sklearn.base import clone, is_classifier

from skmoe._estimators.answers import see
from skmoe.experts import LinearExpert
from skmoe.routers import BalancedHashRouter, BalancedRouter, ExpertChoiceRouter
from skmoe.trainers import EM

ALONE = 4
LEVELS = [0.05, 0.5, 0.95]


class Unlike(Exception):
    """A fitted mixture broke a promise."""


def require(condition, what):
    """Raise ``Unlike`` unless the condition holds."""
    if not condition:
        raise Unlike(what)


def close(a, b, what, rtol=1e-7, atol=0.0):
    """Require two arrays to be the same up to rounding of their largest entry."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    require(a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}")
    scale = np.max(np.abs(a), initial=0.0)
    gap = np.max(np.abs(a - b), initial=0.0)
    require(gap <= rtol * scale + atol, f"{what}: {gap:.3g} apart, largest {scale:.3g}")


def finite(values, what):
    """Require numbers."""
    values = np.asarray(values, dtype=float)
    require(np.isfinite(values).all(), f"{what} is not finite")
    return values


def rows_of(X, rows):
    """Some rows of any table."""
    if isinstance(X, list):
        return [X[i] for i in rows]
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]


def fitted(configuration, **changes):
    """The fitted estimator of a configuration."""
    model = clone(configuration.estimator).set_params(**changes)
    own = configuration
    return model.fit(own.X, own.y, sample_weight=own.weight, **own.sizes)


def check_fit(configuration):
    """Fit a configuration and check all that the fit answers."""
    model = fitted(configuration)
    X, y, sizes = configuration.X, configuration.y, configuration.sizes
    _check_attributes(model)
    _check_gate(model, X)
    if is_classifier(model):
        answer = _check_classes(model, X, y)
    else:
        answer = _check_values(model, X, y, sizes)
    _check_alone(model, X, answer)
    again = pickle.loads(pickle.dumps(model))
    close(answer, _answer(again, X), "pickled", rtol=0.0)
    if configuration.number % 8 == 0:
        parallel = fitted(configuration, n_jobs=2)
        close(answer, _answer(parallel, X), "n_jobs=2", rtol=0.0)
    if _counts_weights(configuration):
        _check_repetition(configuration, answer)


def _answer(model, X):
    return model.predict_proba(X) if is_classifier(model) else model.predict(X)


def _check_attributes(model):
    for name in ("log_likelihood_", "expert_load_", "lower_bounds_"):
        finite(getattr(model, name), name)
    for expert in model.experts_:
        if isinstance(expert, LinearExpert):
            finite(expert.coef_, "coef_")
            finite(expert.intercept_, "intercept_")
    require(model.n_experts_ == len(model.experts_), "n_experts_")


def _check_gate(model, X):
    gate = finite(model.gate_proba(X), "gate_proba")
    require((gate >= 0).all(), "gate_proba is negative")
    close(gate.sum(axis=1), np.ones(len(gate)), "rows of gate_proba", rtol=1e-9)
    routing = model.route(X)
    require((np.asarray(routing.load) >= 0).all(), "load is negative")


def _check_classes(model, X, y):
    proba = finite(model.predict_proba(X), "predict_proba")
    require((proba >= 0).all(), "predict_proba is negative")
    close(proba.sum(axis=1), np.ones(len(proba)), "rows of predict_proba", rtol=1e-9)
    best = np.asarray(model.classes_)[proba.argmax(axis=1)]
    require((np.asarray(model.predict(X)) == best).all(), "predict is not the best")
    require(not np.isnan(model.log_density(X, y)).any(), "log_density is NaN")
    resp = finite(model.responsibilities(X, y), "responsibilities")
    close(resp.sum(axis=1), np.ones(len(resp)), "responsibilities", rtol=1e-9)
    return proba


def _check_values(model, X, y, sizes):
    answer = finite(model.predict(X), "predict")
    with_sizes = finite(model.predict(X, **sizes), "predict with sizes")
    mean, std = model.predict(X, return_std=True, **sizes)
    close(with_sizes, mean, "mean of return_std")
    require((std >= 0).all(), "std is negative or NaN")
    quantiles = finite(model.predict_quantile(X, LEVELS, **sizes), "predict_quantile")
    require((np.diff(quantiles, axis=-1) >= 0).all(), "quantiles are not monotone")
    interval = model.predict_interval(X, 0.9, **sizes)
    close(interval[..., 0], quantiles[..., 0], "lower end of the interval")
    require(not np.isnan(model.log_density(X, y, **sizes)).any(), "log_density is NaN")
    resp = finite(model.responsibilities(X, y, **sizes), "responsibilities")
    close(resp.sum(axis=1), np.ones(len(resp)), "responsibilities", rtol=1e-9)
    finite(model.sample_y(X, random_state=0, **sizes), "sample_y")
    finite(model.predict_mode(X, **sizes), "predict_mode")
    return answer


def _check_alone(model, X, answer):
    """Rows one by one answer as in the batch, unless rounding decides who serves."""
    batch = model.gate_proba(X)
    for i in range(min(ALONE, len(batch))):
        row = rows_of(X, [i])
        alone = model.gate_proba(row)[0]
        if ((alone > 0) == (batch[i] > 0)).all():
            close(batch[i], alone, "gate of a row alone", rtol=1e-6)
            single = _answer(model, row)[0]
            scale = np.max(np.abs(answer))
            close(answer[i], single, "row alone", rtol=1e-6, atol=1e-9 * scale)
        else:
            _check_tie(model, row, alone, batch[i])


def _check_tie(model, row, alone, batch):
    if not isinstance(model.router, ExpertChoiceRouter):
        weights = np.exp(model.gate_.predict_log_proba(see(model, row)[1].gate))[0]
        differ = (alone > 0) != (batch > 0)
        gap = np.ptp(weights[differ])
        require(gap < 1e-9, f"row alone is routed otherwise, {gap:.3g} from a tie")


def _counts_weights(configuration):
    """Whether a weight of two is promised to be two rows."""
    model, words = configuration.estimator, configuration.words
    plain = words["experts"] in ("default", "free", "raw")
    gate = words["gate"] in ("softmax", "softmax-free", "gaussian", "constant")
    # They share out rows, whatever these weigh.
    shares = (BalancedRouter, BalancedHashRouter, ExpertChoiceRouter)
    return (
        words["weight"] == "integers"
        and type(model.trainer) is EM
        and plain
        and gate
        and model.shared_expert is None
        and words.get("branching") != "grow"
        and model.n_init == 1
        and not isinstance(model.router, shares)
        and words.get("class_weight") is None
    )


def _check_repetition(configuration, answer):
    own = configuration
    rows = np.repeat(np.arange(len(own.weight)), own.weight.astype(int))
    X = rows_of(own.X, rows)
    y = rows_of(own.y, rows) if isinstance(own.y, list) else np.asarray(own.y)[rows]
    sizes = {k: v[rows] for k, v in own.sizes.items()}
    model = clone(own.estimator).fit(X, y, **sizes)
    close(answer, _answer(model, own.X), "weights as repetition", rtol=1e-3)
