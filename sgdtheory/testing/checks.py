"""Run every law on a theory, and say in words which one fails, and on which smallest example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

from sgdtheory import symbols as s
from sgdtheory.gaussian_process import UnstableError
from sgdtheory.testing.law import BrokenLawError, Law, NotFiniteError, Theory, plainest
from sgdtheory.testing.laws_of_back_ends import LAWS_OF_BACK_ENDS
from sgdtheory.testing.laws_of_flows import LAWS_OF_FLOWS, Flow, LinearProcess
from sgdtheory.testing.laws_of_landscapes import LAWS_OF_LANDSCAPES
from sgdtheory.testing.laws_of_motion import LAWS_OF_MOTION
from sgdtheory.testing.laws_of_rules import laws_of
from sgdtheory.testing.laws_of_scale import LAWS_OF_SCALE
from sgdtheory.testing.shapes import require_shapes
from sgdtheory.testing.stable_limit import Limit, limit_of
from sgdtheory.testing.strategies import linear_processes, runs
from sgdtheory.update_rule import UpdateRule, heavy_ball, require_rule

__all__ = ["LAWS", "Finding", "Report", "check", "check_flow"]

LAWS: tuple[Law, ...] = (
    *LAWS_OF_MOTION,
    *LAWS_OF_SCALE,
    *LAWS_OF_LANDSCAPES,
    *LAWS_OF_BACK_ENDS,
)
"""Of every theory; those that `check` adds know its update rule."""

_PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


@dataclass(frozen=True)
class Finding:
    """What became of one law.

    Args:
        law: the law.
        broken: what was found, in words; empty where it holds or was not tried.
        example: the smallest example that breaks it.
        untried: why it was not tried; empty where it was.
        not_finite: whether it is broken by numbers that are infinite or none, and by no others.
    """

    law: Law
    broken: str = ""
    example: Any = None
    untried: str = ""
    not_finite: bool = False

    @property
    def holds(self) -> bool:
        """Whether it was tried and not broken."""
        return not self.broken and not self.untried

    def __str__(self) -> str:
        if self.untried:
            return f"not tried  {self.law.name}: {self.untried}"
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
    def untried(self) -> tuple[Finding, ...]:
        """Those about what the theory does not claim."""
        return tuple(finding for finding in self.findings if finding.untried)

    @property
    def holds(self) -> bool:
        """Whether laws were tried and none of them is broken, by the examples that were drawn."""
        return not self.broken and len(self.untried) < len(self.findings)

    def __bool__(self) -> bool:
        return self.holds

    def __str__(self) -> str:
        held = len(self.findings) - len(self.broken) - len(self.untried)
        told = f"{held} hold, {len(self.broken)} broken, {len(self.untried)} not tried"
        return "\n".join([*map(str, self.findings), told])


def check(
    theory: Theory,
    rule: UpdateRule | None = None,
    *,
    exact: bool = True,
    limit: Limit | None = None,
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
        limit: the largest stable ηh of a momentum; by default the rule's own. A theory that is
            not stable so far needs its own.
        laws: some, of `LAWS` or your own; all by default.
        examples: tried for each law.
        seed: of the examples; the same seed tries the same ones.

    Raises:
        TypeError: for what is no theory or no rule.
        ValueError: for fewer than one example, results of other shapes, or a rule without a limit.

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
    >>> check(Forgetful, examples=20).broken[0].law.name
    'noise scales covariances'
    """
    if not callable(theory):
        raise TypeError(
            f"theory = {theory!r}: give a function of (hyperparameters, spectrum), or a class."
        )
    rule = heavy_ball() if rule is None else rule
    require_rule(rule)
    _require_examples(examples)
    chosen = LAWS + laws_of(rule) if laws is None else tuple(laws)
    model = plainest(theory)
    require_shapes(model)
    # Without β in it, a rule remembers nothing.
    memory = 100.0 if s.beta in rule.parameters else 1.0
    drawn = runs(limit_of(rule) if limit is None else limit, memory=memory)
    search = _Search(theory, model, drawn, examples, seed)
    return _reported([search.finding(one) for one in chosen if exact or not one.exact])


def check_flow(
    flow: Flow, *, laws: Sequence[Law] | None = None, examples: int = 20, seed: int = 0
) -> Report:
    """Which laws of the Fokker-Planck equation a solution breaks, and on which smallest process.

    Args:
        flow: a function of drift A and diffusion D, SymPy matrices of dx = −Ax dt + √(2D) dW. Its
            result has `precision` U and `circulation` Q, matrices with A = (D + Q)U, and `density`
            and `current`, expressions in its `coordinates`. Laws about what it lacks are not
            tried, and reported so.
        laws: some, of `LAWS_OF_FLOWS` or your own; all by default.
        examples: tried for each law.
        seed: of the examples; the same seed tries the same ones.

    Raises:
        TypeError: for what is no function.
        ValueError: for fewer than one example.

    >>> import sgdtheory as sgd
    >>> from sgdtheory.testing import check_flow
    >>> bool(check_flow(lambda A, D: sgd.fokker_planck(sgd.OrnsteinUhlenbeck(A, D)), examples=2))
    True
    """
    if not callable(flow):
        raise TypeError(f"flow = {flow!r}: give a function of (drift, diffusion).")
    _require_examples(examples)
    chosen = LAWS_OF_FLOWS if laws is None else laws
    probe = flow(*LinearProcess(((1,),), ((1,),)).matrices)
    search = _Search(flow, probe, linear_processes(), examples, seed)
    return _reported([search.finding(one) for one in chosen])


def _reported(findings: Sequence[Finding]) -> Report:
    """Numbers that are not finite are told once, by the first law that meets them."""
    without = [one for one in findings if one.not_finite]
    told = [
        replace(one, broken="", example=None, untried=f"not finite, as of {without[0].law.name!r}")
        if one.not_finite and one is not without[0]
        else one
        for one in findings
    ]
    return Report(tuple(told))


def _require_examples(examples: int) -> None:
    if examples < 1:
        raise ValueError(f"examples = {examples}: give at least one.")


@dataclass(frozen=True)
class _Search:
    """For the smallest example that breaks a law.

    Args:
        theory: what is tested.
        probe: what it returns.
        drawn: the examples.
        examples: how many.
        seed: of them.
    """

    theory: Any
    probe: Any
    drawn: SearchStrategy[Any]
    examples: int
    seed: int

    def finding(self, one: Law) -> Finding:
        missing = [name for name in one.needs if not hasattr(self.probe, name)]
        if missing:
            return Finding(one, untried=f"the theory has no {', '.join(missing)}")
        untried = one.untried(self.theory)
        if untried:
            return Finding(one, untried=untried)
        # What is finite and wrong tells more than what is not finite.
        return self._smallest(one, finite=True) or self._smallest(one, finite=False) or Finding(one)

    def _smallest(self, one: Law, *, finite: bool) -> Finding | None:
        """What breaks the law, with numbers that are finite or with any; none if nothing does."""
        last: list[Finding] = []
        passed: list[BrokenLawError] = []

        def tried(example: Any) -> None:
            try:
                self._held(one, example)
            except BrokenLawError as broken:
                not_finite = isinstance(broken, NotFiniteError)
                if finite and not_finite:
                    passed.append(broken)
                    return
                last[:] = [Finding(one, str(broken), example, not_finite=not_finite)]
                raise

        try:
            self._searched(tried)()
        except (BrokenLawError, Flaky):
            # Hypothesis ends with the smallest example that it has found; flaky is a theory that
            # breaks a law at one time and not at another.
            return last[0]
        return Finding(one) if finite and not passed else None

    def _held(self, one: Law, example: Any) -> None:
        """An error of the theory breaks the law as a wrong number does: examples are stable."""
        try:
            with np.errstate(all="ignore"):
                one.holds(self.theory, example)
        except BrokenLawError:
            raise
        except UnstableError as error:
            raise BrokenLawError(
                f"it raised UnstableError: {error} If the theory does not claim to be stable so "
                "far, say how far it is: limit=lambda momentum: …, of ηh"
            ) from error
        except Exception as error:
            raise BrokenLawError(f"it raised {type(error).__name__}: {error}") from error

    def _searched(self, tried: Callable[[Any], None]) -> Callable[[], None]:
        search = settings(
            max_examples=self.examples,
            database=None,
            deadline=None,
            phases=_PHASES,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            # Two ways to break one law are one finding.
            report_multiple_bugs=False,
            verbosity=Verbosity.quiet,
        )
        found: Callable[[], None] = seeded(self.seed)(search(given(self.drawn)(tried)))
        return found
