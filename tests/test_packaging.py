"""What is built and handed out: wheel, source archive, recipe, community files."""

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import skmoe

ROOT = Path(__file__).parent.parent
if not (ROOT / "pyproject.toml").exists():
    pytest.skip("not a source tree", allow_module_level=True)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("skmoe/**/*.py")}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with a wheel and a source archive of the tree."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("pip install hatchling to build the package")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_wheel_has_the_package_and_nothing_else(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = [own for own in names if own.endswith("/METADATA")]
        text = wheel.read(metadata).decode()
    own = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert own == MODULES | {"skmoe/py.typed"}
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert path.name == f"skmoe-{skmoe.__version__}-py3-none-any.whl"
    for line in ("Requires-Python: >=3.11", "Classifier: Typing :: Typed"):
        assert line in text
    assert len(re.findall("^Project-URL: ", text, re.MULTILINE)) >= 3


def test_source_archive_can_be_built_and_tested(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "skmoe/py.typed",
    }
    assert needed | MODULES <= names
    assert "tests/conftest.py" in names
    # Neither tables of others, nor what a build or a test leaves behind.
    left = ("benchmarks/data/", "docs/_build/", "docs/api/", "docs/gallery/")
    assert not [n for n in names if n.startswith(left) or "cache" in n]


def test_installed_wheel_works_by_itself(built, tmp_path):
    (path,) = built.glob("*.whl")
    target = tmp_path / "installed"
    with zipfile.ZipFile(path) as wheel:
        wheel.extractall(target)
    code = "import skmoe; print(skmoe.__file__, skmoe.__version__)"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    file, version = done.stdout.split()
    assert Path(file) == target / "skmoe" / "__init__.py"
    assert version == skmoe.__version__


def test_recipe_and_citation_say_what_the_project_says():
    recipe = (ROOT / ".conda" / "meta.yaml").read_text()
    run = recipe.split("run:")[1].split("test:")[0]
    asked = {own.strip("- ").replace(" ", "") for own in run.strip().splitlines()}
    python = f"python{PROJECT['requires-python']}"
    assert asked - {""} == {python, *PROJECT["dependencies"]}
    citation = (ROOT / "CITATION.cff").read_text()
    assert f'version = "{skmoe.__version__}"' in recipe
    assert f"version: {skmoe.__version__}\n" in citation
    home = PROJECT["urls"]["Homepage"]
    assert f"home: {home}\n" in recipe
    assert f"repository-code: {home}\n" in citation


def test_versions_are_those_that_pages_name():
    bounds = dict(own.split(">=") for own in PROJECT["dependencies"])
    page = (ROOT / "docs" / "install.md").read_text()
    for name, bound in bounds.items():
        assert f"| {name} | {bound} |" in page
    readme = (ROOT / "README.md").read_text().replace("\n", " ")
    assert f"scikit-learn {bounds['scikit-learn']} or later" in readme


@pytest.mark.parametrize(
    "path",
    [
        "CODE_OF_CONDUCT.md",
        "SECURITY.md",
        ".pre-commit-config.yaml",
        ".github/ISSUE_TEMPLATE/bug_report.yml",
        ".github/workflows/tests.yml",
        ".ci/oldest",
    ],
)
def test_newcomers_find_what_they_look_for(path):
    assert (ROOT / path).read_text().strip()
