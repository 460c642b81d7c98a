"""Models and their parts say which versions saved them."""

import copy
import importlib
import inspect
import io
import pickle
import pkgutil
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning

import skmoe
from skmoe import (
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
    experts,
    gates,
    likelihoods,
    losses,
    model_selection,
    routers,
    trainers,
)
from skmoe._stamp import KEY, VERSIONS, Stamped
from skmoe.exceptions import OtherVersionWarning

PARTS = (experts, gates, likelihoods, losses, routers, trainers, model_selection, skmoe)


def kinds():
    """All public classes with parameters."""
    found = {getattr(m, name) for m in PARTS for name in getattr(m, "__all__", dir(m))}
    return sorted(
        (x for x in found if inspect.isclass(x) and issubclass(x, BaseEstimator)),
        key=lambda x: x.__name__,
    )


def altered(part, **versions):
    """The bytes of a part that other versions saved; of none with ``None``."""
    before = VERSIONS.copy()
    VERSIONS.update(versions)
    try:
        return pickle.dumps(part)
    finally:
        VERSIONS.clear()
        VERSIONS.update(before)


def test_every_estimator_and_part_is_stamped():
    """Private ones, too: whatever a fitted model may hold with a state."""
    for own in pkgutil.walk_packages(skmoe.__path__, "skmoe."):
        importlib.import_module(own.name)
    found, left = set(), [BaseEstimator]
    while left:
        below = [own for own in left.pop().__subclasses__() if own not in found]
        found.update(below)
        left += below
    ours = {own for own in found if own.__module__.partition(".")[0] == "skmoe"}
    assert set(kinds()) <= ours
    assert not [own for own in ours if not issubclass(own, Stamped)]


@pytest.mark.parametrize(
    "part",
    [
        gates.SoftmaxGate(),
        experts.LinearExpert(),
        likelihoods.Gamma().with_shape([2.0]),
        routers.TopKRouter(2),
        trainers.EM(),
        losses.LoadBalancingLoss(0.1),
        MoEClassifier(),
        HierarchicalMoERegressor(),
    ],
    ids=lambda part: type(part).__name__,
)
def test_other_versions_are_told_of(part):
    for name, other in (
        ("skmoe", "0.0.7"),
        ("scikit-learn", "1.2.3"),
        ("numpy", "0.9"),
    ):
        with pytest.warns(OtherVersionWarning) as caught:
            loaded = pickle.loads(altered(part, **{name: other}))
        text = next(str(x.message) for x in caught if x.category is OtherVersionWarning)
        for word in (type(part).__name__, name, other, VERSIONS[name], "fit it again"):
            assert word in text
        assert type(loaded) is type(part)
        assert KEY not in vars(loaded)
        assert caught[0].filename == __file__


def test_a_state_without_versions_is_of_unknown_ones():
    gate = gates.SoftmaxGate()
    state = {k: v for k, v in gate.__getstate__().items() if k != KEY}
    with pytest.warns(InconsistentVersionWarning, match="skmoe unknown"):
        gates.SoftmaxGate.__new__(gates.SoftmaxGate).__setstate__(state)


def test_the_same_versions_say_nothing(regression):
    X, y = regression
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        joblib.dump(model, file)
        file.seek(0)
        copies = [
            pickle.loads(pickle.dumps(model)),
            joblib.load(file),
            copy.deepcopy(model),
            copy.copy(model),
        ]
        assert not hasattr(clone(model), KEY)
    for other in copies:
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        assert KEY not in vars(other)


def test_warnings_of_versions_can_be_pickled():
    warning = OtherVersionWarning("Gate", None, VERSIONS)
    again = pickle.loads(pickle.dumps(warning))
    assert str(again) == str(warning)
    assert again.original_sklearn_version == "unknown"


def test_one_load_is_told_of_once(regression):
    X, y = regression
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    for whole in (model, [model, model.gate_, model.experts_]):
        file = io.BytesIO(altered(whole, numpy="0.9"))
        for load in (pickle.load, joblib.load):
            # Each load anew, though all at one line.
            for _ in range(2):
                file.seek(0)
                with pytest.warns(OtherVersionWarning) as caught:
                    load(file)
                assert [w.filename for w in caught] == [__file__]
