"""The site: pages have every public name, examples run, links lead somewhere."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GALLERY = sorted((ROOT / "examples" / "gallery").glob("*/*.py"))
# What numpydoc may ask for and we do not: sections that would say nothing new, the
# order of parameters that are told together, verbs in the summary of a class.
NOT_ASKED = {"ES01", "EX01", "PR03", "PR04", "PR07", "RT01", "RT03", "SA01", "SA03"}
NOT_ASKED |= {"SS05", "YD01"}
# Functions of arrays whose names are explained once, at the head of the module.
OF_ARRAYS = {"skmoe.mixture", "skmoe.engines"}


@pytest.fixture(scope="module", autouse=True)
def of_the_site():
    """Modules in ``docs/`` can be imported."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield
    sys.path.remove(str(ROOT / "docs"))


def declared_names():
    """Module and name of all that ``__all__`` of public files has, as text says it."""
    for path in sorted((ROOT / "skmoe").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if any(part.startswith("_") for part in parts):
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "__all__":
                names = [n for n in ast.literal_eval(node.value) if n[:2] != "__"]
                yield from ((".".join(parts), name) for name in names)


def test_reference_has_every_public_name(tmp_path):
    import reference

    reference.write(tmp_path)
    declared = list(declared_names())
    assert len(declared) > 80
    index = (tmp_path / "index.rst").read_text().split()
    for module, name in declared:
        page = (tmp_path / f"{module}.rst").read_text().split()
        assert name in page, f"{module}.{name} is on no page of the site"
        assert module in index


def test_modules_list_what_they_offer():
    """And not what they import: completion reads it."""
    import reference

    for module in reference.public_modules():
        names = {own for own in dir(importlib.import_module(module)) if own[:2] != "__"}
        wanted = set(reference.public_names(module))
        if module == "skmoe":
            below = (own.split(".")[1:] for own in reference.public_modules())
            wanted |= {path[0] for path in below if len(path) == 1}
        assert names == wanted, module


def test_modules_are_there_when_they_are_asked_for():
    code = (
        "import sys, skmoe; assert 'skmoe.inspection' not in sys.modules; "
        "print(skmoe.inspection.explain.__module__, hasattr(skmoe, 'nothing'))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["skmoe.inspection", "False"]


def test_reference_is_not_written_anew_where_nothing_changed(tmp_path):
    import reference

    reference.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    reference.write(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def public_objects():
    import reference

    for module in reference.public_modules():
        for name in reference.public_names(module):
            yield module, name, getattr(importlib.import_module(module), name)


def is_record(own):
    """Whether a class only holds what its docstring lists as attributes."""
    return inspect.isclass(own) and (
        hasattr(own, "_fields") or hasattr(own, "__dataclass_fields__")
    )


def test_public_docstrings_are_numpydoc():
    validate = pytest.importorskip("numpydoc.validate").validate
    faults = []
    for module, name, own in public_objects():
        free = {"PR01"} if module in OF_ARRAYS or is_record(own) else set()
        faults += [
            f"{module}.{name}: {code} {text}"
            for code, text in validate(f"{module}.{name}")["errors"]
            if code not in NOT_ASKED | free
        ]
    assert not faults, "\n".join(faults)


def test_gallery_is_large_enough_and_ordered():
    folders = {path.parent for path in GALLERY}
    assert len(GALLERY) >= 18
    for folder in folders:
        assert (folder / "GALLERY_HEADER.rst").exists()
        assert f'"{folder.name}"' in (ROOT / "docs" / "conf.py").read_text()


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_example_has_a_title_and_pictures_with_words(path):
    tree = ast.parse(path.read_text())
    title, line = ast.get_docstring(tree).splitlines()[:2]
    assert title
    assert set(line) == {"="}
    assert len(line) == len(title)
    text = path.read_text()
    for word in ("plt.show()", "xlabel", "title"):
        assert word in text, f"{path.name} has no {word}"
    # Nothing is fetched, and the same numbers come each time.
    assert "fetch_" not in text
    assert "random_state" in text or "default_rng" in text


@pytest.mark.parametrize("name", ["regimes", "zero_inflation", "stream", "own_part"])
def test_example_runs(name, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    pictures = importlib.import_module("pictures")
    missing = []

    def show():
        for figure in map(plt.figure, plt.get_fignums()):
            missing.extend(pictures.missing_words(figure, own) for own in figure.axes)
        plt.close("all")

    monkeypatch.setattr(plt, "show", show)
    (path,) = [own for own in GALLERY if own.stem == name]
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})
    assert missing
    assert not any(missing)


def test_axes_without_words_are_told():
    plt = pytest.importorskip("matplotlib.pyplot")
    from pictures import missing_words

    figure, ax = plt.subplots()
    assert "title" in missing_words(figure, ax)
    ax.set(title="Rows")
    assert "label" in missing_words(figure, ax)
    ax.set(xlabel="hour")
    assert missing_words(figure, ax) == ""
    plt.close(figure)


def test_links_that_lead_nowhere_are_found(tmp_path):
    from links import broken

    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#there">2</a><a href="c.html">3</a>'
        '<a href="https://example.org">4</a><script src="https://cdn.org/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<p id="here"><a href="a.html">5</a></p>')
    assert broken(tmp_path) == [
        "a.html loads https://cdn.org/x.js",
        "a.html links to b.html#there: no such place on the page",
        "a.html links to c.html: no such file",
    ]
