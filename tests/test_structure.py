"""How the package is built: imports run downward, functions stay short."""

import ast
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import skmoe

PACKAGE = Path(skmoe.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LONGEST_FUNCTION = 40

# Each layer may import those before it, and itself.
LAYERS = [
    {"exceptions", "_version", "_warnings", "_sklearn", "_stamp", "_typing"},
    {"_kernels", "engines"},
    {"_numerics", "_tables", "data"},
    {"mixture"},
    {"likelihoods"},
    {"experts"},
    {"gates", "routers"},
    {"losses"},
    {"trainers"},
    {"_estimators"},
    {"__init__"},
    {
        "inspection",
        "datasets",
        "distillation",
        "distributed",
        "export",
        "inference",
        "model_selection",
        "testing",
        "transfer",
    },
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Within a package, too, modules build on those before them.
ORDERS = {
    "_numerics": [
        "bisection",
        "linalg",
        "arrow",
        "tree",
        "iterative",
        "design",
        "sample",
        "products",
        "given",
        "grams",
        "multinomial",
        "part_sums",
        "evidence",
        "network",
        "curves",
        "systems",
        "additive",
        "curve_sums",
    ],
    "_tables": [
        "values",
        "frames",
        "names",
        "columns",
        "flat",
        "features",
        "table",
        "plain",
        "answers",
    ],
    "trainers": [
        "_rows",
        "_streamed",
        "_task",
        "_order",
        "_variances",
        "_partitions",
        "_em",
        "_folds",
        "_growth",
        "_gradient",
        "_two_stage",
    ],
    "_estimators": [
        "families",
        "presets",
        "parts",
        "parameters",
        "target",
        "subjects",
        "views",
        "start",
        "common",
        "shared",
        "routed",
        "answers",
        "members",
        "progress",
        "training",
        "splits",
        "choice",
        "lean",
        "exact",
        "fitted",
        "shown",
        "batches",
        "first_pass",
        "grouped_pass",
        "sources",
        "evaluation",
        "predictive",
        "base",
        "regressor",
        "classifier",
        "hierarchical",
        "pool_members",
        "pool",
    ],
}


of_each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(PACKAGE))
)


@cache
def parsed(path):
    """Syntax tree of a file."""
    return ast.parse(path.read_text())


def module_of(path):
    """First part of a module's name below the package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path, package=PACKAGE):
    """First parts of the names of the modules that a file imports from a package."""
    depth = len(path.relative_to(package).parts)
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [a.name for a in node.names]
            yield from (name.split(".")[0] for name in names)


@of_each_file
def test_imports_run_downward(path):
    own = module_of(path)
    for other in imported(path):
        assert RANK[other] <= RANK[own], f"{own} imports {other} from a layer above"


@pytest.mark.parametrize("name", ORDERS)
def test_modules_build_on_those_before_them(name):
    folder, order = PACKAGE / name, ORDERS[name]
    for path in set(folder.rglob("*.py")) - {folder / "__init__.py"}:
        own = path.relative_to(folder).with_suffix("").parts[0]
        for other in imported(path, folder):
            assert order.index(other) <= order.index(own), (own, other)


@of_each_file
def test_private_scikit_learn_has_one_door(path):
    if path.name == "_sklearn.py":
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "sklear"
        ):
            names = [*node.module.split("."), *(a.name for a in node.names)]
            assert not [n for n in names if n.startswith("_")], f"{path}: {names}"


@of_each_file
def test_functions_read_in_one_breath(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = (node for node in ast.walk(parsed(path)) if isinstance(node, kinds))
    lengths = [(function.name, lines_of_body(function)) for function in functions]
    assert not [own for own in lengths if own[1] > LONGEST_FUNCTION]


def lines_of_body(function):
    """Lines of a function below its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


ROOT = PACKAGE.parent
# None of them may grow; the page of architecture shows where they are.
LIMITS = {
    "files entered by the default fit": 44,
    "files to open to follow it": 23,
    "private methods on MoERegressor": 30,
    "hasattr and getattr per thousand lines": 2.5,
    "modules at the root": 12,
    "files in a circle of imports": 0,
    "lines of the longest file": 476,
    "lines of the longest function": LONGEST_FUNCTION,
    "highest complexity": 10,
}


@pytest.fixture(scope="module")
def measures():
    path = ROOT / "benchmarks" / "structure.py"
    if not path.exists():
        pytest.skip("not a source tree")
    spec = importlib.util.spec_from_file_location("structure", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.measure()
    # Some name where the largest is.
    return {name: float(str(own).split()[0]) for name, own in found.items()}


def test_the_house_stays_as_small_as_it_is(measures):
    over = {name: measures[name] for name in LIMITS if measures[name] > LIMITS[name]}
    assert not over


def test_documented_measures_are_those_of_the_package(measures):
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (.+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    shown = {name: float(now) for name, _, now in rows}
    assert shown == {name: measures[name] for name in LIMITS}


@of_each_file
def test_public_names_are_documented(path):
    kinds = (ast.FunctionDef, ast.ClassDef)
    public = (
        node
        for node in parsed(path).body
        if isinstance(node, kinds) and not node.name.startswith("_")
    )
    assert not [node.name for node in public if not ast.get_docstring(node)]


def test_import_is_light():
    """No optional package is imported before it is needed."""
    code = "import sys, skmoe, skmoe.inspection; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert not loaded & {"matplotlib", "polars", "dask", "pyarrow.parquet"}


def test_ruff():
    """Style and complexity, as configured in pyproject.toml."""
    root = PACKAGE.parent
    if not (root / "pyproject.toml").exists():
        pytest.skip("not a source tree")
    for command in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, str(root)], check=True)
