"""Derivations: every result carries the steps that led to it, readable in four ways."""

from __future__ import annotations

import re

import pytest
from sympy import Matrix, MatrixSymbol, diag, latex, simplify, zeros

import sgdtheory as sgd

s = sgd.symbols
RESULTS = (
    "stationary_covariance",
    "propagator",
    "mean",
    "covariance",
    "autocovariance",
    "displacement",
)


def chain(rule):
    langevin = sgd.modified_equation(rule)
    process = sgd.ornstein_uhlenbeck(langevin)
    return {
        "rule": rule,
        "langevin": langevin,
        "process": process,
        "flow": sgd.fokker_planck(process),
        "exact": sgd.recursion(rule),
    }


HEAVY_BALL = chain(sgd.heavy_ball())
EVERY_RECORD = pytest.mark.parametrize("record", HEAVY_BALL.values(), ids=HEAVY_BALL)


@EVERY_RECORD
def test_every_record_says_how_it_was_derived(record):
    derivation = record.derivation
    assert len(derivation) > 0
    assert len(list(derivation)) == len(derivation)
    assert derivation[0] == next(iter(derivation))


@EVERY_RECORD
def test_every_step_has_words_and_formulas(record):
    for step in record.derivation:
        assert step.title
        assert step.action.endswith(".")
        assert step.formulas


@EVERY_RECORD
def test_every_record_starts_from_the_rule(record):
    assert record.derivation[0].title == "Update rule"
    assert "heavy ball" in record.derivation[0].action


def test_each_record_continues_the_one_before():
    titles = {
        name: [step.title for step in record.derivation] for name, record in HEAVY_BALL.items()
    }
    for before, after in (
        ("rule", "langevin"),
        ("langevin", "process"),
        ("process", "flow"),
        ("rule", "exact"),
    ):
        assert titles[after][: len(titles[before])] == titles[before]
        assert len(titles[after]) > len(titles[before])


def test_every_named_rule_derives_by_its_own_name(rule):
    for record in chain(rule).values():
        assert rule.name in record.derivation[0].action


@pytest.mark.parametrize("name", ["langevin", "process", "flow", "exact"])
def test_assumptions_are_listed_once_in_order(name):
    record = HEAVY_BALL[name]
    stated = [step.assumption for step in record.derivation if step.assumption]
    assert stated
    assert list(record.assumptions) == list(dict.fromkeys(stated))


def test_what_is_assumed_is_said():
    for name, word in (
        ("langevin", "learning rate"),
        ("langevin", "with replacement"),
        ("process", "quadratic"),
        ("exact", "quadratic"),
    ):
        assert any(word in text for text in HEAVY_BALL[name].assumptions)


def test_the_exact_theory_does_not_assume_a_small_learning_rate():
    assert not any("learning rate" in text for text in HEAVY_BALL["exact"].assumptions)


# -- the ways to read it ------------------------------------------------------------------------


@EVERY_RECORD
def test_text_shows_every_title_formula_and_assumption(record):
    text = str(record.derivation)
    for number, step in enumerate(record.derivation, start=1):
        assert f"{number}. {step.title}" in text
        assert all(str(formula).splitlines()[0] in text for formula in step.formulas)
        assert step.assumption in text


@EVERY_RECORD
def test_markdown_shows_every_formula_as_display_mathematics(record):
    text = record.derivation.markdown()
    assert text.count("$$") == 2 * sum(len(step.formulas) for step in record.derivation)
    for step in record.derivation:
        assert step.title in text
        assert all(latex(formula) in text for formula in step.formulas)
        assert step.assumption in text


@EVERY_RECORD
def test_latex_shows_every_formula_in_balanced_source(record):
    text = record.derivation.latex()
    formulas = sum(len(step.formulas) for step in record.derivation)
    assert text.count(r"\[") == text.count(r"\]") == formulas
    assert text.count(r"\paragraph{") == len(record.derivation)
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))
    assert text.count(r"\left") == text.count(r"\right")


@EVERY_RECORD
def test_a_notebook_renders_markdown(record):
    assert record.derivation._repr_markdown_() == record.derivation.markdown()


@EVERY_RECORD
def test_a_notebook_renders_the_record_itself_as_mathematics(record):
    shown = record._repr_latex_()
    assert shown.startswith("$")
    assert shown.endswith("$")


def test_no_formula_shows_the_names_of_the_code():
    for record in HEAVY_BALL.values():
        for name in ("v_next", "theta_next", "sigma2", "continuous_", "discrete_"):
            assert name not in record.derivation.markdown().replace(r"\_", "_")


# -- the steps to a result ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["process", "exact"])
@pytest.mark.parametrize("result", RESULTS)
def test_every_result_has_a_derivation_that_ends_in_it(name, result):
    process = HEAVY_BALL[name]
    steps = process.derivation_of(result)
    method = getattr(process, result)
    time = s.k if name == "exact" else s.t
    value = method() if result == "stationary_covariance" else method(time)
    last = steps[len(steps) - 1].formulas[-1]
    assert len(steps) > len(process.derivation)
    assert value in (last, getattr(last, "rhs", None))


@pytest.mark.parametrize("result", ["stationary_covariance", "autocovariance", "displacement"])
def test_a_stationary_result_assumes_stability(result):
    for name in ("process", "exact"):
        assert any("stab" in text for text in HEAVY_BALL[name].derivation_of(result).assumptions)


def test_stability_has_its_conditions_and_ends_in_the_interval(rule):
    exact = sgd.recursion(rule)
    last = exact.derivation_of("stability")[-1]
    assert last.title == "Stability"
    assert last.formulas[-1] == exact.stability
    assert len(last.formulas) == 6


def test_latex_is_plain_ascii_for_any_engine():
    for record in HEAVY_BALL.values():
        assert record.derivation.latex().isascii()


def test_a_result_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match=r"result = 'entropy'.*displacement"):
        HEAVY_BALL["process"].derivation_of("entropy")


def test_a_process_without_an_sgd_behind_it_has_its_own_derivation():
    process = sgd.OrnsteinUhlenbeck(Matrix([[2, 1], [0, 3]]), diag(1, 1))
    assert len(process.derivation_of("displacement")) > 0
    assert len(sgd.fokker_planck(process).derivation) > 0


def test_a_derivation_of_three_coordinates_does_not_speak_of_two():
    text = str(sgd.OrnsteinUhlenbeck(diag(1, 2, 3), diag(1, 1, 1)).derivation_of("covariance"))
    assert "2×2" not in text


# -- the record ---------------------------------------------------------------------------------


def test_a_step_is_added_without_touching_what_was():
    short = sgd.Derivation().then("One", "Begin.", s.eta)
    long = short.then("Two", "Go on.", s.beta, assumption="patience")
    assert [step.title for step in short] == ["One"]
    assert [step.title for step in long] == ["One", "Two"]
    assert long.assumptions == ("patience",)
    assert long[1] == sgd.Step("Two", "Go on.", (s.beta,), "patience")


@pytest.mark.parametrize("clock", ["continuous", "discrete"])
def test_the_balance_that_is_shown_is_that_of_the_numbers(clock):
    """What relaxation takes noise gives back, with the process's own matrices put in."""
    rule = sgd.heavy_ball()
    process = (
        sgd.recursion(rule)
        if clock == "discrete"
        else sgd.ornstein_uhlenbeck(sgd.modified_equation(rule))
    )
    shown = process.derivation_of("stationary_covariance").steps
    (balance,) = next(step for step in shown if step.title == "Stationary covariance").formulas
    own = {
        "A": process.generator,
        "G": process.generator,
        "B": process.stationary_covariance(),
        "N": process.noise,
    }
    values = {symbol: own[symbol.name] for symbol in balance.atoms(MatrixSymbol)}
    left, right = (side.subs(values).doit() for side in balance.args)
    assert (left - right).applyfunc(simplify) == zeros(2)
