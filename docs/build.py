"""Build the site: ``python docs/build.py``, into ``docs/_build/html``.

Runs the examples of the gallery, writes a page for every public name, and takes a
warning for an error.  It needs ``pip install -e ".[docs]"`` and no network.
"""

import sys
from pathlib import Path

from sphinx.cmd.build import main

HERE = Path(__file__).parent


def build(arguments):
    """Status of Sphinx; further arguments (``-E``, ``-a``) are Sphinx's."""
    strict = ["-W", "--keep-going", "-b", "html"]
    return main([*strict, *arguments, str(HERE), str(HERE / "_build" / "html")])


if __name__ == "__main__":
    sys.exit(build(sys.argv[1:]))
