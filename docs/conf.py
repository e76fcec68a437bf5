"""Settings of the documentation: `python -m sphinx -W -q -b html docs docs/_build/html`, which needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

import sparring

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "sparring"
author = "The sparring developers"
copyright = author  # Sphinx's own name for it
release = version = sparring.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "tables"]
exclude_patterns = ["_build"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "any_name"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False

smartquotes = False  # a flag keeps its two hyphens

html_theme = "furo"
html_title = f"sparring {release}"
html_static_path = ["_static"]
html_copy_source = False
html_show_sphinx = False
