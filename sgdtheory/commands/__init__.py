"""The commands of `sgdtheory`, a function each; tyro makes options of their arguments."""

from __future__ import annotations

from collections.abc import Callable

from sgdtheory.commands.advising import advise

__all__ = ["COMMANDS"]

COMMANDS: dict[str, Callable[..., None]] = {"advise": advise}
