"""The laws let right theories pass, and catch a gallery of wrong ones."""

import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov
from sympy import Matrix, diag, sqrt

import sgdtheory as sgd
from sgdtheory.testing import (
    LAWS,
    LAWS_OF_FLOWS,
    BrokenLawError,
    LinearProcess,
    Run,
    check,
    check_against_simulation,
    check_flow,
    covariances,
    datasets,
    hyperparameters,
    landscapes,
    limit_of,
    linear_processes,
    runs,
    spectra,
    update_rules,
)
from sgdtheory.testing.by_hand import followed, one_update, stationary_state
from sgdtheory.testing.laws_of_rules import laws_of

RUN = Run(0.1, 0.9, 2, 0.0, (1.0, 0.1), (1.0, 2.0), (1.0, -1.0), (0.0, 0.5), (20, 3))


class Told:
    """A right theory whose answers a wrong one changes."""

    def __init__(self, hyperparameters, spectrum):
        self.hyperparameters, self.spectrum = hyperparameters, spectrum
        self.right = sgd.Predictor(hyperparameters, spectrum)

    def mean(self, steps, position, velocity=0.0):
        return self.right.mean(steps, position, velocity)

    def covariance(self, steps):
        return self.right.covariance(steps)

    def stationary_covariance(self):
        return self.right.stationary_covariance()

    def autocovariance(self, steps):
        return self.right.autocovariance(steps)

    def displacement(self, steps, position=None):
        return self.right.displacement(steps, position)


class SignOfTheVelocity(Told):
    def mean(self, steps, position, velocity=0.0):
        return super().mean(steps, position, velocity) * [1.0, -1.0]


class TwiceTheNoise(Told):
    def __init__(self, hyperparameters, spectrum):
        super().__init__(hyperparameters, replace(spectrum, noise_variances=2 * spectrum.variances))


class WithoutTheBatch(Told):
    def __init__(self, hyperparameters, spectrum):
        super().__init__(replace(hyperparameters, batch_size=1), spectrum)


class DeviationForVariance(Told):
    def __init__(self, hyperparameters, spectrum):
        super().__init__(
            hyperparameters, replace(spectrum, noise_variances=np.sqrt(spectrum.variances))
        )


class WithoutWeightDecay(Told):
    def __init__(self, hyperparameters, spectrum):
        super().__init__(
            replace(hyperparameters, weight_decay=0.0),
            replace(spectrum, eigenvalues=np.maximum(spectrum.eigenvalues, 1e-3)),
        )


class AlikeInAllDirections(Told):
    def stationary_covariance(self):
        found = super().stationary_covariance()
        return np.broadcast_to(found.mean(axis=0), found.shape)


class WithoutOnePlusMomentum(Told):
    """Its stationary variance is that of a friction 1 − β at a temperature without (1 + β)."""

    def stationary_covariance(self):
        return super().stationary_covariance() * (1 + self.hyperparameters.momentum)


class StationaryFromTheBeginning(Told):
    def covariance(self, steps):
        del steps
        return super().stationary_covariance()


class DisplacementWithoutTwo(Told):
    def displacement(self, steps, position=None):
        return super().displacement(steps, position) / 2


class DisplacementOfNoiseAlone(Told):
    """From any start it is what it is from the minimum."""

    def displacement(self, steps, position=None):
        return super().displacement(steps, None if position is None else 0 * position)


class VelocityWithoutMemory(Told):
    """Autocovariances that decay as positions of plain SGD do."""

    def autocovariance(self, steps):
        h = self.spectrum.eigenvalues + self.hyperparameters.weight_decay
        rate = self.hyperparameters.learning_rate * h / (1 - self.hyperparameters.momentum)
        return super().stationary_covariance() * np.exp(-rate * steps)[:, None, None]


@dataclass
class FromTwoRoots:
    """The mean of heavy ball as textbooks have it: from the roots, apart, of z² − az + β."""

    hyperparameters: sgd.Hyperparameters
    spectrum: sgd.Spectrum
    swapped: bool = False

    def mean(self, steps, position, velocity=0.0):
        hyper = self.hyperparameters
        y = hyper.learning_rate * (self.spectrum.eigenvalues + hyper.weight_decay)
        trace = 1 + hyper.momentum - y
        difference = trace**2 - 4 * hyper.momentum
        difference = np.abs(difference) if self.swapped else difference + 0j
        first, second = ((trace + sign * np.sqrt(difference)) / 2 for sign in (1, -1))
        with np.errstate(all="ignore"):
            power, before = (
                ((first**k - second**k) / (first - second)).real for k in (steps, steps - 1)
            )
        x, v = position, velocity
        moved = (1 - y) * x + hyper.learning_rate * hyper.momentum * v
        faster = hyper.momentum * v - y / hyper.learning_rate * x
        return np.stack(
            [power * now - hyper.momentum * before * was for now, was in ((moved, x), (faster, v))],
            axis=-1,
        )


class WithoutCommonNoise(Told):
    """Of a landscape it knows the variances along eigenvectors alone."""

    def __init__(self, hyperparameters, spectrum):
        if isinstance(spectrum, sgd.Landscape):
            noise = np.diag(np.diagonal(spectrum.noise_covariance))
            spectrum = sgd.Landscape(spectrum.hessian, noise)
        self.right = sgd.Predictor(hyperparameters, spectrum)


class InSinglePrecision(Told):
    """Tensors are rounded on their way."""

    def __init__(self, hyperparameters, spectrum):
        rho = spectrum.eigenvalues
        if not isinstance(rho, np.ndarray):
            spectrum = sgd.Spectrum(
                rho.float().double(), noise_variances=spectrum.variances * (1 + 1e-7)
            )
        self.right = sgd.Predictor(hyperparameters, spectrum)


class FirstDirectionFirst(Told):
    """The first direction is thought to be the steepest."""

    def covariance(self, steps):
        found = super().covariance(steps)
        found[0] = found.max(axis=0)
        return found


class WithFewExamples(Told):
    """A finite set of data is thought to be small."""

    def covariance(self, steps):
        size = self.hyperparameters.dataset_size
        return super().covariance(steps) * (1.0 if size is None else 0.5)


class MomentumAtLeastATenth(Told):
    def __init__(self, hyperparameters, spectrum):
        beta = hyperparameters.momentum
        super().__init__(
            replace(hyperparameters, momentum=max(beta, 0.1) if beta else 0.0), spectrum
        )


class WrongForEqualCurvatures(Told):
    def covariance(self, steps):
        rho = self.spectrum.eigenvalues
        return super().covariance(steps) * (1.5 if (np.diff(np.sort(rho)) == 0).any() else 1.0)


class LastTimeForAll(Told):
    def covariance(self, steps):
        found = super().covariance(steps)
        return found if np.ndim(steps) == 0 else np.broadcast_to(found[-1], found.shape)


class StationaryAlone:
    """Five times too hot, and nothing else is told that would contradict it."""

    def __init__(self, hyperparameters, spectrum):
        self.right = sgd.Predictor(hyperparameters, spectrum)

    def stationary_covariance(self):
        return 5 * self.right.stationary_covariance()


class AutocovarianceAlone:
    def __init__(self, hyperparameters, spectrum):
        self.right = sgd.Predictor(hyperparameters, spectrum)

    def autocovariance(self, steps):
        """Positions that velocities remember, and velocities that positions remember, swapped."""
        return self.right.autocovariance(steps).swapaxes(-1, -2)


class DisplacementAlone:
    def __init__(self, hyperparameters, spectrum):
        self.right = sgd.Predictor(hyperparameters, spectrum)

    def displacement(self, steps):
        return 5 * self.right.displacement(steps)


class WrongForNearlyEqualCurvatures(Told):
    """Differences of curvatures are divided by, and equal ones are a case of their own."""

    def covariance(self, steps):
        gaps = np.abs(np.diff(self.spectrum.eigenvalues))
        near = (gaps > 0) & (gaps < 1e-6 * self.spectrum.eigenvalues.max())
        return super().covariance(steps) * (1.5 if near.any() else 1.0)


class VelocitiesTooFast(Told):
    """As η falls it is as wrong as ever, of velocities alone."""

    def mean(self, steps, position, velocity=0.0):
        return super().mean(steps, position, velocity) * (
            [1.0, 1.3] if np.all(np.asarray(steps) > 0) else [1.0, 1.0]
        )


class CovarianceOfOneSign(Told):
    """Position and velocity never covary."""

    def covariance(self, steps):
        found = super().covariance(steps)
        found[..., 0, 1] = found[..., 1, 0] = np.sqrt(found[..., 0, 0] * found[..., 1, 1]) / 9
        return found


GALLERY = {
    StationaryAlone: "the stationary covariance by hand",
    AutocovarianceAlone: "the autocovariance by hand",
    DisplacementAlone: "the displacement by hand",
    WrongForNearlyEqualCurvatures: "directions are independent",
    VelocitiesTooFast: "small learning rates",
    CovarianceOfOneSign: "small learning rates",
    WrongForEqualCurvatures: "directions are independent",
    LastTimeForAll: "times asked together",
    SignOfTheVelocity: "beginning",
    TwiceTheNoise: "the covariance by hand",
    WithoutTheBatch: "noise scales covariances",
    DeviationForVariance: "units of position",
    WithoutWeightDecay: "weight decay is curvature",
    AlikeInAllDirections: "stationarity",
    WithoutOnePlusMomentum: "stationarity",
    StationaryFromTheBeginning: "beginning",
    DisplacementWithoutTwo: "displacement is lost correlation",
    DisplacementOfNoiseAlone: "displacement from a start",
    VelocityWithoutMemory: "regression of fluctuations",
    FromTwoRoots: "the mean by hand",
    partial(FromTwoRoots, swapped=True): "the mean by hand",
    WithoutCommonNoise: "no basis is preferred",
    InSinglePrecision: "back ends agree",
    FirstDirectionFirst: "directions have no order",
    WithFewExamples: "large data are endless",
    MomentumAtLeastATenth: "momentum begins at none",
}


def flow(change):
    """A solution of the Fokker-Planck equation, of which one part is changed."""

    def solved(drift, diffusion):
        right = sgd.fokker_planck(sgd.OrnsteinUhlenbeck(drift, diffusion))
        names = ("precision", "circulation", "density", "current", "coordinates")
        parts = {name: getattr(right, name) for name in names}
        return SimpleNamespace(**{**parts, **change(parts, drift, diffusion)})

    return solved


FLOWS = {
    "a sign of the circulation": (
        lambda parts, *_: {"circulation": -parts["circulation"]},
        "drift is descent and circulation",
    ),
    "descent without circulation": (
        lambda parts, drift, diffusion: {"precision": (drift + drift.T) / 2},
        "drift is descent and circulation",
    ),
    "circulation that climbs": (
        lambda parts, drift, diffusion: {"circulation": parts["circulation"] + diffusion},
        "circulation is antisymmetric",
    ),
    "a loss without a minimum": (
        lambda parts, *_: {"precision": -parts["precision"]},
        "precision is positive",
    ),
    "twice the temperature": (
        lambda parts, *_: {"density": sqrt(parts["density"])},
        "density is stationary",
    ),
    "a probability of two": (
        lambda parts, *_: {"density": 2 * parts["density"]},
        "density is normalised",
    ),
    "half of the current": (
        lambda parts, *_: {"current": parts["current"] / 2},
        "current is that of the density",
    ),
    "a current that gathers": (
        lambda parts, *_: {
            "current": parts["current"] + parts["density"] * Matrix(parts["coordinates"])
        },
        "current has no sources",
    ),
    "a rate where none is": (
        lambda parts, drift, diffusion: {"precision": parts["precision"] * drift.trace()},
        "units of time",
    ),
    "axes of its own": (
        lambda parts, *_: {"precision": diag(*parts["precision"].diagonal())},
        "units of coordinates",
    ),
}


@pytest.mark.parametrize(("change", "caught_by"), FLOWS.values(), ids=FLOWS)
def test_a_wrong_flow_is_caught_by_its_law(change, caught_by):
    chosen = [law for law in LAWS_OF_FLOWS if law.name == caught_by]
    (finding,) = check_flow(flow(change), laws=chosen).broken
    assert isinstance(finding.example, LinearProcess)
    with pytest.raises(BrokenLawError):
        finding.law.holds(flow(change), finding.example)


def test_the_right_flow_passes_every_law():
    report = check_flow(flow(lambda *_: {}), examples=25)
    assert report, str(report)
    assert [finding.law for finding in report.findings] == LAWS_OF_FLOWS
    assert all(finding.holds for finding in report.findings)
    assert not check_flow(lambda drift, diffusion: None, examples=1).findings[0].holds


ALL = {law.name: law for law in (*LAWS, *laws_of(sgd.heavy_ball()))}


@pytest.mark.parametrize(("theory", "caught_by"), GALLERY.items(), ids=str)
def test_a_wrong_theory_is_caught_by_its_law(theory, caught_by):
    report = check(theory, laws=[ALL[caught_by]], examples=40)
    (finding,) = report.broken
    with pytest.raises(AssertionError):
        finding.law.holds(theory, finding.example)
    assert f"BROKEN     {caught_by}" in str(report)
    assert not report


def test_all_laws_are_tried_and_others_hold():
    report = check(DisplacementWithoutTwo, examples=10)
    assert {finding.law.name for finding in report.broken} == {
        "displacement is lost correlation",
        "displacement from a start",
        "the displacement by hand",
    }
    assert len(report.findings) == len(ALL)
    assert sum(finding.holds for finding in report.findings) == len(ALL) - 3


@pytest.mark.parametrize(
    ("theory", "rule", "exact", "untried"),
    [
        (sgd.Predictor, None, True, set()),
        (partial(sgd.Predictor, rule=sgd.nesterov()), sgd.nesterov(), True, set()),
        (
            partial(sgd.Predictor, rule=sgd.plain_sgd()),
            sgd.plain_sgd(),
            True,
            {"momentum begins at none"},
        ),
        (partial(sgd.Predictor, theory="continuous"), None, False, set()),
        (Told, None, True, set()),
    ],
    ids=["discrete", "Nesterov", "plain", "continuous", "a user's class"],
)
def test_right_theories_pass(theory, rule, exact, untried):
    report = check(theory, rule, exact=exact, examples=15, seed=2)
    assert report, str(report)
    assert len(report.findings) == len(LAWS) + 1 + 5 * exact
    assert {finding.law.name for finding in report.untried} == untried
    assert str(report).endswith(
        f"{len(report.findings) - len(untried)} hold, 0 broken, {len(untried)} not tried"
    )


def spread(one, added, steps):
    """Of so many updates: half of them, twice, and one more if their number is odd."""
    if not steps:
        return np.zeros((2, 2))
    half = spread(one, added, steps // 2)
    flow = np.linalg.matrix_power(one, steps // 2)
    whole = half + flow @ half @ flow.T
    return one @ whole @ one.T + added if steps % 2 else whole


class ByMatrices:
    """Heavy ball in double precision, as anybody would write it: no formula, nothing of ours."""

    def __init__(self, hyperparameters, spectrum):
        rate, beta = (float(x) for x in (hyperparameters.learning_rate, hyperparameters.momentum))
        curvature = np.asarray(spectrum.eigenvalues) + float(hyperparameters.weight_decay)
        push = np.asarray(spectrum.variances) / float(hyperparameters.batch_size)
        self.maps = [np.array([[1 - rate * h, rate * beta], [-h, beta]]) for h in curvature]
        self.added = [each * np.outer([rate, 1.0], [rate, 1.0]) for each in push]

    def mean(self, steps, position, velocity=0.0):
        states = np.stack(np.broadcast_arrays(position, velocity), axis=-1)
        return np.array(
            [
                np.linalg.matrix_power(one, steps) @ x
                for one, x in zip(self.maps, states, strict=True)
            ]
        )

    def covariance(self, steps):
        return np.array([spread(*both, steps) for both in zip(self.maps, self.added, strict=True)])

    def stationary_covariance(self):
        return np.array([self.solved(*both) for both in zip(self.maps, self.added, strict=True)])

    def autocovariance(self, steps):
        powers = [np.linalg.matrix_power(one, steps) for one in self.maps]
        return np.array(powers) @ self.stationary_covariance()

    def displacement(self, steps):
        held, kept = self.stationary_covariance(), self.autocovariance(steps)
        return 2 * (held - kept)[:, 0, 0].sum()


class ByDoubling(ByMatrices):
    @staticmethod
    def solved(one, added):
        for _ in range(60):
            added, one = added + one @ added @ one.T, one @ one
        return added


class ByLyapunov(ByMatrices):
    solved = staticmethod(solve_discrete_lyapunov)


class ByLinearEquations(ByMatrices):
    @staticmethod
    def solved(one, added):
        return np.linalg.solve(np.eye(4) - np.kron(one, one), added.ravel()).reshape(2, 2)


@pytest.mark.parametrize(
    ("theory", "seed"), [(ByDoubling, 1), (ByLyapunov, 3), (ByLinearEquations, 4)]
)
@pytest.mark.filterwarnings("ignore::scipy.linalg.LinAlgWarning")
def test_roundings_of_ones_own_code_break_no_law(theory, seed):
    report = check(theory, examples=30, seed=seed)
    assert report, str(report)


class Overflowing(Told):
    """Right in its first ten updates."""

    def mean(self, steps, position, velocity=0.0):
        found = super().mean(steps, position, velocity)
        return found if np.max(steps) <= 10 else found * np.inf

    def covariance(self, steps):
        found = super().covariance(steps)
        return found if np.max(steps) <= 10 else found * np.exp(1e4)


def test_numbers_that_are_not_finite_are_one_finding():
    report = check(Overflowing, examples=60)
    (broken,) = report.broken
    assert broken.not_finite
    assert "inf" in broken.broken or "nan" in broken.broken or "not finite" in broken.broken
    told = [finding for finding in report.untried if "not finite, as of" in finding.untried]
    assert len(told) > 5
    assert broken.law.name in told[0].untried


class OverflowingAndWrong(Overflowing):
    def covariance(self, steps):
        return 3 * super().covariance(steps) * np.arange(1, 3)[:, None] * np.arange(1, 3)


def test_what_is_finite_and_wrong_tells_more_than_what_is_not_finite():
    report = check(OverflowingAndWrong, examples=60)
    found = {finding.law.name: finding for finding in report.broken}
    assert not found["the covariance by hand"].not_finite
    assert "at [0, " in found["the covariance by hand"].broken


@pytest.mark.parametrize("rule", [sgd.plain_sgd(), sgd.heavy_ball(), sgd.nesterov()])
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
def test_a_limit_is_where_updates_begin_to_run_away(rule, momentum):
    """By the largest eigenvalue of an update applied to unit vectors, beside the limit."""
    highest, update = limit_of(rule)(momentum), one_update(rule)
    for y, runs_away in ((highest * (1 - 1e-6), False), (highest * (1 + 1e-6), True)):
        run = RUN.varied(learning_rate=1.0, momentum=momentum, eigenvalues=(y, y))
        moved = np.stack(update(np.array([1.0, 0.0]), np.array([0.0, 1.0]), run, np.zeros(2)))
        assert (np.abs(np.linalg.eigvals(moved)).max() > 1) == runs_away


def test_a_rule_without_a_limit_of_its_momentum_asks_for_one():
    backwards = sgd.UpdateRule(
        sgd.symbols.v + sgd.symbols.g, sgd.symbols.theta + sgd.symbols.v, name="backwards"
    )
    with pytest.raises(ValueError, match=r"rule = backwards: stable where .* Give the limit"):
        check(sgd.Predictor, backwards)


def test_a_stationary_state_by_hand_is_where_many_updates_by_hand_end():
    """Pushes of 4000 updates, of which the first are forgotten to the last digit."""
    spread = followed(one_update(sgd.nesterov()), RUN, 4000)[1]
    held = stationary_state(sgd.nesterov())(RUN)
    np.testing.assert_allclose(held.covariance, spread, rtol=1e-12)
    np.testing.assert_allclose(held.autocovariance(0), spread, rtol=1e-12)
    # A step of heavy ball is η times its velocity.
    ball = stationary_state(sgd.heavy_ball())(RUN)
    step = RUN.learning_rate**2 * ball.covariance[:, 1, 1].sum()
    assert ball.displacement(1) == pytest.approx(step, rel=1e-12)


def test_where_nothing_was_tried_nothing_holds():
    report = check(FromTwoRoots, laws=[ALL["positive covariance"]])
    assert not report
    assert not report.broken
    assert str(report).endswith("0 hold, 0 broken, 1 not tried")


class Flat(Told):
    def mean(self, steps, position, velocity=0.0):
        return super().mean(steps, position, velocity)[..., 0]


class WithoutVelocity(Told):
    def mean(self, steps, position):
        return super().mean(steps, position)


@pytest.mark.parametrize(
    ("theory", "error", "told"),
    [
        (Flat, ValueError, r"mean\(steps, position, velocity\) .* shape \(1,\), expected \(1, 2\)"),
        (WithoutVelocity, TypeError, r"mean\(steps, position, velocity\) raised TypeError"),
        (lambda *_: 3, ValueError, r"it returned 3, which has none of the methods"),
    ],
)
def test_answers_that_no_law_could_read_are_refused(theory, error, told):
    with pytest.raises(error, match=told):
        check(theory)


def test_a_theory_that_is_not_stable_so_far_is_told_to_say_so():
    folklore = partial(sgd.Predictor, theory="discrete", rule=sgd.nesterov())
    report = check(folklore, sgd.heavy_ball(), laws=[ALL["positive stationary covariance"]])
    assert "say how far it is: limit=" in report.broken[0].broken


def test_an_example_is_as_small_as_it_can_be():
    (finding,) = check(WithoutTheBatch, laws=[ALL["noise scales covariances"]]).broken
    example = finding.example
    assert example.batch_size == 1
    assert (len(example.eigenvalues), example.momentum, example.weight_decay) == (1, 0.0, 0.0)
    assert example.steps[0] == 1
    assert "a quarter of the batch" in finding.broken


def test_what_a_theory_lacks_is_not_tried_and_said():
    report = check(
        FromTwoRoots,
        examples=1,
        laws=[one for one in LAWS if "covariance" in one.needs or one.name == "beginning"],
    )
    told = {finding.law.name: finding.untried for finding in report.findings}
    assert told["positive covariance"] == "the theory has no covariance"
    assert "not tried" in str(report)
    assert not report.broken


@pytest.mark.parametrize(
    ("given_", "error", "told"),
    [
        ({"theory": 3}, TypeError, r"theory = 3: give a function"),
        ({"theory": sgd.Predictor, "rule": sgd.heavy_ball}, TypeError, "with brackets"),
        ({"theory": sgd.Predictor, "examples": 0}, ValueError, "examples = 0"),
    ],
)
def test_what_is_no_theory_is_refused(given_, error, told):
    with pytest.raises(error, match=told):
        check(**given_)


def test_a_theory_that_takes_neither_landscapes_nor_tensors_is_none_the_worse():
    class Plain(Told):
        def __init__(self, hyperparameters, spectrum):
            if not isinstance(getattr(spectrum, "eigenvalues", None), np.ndarray):
                raise TypeError("arrays alone")
            if isinstance(spectrum, sgd.Landscape):
                raise TypeError("spectra alone")
            super().__init__(hyperparameters, spectrum)

    report = check(Plain, examples=2)
    assert report, str(report)
    told = {finding.law.name: finding.untried for finding in report.findings if finding.untried}
    assert told == {
        "a spectrum is a landscape": "it takes no Landscape (TypeError)",
        "no basis is preferred": "it takes no Landscape (TypeError)",
        "back ends agree": "it takes no tensors (TypeError)",
    }


def test_a_theory_that_raises_is_broken_in_words():
    class Raising(Told):
        def covariance(self, steps):
            raise ZeroDivisionError("at critical damping")

    finding = check(Raising, examples=1).broken[0]
    assert "it raised ZeroDivisionError: at critical damping" in str(finding)


def test_a_law_that_is_broken_in_two_ways_or_not_always_is_one_finding():
    """Hypothesis tells such things apart, and would raise errors of its own."""
    calls = iter(range(10**6))

    class Moody(Told):
        def covariance(self, steps):
            if next(calls) % 3 == 0:
                raise ZeroDivisionError("sometimes")
            return super().covariance(steps)

    class InTwoWays(Told):
        def covariance(self, steps):
            found = super().covariance(steps)
            if steps > 3:
                raise ZeroDivisionError("late")
            return found if self.hyperparameters.momentum else 2 * found

    for theory in (Moody, InTwoWays):
        report = check(theory, examples=40)
        assert report.broken
        assert all(finding.broken for finding in report.broken)


def test_types_are_known_to_hypothesis():
    code = (
        "from hypothesis import find, strategies as st; import sgdtheory as sgd;"
        "kinds = sgd.Hyperparameters, sgd.Spectrum, sgd.Landscape, sgd.UpdateRule;"
        "print([type(find(st.from_type(kind), lambda _: True)).__name__ for kind in kinds])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['Hyperparameters', 'Spectrum', 'Landscape', 'UpdateRule']"


def test_simulation_lets_the_right_theory_pass_and_stops_early_at_a_wrong_one():
    right = check_against_simulation(sgd.Predictor, RUN)
    assert right, str(right)
    assert right.looks == 8
    wrong = check_against_simulation(TwiceTheNoise, RUN)
    assert not wrong
    assert wrong.looks == 1
    assert "PARTS" in str(wrong)


@pytest.mark.parametrize(
    ("theory", "settings_", "told"),
    [
        (sgd.Predictor, {"looks": 1.5}, "looks = 1.5: give .* a whole number"),
        (sgd.Predictor, {"looks": 0}, "looks = 0"),
        (sgd.Predictor, {"false_alarm": 1.0}, "false_alarm = 1.0"),
        (sgd.Predictor, {"rule": 3}, "rule = 3: give an UpdateRule"),
        (FromTwoRoots, {}, "theory: it has no covariance"),
    ],
)
def test_what_cannot_be_simulated_is_told(theory, settings_, told):
    with pytest.raises((ValueError, TypeError), match=told):
        check_against_simulation(theory, RUN, **settings_)


def test_false_alarms_are_as_rare_as_stated():
    """At a risk of one half, of 60 right theories at most three quarters are refused: 5σ off."""
    refused = sum(
        not check_against_simulation(sgd.Predictor, RUN, looks=2, false_alarm=0.5, seed=seed)
        for seed in range(60)
    )
    assert 0 < refused < 45


def test_white_noise_assumed_under_epochs_is_caught():
    """Of sixteen examples in epochs of eight batches; the theory of epochs passes the same test."""
    rng = np.random.default_rng(3)
    each = rng.standard_normal((16, 2))
    each -= each.mean(axis=0)
    each /= each.std(axis=0) / np.sqrt([1.0, 2.0])

    def epochs(hyperparameters, spectrum):
        return sgd.Predictor(replace(hyperparameters, dataset_size=16), spectrum, sampling="epochs")

    right = check_against_simulation(epochs, RUN, dataset_noise=each)
    assert right, str(right)
    assert not check_against_simulation(sgd.Predictor, RUN, dataset_noise=each)


@given(
    hyperparameters(),
    spectra(),
    landscapes(),
    landscapes(commuting=True),
    update_rules(),
    datasets(),
    runs(),
    linear_processes(),
    st.integers(1, 4).flatmap(covariances),
)
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=30)
def test_what_strategies_draw_is_valid(
    hyper, spectrum, landscape, shared, rule, data, run, process, sigma
):
    assert hyper.batch_size >= 1
    assert (spectrum.variances > 0).all()
    assert landscape.dimension >= 1
    assert shared.commutator < 1e-12
    assert isinstance(rule, sgd.UpdateRule)
    assert len(data[0]) == len(data[1])
    assert np.isfinite(sgd.Predictor(run.hyperparameters, run.spectrum).displacement(3))
    assert np.linalg.eigvals(np.array(process.drift, dtype=float)).real.min() > 0
    assert np.linalg.eigvalsh(sigma).min() >= -1e-9


def test_a_run_has_one_of_each_number_a_direction():
    with pytest.raises(ValueError, match=r"'noise': 1, .* are numbers of directions"):
        replace(RUN, noise=(1.0,))
