"""The commands of `sgdtheory`, a function each; tyro makes options of their arguments."""

from __future__ import annotations

from collections.abc import Callable

from sgdtheory.commands.advising import advise
from sgdtheory.commands.deriving import derive
from sgdtheory.commands.exploring import explore
from sgdtheory.commands.predicting import predict

__all__ = ["COMMANDS"]

COMMANDS: dict[str, Callable[..., None]] = {
    "advise": advise,
    "derive": derive,
    "explore": explore,
    "predict": predict,
}
