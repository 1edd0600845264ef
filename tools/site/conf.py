"""Settings of the pages that ``make site`` builds; everything they show is made by build_site.py beside this folder."""

from __future__ import annotations

project = "imu_lab"
author = "imu_lab contributors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "returned"]
html_theme = "furo"
html_title = "imu_lab"
html_show_sphinx = False
html_show_copyright = False  # the license says it
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
exclude_patterns = ["_build"]

nb_execution_mode = "off"  # the stored outputs are shown; `make notebooks` makes them
nb_mime_priority_overrides = [
    ("html", "image/png", 0),  # a figure's picture: its data would need a copy of plotly on every page
    ("html", "text/markdown", 1),
    ("html", "text/html", 2),
]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]  # plotly's data, which stand beside the picture

autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
