"""Estimators of other libraries on Dask collections: the model of the same rows."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from read_rows import limit_samples
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skmoe import MoEClassifier, MoERegressor
from skmoe.distributed import DaskMoEClassifier, DaskMoERegressor, _shards
from skmoe.engines import _threads
from skmoe.exceptions import NoSampleWeightWarning
from skmoe.experts import LinearExpert
from skmoe.trainers import EM, HardEM, TwoStage
from skmoe.trainers._em.gathered import GatheredDriver
from skmoe.trainers._em.loop import Plain, run_em
from skmoe.trainers._em.refit import Parts, RefitMixture
from skmoe.trainers._rows import Rows

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

N_ROWS, N_SAMPLED = 900, 300
SIZES = (1, 0, 499, 0, 300, 100)
REGRESSORS = [
    ("line", Ridge(alpha=0.1)),
    ("tree", DecisionTreeRegressor(max_depth=4, random_state=0)),
]
CLASSIFIERS = [
    ("line", LogisticRegression(tol=1e-10, max_iter=1000)),
    ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
]


@pytest.fixture(scope="module")
def client():
    """Workers that are threads of this process."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as own,
        distributed.Client(own) as client,
    ):
        yield client


@pytest.fixture(scope="module", autouse=True)
def small_samples():
    """Samples that do not hold all rows, and several units of these."""
    with pytest.MonkeyPatch.context() as patch:
        limit_samples(N_SAMPLED, setattr=patch.setattr)
        patch.setattr(_threads, "LEAST_ROWS", 300)
        yield


@pytest.fixture(scope="module")
def rows():
    """Columns, the second without spread, numbers, labels and weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 3))
    X[:, 1] = 7.0
    y = np.where(X[:, 0] > 0, 2 * X[:, 2], 1 - X[:, 0]) + 0.3 * rng.normal(size=N_ROWS)
    weight = rng.uniform(0.5, 2.0, N_ROWS) * (rng.random(N_ROWS) > 0.1)
    labels = np.where(y > 1, "high", np.where(y > 0, "middle", "low"))
    return X, y, labels, weight


def cut(*arrays):
    """Dask arrays in uneven partitions, two of them empty."""
    return [
        da.from_array(own, chunks=(SIZES, *((-1,) * (own.ndim - 1)))) for own in arrays
    ]


@dataclass
class Local:
    """The course over all rows, in memory, of a fit to collections.

    Attributes
    ----------
    task, fit : of the sample, from which both go on
    """

    found: list = field(default_factory=list)

    def watch(self, patch):
        first = GatheredDriver._fit_in_memory

        def watched(driver, task):
            fit = first(driver, task)
            self.found = [driver, fit]
            return fit

        patch.setattr(GatheredDriver, "_fit_in_memory", watched)

    def run(self, X, y, labels, weight):
        """The run of EM in memory, from the same start."""
        driver, fit = self.found
        task, trainer = driver.task, driver.trainer
        own = Rows(X, [X] * 2, y, labels, task.rows.classes, weight)
        problem = RefitMixture(task.of_rows(own), hard=trainer.hard)
        start = Parts(fit.gate, fit.experts, fit.likelihoods)
        asked = {"max_iter": trainer.max_refits, "tol": trainer.tol, "renews": True}
        return run_em(problem, start, Plain(), **asked)


@pytest.mark.parametrize("trainer", [EM(), HardEM(max_refits=3)])
@pytest.mark.filterwarnings("ignore:.*stopped after")
def test_regressors_are_those_of_the_same_rows(client, rows, trainer, monkeypatch):
    X, y, _, weight = rows
    local = Local()
    local.watch(monkeypatch)
    asked = {"trainer": trainer, "random_state": 0, "client": client}
    model = DaskMoERegressor(REGRESSORS, **asked).fit(*cut(X, y, weight))
    alive = weight > 0
    kept = weight[alive] / local.found[0].task.rows.weight_unit
    run = local.run(X[alive], y[alive, None], y[alive], kept)
    assert len(run.bounds) == model.n_iter_
    np.testing.assert_allclose(model.lower_bounds_, run.bounds, rtol=1e-8)
    line, tree = run.theta.experts
    np.testing.assert_allclose(model.experts_[0].coef_, line.coef_, atol=1e-7)
    np.testing.assert_allclose(model.experts_[1].predict(X), tree.predict(X), rtol=1e-6)
    np.testing.assert_allclose(model.gate_.coef_, run.theta.gate.coef_, atol=1e-6)
    told = model.history_["communication"]
    assert len(told["gathered"]) >= model.n_iter_
    # Rows of two experts in 64 bits: three columns, a target and a weight.
    assert 0 < max(told["gathered"]) <= 2 * 5 * 8 * alive.sum()


@pytest.mark.filterwarnings("ignore:.*stopped after")
def test_classifiers_are_those_of_the_same_rows(client, rows, monkeypatch):
    X, _, labels, _ = rows
    local = Local()
    local.watch(monkeypatch)
    asked = {"trainer": EM(max_refits=3), "random_state": 0, "client": client}
    model = DaskMoEClassifier(CLASSIFIERS, **asked).fit(*cut(X, labels))
    codes = np.searchsorted(model.classes_, labels)
    run = local.run(X, codes, labels, np.ones(N_ROWS))
    np.testing.assert_allclose(model.lower_bounds_, run.bounds, rtol=1e-7)
    found = model.experts_[0].predict_proba(X)
    np.testing.assert_allclose(found, run.theta.experts[0].predict_proba(X), atol=1e-6)
    assert model.score(X, labels) > 0.9


@pytest.mark.filterwarnings("ignore:.*stopped after")
def test_partitions_and_workers_change_nothing(client, rows):
    X, y, _, _ = rows
    trainer = EM(max_refits=2, tol=0.1)
    asked = {"trainer": trainer, "random_state": 0, "client": client}
    found = []
    for chunks in (SIZES, (N_ROWS,)):
        lazy = [
            da.from_array(X, chunks=(chunks, -1)),
            da.from_array(y, chunks=(chunks,)),
        ]
        found.append(DaskMoERegressor(REGRESSORS, **asked).fit(*lazy).predict(X))
    np.testing.assert_array_equal(*found)


def test_frozen_experts_are_gated_only(client, rows):
    X, y, _, _ = rows
    right = X[:, 0] > 0
    fitted = [Ridge().fit(X[own], y[own]) for own in (right, ~right)]
    frozen = [FrozenEstimator(own) for own in fitted]
    model = DaskMoERegressor(frozen, random_state=0, client=client).fit(*cut(X, y))
    assert model.score(X, y) > 0.8
    assert [own.estimator.coef_.tolist() for own in model.experts_] == [
        own.coef_.tolist() for own in fitted
    ]
    assert set(model.history_["communication"]["gathered"]) == {0}


@pytest.mark.filterwarnings("ignore:.*stopped after")
def test_experts_without_weights_are_told_of(client, rows):
    experts = [KNeighborsRegressor(), KNeighborsRegressor(20)]
    trainer = EM(max_refits=2, tol=0.5)
    model = DaskMoERegressor(experts, trainer=trainer, random_state=0, client=client)
    with pytest.warns(NoSampleWeightWarning):
        model.fit(*cut(*rows[:2]))
    assert model.score(*rows[:2]) > 0.8


# -- two stages ------------------------------------------------------------------------


def test_two_stages_are_those_of_the_same_rows(client, rows):
    X, y, _, weight = rows
    asked = {"trainer": TwoStage(cv=3), "random_state": 0}
    model = DaskMoERegressor(REGRESSORS, **asked, client=client)
    model.fit(*cut(X, y, weight))
    local = MoERegressor(REGRESSORS, **asked).fit(X, y, weight)
    np.testing.assert_array_equal(model.predict(X), local.predict(X))
    # Two experts on three folds, then on all rows.
    assert model.history_["communication"]["tasks"] == 8
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), local.predict(X))
    assert type(again.trainer) is TwoStage


def test_two_stages_of_classes_in_a_data_frame(client, rows):
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    X, _, labels, _ = rows
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    lazy = dd.from_pandas(frame, npartitions=3)
    target = dd.from_pandas(pd.Series(labels), npartitions=3)
    asked = {"trainer": TwoStage(cv=3), "random_state": 0}
    model = DaskMoEClassifier(CLASSIFIERS, **asked, client=client).fit(lazy, target)
    local = MoEClassifier(CLASSIFIERS, **asked).fit(frame, labels)
    np.testing.assert_array_equal(
        model.predict_proba(frame), local.predict_proba(frame)
    )
    np.testing.assert_array_equal(
        model.predict_proba(lazy).compute(), local.predict_proba(frame)
    )


# -- experts on one worker each --------------------------------------------------------


def in_parts(method, *arrays):
    """What a method says of rows, partition by partition."""
    edges = np.cumsum(SIZES)[:-1]
    parts = zip(*(np.split(own, edges) for own in arrays), strict=True)
    return np.concatenate([method(*own) for own in parts if len(own[0])])


@pytest.mark.parametrize("router", [None, 1])
def test_shards_say_what_the_local_model_says(client, rows, router):
    X, y, _, _ = rows
    asked = {"trainer": "two-stage", "router": router, "placement": "shard"}
    model = DaskMoERegressor(REGRESSORS, **asked, random_state=0, client=client)
    lazy_X, lazy_y = cut(X, y)
    local = model.fit(lazy_X, lazy_y).to_local()
    lazy = model.predict(lazy_X)
    assert lazy.chunks == lazy_y.chunks
    np.testing.assert_array_equal(lazy, in_parts(local.predict, X))
    _, std = model.predict(lazy_X, return_std=True)
    expected = in_parts(lambda own: local.predict(own, return_std=True)[1], X)
    np.testing.assert_array_equal(std, expected)
    density = model.log_density(lazy_X, lazy_y)
    np.testing.assert_array_equal(density, in_parts(local.log_density, X, y))


def test_shards_of_classifiers(client, rows):
    X, _, labels, _ = rows
    asked = {"trainer": "two-stage", "router": 1, "placement": "shard"}
    model = DaskMoEClassifier(CLASSIFIERS, **asked, random_state=0, client=client)
    lazy_X, lazy_y = cut(X, labels)
    local = model.fit(lazy_X, lazy_y).to_local()
    found = model.predict_proba(lazy_X)
    np.testing.assert_array_equal(found, in_parts(local.predict_proba, X))
    np.testing.assert_array_equal(model.predict(lazy_X), local.predict(X))


def test_an_expert_of_a_shard_is_asked_for_its_rows(client, rows):
    X, y, _, _ = rows
    right = X[:, 0] > 0
    frozen = [FrozenEstimator(Ridge().fit(X[own], y[own])) for own in (right, ~right)]
    model = MoERegressor(frozen, router=1, random_state=0).fit(X, y)
    bare = _shards.without_experts(model)
    asked = _shards.rows_by_expert(bare, X, True)
    load = model.route(X).load
    assert [len(view) for view in asked.views] == load.tolist()
    # What partitions are given holds no expert.
    assert b"Ridge" not in pickle.dumps(bare)
    whole = _shards.rows_by_expert(bare, X, False)
    assert [len(view) for view in whole.views] == [N_ROWS, N_ROWS]


# -- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experts": [Ridge(), LinearExpert()]}, "experts="),
        ({"noise": True}, "experts="),
        ({"gate": "constant"}, "gate='constant' .*use 'softmax'"),
        ({"likelihood": "student-t"}, "likelihood=StudentT.*use 'gaussian'"),
        ({"gate": "mlp"}, "gate='mlp'"),
        ({"router": 1}, "router=1"),
    ],
)
def test_other_parts_are_refused_by_name(client, rows, changes, words):
    asked = {"experts": REGRESSORS, "client": client, **changes}
    with pytest.raises(ValueError, match=f"got Dask collections with .*{words}"):
        DaskMoERegressor(**asked).fit(*cut(*rows[:2]))


def test_what_two_stages_refuse(client, rows):
    model = DaskMoERegressor(REGRESSORS, trainer="two-stage", client=client)
    lazy_X, lazy_y = cut(*rows[:2])
    with pytest.raises(ValueError, match=r"with offset=\.\.\., but expected X, y"):
        model.fit(lazy_X, lazy_y, offset=lazy_y)
    with pytest.raises(ValueError, match="'placement' parameter"):
        model.set_params(placement="spread").fit(lazy_X, lazy_y)


def test_the_error_of_an_expert_reaches_the_user(client, rows):
    broken = Ridge(alpha=-1.0)
    with pytest.raises(ValueError, match="could not be fitted"):
        DaskMoERegressor(broken, n_experts=2, client=client).fit(*cut(*rows[:2]))
