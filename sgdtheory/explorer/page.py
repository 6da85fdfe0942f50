"""The explorer's page put together: markup, style and script in one file that loads nothing."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from sgdtheory.explorer.functions import explorer_functions
from sgdtheory.lowering import LoweredFunction

__all__ = ["explorer_page", "generated_script", "write_explorer"]

# Drawn in this order: each part of the script uses those before it.
_PARTS = ("spectra.js", "predictions.js", "plot.js", "panels.js", "controls.js", "main.js")
_HELPER = re.compile(r"^function (\w+)\(", re.MULTILINE)


def explorer_page() -> str:
    """The page as text: one HTML document, with all its style and script inside.

    Its policy allows this style and this script, by their hashes, and no connection at all.

    >>> "default-src 'none'; script-src 'sha256-" in explorer_page()
    True
    """
    style = _part("page.css")
    script = "\n".join([generated_script(), *map(_part, _PARTS)])
    policy = (
        f"default-src 'none'; script-src '{_hashed(script)}'; style-src '{_hashed(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = _part("page.html")
    for place, text in (
        ("@POLICY@", policy),
        ("@VERSION@", version("sgdtheory")),
        ("@STYLE@", style),
        ("@SCRIPT@", script),
    ):
        page = page.replace(place, text)
    return page


def write_explorer(path: str | Path) -> Path:
    """Write the page into a file, which any browser opens; return its path.

    Args:
        path: of the file; its folder must exist.
    """
    target = Path(path)
    target.write_text(explorer_page(), encoding="utf-8")
    return target


def generated_script() -> str:
    """The lowered functions as one script, and ``theory``, which has them by group and name."""
    helpers: dict[str, str] = {}
    exported, groups = [], []
    for group, own in explorer_functions().items():
        for function in own.values():
            *needed, main = _sections(function)
            for text in needed:
                _keep(helpers, text)
            exported.append(main)
        names = ", ".join(f"{name}: {function.name}" for name, function in own.items())
        groups.append(f"    {group}: {{ {names} }},")
    theory = "\n".join(["const theory = {", *groups, "};"])
    return "\n\n".join(['"use strict";', *helpers.values(), *exported, theory]) + "\n"


def _sections(function: LoweredFunction) -> list[str]:
    """The helpers that a function needs, and the function, without what is for modules."""
    *needed, main = function.source.rstrip("\n").split("\n\n")
    return [*needed, main[main.index("export function ") :].removeprefix("export ")]


def _keep(helpers: dict[str, str], text: str) -> None:
    found = _HELPER.search(text)
    if found is None or helpers.setdefault(found[1], text) != text:
        raise ValueError(f"two functions need different helpers of one name:\n{text}")


def _part(name: str) -> str:
    return (files("sgdtheory.explorer") / name).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
