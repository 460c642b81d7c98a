"""The code in README and user guide runs, block after block."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md"] + [
    f"docs/{name}.md"
    for name in ("install", "user_guide", "inference", "own_parts", "cluster")
]
# Its links, or some of them, lead to pages that the build of the site writes.
OF_THE_SITE = ["docs/index.md"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("page", [*PAGES, *OF_THE_SITE])
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
    others = ["architecture", "choose", "glossary", "measurements"]
    for page in [*PAGES, *(f"docs/{name}.md" for name in others)]:
        path = ROOT / page
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{page}: {target}"
