"""Answers about rows in batches, written to parquet."""

import numpy as np
import pytest
from read_rows import in_batches

from skmoe import MoEClassifier, MoERegressor
from skmoe.data import RowSource, write_predictions
from skmoe.datasets import make_gated_regression
from skmoe.model_selection import MoERegressorCV

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def rows():
    return make_gated_regression(600, 2, 2, random_state=0)


def columns(path):
    table = parquet.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def test_answers_are_those_of_arrays(rows, tmp_path):
    X, y = rows
    model, path = MoERegressor(n_experts=2, random_state=0).fit(X, y), tmp_path / "y"
    assert write_predictions(model, in_batches(X, y), path) == len(y)
    assert columns(path).keys() == {"prediction"}
    both = ["predict", "log_density"]
    # Another batch each, and a file that was there.
    assert write_predictions(model, in_batches(X, y, sizes=(99,)), path, both) == len(y)
    found = columns(path)
    np.testing.assert_allclose(found["prediction"], model.predict(X), rtol=1e-12)
    density = model.log_density(X, y)
    np.testing.assert_allclose(found["log_density"], density, rtol=1e-9)
    assert [own.name for own in tmp_path.iterdir()] == ["y"]


def test_rows_without_a_target_are_predicted_and_not_learned(rows, tmp_path):
    X, y = rows
    table = pa.table({"a": X[:, 0], "b": X[:, 1]})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=250)
    source = RowSource.from_parquet(tmp_path / "rows.parquet")
    model, path = MoERegressor(n_experts=2, random_state=0).fit(X, y), tmp_path / "y"
    assert write_predictions(model, source, path) == len(y)
    np.testing.assert_allclose(columns(path)["prediction"], model.predict(X))
    with pytest.raises(ValueError, match="without a target, of which"):
        write_predictions(model, source, path, "log_density")
    with pytest.raises(ValueError, match="name the column of y by target="):
        model.bic(source)
    for own in (model, MoERegressorCV(model, n_experts=2, criterion="bic")):
        with pytest.raises(ValueError, match="without a target, of which"):
            own.fit(source)


def test_several_outputs_and_classes(rows, tmp_path):
    X, y = rows
    Y, path = np.column_stack([y, -y]), tmp_path / "y"
    model = MoERegressor(n_experts=2, random_state=0).fit(X, Y)
    write_predictions(model, in_batches(X, Y), path, "predict")
    found = columns(path)
    np.testing.assert_allclose(found["prediction_1"], model.predict(X)[:, 1])
    labels = np.where(y > 0, "up", "down")
    model = MoEClassifier(n_experts=2, random_state=0).fit(X, labels)
    write_predictions(model, in_batches(X, labels), path, ["predict", "predict_proba"])
    found = columns(path)
    assert (found["prediction"] == model.predict(X)).all()
    np.testing.assert_allclose(found["proba_up"], model.predict_proba(X)[:, 1])


def test_what_fails_leaves_the_file_as_it_was(rows, tmp_path):
    X, y = rows
    model, path = MoERegressor(n_experts=2, random_state=0).fit(X, y), tmp_path / "y"
    write_predictions(model, in_batches(X, y), path)
    before = path.read_bytes()

    def breaks():
        yield X, y
        raise OSError("the disk is gone")

    wrong = {
        "answers='sample'": (in_batches(X, y), "sample"),
        r"answers=\[\]": (in_batches(X, y), []),
        "that the model has": (in_batches(X, y), ["predict", "predict_proba"]),
        "source without rows": (RowSource.from_batches(lambda: iter([])), "predict"),
        "NaN": (in_batches(np.where(X > 1, np.nan, X), y), "predict"),
    }
    for said, (source, answers) in wrong.items():
        with pytest.raises(ValueError, match=said):
            write_predictions(model, source, path, answers)
    with pytest.raises(OSError, match="the disk is gone"):
        write_predictions(model, RowSource.from_batches(breaks), path)
    with pytest.raises(ValueError, match="folder is not there"):
        write_predictions(model, in_batches(X, y), tmp_path / "no" / "y")
    assert path.read_bytes() == before
    assert [own.name for own in tmp_path.iterdir()] == ["y"]
