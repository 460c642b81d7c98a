"""Build the site: ``python docs/build.py``, into ``docs/_build/html``.

Runs the examples of the gallery, writes a page for every public name, takes a warning
for an error, and follows all links within the site.  It needs
``pip install -e ".[docs]"`` and no network.
"""

import os
import sys
from pathlib import Path

# Examples are small: threads of trees and of BLAS only get in each other's way. Read
# when libraries are loaded, so it comes first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from links import broken  # noqa: E402
from sphinx.cmd.build import main  # noqa: E402

HERE = Path(__file__).parent


def build(arguments):
    """Zero if all went well; further arguments (``-E``, ``-a``) are Sphinx's."""
    strict = ["-W", "--keep-going", "-b", "html"]
    site = HERE / "_build" / "html"
    status = main([*strict, *arguments, str(HERE), str(site)])
    faults = [] if status else broken(site)
    for fault in faults:
        print(fault)
    return status or int(bool(faults))


if __name__ == "__main__":
    sys.exit(build(sys.argv[1:]))
