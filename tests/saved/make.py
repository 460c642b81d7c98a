"""Keep fitted models of every kind, which later versions are to load.

    python tests/saved/make.py

Run once for each release, by the newest scikit-learn and NumPy that it works with: it
writes a folder that is named after the version, and leaves those of others alone.
"""

import gzip
import json
import pickle
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from kinds import KINDS, N_ASKED, QUICK, TABLES, X, fitted, rows_of, said  # noqa: E402

from skmoe._stamp import VERSIONS  # noqa: E402

# Bytes of a model that is kept.
LARGEST = 20_000


def plain(values):
    """An array or a table as what JSON has."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    return {name: values[name].tolist() for name in values}


def main():
    """Write the models, and what they say of a few rows."""
    folder = HERE / VERSIONS["skmoe"]
    folder.mkdir(exist_ok=True)
    models = {}
    for name in KINDS:
        data = pickle.dumps(fitted(name), protocol=5)
        if len(data) > LARGEST:
            continue
        packed = gzip.compress(data, mtime=0)
        (folder / f"{name.replace(' ', '-')}.pickle.gz").write_bytes(packed)
        answers = {own[0]: said(name)[own] for own in said(name) if len(own) == 1}
        models[name] = {
            "y": plain(rows_of(name)[1][:N_ASKED]),
            **{own: plain(answers[own]) for own in QUICK if own in answers},
        }
    rows = {name: plain(own[:N_ASKED]) for name, own in {**TABLES, "": X}.items()}
    contents = {"versions": VERSIONS, "rows": rows, "models": models}
    (folder / "answers.json").write_text(json.dumps(contents))


if __name__ == "__main__":
    main()
