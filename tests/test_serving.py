"""The example behind HTTP: answers are the model's, and errors say what is wrong."""

import asyncio
import importlib.util
import json
from pathlib import Path

import joblib
import numpy as np
import pytest

PATH = Path(__file__).parent.parent / "examples" / "serve.py"
ROW = {"load": 0.4, "temperature": 21.0}


@pytest.fixture(scope="module")
def serve():
    """The example as a module."""
    if not PATH.exists():
        pytest.skip("not a source tree")
    spec = importlib.util.spec_from_file_location("serve", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept(serve, tmp_path_factory):
    """What it trains, as it is kept in a file."""
    path = tmp_path_factory.mktemp("model") / "model.joblib"
    joblib.dump(serve.trained(), path)
    return joblib.load(path)


@pytest.fixture(scope="module")
def app(serve, kept):
    """The app, which asks the model itself."""
    model = kept["model"]
    answer = serve.by_itself(model)
    return serve.make_app(answer, [*model.named_experts_], kept["columns"])


def asked(serve, app, content, **where):
    """Status and content of an answer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return asyncio.run(serve.ask(app, body, **where))


def test_answers_are_those_of_the_model(serve, app, kept):
    model, table = kept["model"], np.array([[0.4, 21.0], [0.9, 18.0]])
    rows = [dict(zip(serve.COLUMNS, own, strict=True)) for own in table.tolist()]
    status, content = asked(serve, app, {"rows": rows})
    assert status == 200
    np.testing.assert_array_equal(content["predictions"], model.predict(table))
    shares = [[*own.values()] for own in content["shares"]]
    np.testing.assert_array_equal(shares, model.gate_proba(table))
    assert {*content["shares"][0]} == {*model.named_experts_}
    status, content = asked(serve, app, b"", path="/health", method="GET")
    assert status == 200
    assert content["columns"] == [*serve.COLUMNS]


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"{", 400, "the body is no JSON"),
        ([], 422, 'expected ."rows"'),
        ({"rows": []}, 422, "1 to 1000 rows"),
        ({"rows": [ROW] * 1001}, 422, "1 to 1000 rows"),
        ({"rows": [ROW, [0.4, 21]]}, 422, "row 1 is no object"),
        ({"rows": [{"load": 0.4}]}, 422, r"row 0 lacks \['temperature'\]"),
        ({"rows": [{**ROW, "town": 1}]}, 422, r"row 0 has \['town'\]"),
        ({"rows": [ROW, {**ROW, "load": "full"}]}, 422, "row 1: 'load' is 'full'"),
        ({"rows": [{**ROW, "load": None}]}, 422, "'load' is None"),
        ({"rows": [{**ROW, "load": True}]}, 422, "'load' is True"),
        ({"rows": [{**ROW, "load": float("nan")}]}, 422, "'load' is nan"),
        ({"rows": [{**ROW, "load": 10**400}]}, 422, "but expected a number"),
        (b" " * 1_000_001, 413, "more than 1000000 bytes"),
    ],
)
def test_requests_that_are_wrong_are_told_why(serve, app, content, status, said):
    found, answer = asked(serve, app, content)
    assert found == status
    with pytest.raises(ValueError, match=said):
        raise ValueError(answer["error"])


def test_other_paths_and_methods_are_refused(serve, app):
    assert asked(serve, app, b"", path="/other")[0] == 404
    assert asked(serve, app, b"", method="GET")[0] == 405


def test_the_server_may_start_and_stop(serve, app):
    asks, sent = ["lifespan.startup", "lifespan.shutdown"], []

    async def receive():
        return {"type": asks.pop(0)}

    async def send(message):
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_graph_answers_as_the_model(serve, kept):
    pytest.importorskip("onnxruntime")
    found = asked(serve, serve.app_of(kept), {"rows": [ROW]})[1]
    wanted = kept["model"].predict([[*ROW.values()]])
    np.testing.assert_allclose(found["predictions"], wanted, rtol=1e-9)
    np.testing.assert_allclose(sum(found["shares"][0].values()), 1.0)
