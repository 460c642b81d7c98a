"""How the package is built, in numbers: what a reader of one ``fit`` has to open.

    python benchmarks/structure.py

prints one row per measure.  Nothing is timed, so the figures are the same everywhere.
"""

import ast
import importlib
import sys
import threading
from collections import defaultdict
from pathlib import Path

import skmoe
from skmoe.datasets import make_regimes

PACKAGE = Path(skmoe.__file__).parent
SNIFFS = ("hasattr", "getattr")


def sources():
    """Paths of the package's modules."""
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    """Path of a module relative to the package."""
    return str(Path(path).relative_to(PACKAGE))


def followed(call):
    """Files that a call enters, and for each the other files it calls into."""
    entered, onward = set(), defaultdict(set)
    inside = str(PACKAGE)

    def profile(frame, event, argument):
        if event != "call" or not frame.f_code.co_filename.startswith(inside):
            return
        own = frame.f_code.co_filename
        entered.add(own)
        caller = frame.f_back
        while caller and not caller.f_code.co_filename.startswith(inside):
            caller = caller.f_back
        if caller and caller.f_code.co_filename != own:
            onward[caller.f_code.co_filename].add(own)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return entered, onward


def opened(entered, onward):
    """Files to open: those that hand control on to at least two others.

    A file that calls none, or a single one, is trusted by the names of its functions.
    """
    return {path for path in entered if len(onward[path]) >= 2}


def fit_default():
    """One fit at the defaults, compiled before."""
    X, y = make_regimes(300, noise=0.5, random_state=0)
    skmoe.MoERegressor(n_experts=2).fit(X, y)
    return lambda: skmoe.MoERegressor(n_experts=2).fit(X, y)


def private_methods(kind):
    """Private methods and properties that a class has from the package."""
    found = set()
    for base in kind.__mro__:
        if base.__module__.split(".")[0] == "skmoe":
            members = vars(base).items()
            found |= {
                name
                for name, value in members
                if name.startswith("_")
                and not name.startswith("__")
                and (callable(value) or isinstance(value, (property, staticmethod)))
            }
    return found


def sniffing():
    """Calls of ``hasattr`` and ``getattr``, and lines, in the whole package."""
    calls = lines = 0
    for path in sources():
        text = path.read_text()
        lines += text.count("\n")
        calls += sum(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in SNIFFS
            for node in ast.walk(ast.parse(text))
        )
    return calls, lines


def branches(function):
    """Cyclomatic complexity by McCabe: one, and one per branch."""
    kinds = (ast.If, ast.For, ast.While, ast.ExceptHandler)
    return 1 + sum(isinstance(node, kinds) for node in ast.walk(function))


def functions():
    """Pairs of a module's name and a function in it."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield name_of(path), node


def length(function):
    """Lines of a function's body, its docstring apart."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def roots():
    """Modules directly in the package, ``__init__`` apart."""
    return [p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__"]


def imports():
    """Files that each file imports when it is itself imported."""
    graph = {}
    for path in sources():
        package = ".".join(path.relative_to(PACKAGE.parent).parts[:-1])
        graph[name_of(path)] = {
            target
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.level
            for target in targets(node, package)
        } - {name_of(path)}
    return graph


def targets(node, package):
    """Files that one relative import names."""
    base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    for name in [base, *(f"{base}.{alias.name}" for alias in node.names)]:
        path = PACKAGE.parent.joinpath(*name.split("."))
        for found in (path.with_suffix(".py"), path / "__init__.py"):
            if found.exists() and PACKAGE in found.parents:
                yield name_of(found)


def circles(graph):
    """Files that can be reached from themselves, packages' own files apart."""
    graph = {k: v for k, v in graph.items() if not k.endswith("__init__.py")}

    def reach(start):
        seen, stack = set(), [*graph[start]]
        while stack:
            node = stack.pop()
            if node in graph and node not in seen:
                seen.add(node)
                stack += graph[node]
        return seen

    return sorted(name for name in graph if name in reach(name))


def measure():
    """All measures by name."""
    entered, onward = followed(fit_default())
    calls, lines = sniffing()
    found = list(functions())
    longest = max(found, key=lambda pair: length(pair[1]))
    branchy = max(found, key=lambda pair: branches(pair[1]))
    files = {name_of(p): p.read_text().count("\n") for p in sources()}
    biggest = max(files, key=files.get)
    return {
        "files entered by the default fit": len(entered),
        "files to open to follow it": len(opened(entered, onward)),
        "private methods on MoERegressor": len(private_methods(skmoe.MoERegressor)),
        "hasattr and getattr per thousand lines": round(1000 * calls / lines, 1),
        "modules at the root": len(roots()),
        "files in a circle of imports": len(circles(imports())),
        "lines of the longest file": f"{files[biggest]} ({biggest})",
        "lines of the longest function": f"{length(longest[1])} ({longest[0]})",
        "highest complexity": f"{branches(branchy[1])} ({branchy[0]})",
        "lines in all": lines,
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:42} {value}")
