r"""A density of eigenvalues on an interval, with outliers: a spectrum before it has directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sympy import Expr

from sgdtheory import symbols as s
from sgdtheory.arrays import shortened
from sgdtheory.lowering import lower as lowered
from sgdtheory.notebook_display import ShownAsTable
from sgdtheory.number_checks import check_number
from sgdtheory.spectra.density_panels import Panel, effective_end, panels
from sgdtheory.spectra.double_exponential import sampled

__all__ = ["SpectralDensity"]

Array: TypeAlias = NDArray[np.float64]

# To this its integral must be 1.
_UNIT = 1e-8
_FINE = 1e-9
# Moments up to this order are exact on a panel.
_DEGREE = 32


@dataclass(frozen=True, eq=False, repr=False)
class SpectralDensity(ShownAsTable):
    r"""A probability density p(ρ) of eigenvalues, the number of directions, and outliers.

    .. math:: \operatorname{tr} f(H) = d \int_l^u p(\rho) f(\rho)\,d\rho + \sum_a n_a f(\rho_a)

    Args:
        density: p, an expression in `symbols.rho` alone, or a function of an array of eigenvalues.
            Its integral must be 1; `normalised` divides by it. At the ends, and at `breaks`, it may
            have any integrable singularity, between them it must be smooth. Unit: θ²/loss.
        lower: l ≥ 0. Unit: loss/θ².
        upper: u > l; ∞ where all that is asked for has a finite value.
        directions: d > 0, the number of directions in the interval, outliers apart.
        outliers: eigenvalues ρ_a ≥ 0 and their counts n_a > 0, a mapping.
        breaks: eigenvalues at which the density has a jump or a kink.

    Raises:
        ValueError: for a density that is negative somewhere, has another integral, or is not
            smooth.

    >>> uniform = SpectralDensity(s.rho * 0 + 1, 0.0, 1.0, directions=100, outliers={5.0: 2})
    >>> uniform.size, round(uniform.trace, 12)
    (102.0, 60.0)
    """

    density: Expr | Callable[[Array], Array]
    lower: float
    upper: float
    directions: float = 1.0
    outliers: Any = ()
    breaks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._check()
        if not abs(self._mass - 1) <= _UNIT:
            raise ValueError(
                f"density has the integral {self._mass:.9g} from {self.lower:g} to {self.upper:g}: "
                "it must be 1. Use SpectralDensity.normalised(...), or give breaks= if it has "
                "peaks narrower than a hundredth of their place."
            )

    def _check(self) -> None:
        if isinstance(self.density, Expr):
            foreign = self.density.free_symbols - {s.rho}
            if foreign:
                raise ValueError(
                    f"density contains {', '.join(sorted(map(str, foreign)))}: it must be an "
                    "expression in symbols.rho alone. Insert numbers with .subs(...)."
                )
        elif not callable(self.density):
            raise ValueError(  # noqa: TRY004
                f"density = {shortened(self.density)}: give an expression in symbols.rho or a "
                "function of an array."
            )
        check_number("lower", self.lower, at_least=0.0)
        if self.upper != np.inf:
            check_number("upper", self.upper, above=float(self.lower))
        check_number("directions", self.directions, above=0.0)
        pairs = self.outliers.items() if isinstance(self.outliers, Mapping) else self.outliers
        pairs = tuple(sorted((float(rho), float(count)) for rho, count in pairs))
        for rho, count in pairs:
            check_number("outliers: an eigenvalue", rho, at_least=0.0)
            check_number(f"outliers: the count at {rho:g}", count, above=0.0)
        for point in self.breaks:
            check_number("breaks", point, above=float(self.lower), below=float(self.upper))
        object.__setattr__(self, "outliers", pairs)
        object.__setattr__(self, "breaks", tuple(map(float, self.breaks)))
        for name in ("lower", "upper", "directions"):
            object.__setattr__(self, name, float(getattr(self, name)))

    @classmethod
    def normalised(
        cls,
        density: Expr | Callable[[Array], Array],
        lower: float,
        upper: float,
        directions: float = 1.0,
        outliers: Any = (),
        breaks: tuple[float, ...] = (),
    ) -> SpectralDensity:
        """The density divided by its integral.

        Args:
            density: ≥ 0, with a finite integral; the rest as of `SpectralDensity`.
            lower: end of the interval.
            upper: end of the interval.
            directions: in the interval.
            outliers: eigenvalues and counts.
            breaks: where it is not smooth.

        Raises:
            ValueError: as `SpectralDensity`, or where the integral is 0.

        >>> triangle = SpectralDensity.normalised(lambda rho: 1 - rho, 0.0, 1.0)
        >>> round(triangle.moment(1), 12)
        0.333333333333
        """
        shape = _Unnormalised(density, lower, upper, directions, outliers, breaks)
        mass = shape._mass
        if not mass > 0:
            raise ValueError(
                f"density is 0 from {lower:g} to {upper:g}: there is nothing to normalise."
            )
        scaled = density / mass if isinstance(density, Expr) else lambda rho: density(rho) / mass
        return cls(scaled, lower, upper, directions, outliers, breaks)

    def __repr__(self) -> str:
        extra = f" and {len(self.outliers)} outliers" if self.outliers else ""
        return (
            f"<SpectralDensity of {self.directions:g} directions, {self.lower:g} to "
            f"{self.upper:g}{extra}>"
        )

    @property
    def expression(self) -> Expr:
        """p as an expression in `symbols.rho`, between `lower` and `upper`.

        Raises:
            ValueError: where it was given as a function.
        """
        if not isinstance(self.density, Expr):
            raise ValueError(  # noqa: TRY004
                "this density was given as a function, which has no expression. Give an "
                "expression in symbols.rho."
            )
        return self.density

    def with_outliers(self, eigenvalues: Iterable[float], counts: Any = 1.0) -> SpectralDensity:
        """The same density with further eigenvalues beside it.

        Args:
            eigenvalues: ρ_a ≥ 0.
            counts: of each, or one number for all.

        >>> from sgdtheory.spectra.named_densities import marchenko_pastur
        >>> marchenko_pastur(0.5, directions=98).with_outliers([10.0, 20.0]).size
        100.0
        """
        rho = np.atleast_1d(np.asarray(eigenvalues, dtype=np.float64))
        further = zip(rho, np.broadcast_to(counts, rho.shape), strict=True)
        return replace(self, outliers=(*self.outliers, *further))

    # -- values -------------------------------------------------------------------------------

    @cached_property
    def _function(self) -> Callable[[Array], Array]:
        function = self.density
        if isinstance(function, Expr):
            function = lowered(function, (s.rho,))

        def checked(rho: Array) -> Array:
            with np.errstate(all="ignore"):
                values = np.asarray(function(rho), dtype=np.float64)
            bad = ~((values >= 0) & np.isfinite(values)) if values.shape == rho.shape else None
            if bad is None:
                raise ValueError(
                    f"density gives the shape {values.shape} for eigenvalues of shape {rho.shape}: "
                    "it must be a function of an array, element by element."
                )
            if np.any(bad):
                raise ValueError(
                    f"density = {values[bad][0]:g} at ρ = {rho[bad][0]:g}: it must be finite and "
                    f"≥ 0 between {self.lower:g} and {self.upper:g}."
                )
            return values

        return checked

    def __call__(self, eigenvalues: Any) -> Array:
        """p at an array of eigenvalues; 0 outside the interval. Outliers are no part of it."""
        rho = np.asarray(eigenvalues, dtype=np.float64)
        inside = (rho > self.lower) & (rho < self.upper)
        values = np.zeros(rho.shape)
        values[inside] = self._function(rho[inside])
        return values

    # -- sums over directions -----------------------------------------------------------------

    @property
    def size(self) -> float:
        """Directions that it stands for, outliers included."""
        return self.directions + sum(count for _, count in self.outliers)

    def end(self, order: int = 2) -> float:
        """Where the interval has ended: `upper`, or what is beyond does not matter.

        Args:
            order: of the moments to which it must not matter, to rounding.
        """
        if self.upper < np.inf:
            return self.upper
        return effective_end(self._function, self.lower, order)

    def _panels(
        self, end: float, largest: float, degree: Callable[[int], int], tolerance: float
    ) -> list[tuple[int, Panel]]:
        ends = (self.lower, end, self.breaks)
        return [*panels(self._function, *ends, largest, degree, tolerance)]

    def _fine(self, order: int = 2) -> list[Panel]:
        end = self.end(order)
        return [panel for _, panel in self._panels(end, end, lambda _: _DEGREE, _FINE)]

    @cached_property
    def _mass(self) -> float:
        # Sums of densities without bounds are refused as wrong integrals.
        with np.errstate(over="ignore", invalid="ignore"):
            return sum(panel.mass for panel in self._fine())

    def moment(self, order: int) -> float:
        r"""Mean over all directions of ρⁿ, :math:`\operatorname{tr} H^n / d`, outliers included.

        Args:
            order: n, a whole number from 0 to 32.

        Raises:
            ValueError: for another order, or where it is not finite.

        >>> from sgdtheory.spectra.named_densities import marchenko_pastur
        >>> [round(marchenko_pastur(0.5).moment(n), 9) for n in (1, 2, 3)]
        [1.0, 1.5, 2.75]
        """
        check_number("order", order, at_least=0, below=_DEGREE + 1)
        if order != int(order):
            raise ValueError(f"order = {order!r}: give a whole number.")
        bulk = sum(float(part.weights @ part.points**order) for part in self._fine(order))
        atoms = sum(count * rho**order for rho, count in self.outliers)
        return (self.directions * bulk + atoms) / self.size

    @property
    def trace(self) -> float:
        """tr H. Unit: loss/θ²."""
        return self.size * self.moment(1)

    @property
    def largest(self) -> float:
        """The largest eigenvalue there may be, of the interval and the outliers."""
        return max([self.end(), *(rho for rho, _ in self.outliers)])

    def nodes_and_counts(
        self, nodes_of_block: Callable[[int], int], tolerance: float
    ) -> tuple[Array, Array]:
        """Few eigenvalues, with counts > 0, for sums of functions that are polynomials on blocks.

        Args:
            nodes_of_block: n for a block of eigenvalues, by its number: block 0 reaches from
                largest/8 to the largest, and so on; then degrees up to 2n − 1 are integrated.
            tolerance: relative error of such sums.

        Raises:
            ValueError: where the density is too singular for the tolerance.
        """
        found = self._panels(
            self.end(), self.largest, lambda block: 2 * nodes_of_block(block), tolerance
        )
        rules = [panel.gauss(nodes_of_block(block)) for block, panel in found]
        nodes, weights = (np.concatenate(parts) for parts in zip(*rules, strict=True))
        counts = self.directions * weights / weights.sum()
        if self.outliers:
            rho, further = np.array(self.outliers).T
            nodes, counts = np.append(nodes, rho), np.append(counts, further)
        order = np.argsort(nodes)
        kept = order[counts[order] > 0]
        return nodes[kept], counts[kept]

    # -- samples ------------------------------------------------------------------------------

    def sample(self, size: int, rng: np.random.Generator) -> Array:
        """Independent eigenvalues, each of any direction's, outliers included.

        A matrix's own eigenvalues repel one another and scatter less than these.

        Args:
            size: how many.
            rng: the source of randomness.

        Returns:
            Eigenvalues, shape (size,), in no order.

        >>> from sgdtheory.spectra.named_densities import power_law
        >>> power_law(0.5, 1e-6, 1.0).sample(3, np.random.default_rng(0)).shape
        (3,)
        """
        check_number("size", size, at_least=1)
        parts = self._fine()
        shares = [self.directions * panel.mass for panel in parts]
        shares += [count for _, count in self.outliers]
        drawn = rng.multinomial(int(size), np.array(shares) / sum(shares))
        inside = [
            sampled(self._function, panel.lower, panel.upper, count, rng)
            for panel, count in zip(parts, drawn, strict=False)
            if count
        ]
        atoms = np.repeat([rho for rho, _ in self.outliers], drawn[len(parts) :])
        return rng.permutation(np.concatenate([*inside, atoms]))


class _Unnormalised(SpectralDensity):
    """A density whose integral is asked for."""

    def __post_init__(self) -> None:
        self._check()
