"""Files of an offloaded mixture: written at once, read by any number of processes."""

import json
import os
import pickle
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np

from .._stamp import VERSIONS

CONTENTS, MIXTURE, STACK = "contents.json", "mixture.pickle", "coefficients.npy"
FORMAT = 1
# Bytes that are read at a time to sum them up.
PIECE = 1 << 20


class Stored(NamedTuple):
    """What a folder says of the expert in one of its files.

    Attributes
    ----------
    file : str
    names : list of str, of the experts that it is
    size : int, bytes
    added : str, what a correction adds to its answers, for people
    marks : tuple of str, what else there is to say of these
    """

    file: str
    names: list
    size: int
    added: str = ""
    marks: tuple = ()


def write_folder(folder, write):
    """Fill a new folder, which is there in full or not at all.

    Parameters
    ----------
    folder : path that is not there, or an empty folder
    write : callable
        Of the path of a folder in the same place, in which it makes the files.

    Raises
    ------
    FileExistsError
        If something else is there.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(
            f"offload got folder={str(folder)!r}, which holds other files, but "
            "expected a new or an empty folder; remove them, or name another one."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        # Inside, so that its mode is that of any new folder.
        new = place / "new"
        new.mkdir()
        write(new)
        for path in new.iterdir():
            path.chmod(0o444)
        if folder.exists():
            folder.rmdir()
        # Refused by the system if another process was faster.
        os.rename(new, folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def write_contents(folder, kind, experts):
    """The list of files, with sizes and check sums; the last that is written.

    Parameters
    ----------
    folder : Path
    kind : str, class of the mixture
    experts : list of dict, ``file``, ``names``, ``added`` and ``marks`` of each
    """
    files = {
        path.name: {"size": path.stat().st_size, "crc32": check_sum(path)}
        for path in sorted(folder.iterdir())
    }
    contents = {
        "format": FORMAT,
        "kind": kind,
        "versions": VERSIONS,
        "experts": experts,
        "files": files,
    }
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1))


def read_contents(folder):
    """What ``write_contents`` wrote, checked."""
    path = Path(folder) / CONTENTS
    try:
        contents = json.loads(path.read_text())
        known = contents["format"] == FORMAT
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{str(folder)!r} holds no offloaded mixture, as {CONTENTS} is missing; "
            "make one by skmoe.export.offload(model, folder)."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); {REMEDY}") from error
    if not known:
        raise ValueError(
            f"{path} has format {contents['format']!r}, but expected {FORMAT}; {REMEDY}"
        )
    return contents


REMEDY = "copy the folder anew, or offload the model again."


def stored_experts(contents):
    """``Stored`` of each file of an expert."""
    sizes = contents["files"]
    return [
        Stored(
            own["file"],
            own["names"],
            sizes[own["file"]]["size"],
            # Folders of before have neither.
            own.get("added", ""),
            tuple(own.get("marks", ())),
        )
        for own in contents["experts"]
    ]


def check_file(folder, file, contents):
    """The path of a file, if it is there and as long as it was."""
    path = Path(folder) / file
    expected = contents["files"][file]["size"]
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path} is missing, which is a part of an offloaded mixture; {REMEDY}"
        ) from error
    if size != expected:
        raise ValueError(f"{path} has {size} bytes, but expected {expected}; {REMEDY}")
    return path


def read_expert(folder, file, contents):
    """The expert of a file, whose arrays are maps of it.

    They are copied on write, so that estimators that insist on writing may, and the
    file stays as it is.
    """
    path = check_file(folder, file, contents)
    return _read(path, lambda: joblib.load(path, mmap_mode="c"))


def read_stack(folder, contents):
    """Map of the coefficients of linear experts, or None where they are others."""
    if STACK not in contents["files"]:
        return None
    path = check_file(folder, STACK, contents)
    return np.asarray(_read(path, lambda: np.load(path, mmap_mode="c")))


def read_mixture(folder, contents, expert_of):
    """The mixture, with ``expert_of(number)`` in the place of each expert."""
    path = check_file(folder, MIXTURE, contents)

    def load():
        with path.open("rb") as stream:
            unpickler = pickle.Unpickler(stream)
            unpickler.persistent_load = expert_of
            return unpickler.load()

    return _read(path, load)


def _read(path, load):
    try:
        return load()
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        # A damaged pickle raises anything.
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}: {error}); {REMEDY}"
        ) from error


def check_sum(path):
    """CRC-32 of a file."""
    total = 0
    with Path(path).open("rb") as stream:
        while piece := stream.read(PIECE):
            total = zlib.crc32(piece, total)
    return total


def check_all(folder, contents):
    """Raise ``ValueError`` unless all files are to the byte as they were written."""
    for file, told in contents["files"].items():
        path = check_file(folder, file, contents)
        if check_sum(path) != told["crc32"]:
            raise ValueError(
                f"{path} differs from what was written, by its check sum; {REMEDY}"
            )
