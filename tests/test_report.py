"""The page that says what a mixture has learned."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import poisson
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmoe import HierarchicalMoERegressor, MoEClassifier, MoERegressor
from skmoe.data import RowSource
from skmoe.experts import AdditiveExpert
from skmoe.inspection import expert_usage, explain, explain_text, report
from skmoe.inspection._numbers import in_order, number, numbers, signed
from skmoe.inspection._report._given import MOST_ROWS, Given
from skmoe.inspection._report._page import POLICY
from skmoe.inspection._report._quality import heights, reliability
from skmoe.inspection._report._refits import alternatives, as_fitted, halves
from skmoe.inspection._report._said import sentences
from skmoe.inspection._report._svg import Plot, percent, ticks
from skmoe.model_selection import MoERegressorCV
from skmoe.trainers import EM

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::skmoe.exceptions.ExpertCollapseWarning",
)
SHORT = EM(max_iter=15)
HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>&amp;\'"'


class Reader(HTMLParser):
    """Tags, attributes and texts of a page; fails where tags are not closed."""

    EMPTY = frozenset({"meta", "br", "img"})

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts, self.data = [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] == "script":
            self.data = self.data or text
        elif self.open and self.open[-1] != "style":
            self.texts.append(text)

    @property
    def text(self):
        return " ".join(self.texts)

    @property
    def rows(self):
        return json.loads(self.data)


def rentals(n=240, seed=0):
    rng = np.random.RandomState(seed)
    hour, heat = rng.randint(0, 24, n), rng.normal(15, 8, n)
    day = rng.choice(["work", "rest"], n)
    heat[::7] = np.nan
    leisure = 3.0 + 0.1 * np.nan_to_num(heat, nan=10.0)
    y = np.where(day == "work", -0.2 * hour, leisure) + 0.2 * rng.normal(size=n)
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.randint(0, 300, n), "D")
    return pd.DataFrame({"hour": hour, "heat": heat, "day": day, "when": when}), y


X, Y = rentals()
NUMBERS = X[["hour"]].assign(work=(X["day"] == "work").astype(float))
LABELS = np.where(Y > 3, "many", np.where(Y > 0.0, "some", "few"))


def additive(**options):
    options = {"gate": "additive", "trainer": SHORT, "random_state": 0} | options
    return MoERegressor("additive", 2, **options)


def linear(**options):
    return MoERegressor(n_experts=2, trainer=SHORT, random_state=0, **options)


@pytest.fixture(scope="module")
def page():
    return report(additive().fit(X, Y), X, Y)


def closed(found):
    """The reader of a page that asks nobody for anything, and is small."""
    html = found.html
    assert not re.search(r"https?:|//|@import|url\(|<link|\ssrc=", html)
    assert len(html.encode()) < 500_000
    assert POLICY in html
    return Reader(html)


# -- what stands in it ---------------------------------------------------------------


def test_page_of_additive_experts(page):
    own = closed(page)
    for heading in (
        "Regimes",
        "What each expert does",
        "Who serves whom",
        "Single rows",
    ):
        assert heading in own.texts
    assert "day rest" in own.text
    assert "day work" in own.text
    pictures = [a["aria-label"] for tag, a in own.tags if tag == "svg" and "role" in a]
    assert {"hour", "heat", "day"} <= set(pictures)
    assert "adds to y" in own.text
    assert "90 % interval holds" in own.text
    assert "gap" in own.texts
    assert "2024-" in own.text


def test_rows_that_can_be_chosen(page):
    own = closed(page)
    rows, columns = own.rows["rows"], own.rows["columns"]
    assert columns == list(X)
    groups = [a["label"] for tag, a in own.tags if tag == "optgroup"]
    assert groups[:3] == [
        "largest predictions",
        "smallest predictions",
        "largest errors",
    ]
    values = [int(a["value"]) for tag, a in own.tags if tag == "option"]
    assert 50 < len(values) <= 200
    assert set(values) == set(range(len(rows)))
    at = int(re.match(r"row (\d+): predicts", rows[values[0]]["title"])[1])
    model = additive().fit(X, Y)
    assert at == model.predict(X).argmax()
    assert rows[values[0]]["cells"][0] == str(X["hour"][at])
    assert "predicts" in rows[values[0]]["said"]
    for row in rows:
        total = sum(weight for _, weight, _ in row["experts"])
        assert total == pytest.approx(1.0, abs=1e-3)


def test_page_of_linear_experts_has_their_coefficients():
    model = linear().fit(NUMBERS, Y)
    found = report(model, NUMBERS, Y)
    own = closed(found)
    expert = model.experts_[0]
    wanted = f"{number(expert.coef_[0])} ({number(expert.coef_[0] * expert.scale_[0])})"
    assert wanted in own.texts
    assert "per unit of the column" in own.text
    assert "work" in own.rows["columns"]


@pytest.mark.parametrize("kind", ["numbers", "poisson", "classes", "two classes"])
def test_sentences_of_linear_experts_add_up(kind):
    y = {
        "numbers": Y,
        "poisson": np.round(np.abs(Y)),
        "classes": LABELS,
        "two classes": LABELS == "few",
    }[kind]
    if "classes" in kind:
        model = MoEClassifier(n_experts=2, trainer=SHORT, random_state=0)
    else:
        likelihood = "poisson" if kind == "poisson" else "gaussian"
        model = linear(likelihood=likelihood)
    model.fit(NUMBERS, y)
    given = Given.read(model, NUMBERS, y, None, {}, 0)
    rows = np.arange(20)
    for i, said in zip(rows, sentences(given, rows), strict=True):
        terms = re.split(r"level |: ", said.split("):")[1])[1:]
        total = sum(float(re.match(r"[-+\d.e]+", own)[0]) for own in terms)
        k = given.leader[i]
        answer = model.predict_experts(NUMBERS)[i, k]
        if kind == "numbers":
            assert total == pytest.approx(answer, abs=0.05)
        elif kind == "poisson":
            assert np.exp(total) == pytest.approx(answer, rel=0.05)
        elif kind == "two classes":
            logit = abs(np.log(answer[1] / answer[0]))
            assert total == pytest.approx(logit, rel=0.02, abs=0.1)
        else:
            logits = np.log(answer)
            centred = (logits - logits.mean()).max()
            assert total == pytest.approx(centred, rel=0.02, abs=0.02)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_page_of_foreign_experts_says_what_moves_them():
    experts = [("ridge", Ridge()), ("near", KNeighborsRegressor())]
    model = MoERegressor(experts, trainer="two-stage", random_state=0)
    table = NUMBERS.assign(nothing=0.0)
    own = closed(report(model.fit(table, Y), table, Y, compare=True))
    assert "near: KNeighborsRegressor" in own.text
    assert "when the column is shuffled" in own.text
    assert "near alone" in own.texts
    place = own.texts.index("nothing")
    assert own.texts[place + 1 : place + 3] == ["0", "0"]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("experts", ["additive", "linear"])
def test_page_of_a_classifier(n_classes, experts):
    y = LABELS if n_classes == 3 else np.where(Y > 0, "yes", "no")
    table = X if experts == "additive" else NUMBERS
    model = MoEClassifier(experts, 2, trainer=SHORT, random_state=0).fit(table, y)
    own = closed(report(model, table, y))
    pictures = [a["aria-label"] for tag, a in own.tags if tag == "svg" and "role" in a]
    assert set(pictures) >= ({"yes"} if n_classes == 2 else set(np.unique(y)))
    assert "probability said" in own.texts
    assert "mean calibration error" in own.texts
    assert "accuracy" in own.text
    assert "least certain" in [a["label"] for tag, a in own.tags if tag == "optgroup"]


def test_page_of_a_tree_several_outputs_members_and_a_single_expert():
    tree = HierarchicalMoERegressor(branching=(2, 2), trainer=SHORT, random_state=0)
    assert "gate 1" in closed(report(tree.fit(NUMBERS, Y), NUMBERS, Y)).text
    both = np.column_stack([Y, 5 - Y])
    members = linear(n_members=2).fit(NUMBERS, both)
    own = closed(report(members, NUMBERS, both, compare=True, n_seeds=1))
    assert {"y0", "y1"} <= {a.get("aria-label") for _, a in own.tags}
    assert "member1_expert0" in own.text
    single = MoERegressor(n_experts=1).fit(NUMBERS, Y)
    assert "all rows" in closed(report(single, NUMBERS, Y)).texts


def test_page_without_y_says_so():
    own = closed(report(linear().fit(NUMBERS, Y), NUMBERS))
    assert "Without y nothing can be said of errors" in own.text
    assert "y is" not in own.rows["rows"][0]["title"]


@pytest.mark.filterwarnings("ignore:.* are matched exactly")
@pytest.mark.parametrize("kind", ["sparse", "wide", "list"])
def test_page_of_other_tables(kind):
    wide = np.random.RandomState(0).normal(size=(60, 310))
    table = {
        "sparse": sparse.csr_array(NUMBERS.to_numpy()),
        "wide": wide,
        "list": NUMBERS.to_numpy().tolist(),
    }[kind]
    y = Y[: len(wide)] if kind == "wide" else Y
    own = closed(report(linear().fit(table, y), table, y))
    assert ("are not put into words" in own.text) == (kind != "list")
    assert own.rows["columns"][:2] == ["x0", "x1"]


def test_many_experts_have_a_small_page():
    model = MoERegressor(
        "additive", 12, trainer=EM(max_iter=2, min_load=0.0), random_state=0
    )
    own = closed(report(model.fit(X, Y), X, Y))
    assert "more" in own.text


# -- searches and pipelines ----------------------------------------------------------


def encoded():
    return make_column_transformer(
        (OneHotEncoder(drop="if_binary"), ["day"]), (StandardScaler(), ["hour"])
    )


@pytest.mark.parametrize("kind", ["pipeline", "search", "nested"])
def test_pipelines_and_searches_have_the_columns_of_the_user(kind):
    pipeline = make_pipeline(encoded(), linear())
    grid = {"moeregressor__n_experts": [2]}
    model = {
        "pipeline": pipeline,
        "search": GridSearchCV(pipeline, grid, cv=2),
        "nested": make_pipeline(
            encoded(), StandardScaler(), MoERegressorCV(linear(), n_experts=[2], cv=2)
        ),
    }[kind]
    own = closed(report(model.fit(X, Y), X, Y, compare=True, n_seeds=1))
    assert own.rows["columns"] == list(X)
    assert "day rest" in own.text
    assert not re.search(r"\bx\d", own.text)
    assert "onehotencoder__day_work" in own.texts
    assert "columntransformer" in own.text


def test_curves_of_a_pipeline_have_its_names():
    model = make_pipeline(StandardScaler(), additive()).fit(NUMBERS, Y)
    own = closed(report(model, NUMBERS, Y))
    pictures = {a["aria-label"] for tag, a in own.tags if tag == "svg" and "role" in a}
    assert {"hour", "work"} <= pictures


def test_regimes_of_a_pipeline_are_in_units_of_the_data():
    y = np.where(NUMBERS["hour"] < 12, 3.0, -3.0) + 0.1 * Y
    model = make_pipeline(StandardScaler(), linear(gate="additive")).fit(NUMBERS, y)
    assert "hour 0–11" in closed(report(model, NUMBERS, y)).text


# -- errors and calibration ----------------------------------------------------------


def test_coverage_and_errors_are_those_of_the_mixture():
    model = linear().fit(NUMBERS, Y)
    own = closed(report(model, NUMBERS, Y))
    ends = model.predict_interval(NUMBERS, 0.5)
    inside = np.mean((ends[:, 0] <= Y) & (ends[:, 1] >= Y))
    error = np.sqrt(np.mean((model.predict(NUMBERS) - Y) ** 2))
    place = own.texts.index("all rows", own.texts.index("leading expert"))
    row = own.texts[place : place + 8]
    assert row[2] == number(error)
    assert row[5] == percent(inside)
    assert row[7] == number(model.log_density(NUMBERS, Y).mean())


def test_weights_are_repetitions():
    model = linear().fit(NUMBERS, Y)
    weight = np.where(np.arange(len(Y)) < 40, 2.0, 1.0)
    own = report(model, NUMBERS, Y, sample_weight=weight)
    twice = pd.concat([NUMBERS, NUMBERS[:40]])
    more = report(model, twice, np.r_[Y, Y[:40]])
    table = [re.findall(r"all rows.*?</tr>", each.html)[-1] for each in (own, more)]
    assert table[0] == table[1]


def test_heights_are_level_for_the_true_density():
    rng = np.random.RandomState(0)
    weight = np.full(4000, 1 / 4000)
    u = rng.uniform(size=4000)
    np.testing.assert_allclose(heights(u, u, weight), 1.0, atol=0.15)
    y = rng.poisson(1.5, size=4000)
    low, high = poisson.cdf(y - 1, 1.5), poisson.cdf(y, 1.5)
    found = heights(low, high, weight)
    np.testing.assert_allclose(found, 1.0, atol=0.15)
    assert found.mean() == pytest.approx(1.0)
    certain = heights(np.zeros(5), np.ones(5), np.full(5, 0.2))
    np.testing.assert_allclose(certain, 1.0)
    ends = heights(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(ends[[0, -1]], 5.0)


def test_counts_take_their_exposure():
    rng = np.random.RandomState(0)
    exposure = rng.uniform(1, 50, len(Y))
    y = rng.poisson(exposure * np.exp(0.1 * NUMBERS["hour"] - 1)).astype(float)
    offset = np.log(exposure)
    model = linear(likelihood="poisson").fit(NUMBERS, y, offset=offset)
    own = closed(report(model, NUMBERS, y, offset=offset, compare=True))
    assert "the logarithm of y" in own.text
    error = np.sqrt(np.mean((model.predict(NUMBERS, offset=offset) - y) ** 2))
    assert number(error) in own.texts


def test_reliability_by_hand():
    said = np.array([0.05, 0.08, 0.91, 1.0])
    found = reliability("a", said, np.array([0, 1, 1, 1]), np.full(4, 0.25))
    np.testing.assert_allclose(found.said, [0.065, 0.955])
    np.testing.assert_allclose(found.came, [0.5, 1.0])
    assert found.error == pytest.approx(0.5 * 0.435 + 0.5 * 0.045)


# -- fits again ----------------------------------------------------------------------


def test_one_expert_is_the_single_model():
    model = linear().fit(NUMBERS, Y)
    own = closed(report(model, NUMBERS, Y, compare=True, n_seeds=2))
    given = Given.read(model, NUMBERS, Y, None, {}, 0)
    train, test = halves(given)
    assert len(np.intersect1d(train.numbers, test.numbers)) == 0
    assert len(train.numbers) + len(test.numbers) == len(Y)
    single = MoERegressor(n_experts=1, trainer=SHORT, random_state=0)
    single.fit(train.X, train.y)
    place = own.texts.index("one expert")
    assert own.texts[place + 1] == number(single.score(test.X, test.y))
    mixture = clone(model).fit(train.X, train.y)
    place = own.texts.index("the mixture")
    assert own.texts[place + 1] == number(mixture.score(test.X, test.y))
    assert f"{len(train.numbers)} rows drawn at random" in own.text
    assert "Agreement: adjusted Rand index" in own.text


def test_alternatives_keep_the_parts():
    tree = HierarchicalMoERegressor(branching=(2, 2), trainer=SHORT, random_state=0)
    (single,) = alternatives(tree.fit(NUMBERS, Y)).values()
    assert single.fit(NUMBERS, Y).n_experts_ == 1
    mixed = MoERegressor(
        [("a", Ridge()), ("b", Ridge(10.0))],
        expert_features={"a": ["hour"]},
        trainer=SHORT,
        random_state=0,
    ).fit(NUMBERS, Y)
    found = alternatives(mixed)
    assert list(found) == ["a alone", "b alone"]
    assert found["a alone"].fit(NUMBERS, Y).experts_[0].coef_.shape == (1,)
    assert found["b alone"].fit(NUMBERS, Y).experts_[0].alpha == 10.0


def test_classes_that_are_held_out_as_a_whole_are_no_trouble():
    y = np.where(np.arange(len(Y)) < 2, "rare", LABELS)
    model = MoEClassifier(n_experts=2, trainer=SHORT, random_state=0).fit(NUMBERS, y)
    for seed in range(8):
        given = Given.read(model, NUMBERS, y, None, {}, seed)
        train, test = halves(given)
        assert set(test.y) <= set(train.y)


# -- text of others ------------------------------------------------------------------


def test_text_of_a_table_stays_text():
    """Names of columns, levels, labels and experts are never HTML."""
    table = pd.DataFrame(
        {HOSTILE: X["day"].where(X["day"] == "work", HOSTILE), "hour": X["hour"]}
    )
    y = np.where(Y > 0, HOSTILE, "other")
    experts = [(HOSTILE, AdditiveExpert()), ("plain", AdditiveExpert())]
    model = MoEClassifier(experts, gate="additive", trainer=SHORT, random_state=0)
    found = report(model.fit(table, y), table, y, title=HOSTILE, compare=True)
    own = Reader(found.html)
    assert [tag for tag, _ in own.tags].count("script") == 2
    assert "img" not in [tag for tag, _ in own.tags]
    assert all(not name.startswith("on") for _, a in own.tags for name in a)
    assert HOSTILE in own.texts
    assert own.rows["columns"][0] == HOSTILE
    assert "<script>alert" not in found.html
    shown = Reader(found._repr_html_())
    assert [tag for tag, _ in shown.tags] == ["iframe"]
    assert shown.tags[0][1]["srcdoc"] == found.html


def test_odd_names_can_be_written(tmp_path):
    table = NUMBERS.copy()
    table.columns = pd.Index(["\ud800 \u202e", ""], dtype=object)
    found = report(linear().fit(table, Y), table, Y, tmp_path / "page.html")
    assert "Regimes" in (tmp_path / "page.html").read_text("utf-8")
    assert repr(found).startswith("Report of 5 sections")


# -- files ---------------------------------------------------------------------------


def test_files(tmp_path, page):
    path = tmp_path / "page.html"
    path.write_text("old")
    assert page.save(path) is page
    assert path.read_text("utf-8") == page.html
    assert os.listdir(tmp_path) == ["page.html"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    with pytest.raises(IsADirectoryError, match=r"which is a folder.*report\.html"):
        page.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder.*make it"):
        page.save(tmp_path / "none" / "page.html")


def test_paths_are_checked_before_anything_is_computed(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        report(None, None, path=tmp_path / "none" / "page.html")


def test_a_failed_write_leaves_the_old_file(tmp_path, page, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        page.save(path)
    assert os.listdir(tmp_path) == ["page.html"]
    assert path.read_text() == "old"


def test_the_same_page_again(page):
    model = additive().fit(X, Y)
    assert report(model, X, Y).html == page.html
    before = json.dumps(model.expert_load_.tolist())
    report(model, X, Y, compare=True, n_seeds=1)
    assert json.dumps(model.expert_load_.tolist()) == before


# -- errors --------------------------------------------------------------------------


def test_errors():
    model = linear().fit(NUMBERS, Y)
    with pytest.raises(ValueError, match=r"got LogisticRegression.*fitted mixture"):
        report(LogisticRegression().fit(NUMBERS, LABELS), NUMBERS)
    with pytest.raises(NotFittedError):
        report(linear(), NUMBERS)
    with pytest.raises(ValueError, match=r"without y, but expected y"):
        report(model, NUMBERS, compare=True)
    with pytest.raises(ValueError, match=r"n_seeds=-1, but expected an integer"):
        report(model, NUMBERS, Y, n_seeds=-1)
    with pytest.raises(ValueError, match="y of 7 rows, but X has 240"):
        report(model, NUMBERS, Y[:7])
    with pytest.raises(ValueError, match="offset"):
        report(model, NUMBERS, Y, offset=np.zeros(len(Y)))


# -- small parts ---------------------------------------------------------------------


def test_large_tables_are_drawn_from():
    rng = np.random.RandomState(0)
    table = rng.normal(size=(MOST_ROWS + 500, 1))
    y = np.abs(table[:, 0])
    model = linear().fit(table[:300], y[:300])
    own = closed(report(model, table, y))
    assert f"{MOST_ROWS}, drawn from {MOST_ROWS + 500}" in own.texts


def test_numbers_and_ticks():
    assert [number(own) for own in (0.0, -1e-15, 123456.7, 0.00123, np.nan)] == [
        "0",
        "0",
        "123457",
        "0.00123",
        "–",
    ]
    assert percent(0.1234) == "12.3 %"
    assert percent(1e-9) == "0 %"
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(3.0, 3.0) == [3.0]


def test_numbers_beside_each_other_are_told_apart():
    assert numbers([1.2345, 1.2346]) == ["1.234", "1.235"]
    assert numbers([1 / 3, 1 / 3 + 1e-16]) == ["0.333", "0.333"]
    assert numbers([-6.2e-20, 1.0]) == ["0", "1"]
    assert [number(999.7), signed(-1e-17), signed(16900.4)] == ["1000", "0", "+16900"]
    assert number(4e-20, beside=1e-19) == "4e-20"


def test_levels_have_one_order():
    found = in_order(["unemployed", ">=7", "<1", "4<=X<7", "1<=X<4"])
    assert found == ["<1", "1<=X<4", "4<=X<7", ">=7", "unemployed"]
    assert in_order(["10", "2", "-1", "1.5"]) == ["-1", "1.5", "2", "10"]
    assert in_order({"yes", "no"}) == ["no", "yes"]


def test_dots_beyond_the_axis_are_marked():
    plot = Plot("p", (0, 1), (-1, 1))
    plot.dot(0.5, 0.5, "red", said="a")
    assert "<polygon" not in plot.svg()
    plot.dot(0.5, -11605.0, "red", said="b")
    assert "<polygon" in plot.svg()
    assert ">-11605<" in plot.svg()


def test_fits_again_have_the_number_of_experts_that_was_chosen():
    model = linear().fit(NUMBERS, Y)
    assert as_fitted(model.set_params(n_experts="auto")).n_experts == "auto"
    model._learned = model._learned._replace(choice={})
    assert as_fitted(model).n_experts == 2


def test_groups_are_held_out_as_a_whole():
    groups = np.repeat(np.arange(60), 4)
    model = linear(gate="constant").fit(NUMBERS, Y, groups=groups)
    given = Given.read(model, NUMBERS, Y, None, {}, 0, groups)
    train, test = halves(given)
    assert set(train.groups).isdisjoint(test.groups)
    assert len(test.numbers) == 60
    html = report(model, NUMBERS, Y, groups=groups, compare=True).html
    own = expert_usage(model, NUMBERS, Y, groups=groups)
    assert percent(own["responsible"][0]) in html
    with pytest.raises(ValueError, match="report got groups of shape"):
        report(model, NUMBERS, Y, groups=groups[:5])


def test_what_is_no_table_is_told():
    model = linear().fit(NUMBERS, Y)
    with pytest.raises(ValueError, match=r"report got X of shape \(240,\).*before y"):
        report(model, Y, NUMBERS)
    with pytest.raises(ValueError, match=r"explain got X of shape \(2,\).*X.iloc"):
        explain_text(model, NUMBERS.iloc[0])
    source = RowSource.from_arrays(NUMBERS.to_numpy(), Y)
    with pytest.raises(ValueError, match="explain got a RowSource"):
        explain(model, source)
    with pytest.raises(ValueError, match="score got a RowSource"):
        model.score(source, Y)


# -- in a browser --------------------------------------------------------------------

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with")
def test_rows_are_chosen_in_a_browser(page, tmp_path):
    own = Reader(page.html)
    wanted = own.rows["rows"][3]
    choose = (
        '<script>var c=document.getElementById("chooser");c.value="3";'
        'c.dispatchEvent(new Event("change"))</script>'
    )
    path = tmp_path / "page.html"
    path.write_text(page.html.replace("</body>", choose + "</body>"), "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    shown = subprocess.run(
        [CHROMIUM, *options, profile, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "CONSOLE" not in shown.stderr
    chosen = shown.stdout.split('id="chosen"')[1].split("<noscript")[0]
    assert wanted["title"] in chosen
    for name, cell in zip(X, wanted["cells"], strict=True):
        assert re.search(rf"{name}</th><td>{re.escape(cell)}</td>", chosen)
