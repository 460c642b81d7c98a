"""How any scikit-learn estimator serves as an expert."""

import inspect
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from .._sklearn import own_request, routing_enabled, safe_indexing, taken_params
from ..exceptions import NoSampleWeightWarning


def is_frozen(expert):
    """Whether an expert is taken as fitted and only gated."""
    return isinstance(expert, FrozenEstimator)


def takes_weight(expert):
    """Whether ``fit`` of the expert can be given sample weights."""
    if isinstance(expert, Pipeline):
        return takes_weight(expert.steps[-1][1])
    if has_fit_parameter(expert, "sample_weight"):
        return True
    inner = next(
        (
            getattr(expert, name)
            for name in ("estimator", "regressor")
            if hasattr(getattr(expert, name, None), "fit")
        ),
        None,
    )
    return inner is not None and _takes_keywords(expert) and takes_weight(inner)


def _takes_keywords(expert):
    parameters = inspect.signature(expert.fit).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def weight_arguments(expert, weight):
    """Keyword arguments by which ``expert.fit`` receives sample weights."""
    if not isinstance(expert, Pipeline):
        return {"sample_weight": weight}
    name, last = expert.steps[-1]
    if routing_enabled():
        request_weight(expert)
        return {"sample_weight": weight}
    inner = weight_arguments(last, weight)
    return {f"{name}__{key}": value for key, value in inner.items()}


def request_weight(pipeline):
    """Ask for weights in the last step, where its steps do not say otherwise."""
    last = len(pipeline.steps) - 1
    for position, (_, step) in enumerate(pipeline.steps):
        if not hasattr(step, "set_fit_request"):
            continue
        own = own_request(step)
        request = {} if own is None else own.fit.requests
        if "sample_weight" in request and request["sample_weight"] is None:
            step.set_fit_request(sample_weight=position == last)


def warn_without_weight(experts):
    """Warn, once per fit, about experts (by name) that are fitted on resamples."""
    for name, expert in experts.items():
        if not is_frozen(expert) and not takes_weight(expert):
            warnings.warn(
                f"Expert {name!r} ({type(expert).__name__}) takes no sample_weight; "
                "it is fitted on a seeded weighted resample of the rows. Use an "
                "estimator whose fit takes sample_weight for an exact M-step.",
                NoSampleWeightWarning,
                stacklevel=4,
            )


def fit_expert(expert, X, y, weight, seed, fit_params=None):
    """Fit a clone of ``expert`` to weighted rows; rows of weight zero are left out.

    Parameters
    ----------
    expert : estimator
    X : array-like of shape (n, p)
    y : ndarray of shape (n,) or (n, n_outputs)
    weight : ndarray of shape (n,)
    seed : int
        Seeds the resample of an expert that takes no weights.
    fit_params : dict, default=None
        Further arguments of the expert's ``fit``.

    Returns
    -------
    fitted estimator
    """
    if is_frozen(expert):
        return expert
    expert = clone(expert)
    fit_params = fit_params or {}
    if not takes_weight(expert):
        rows = np.flatnonzero(weight > 0)
        if np.ptp(weight[rows]) > 0:
            rows = weighted_resample(weight, seed)
        fit_params = taken_params(X, fit_params, rows)
        return expert.fit(safe_indexing(X, rows), y[rows], **fit_params)
    rows = np.flatnonzero(weight > 0)
    if len(rows) < len(weight):
        fit_params = taken_params(X, fit_params, rows)
        X, y, weight = safe_indexing(X, rows), y[rows], weight[rows]
    # Weights of one are the same as none, and boosted trees bin much faster without.
    needless = np.all(weight == 1.0) and not _must_have_weight(expert)
    weights = {} if needless else weight_arguments(expert, weight)
    return expert.fit(X, y, **weights, **fit_params)


def _must_have_weight(expert):
    parameter = inspect.signature(expert.fit).parameters.get("sample_weight")
    return parameter is not None and parameter.default is parameter.empty


def weighted_resample(weight, seed):
    """Sorted row numbers drawn in proportion to ``weight``."""
    rng = np.random.default_rng(seed)
    proba = weight / weight.sum()
    n_rows = np.count_nonzero(weight)
    return np.sort(rng.choice(len(weight), size=n_rows, p=proba))


def seed_unseeded(estimator, rng):
    """Draw each ``random_state`` of an estimator and its parts that is None."""
    unseeded = [
        key
        for key, value in sorted(estimator.get_params(deep=True).items())
        if key.split("__")[-1] == "random_state" and value is None
    ]
    return estimator.set_params(
        **{key: int(rng.randint(np.iinfo(np.int32).max)) for key in unseeded}
    )


def expert_parameters(expert):
    """Number of free parameters of a fitted expert, or None if it has no count."""
    if hasattr(expert, "n_parameters_"):
        return expert.n_parameters_
    if hasattr(expert, "coef_") and hasattr(expert, "intercept_"):
        return np.count_nonzero(expert.coef_) + np.size(expert.intercept_)
    return None
