"""Text, truth values and gaps in rows that are read in batches, for additive parts."""

import numpy as np
import pytest
from read_rows import in_batches, limit_samples
from sklearn.base import clone

from skmoe import MoEClassifier, MoERegressor
from skmoe.data import RowSource
from skmoe.experts import AdditiveExpert
from skmoe.trainers import EM

pandas = pytest.importorskip("pandas")

N_ROWS = 1200
NAMES = ["size", "shop", "open", "grade"]
CURVES = {"gate": "additive", "n_experts": 2, "random_state": 0}
LIKELIHOOD = EM(objective="likelihood")


@pytest.fixture(scope="module")
def rows():
    """A frame of numbers, text, truth values and categories, gaps among them, and y."""
    rng = np.random.default_rng(0)
    size = np.round(rng.normal(size=N_ROWS), 2)
    shop = rng.choice(["north", "south", "west"], N_ROWS, p=[0.5, 0.4, 0.1])
    is_open = rng.random(N_ROWS) > 0.4
    y = np.where(shop == "north", np.sin(2 * size), 0.5 * size) + is_open
    grade = rng.choice(["a", "b", "c"], N_ROWS)
    y += 0.5 * (grade == "b") + 0.2 * rng.normal(size=N_ROWS)
    frame = pandas.DataFrame({"size": size, "shop": shop, "open": is_open})
    frame["grade"] = pandas.Categorical(grade)
    frame.loc[::40, "shop"] = None
    frame.loc[5::50, "size"] = np.nan
    frame.loc[7::50, "grade"] = None
    return frame, y


@pytest.fixture
def small_samples(monkeypatch):
    """Samples that hold half of the rows, and first runs on two thirds of that."""
    limit_samples(600, 400, monkeypatch.setattr)


def written(folder, frame, y, n_files=2):
    """Parquet files of the rows: text as strings, categories as dictionaries."""
    pytest.importorskip("pyarrow")
    for number, part in enumerate(np.array_split(np.arange(len(y)), n_files)):
        own = frame.assign(y=y).iloc[part]
        own.to_parquet(folder / f"{number}.parquet", row_group_size=250)
    return RowSource.from_parquet(folder, "y")


def assert_same(model, other, frame):
    np.testing.assert_allclose(other.predict(frame), model.predict(frame), rtol=1e-9)
    assert other.feature_names_in_.tolist() == NAMES
    levels = [
        [(own.name, own.levels) for own in each.experts_[0].curves_]
        for each in (model, other)
    ]
    assert levels[0] == levels[1]


def test_tables_give_the_model_of_frames(rows, tmp_path):
    frame, y = rows
    model = MoERegressor("additive", trainer=LIKELIHOOD, **CURVES).fit(frame, y)
    assert_same(model, clone(model).fit(in_batches(frame, y)), frame)
    source = written(tmp_path, frame, y)
    assert source.names == NAMES
    other = clone(model).fit(source)
    assert_same(model, other, frame)
    found = np.concatenate(list(other.predict(source)))
    np.testing.assert_allclose(found, other.predict(frame), rtol=1e-12)


def test_frames_of_polars_and_arrays_of_objects(rows):
    polars = pytest.importorskip("polars")
    frame, y = rows
    frame = frame.drop(columns="grade")
    model = MoERegressor("additive", 1, gate="constant", trainer=LIKELIHOOD).fit(
        frame, y
    )
    other = clone(model).fit(in_batches(polars.from_pandas(frame), y))
    np.testing.assert_allclose(other.predict(frame), model.predict(frame), rtol=1e-9)
    cells = frame.to_numpy(dtype=object)
    cells[:, 2] = cells[:, 2].astype(float)
    other = clone(model).fit(in_batches(cells, y))
    np.testing.assert_allclose(other.predict(cells), model.predict(frame), rtol=1e-9)


@pytest.mark.usefixtures("small_samples")
def test_all_rows_of_tables_count(rows, tmp_path):
    frame, y = rows
    model = MoERegressor("additive", 1, gate="constant", trainer=LIKELIHOOD).fit(
        frame, y
    )
    sources = in_batches(frame, y), in_batches(frame, y, sizes=(77,))
    fits = [clone(model).fit(own) for own in (*sources, written(tmp_path, frame, y))]
    for own in fits:
        np.testing.assert_array_equal(own.predict(frame), fits[0].predict(frame))
        assert own.history_["passes"] > 1
    # Knots of the two are not the same.
    assert fits[0].score(frame, y) == pytest.approx(model.score(frame, y), abs=2e-3)
    other = MoERegressor("additive", **CURVES).fit(in_batches(frame, y))
    assert other.score(frame, y) > 0.85


@pytest.mark.usefixtures("small_samples")
def test_tables_of_few_values_have_the_optimum_of_frames(rows):
    frame, y = rows
    frame = frame.assign(size=frame["size"].round().clip(-2, 2))
    parts = {"gate": "constant", "trainer": EM(objective="likelihood", tol=1e-9)}
    model = MoERegressor(AdditiveExpert(alpha=2.0), 1, **parts)
    other = clone(model).fit(in_batches(frame, y))
    expected = model.fit(frame, y).predict(frame)
    np.testing.assert_allclose(other.predict(frame), expected, atol=2e-4)
    labels = np.where(y > 0.5, "up", "down")
    model = MoEClassifier(AdditiveExpert(alpha=2.0), 1, **parts)
    other = clone(model).fit(in_batches(frame, labels))
    expected = model.fit(frame, labels).predict_proba(frame)
    np.testing.assert_allclose(other.predict_proba(frame), expected, atol=2e-4)


@pytest.mark.usefixtures("small_samples")
def test_levels_that_no_sample_holds_are_nowhere(rows):
    frame, y = rows
    frame = frame.assign(shop=frame["shop"].fillna("west"))
    model = MoERegressor("additive", 1, gate="constant", trainer=LIKELIHOOD)
    rare = frame.copy()
    # One of many different words is in some sample, and most are in none.
    rare.loc[::6, "shop"] = [f"shop {number}" for number in range(len(rare[::6]))]
    model = clone(model).fit(in_batches(rare, y))
    shop = next(own for own in model.experts_[0].curves_ if own.name == "shop")
    assert {"north", "south", "west"} < set(shop.levels)
    assert len(shop.levels) < 3 + len(rare[::6])
    assert np.isfinite(model.predict(rare)).all()
    # They tell nothing of a shop.
    unknown = next(own for own in rare["shop"][::6] if own not in shop.levels)
    found = [model.predict(rare[:1].assign(shop=own)) for own in (unknown, "none")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "parameters",
    [{}, {"experts": "additive"}, {"gate": "additive"}],
    ids=["linear", "softmax", "expert"],
)
def test_parts_that_read_numbers_refuse_text_by_name(rows, tmp_path, parameters):
    frame, y = rows
    model = MoERegressor(n_experts=2, **parameters)
    for source in (in_batches(frame, y), written(tmp_path, frame, y)):
        with pytest.raises(
            ValueError, match="Column 'shop' .* reads numbers only; use experts='add"
        ):
            model.fit(source)
    with pytest.raises(
        ValueError, match="NaN or infinity in column 'size'.*read text and gaps"
    ):
        model.fit(in_batches(frame[["size", "open"]], y))


def test_tables_that_change_are_refused_by_name(rows, tmp_path):
    frame, y = rows
    model = MoERegressor("additive", 1, gate="constant")
    wrong = frame.assign(size="small")
    source = RowSource.from_batches(lambda: [(frame, y), (wrong, y)])
    with pytest.raises(ValueError, match="Column 'size' .* held numbers in its first"):
        model.fit(source)
    with pytest.raises(ValueError, match="infinity in column 'size'"):
        model.fit(in_batches(frame.assign(size=np.inf), y))
    times = frame.assign(when=pandas.Timestamp("2024-01-01"))
    with pytest.raises(ValueError, match="Column 'when' .* holds times"):
        model.fit(in_batches(times, y))
    with pytest.raises(ValueError, match="'when' of .* holds timestamp"):
        written(tmp_path, times, y)
    written(tmp_path, frame, y)
    wrong.assign(y=y).to_parquet(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="has text in .* same types"):
        RowSource.from_parquet(tmp_path, "y")
