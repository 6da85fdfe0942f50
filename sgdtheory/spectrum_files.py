"""Spectra from files: what the arrays in them mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sgdtheory.array_files import read_arrays
from sgdtheory.calibration import Calibration
from sgdtheory.spectrum import Spectrum

__all__ = ["read_spectrum"]

_NAMES = (
    "eigenvalues",
    "ritz_values",
    "counts",
    "weights",
    "dimension",
    "noise_variances",
    "noise_scale",
)


def read_spectrum(
    path: str | Path,
    noise_scale: float | None = None,
    *,
    negative: str = "refuse",
    drift_noise_scale: float = 0.0,
) -> Spectrum:
    r"""The spectrum in a file, by the format that its name ends in.

    * ``.npz``, ``.safetensors``, ``.json``: arrays by name. ``eigenvalues``, with ``counts``,
      ``noise_variances`` and ``noise_scale`` where there are any; or what stochastic Lanczos
      quadrature gives, ``ritz_values`` (probes, steps), ``weights`` and ``dimension``.
      A file of `Calibration.save` is one, too.
    * ``.csv``: the same names, one dimension each, in the first line; every other line is a
      direction.
    * ``.npy``, and ``.csv`` or ``.json`` without names: eigenvalues alone.

    Args:
        path: of the file; at most 1 GiB.
        noise_scale: σ², where the file says nothing of the noise. Unit: loss.
        negative: what becomes of negative eigenvalues, as of `Spectrum.from_hessian_eigenvalues`:
            "refuse" them, "drop", "clamp" or "drift".
        drift_noise_scale: of drifting directions, likewise.

    Raises:
        OSError: for a file that cannot be opened.
        ValueError: for another format, a damaged file, or numbers that are no spectrum; it names
            the file.
        ImportError: for ``.safetensors`` where that library is not installed.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "spectrum.csv"
    >>> path.write_text("eigenvalues,counts\n2.0,1\n0.5,10\n")
    32
    >>> spectrum = read_spectrum(path, noise_scale=0.1)
    >>> spectrum.size, spectrum.variances
    (11.0, array([0.2 , 0.05]))
    >>> folder.cleanup()
    """
    path = Path(path)
    calibrated = {field.name for field in fields(Calibration)}
    arrays = read_arrays(path, _NAMES, nameless="eigenvalues", others=calibrated)
    try:
        return _spectrum(arrays, noise_scale, negative, drift_noise_scale)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _spectrum(
    arrays: Mapping[str, Any], noise_scale: float | None, negative: str, drift_noise_scale: float
) -> Spectrum:
    values = [name for name in ("eigenvalues", "ritz_values") if name in arrays]
    if len(values) != 1:
        raise ValueError(
            f"it has the names {sorted(arrays)}: exactly one of eigenvalues and ritz_values must "
            "be among them."
        )
    (eigenvalues,) = values
    noise: dict[str, Any] = {
        "noise_scale": _one("noise_scale", arrays),
        "noise_variances": arrays.get("noise_variances"),
    }
    if noise_scale is not None:
        told = [name for name, value in noise.items() if value is not None]
        if told:
            raise ValueError(
                f"noise_scale = {noise_scale:g} was given, and the file has its own {told[0]}. "
                "Leave the one or the other out."
            )
        noise["noise_scale"] = noise_scale
    handling: dict[str, Any] = {"negative": negative, "drift_noise_scale": drift_noise_scale}
    if "dimension" in arrays:
        _require_only(arrays, eigenvalues, "weights", "dimension", "noise_scale")
        return Spectrum.from_lanczos(
            arrays[eigenvalues],
            arrays["weights"],
            _one("dimension", arrays) or 0.0,
            noise_scale=noise["noise_scale"],
            **handling,
        )
    return Spectrum.from_hessian_eigenvalues(
        arrays[eigenvalues], counts=_counts(arrays), **noise, **handling
    )


def _counts(arrays: Mapping[str, Any]) -> Any:
    if "weights" not in arrays:
        return arrays.get("counts")
    if "counts" in arrays:
        raise ValueError("it has both counts and weights. Leave the one or the other out.")
    weights = arrays["weights"]
    if weights.sum() < 1.5:
        raise ValueError(
            f"weights add up to {weights.sum():g}: shares of the directions need dimension, the "
            "number of parameters. Add it, or give counts."
        )
    return weights


def _require_only(arrays: Mapping[str, Any], *names: str) -> None:
    missing = [name for name in names[:-1] if name not in arrays]
    further = [name for name in arrays if name not in names]
    if missing or further:
        raise ValueError(
            f"dimension belongs to Lanczos quadrature, whose names are {', '.join(names)}; "
            f"missing: {', '.join(missing) or 'none'}, not among them: "
            f"{', '.join(further) or 'none'}."
        )


def _one(name: str, arrays: Mapping[str, Any]) -> float | None:
    """A number, or an array that repeats it, as a column does."""
    if name not in arrays:
        return None
    different = np.unique(arrays[name])
    if len(different) != 1:
        raise ValueError(f"{name} has {len(different)} different values: it must be one number.")
    return float(different[0])
