"""Type hints: the public surface has them, and a type checker finds no fault."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Of parts users call the constructor only; the rest is called by the mixture.
METHODS = re.compile(
    r"(Hierarchical|Dask)?MoE\w+|Offloaded(Regressor|Classifier)|\w+Display|"
    "RowSource|Report"
)


@pytest.fixture(scope="module")
def of_the_site():
    """The module that finds public names."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("reference")
    sys.path.remove(str(ROOT / "docs"))


def plain(own):
    """The function behind a method, property or decorated function; else None."""
    if isinstance(own, (classmethod, staticmethod)):
        own = own.__func__
    if isinstance(own, property):
        own = own.fget
    # Methods that are there for some parameters only.
    own = vars(own).get("fn", own) if hasattr(own, "__dict__") else own
    own = inspect.unwrap(own) if callable(own) else own
    return own if inspect.isfunction(own) else None


def methods_of(kind):
    """Constructor of a public class, and its methods where users call them."""
    is_full = METHODS.fullmatch(kind.__name__)
    for base in kind.__mro__:
        if not base.__module__.startswith("skmoe"):
            continue
        for name, own in vars(base).items():
            if name == "__init__" or (is_full and not name.startswith("_")):
                yield plain(own)


def surface(reference):
    """Functions of the public surface, written in this package."""
    for module in reference.public_modules():
        for name in reference.public_names(module):
            own = getattr(importlib.import_module(module), name)
            found = methods_of(own) if inspect.isclass(own) else [plain(own)]
            for function in found:
                # Those of named tuples and dataclasses are written by Python, and
                # what stands in their fields is private.
                code = getattr(function, "__code__", None)
                own_name = getattr(function, "__name__", "_").replace(
                    "__init__", "init"
                )
                if own_name.startswith("_"):
                    continue
                if code is not None and Path(code.co_filename).is_relative_to(ROOT):
                    yield function


def without_hints(function):
    """Names of parameters without a hint, and "return"."""
    signature = inspect.signature(function)
    found = [
        name
        for name, own in signature.parameters.items()
        if own.annotation is own.empty and name not in ("self", "cls")
    ]
    bare = signature.return_annotation is signature.empty
    return [*found, "return"] if bare else found


def test_public_surface_has_hints(of_the_site):
    functions = set(surface(of_the_site))
    assert len(functions) > 150
    faults = [
        f"{function.__module__}.{function.__qualname__}: {', '.join(missing)}"
        for function in functions
        if (missing := without_hints(function))
    ]
    assert not faults, "\n".join(sorted(faults))


def test_a_type_checker_finds_no_fault():
    pytest.importorskip("mypy", reason="pip install -e '.[lint]' to check type hints")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not a source tree")
    command = [sys.executable, "-m", "mypy", "skmoe", "tests/typed_use.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
