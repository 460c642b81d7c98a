"""The checks of parts: built-in ones pass, broken ones are caught, own ones serve."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.experts import AdditiveExpert, BuiltInExpert, LinearExpert, MLPExpert
from skmoe.gates import (
    AdditiveGate,
    BaseGate,
    ClassifierGate,
    ConstantGate,
    MLPGate,
    SigmoidGate,
    SoftmaxGate,
)
from skmoe.likelihoods import (
    Beta,
    Binomial,
    Gamma,
    Gaussian,
    HeteroscedasticGaussian,
    InverseGaussian,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
    Tweedie,
    Weibull,
)
from skmoe.losses import (
    EntropyLoss,
    HierarchicalBalancingLoss,
    ImportanceLoss,
    LoadBalancingLoss,
    LoadLoss,
    MutualInformationLoss,
    ParameterPenaltyLoss,
    RouterZLoss,
    SlotBalancingLoss,
)
from skmoe.routers import (
    BalancedHashRouter,
    BalancedRouter,
    BatchPrioritizedRouter,
    BiasBalancedRouter,
    BudgetRouter,
    CappedExpertChoiceRouter,
    DenseRouter,
    ExpertChoiceRouter,
    GShardRouter,
    HashRouter,
    MultiHashRouter,
    NoisyTopKRouter,
    ResidualRouter,
    SwitchRouter,
    TopKRouter,
    TopPRouter,
)
from skmoe.testing import (
    check_expert,
    check_gate,
    check_likelihood,
    check_loss,
    check_router,
    check_trainer,
)
from skmoe.trainers import EM, Gradient, HardEM, TwoStage

GUIDE = Path(__file__).parent.parent / "docs" / "own_parts.md"
NETWORK = {"alpha": 5.0, "max_iter": 2000, "random_state": 0}


def named(parts):
    return [pytest.param(part, id=repr(part)[:60]) for part in parts]


# -- built-in parts -----------------------------------------------------------


@pytest.mark.parametrize(
    "gate",
    named(
        [
            AdditiveGate(),
            AdditiveGate(4, alpha=1.0, ends="linear"),
            SoftmaxGate(standardize=False),
            SoftmaxGate(l1_ratio=0.5),
            MLPGate((4,), **NETWORK),
            SigmoidGate(alpha=20.0, max_iter=2000),
            ClassifierGate(DecisionTreeClassifier(random_state=0)),
        ]
    ),
)
def test_gates(gate):
    check_gate(gate)


@pytest.mark.parametrize(
    "router",
    named(
        [
            DenseRouter(),
            TopKRouter(2, "sparse"),
            NoisyTopKRouter(),
            SwitchRouter(),
            GShardRouter(),
            GShardRouter(n_groups=2, overflow="drop"),
            BalancedRouter(),
            HashRouter(2),
            ExpertChoiceRouter(),
            BiasBalancedRouter(2),
            BudgetRouter(),
            BudgetRouter([1.0, 9.0, 2.0, 3.0, 0.1], 2.0),
            TopPRouter(0.7),
            TopPRouter(0.7, training="sparse"),
            SwitchRouter([1.0, 2.0, 0.5, 1.0, 1.0], priority="score"),
            BatchPrioritizedRouter(2, 0.5),
            CappedExpertChoiceRouter(),
            BalancedHashRouter(2),
            MultiHashRouter(3),
            ResidualRouter(),
            ResidualRouter(2, 2),
        ]
    ),
)
def test_routers(router):
    check_router(router)


@pytest.mark.parametrize(
    "expert",
    named(
        [
            AdditiveExpert(),
            AdditiveExpert(4, alpha=1.0, ends="linear"),
            LinearExpert(),
            LinearExpert(l1_ratio=0.5),
            LinearExpert(standardize=False),
            MLPExpert((4,), **NETWORK),
            Ridge(),
            DecisionTreeRegressor(random_state=0),
        ]
    ),
)
def test_experts(expert):
    check_expert(expert)


@pytest.mark.parametrize(
    "expert",
    named(
        [
            AdditiveExpert(),
            LinearExpert(),
            MLPExpert((4,), **NETWORK),
            LogisticRegression(),
            DecisionTreeClassifier(random_state=0),
        ]
    ),
)
def test_experts_for_classes(expert):
    check_expert(expert, classes=True)


@pytest.mark.parametrize(
    "likelihood",
    named(
        [
            Gaussian(),
            Gaussian("shared"),
            Gaussian(covariance="full"),
            HeteroscedasticGaussian(),
            StudentT(),
            StudentT(df=4),
            Laplace(),
            Gamma(),
            Weibull(),
            LogNormal(),
            InverseGaussian(),
            Beta(),
            Tweedie(),
            Ordinal(),
            Ordinal(n_levels=7),
            Poisson(),
            NegativeBinomial(),
            Binomial(),
        ]
    ),
)
def test_likelihoods(likelihood):
    check_likelihood(likelihood)


@pytest.mark.parametrize(
    "loss",
    named(
        [
            ImportanceLoss(),
            LoadLoss(),
            LoadBalancingLoss(),
            RouterZLoss(),
            MutualInformationLoss(),
            EntropyLoss(),
            SlotBalancingLoss(),
            HierarchicalBalancingLoss(),
            ParameterPenaltyLoss([1.0, 4.0, 2.0, 8.0]),
        ]
    ),
)
def test_losses(loss):
    check_loss(loss)


@pytest.mark.parametrize("trainer", named([EM(), HardEM(), Gradient(), TwoStage(cv=2)]))
def test_trainers(trainer):
    check_trainer(trainer)


# -- what is numerical by default ---------------------------------------------


@pytest.mark.parametrize("kind", [Gaussian, StudentT, Gamma, Poisson, Binomial])
def test_numerical_defaults_are_what_families_know_better(kind):
    """Derivatives, quantiles and draws follow from density and distribution."""

    class Plain(kind):
        def derivatives(self, y, prediction, size=None):
            return super(kind, self).derivatives(y, prediction, size)

        def quantile(self, level, prediction, size=None):
            return super(kind, self).quantile(level, prediction, size)

        def sample(self, prediction, rng, size=None):
            return super(kind, self).sample(prediction, rng, size)

    check_likelihood(Plain())


# -- broken parts -------------------------------------------------------------


class Unnormalised(SoftmaxGate):
    def predict_log_proba(self, X):
        return self.scores(X)


class Weightless(SoftmaxGate):
    def fit(self, X, resp, sample_weight=None):
        return super().fit(X, resp)


class OfTheBatch(SoftmaxGate):
    def scores(self, X):
        return super().scores(X - X.mean(axis=0))


class InPlaces(ConstantGate):
    """Says that its experts may change places, but adds to the first."""

    def linear_form(self, X):
        return None

    def predict_log_proba(self, X):
        log_proba = super().predict_log_proba(X) + np.array([1.0, 0.0, 0.0])
        return log_proba - np.logaddexp.reduce(log_proba, axis=1)[:, None]


class Mirrored(SoftmaxGate):
    def set_standardised(self, coef, design):
        return super().set_standardised(-coef, design)

    def fit(self, X, resp, sample_weight=None):
        own = SoftmaxGate().fit(X, resp, sample_weight)
        self.__dict__.update({**vars(own), **self.get_params()})
        return self


class OtherNetwork(MLPGate):
    def network(self, n_inputs, n_outputs):
        return super().network(n_inputs, n_outputs + 1)

    def fit(self, X, resp, sample_weight=None):
        own = SoftmaxGate().fit(X, resp, sample_weight)
        self.predict_log_proba = self.scores = own.predict_log_proba
        self.update = lambda *args: self
        self.penalty = lambda: 0.0
        self.reordered = lambda order: None
        return self


class BadStart(SoftmaxGate):
    def start_responsibilities(self, X, n_experts, sample_weight):
        return np.ones((len(X), n_experts))


class NotAGate:
    pass


@pytest.mark.parametrize(
    ("gate", "what"),
    [
        (NotAGate(), "derives from"),
        (Unnormalised(), "sum to one"),
        (Weightless(), "weight of two"),
        (OfTheBatch(), "that row alone"),
        (InPlaces(), "exchangeable"),
        (Mirrored(), "set_standardised"),
        (OtherNetwork((4,)), "as many outputs"),
        (BadStart(), "start from sum"),
    ],
)
def test_broken_gates_are_caught(gate, what):
    with pytest.raises(AssertionError, match=what):
        check_gate(gate)


class Doubled(TopKRouter):
    def route(self, log_gate, **given):
        routing = super().route(log_gate, **given)
        return routing._replace(weights=2.0 * routing.weights)


class Twice(TopKRouter):
    def route(self, log_gate, **given):
        routing = super().route(log_gate, **given)
        indices = np.repeat(routing.indices[:, :1], routing.indices.shape[1], axis=1)
        return routing._replace(indices=indices)


class WrongLoad(TopKRouter):
    def route(self, log_gate, **given):
        routing = super().route(log_gate, **given)
        return routing._replace(load=routing.load + 1)


class ByBatch(DenseRouter):
    def route(self, log_gate, **given):
        return TopKRouter(1).route(log_gate - log_gate.mean(axis=0))


class TooMany(DenseRouter):
    def n_active(self, n_experts):
        return 1


class NotTopK(TopPRouter):
    plain_top_k = True


class NoWayBack(NoisyTopKRouter):
    def perturb(self, outputs, rng):
        logits, _ = super().perturb(outputs, rng)
        return logits, lambda slope: np.hstack([slope, 0.0 * slope])


class Random(DenseRouter):
    def route(self, log_gate, *, X=None, rng=None, training=False):
        if not training:
            return super().route(log_gate)
        noise = np.random.default_rng().normal(size=log_gate.shape)
        return TopKRouter(1).route(log_gate + noise)


class Stiff(TopKRouter):
    def resized(self, n_experts):
        return self


@pytest.mark.parametrize(
    ("router", "what"),
    [
        (NotAGate(), "derives from"),
        (Doubled(2), "sum to one"),
        (Twice(2), "distinct"),
        (WrongLoad(2), "load counts"),
        (ByBatch(), "that row alone"),
        (TooMany(), "n_active"),
        (NotTopK(0.5), "plain_top_k"),
        (NoWayBack(2), "way back"),
        (Random(), "same random numbers"),
    ],
)
def test_broken_routers_are_caught(router, what):
    with pytest.raises(AssertionError, match=what):
        check_router(router)


def test_routers_must_serve_fewer_experts():
    with pytest.raises(ValueError, match="k=3"):
        check_router(Stiff(3))


class Mean(BuiltInExpert):
    """Broken by its subclasses; by itself it is fine."""

    n_parameters_ = 1

    def fit(self, X, y, sample_weight=None):
        self.mean_ = np.average(y, weights=sample_weight)
        return self

    def predict(self, X):
        return np.full(X.shape[0], self.mean_)


class UnweightedMean(Mean):
    def fit(self, X, y, sample_weight=None):
        return super().fit(X, y)


class BatchMean(Mean):
    def predict(self, X):
        return np.full(X.shape[0], self.mean_ + X.mean())


class NotANumber(Mean):
    def predict(self, X):
        return np.full(X.shape[0], np.nan)


class Unscaled(MLPExpert):
    def set_network(self, network, theta, design, center=0.0, scale=1.0):
        return super().set_network(network, theta, design)


class OtherCount(Mean):
    n_parameters_ = -1


@pytest.mark.parametrize(
    ("expert", "what"),
    [
        (UnweightedMean(), "weight of two"),
        (BatchMean(), "that row alone"),
        (NotANumber(), "are numbers"),
        (OtherCount(), "n_parameters_"),
    ],
)
def test_broken_experts_are_caught(expert, what):
    check_expert(Mean())
    with pytest.raises(AssertionError, match=what):
        check_expert(expert)


def test_networks_keep_the_scale():
    class Own(Unscaled):
        _regressor = None

    with pytest.raises(AssertionError, match="set_network"):
        check_expert(Own((4,), **NETWORK))


def test_experts_of_values_say_so_to_classifiers(classification):
    with pytest.raises(ValueError, match="predicts numbers only"):
        MoEClassifier(Mean(), 2).fit(*classification)


class Halved(Gaussian):
    def log_prob(self, y, prediction, size=None):
        return super().log_prob(y, prediction, size) - np.log(2.0)


class Shifted(Gaussian):
    def cdf(self, y, prediction, size=None):
        return super().cdf(y + 0.1, prediction, size)


class Wide(Gaussian):
    def variance_of(self, prediction, size=None):
        return 2.0 * super().variance_of(prediction, size)


class Still(Gaussian):
    def sample(self, prediction, rng, size=None):
        return prediction.copy()


class Steep(Gaussian):
    def derivatives(self, y, prediction, size=None):
        slope, curvature = super().derivatives(y, prediction, size)
        return 2.0 * slope, curvature


class Unweighted(Gaussian):
    def fit_dispersions(self, y, predictions, weights, **given):
        return super().fit_dispersions(y, predictions, np.ones_like(weights), **given)


class Unlikely(Laplace):
    def fit_one(self, y, prediction, weight, **given):
        fitted = super().fit_one(y, prediction, weight, **given)
        if weight[-1] == 0:
            return fitted
        last = weight * (np.arange(len(weight)) >= len(weight) - 3)
        return super().fit_one(y, prediction, last, **given)


class OtherLink(Gaussian):
    link = "probit"


@pytest.mark.parametrize(
    ("likelihood", "what"),
    [
        (NotAGate(), "derives from"),
        (Halved(), "add up"),
        (Shifted(), "cdf of a quantile"),
        (Wide(), "variance_of"),
        (Still(), "draws follow"),
        (Steep(), "slope"),
        (Unweighted(), "weight of two|without rows"),
        (Unlikely(), "likelier|weight of two"),
        (OtherLink(), "link is one of"),
    ],
)
def test_broken_likelihoods_are_caught(likelihood, what):
    with pytest.raises(AssertionError, match=what):
        check_likelihood(likelihood)


class WrongSlope(RouterZLoss):
    def value_and_slopes(self, batch):
        value, slopes = super().value_and_slopes(batch)
        return value, slopes._replace(logits=2.0 * slopes.logits)


class Fixed(RouterZLoss):
    def value_and_slopes(self, batch):
        return 1.0, super().value_and_slopes(batch)[1]


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (NotAGate(), "derives from"),
        (WrongSlope(), "slope of logits"),
        (Fixed(), "proportion"),
    ],
)
def test_broken_losses_are_caught(loss, what):
    with pytest.raises(AssertionError, match=what):
        check_loss(loss)


class WrongLoads(EM):
    def fit(self, rows, recipe, start, report):
        fit = super().fit(rows, recipe, start, report)
        return replace(fit, load=2.0 * fit.load)


class LosesOne(EM):
    def fit(self, rows, recipe, start, report):
        fit = super().fit(rows, recipe, start, report)
        return replace(fit, kept=fit.kept[:1])


class Writes(EM):
    def fit(self, rows, recipe, start, report):
        recipe.experts[0].alpha = 99.0
        return super().fit(rows, recipe, start, report)


class Seedless(Gradient):
    def fit(self, rows, recipe, start, report):
        seed = np.random.default_rng().integers(1000)
        return super().fit(rows, replace(recipe, seed=int(seed)), start, report)


@pytest.mark.parametrize(
    ("trainer", "what"),
    [
        (NotAGate(), "derives from"),
        (WrongLoads(), "loads sum"),
        (LosesOne(), "one of each"),
        (Writes(), "recipe as it is"),
        (Seedless(max_epochs=5), "same seed"),
    ],
)
def test_broken_trainers_are_caught(trainer, what):
    with pytest.raises(AssertionError, match=what):
        check_trainer(trainer)


# -- parts of one's own in mixtures -------------------------------------------


@pytest.fixture(scope="module")
def own():
    """The parts of the guide."""
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    names = {}
    for block in blocks:
        # Definitions only; the page itself runs elsewhere.
        head = re.split(r"^(?:check_|for |model = |X, y = )", block, flags=re.MULTILINE)
        exec(compile(head[0], str(GUIDE), "exec"), names)
    return names


TRAINERS = {
    "em": "em",
    "hard-em": "hard-em",
    "gradient": Gradient(max_epochs=5),
    "two-stage": TwoStage(cv=2),
}
EXPERTS = [Ridge(), DecisionTreeRegressor(max_depth=3, random_state=0)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("trainer", ["em", "hard-em", "two-stage"])
def test_own_gate_in_every_trainer(own, regression, trainer):
    gate = own["BinGate"](1)
    model = MoERegressor(EXPERTS, gate=gate, trainer=TRAINERS[trainer], random_state=0)
    assert model.fit(*regression).score(*regression) > 0
    assert model.gate_.n_parameters_ == 5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_own_gate_in_a_tree(own, regression):
    model = HierarchicalMoERegressor(gate=own["BinGate"](1), branching=(2, 2))
    assert np.isfinite(model.fit(*regression).log_likelihood_)


def test_gradient_names_who_has_a_network(own, regression):
    model = MoERegressor(n_experts=2, gate=own["BinGate"](1), trainer="gradient")
    with pytest.raises(ValueError, match="network; SoftmaxGate and MLPGate have one"):
        model.fit(*regression)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("trainer", ["em", "hard-em", "gradient"])
def test_own_router_in_every_trainer(own, regression, trainer):
    router = own["BestRowsRouter"](0.4)
    model = MoERegressor(n_experts=3, router=router, trainer=TRAINERS[trainer])
    model.fit(*regression)
    assert model.router_.least_.shape == (model.n_experts_,)
    assert model.route(regression[0]).load.min() >= 0.4 * len(regression[0]) - 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("trainer", ["em", "hard-em"])
@pytest.mark.parametrize("router", [None, 1])
def test_own_likelihood_in_every_trainer(own, regression, trainer, router):
    X, y = regression
    times = np.exp(y / y.std()) * np.random.default_rng(0).weibull(2.0, size=len(y))
    model = MoERegressor(
        n_experts=2, likelihood=own["Weibull"](), trainer=trainer, router=router
    )
    model.fit(X, times, offset=np.zeros(len(y)))
    assert model.log_density(X, times, offset=np.zeros(len(y))).sum() > -1e6
    low, high = model.predict_interval(X, coverage=0.8).T
    assert 0.7 < np.mean((low <= times) & (times <= high)) < 0.9


def test_own_likelihood_finds_the_shape(own):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1))
    shape, mean = 1.7, np.exp(0.3 + 0.5 * X[:, 0])
    y = mean * rng.weibull(shape, size=2000) / own["special"].gamma(1 + 1 / shape)
    expert = LinearExpert(alpha=0)
    model = MoERegressor(expert, n_experts=1, likelihood=own["Weibull"]()).fit(X, y)
    assert model.likelihoods_[0].shape_ == pytest.approx(shape, rel=0.05)
    assert model.experts_[0].coef_ == pytest.approx([0.5], abs=0.05)


def test_gradient_and_two_stages_refuse_other_densities(own, regression):
    X, y = regression
    for trainer in ("gradient", "two-stage"):
        model = MoERegressor(EXPERTS, likelihood=own["Weibull"](), trainer=trainer)
        with pytest.raises(ValueError, match="trainer='em'"):
            model.fit(X, np.exp(y / y.std()))


def test_own_trainer_in_mixtures(own, regression):
    X, y = regression
    for model in (
        MoERegressor(n_experts=3, trainer=own["Regions"](), router=2, random_state=0),
        MoERegressor(EXPERTS, gate="gaussian", trainer=own["Regions"](), n_members=2),
    ):
        assert model.fit(X, y).score(X, y) > 0.2
        assert model.log_density(X, y).sum() == pytest.approx(
            model.log_likelihood_
        ) or (model.router is not None or model.n_members > 1)


class Ready(BaseGate):
    """Its parameters are named like what trainers ask of gates."""

    exchangeable = True

    def __init__(self, start=0.0, network=None, segments=3, linear=None, training="x"):
        self.start = start
        self.network = network
        self.segments = segments
        self.linear = linear
        self.training = training

    def fit(self, X, resp, sample_weight=None):
        self.gate_ = SoftmaxGate(alpha=1.0 + self.start).fit(X, resp, sample_weight)
        return self

    def predict_log_proba(self, X):
        return self.gate_.predict_log_proba(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("trainer", ["em", "hard-em", "two-stage"])
def test_gates_name_their_parameters_as_they_like(regression, trainer):
    check_gate(Ready())
    model = MoERegressor(EXPERTS, gate=Ready(), trainer=TRAINERS[trainer])
    assert model.fit(*regression).score(*regression) > 0


class Duck:
    """Has the methods, but says nothing of what it can do."""

    def get_params(self, deep=True):
        return {}

    def log_prob(self):
        pass

    at = fit_dispersions = fit = log_prob


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("likelihood", "skmoe.likelihoods.Likelihood"),
        ("trainer", "skmoe.trainers.Trainer"),
    ],
)
def test_parts_derive_from_their_base(regression, name, base):
    with pytest.raises(ValueError, match=base):
        MoERegressor(n_experts=2, **{name: Duck()}).fit(*regression)
