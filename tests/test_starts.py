"""Where training starts: which groups of rows, which expert takes which of them."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe._estimators.base import fit_from
from skmoe._numerics.network import Network
from skmoe.experts import LinearExpert, MLPExpert
from skmoe.gates import ClassifierGate, GroupGate, MLPGate
from skmoe.gates._base import BaseGate
from skmoe.trainers import EM, Gradient, HardEM, _partitions

# Refits are few here, which is not the point.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PLAIN = LinearExpert(alpha=0)
COLUMNS = {"flat": [], "slope": [0], "flat2": [], "slope2": [0]}


@pytest.fixture(scope="module")
def crossing():
    """A level and a slope that cross; the level has 30 % of the rows."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(300, 2))
    level = rng.random(300) < 0.3
    line = np.where(level, 1.0, 2 * X[:, 0] - 1)
    y = line + 0.3 * rng.normal(size=300)
    counts = rng.poisson(np.exp(np.where(level, 1.0, X[:, 0])))
    labels = (rng.random(300) < 1 / (1 + np.exp(-2 * line))).astype(int)
    return X, level, {"y": y, "counts": counts, "labels": labels}


def share(first):
    """A frozen classifier that gives the first expert this share of every row."""
    labels = np.r_[np.zeros(round(100 * first)), np.ones(round(100 * (1 - first)))]
    return FrozenEstimator(
        DummyClassifier(strategy="prior").fit(labels[:, None], labels)
    )


class Fixed(BaseGate):
    """Weights that never change, written by somebody who read the base class only."""

    def __init__(self, first=0.3):
        self.first = first

    def fit(self, X, resp, sample_weight=None):
        return self

    def predict_log_proba(self, X):
        return np.log(np.tile([self.first, 1 - self.first], (len(X), 1)))


def log_likelihoods(model, experts, X, y):
    found = []
    for listed in permutations(experts):
        found.append(model.set_params(experts=list(listed)).fit(X, y).log_likelihood_)
    return np.array(found)


TWO = [("flat", PLAIN), ("slope", PLAIN)]
SETTINGS = {
    "softmax": {},
    "constant": {"gate": "constant"},
    "gaussian gate": {"gate": "gaussian"},
    "network gate": {"gate": MLPGate((4,))},
    "classifier gate": {"gate": DummyClassifier(strategy="prior")},
    "hard": {"trainer": "hard-em"},
    "gradient": {"trainer": Gradient(max_epochs=20)},
    "student-t": {"likelihood": "student-t"},
    "noise": {"noise": True},
    "constant noise": {"noise": "constant"},
    "shared expert": {"shared_expert": Ridge()},
    "foreign": {"experts": [("flat", LinearRegression()), ("slope", Ridge())]},
    "mixed": {"experts": [("flat", DecisionTreeRegressor(max_depth=1)), TWO[1]]},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_listing_does_not_matter(crossing, name):
    X, _, targets = crossing
    changes = dict(SETTINGS[name])
    columns = {key: COLUMNS[key] for key in ("flat", "slope")}
    if "experts" in changes:
        columns["flat"] = [1]
    experts = changes.pop("experts", TWO)
    model = MoERegressor(expert_features=columns, random_state=0, **changes)
    found = log_likelihoods(model, experts, X, targets["y"])
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
    if name in ("softmax", "constant", "student-t", "noise", "mixed"):
        assert found[0] > -210


@pytest.mark.parametrize("trainer", ["em", "hard-em"])
def test_listing_of_classifiers_and_counts(crossing, trainer):
    X, _, targets = crossing
    given = {"expert_features": {"flat": [], "slope": [0]}, "random_state": 0}
    classes = MoEClassifier(trainer=trainer, **given)
    counts = MoERegressor(trainer=trainer, likelihood="poisson", **given)
    for model, target in ((classes, "labels"), (counts, "counts")):
        found = log_likelihoods(model, TWO, X, targets[target])
        np.testing.assert_allclose(found, found[0], rtol=1e-6)


def test_listing_of_three(crossing):
    X, _, targets = crossing
    experts = [(name, PLAIN) for name in ("flat", "slope", "flat2")]
    model = MoERegressor(
        expert_features={"flat": [], "slope": [0], "flat2": []},
        trainer=EM(max_refits=8, tol=1e-3),
        random_state=0,
    )
    found = log_likelihoods(model, experts, X, targets["y"])
    np.testing.assert_allclose(found, found[0], rtol=1e-6)


@pytest.mark.thorough
def test_listing_in_a_tree(crossing):
    """Siblings, and whole branches, may change places."""
    X, _, targets = crossing
    names = list(COLUMNS)
    listings = [
        p
        for p in permutations(names)
        if {*p[:2]} in ({"flat", "slope"}, {"flat2", "slope2"})
    ]
    found = [
        HierarchicalMoERegressor(
            [(name, PLAIN) for name in listed],
            branching=(2, 2),
            expert_features=COLUMNS,
            random_state=0,
        )
        .fit(X, targets["y"])
        .log_likelihood_
        for listed in listings
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
    assert found[0] > -210


def test_listing_of_frozen_experts(crossing):
    """Of one class, with equal parameters, yet fitted to different rows."""
    X, level, targets = crossing
    y = targets["y"]
    experts = [
        ("level", FrozenEstimator(LinearRegression().fit(X[level], y[level]))),
        ("line", FrozenEstimator(LinearRegression().fit(X[~level], y[~level]))),
        ("free", PLAIN),
    ]
    found = log_likelihoods(MoERegressor(random_state=0), experts, X, y)
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
    assert found[0] > -207


def test_listing_of_random_experts(crossing):
    """Alike but for the seeds that their names give them."""
    X, _, targets = crossing
    tree = DecisionTreeRegressor(max_depth=2, max_features=1)
    experts = [(name, tree) for name in "abc"]
    found = log_likelihoods(MoERegressor(random_state=0), experts, X, targets["y"])
    np.testing.assert_allclose(found, found[0], rtol=1e-6)


GATES = {
    "frozen": share,
    "in a pipeline": lambda first: make_pipeline(StandardScaler(), share(first)),
    "wrapped": lambda first: ClassifierGate(share(first)),
    "a user's": Fixed,
}


@pytest.mark.parametrize("make", GATES.values(), ids=GATES)
@pytest.mark.parametrize("trainer", ["em", "hard-em"])
def test_frozen_gate_gets_the_groups_of_its_places(crossing, make, trainer):
    """Whichever place has the larger share, it gets the larger group."""
    X, level, targets = crossing
    models = [
        MoERegressor(PLAIN, n_experts=2, gate=make(first), trainer=trainer)
        for first in (0.3, 0.7)
    ]
    found = [m.fit(X, targets["y"]).log_likelihood_ for m in models]
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    place = models[0].responsibilities(X, targets["y"]).argmax(axis=1)
    assert np.mean((place == 0) == level) > 0.85


@pytest.mark.parametrize("kind", [MoERegressor, MoEClassifier])
def test_frozen_gate_turned_with_the_listing(crossing, kind):
    X, _, targets = crossing
    y = targets["y" if kind is MoERegressor else "labels"]
    given = {"expert_features": {"flat": [], "slope": [0]}, "random_state": 0}
    models = [
        kind(TWO, gate=share(0.3), **given),
        kind(TWO[::-1], gate=share(0.7), **given),
    ]
    found = [model.fit(X, y).log_likelihood_ for model in models]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def steps(rng, n=400):
    """Three levels of unequal size, the smallest first along x."""
    X = np.sort(rng.uniform(size=(n, 2)), axis=0)
    level = np.digitize(X[:, 0], [0.15, 0.45])
    return X, level, np.array([3.0, 0.0, -3.0])[level] + 0.3 * rng.normal(size=n)


ORDERED_GATES = {
    "softmax": {},
    "constant": {"gate": "constant"},
    "gaussian": {"gate": "gaussian"},
    "network": {"gate": MLPGate((4,), max_iter=20)},
    "classifier": {"gate": DecisionTreeClassifier(max_depth=2)},
    "group": {"gate": GroupGate(2)},
    "noise": {"noise": True},
    "constant noise": {"noise": "constant"},
    "hard": {"trainer": "hard-em"},
    "foreign": {"experts": [Ridge(), Ridge(), Ridge()]},
    "top-k": {"router": 2},
}


@pytest.mark.parametrize("name", ORDERED_GATES)
def test_experts_are_ordered_by_load(name):
    """In any number of starts, and what the parts say of a row is in that order."""
    X, level, y = steps(np.random.default_rng(0))
    X = np.column_stack([X, level])
    given = {"experts": PLAIN, "n_experts": 3, "random_state": 0}
    if name != "group":
        given["expert_features"] = given["gate_features"] = [0, 1]
    for n_init in (1, 4):
        model = MoERegressor(**{**given, **ORDERED_GATES[name], "n_init": n_init})
        model.fit(X, y)
        load = model.expert_load_[:3]
        assert np.all(np.diff(load) < 1e-3)
        if name not in ("constant", "gaussian"):
            means = model.predict_experts(X)[:, :3].mean(axis=0)
            np.testing.assert_allclose(means, [-3.0, 0.0, 3.0], atol=0.5)
        resp = model.responsibilities(X, y)
        np.testing.assert_allclose(resp.mean(axis=0)[:3], load, atol=0.02)
        np.testing.assert_allclose(model.history_["load"][-1][:3], load, atol=0.02)
        if name == "gaussian":
            continue  # Its log-likelihood is that of x and y together.
        log_likelihood = model.log_density(X, y).sum()
        np.testing.assert_allclose(log_likelihood, model.log_likelihood_, rtol=1e-3)


def test_equal_loads_are_ordered_by_prediction():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 1))
    side = np.arange(200) % 2
    y, labels = np.where(side, -5.0, 5.0) + rng.normal(size=200), side
    for seed in range(4):
        model = MoERegressor(PLAIN, n_experts=2, gate="constant", random_state=seed)
        model.fit(X, y)
        assert np.all(np.diff(model.predict_experts(X).mean(axis=0)) > 5)
        model = MoEClassifier(n_experts=2, gate="constant", n_init=3, random_state=seed)
        proba = model.fit(X, labels).predict_experts(X)
        assert proba[:, 0, -1].mean() <= proba[:, 1, -1].mean() + 1e-6


def test_what_has_a_place_of_its_own_stays():
    """Names, continued fits and frozen experts; alike ones among others do move."""
    X, level, y = steps(np.random.default_rng(0))
    model = MoERegressor(PLAIN, n_experts=3, random_state=0, warm_start=True).fit(X, y)
    assert np.all(np.diff(model.expert_load_) < 0)
    weight = np.where(level == 0, 20.0, 1.0)
    assert model.fit(X, y, sample_weight=weight).expert_load_.argmax() == 2
    names = [("a", PLAIN), ("b", PLAIN), ("c", PLAIN)]
    model = MoERegressor(names, random_state=0).fit(X, -y)
    assert not np.all(np.diff(model.expert_load_) <= 0)
    mixed = [DecisionTreeRegressor(max_depth=1), PLAIN, PLAIN]
    model = MoERegressor(mixed, random_state=0).fit(X, y)
    assert isinstance(model.experts_[0], DecisionTreeRegressor)
    assert model.expert_load_[1] > model.expert_load_[2]
    frozen = FrozenEstimator(LinearRegression().fit(X, y))
    model = MoERegressor([frozen, PLAIN, PLAIN], random_state=0).fit(X, y)
    assert model.experts_[0] is frozen


def tight(n=150):
    """A tight line among widely scattered rows, which short runs from scratch miss."""
    rng = np.random.default_rng(3)
    X = rng.uniform(1.3, 3, size=(n, 1))
    kind = rng.choice(3, size=n, p=[0.35, 0.35, 0.3])
    y = np.select(
        [kind == 0, kind == 1],
        [X[:, 0] + 0.004 * rng.normal(size=n), 1.9 + 0.03 * rng.normal(size=n)],
        rng.uniform(1.4, 3, size=n),
    )
    return X, y


MIXTURES = {
    "constant gate": {"gate": "constant"},
    "softmax gate": {},
    "refits": {"likelihood": "student-t", "trainer": EM(tol=1e-4)},
}


@pytest.mark.parametrize(
    "name",
    [
        "constant gate",
        "softmax gate",
        pytest.param("refits", marks=pytest.mark.thorough),
    ],
)
def test_search_counts_weights_as_repetitions(name):
    X, y = tight()
    weight = np.random.default_rng(0).integers(1, 4, size=len(y))
    given = {"n_experts": 2, "n_init": 3, "random_state": 0, **MIXTURES[name]}
    weighted = MoERegressor(PLAIN, **given).fit(X, y, sample_weight=weight)
    repeated = MoERegressor(PLAIN, n_jobs=2, **given)
    repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(
        weighted.log_likelihood_, repeated.log_likelihood_, rtol=1e-5
    )
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-3)


def test_search_finds_the_tight_line():
    X, y = tight()
    found = [
        MoERegressor(PLAIN, n_experts=2, gate="constant", n_init=20, random_state=seed)
        .fit(X, y)
        .log_likelihood_
        for seed in range(6)
    ]
    np.testing.assert_allclose(found, max(found), atol=1e-2)
    single = MoERegressor(PLAIN, n_experts=2, gate="constant").fit(X, y)
    assert max(found) > single.log_likelihood_ + 1


@pytest.mark.parametrize("move", [*_partitions.MOVES[:2], _partitions.drawn])
def test_perturbations_treat_equal_rows_alike(move):
    rng = np.random.default_rng(0)
    Z, target = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
    resp = rng.dirichlet(np.ones(3), size=40)
    weight = rng.integers(1, 4, size=40)
    rows = np.repeat(np.arange(40), weight)
    for seed in range(5):
        once = move(resp, Z, target, weight, np.random.RandomState(seed))
        np.testing.assert_allclose(once.sum(axis=1), 1.0)
        assert once.min() >= 0
        copies = resp[rows], Z[rows], target[rows], np.ones(len(rows))
        again = move(*copies, np.random.RandomState(seed))
        np.testing.assert_allclose(again, once[rows])


def test_samples_are_nested_and_starts_small():
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(30_000, 2)), np.ones(30_000)
    small, large = _partitions.content_samples(
        lambda rows: X[rows], X[:, :1], weight, (2000, 8000)
    )
    assert abs(len(small) - 2000) < 300
    assert abs(len(large) - 8000) < 600
    assert np.isin(small, large).all()


# What lies on the lines is told to be held up.
@pytest.mark.filterwarnings("ignore:The standard deviation of")
@pytest.mark.parametrize("n_init", [1, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_regimes_without_noise_are_no_spikes(n_init, seed):
    x = np.random.RandomState(seed).uniform(-2, 2, size=(300, 1))
    step, jump = (x[:, 0] > 0) * 1.0, x[:, 0] + (x[:, 0] > 0)
    levels = np.floor((x[:, 0] + 2) / 4 * 3)
    for y, n_experts in ((step, 2), (jump, 2), (levels, 3)):
        model = MoERegressor(
            LinearExpert(alpha=0), n_experts, n_init=n_init, random_state=0
        )
        assert model.fit(x, y).log_likelihood_ > 1500
        assert model.score(x, y) > 0.95


def sharp_regimes(seed, scale, n_rows=200):
    """Counts of two regimes that only the gate's column tells apart."""
    rng = np.random.RandomState(seed)
    X = rng.normal(size=(n_rows, 2))
    log_rate = np.where(X[:, 0] > 0, 1 + X[:, 1], 0.5 - X[:, 1])
    return X, rng.poisson(scale * np.exp(log_rate))


@pytest.mark.parametrize(("seed", "scale"), [(0, 10), (2, 100)])
def test_a_dispersion_swallows_no_regimes(seed, scale):
    X, y = sharp_regimes(seed, scale)
    poisson, wider = (
        MoERegressor(n_experts=2, likelihood=own, random_state=0).fit(X, y)
        for own in ("poisson", "negative-binomial")
    )
    # 1e6 is the largest dispersion, which costs large counts a nat or two.
    assert wider.log_likelihood_ > poisson.log_likelihood_ - 2.0


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer": HardEM()},
        {"n_init": 1},
        {"experts": PoissonRegressor(alpha=1e-3)},
    ],
)
def test_no_more_do_other_parts_let_it(changes):
    X, y = sharp_regimes(0, 100)
    model = MoERegressor(n_experts=2, random_state=0).set_params(**changes)
    model.set_params(likelihood="negative-binomial").fit(X, y)
    assert model.score(X, y) > 0.9


def test_a_start_that_is_given_is_the_only_one():
    X, y = sharp_regimes(0, 100)
    model = MoERegressor(n_experts=2, likelihood="negative-binomial", random_state=0)
    given = np.random.RandomState(0).dirichlet([1.0, 1.0], size=len(y))
    model.set_params(trainer=EM(max_iter=1))
    assert fit_from(model, X, y, resp=given).score(X, y) < 0.9


BRIEF = Gradient(max_epochs=3)
NETWORKS = {"experts": MLPExpert((4,), max_iter=9), "gate": MLPGate((3,), max_iter=9)}
BESIDE = {
    "searched": MoERegressor(n_experts=3),
    "top-1": MoERegressor(experts=PLAIN, n_experts=3, router=1),
    "members": MoERegressor(n_members=2),
    "hard": MoERegressor(trainer=HardEM()),
    "counts": MoERegressor(likelihood="poisson"),
    "tree": HierarchicalMoERegressor(PLAIN, branching=(2, 2)),
    "growth": HierarchicalMoERegressor(branching="grow", max_leaf_nodes=3),
    "classes": MoEClassifier(n_experts=3),
    "networks": MoERegressor(**NETWORKS),
    "two stages": MoERegressor([PLAIN, LinearExpert(9.0)], trainer="two-stage"),
    "gradient": MoERegressor(n_experts=3, trainer=BRIEF),
    "gradient of networks": MoERegressor(**NETWORKS, trainer=BRIEF),
    "gradient in a tree": HierarchicalMoERegressor(branching=(2, 2), trainer=BRIEF),
    "gradient beside others": MoERegressor(Ridge(), trainer=BRIEF),
}


# Of one expert per row, a gate that finds no regimes leaves one expert in all.
@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.parametrize("name", BESIDE)
def test_columns_without_spread_change_no_start(name, crossing):
    X, _, targets = crossing
    kind = {"counts": "counts", "classes": "labels"}.get(name, "y")
    X, y = X[:150], targets[kind][:150]
    model = BESIDE[name].set_params(random_state=0)
    expected = model.fit(X, y).log_density(X, y)
    for constants in ([3.3], [0.1, -7.0, 1e6]):
        wide = np.column_stack([np.tile(constants, (len(X), 1)), X])
        found = model.fit(wide, y).log_density(wide, y)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_frequencies", [0, 2])
@pytest.mark.parametrize("hidden", [(), (4,)])
def test_a_network_draws_for_inputs_with_spread(hidden, n_frequencies):
    spread = np.array([True, False, True])
    wide = Network((3, *hidden, 2), "tanh", n_frequencies)
    narrow = wide.narrow(spread)
    own = narrow.start(np.random.default_rng(0))
    theta = wide.start(np.random.default_rng(0), spread=spread)
    rows = np.random.default_rng(1).normal(size=(5, 3))
    rows[:, 1] = 0.0
    found, expected = wide.outputs(theta, rows), narrow.outputs(own, rows[:, spread])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert wide.narrow(np.ones(3, dtype=bool)) is wide
    nothing = wide.start(np.random.default_rng(0), spread=np.zeros(3, dtype=bool))
    assert np.isfinite(nothing).all()
