"""What is declared as oldest and newest fits together; a wheel that does not work is no success."""

import pytest
from packaging.version import Version

from validation.release import EXTRAS, Environment, newest, oldest


def test_pins_are_not_older_than_the_bounds():
    bounds, pins = oldest(EXTRAS), newest()
    assert {"sympy", "numpy", "scipy", "numba", "tyro", "matplotlib"} <= set(bounds)
    late = {name: (bound, pins.get(name)) for name, bound in bounds.items()}
    assert all(pin and Version(bound) <= Version(pin) for bound, pin in late.values()), late


def test_what_fails_in_an_environment_is_told(tmp_path):
    """With the end of what was printed; an environment without pip is made in a moment."""
    environment = Environment(tmp_path / "clean", {"numpy": "2.0"})
    environment.make(with_pip=False)
    assert environment.run("-c", "print(6 * 7)") == "42\n"
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*ModuleNotFoundError.*sympy"):
        environment.run("-c", "import sympy")
