"""From nothing to a first result: a process that imports, lowers and calls.

Cold, with an empty cache folder, and warm, with what an earlier process left there. The caches are
in a temporary folder, those of Numba and torch too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from validation.benchmarks.table import Row, Target
from validation.benchmarks.timing import Spread, timed

__all__ = ["PROGRAMS", "measure"]

PART = "start"
SOON = Target(0.5)
_IMPORTS = """
import json, time
begin = time.perf_counter()
import sympy
between = time.perf_counter()
import sgdtheory as sgd
imported = time.perf_counter()
s = sgd.symbols
"""
_LOWER = """
langevin = sgd.modified_equation(sgd.heavy_ball())
motion = sgd.ornstein_uhlenbeck(langevin, noise=s.Sigma, curvature=s.h).displacement(s.t)
arguments = s.t, s.h, s.Sigma, s.eta, s.beta, s.S
sgd.lower(motion, arguments, "numba")([1.0, 10.0], 0.5, 0.5, 0.1, 0.9, 8.0)
"""
_PREDICT = """
model = sgd.Predictor(sgd.Hyperparameters(0.1, 0.9, 8), sgd.Spectrum([1.0, 0.1]))
model.displacement([1, 10, 100])
"""
_REPORT = """
end = time.perf_counter()
parts = between - begin, imported - between, end - imported
print(json.dumps(parts))
"""
PROGRAMS = {"lower for Numba and call": _LOWER, "Predictor.displacement": _PREDICT}
_STAGES = ("the interpreter", "import sympy", "import sgdtheory", "the result")


def _run(program: str, folder: Path) -> tuple[float, ...]:
    """Seconds of the whole process, of the interpreter alone, and of the stages."""
    caches = ("SGDTHEORY_CACHE_DIR", "NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
    environment = os.environ | {name: str(folder) for name in caches}
    command = [sys.executable, "-c", _IMPORTS + program + _REPORT]

    def run() -> str:
        return subprocess.run(  # noqa: S603
            command, stdout=subprocess.PIPE, text=True, check=True, env=environment
        ).stdout

    whole, printed = timed(run)
    stages = json.loads(printed)
    return whole, whole - sum(stages), *stages


def measure(turns: int = 9) -> list[Row]:
    """Rows of the table.

    Args:
        turns: how many warm processes there are, after a cold one.
    """
    rows = []
    for name, program in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as folder:
            cold = _run(program, Path(folder))
            warm = np.array([_run(program, Path(folder)) for _ in range(turns)])
        rows += [
            Row(PART, f"{name}: cold", cold[0], "s"),
            Row(PART, f"{name}: warm", Spread.of(warm[:, 0]).median, "s", target=SOON),
        ]
        stages = zip(_STAGES, warm[:, 1:].T, strict=True)
        rows += [
            Row(PART, f"{name}: warm, of which {stage}", Spread.of(seconds).median, "s")
            for stage, seconds in stages
        ]
    return rows
