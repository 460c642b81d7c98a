"""Searches and criteria on rows that are read in batches."""

import numpy as np
import pytest
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor
from skmoe._estimators import first_pass
from skmoe.data import RowSource
from skmoe.datasets import make_gated_regression
from skmoe.experts import LinearExpert
from skmoe.model_selection import MoEClassifierCV, MoERegressorCV
from skmoe.routers import HashRouter
from skmoe.trainers._em import streamed

N_ROWS = 1200


@pytest.fixture(scope="module")
def rows():
    X, y = make_gated_regression(N_ROWS, 2, 2, random_state=0)
    weight = np.random.default_rng(0).uniform(0.5, 2.0, N_ROWS)
    weight[:50] = 0.0
    return X, y, weight


def counted(*arrays, size=500):
    """A source of batches, and a list that is as long as there were passes."""
    passes = []

    def read():
        passes.append(0)
        for first in range(0, N_ROWS, size):
            yield tuple(own[first : first + size] for own in arrays)

    return RowSource.from_batches(read), passes


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_sizes_are_chosen_as_from_arrays(rows, criterion):
    X, y, weight = rows
    search = MoERegressorCV(
        MoERegressor(random_state=0),
        n_experts=3,
        criterion=criterion,
        warm_start_path=False,
    )
    source, passes = counted(X, y, weight)
    other = clone(search).fit(source)
    search.fit(X, y, weight)
    for name in ("bic", "aic", "icl", "n_parameters", "n_experts_left"):
        found, expected = other.cv_results_[name], search.cv_results_[name]
        np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert other.n_experts_ == search.n_experts_
    np.testing.assert_allclose(other.predict(X), search.predict(X), rtol=1e-8)
    # One before all candidates, one for the criteria of each.
    assert len(passes) == 1 + 3


def test_classes_and_penalties(rows):
    X, y, _ = rows
    grid = {"experts": [LinearExpert(alpha=9.0), LinearExpert(alpha=1.0)]}
    given = {"n_experts": [1, 2], "param_grid": grid, "criterion": "bic"}
    search = MoEClassifierCV(
        MoEClassifier(random_state=0), **given, warm_start_path=False
    )
    other = clone(search).fit(counted(X, y > 0)[0])
    search.fit(X, y > 0)
    np.testing.assert_allclose(
        other.cv_results_["bic"], search.cv_results_["bic"], rtol=1e-8
    )
    assert other.best_index_ == search.best_index_
    assert next(other.predict_proba(counted(X, y > 0)[0])).shape == (500, 2)


def test_more_rows_than_the_sample_holds(rows, monkeypatch):
    for name in ("LEAST_SAMPLE", "LARGEST_SAMPLE"):
        monkeypatch.setattr(first_pass, name, 600)
    monkeypatch.setattr(streamed, "FIRST_ROWS", 400)
    X, y, _ = rows
    source, passes = counted(X, y)
    search = MoERegressorCV(MoERegressor(random_state=0), n_experts=3, criterion="bic")
    search.fit(source)
    assert search.n_experts_ == 2
    assert len(passes) > 4
    expected = search.best_estimator_.bic(X, y)
    assert search.bic(source) == pytest.approx(expected, rel=1e-10)
    assert search.cv_results_["bic"].min() == pytest.approx(expected, rel=1e-10)


def test_criteria_of_a_source_are_those_of_its_rows(rows):
    X, y, weight = rows
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y, weight)
    for scale in (1.0, 1e-3):
        source, _ = counted(X, y, scale * weight)
        for name in ("aic", "bic", "icl"):
            own = getattr(model, name)
            expected = own(X, y, scale * weight)
            assert own(source) == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="y"):
        model.bic(X)


def test_what_a_search_cannot_do_is_refused_by_name(rows):
    X, y, weight = rows
    source, _ = counted(X, y)
    search = MoERegressorCV(n_experts=2)
    with pytest.raises(ValueError, match="folds take rows.*criterion='bic'"):
        search.fit(source)
    search.set_params(criterion="bic")
    for given in ({"y": y}, {"sample_weight": weight}, {"groups": y}, {"offset": y}):
        with pytest.raises(ValueError, match=f"RowSource with .*{next(iter(given))}"):
            search.fit(source, **given)
    with pytest.raises(ValueError, match="router=Hash"):
        search.set_params(estimator=MoERegressor(router=HashRouter())).fit(source)
    with pytest.raises(ValueError, match="requires y"):
        MoERegressorCV(n_experts=2).fit(X)
