"""The estimators as a user meets them."""

import copy
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import skmoe
from skmoe import MoEClassifier, MoERegressor
from skmoe.experts import LinearExpert
from skmoe.gates import ClassifierGate, GroupGate, SoftmaxGate
from skmoe.likelihoods import Gaussian
from skmoe.routers import TopKRouter
from skmoe.trainers import EM

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)


def test_kinds():
    assert is_regressor(MoERegressor())
    assert is_classifier(MoEClassifier())


def test_shapes(regression, classification):
    X, y = regression
    model = MoERegressor(n_experts=3, router=2).fit(X, y)
    routing = model.route(X)
    assert routing.indices.shape == routing.weights.shape == (400, 2)
    assert routing.load.sum() == 800
    assert model.predict_experts(X).shape == (400, 3)
    assert model.responsibilities(X, y).shape == (400, 3)
    assert model.log_density(X, y).shape == (400,)
    X, y = classification
    model = MoEClassifier(n_experts=2).fit(X, y)
    assert model.predict_proba(X).shape == (400, 3)
    assert model.predict_experts(X).shape == (400, 2, 3)
    np.testing.assert_allclose(
        np.exp(model.predict_log_proba(X)), model.predict_proba(X)
    )
    picked = model.predict_proba(X)[np.arange(400), y]
    np.testing.assert_allclose(np.exp(model.log_density(X, y)), picked)
    np.testing.assert_allclose(model.log_likelihood_, np.log(picked).sum())


def test_criteria(regression):
    X, y = regression
    gate = SoftmaxGate(alpha=0.1)
    model = MoERegressor(LinearExpert(alpha=1.0), n_experts=2, gate=gate).fit(X, y)
    deviance = -2 * model.log_likelihood_
    assert model.n_parameters_ == 2 * 5 + 2 + 5
    np.testing.assert_allclose(model.aic(X, y), deviance + 34)
    np.testing.assert_allclose(model.bic(X, y), deviance + 17 * np.log(400))
    assert model.icl(X, y) >= model.bic(X, y)
    weight = np.full(400, 2.0)
    doubled = model.bic(np.vstack([X, X]), np.r_[y, y])
    np.testing.assert_allclose(model.bic(X, y, sample_weight=weight), doubled)
    tree = MoERegressor([("tree", DecisionTreeRegressor()), ("line", Ridge())])
    with pytest.raises(ValueError, match="'tree'"):
        tree.fit(X, y).aic(X, y)


def test_shared_variance_counts_once(regression):
    model = MoERegressor(
        LinearExpert(alpha=1.0),
        n_experts=2,
        gate=SoftmaxGate(alpha=0.1),
        likelihood=Gaussian(variance="shared"),
    )
    model.fit(*regression)
    assert model.n_parameters_ == 2 * 5 + 1 + 5
    assert model.likelihoods_[0].sigma_ == model.likelihoods_[1].sigma_


def test_several_outputs(regression):
    X, y = regression
    Y = np.column_stack([y, 100 * X[:, 0] - y])
    model = MoERegressor(n_experts=3).fit(X, Y)
    assert model.predict(X).shape == (400, 2)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == (400, 2)
    assert model.predict_experts(X).shape == (400, 3, 2)
    assert model.likelihoods_[0].sigma_.shape == (2,)
    np.testing.assert_allclose(model.log_density(X, Y).sum(), model.log_likelihood_)
    assert model.score(X, Y) > 0.5
    ridge = MoERegressor(Ridge(), n_experts=2).fit(X, Y)
    assert ridge.predict(X).shape == (400, 2)


def test_grid_search_reaches_everything(regression):
    X, y = regression
    model = MoERegressor(
        [("line", Ridge()), ("tree", DecisionTreeRegressor(max_depth=2))],
        gate=SoftmaxGate(),
        trainer=EM(max_refits=3),
        router=TopKRouter(1),
    )
    grid = {
        "line__alpha": [0.1, 10.0],
        "tree": [DecisionTreeRegressor(max_depth=1), Ridge()],
        "gate__alpha": [1.0],
        "trainer__max_refits": [2],
        "router__k": [1, 2],
    }
    search = GridSearchCV(model, grid, cv=2).fit(X, y)
    assert search.best_params_["line__alpha"] in (0.1, 10.0)
    single = MoERegressor(Ridge(), n_experts=2).set_params(experts__alpha=5.0)
    assert single.experts.alpha == 5.0
    unnamed = MoERegressor([Ridge(), Ridge(), DecisionTreeRegressor()])
    assert {"ridge-1", "ridge-2", "decisiontreeregressor"} <= set(unnamed.get_params())
    unnamed.set_params(**{"ridge-2__alpha": 9.0})
    assert unnamed.experts[1].alpha == 9.0


def test_pipeline_of_mixed_columns(regression):
    X, y = regression
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["town"] = np.where(X[:, 0] > 0, "north", "south")
    prepare = make_column_transformer(
        (OneHotEncoder(), make_column_selector(dtype_exclude="number")),
        remainder=StandardScaler(),
    )
    model = make_pipeline(prepare, MoERegressor(n_experts=2))
    assert cross_val_score(model, frame, y, cv=3).mean() > 0.3
    inner = MoERegressor(
        make_pipeline(clone(prepare), Ridge()),
        n_experts=2,
        gate=make_pipeline(clone(prepare), LogisticRegression()),
    ).fit(frame, y)
    assert inner.predict(frame).shape == (400,)
    assert inner.feature_names_in_.tolist() == [*"abcd", "town"]


def test_gate_and_experts_see_what_they_are_told(regression):
    X, y = regression
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MoERegressor(n_experts=2, gate_features=["a"], expert_features=["b", "c"])
    model.fit(frame, y)
    assert model.gate_.coef_.shape == (2, 1)
    assert model.experts_[0].coef_.shape == (2,)
    changed = frame.assign(d=0.0)
    np.testing.assert_array_equal(model.predict(changed), model.predict(frame))
    by_name = MoERegressor(
        [("left", LinearExpert()), ("right", LinearExpert())],
        expert_features={"left": ["a"], "right": slice(0, 3)},
    ).fit(frame, y)
    assert [e.coef_.size for e in by_name.experts_] == [1, 3]
    pieces = MoERegressor(
        n_experts=2,
        gate_features="piecewise-linear",
        expert_features="piecewise-linear",
    ).fit(X, y)
    assert pieces.experts_[0].coef_.shape == (32,)
    assert pieces.gate_features_ is pieces.expert_features_[0]


@pytest.mark.parametrize(
    ("features", "message"),
    [("a", r"pass \['a'\]"), ([["a"], ["b"]], "expert's name"), (3, "got 3")],
)
def test_columns_that_make_no_sense(features, message, regression):
    X, y = regression
    frame = pd.DataFrame(X, columns=list("abcd"))
    for name in ("gate_features", "expert_features"):
        model = MoERegressor(n_experts=2, **{name: features})
        with pytest.raises(ValueError, match=f"{name}.*{message}"):
            model.fit(frame, y)


def test_polars_in_and_set_output(regression):
    X, y = regression
    frame = pl.DataFrame(X, schema=list("abcd"))
    model = MoERegressor(n_experts=2).fit(frame, pl.Series(y))
    assert model.feature_names_in_.tolist() == list("abcd")
    plain = MoERegressor(n_experts=2).fit(X, y)
    np.testing.assert_allclose(model.predict(frame), plain.predict(X))
    table = model.set_output(transform="polars").transform(frame)
    assert table.columns == ["expert0", "expert1"]
    table = model.set_output(transform="pandas").transform(frame)
    np.testing.assert_allclose(table.to_numpy(), model.gate_proba(frame))


def test_sparse_is_dense(regression, classification):
    X, y = regression
    X = np.where(np.abs(X) > 0.5, X, 0.0)
    for model in (
        MoERegressor(n_experts=2),
        MoERegressor(n_experts=2, gate="gaussian"),
    ):
        dense = clone(model).fit(X, y)
        spare = clone(model).fit(sparse.csr_array(X), y)
        np.testing.assert_allclose(
            spare.predict(sparse.csr_array(X)), dense.predict(X), rtol=1e-3
        )
    X, y = classification
    MoEClassifier(n_experts=2).fit(sparse.csr_array(X), y)


def test_nan_where_all_parts_allow_it(regression, classification):
    X, y = regression
    X = X.copy()
    X[::7, 1] = np.nan
    model = MoERegressor(
        HistGradientBoostingRegressor(max_iter=10),
        n_experts=2,
        gate=HistGradientBoostingClassifier(max_iter=10),
        trainer=EM(max_refits=2),
    )
    assert np.all(np.isfinite(model.fit(X, y).predict(X)))
    with pytest.raises(ValueError, match="NaN"):
        MoERegressor().fit(X, y)


def test_frozen_experts_are_only_gated(regression):
    X, y = regression
    left, right = Ridge().fit(X[:200], y[:200]), Ridge().fit(X[200:], -y[200:])
    experts = [FrozenEstimator(left), FrozenEstimator(right)]
    model = MoERegressor(experts, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict_experts(X)[:, 0], left.predict(X))
    assert model.expert_load_[0] > model.expert_load_[1]


def test_frozen_classifiers_keep_their_labels(classification):
    X, y = classification
    names = np.array(["x", "y", "z"])[y]
    partial = LogisticRegression().fit(X[names != "z"], names[names != "z"])
    full = LogisticRegression().fit(X, names)
    model = MoEClassifier([FrozenEstimator(partial), FrozenEstimator(full)])
    proba = model.fit(X, names).predict_experts(X)
    assert np.all(proba[:, 0, 2] < 1e-5)
    np.testing.assert_allclose(proba.sum(axis=2), 1)


def segments(n=600):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=n), "town": rng.choice(list("abc"), n)})
    slope = frame["town"].map({"a": -2.0, "b": 1.0, "c": 5.0})
    return frame, slope * frame["x"] + 0.1 * rng.normal(size=n)


def test_group_gate_gives_each_segment_its_expert():
    frame, y = segments()
    model = MoERegressor(n_experts=3, gate=GroupGate("town")).fit(frame, y)
    slopes = sorted(float(e.coef_[0]) for e in model.experts_)
    np.testing.assert_allclose(slopes, [-2, 1, 5], atol=0.05)
    unseen = frame.assign(town="elsewhere")
    prior = model.gate_.prior_
    np.testing.assert_allclose(model.gate_proba(unseen), np.tile(prior, (600, 1)))
    fewer = MoERegressor(n_experts=2, gate=GroupGate("town"), random_state=0)
    fewer.fit(frame, y)
    assert fewer.gate_.weights_.shape == (3, 2)


def test_class_weight(classification):
    X, y = classification
    balanced = MoEClassifier(n_experts=2, class_weight="balanced").fit(X, y)
    weight = sklearn.utils.compute_sample_weight("balanced", y)
    weighted = MoEClassifier(n_experts=2).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(balanced.predict_proba(X), weighted.predict_proba(X))


def test_warm_start_continues(regression):
    X, y = regression
    for model in (
        MoERegressor(n_experts=2, warm_start=True),
        MoERegressor(Ridge(), n_experts=2, warm_start=True),
        MoERegressor(n_experts=2, n_members=2, warm_start=True),
    ):
        first = model.fit(X, y).log_likelihood_
        assert model.fit(X, y).n_iter_ <= 3
        # Penalties are chosen once more, and move a little.
        np.testing.assert_allclose(model.log_likelihood_, first, rtol=1e-4)


@pytest.mark.parametrize("keep", [pickle, "copy", "joblib"])
def test_copies_predict_the_same(regression, keep, tmp_path):
    X, y = regression
    model = MoERegressor(n_experts=2, router=1, n_members=2).fit(X, y)
    if keep == "joblib":
        joblib.dump(model, tmp_path / "model")
        again = joblib.load(tmp_path / "model")
    elif keep == "copy":
        again = copy.deepcopy(model)
    else:
        again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


class StopAt:
    """A callback that stops training after some iterations."""

    def __init__(self, last):
        self.last, self.seen = last, 0

    def setup(self, estimator, context):
        self.seen = 0

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.seen += context.task_name == "iteration"
        if context.task_name == "iteration":
            assert hasattr(fitted_estimator, "gate_")
        return self.seen >= self.last

    def teardown(self, estimator, context):
        pass


@pytest.mark.filterwarnings("ignore")
def test_callbacks(regression):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9")
    X, y = regression
    trainer = EM(tol=0.0, max_iter=30)
    stopped = MoERegressor(n_experts=3, trainer=trainer)
    stopped.set_callbacks(StopAt(3)).fit(X, y)
    assert stopped.n_iter_ == 3
    monitor = callback.ScoringMonitor(scoring="r2")
    watched = MoERegressor(n_experts=3, trainer=trainer)
    watched.set_callbacks(callback.ProgressBar(), monitor).fit(X, y)
    assert len(monitor.get_logs().data_as_pandas) >= watched.n_iter_
    plain = MoERegressor(n_experts=3, trainer=trainer).fit(X, y)
    np.testing.assert_array_equal(plain.predict(X), watched.predict(X))
    foreign = MoERegressor(Ridge(), n_experts=2).set_callbacks(StopAt(1)).fit(X, y)
    assert foreign.n_iter_ == 1


def test_metadata_routing(regression):
    X, y = regression
    seen = []

    class Curious(Ridge):
        def fit(self, X, y, sample_weight=None, note=None):
            seen.append(note)
            return super().fit(X, y, sample_weight)

    with pytest.raises(ValueError, match="enable_metadata_routing"):
        MoERegressor(Curious(), n_experts=2).fit(X, y, note="ignored")
    with sklearn.config_context(enable_metadata_routing=True):
        expert = Curious().set_fit_request(note=True, sample_weight=True)
        MoERegressor(expert, n_experts=2).fit(X, y, note="hello")
        line = make_pipeline(StandardScaler(), Ridge())
        MoERegressor(line, n_experts=2).fit(X, y)
    assert set(seen) == {"hello"}


def test_representations(regression):
    model = MoERegressor([("line", Ridge()), ("tree", DecisionTreeRegressor())])
    html = model._repr_html_()
    assert "line" in html
    assert "sk-parallel" in html
    assert "MoERegressor" in repr(clone(model).fit(*regression))
    assert "SoftmaxGate" in html
    assert "TopKRouter" not in html
    model.set_params(router=1, shared_expert=Lasso(), gate="constant")
    html = model.fit(*regression)._repr_html_()
    for part in ("ConstantGate", "TopKRouter", "Lasso", "line: ", "tree: "):
        assert part in html
    # Nobody has published pages yet, so that none is linked to.
    assert "skmoe." not in " ".join(re.findall('href="([^"]*)"', html))


def test_classes_instead_of_instances_have_their_names():
    model = MoERegressor([Ridge, Lasso])
    assert "lasso" in model._repr_html_()
    assert "abcmeta" not in model._repr_html_()


def test_experts_that_are_lost_are_not_drawn():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(300, 1))
    y = np.abs(x[:, 0]) + 0.1 * rng.normal(size=300)
    model = MoERegressor(n_experts=4, trainer=EM(min_load=0.1), random_state=0)
    html = model.fit(x, y)._repr_html_()
    assert model.n_experts_ < 4
    shown = {name for name in map("expert{}".format, range(4)) if f"{name}: " in html}
    assert shown == set(model.named_experts_)


def test_pools_are_drawn_in_one_box():
    html = MoERegressor("auto")._repr_html_()
    assert "HistGradientBoosting" in html
    assert len(html) < 45_000
    assert "sk-parallel" not in html.split("</style>")[1]
    html = MoERegressor(n_experts=12)._repr_html_()
    assert "12 experts" in html


def test_links_lead_to_pages_of_the_reference(monkeypatch):
    assert MoERegressor()._get_doc_link() == ""
    monkeypatch.setattr(skmoe._stamp, "API_PAGES", "https://here/api")
    found = {f"skmoe.{n}": kind() for n, kind in vars(skmoe).items() if n[:3] == "MoE"}
    found |= {"skmoe.gates.SoftmaxGate": SoftmaxGate(), "skmoe.trainers.EM": EM()}
    for name, own in found.items():
        assert own._get_doc_link() == f"https://here/api/{name}.html"

    class Mine(SoftmaxGate):
        """Not of this library."""

    assert Mine()._get_doc_link() == ""


def test_classifiers_of_any_kind(classification):
    X, y = classification
    model = MoEClassifier(
        [LogisticRegression(), DecisionTreeClassifier(max_depth=3)],
        gate=ClassifierGate(),
        random_state=0,
    ).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert model.score(X, y) > 0.6
    assert np.isfinite(model.log_density(X, y)).all()


def test_float32_is_read_as_it_is(regression):
    X, y = regression
    double = MoERegressor(n_experts=2).fit(X, y)
    single = MoERegressor(n_experts=2).fit(X.astype(np.float32), y)
    np.testing.assert_allclose(
        single.predict(X.astype(np.float32)), double.predict(X), atol=1e-3
    )


def test_verbose(regression, capsys):
    MoERegressor(n_experts=2, verbose=1).fit(*regression)
    assert "iteration 0" in capsys.readouterr().out


def test_warnings_point_at_the_call(regression):
    X, y = regression
    model = MoERegressor(n_experts=2, trainer=EM(max_iter=1))
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    assert {w.filename for w in caught} == {__file__}


def test_a_floor_that_holds_a_spread_up_is_told_of():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, size=(300, 1))
    y = np.where(x[:, 0] > 0, 1000.0, 10.0) * x[:, 0] + 0.2 * rng.normal(size=300)
    wide = MoERegressor(n_experts=2, random_state=0)
    with pytest.warns(UserWarning, match=r"'expert0', 'expert1' is held.*floor=1e-09"):
        wide.fit(x, y)
    # What is told of mends it, and then nothing is left to tell.
    exact = clone(wide).set_params(likelihood=Gaussian(floor=1e-9)).fit(x, y)
    low, high = exact.predict_interval(x, 0.5).T
    assert 0.4 < np.mean((low <= y) & (y <= high)) < 0.6
    # Of experts that fit their rows exactly there is no better floor.
    wide.fit(x, np.where(x[:, 0] > 0, x[:, 0], -x[:, 0]))


def test_needless_numbers_are_told_of():
    with pytest.warns(UserWarning, match="n_experts=3 with a list of 2 experts"):
        MoERegressor([Lasso(), Ridge()], n_experts=3, trainer=EM(max_refits=2)).fit(
            np.arange(8.0)[:, None] ** 2, [0, 1, 2, 3, 0, 1, 2, 3]
        )
