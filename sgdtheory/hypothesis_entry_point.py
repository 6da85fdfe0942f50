"""What Hypothesis calls when it is imported: `st.from_type` and @given know the types of runs.

Strategies are loaded when the first is drawn; the types are those of the core alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["register"]


def register() -> None:
    """Make `hypothesis.strategies.from_type` draw valid settings, spectra, landscapes and rules."""
    from hypothesis import strategies as st

    from sgdtheory.hyperparameters import Hyperparameters
    from sgdtheory.landscape import Landscape
    from sgdtheory.spectrum import Spectrum
    from sgdtheory.update_rule import UpdateRule

    def drawn(name: str) -> Any:
        return lambda _: getattr(import_module("sgdtheory.testing"), name)()

    st.register_type_strategy(Hyperparameters, drawn("hyperparameters"))
    st.register_type_strategy(Spectrum, drawn("spectra"))
    st.register_type_strategy(Landscape, drawn("landscapes"))
    st.register_type_strategy(UpdateRule, drawn("update_rules"))
