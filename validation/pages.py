"""Self-contained pages: a folder's report.html filled in, and pictures in it as text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

__all__ = ["drawn", "filled", "kept"]


def filled(folder: Path, **values: Any) -> str:
    """report.html of a folder, which extends page.html of this one."""
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(**values)


def kept(figure: Figure, path: Path) -> str:
    """A picture as a PNG file, and in base64."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path.write_bytes(buffer.getvalue())
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def drawn(
    names: Iterable[str], picture: Callable[[str], Figure | None], folder: Path
) -> dict[str, str]:
    """Every picture that there is, kept in a folder."""
    made = ((name, picture(name)) for name in names)
    return {
        name: kept(figure, folder / f"{name}.png") for name, figure in made if figure is not None
    }
