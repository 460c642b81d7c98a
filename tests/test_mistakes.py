"""What newcomers get wrong: errors with value, expectation and remedy, on a page."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "when_it_says_no.md"
if not PAGE.exists():
    pytest.skip("not a source tree", allow_module_level=True)

TEXT = PAGE.read_text()
MISTAKE = re.compile(
    r"\*\*(?P<name>[^*]+)\*\*\n\n```pycon\n>>> (?P<code>.+)\n(?P<kind>\w+): "
    r"(?P<message>[^`]*(?:`\w+`[^`]*)*)```(?:\n\n```python\n(?P<remedy>.+)\n```)?"
)
MISTAKES = [own.groupdict() for own in MISTAKE.finditer(TEXT)]
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def names():
    """What the first block of the page defines."""
    found = {}
    setup = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL).group(1)
    exec(compile(setup, str(PAGE), "exec"), found)
    return found


def test_page_has_mistakes_enough():
    assert len(MISTAKES) >= 15
    assert len(MISTAKES) == TEXT.count("```pycon")


@pytest.mark.parametrize("own", MISTAKES, ids=[own["name"] for own in MISTAKES])
def test_mistake_is_answered_in_the_words_of_the_page(own, names):
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        exec(own["code"], dict(names))
    assert type(caught.value).__name__ == own["kind"]
    # Older versions of pandas tell where a series is made.
    said = str(caught.value).replace("pandas.core.series", "pandas")
    assert said.split() == own["message"].split()


@pytest.mark.parametrize(
    "remedy", [own["remedy"] for own in MISTAKES if own["remedy"] is not None]
)
def test_remedy_of_the_page_works(remedy, names):
    exec(remedy, dict(names))
