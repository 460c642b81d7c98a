"""What a random configuration is drawn from: tables, targets, weights, parts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import (
    HierarchicalMoEClassifier,
    HierarchicalMoERegressor,
    MoEClassifier,
    MoERegressor,
)
from skmoe.experts import AdditiveExpert, LinearExpert, MLPExpert
from skmoe.gates import (
    AdditiveGate,
    ClassifierGate,
    ConstantGate,
    GaussianGate,
    GroupGate,
    MLPGate,
    SoftmaxGate,
)
from skmoe.likelihoods import Gaussian
from skmoe.losses import ImportanceLoss, LoadBalancingLoss
from skmoe.routers import (
    BalancedHashRouter,
    BalancedRouter,
    BatchPrioritizedRouter,
    BiasBalancedRouter,
    BudgetRouter,
    CappedExpertChoiceRouter,
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
from skmoe.trainers import EM, Gradient, HardEM, TwoStage


@dataclass
class Configuration:
    """One drawn case.

    Attributes
    ----------
    number : int
    estimator : unfitted estimator
    X, y, weight : what ``fit`` is given
    sizes : dict with ``offset`` or ``trials``, or empty
    words : dict of what was drawn, for the line that is printed
    """

    number: int
    estimator: Any
    X: Any
    y: Any
    weight: np.ndarray | None
    sizes: dict = field(default_factory=dict)
    words: dict = field(default_factory=dict)

    def __str__(self):
        return ", ".join(f"{k}={v}" for k, v in self.words.items() if v is not None)


def pick(rng, options, weights=None):
    """One of the options; of a dict, its name and the value."""
    names = list(options)
    if weights is not None:
        weights = np.asarray(weights) / np.sum(weights)
    name = names[rng.choice(len(names), p=weights)]
    return (name, options[name]) if isinstance(options, dict) else name


# -- tables --------------------------------------------------------------------


def _plain(rng, n):
    return rng.normal(size=(n, pick(rng, [2, 3, 5])))


def _one_column(rng, n):
    return rng.normal(size=(n, 1))


def _constant_column(rng, n):
    X = rng.normal(size=(n, 3))
    X[:, 1] = pick(rng, [0.0, 0.1, -0.0184773767534787, 1e6])
    return X


def _all_constant(rng, n):
    return np.full((n, 2), 0.3)


def _nearly_constant(rng, n):
    X = rng.normal(size=(n, 3))
    X[:, 2] = 5.0
    X[0, 2] = 6.0
    return X


def _collinear(rng, n):
    X = rng.normal(size=(n, 3))
    return np.column_stack([X, X[:, 0], 2.0 * X[:, 1] - X[:, 2]])


def _one_hot(rng, n):
    return np.column_stack([rng.normal(size=n), np.eye(4)[rng.integers(0, 4, n)]])


def _repeated(rng, n):
    return np.repeat(rng.normal(size=(n // 4 + 1, 2)), 4, axis=0)[:n]


def _integers(rng, n):
    return rng.integers(-3, 4, size=(n, 3))


def _booleans(rng, n):
    return rng.random((n, 3)) < 0.4


def _float32(rng, n):
    return rng.normal(size=(n, 3)).astype(np.float32)


def _units(rng, n):
    return rng.normal(size=(n, 3)) * pick(rng, [1e-30, 1e-9, 1e9, 1e30])


def _mixed_units(rng, n):
    return rng.normal(size=(n, 3)) * [1e-12, 1.0, 1e12] + [0.0, 1e3, 0.0]


def _heavy(rng, n):
    return rng.standard_cauchy(size=(n, 3))


def _wide(rng, n):
    return rng.normal(size=(n, n + 10))


def _sparse(rng, n):
    density = sparse.random(n, 12, 0.2, random_state=np.random.RandomState(n))
    return pick(rng, [sparse.csr_matrix, sparse.csr_array])(density)


def _lists(rng, n):
    return rng.normal(size=(n, 2)).tolist()


def _gaps(rng, n):
    X = rng.normal(size=(n, 3))
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def _frame(rng, n):
    names = pick(rng, [["a", "b", "c"], ["x", "x0", "x__y"], [0, 1, 2]])
    return pd.DataFrame(rng.normal(size=(n, 3)), columns=names)


def _categories(rng, n):
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    kind = pd.Categorical.from_codes(rng.integers(0, 3, n), ["u", "v", "w"])
    return frame.assign(kind=kind)


def _text(rng, n):
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    return frame.assign(town=rng.choice(["Rome", "Oslo", "Bern"], n))


def _object_array(rng, n):
    X = rng.normal(size=(n, 3)).astype(object)
    X[:, 2] = rng.choice(["p", "q"], n)
    return X


TABLES = {
    name.strip("_"): table
    for name, table in globals().copy().items()
    if name.startswith("_") and getattr(table, "__code__", None) is not None
}


def numeric(X):
    """The table as floats, text as codes, gaps as zeros, to make a target from."""
    if sparse.issparse(X):
        return X.toarray()
    frame = pd.DataFrame(X)
    columns = []
    for j in range(frame.shape[1]):
        own = pd.to_numeric(frame.iloc[:, j], errors="coerce")
        if own.isna().all():
            own = pd.Series(pd.factorize(frame.iloc[:, j])[0])
        columns.append(own.fillna(0.0).to_numpy(dtype=float))
    X = np.column_stack(columns)
    with np.errstate(all="ignore"):
        scale = np.abs(X).max(axis=0)
    return np.clip(X / np.where(scale > 0, scale, 1.0) * 2.0, -2.0, 2.0)


# -- targets -------------------------------------------------------------------


def regression_target(rng, Z, likelihood):
    """A target that the family allows, its sizes, and its name."""
    n = len(Z)
    signal = np.where(Z[:, 0] > 0, Z[:, -1], 1.0 - Z[:, -1])
    if likelihood in ("poisson", "negative-binomial"):
        name = pick(rng, ["counts", "zeros", "rare", "large"])
        rate = {"counts": 3.0, "zeros": 0.0, "rare": 0.02, "large": 1e4}[name]
        exposed = rng.random() < 0.3
        sizes = {"offset": rng.uniform(-2, 2, n)} if exposed else {}
        return rng.poisson(rate * np.exp(0.3 * signal)).astype(float), sizes, name
    if likelihood == "gamma":
        name, scale = pick(rng, {"ones": 1.0, "tiny": 1e-6, "large": 1e8})
        return rng.gamma(2.0, scale * np.exp(0.3 * signal)), {}, name
    if likelihood == "binomial":
        if rng.random() < 0.5:
            return (rng.random(n) < 0.5).astype(float), {}, "binary"
        trials = rng.integers(1, 9, n).astype(float)
        y = rng.binomial(trials.astype(int), 0.5).astype(float)
        return y, {"trials": trials}, "trials"
    noise = 0.2 * rng.normal(size=n)
    targets = {
        "plain": lambda: signal + noise,
        "exact": lambda: Z @ np.arange(1.0, Z.shape[1] + 1),
        "constant": lambda: np.full(n, pick(rng, [0.0, 0.1, 1e5])),
        "nearly-constant": lambda: np.where(np.arange(n) == 3, 2.0, 1.0),
        "heavy": lambda: signal + rng.standard_cauchy(n),
        "tiny": lambda: (signal + noise) * 1e-20,
        "huge": lambda: (signal + noise) * 1e20,
        "shifted": lambda: (signal + noise) * 1e-3 + 1e6,
        "integers": lambda: np.round(3 * signal).astype(int),
        "two": lambda: np.column_stack([signal + noise, noise]),
        "two-same": lambda: np.column_stack([signal + noise] * 2),
        "two-constant": lambda: np.column_stack([signal + noise, np.ones(n)]),
        "list": lambda: (signal + noise).tolist(),
        "bimodal": lambda: rng.choice([-1.0, 1.0], n) + 0.01 * noise,
    }
    name, make = pick(rng, targets, [4, *[1] * (len(targets) - 1)])
    return make(), {}, name


def class_target(rng, Z):
    """Classes and their name."""
    n = len(Z)
    codes = (Z[:, 0] > 0).astype(int) + (rng.random(n) < 0.3)
    rare = np.zeros(n, dtype=int)
    rare[0] = 1
    targets = {
        "three": lambda: codes,
        "two": lambda: codes > 0,
        "one": lambda: np.zeros(n, dtype=int),
        "rare": lambda: rare,
        "strings": lambda: np.array(["no", "yes", "maybe"], dtype=object)[codes],
        "list": lambda: np.array(["a", "b", "c"])[codes].tolist(),
        "floats": lambda: codes.astype(float),
        "many": lambda: rng.integers(0, 7, n),
        "negative": lambda: codes - 5,
    }
    name, make = pick(rng, targets, [4, 3, *[1] * (len(targets) - 2)])
    return make(), name


# -- weights -------------------------------------------------------------------


def draw_weight(rng, n):
    """Row weights and their name."""
    half = np.where(np.arange(n) % 2 == 0, 1.0, 0.0)
    options = {
        "none": lambda: None,
        "zeros": lambda: half,
        "integers": lambda: rng.integers(0, 4, n).astype(float),
        "tiny": lambda: rng.uniform(0.5, 1.0, n) * 1e-80,
        "large": lambda: rng.uniform(0.5, 1.0, n) * 1e12,
        "spread": lambda: 10.0 ** rng.uniform(-80, 0, n),
        "one-row": lambda: np.where(np.arange(n) == 0, 1.0, 1e-12),
        "sums-to-one": lambda: np.full(n, 1.0 / n),
    }
    name, make = pick(rng, options, [8, *[1] * (len(options) - 1)])
    return make(), name


# -- parts ---------------------------------------------------------------------

LIKELIHOODS = {
    name: name
    for name in (
        "gaussian",
        "heteroscedastic",
        "student-t",
        "laplace",
        "poisson",
        "negative-binomial",
        "gamma",
        "binomial",
    )
}
LIKELIHOODS["full"] = Gaussian(covariance="full")
LIKELIHOODS["shared"] = Gaussian(variance="shared")

ROUTERS = {
    "none": None,
    "1": 1,
    "2": 2,
    "top-2-sparse": TopKRouter(2, training="sparse"),
    "top-p": TopPRouter(0.8),
    "top-p-1": TopPRouter(0.9, max_active=1),
    "hash": HashRouter(),
    "hash-2": HashRouter(2),
    "balanced": BalancedRouter(),
    "choice": ExpertChoiceRouter(),
    "choice-drop": ExpertChoiceRouter(1.0, overflow="drop"),
    "switch": SwitchRouter(),
    "switch-drop": SwitchRouter(overflow="drop"),
    "gshard": GShardRouter(),
    "gshard-groups": GShardRouter(n_groups=2, overflow="drop"),
    "noisy": NoisyTopKRouter(),
    "bias": BiasBalancedRouter(),
}
ROUTERS_OF_EM = list(ROUTERS)[:11]

TRAINERS = {
    "em": lambda rng: EM(max_iter=15, max_refits=3),
    "hard-em": lambda rng: HardEM(max_iter=15, max_refits=3),
    "gradient": lambda rng: Gradient(
        max_epochs=4,
        batch_size=pick(rng, [16, 128]),
        max_refits=2,
        early_stopping=pick(rng, [True, False]),
        objective=pick(rng, ["likelihood", "prediction"]),
        losses=pick(rng, [(), (LoadBalancingLoss(),), (ImportanceLoss(),)]),
        min_load=pick(rng, [None, None, 0.3]),
    ),
    "two-stage": lambda rng: TwoStage(
        cv=2,
        alphas=(1.0, 100.0),
        gate_cv=2,
        max_iter=20,
        refine=pick(rng, [0, 0, 1]),
        objective=pick(rng, ["likelihood", "prediction"]),
    ),
}

GATES = {
    "softmax": lambda rng: "softmax",
    "softmax-free": lambda rng: SoftmaxGate(alpha=0),
    "softmax-lasso": lambda rng: SoftmaxGate(l1_ratio=1.0),
    "softmax-raw": lambda rng: SoftmaxGate(standardize=False),
    "gaussian": lambda rng: GaussianGate(pick(rng, ["full", "diag", "tied"])),
    "gaussian-free": lambda rng: GaussianGate(
        pick(rng, ["full", "diag", "tied"]), alpha=0.0
    ),
    "constant": lambda rng: ConstantGate(),
    "group": lambda rng: GroupGate(0, alpha=pick(rng, [0.0, 1.0])),
    "logistic": lambda rng: LogisticRegression(max_iter=20),
    "tree": lambda rng: DecisionTreeClassifier(max_depth=2, random_state=0),
    "naive": lambda rng: ClassifierGate(GaussianNB()),
    "boosted": lambda rng: HistGradientBoostingClassifier(max_iter=3),
    "network": lambda rng: MLPGate((4,), max_iter=5, update_iter=2),
}

REGRESSORS = {
    "default": lambda: None,
    "free": lambda: LinearExpert(alpha=0),
    "lasso": lambda: LinearExpert(l1_ratio=1.0),
    "raw": lambda: LinearExpert(standardize=False),
    "ridge": lambda: Ridge(),
    "tree": lambda: DecisionTreeRegressor(max_depth=2, random_state=0),
    "pipeline": lambda: make_pipeline(StandardScaler(), Ridge()),
    "network": lambda: MLPExpert((4,), max_iter=5),
    "mixed": lambda: [LinearExpert(), DecisionTreeRegressor(max_depth=1), Ridge()],
    "zero": lambda: [
        ("zero", DummyRegressor(strategy="constant", constant=0.0)),
        ("line", LinearExpert(alpha=0)),
    ],
    "kinds": lambda: [LinearExpert(), LinearExpert(alpha=5.0), MLPExpert((3,))],
    "unweighted": lambda: KNeighborsRegressor(3),
}
CLASSIFIERS = {
    "default": lambda: None,
    "free": lambda: LinearExpert(alpha=0),
    "lasso": lambda: LinearExpert(l1_ratio=1.0),
    "logistic": lambda: LogisticRegression(max_iter=20),
    "tree": lambda: DecisionTreeClassifier(max_depth=2, random_state=0),
    "naive": lambda: GaussianNB(),
    "network": lambda: MLPExpert((4,), max_iter=5),
    "mixed": lambda: [LinearExpert(), DecisionTreeClassifier(max_depth=1)],
}
# Of every seventh number, so that the others are what they were before.
CURVED = 7
CURVED_EXPERTS = {
    "additive": lambda: "additive",
    "curves": lambda: AdditiveExpert(6, alpha=1.0, ends="linear"),
    "curves-free": lambda: AdditiveExpert(4, alpha=0),
    "curves-mixed": lambda: [AdditiveExpert(8), LinearExpert()],
}
# Of every eleventh number, those that leave four.
BUDGETED = 11
# Of every thirteenth number, those that leave six.
PUBLISHED = 13
PUBLISHED_ROUTERS = {
    "capped-choice": CappedExpertChoiceRouter(2.0, 1),
    "balanced-hash": BalancedHashRouter(),
    "multi-hash": MultiHashRouter(1),
    "residual": ResidualRouter(),
    "top-p-trained": TopPRouter(0.6, training="sparse"),
    "prioritized": BatchPrioritizedRouter(1, 0.5),
    "switch-score": SwitchRouter(0.5, priority="score", overflow="drop"),
}
PUBLISHED_OF_EM = list(PUBLISHED_ROUTERS)[:5]
BRANCHINGS = [(2,), (2, 2), (3, 2), (None, (None, None)), "grow"]


def _drawn_parts(rng, classify, words):
    """Parameters of the estimator that do not depend on the table."""
    trainer, make_trainer = pick(rng, TRAINERS, [5, 2, 3, 2])
    names = ROUTERS_OF_EM if trainer != "gradient" else list(ROUTERS)
    router = pick(rng, names, [len(names), *[1] * (len(names) - 1)])
    gates = dict(GATES)
    if trainer == "gradient" and rng.random() < 0.9:
        gates = {k: v for k, v in GATES.items() if k in ("softmax", "network")}
    gate, make_gate = pick(rng, gates, [len(gates), *[1] * (len(gates) - 1)])
    kinds = CLASSIFIERS if classify else REGRESSORS
    expert, make_expert = pick(rng, kinds, [len(kinds), *[1] * (len(kinds) - 1)])
    words.update(trainer=trainer, router=router, gate=gate, experts=expert)
    return {
        "trainer": make_trainer(rng),
        "router": ROUTERS[router],
        "gate": make_gate(rng),
        "experts": make_expert(),
        "n_members": pick(rng, [1, 2], [9, 1]),
        "n_init": pick(rng, [1, 3], [4, 1]),
        "random_state": 0,
    }


def _curved(rng, parameters, words):
    """Additive experts, an additive gate, or both in place of what was drawn."""
    which = pick(rng, ["both", "experts", "gate"])
    if which != "gate":
        words["experts"], make = pick(rng, CURVED_EXPERTS)
        parameters["experts"] = make()
    if which != "experts":
        words["gate"] = "additive"
        parameters["gate"] = AdditiveGate(
            pick(rng, [2, 8, 32]),
            alpha=pick(rng, ["evidence", "evidence", 0.0, 1.0]),
            ends=pick(rng, ["held", "linear"]),
        )


def _budgeted(rng, parameters, words):
    """A router with costs in place of what was drawn."""
    words["router"] = "budget"
    parameters["router"] = BudgetRouter(10.0 ** rng.uniform(-3, 3), 3000.0)
    if rng.random() < 0.7:
        parameters["router"] = BudgetRouter(1.0, rng.uniform(1.0, 3.0))


def _published(rng, parameters, words):
    """A router of a published system in place of what was drawn."""
    names = PUBLISHED_ROUTERS if words["trainer"] == "gradient" else PUBLISHED_OF_EM
    words["router"] = pick(rng, list(names))
    parameters["router"] = PUBLISHED_ROUTERS[words["router"]]
    if rng.random() < 0.2 and words["gate"] != "additive":
        parameters["gate"] = words["gate"] = "sigmoid"


def _drawn_columns(rng, X, parameters, words):
    """Columns of gate and experts, of now and then."""
    positions = [0] if np.ndim(X) == 2 and np.shape(X)[1] == 1 else [0, 1]
    if isinstance(X, pd.DataFrame):
        positions = list(X.columns[:2])
    for name in ("gate_features", "expert_features"):
        if rng.random() < 0.12:
            options = [positions[:1], positions, "piecewise-linear"]
            own = options[rng.integers(len(options))]
            parameters[name] = words[name] = own


def draw(number):
    """The configuration of a number."""
    rng = np.random.default_rng([9021, number])
    words = {"task": pick(rng, ["regression", "classes"], [3, 2])}
    classify = words["task"] == "classes"
    words["n"] = n = pick(rng, [60, 100, 30, 12, 5, 2], [8, 6, 3, 2, 1, 1])
    words["table"], make = pick(rng, TABLES, [6, *[1] * (len(TABLES) - 1)])
    X = make(rng, n)
    parameters = _drawn_parts(rng, classify, words)
    if number % CURVED == CURVED - 2:
        _curved(np.random.default_rng([9022, number]), parameters, words)
    if number % BUDGETED == 4:
        _budgeted(np.random.default_rng([9023, number]), parameters, words)
    if number % PUBLISHED == 6:
        _published(np.random.default_rng([9024, number]), parameters, words)
    sizes = {}
    if classify:
        y, words["y"] = class_target(rng, numeric(X))
        parameters["class_weight"] = pick(rng, [None, "balanced"], [5, 1])
    else:
        name = "gaussian"
        if words["trainer"] in ("em", "hard-em") or rng.random() < 0.05:
            weights = [len(LIKELIHOODS), *[1] * (len(LIKELIHOODS) - 1)]
            name = pick(rng, list(LIKELIHOODS), weights)
        parameters["likelihood"] = LIKELIHOODS[words.setdefault("likelihood", name)]
        y, sizes, words["y"] = regression_target(rng, numeric(X), name)
        parameters["noise"] = pick(rng, [False, True, "constant"], [8, 1, 1])
    if rng.random() < 0.12:
        parameters["shared_expert"] = pick(rng, [LinearExpert(), Ridge()], [2, 1])
        if classify:
            parameters["shared_expert"] = LinearExpert()
    _drawn_columns(rng, X, parameters, words)
    weight, words["weight"] = draw_weight(rng, n)
    if rng.random() < 0.3:
        kind = HierarchicalMoEClassifier if classify else HierarchicalMoERegressor
        parameters["branching"] = words["branching"] = pick(rng, BRANCHINGS)
        parameters["max_leaf_nodes"] = 4
    else:
        kind = MoEClassifier if classify else MoERegressor
        parameters["n_experts"] = pick(rng, [2, 3, 1, 5], [4, 3, 1, 1])
    told = ("n_experts", "noise", "n_members", "shared_expert", "class_weight")
    words.update({k: parameters[k] for k in told if parameters.get(k)})
    if sizes:
        words["sizes"] = next(iter(sizes))
    return Configuration(number, kind(**parameters), X, y, weight, sizes, words)
