"""How many small mistakes in the theory's chapters the tests would find: a mutation score.

    pip install cosmic-ray
    python -m validation.mutation --mutants 200

Mutants are drawn at random from all that Cosmic Ray makes of the chapters, but for operators that
nobody confuses with the right one (shifts, bits, remainders) and decorators that only remember. One
is killed where a test fails or the tests take four times as long as they do. Each is tried in a
copy of the checkout; results are appended to a file, and a stopped command goes on with it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

__all__ = ["CHAPTERS", "Mutant", "drawn", "score"]

_EPOCHS = ("epochs", "sampling", "discrete_time")
_PROCESSES = ("diffusion", "probability_flow", "discrete_time")
# Chapters that derive, and the tests to begin with.
CHAPTERS: Mapping[str, Sequence[str]] = {
    "agreement": ("agreement",),
    "backward_error_analysis": ("backward_error_analysis",),
    "diffusion": ("diffusion",),
    "discrete_time": ("discrete_time",),
    "displacement": ("displacement_parts", "predictor"),
    "entropy_production": ("probability_flow",),
    "epoch_recursion": _EPOCHS,
    "flat_direction": ("anomalous_diffusion",),
    "fluctuation_dissipation": ("fluctuation_dissipation",),
    "gaussian_process": _PROCESSES,
    "langevin": ("modified_equations", "diffusion"),
    "linear_recursion": ("discrete_time",),
    "modified_equations": ("modified_equations",),
    "noise": ("sampling", "diffusion"),
    "order_reduction": ("modified_equations",),
    "ornstein_uhlenbeck_process": _PROCESSES,
    "probability_flow": ("probability_flow",),
    "repeated_epochs": _EPOCHS,
    "reshuffled_epochs": _EPOCHS,
    "sampling": ("sampling",),
    "stability": ("discrete_time",),
    "stroboscopic": _EPOCHS,
    "successive_increments": ("successive_increments",),
    "time_scales": ("predictor",),
    "update_rule": ("update_rule",),
    "van_loan": ("probability_flow", "diffusion"),
}
# Of the others those that follow; the slowest are left out, so that the score is a lower bound.
_OTHERS = (
    "laws",
    "update_rule",
    "discrete_time",
    "fluctuation_dissipation",
    "backward_error_analysis",
    "agreement",
    "successive_increments",
    "modified_equations",
    "derivation",
    "anomalous_diffusion",
    "displacement_parts",
    "diffusion",
    "probability_flow",
    "predictor",
)
_UNLIKELY = ("Shift", "Bit", "_Mod", "FloorDiv", "RemoveDecorator", "Invert")
_SECONDS = 600


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    Args:
        chapter: of the theory.
        operator: of Cosmic Ray.
        occurrence: where in the chapter.
        line: of the source.
    """

    chapter: str
    operator: str
    occurrence: int
    line: int


def drawn(copy: Path, count: int, seed: int) -> list[Mutant]:
    """So many mutants of all chapters, each as likely as another."""
    config = copy / "mutation.toml"
    paths = json.dumps([f"sgdtheory/{chapter}.py" for chapter in CHAPTERS])
    config.write_text(
        f"[cosmic-ray]\nmodule-path = {paths}\ntimeout = 1.0\nexcluded-modules = []\n"
        'test-command = "true"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    _run(copy, "cosmic-ray", "init", config.name, "mutation.sqlite", "--force")
    with sqlite3.connect(copy / "mutation.sqlite") as made:
        rows = made.execute(
            "SELECT module_path, operator_name, occurrence, start_pos_row "
            "FROM mutation_specs ORDER BY 1, 2, 3"
        ).fetchall()
    likely = [
        Mutant(Path(path).stem, operator, occurrence, line)
        for path, operator, occurrence, line in rows
        if not any(part in operator for part in _UNLIKELY)
    ]
    order = np.random.default_rng(seed).permutation(len(likely))
    return [likely[place] for place in order[:count]]


def tried(copy: Path, mutant: Mutant) -> dict[str, object]:
    """Whether the tests find it, and which did."""
    path = copy / "sgdtheory" / f"{mutant.chapter}.py"
    right = path.read_text(encoding="utf-8")
    try:
        _run(
            copy,
            "cosmic-ray",
            "apply",
            f"sgdtheory/{mutant.chapter}.py",
            mutant.operator,
            str(mutant.occurrence),
        )
        wrong = path.read_text(encoding="utf-8")
        names = dict.fromkeys((*CHAPTERS[mutant.chapter], *_OTHERS))
        tests = [f"tests/test_{name}.py" for name in names]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter on our own tests
                [*command, "--doctest-modules", f"sgdtheory/{mutant.chapter}.py", *tests],
                cwd=copy,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            last = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
            killed, by = done.returncode != 0, last[0][:160] if last else f"rc {done.returncode}"
        except subprocess.TimeoutExpired:
            killed, by = True, "time"
    finally:
        path.write_text(right, encoding="utf-8")
    pairs = zip(right.splitlines(), wrong.splitlines(), strict=False)
    changed = next(([one.strip() for one in pair] for pair in pairs if pair[0] != pair[1]), [])
    return {**asdict(mutant), "killed": killed, "by": by if killed else "", "changed": changed}


def score(results: Sequence[Mapping[str, object]]) -> tuple[float, float]:
    """The share that was killed, and its standard error (Agresti and Coull's, never 0)."""
    count, killed = len(results), sum(bool(one["killed"]) for one in results)
    middle = (killed + 2) / (count + 4)
    return killed / max(count, 1), (middle * (1 - middle) / (count + 4)) ** 0.5


def _run(folder: Path, program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise SystemExit(f"{program} is not installed. Run pip install {program}.")
    subprocess.run([found, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S603


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--copy", type=Path, default=Path("runs/mutation"))
    parser.add_argument("--share", default="1/1", help="2/3: the second of three who share")
    asked = parser.parse_args(arguments)
    copy = asked.copy.resolve()
    apart = shutil.ignore_patterns(".venv", "runs", "reports", ".git", "_build")
    # Again if it exists: a command that was killed has left its mutant there.
    shutil.copytree(Path.cwd(), copy, ignore=apart, dirs_exist_ok=True)
    part, of = map(int, asked.share.split("/"))
    mutants = drawn(copy, asked.mutants, asked.seed)[part - 1 :: of]
    file = copy / "results.jsonl"
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    for mutant in tqdm(mutants[len(done) :], unit="mutant"):
        done.append(tried(copy, mutant))
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(done[-1], ensure_ascii=False) + "\n")
    killed, error = score(done)
    for one in done:
        if not one["killed"]:
            print(f"survived: {one['chapter']}:{one['line']} {' → '.join(one['changed'])}")
    print(f"{len(done)} mutants, {killed:.1%} ± {error:.1%} killed")


if __name__ == "__main__":
    main()
