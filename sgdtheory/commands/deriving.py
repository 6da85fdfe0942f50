"""`sgdtheory derive`: any result for any rule, as mathematics or as code."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from sympy import Dummy, Expr

import sgdtheory as sgd
from sgdtheory.commands.code_files import code_of, write_code
from sgdtheory.commands.derived_results import RESULTS, Question, derived
from sgdtheory.commands.formulas import FORMATS, written
from sgdtheory.commands.letters import CURVATURE_LETTERS, MEANINGS, RULE_LETTERS
from sgdtheory.commands.settings import RuleName, SamplingName, TheoryName, named_rule
from sgdtheory.commands.typed_expressions import read_expression

__all__ = ["derive"]


@tyro.conf.configure(tyro.conf.DisallowNone)
def derive(
    result: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="RESULT")]] = None,
    list: bool = False,
    theory: TheoryName | None = None,
    rule: RuleName | None = None,
    velocity: str | None = None,
    position: str | None = None,
    gradient_at: str | None = None,
    order: int = 1,
    sampling: SamplingName = "with_replacement",
    noise: str | None = None,
    curvature: str | None = None,
    format: Literal[
        "text", "latex", "markdown", "numpy", "numba", "torch", "c", "javascript"
    ] = "text",
    steps: bool = False,
    textbook: bool = False,
    output: Path | None = None,
) -> None:
    """Derive a result of the theory for an update rule: as mathematics, or as code.

    Example: sgdtheory derive --list

    Example: sgdtheory derive friction --rule nesterov --order 2

    Example: sgdtheory derive displacement --format c --output displacement.c

    Example: sgdtheory derive stability --velocity "beta*v - g" --position "theta + eta*v_next"

    Args:
        result: what to derive; --list says what there is.
        list: list the results, and the letters that stand in them.
        theory: exact updates, or the Langevin equation; by default the one that has the result,
            and exact updates where both have.
        rule: the optimiser; the heavy ball by default.
        velocity: a rule of your own: v_{k+1} in v, g, eta, beta, tau, nu; read as arithmetic, never
            run as code.
        position: with it, θ_{k+1} in theta, v, v_next, g and these.
        gradient_at: with them, where the gradient is taken, in theta and v; theta by default.
        order: of the modified equation, from 1.
        sampling: how batches are drawn; other than with replacement in updates alone.
        noise: variance of one example's gradient, in rho, h, lamda, sigma2, Sigma; by default
            sigma2*rho, or Sigma in what the rule alone decides.
        curvature: in the same letters; by default rho + lamda, or h.
        format: how it is written; code says its arguments.
        steps: show the derivation, too.
        textbook: write functions of continuous time by exponentials, sines and cosines.
        output: file to write; for C with its header beside it.
    """
    if list:
        _deliver(_listed(), output)
        return
    if result not in RESULTS:
        raise ValueError(_unknown(result))
    question = Question(
        _rule(rule, velocity, position, gradient_at),
        _theory(result, theory, order, sampling),
        order,
        sampling,
        _letters(result, "--noise", noise),
        _letters(result, "--curvature", curvature),
    )
    answer = derived(result, question, textbook=textbook)
    if format in FORMATS:
        _deliver(written(answer, format, steps=steps), output)
        return
    if steps:
        raise ValueError(
            f"--steps: {format} has no words for a derivation. Choose text, latex or markdown."
        )
    about = _about(result, question)
    if output is None:
        print(code_of(result, answer.value, format, about), end="")
    else:
        write_code(result, answer.value, format, about, output)


def _unknown(result: str | None) -> str:
    known = "sgdtheory derive --list names them."
    if result is None:
        return f"RESULT: none was given. {known}"
    near = get_close_matches(result.replace("-", "_"), RESULTS, n=2, cutoff=0.5)
    meant = f" Is {' or '.join(near)} meant?" if near else ""
    return f"RESULT: {result!r} is not among the results.{meant} {known}"


def _rule(
    name: RuleName | None, velocity: str | None, position: str | None, gradient_at: str | None
) -> sgd.UpdateRule:
    own = {"velocity": velocity, "position": position, "gradient_at": gradient_at}
    given = {part: text for part, text in own.items() if text is not None}
    if not given:
        return named_rule(name or "heavy_ball")
    options = " and ".join(f"--{part.replace('_', '-')}" for part in given)
    if name is not None:
        raise ValueError(f"--rule {name} and {options}: a rule is named or written. Leave one out.")
    if velocity is None or position is None:
        raise ValueError(f"{options}: a rule needs both --velocity and --position. Give the other.")
    expressions: dict[str, Any] = {
        part: read_expression(f"--{part.replace('_', '-')}", text, RULE_LETTERS)
        for part, text in given.items()
    }
    return sgd.UpdateRule(**expressions)


def _letters(result: str, option: str, text: str | None) -> Expr | None:
    if text is None:
        return None
    if not RESULTS[result].of_direction:
        raise ValueError(
            f"{option} {text}: {result} is not of one direction of given noise and curvature. "
            "Leave it out."
        )
    expression = read_expression(option, text, CURVATURE_LETTERS)
    positive = {letter: Dummy(positive=True) for letter in expression.free_symbols}
    if option == "--noise" and expression.xreplace(positive).is_negative:
        raise ValueError(f"{option} {text}: a variance is not negative. Give one that is not.")
    return expression


def _theory(result: str, theory: TheoryName | None, order: int, sampling: str) -> str:
    """The theory that is meant, and that order and sampling have a meaning in it."""
    theories = RESULTS[result].theories
    if theory is not None and theory not in theories:
        where = f"the {theories[0]} theory has it" if theories else "the rule alone decides it"
        raise ValueError(f"--theory {theory}: {result} is not in it; {where}. Leave --theory out.")
    meant = theory or (theories[0] if theories else "")
    if order != 1 and meant != "continuous":
        raise ValueError(
            f"--order {order}: {result} does not come from the modified equation. Leave it out"
            + (", or give --theory continuous." if "continuous" in theories else ".")
        )
    if sampling != "with_replacement" and meant != "discrete":
        kind = "the Langevin equation" if theories else "the rule alone"
        raise ValueError(
            f"--sampling {sampling}: {result} of {kind} is of batches drawn with replacement. "
            + ("Give --theory discrete." if "discrete" in theories else "Leave it out.")
        )
    return meant


def _about(result: str, question: Question) -> str:
    theory = f", {question.theory} theory" if question.theory else ""
    kind = f"{result.replace('_', ' ')} ({question.rule.name}{theory})"
    return f"{kind[0].upper()}{kind[1:]}: {RESULTS[result].line}."


def _listed() -> str:
    def block(title: str, entries: dict[str, str]) -> str:
        width = max(map(len, entries))
        return "\n".join([title, *(f"  {name:<{width}}  {line}" for name, line in entries.items())])

    titles = {
        ("discrete", "continuous"): "Of both theories:",
        ("discrete",): "Of exact updates (discrete):",
        ("continuous",): "Of the Langevin equation (continuous):",
        (): "Of the rule itself, in Sigma and h:",
    }
    blocks = [
        block(title, {name: x.line for name, x in RESULTS.items() if x.theories == theories})
        for theories, title in titles.items()
    ]
    letters = {str(letter): meaning for letter, meaning in MEANINGS.items()}
    return "\n\n".join([*blocks, block("Letters:", letters)])


def _deliver(text: str, output: Path | None) -> None:
    if output is None:
        print(text)
    else:
        output.write_text(f"{text}\n", encoding="utf-8")
