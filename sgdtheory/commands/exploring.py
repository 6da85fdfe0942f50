"""`sgdtheory explore`: the theory as a page to play with."""

from __future__ import annotations

from pathlib import Path

import sgdtheory as sgd

__all__ = ["explore"]


def explore(output: Path = Path("explorer.html")) -> None:
    """Write a page on which to play with the theory: one file, for any browser, without network.

    Example: sgdtheory explore --output explorer.html

    Args:
        output: file to write.
    """
    print(sgd.write_explorer(output))
