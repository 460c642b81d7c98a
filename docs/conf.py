"""What Sphinx needs to know; ``python docs/build.py`` builds the site."""

import sys
from pathlib import Path

import matplotlib as mpl
from sphinx_gallery.sorting import ExplicitOrder, FileNameSortKey

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference  # noqa: E402
from pictures import checked  # noqa: E402

import skmoe  # noqa: E402

mpl.use("Agg")

project = "skmoe"
author = "The skmoe developers"
copyright = author
release = version = skmoe.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "gallery/**/*.py.md5", "sg_*"]
templates_path = ["_templates"]
html_static_path = ["_static"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
# measurements.md goes from sections to small print; functions stand among the settings
# of the gallery, which no pickle need have.
suppress_warnings = ["myst.header", "config.cache"]

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = "skmoe"
html_show_sourcelink = False
# A summary fetches the page, which browsers refuse where the site lies on disk.
html_show_search_summary = False
html_css_files = ["site.css"]
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages that have no others under them need no list of them.
html_sidebars = {own: [] for own in ("index", "install", "choose", "measurements")}
html_context = {"default_mode": "light"}

GALLERY = "../examples/gallery"
SECTIONS = ["reading", "targets", "routing", "strong", "practice"]

sphinx_gallery_conf = {
    "examples_dirs": GALLERY,
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "subsection_order": ExplicitOrder([f"{GALLERY}/{own}" for own in SECTIONS]),
    "within_subsection_order": FileNameSortKey,
    "backreferences_dir": "api/backreferences",
    "doc_module": ("skmoe",),
    "inspect_global_variables": False,
    "image_scrapers": (checked,),
    "capture_repr": ("_repr_html_", "__repr__"),
    "show_memory": False,
    # Its pages ask servers for scripts.
    "write_computation_times": False,
    "min_reported_time": 1,
    "remove_config_comments": True,
    "download_all_examples": False,
    "plot_gallery": True,
    "only_warn_on_example_error": False,
}


def setup(app):
    """Write the pages of the API before autosummary looks for them."""
    reference.write(HERE / "api")
    # As pages of the gallery find them, which show estimators.
    skmoe._stamp.API_PAGES = "../../api/generated"
    app.connect("autodoc-process-docstring", reference.plain_roles)
