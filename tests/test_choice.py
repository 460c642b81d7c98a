"""``n_experts="auto"``: rows that are held out say how many experts pay."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import MoEClassifier, MoERegressor
from skmoe._estimators import choice
from skmoe._estimators.base import fit_from
from skmoe._estimators.choice import FAILS, OPEN, PAYS, Gains, paired
from skmoe.datasets import make_regimes
from skmoe.gates import ClassifierGate, GaussianGate
from skmoe.routers import TopPRouter
from skmoe.trainers import EM, Gradient, TwoStage

# Two regimes, or none.
X, Y = make_regimes(240, noise=0.3, random_state=0)
LINE = X @ np.arange(1.0, X.shape[1] + 1) + np.random.default_rng(0).normal(size=240)
NOISY = LINE + np.random.default_rng(1).logistic(size=240)
LABELS = np.where(NOISY > 0, "above", "below")
SHORT = Gradient(max_epochs=2)


def chosen(model):
    return model.history_["n_experts"]["chosen"]


@pytest.mark.parametrize(
    ("model", "y", "most"),
    [
        (MoERegressor(), Y, 4),
        (MoERegressor(), LINE, 1),
        (MoEClassifier(), LABELS, 4),
        (MoERegressor("additive", gate="additive", trainer=EM(max_iter=5)), Y, 4),
        (MoERegressor(noise=True), Y, 4),
        (MoERegressor(noise="constant"), LINE, 1),
        (MoERegressor(n_members=2), Y, 4),
        (MoERegressor(n_init=3), Y, 4),
        (MoERegressor(router=2), LINE, 1),
        (MoERegressor(router=TopPRouter(0.9)), Y, 4),
        (MoERegressor(gate=GaussianGate(alpha=2.0)), Y, 4),
        (MoERegressor(Ridge(), trainer=EM(max_refits=3)), LINE, 1),
        (MoERegressor(trainer="hard-em"), Y, 4),
        (MoERegressor(trainer=SHORT), Y, 4),
        (MoERegressor(Ridge(), trainer=TwoStage(cv=2)), LINE, 1),
        (MoERegressor(shared_expert=Ridge()), LINE, 1),
        (MoERegressor(expert_features="piecewise-linear"), LINE, 1),
        (MoEClassifier(class_weight="balanced"), LABELS, 4),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_fit_is_that_of_the_number_chosen(model, y, most):
    model = clone(model).set_params(random_state=0)
    auto = clone(model).fit(X, y)
    assert chosen(auto) in (1, 2, 3, 4)
    assert chosen(auto) <= most
    given = clone(model).set_params(n_experts=chosen(auto))
    if chosen(auto) == 1 and given.router == 2:
        given.set_params(router=None)
    given.fit(X, y)
    np.testing.assert_array_equal(auto.predict(X), given.predict(X))
    assert auto.n_experts_ == given.n_experts_


def test_regimes_get_their_experts():
    """Those beyond two lose their rows, of which an upper bound does not warn."""
    model = MoERegressor(random_state=0).fit(X, Y)
    assert chosen(model) >= model.n_experts_ == 2
    assert "2 of at most 4 experts" in repr(model)
    record = model.history_["n_experts"]
    assert record["candidates"] == [1, 4]
    assert record["at_most"] == 4
    first = record["compared"][0]
    assert first["pays"]
    assert (first["n_experts"], first["n_left"]) == (4, chosen(model))
    assert first["density"] > 3 * first["error"] > 0


def test_branches_that_no_mean_shows_pay():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(300, 1))
    sign = rng.choice([-1.0, 1.0], size=300)
    branches = sign * x[:, 0] + 0.05 * rng.normal(size=300)
    assert chosen(MoERegressor(gate="constant").fit(x, branches)) > 1
    two_heaps = sign + 0.2 * rng.normal(size=300)
    assert chosen(MoERegressor(gate="constant").fit(x, two_heaps)) > 1


@pytest.mark.parametrize("experts", ["linear", "additive"])
def test_subjects_of_two_kinds_get_two_experts(experts):
    """Under a gate that reads nothing their mean is that of one expert."""
    rng = np.random.default_rng(0)
    kind = np.repeat(rng.random(60) < 0.5, 4)
    x = rng.uniform(0, 10, size=(240, 1))
    y = np.where(kind, 0.8, -0.5) * x[:, 0] + 0.3 * rng.normal(size=240)
    model = MoERegressor(experts, gate="constant", random_state=0)
    model.fit(x, y, groups=np.repeat(np.arange(60), 4))
    record = model.history_["n_experts"]
    assert record["chosen"] == model.n_experts_ == 2
    assert record["candidates"] == [1, 2, 3, 4]
    assert [own["beside"] for own in record["compared"]] == [1, 2, 2]
    assert all(np.isfinite(own["density"]) for own in record["compared"])


def test_representation_says_what_was_kept():
    model = MoERegressor(random_state=0)
    assert repr(model) == "MoERegressor(random_state=0)"
    model.fit(X, LINE)
    assert repr(model) == "MoERegressor(random_state=0)  # 1 of at most 4 experts"
    assert "1 of at most 4 experts" in model._repr_html_()
    assert repr(eval(repr(model))) == repr(clone(model))
    assert repr(make_pipeline(model)).endswith("MoERegressor(random_state=0))])")
    assert "#" not in repr(MoERegressor(n_experts=1).fit(X, LINE))
    # Long parameters are broken into lines, as they are of any estimator.
    long = MoERegressor(make_pipeline(StandardScaler(), Ridge()), n_init=1, verbose=0)
    long.set_params(trainer=EM(max_refits=2, tol=1e-3, short_iter=3), random_state=0)
    assert repr(long).count("\n") == 2


def test_verbose_tells_the_choice(capsys):
    MoERegressor(verbose=1, random_state=0).fit(X, LINE)
    said = capsys.readouterr().out.splitlines()[0]
    assert "1 of at most 4 experts" in said
    assert "nats a row" in said


@pytest.mark.parametrize("y", [Y, LINE])
def test_repeated_rows_are_weighted_rows(y):
    rng = np.random.default_rng(1)
    weight = rng.integers(0, 4, len(y))
    weighted = MoERegressor().fit(X, y, sample_weight=weight)
    order = rng.permutation(np.repeat(np.arange(len(y)), weight))
    repeated = MoERegressor().fit(X[order], y[order])
    assert chosen(weighted) == chosen(repeated)
    for one, other in zip(
        weighted.history_["n_experts"]["compared"],
        repeated.history_["n_experts"]["compared"],
        strict=True,
    ):
        assert one["density"] == pytest.approx(other["density"], abs=1e-4)
        assert one["error"] == pytest.approx(other["error"], abs=1e-4)


def test_neither_seed_nor_threads_matter():
    records = [
        MoERegressor(random_state=seed, n_jobs=n_jobs).fit(X, Y).history_["n_experts"]
        for seed, n_jobs in ((0, 1), (1, 2))
    ]
    assert records[0] == records[1]


@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.filterwarnings("ignore:.* are matched exactly")
@pytest.mark.parametrize("n_rows", [2, 3, 5, 29])
def test_few_rows_get_one_expert(n_rows):
    model = MoERegressor().fit(X[:n_rows], Y[:n_rows])
    assert model.n_experts_ == 1
    assert "too few rows" in model.history_["n_experts"]["reason"]
    labels = np.arange(n_rows).astype(str)
    assert MoEClassifier().fit(X[:n_rows], labels).n_experts_ == 1


@pytest.mark.filterwarnings("ignore")
def test_classes_of_one_row_each():
    labels = np.arange(60) // 3
    labels[:10] = np.arange(100, 110)
    model = MoEClassifier().fit(X[:60], labels)
    assert np.isfinite(model.predict_proba(X)).all()
    assert MoEClassifier().fit(X[:60], np.arange(60)).n_experts_ == 1


def test_warm_start_goes_on_with_the_number_chosen():
    model = MoERegressor(warm_start=True, random_state=0).fit(X, LINE)
    assert chosen(model.fit(X, Y)) == model.n_experts_ == 1
    assert "1 of at most 4" in repr(model)
    # Without it, the rows are asked again.
    again = chosen(model.set_params(warm_start=False).fit(X, Y))
    assert again > 1
    assert chosen(model.set_params(warm_start=True).fit(X, LINE)) == again


def test_batches_begin_with_four_and_go_on_with_what_there_is():
    model = MoERegressor(trainer=SHORT, random_state=0)
    assert clone(model).partial_fit(X, Y).n_experts_ == 4
    model.fit(X, LINE)
    assert model.partial_fit(X, LINE).n_experts_ == chosen(model)


@pytest.mark.filterwarnings("ignore")
def test_what_settles_the_number():
    resp = np.random.default_rng(0).dirichlet(np.ones(3), len(X))
    model = fit_from(MoERegressor(trainer=EM(max_iter=2)), X, Y, resp=resp)
    assert model._learned.n_asked == 3
    assert "n_experts" not in model.history_
    listed = MoERegressor([LinearRegression(), Ridge()], trainer=EM(max_refits=2))
    assert "n_experts" not in listed.fit(X, Y).history_
    named = MoERegressor(expert_features={"expert3": [0]}, random_state=0)
    assert named._resolve().names == [f"expert{k}" for k in range(4)]
    assert "n_experts" not in named.fit(X, Y).history_


@pytest.mark.filterwarnings("ignore")
def test_an_offset_is_minded():
    exposure = np.random.default_rng(0).uniform(0.1, 10.0, len(X))
    counts = np.random.default_rng(1).poisson(exposure * np.exp(0.3 * X[:, 0]))
    model = MoERegressor(likelihood="poisson", random_state=0)
    assert chosen(model.fit(X, counts, offset=np.log(exposure))) == 1


@pytest.mark.filterwarnings("ignore:TwoStage got")
def test_folds_of_the_trainer_are_kept(monkeypatch):
    groups, seen = np.arange(len(X)) % 6, []
    own = choice.known_classes

    def heard(rows, splits):
        seen.extend(splits)
        return own(rows, splits)

    monkeypatch.setattr(choice, "known_classes", heard)
    splits = list(GroupKFold(3).split(X, groups=groups))
    model = MoERegressor(Ridge(), trainer=TwoStage(cv=Known(splits)), random_state=0)
    model.fit(X, LINE)
    assert len(seen) == 3
    for train, test in seen:
        assert not {*groups[train]} & {*groups[test]}


class Known:
    """A splitter that knows its folds."""

    def __init__(self, splits):
        self.splits = splits

    def split(self, X, y=None):
        return iter(self.splits)

    def get_n_splits(self, X=None, y=None):
        return len(self.splits)


def rows_of(X, y, weight=None, classes=None):
    """Rows as linear parts see them."""
    from skmoe.trainers._rows import Rows

    weight = np.ones(len(X)) if weight is None else weight
    return Rows(X, [X], y, y, classes, weight)


def test_equal_rows_are_held_out_together():
    rng = np.random.default_rng(0)
    again = rng.integers(0, 200, 500)
    rows = rows_of(X[again], Y[again, None])
    groups = choice.content_groups(rows)
    np.testing.assert_array_equal(groups[:, None] == groups, again[:, None] == again)
    splits = choice.splits_of(rows, groups)
    assert len(splits) == choice.N_FOLDS
    for train, test in splits:
        assert not {*again[train]} & {*again[test]}
    tested = np.concatenate([test for _, test in splits])
    np.testing.assert_array_equal(np.sort(tested), np.arange(500))
    # Units of columns change nothing.
    other = rows_of(X[again] * 1e-9, 1e6 * Y[again, None])
    np.testing.assert_array_equal(choice.content_groups(other), groups)


def test_of_many_rows_some_are_looked_at_once():
    wide = np.random.default_rng(0).normal(size=(30_000, 1))
    rows = rows_of(wide, wide)
    ((train, test),) = choice.splits_of(rows, choice.content_groups(rows))
    assert 19_000 < len(train) + len(test) <= 30_000 * choice.MOST_ROWS / 29_000
    assert not {*train} & {*test}


def test_gain_and_its_error_by_hand():
    before, after = np.array([3.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0])
    weight, groups = np.array([1.0, 2.0, 1.0]), np.array([0, 1, 2])
    mean, error = paired(before, after, weight, groups)
    assert mean == pytest.approx((2 + 0 + 1) / 4)
    parts = np.array([2 - 0.75, 2 * (0 - 0.75), 1 - 0.75]) / 4
    assert error == pytest.approx(np.sqrt(np.sum(parts**2)))
    # What both find impossible tells nothing, what one does is no number to add.
    impossible = np.array([np.inf, np.inf])
    assert paired(impossible, impossible, np.ones(2), np.arange(2)) == (0.0, 0.0)
    mean, error = paired(np.zeros(2), impossible, np.ones(2), np.arange(2))
    assert mean < -1e90
    assert np.isfinite(error)


@pytest.mark.parametrize(
    ("gains", "state"),
    [
        (Gains(100, 0.5, 0.30, 0.05), PAYS),
        (Gains(100, 0.5, 0.12, 0.05), OPEN),
        (Gains(100, 0.5, 0.03, 0.05), OPEN),
        (Gains(100, 0.5, -0.06, 0.05), FAILS),
        # Squared errors may not rise, nor may it be open whether they do.
        (Gains(100, 0.5, 0.30, 0.05, -0.05, 0.01, 0.02), FAILS),
        (Gains(100, 0.5, 0.30, 0.05, -0.02, 0.01, 0.02), OPEN),
        (Gains(100, 0.5, 0.30, 0.05, 0.00, 0.01, 0.02), PAYS),
        # Nor do those pay that are behind a constant.
        (Gains(100, -0.1, 0.30, 0.05), OPEN),
    ],
)
def test_when_the_matter_is_clear(gains, state):
    assert gains.state(choice.CLEAR) == state


def test_a_mean_that_gets_worse_vetoes():
    """Experts that fit the noise alone do not pay."""
    rng = np.random.default_rng(0)
    few = rng.normal(size=(120, 12))
    y = few @ np.ones(12) + rng.normal(size=120) * np.where(few[:, 0] > 0, 3.0, 0.3)
    record = MoERegressor().fit(few, y).history_["n_experts"]
    for own in record["compared"]:
        if own["pays"]:
            assert own["square"] - own["noise"] >= -own["slack"]


def test_trials_that_are_refused_do_not_pay():
    """Classes that a fold lacks make this classifier refuse it."""

    class Picky(Ridge):
        def fit(self, X, y, sample_weight=None):
            if len(X) < 200:
                raise ValueError("too few")
            return super().fit(X, y, sample_weight)

    model = MoERegressor(Picky(), trainer=EM(max_refits=2)).fit(X, LINE)
    assert chosen(model) == 1
    record = model.history_["n_experts"]
    assert "refused: " in record["reason"]
    assert all("too few" in own["refused"] for own in record["compared"])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_frozen_gate_knows_its_classes():
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression

    gate = FrozenEstimator(LogisticRegression().fit(X, np.arange(len(X)) % 4))
    model = MoERegressor(gate=ClassifierGate(gate), trainer=EM(max_refits=2))
    assert "n_experts" not in model.fit(X, Y).history_
