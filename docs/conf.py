"""Sphinx configuration: pages are executed, warnings are errors."""

from importlib.metadata import version as _version
from pathlib import Path as _Path

project = "sgdtheory"
author = "The sgdtheory developers"
version = release = _version("sgdtheory")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
html_theme = "furo"
html_title = "sgdtheory"
exclude_patterns = ["_build", "jupyter_execute"]

myst_enable_extensions = ["dollarmath", "amsmath"]
nb_render_markdown_format = "myst"
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_mime_priority_overrides = [("html", "text/latex", 15)]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False
nitpicky = False


def _add_explorer(app, error):
    """The page is made anew, so that it is that of this version."""
    if error is None and app.builder.format == "html":
        from sgdtheory.explorer import write_explorer

        write_explorer(_Path(app.outdir) / "_static" / "explorer.html")


def setup(app):
    app.connect("build-finished", _add_explorer)
