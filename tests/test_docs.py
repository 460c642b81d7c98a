"""The code in README and user guide runs, block after block."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/user_guide.md", "docs/own_parts.md", "docs/cluster.md"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("page", PAGES)
def test_code_of_page_runs(page):
    text = (ROOT / page).read_text()
    if "import dask" in text:
        pytest.importorskip("distributed")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_links_lead_somewhere():
    for page in [*PAGES, "docs/architecture.md", "docs/measurements.md"]:
        path = ROOT / page
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{page}: {target}"
