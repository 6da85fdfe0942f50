"""The explorer: one page on which to play with the theory, by JavaScript that it lowers itself."""

from __future__ import annotations

from sgdtheory.explorer.page import explorer_page, write_explorer

__all__ = ["explorer_page", "write_explorer"]
