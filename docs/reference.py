"""Pages of the API: every public name of every public module, found and not listed."""

import importlib
import inspect
import pkgutil
import re

import skmoe


def public_modules():
    """Names of the modules without an underscore in their path, the package first."""
    found = [skmoe.__name__]
    for own in pkgutil.walk_packages(skmoe.__path__, "skmoe."):
        if not any(part.startswith("_") for part in own.name.split(".")):
            found.append(own.name)
    return found


def public_names(module):
    """Names that a module means to be used: ``__all__``, or what it defines."""
    module = importlib.import_module(module)
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, own in vars(module).items()
            if not name.startswith("_")
            and getattr(own, "__module__", None) == module.__name__
        ]
    return [name for name in names if not name.startswith("__")]


def summary(module):
    """First paragraph of a module's docstring."""
    return inspect.getdoc(importlib.import_module(module)).split("\n\n")[0]


def page_of(module):
    """Text of a module's page: its summary, and a table that makes the other pages."""
    title = f"``{module}``"
    lines = [title, "=" * len(title), "", f".. automodule:: {module}", ""]
    lines += [f".. currentmodule:: {module}", "", ".. autosummary::"]
    lines += ["   :toctree: generated", ""]
    lines += [f"   {name}" for name in public_names(module)]
    return "\n".join([*lines, ""])


def index_of(modules):
    """Text of the page that has all modules."""
    lines = ["API reference", "=============", ""]
    lines += ["Every public name, by module.", "", ".. list-table::", ""]
    for module in modules:
        text = " ".join(summary(module).split())
        lines += [f"   * - :doc:`{module} <{module}>`", f"     - {text}"]
    lines += ["", ".. toctree::", "   :hidden:", ""]
    return "\n".join([*lines, *(f"   {module}" for module in modules), ""])


def write(folder):
    """Write the pages, where they differ, so that Sphinx reads only what changed."""
    folder.mkdir(exist_ok=True)
    modules = [own for own in public_modules() if public_names(own)]
    pages = {own: page_of(own) for own in modules}
    for name, text in {**pages, "index": index_of(modules)}.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def plain_roles(app, what, name, obj, options, lines):
    """Docstrings that come from scikit-learn refer to pages of its own site."""
    for number, line in enumerate(lines):
        line = re.sub(r":(?:ref|term):`([^`<]*?)\s*<[^`]*>`", r"\1", line)
        lines[number] = re.sub(r":(?:ref|term):`([^`]*)`", r"\1", line)
