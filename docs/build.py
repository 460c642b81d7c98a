"""Build the site: ``python docs/build.py``, into ``docs/_build/html``.

Runs the examples of the gallery, writes a page for every public name, and takes a
warning for an error.  It needs ``pip install -e ".[docs]"`` and no network.
"""

import os
import sys
from pathlib import Path

# Examples are small: threads of trees and of BLAS only get in each other's way. Read
# when libraries are loaded, so it comes first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from sphinx.cmd.build import main  # noqa: E402

HERE = Path(__file__).parent


def build(arguments):
    """Status of Sphinx; further arguments (``-E``, ``-a``) are Sphinx's."""
    strict = ["-W", "--keep-going", "-b", "html"]
    return main([*strict, *arguments, str(HERE), str(HERE / "_build" / "html")])


if __name__ == "__main__":
    sys.exit(build(sys.argv[1:]))
