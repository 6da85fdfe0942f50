"""Is what is released what was tested: the wheel, alone, with the oldest and the newest versions.

    python -m validation.release

Builds wheel and sdist, and for either end of the supported versions makes an environment of its
own. There the wheel is installed with its core dependencies alone, must import within 1.3 times the
time of SymPy and answer; then with all extras but those of PyTorch, which are gigabytes, and the
examples of its docstrings must come out. The oldest versions are the bounds in pyproject.toml, the
newest the pins in constraints.txt.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["EXTRAS", "Environment", "newest", "oldest", "released"]

EXTRAS = ("numba", "plot", "cli", "fits", "sweeps", "testing")
_ROOT = Path(__file__).parents[1]
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)\s*>=\s*(?P<version>[0-9.]+)")
_SLOWER, _TURNS = 1.3, 9
# Of the core alone: a derivation, a prediction, and that nothing else was needed.
_ANSWERS = """
import sys, sgdtheory as sgd
assert sgd.modified_equation(sgd.heavy_ball()).friction == 1 - sgd.symbols.beta
model = sgd.Predictor(sgd.Hyperparameters(0.1, 0.9, 8), sgd.Spectrum([1.0, 0.1]))
# One step of heavy ball is eta v: eta^2 of Var v = noise/(S(1 - beta^2)) to leading order.
assert abs(model.local_displacement() / (0.01 * 1.1 / 8 / 0.19) - 1) < 0.1
assert not {"torch", "numba", "matplotlib"} & set(sys.modules)
print(sgd.__version__)
"""
_IMPORT = "import time; a = time.perf_counter(); import {}; print(time.perf_counter() - a)"


def _declared(extras: Sequence[str]) -> list[str]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras for line in optional[extra])]


def oldest(extras: Sequence[str] = EXTRAS) -> dict[str, str]:
    """Lower bounds of the core's dependencies and of these extras', by name.

    Args:
        extras: of pyproject.toml.
    """
    found = filter(None, map(_REQUIREMENT.match, _declared(extras)))
    return {match["name"].lower(): match["version"] for match in found}


def newest() -> dict[str, str]:
    """The pins that everything else is tested with, by name."""
    lines = (_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("#")[0].strip().split("==") for line in lines)
    return {pair[0].lower(): pair[1] for pair in pairs if len(pair) == 2}


@dataclass(frozen=True)
class Environment:
    """A virtual environment in which versions are given.

    Args:
        folder: where it is made.
        pins: versions by name.
    """

    folder: Path
    pins: Mapping[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def make(self, *, with_pip: bool = True) -> None:
        """Empty but for pip.

        Args:
            with_pip: which takes a while, and without which nothing can be installed.
        """
        venv.create(self.folder, with_pip=with_pip)

    def install(self, *what: str) -> None:
        """By pip, with the pins.

        Args:
            what: requirements.
        """
        pins = self.folder / "pins.txt"
        lines = [f"{name}=={version}" for name, version in self.pins.items()]
        pins.write_text("\n".join(lines), encoding="utf-8")
        quiet = ("--quiet", "--disable-pip-version-check")
        self.run("-m", "pip", "install", *quiet, "--constraint", str(pins), *what)

    def run(self, *arguments: str) -> str:
        """What the interpreter prints, outside the checkout.

        Args:
            arguments: of the command.

        Raises:
            RuntimeError: with the end of what was printed, where it fails.
        """
        command = [str(self.python), *arguments]
        done = subprocess.run(  # noqa: S603
            command, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            told = "\n".join([*done.stdout.splitlines()[-15:], *done.stderr.splitlines()[-15:]])
            raise RuntimeError(f"{' '.join(command)} failed:\n{told}")
        return done.stdout

    def import_ratio(self) -> float:
        """Seconds to import the package over those of SymPy: medians of turns taken in pairs."""
        seconds: dict[str, list[float]] = {"sympy": [], "sgdtheory": []}
        for _ in range(_TURNS):
            for name, taken in seconds.items():
                taken.append(float(self.run("-c", _IMPORT.format(name))))
        return statistics.median(seconds["sgdtheory"]) / statistics.median(seconds["sympy"])


def released(wheel: Path, pins: Mapping[str, str], folder: Path) -> str:
    """A line about the wheel in an environment of its own.

    Args:
        wheel: its file.
        pins: versions by name.
        folder: for the environment.

    Raises:
        RuntimeError: for whatever fails.
    """
    environment = Environment(folder, pins)
    environment.make()
    environment.install(str(wheel))
    version = environment.run("-c", _ANSWERS).strip()
    ratio = environment.import_ratio()
    if ratio > _SLOWER:
        raise RuntimeError(f"import sgdtheory takes {ratio:.2f} times as long as import sympy.")
    environment.install(f"{wheel}[{','.join(EXTRAS)}]", "pytest")
    examples = ("--doctest-modules", "--doctest-ignore-import-errors", "--pyargs", "sgdtheory")
    # What needs PyTorch is left out; warnings of old versions about others are not ours.
    spared = ("-k", "not sensitivities", "-W", "default")
    words = ("-o", "doctest_optionflags=NORMALIZE_WHITESPACE")
    told = (
        environment.run("-m", "pytest", "-q", *examples, *spared, *words).strip().splitlines()[-1]
    )
    core = ", ".join(f"{name} {pins[name]}" for name in ("sympy", "numpy", "scipy"))
    return f"{version} with {core}: imports in {ratio:.2f} of SymPy's time; examples: {told}"


def main() -> None:
    """Both ends of the supported versions; the exit status says whether all is well."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", name, str(_ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        (wheel,) = folder.glob("*.whl")
        for end, pins in (("oldest", oldest()), ("newest", newest())):
            print(f"{end}: {released(wheel, pins, folder / end)}", flush=True)


if __name__ == "__main__":
    main()
