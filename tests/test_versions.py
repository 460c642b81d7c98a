"""Models and their parts say which versions saved them."""

import copy
import inspect
import io
import pickle
import pickletools
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

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


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_part_is_stamped(kind):
    assert issubclass(kind, Stamped)


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


def addresses(part):
    """Names of skmoe in the pickle of a part."""
    arguments = (arg for _, arg, _ in pickletools.genops(pickle.dumps(part)))
    texts = (str(arg) for arg in arguments if isinstance(arg, str))
    return {text.replace(" ", ".") for text in texts if text.startswith("skmoe")}


SHORT = trainers.Gradient(max_epochs=2)
ROUTERS = [vars(routers)[name]() for name in routers.__all__ if "Router" in name]
# Mixtures of every kind of part, by the target that they are fitted to.
SAVED = {
    "real": [
        MoERegressor(n_experts=2, n_members=2, gate_features="piecewise-linear"),
        MoERegressor([LinearRegression(), DecisionTreeRegressor()], gate="gaussian"),
        MoERegressor(n_experts=2, gate=DecisionTreeClassifier(), trainer="hard-em"),
        MoERegressor(n_experts=2, gate=gates.GroupGate(0)),
        MoERegressor(n_experts=2, gate="constant", likelihood="student-t"),
        MoERegressor(
            n_experts=2, shared_expert=LinearRegression(), likelihood="laplace"
        ),
        MoERegressor(n_experts=2, likelihood="heteroscedastic"),
        MoERegressor(n_experts=2, noise=True),
        MoERegressor(n_experts=2, noise="constant"),
        MoERegressor(
            experts.MLPExpert((4,)), 2, gate=gates.MLPGate((4,)), trainer=SHORT
        ),
        MoERegressor(
            [LinearRegression(), DecisionTreeRegressor()],
            trainer=trainers.TwoStage(cv=2, local_correction="trees"),
        ),
        MoERegressor(
            experts.AutoPool(["linear", "boosting", "neighbours", "network"]),
            trainer="two-stage",
        ),
        HierarchicalMoERegressor(branching=(2, 2)),
        HierarchicalMoERegressor(branching="grow", max_leaf_nodes=3),
        model_selection.MoERegressorCV(n_experts=[1, 2], cv=2),
        *(
            MoERegressor(n_experts=4, router=router, trainer=SHORT)
            for router in ROUTERS
            if type(router) is not routers.BaseRouter
        ),
    ],
    "counts": [
        MoERegressor(n_experts=2, likelihood="poisson"),
        MoERegressor(n_experts=2, likelihood="negative-binomial"),
    ],
    "positive": [MoERegressor(n_experts=2, likelihood="gamma")],
    "chances": [MoERegressor(n_experts=2, likelihood="binomial")],
    "classes": [
        MoEClassifier(n_experts=2),
        MoEClassifier(experts.MLPExpert((4,)), 2, trainer=SHORT),
        MoEClassifier(
            [LogisticRegression(), DecisionTreeClassifier()], trainer="two-stage"
        ),
        skmoe.HierarchicalMoEClassifier(branching=(2, 2)),
        model_selection.MoEClassifierCV(n_experts=[1, 2], cv=2),
    ],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("target", "model"),
    [(target, model) for target, models in SAVED.items() for model in models],
    ids=lambda own: own if isinstance(own, str) else type(own).__name__,
)
def test_pickles_name_public_modules_only(regression, target, model):
    """So files may move, and what was saved before still loads."""
    X, y = regression
    X, y = X[:200], y[:200]
    positive = np.exp(y / y.std())
    targets = {
        "real": y,
        "counts": np.floor(positive),
        "positive": positive,
        "chances": (y > 0) * 1.0,
        "classes": np.digitize(y, [-1.0, 1.0]),
    }
    found = addresses(clone(model).fit(X, targets[target]))
    assert "skmoe" in found or "skmoe.model_selection" in found
    private = [own for own in found if any(p.startswith("_") for p in own.split("."))]
    assert not private


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
