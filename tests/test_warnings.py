"""Warnings name the line of the user's code, however deep they are raised."""

import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.datasets import make_regimes
from skmoe.exceptions import ExpertCollapseWarning, NoSampleWeightWarning
from skmoe.experts import AutoPool, LinearExpert
from skmoe.model_selection import MoERegressorCV
from skmoe.trainers import EM, HardEM, TwoStage

X, Y = make_regimes(80, random_state=0)
CLASSES = np.digitize(Y, [np.median(Y)])
BRIEF = MoERegressor(n_experts=2, trainer=EM(max_iter=1), random_state=0)

# Every warning that a fit may end with: the model, its target, the category.
TRIGGERS = {
    "em": (BRIEF, Y, ConvergenceWarning),
    "hard-em": (
        MoERegressor(n_experts=2, trainer=HardEM(max_iter=1), random_state=0),
        Y,
        ConvergenceWarning,
    ),
    "tree": (
        HierarchicalMoERegressor(branching=(2,), trainer=EM(max_iter=1)),
        Y,
        ConvergenceWarning,
    ),
    "classifier": (
        MoEClassifier(n_experts=2, trainer=EM(max_iter=1)),
        CLASSES,
        ConvergenceWarning,
    ),
    "lost expert": (
        MoERegressor(n_experts=4, trainer=EM(min_load=0.4), random_state=0),
        Y,
        ExpertCollapseWarning,
    ),
    "no weights": (
        MoERegressor(KNeighborsRegressor(), n_experts=2, random_state=0),
        Y,
        NoSampleWeightWarning,
    ),
    "no weights of classes": (
        MoEClassifier(KNeighborsClassifier(), n_experts=2, random_state=0),
        CLASSES,
        NoSampleWeightWarning,
    ),
    "column of classes": (MoEClassifier(n_experts=1), CLASSES[:, None], None),
    "gate of two stages": (
        MoERegressor(
            [LinearExpert(), KNeighborsRegressor()], trainer=TwoStage(max_iter=1)
        ),
        Y,
        ConvergenceWarning,
    ),
    "experts alike": (
        MoERegressor(LinearExpert(), n_experts=2, trainer="two-stage"),
        Y,
        UserWarning,
    ),
    "pool under EM": (
        MoERegressor(AutoPool(include=["linear"]), random_state=0),
        Y,
        UserWarning,
    ),
}


def recorded(call, category=None):
    """Warnings of a call, of a category."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [w for w in found if category is None or issubclass(w.category, category)]


@pytest.mark.parametrize("case", TRIGGERS)
def test_every_warning_names_the_line_that_fits(case):
    model, y, category = TRIGGERS[case]
    category = category or DataConversionWarning
    found = recorded(lambda: model.fit(X, y), category)
    assert found
    assert {w.filename for w in found} == {__file__}


WAYS = {
    "pipeline": lambda: make_pipeline(StandardScaler(), BRIEF).fit(X, Y),
    "cross-validation": lambda: cross_val_score(BRIEF, X, Y, cv=2),
    "search": lambda: GridSearchCV(BRIEF, {"n_init": [1]}, cv=2).fit(X, Y),
}


@pytest.mark.parametrize("way", WAYS)
def test_warnings_through_what_calls_fit(way):
    found = recorded(WAYS[way], ConvergenceWarning)
    assert found
    assert {w.filename for w in found} == {__file__}


def test_warnings_from_threads():
    def in_thread():
        thread = threading.Thread(target=BRIEF.fit, args=(X, Y))
        thread.start()
        thread.join()

    def in_pool():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(BRIEF.fit, X, Y).result()

    def in_joblib():
        with joblib.parallel_config("threading", n_jobs=2):
            cross_val_score(BRIEF, X, Y, cv=2)

    for call in (in_thread, in_pool, in_joblib):
        found = recorded(call, ConvergenceWarning)
        assert found
        assert {w.filename for w in found} == {__file__}


def odd_experts():
    few = [
        MLPRegressor(hidden_layer_sizes=(2,), max_iter=m, random_state=0)
        for m in (2, 3)
    ]
    return MoERegressor(few, trainer=EM(max_refits=3), random_state=0)


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_what_experts_warn_of_is_said_once_per_fit(backend, n_jobs):
    model = odd_experts().set_params(n_jobs=n_jobs)
    with joblib.parallel_config(backend):
        found = recorded(lambda: model.fit(X, Y), ConvergenceWarning)
    assert len(found) == 2
    (own,) = [w for w in found if "Stochastic Optimizer" in str(w.message)]
    assert own.filename == __file__
    times = int(str(own.message).split("(said ")[1].split()[0])
    assert times >= 4


def test_filters_of_the_user_hold_for_what_experts_warn_of():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("error", message="Stochastic")
        with pytest.raises(ConvergenceWarning, match="by parts of this fit"):
            odd_experts().fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        odd_experts().fit(X, Y)


def test_filters_are_as_before_after_fits_in_threads():
    before = list(warnings.filters)
    pool = AutoPool(include=["linear", "mixture"])
    model = MoERegressor(pool, trainer=TwoStage(cv=2), n_jobs=2, random_state=0)
    with ThreadPoolExecutor(2) as threads:
        for _ in threads.map(lambda seed: clone(model).fit(X, Y), range(3)):
            pass
    assert warnings.filters == before


SEARCH = """
import numpy as np
from sklearn.model_selection import GridSearchCV
from skmoe import MoERegressor
from skmoe.experts import AutoPool
from skmoe.trainers import TwoStage

rng = np.random.default_rng(0)
X, y = rng.normal(size=(280, 2)), rng.normal(size=280)
X[:, 1] = X[:, 1] > 0
pool = AutoPool(include=["linear", "neighbours"])
model = MoERegressor(pool, trainer=TwoStage(cv=2), n_jobs=2, random_state=0)
GridSearchCV(model, {"n_members": [1]}, cv=2, n_jobs=2).fit(X, y)
"""


def test_a_pool_in_a_search_keeps_quiet():
    """Workers, processes and threads, silence what the caller silences."""
    command = [sys.executable, "-W", "always", "-c", SEARCH]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Warning" not in result.stderr


def test_a_pool_with_workers_of_its_own_keeps_quiet():
    pool = AutoPool(include=["linear", "mixture"])
    trainer = TwoStage(cv=2)
    model = MoEClassifier(pool, trainer=trainer, n_jobs=2, random_state=0)
    wide = np.column_stack([X, 1e3 * X**3])
    with joblib.parallel_config("loky"):
        assert recorded(lambda: model.fit(wide, CLASSES)) == []


@pytest.mark.filterwarnings("ignore::skmoe.exceptions.ExpertCollapseWarning")
@pytest.mark.filterwarnings("error:sample_weight sums to")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_responsibilities_are_no_weights_of_the_user():
    X = np.random.RandomState(0).normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, 9.0, -9.0) + X[:, 1]
    inner = MoERegressor(LinearExpert(alpha=100.0), n_experts=2)
    model = MoERegressor([inner, LinearExpert(), LinearExpert()], random_state=0)
    assert np.isfinite(model.fit(X, y).predict(X)).all()


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_says_each_kind_once(n_jobs):
    search = MoERegressorCV(
        MoERegressor(KNeighborsRegressor(), random_state=0),
        n_experts=2,
        cv=2,
        n_jobs=n_jobs,
        warm_start_path=False,
    )
    weight = np.full(len(Y), 1e-3)
    with joblib.parallel_config("loky"):
        found = recorded(lambda: search.fit(X, Y, sample_weight=weight))
    assert len(found) == len({w.category for w in found}) <= 3
    assert {w.filename for w in found} == {__file__}
    assert any("said" in str(w.message) for w in found)


@pytest.mark.parametrize(("action", "most"), [("default", 1), ("always", 100)])
def test_a_search_of_scikit_learn_tells_once_of_experts_that_are_lost(action, most):
    """Unless a filter asks for all of them."""
    greedy = MoERegressor(trainer=EM(max_iter=5, min_load=0.4), random_state=0)
    search = GridSearchCV(greedy, {"n_experts": [3, 4, 5]}, cv=2)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter(action, ExpertCollapseWarning)
        search.fit(X, Y)
    assert min(most, 3) <= len(found) <= most
    assert {own.filename for own in found} == {__file__}
    assert all(len(str(own.message)) < 200 for own in found)


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_filters_have_the_last_word_on_experts_that_are_lost(action):
    greedy = MoERegressor(n_experts=4, trainer=EM(max_iter=5, min_load=0.4))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.filterwarnings(action, "Expert .* lost its rows")
        for _ in range(2):
            if action == "error":
                with pytest.raises(ExpertCollapseWarning):
                    greedy.fit(X, Y)
            else:
                greedy.fit(X, Y)
    assert not found


def test_members_say_each_kind_once():
    model = clone(BRIEF).set_params(n_members=3)
    (own,) = recorded(lambda: model.fit(X, Y), ConvergenceWarning)
    assert "(said 3 times" in str(own.message)


def test_experts_without_weights_are_named_together():
    model = MoERegressor(
        [KNeighborsRegressor(3), KNeighborsRegressor(5)], random_state=0
    )
    (own,) = recorded(lambda: model.fit(X, Y), NoSampleWeightWarning)
    assert "-1'" in str(own.message)
    assert "-2'" in str(own.message)


FRAME = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
FITTED = {
    "linear": lambda: MoERegressor(n_experts=2, random_state=0),
    "foreign": lambda: MoERegressor(Ridge(), n_experts=2, random_state=0),
    "features": lambda: MoERegressor(
        n_experts=2, gate_features="piecewise-linear", random_state=0
    ),
    "pool": lambda: MoERegressor(
        AutoPool(include=["linear"]), trainer=TwoStage(cv=2), random_state=0
    ),
    "tree": lambda: HierarchicalMoERegressor(branching=(2,), random_state=0),
    "gate": lambda: MoERegressor(n_experts=2, gate=LogisticRegression()),
}


@pytest.mark.parametrize("kind", FITTED)
def test_names_that_come_or_go_are_told_of_at_the_users_line(kind):
    named, plain = FITTED[kind]().fit(FRAME, Y), FITTED[kind]().fit(X, Y)
    for model, rows in ((named, X), (plain, FRAME)):
        (own,) = recorded(lambda m=model, r=rows: m.predict(r))
        assert own.filename == __file__
        assert "feature names" in str(own.message)
        assert "MoERegressor" in str(own.message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(named.predict(X), named.predict(FRAME))


@pytest.mark.parametrize("kind", FITTED)
def test_sparse_columns_of_a_frame_are_read_without_a_word(kind):
    table = FRAME.assign(s=pd.arrays.SparseArray((X[:, 0] > 0).astype(float)))
    model = FITTED[kind]()
    assert recorded(lambda: model.fit(table, Y).predict(table)) == []
    dense = table.assign(s=np.asarray(table["s"]))
    np.testing.assert_array_equal(model.predict(table), model.predict(dense))


def test_rows_of_text_without_names():
    table = FRAME.assign(t=np.where(X[:, 0] > 0, "u", "v"))
    pool = AutoPool(include=["linear"])
    model = MoERegressor(pool, trainer=TwoStage(cv=2), random_state=0)
    for first, later in ((table, table.to_numpy()), (table.to_numpy(), table)):
        expected = model.fit(first, Y).predict(first)
        (own,) = recorded(lambda r=later: model.predict(r))
        assert own.filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_allclose(model.predict(later), expected)


def test_rows_without_names_may_be_sparse():
    table = pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(X), columns=[*FRAME])
    model = FITTED["foreign"]().fit(table, Y)
    assert len(recorded(lambda: model.predict(sparse.csr_array(X)))) == 1
