"""A mixture behind HTTP: what it predicts, and whose word that is.

    python examples/serve.py                         # asks the app once, no server
    python examples/serve.py --keep model.joblib     # trains a model, and keeps it
    MODEL=model.joblib uvicorn --app-dir examples serve:app

The app is plain ASGI, which any server for it runs (``pip install uvicorn``).  A POST
to ``/predict`` with ``{"rows": [{"load": 0.4, "temperature": 21.0}]}`` answers the
prediction of each row, and the share of each expert in it; what is wrong with a request
is said by row and column, and nothing but finite numbers comes to the model.  Where
the extra ``onnx`` is installed, the model is asked as a graph, else itself.
"""

import argparse
import asyncio
import json
import math
import os

import joblib
import numpy as np

from skmoe import MoERegressor
from skmoe.export import slim

COLUMNS = ("load", "temperature")
MOST_ROWS, MOST_BYTES = 1000, 1_000_000


class Refused(Exception):
    """A request that gets no answer: the status, and what is wrong."""

    def __init__(self, status, said):
        super().__init__(said)
        self.status = status


# -- what is asked ------------------------------------------------------------------


def number(value, row, column):
    """A finite number of a request."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = float(value)
            if math.isfinite(value):
                return value
    except OverflowError:
        pass
    raise Refused(422, f"row {row}: {column!r} is {value!r}, but expected a number")


def one_row(given, row, columns):
    """The numbers of a row, in the order of training."""
    if not isinstance(given, dict):
        raise Refused(422, f"row {row} is no object with the columns {[*columns]}")
    missing = [name for name in columns if name not in given]
    if missing:
        raise Refused(422, f"row {row} lacks {missing}, but needs {[*columns]}")
    others = sorted(set(given) - set(columns))
    if others:
        raise Refused(422, f"row {row} has {others}, but expected {[*columns]} only")
    return [number(given[name], row, name) for name in columns]


def table_of(body, columns):
    """The array (n, p) that a body asks about; raises ``Refused``."""
    try:
        given = json.loads(body)
    except ValueError as error:
        raise Refused(400, f"the body is no JSON: {error}") from error
    rows = given.get("rows") if isinstance(given, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS:
        raise Refused(422, f'expected {{"rows": [...]}} with 1 to {MOST_ROWS} rows')
    return np.array([one_row(own, row, columns) for row, own in enumerate(rows)])


# -- who answers --------------------------------------------------------------------


def by_itself(model):
    """A function from rows to predictions and shares: the model's methods."""
    return lambda table: (model.predict(table), model.gate_proba(table))


def by_graph(model, sample):
    """The same by onnxruntime, or None where that is not installed."""
    try:
        import onnxruntime

        from skmoe.export import to_onnx

        graph = to_onnx(model, sample, outputs=("prediction", "gate"))
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(graph.SerializeToString())

    def answer(table):
        predictions, shares = session.run(None, {"X": table})
        return np.ravel(predictions), shares

    return answer


# -- the app ------------------------------------------------------------------------


async def body_of(receive):
    """The bytes of a request; raises ``Refused`` for too many."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise Refused(413, f"the body has more than {MOST_BYTES} bytes")
    return body


async def alive(receive, send):
    """Take part in the start and the end of the server."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def make_app(answer, names, columns):
    """The ASGI app.

    Parameters
    ----------
    answer : callable, from an array (n, p) to predictions (n,) and shares (n, K)
    names : list of str, of the experts
    columns : list of str, of the rows
    """

    async def respond(scope, receive):
        path, method = scope["path"], scope["method"]
        if path == "/health" and method == "GET":
            return {"columns": [*columns], "experts": names}
        if path != "/predict":
            raise Refused(404, "expected POST /predict or GET /health")
        if method != "POST":
            raise Refused(405, "expected POST /predict")
        table = table_of(await body_of(receive), columns)
        # Of few rows; for many, asyncio.to_thread keeps the loop free.
        predictions, shares = answer(table)
        named = [dict(zip(names, own.tolist(), strict=True)) for own in shares]
        return {"predictions": predictions.tolist(), "shares": named}

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return await alive(receive, send)
        status = 200
        try:
            content = await respond(scope, receive)
        except Refused as refused:
            status, content = refused.status, {"error": str(refused)}
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": head})
        body = json.dumps(content).encode()
        return await send({"type": "http.response.body", "body": body})

    return app


def app_of(kept):
    """The app for what ``--keep`` wrote: a model, its columns and some rows."""
    model = kept["model"]
    answer = by_graph(model, kept["sample"]) or by_itself(model)
    return make_app(answer, [*model.named_experts_], kept["columns"])


# -- a model to be served -----------------------------------------------------------


def trained():
    """A mixture of two regimes of a machine, without what only training needs."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(0, 1, 500), rng.normal(20, 5, 500)])
    high = rng.uniform(size=500) < 1 / (1 + np.exp(-15 * (X[:, 0] - 0.5)))
    y = np.where(high, 6 - 3 * X[:, 0], 1 + 2 * X[:, 0]) + 0.1 * rng.normal(size=500)
    model = MoERegressor(n_experts=2, random_state=0).fit(X, y)
    return {"model": slim(model), "columns": COLUMNS, "sample": X[:200]}


async def ask(app, body, path="/predict", method="POST"):
    """Status and content of an answer, without a server."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "path": path, "method": method}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def main():
    """Train, keep, or ask once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", help="file for a trained model")
    arguments = parser.parse_args()
    kept = trained()
    if arguments.keep:
        joblib.dump(kept, arguments.keep)
        return
    app = app_of(kept)
    for load in (0.2, 0.9, "full"):
        body = json.dumps({"rows": [{"load": load, "temperature": 21.0}]})
        print(*asyncio.run(ask(app, body.encode())))


if __name__ == "__main__":
    main()
elif "MODEL" in os.environ:
    app = app_of(joblib.load(os.environ["MODEL"]))
