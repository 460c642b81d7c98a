"""What users and their estimators may bring, refused at one door by name."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import AutoPool, LinearExpert
from skmoe.gates import ClassifierGate, SoftmaxGate
from skmoe.inspection import expert_usage
from skmoe.likelihoods import Gaussian, HeteroscedasticGaussian
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV
from skmoe.routers import TopKRouter
from skmoe.trainers import EM, Gradient, TwoStage

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = X @ [1.0, 2.0] + 0.1 * RNG.normal(size=60)
CLASSES = np.digitize(Y, [-1.0, 1.0])

VALUES = {
    "short": (lambda p: p[:-1], r"shape \(\d+,\)"),
    "one for all": (lambda p: p[:1], r"shape \(1,\)"),
    "two columns": (lambda p: np.column_stack([p, p]), r"shape \(\d+, 2\)"),
    "a row": (lambda p: p[None], r"shape \(1, \d+\)"),
    "three axes": (lambda p: p[:, None, None], r"shape \(\d+, 1, 1\)"),
    "a number": (lambda p: 3.0, r"shape \(\)"),
    "nothing": (lambda p: None, "None"),
    "gaps": (lambda p: np.where(p < p.max(), p, np.nan), "NaN or infinity"),
    "masked": (lambda p: np.ma.masked_equal(p, p.max()), "NaN or infinity"),
    "complex": (lambda p: p + 1j, "complex128"),
    "text": (lambda p: p.astype(str), "type <U"),
    "objects": (lambda p: [{}] * len(p), "no numbers"),
    "absurd": (lambda p: 0 * p - 1e200, r"-1e\+200, whose square"),
}
PROBA = {
    "few columns": (lambda p: p[:, :-1], r"shape \(\d+, \d\)"),
    "transposed": (np.transpose, r"shape \(\d, \d+\)"),
    "scores": (lambda p: 1.3 * p, "a row that sums to 1.3"),
    "negative": (lambda p: 1.5 * p - 0.5 / p.shape[1], r"-0\."),
    "logarithms": (np.log, "-"),
    "complex": (lambda p: p + 0.1j, "complex128"),
    "gaps": (lambda p: p * np.nan, "NaN or infinity"),
    "absurd": (lambda p: p * 1e200, "whose square"),
    "one per output": (lambda p: [p, p], r"shape \(2, \d+, \d\)"),
}
TRAINERS = [EM(max_iter=2), "hard-em", TwoStage(cv=2)]
# Rows of which a late one makes a fault, and not while it is trained.
LATE = 7


class Answers(RegressorMixin, BaseEstimator):
    def __init__(self, how=None, late=False):
        self.how, self.late = how, late

    def fit(self, X, y, sample_weight=None):
        self.model_ = LinearRegression().fit(X, y, sample_weight)
        return self

    def predict(self, X):
        answer = self.model_.predict(X)
        wrong = self.how is not None and (not self.late or len(X) == LATE)
        return VALUES[self.how][0](answer) if wrong else answer


class Votes(ClassifierMixin, BaseEstimator):
    def __init__(self, how=None, late=False):
        self.how, self.late = how, late

    def fit(self, X, y, sample_weight=None):
        self.model_ = LogisticRegression().fit(X, y, sample_weight)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X):
        answer = self.model_.predict_proba(X)
        wrong = not self.late or len(X) == LATE
        return PROBA[self.how][0](answer) if wrong else answer


def refused(model, y, message):
    """``fit``, or ``predict``, names the estimator and its answer."""
    with pytest.raises(ValueError, match=message):
        model.fit(X, y).predict(X[:LATE])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", VALUES)
def test_wrong_numbers_are_named(how, late):
    own = Answers(how, late)
    message = rf"Answers\(how='{how}'.* answers predict with .*{VALUES[how][1]}"
    for trainer in TRAINERS:
        refused(MoERegressor([own, Ridge()], trainer=trainer), Y, message)
    frozen = FrozenEstimator(own.fit(X, Y))
    refused(MoERegressor([frozen, Ridge()], trainer=TRAINERS[0]), Y, message)
    refused(MoERegressor(n_experts=2, shared_expert=own), Y, message)
    if how != "absurd":
        likelihood = HeteroscedasticGaussian(own)
        model = MoERegressor(n_experts=1, likelihood=likelihood, trainer=TRAINERS[0])
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y).predict(X[:LATE], return_std=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("how", PROBA)
def test_wrong_probabilities_are_named(how, late):
    message = rf"Votes\(how='{how}'.* answers predict_proba with .*{PROBA[how][1]}"
    experts = [Votes(how, late), LogisticRegression()]
    for trainer in TRAINERS:
        refused(MoEClassifier(experts, trainer=trainer), CLASSES, message)
    gate = Votes(how, late)
    bent = np.where(X[:, 0] > 0, 20.0 + Y, -Y)
    refused(MoERegressor(n_experts=2, gate=gate, trainer=TRAINERS[0]), bent, message)


def test_rows_of_zeros_say_nothing():
    trees = OneVsRestClassifier(DecisionTreeClassifier(max_depth=1))
    model = MoEClassifier([trees, LogisticRegression()], trainer=TwoStage(cv=2))
    assert np.isfinite(model.fit(X, CLASSES).predict_proba(X)).all()


def test_classes_must_be_known():
    class Mute(Votes):
        def fit(self, X, y, sample_weight=None):
            super().fit(X, y, sample_weight)
            del self.classes_
            return self

    with pytest.raises(ValueError, match="Mute.* has no classes_ after its fit"):
        MoEClassifier([Mute("scores"), LogisticRegression()]).fit(X, CLASSES)


REGRESSOR = MoERegressor(n_experts=2, random_state=0)
GRADIENT = MoERegressor(n_experts=2, trainer=Gradient(max_epochs=1), random_state=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [1e307, 5e-324])
def test_weights_beyond_sums_are_refused_wherever_they_come_in(size):
    weight = np.full(60, size)
    fitted = REGRESSOR.fit(X, Y)
    calls = [
        lambda: MoERegressor().fit(X, Y, weight),
        lambda: GRADIENT.fit(X, Y).partial_fit(X, Y, weight),
        lambda: HierarchicalMoERegressor().fit(X, Y, weight),
        lambda: MoEClassifier().fit(X, CLASSES, weight),
        lambda: MoERegressorCV(n_experts=2, cv=2).fit(X, Y, weight),
        lambda: MoEClassifierCV(n_experts=2, criterion="bic").fit(X, CLASSES, weight),
        lambda: fitted.score(X, Y, weight),
        lambda: fitted.bic(X, Y, weight),
        lambda: expert_usage(fitted, X, Y, sample_weight=weight),
        lambda: MoEClassifier(class_weight={0: size, 1: size, 2: size}).fit(X, CLASSES),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"sums to .*; divide the weights by"):
            call()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [1e-301, 1e-250, 1e250, 1e301])
def test_only_ratios_of_weights_count_in_scores_and_usage(size):
    weight = RNG.uniform(0.5, 2.0, 60)
    model, classifier = REGRESSOR.fit(X, Y), MoEClassifier(n_experts=2).fit(X, CLASSES)
    near = {"rtol": 1e-12}
    for own, y in ((model, 1e3 * Y), (classifier, CLASSES)):
        found, expected = own.score(X, y, size * weight), own.score(X, y, weight)
        np.testing.assert_allclose(found, expected, **near)
    found, expected = (
        expert_usage(model, X, Y, sample_weight=w)["load"]
        for w in (size * weight, weight)
    )
    np.testing.assert_allclose(found, expected, **near)
    for criterion in (model.aic, model.bic, model.icl):
        assert np.isfinite(criterion(X, Y, size * weight))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weight", [["a"] * 60, [1j] * 60, [10**400] * 60])
def test_weights_that_are_no_numbers(weight):
    with pytest.raises(
        ValueError, match="sample_weight (holds no numbers|sums to inf)"
    ):
        MoERegressor().fit(X, Y, weight)


@pytest.mark.parametrize("wrong", [{0: -0.1, 1: 1, 2: 1}, {0: np.nan, 1: 1, 2: 1}])
def test_weights_of_classes_are_positive(wrong):
    with pytest.raises(ValueError, match="class_weight=.*expected numbers >= 0"):
        MoEClassifier(class_weight=wrong).fit(X, CLASSES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scoring", [None, "r2"])
def test_searches_take_weights_of_any_size(scoring):
    search = MoERegressorCV(REGRESSOR, n_experts=2, cv=2, scoring=scoring)
    for size in (1e-300, 1e300):
        search.fit(X, Y, np.full(60, size))
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    "score", [np.nan, np.inf, -np.inf, None, "a", 1j, np.ones(1), {"a": 1.0}]
)
def test_scores_that_are_no_numbers(score):
    search = MoERegressorCV(n_experts=2, cv=2, scoring=lambda model, X, y: score)
    with pytest.raises(ValueError, match="scorer .* says .*expected a finite number"):
        search.fit(X, Y)


def test_a_scorer_that_fails_is_named():
    search = MoERegressorCV(n_experts=2, cv=2, scoring=lambda model, X, y: 1 / 0)
    with pytest.raises(ValueError, match=r"scorer .*division by zero"):
        search.fit(X, Y)


HALF = np.arange(30)


@pytest.mark.parametrize(
    "fold",
    [
        (HALF, np.arange(50, 70)),
        (HALF, [-1]),
        (HALF + 0.5, HALF),
        (["a"], [1]),
        (HALF[:, None], HALF),
        (np.ones(50, dtype=bool), HALF),
        (HALF, HALF, HALF),
        HALF,
        1,
    ],
)
def test_folds_are_pairs_of_rows(fold):
    class Splitter:
        def split(self, X, y=None, groups=None):
            yield fold

        def get_n_splits(self, *_):
            return 1

    for cv in ([fold], Splitter()):
        with pytest.raises(ValueError, match="fold 0 cannot be made"):
            MoERegressorCV(n_experts=2, cv=cv).fit(X, Y)
    model = MoERegressor([Ridge(), Ridge(2.0)], trainer=TwoStage(cv=Splitter()))
    with pytest.raises(ValueError, match="TwoStage|fold 0 cannot be made"):
        model.fit(X, Y)


@pytest.mark.parametrize("options", [{"cv": 2}, {"criterion": "bic"}])
def test_a_search_of_one_row(options):
    with pytest.raises(ValueError, match="n_samples=1, but a search compares"):
        MoERegressorCV(**options).fit(X[:1], Y[:1])


def test_a_fold_that_trains_on_one_row():
    with pytest.raises(ValueError, match="one row to train on"):
        MoERegressorCV(cv=2).fit(X[:3], Y[:3])


@pytest.mark.parametrize(
    "model",
    [
        MoERegressorCV(n_experts=[10**6]),
        MoERegressorCV(n_experts=10**9),
        MoERegressor(n_experts=10**9),
        HierarchicalMoERegressor(branching=(10**5, 10**5)),
        HierarchicalMoERegressor(branching="grow", max_leaf_nodes=10**9),
    ],
)
def test_more_experts_than_any_memory_holds(model):
    with pytest.raises(ValueError, match="65536"):
        model.fit(X, Y)


CLASSES_AS_PARAMETERS = [
    ("router", TopKRouter),
    ("gate", SoftmaxGate),
    ("gate", LogisticRegression),
    ("trainer", EM),
    ("trainer", Gradient),
    ("likelihood", Gaussian),
    ("experts", LinearExpert),
    ("experts", AutoPool),
    ("shared_expert", Ridge),
    ("gate_features", StandardScaler),
]


@pytest.mark.parametrize(("name", "kind"), CLASSES_AS_PARAMETERS)
def test_a_class_is_no_instance(name, kind):
    message = (
        f"{name}={kind.__name__} is a class; pass an instance: {name}={kind.__name__}"
    )
    for model in (MoERegressor(), HierarchicalMoERegressor()):
        with pytest.raises(ValueError, match=message):
            model.set_params(**{name: kind}).fit(X, Y)
    search = MoERegressorCV(MoERegressor().set_params(**{name: kind}))
    with pytest.raises(ValueError, match=message):
        search.fit(X, Y)


@pytest.mark.parametrize(
    "model",
    [
        MoERegressor([Ridge]),
        MoERegressor([("a", Ridge()), ("b", Ridge)]),
        MoERegressor(expert_features={"expert0": StandardScaler}),
        MoERegressor(gate=ClassifierGate(LogisticRegression)),
        MoERegressor(likelihood=HeteroscedasticGaussian(Ridge)),
        MoERegressor([Ridge()], trainer=TwoStage(cv=KFold)),
        MoERegressor([Ridge()], trainer=TwoStage(local_correction=Ridge)),
        MoERegressor(FrozenEstimator(Ridge)),
        MoERegressorCV(MoERegressor),
        MoERegressorCV(cv=KFold),
        MoERegressorCV(param_grid={"gate": [SoftmaxGate]}),
    ],
)
def test_classes_within_parameters(model):
    with pytest.raises(ValueError, match="is a class; pass an instance"):
        model.fit(X, Y)


def test_a_class_for_batches():
    with pytest.raises(ValueError, match="trainer=Gradient is a class"):
        MoERegressor(trainer=Gradient).partial_fit(X, Y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("late", [False, True])
def test_models_of_local_corrections_are_named(late):
    class Bent(Answers):
        def fit(self, X, y, sample_weight=None):
            self.model_ = DecisionTreeRegressor(max_depth=4, random_state=0)
            self.model_.fit(X, y, sample_weight)
            return self

    x = np.linspace(-3, 3, 400)[:, None]
    trainer = TwoStage(cv=2, local_correction=Bent("short", late))
    model = MoERegressor([Ridge()], trainer=trainer, random_state=0)
    with pytest.raises(ValueError, match="Bent.* answers predict with .*shape"):
        model.fit(x, np.exp(x[:, 0])).predict(x[:LATE])
