"""Run every law on a theory, and say in words which one fails, and on which smallest example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded

from sgdtheory.hyperparameters import Hyperparameters
from sgdtheory.spectrum import Spectrum
from sgdtheory.testing.by_hand import laws_of
from sgdtheory.testing.laws import LAWS, BrokenLawError, Law, Theory
from sgdtheory.testing.run import Run
from sgdtheory.testing.strategies import Limit, heavy_ball_limit, runs
from sgdtheory.update_rule import UpdateRule, heavy_ball, require_rule

__all__ = ["Finding", "Report", "check"]

_PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


@dataclass(frozen=True)
class Finding:
    """What became of one law.

    Args:
        law: the law.
        broken: what was found, in words; empty where it holds or was not tried.
        example: the smallest run that breaks it.
        missing: methods that the theory lacks, for which it was not tried.
    """

    law: Law
    broken: str = ""
    example: Run | None = None
    missing: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it was tried and not broken."""
        return not self.broken and not self.missing

    def __str__(self) -> str:
        if self.missing:
            return f"not tried  {self.law.name}: the theory has no {', '.join(self.missing)}"
        if not self.broken:
            return f"holds      {self.law.name}"
        return (
            f"BROKEN     {self.law.name}\n"
            f"  law      {self.law.statement}\n"
            f"  found    {self.broken}\n"
            f"  for      {self.example}"
        )


@dataclass(frozen=True)
class Report:
    """Every law, in order. As text it is a list that says what fails and why.

    Args:
        findings: one for each law.
    """

    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Those that fail."""
        return tuple(finding for finding in self.findings if finding.broken)

    @property
    def holds(self) -> bool:
        """Whether no law is broken; some may not have been tried."""
        return not self.broken

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


def check(
    theory: Theory,
    rule: UpdateRule | None = None,
    *,
    exact: bool = True,
    limit: Limit = heavy_ball_limit,
    laws: Sequence[Law] | None = None,
    examples: int = 60,
    seed: int = 0,
) -> Report:
    """Which laws of SGD dynamics a theory breaks, and on which smallest example.

    Args:
        theory: a function of `Hyperparameters` and `Spectrum`, or a class, whose result answers to
            `Predictor`'s verbs: `mean`, `covariance`, `stationary_covariance`, `autocovariance`,
            `displacement`. Laws about verbs that it lacks are not tried, and reported so.
        rule: the optimiser that it claims to describe; heavy ball by default.
        exact: whether it claims so at every learning rate, or as η → 0 alone.
        limit: the largest stable ηh of a momentum.
        laws: some, of `LAWS` or your own; all by default.
        examples: tried for each law.
        seed: of the examples; the same seed tries the same ones.

    Raises:
        TypeError: for what is no theory or no rule.
        ValueError: for fewer than one example.

    >>> import sgdtheory as sgd
    >>> from sgdtheory.testing import check
    >>> bool(check(sgd.Predictor, examples=5))
    True
    >>> class Forgetful:
    ...     def __init__(self, hyperparameters, spectrum):
    ...         self.right = sgd.Predictor(hyperparameters, spectrum)
    ...         self.factor = hyperparameters.batch_size
    ...     def covariance(self, steps):
    ...         return self.factor * self.right.covariance(steps)
    >>> [finding.law.name for finding in check(Forgetful, examples=20).broken]
    ['noise scales covariances']
    """
    if not callable(theory):
        raise TypeError(
            f"theory = {theory!r}: give a function of (hyperparameters, spectrum), or a class."
        )
    rule = heavy_ball() if rule is None else rule
    require_rule(rule)
    if examples < 1:
        raise ValueError(f"examples = {examples}: give at least one.")
    chosen = tuple(LAWS) + laws_of(rule) if laws is None else tuple(laws)
    probe = theory(Hyperparameters(0.5, 0.5), Spectrum([1.0], noise_variances=[1.0]))
    return Report(
        tuple(
            _finding(one, theory, probe, limit, examples, seed)
            for one in chosen
            if exact or not one.exact
        )
    )


def _finding(
    one: Law, theory: Theory, probe: Any, limit: Limit, examples: int, seed: int
) -> Finding:
    missing = tuple(name for name in one.needs if not callable(getattr(probe, name, None)))
    if missing:
        return Finding(one, missing=missing)
    last: list[tuple[Run, str]] = []

    def tried(run: Run) -> None:
        try:
            _held(one, theory, run)
        except BrokenLawError as broken:
            last[:] = [(run, str(broken))]
            raise

    try:
        _searched(tried, limit, examples, seed)()
    except BrokenLawError:
        # Hypothesis ends with the smallest example that it has found.
        run, told = last[0]
        return Finding(one, broken=told, example=run)
    return Finding(one)


def _held(one: Law, theory: Theory, run: Run) -> None:
    """An error of the theory breaks the law as a wrong number does: the run is a stable one."""
    try:
        one.holds(theory, run)
    except BrokenLawError:
        raise
    except Exception as error:
        raise BrokenLawError(f"it raised {type(error).__name__}: {error}") from error


def _searched(
    tried: Callable[[Run], None], limit: Limit, examples: int, seed: int
) -> Callable[[], None]:
    search = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=_PHASES,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        verbosity=Verbosity.quiet,
    )
    searched: Callable[[], None] = seeded(seed)(search(given(runs(limit))(tried)))
    return searched
