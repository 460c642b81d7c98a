"""Trees that grow: which leaves split, what is given up, what is refused."""

import numpy as np
import pandas as pd
import pytest
from records import never_falls
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from skmoe import HierarchicalMoEClassifier, HierarchicalMoERegressor
from skmoe._numerics.tree import balanced_shape, flat
from skmoe.datasets import make_gated_regression
from skmoe.experts import MLPExpert
from skmoe.gates import GaussianGate, GroupGate
from skmoe.gates._tree import TreeGate
from skmoe.likelihoods import Gaussian
from skmoe.routers import DenseRouter
from skmoe.trainers import EM, Gradient, Recipe, Rows, TwoStage
from skmoe.trainers._growth import Growth, held_out_rows, separating_tree
from skmoe.trainers._task import Task

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)


def planted(n_rows=1500, seed=0):
    """Four lines in the four boxes of two cuts, a tree of two levels."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n_rows, 2))
    leaf = 2 * (X[:, 0] > 0) + (X[:, 1] > 0.2 * np.sign(X[:, 0]))
    slopes = np.array([[3, 0], [-3, 1], [0, 3], [1, -3]])
    y = np.array([2.0, -2.0, 1.0, -1.0])[leaf] + np.sum(slopes[leaf] * X, axis=1)
    return X, y + 0.1 * rng.normal(size=n_rows), leaf


@pytest.mark.parametrize("criterion", ["held-out", "bic"])
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(own, marks=pytest.mark.thorough) for own in (1, 2))]
)
def test_planted_trees_are_found(criterion, seed):
    X, y, leaf = planted(seed=seed)
    model = HierarchicalMoERegressor(
        branching="grow", criterion=criterion, max_leaf_nodes=6, random_state=0
    ).fit(X, y)
    fixed = HierarchicalMoERegressor(branching=(2, 2), random_state=0).fit(X, y)
    assert model.log_likelihood_ > fixed.log_likelihood_ - 1.0
    # Each planted leaf has leaves of its own, with hardly any rows of others.
    table = np.zeros((model.n_experts_, 4))
    np.add.at(table, (model.apply(X), leaf), 1)
    assert table.max(axis=1).sum() > 0.95 * len(X)
    assert 4 <= model.n_experts_ <= 6


def test_the_best_of_all_steps_is_trained():
    X, y, _ = planted()
    model = HierarchicalMoERegressor(branching="grow", random_state=0).fit(X, y)
    leaves, scores = zip(*model.history_["growth"], strict=True)
    assert leaves[0] == 1
    assert max(leaves) <= model.max_leaf_nodes
    assert model.gate_.tree.n_leaves == model.n_experts_
    # Splits whose gain is within a standard error are given up.
    assert model.n_experts_ in leaves
    assert model.n_experts_ <= leaves[int(np.argmax(scores))]
    assert never_falls(model)


def test_what_needs_no_split_stays_whole():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=500)
    for criterion in ("held-out", "bic"):
        model = HierarchicalMoERegressor(branching="grow", criterion=criterion)
        model.fit(X, y)
        assert model.n_experts_ == 1
        assert model.decision_path(X).shape == (500, 2)
        np.testing.assert_array_equal(model.apply(X), 0)


def growth_task(X, y, n_leaves):
    rows = Rows(X, [X] * n_leaves, y[:, None], y, None, np.ones(len(X)))
    recipe = Recipe(
        gate=TreeGate(GaussianGate(), flat(1)),
        router=DenseRouter(),
        likelihood=Gaussian(),
        experts=[Ridge()] * n_leaves,
        names=[f"e{k}" for k in range(n_leaves)],
        expert_seeds=list(range(n_leaves)),
    )
    return Task(rows, recipe)


def test_splits_that_do_not_pay_are_given_up():
    """A superfluous split, made by hand, collapses."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = np.where(X[:, 0] > 0, 5.0, -5.0) + X[:, 1] + 0.1 * rng.normal(size=400)
    task = growth_task(X, y, 4)
    growth = Growth(EM(max_refits=5), task, "bic")
    resp = np.stack([X[:, 0] > 0, X[:, 0] <= 0, X[:, 1] > 0], axis=1).astype(float)
    resp[:, 1] *= 1 - resp[:, 2]
    resp[:, 2] *= 1 - resp[:, 0]
    tree, _ = flat(2).split(1)
    wide = growth._train(tree, resp=resp)
    growth.fit = wide
    growth._record()
    growth._collapse()
    assert growth.fit.gate.tree.shape == (None, None)
    assert growth.record[-1][1] >= growth.record[0][1]


@pytest.mark.parametrize(
    "expert", [Ridge(), DecisionTreeRegressor(max_depth=3), MLPExpert((4,))]
)
def test_leaves_of_any_kind(expert):
    X, y, _ = planted(400)
    model = HierarchicalMoERegressor(expert, "grow", max_leaf_nodes=3, random_state=0)
    assert 2 <= model.fit(X, y).n_experts_ <= 3
    scores = [score for _, score in model.history_["growth"]]
    assert max(scores) > scores[0] + 0.2


def test_leaves_are_told_apart_from_the_root_down():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 2))
    box = 4 * (X[:, 0] > 0) + 2 * (X[:, 1] > 0) + (X[:, 1] > np.sign(X[:, 1]) / 2)
    resp = np.eye(8)[rng.permutation(8)][box]
    shape, order = separating_tree(X, resp, np.ones(400))
    assert sorted(order) == list(range(8))
    boxes = [box[resp[:, k] > 0][0] for k in order]
    assert shape == balanced_shape((2, 2, 2))
    # The root cuts along either axis, and siblings lie side by side.
    assert 1 in (len({b // 4 for b in boxes[:4]}), len({b // 2 % 2 for b in boxes[:4]}))
    for pair in zip(boxes[::2], boxes[1::2], strict=True):
        assert 1 in (len({b // 2 for b in pair}), len({b % 4 for b in pair}))


@pytest.mark.parametrize("gate", ["gaussian", "constant"])
def test_gates_of_any_kind(gate):
    X, y, _ = planted(400)
    model = HierarchicalMoERegressor(branching="grow", gate=gate, random_state=0)
    assert np.isfinite(model.fit(X, y).log_density(X, y)).all()


@pytest.mark.thorough
def test_any_trainer_finishes_the_tree():
    X, y, _ = planted(700)
    for trainer in ("hard-em", Gradient()):
        model = HierarchicalMoERegressor(
            branching="grow", trainer=trainer, random_state=0
        ).fit(X, y)
        assert model.n_experts_ >= 4
        assert model.score(X, y) > 0.7


def test_classes():
    X, y, leaf = planted(800)
    labels = np.array(["low", "high"])[(y > 0).astype(int)]
    model = HierarchicalMoEClassifier(branching="grow", random_state=0)
    assert model.fit(X, labels).score(X, labels) > 0.9
    assert model.n_experts_ > 1


def test_weights_are_repetitions():
    X, y, _ = planted(400)
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    model = HierarchicalMoERegressor(
        branching="grow", max_leaf_nodes=4, trainer=EM(tol=1e-10), random_state=0
    )
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert weighted.gate_.tree.shape == repeated.gate_.tree.shape
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-3)


def test_equal_rows_are_held_out_together():
    X, y = make_gated_regression(300, 3, 2, random_state=0)
    task = growth_task(np.vstack([X, X]), np.concatenate([y, y]), 2)
    held = held_out_rows(task)
    np.testing.assert_array_equal(held[:300], held[300:])
    assert 0.1 < held.mean() < 0.3


def test_few_rows():
    X, y, _ = planted(12)
    model = HierarchicalMoERegressor(branching="grow", random_state=0).fit(X, y)
    assert np.isfinite(model.predict(X)).all()


def test_equal_rows_cannot_be_split():
    """All or none of them are held out."""
    X, y = np.ones((20, 1)), np.ones(20)
    model = HierarchicalMoERegressor(LinearRegression(), "grow").fit(X, y)
    assert model.n_experts_ == 1


def test_members_grow_their_own_trees():
    X, y, _ = planted(400)
    model = HierarchicalMoERegressor(
        branching="grow", max_leaf_nodes=4, n_members=2, random_state=0
    ).fit(X, y)
    assert len(model.members_) == 2
    assert model.n_experts_ == sum(m.n_experts_ for m in model.members_)


def test_what_cannot_grow_is_refused():
    X, y, _ = planted(100)
    with pytest.raises(ValueError, match="one expert that is cloned"):
        HierarchicalMoERegressor([Ridge(), Ridge()], "grow").fit(X, y)
    with pytest.raises(ValueError, match="a tree grows afresh"):
        HierarchicalMoERegressor(branching="grow", warm_start=True).fit(X, y)
    boxes = DecisionTreeRegressor(max_depth=2)
    with pytest.raises(ValueError, match="criterion='bic' needs"):
        HierarchicalMoERegressor(boxes, "grow", criterion="bic").fit(X, y)
    with pytest.raises(ValueError, match="max_leaf_nodes"):
        HierarchicalMoERegressor(branching="grow", max_leaf_nodes=0).fit(X, y)
    for trainer in ("em", "gradient"):
        model = HierarchicalMoERegressor(branching="grow", trainer=trainer)
        assert not hasattr(model, "partial_fit")


def test_classes_of_frames_are_held_out_by_rows_not_by_class():
    X, y, leaf = planted(400)
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "word": "w"})
    columns = make_column_transformer(("passthrough", ["a", "b"]))
    experts = make_pipeline(columns, LogisticRegression())
    model = HierarchicalMoEClassifier(
        experts, "grow", gate=GroupGate("word"), max_leaf_nodes=2, random_state=0
    )
    model.fit(frame, leaf)
    assert np.isfinite(model.history_["growth"][-1][1])
    assert model.history_["growth"][-1][1] > -5


def test_groups_reach_the_splitter_of_the_trainer_of_a_grown_tree():
    X, y, _ = planted(200)
    seen = []

    class Recording(GroupKFold):
        def split(self, X, y=None, groups=None):
            seen.append(groups)
            return super().split(X, y, groups)

    model = HierarchicalMoERegressor(
        branching="grow", trainer=TwoStage(cv=Recording(4)), random_state=0
    )
    groups = np.arange(200) // 10
    with (
        config_context(enable_metadata_routing=True),
        pytest.warns(UserWarning, match="say the same of every row"),
    ):
        model.fit(X, y, groups=groups)
    np.testing.assert_array_equal(seen, [groups])
