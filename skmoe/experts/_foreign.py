"""How any scikit-learn estimator serves as an expert."""

import inspect

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClusterMixin,
    RegressorMixin,
    TransformerMixin,
    clone,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFECV
from sklearn.model_selection import (
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import (
    OneVsOneClassifier,
    OneVsRestClassifier,
    OutputCodeClassifier,
)
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import check_random_state, murmurhash3_32
from sklearn.utils.validation import has_fit_parameter

from .._sklearn import own_request, routing_enabled, safe_indexing, taken_params
from .._tables.table import refuse_text
from .._warnings import warn
from ..exceptions import NoSampleWeightWarning
from ._base import is_frozen

# These name weights, but refuse them if their estimator does not name them too.
OF_OUTPUTS = (MultiOutputRegressor, MultiOutputClassifier)
# These take keywords, but refuse all of them without metadata routing.
BY_ROUTING = (
    ClassifierChain,
    FixedThresholdClassifier,
    OneVsOneClassifier,
    OneVsRestClassifier,
    OutputCodeClassifier,
    RFECV,
    SelfTrainingClassifier,
    TunedThresholdClassifierCV,
)
# Modules of estimators without an intercept, to which a constant may be one.
BY_VALUE = ("sklearn.gaussian_process", "sklearn.kernel_ridge", "sklearn.naive_bayes")


def holds_frozen(estimator):
    """Whether an estimator, or one that it is made of, is taken as fitted."""
    return any(map(is_frozen, parts_of(estimator)))


def needs_values(estimator):
    """Whether a column without spread may mean something to an estimator.

    As the intercept that it lacks, or to what transforms it first.  To others it says
    nothing, and its size only costs precision.
    """
    params = estimator.get_params(deep=True).items()
    if any(k.split("__")[-1] == "fit_intercept" and not v for k, v in params):
        return True
    parts = [own for own in parts_of(estimator) if isinstance(own, BaseEstimator)]
    modules = [type(part).__module__ for part in (estimator, *parts)]
    return (
        any(map(_only_transforms, parts))
        or not all(own.startswith("sklearn.") for own in modules)
        or any(own.startswith(BY_VALUE) for own in modules)
    )


def _only_transforms(part):
    predicts = isinstance(part, (ClassifierMixin, RegressorMixin, ClusterMixin))
    return isinstance(part, TransformerMixin) and not predicts


def parts_of(estimator):
    """An estimator, and all its parameters with those of its parts."""
    return [estimator, *estimator.get_params(deep=True).values()]


def takes_weight(expert):
    """Whether ``fit`` of the expert can be given sample weights."""
    if isinstance(expert, Pipeline):
        return takes_weight(expert.steps[-1][1])
    if not routing_enabled() and _refuses(expert):
        return False
    inner = _receiver(expert)
    if inner is not None:
        return takes_weight(inner)
    return has_fit_parameter(expert, "sample_weight") and not _declined(expert)


def _refuses(expert):
    """Whether ``fit`` refuses the weights that it seems to take."""
    if isinstance(expert, OF_OUTPUTS) and not isinstance(expert.estimator, Pipeline):
        return not has_fit_parameter(expert.estimator, "sample_weight")
    return isinstance(expert, BY_ROUTING)


def _declined(expert):
    """Whether metadata routing keeps weights from the expert.

    So does a request of its user, for none or under another name, and so do estimators
    that metadata cannot be routed to.
    """
    if not routing_enabled():
        return False
    try:
        own = own_request(expert)
    except NotImplementedError:
        return True
    request = None if own is None else own.fit.requests.get("sample_weight")
    return request not in (None, True)


def _receiver(expert):
    """Estimator to which ``fit`` hands its keywords on, or None."""
    named = has_fit_parameter(expert, "sample_weight")
    if named and not isinstance(expert, OF_OUTPUTS):
        return None
    return _inner(expert) if _takes_keywords(expert) else None


def _inner(expert):
    """Estimator that an estimator is built around, or None."""
    parts = (getattr(expert, name, None) for name in ("estimator", "regressor"))
    return next((part for part in parts if hasattr(part, "fit")), None)


def _takes_keywords(expert):
    parameters = inspect.signature(expert.fit).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def weight_arguments(expert, weight):
    """Keyword arguments by which ``expert.fit`` receives sample weights.

    Under metadata routing the estimators inside ``expert`` are set to ask for them.
    """
    if routing_enabled():
        request_weight(expert, True)
        return {"sample_weight": weight}
    if isinstance(expert, Pipeline):
        name, last = expert.steps[-1]
        inner = weight_arguments(last, weight)
        return {f"{name}__{key}": value for key, value in inner.items()}
    inner = _receiver(expert)
    if inner is None:
        return {"sample_weight": weight}
    return weight_arguments(inner, weight)


def request_weight(expert, wanted):
    """Ask for weights in ``expert`` and what it holds, where nothing is said there.

    Of a pipeline only the last step is to receive them, as without routing.  What is
    frozen belongs to the user, and stays as it is.
    """
    if is_frozen(expert):
        return
    if isinstance(expert, Pipeline):
        for name, step in expert.steps:
            request_weight(step, wanted and name == expert.steps[-1][0])
        return
    if not wanted and hasattr(expert, "get_params"):
        for part in expert.get_params(deep=False).values():
            for held in _estimators(part):
                request_weight(held, False)
    elif (inner := _inner(expert)) is not None:
        request_weight(inner, True)
    own = own_request(expert)
    for method in ("fit", "score"):
        setter = getattr(expert, f"set_{method}_request", None)
        requests = {} if own is None else getattr(own, method).requests
        if setter and requests.get("sample_weight", wanted) is None:
            setter(sample_weight=wanted)


def _estimators(part):
    """Estimators in a parameter: itself, or those in its (name, estimator, ...)."""
    parts = [part]
    if isinstance(part, (list, tuple)):
        parts = [p for entry in part if isinstance(entry, tuple) for p in entry]
    return [p for p in parts if hasattr(p, "fit") and not isinstance(p, type)]


def warn_without_weight(experts):
    """Warn, once per fit, about experts (by name) that are fitted on resamples."""
    without = {
        name: type(expert).__name__
        for name, expert in experts.items()
        if not is_frozen(expert) and not takes_weight(expert)
    }
    if not without:
        return
    named = ", ".join(f"{name!r} ({kind})" for name, kind in without.items())
    who, they = f"Expert {named} takes", "it is"
    if len(without) > 1:
        who, they = f"Experts {named} take", "they are"
    warn(
        f"{who} no sample_weight; {they} fitted on a seeded weighted resample of the "
        "rows. Use an estimator whose fit takes sample_weight for an exact M-step.",
        NoSampleWeightWarning,
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
    try:
        return _fit_clone(clone(expert), X, y, weight, seed, fit_params or {})
    except (TypeError, ValueError) as error:
        # In its own words it names neither the column nor a way out.
        refuse_text(X, f"{type(expert).__name__} reads numbers only;", error)
        raise


def _fit_clone(expert, X, y, weight, seed, fit_params):
    if not takes_weight(expert):
        rows = np.flatnonzero(weight > 0)
        if np.ptp(weight[rows]) > 0:
            rows = weighted_resample(weight, seed)
        fit_params = taken_params(X, fit_params, rows)
        with Refusals(expert, "be fitted to its rows"):
            return expert.fit(safe_indexing(X, rows), y[rows], **fit_params)
    rows = np.flatnonzero(weight > 0)
    if len(rows) < len(weight):
        fit_params = taken_params(X, fit_params, rows)
        X, y, weight = safe_indexing(X, rows), y[rows], weight[rows]
    # Weights of one are the same as none, and boosted trees bin much faster without.
    needless = np.all(weight == 1.0) and not _must_have_weight(expert)
    weights = {} if needless else weight_arguments(expert, weight)
    with Refusals(expert, "be fitted to its rows"):
        return expert.fit(X, y, **weights, **fit_params)


class Refusals:
    """Context that says whose error it is that an estimator of another library raises.

    A class, as a generator costs as much as an answer about one row.
    """

    kinds = ValueError, TypeError, ArithmeticError, LookupError

    def __init__(self, estimator, what):
        self.estimator, self.what = estimator, what

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not isinstance(error, self.kinds) or isinstance(error, NotFittedError):
            return
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        said = str(error).rstrip(". ")
        raise ValueError(
            f"{self.estimator!r} could not {self.what}: {kind}{said}; where it meets "
            "few rows, or one class, use fewer experts, and otherwise another "
            "estimator."
        ) from error


def _must_have_weight(expert):
    parameter = inspect.signature(expert.fit).parameters.get("sample_weight")
    return parameter is not None and parameter.default is parameter.empty


def weighted_resample(weight, seed):
    """Sorted row numbers drawn in proportion to ``weight``."""
    rng = np.random.default_rng(seed)
    proba = weight / weight.sum()
    n_rows = np.count_nonzero(weight)
    return np.sort(rng.choice(len(weight), size=n_rows, p=proba))


def default_names(experts):
    """Names of presets, and lower-case ones of classes, as ``make_pipeline`` has them.

    They are numbered where they repeat.
    """
    names = [own if isinstance(own, str) else _class_name(own) for own in experts]
    counts = {name: names.count(name) for name in names}
    seen = dict.fromkeys(names, 0)
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name}-{seen[name]}" if counts[name] > 1 else name)
    return unique


def _class_name(expert):
    """Lower-case name of a class, which ``fit`` refuses, or of that of an instance."""
    kind = expert if isinstance(expert, type) else type(expert)
    return kind.__name__.lower()


def check_names(names, parameters, owner):
    """Refuse names that repeat, equal a parameter, or contain ``__``."""
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise ValueError(
            f"{owner} got experts with the same name {twice}; give each its own."
        )
    for name in names:
        if not isinstance(name, str) or "__" in name or name in parameters:
            raise ValueError(
                f"{owner} got an expert named {name!r}; names must be strings "
                "without '__' that are no parameter of the mixture."
            )


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


def seed_experts(random_state, names, experts, member=0):
    """Seed unseeded experts by name, so that neither order nor chance matters.

    Returns the seeds of the resamples of experts that take no weights.
    """
    rng = check_random_state(random_state)
    base = int(rng.randint(np.iinfo(np.int32).max, size=member + 1)[-1])
    seeds = [murmurhash3_32(name, seed=base, positive=True) for name in names]
    for seed, expert in zip(seeds, experts, strict=True):
        if not is_frozen(expert):
            seed_unseeded(expert, np.random.RandomState(seed))
    return [int(seed) for seed in seeds]
