"""Text that a user types is arithmetic or is refused: never run, never a hang."""

from __future__ import annotations

import string
import time
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sympy import Rational

import sgdtheory as sgd
from sgdtheory.commands.letters import RULE_LETTERS
from sgdtheory.commands.typed_expressions import read_expression

s = sgd.symbols
LETTERS = (s.theta, s.v, s.g, s.eta, s.beta)
VALUES = {"theta": Fraction(3, 7), "v": Fraction(-2, 5), "g": Fraction(5, 3)} | {
    "eta": Fraction(1, 10),
    "beta": Fraction(9, 10),
}


def read(text):
    return read_expression("--velocity", text, LETTERS)


def answer(text, letters=LETTERS):
    """The expression and no sentence, or none and the sentence."""
    try:
        return read_expression("--velocity", text, letters), None
    except ValueError as error:
        return None, str(error)


def trees(inner):
    joined = st.tuples(inner, st.sampled_from([" + ", "-", "*", " / "]), inner)
    return (
        joined.map(lambda parts: f"({parts[0]}){parts[1]}({parts[2]})")
        | st.tuples(inner, st.integers(0, 3)).map(lambda parts: f"({parts[0]})**{parts[1]}")
        | inner.map(lambda part: f"-({part})")
    )


LEAVES = st.sampled_from([*VALUES, "1", "2", "7"])


@given(st.recursive(LEAVES, trees, max_leaves=6))
def test_arithmetic_has_the_value_that_python_gives_it(text):
    # Python itself, with fractions for every number and letter.
    source = "".join(f"Fraction({c})" if c in "127" else c for c in text)
    try:
        expected = eval(source, {"Fraction": Fraction, **VALUES})
    except ZeroDivisionError:
        return
    found, sentence = answer(text)
    if found is None:
        assert "is 0, and" in sentence or "terms without its brackets" in sentence
        return
    numbers = {getattr(s, name): Rational(x.numerator, x.denominator) for name, x in VALUES.items()}
    value = found.subs(numbers)
    assert Fraction(int(value.p), int(value.q)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.9*v", Rational(9, 10) * s.v),
        ("1e-3*g", s.g / 1000),
        ("  beta * v - g  ", s.beta * s.v - s.g),
        ("+v", s.v),
        ("beta**-2", s.beta**-2),
        ("-2**2", Rational(-4)),
        ("(" * 190 + "v" + ")" * 190, s.v),
    ],
)
def test_numbers_are_exact_and_signs_bind_as_in_python(text, expected):
    assert read(text) == expected


REFUSED = {
    "__import__('os').system('touch MARK')": '"\'", at character 12',
    "exit()": "'exit()', at character 1, calls a function",
    "v.__class__": "'v.__class__', at character 1, asks for an attribute",
    "v.real": "'v.real', at character 1, asks for an attribute",
    "beta*v - sin(v)": "'sin(v)', at character 10, calls a function",
    "(lambda: 1)()": "'lambda', at character 2, has no meaning here. The weight decay is lamda",
    "rho + lambda": "'lambda', at character 7",
    "v if g else v": "is no arithmetic",
    "v and g": "is no arithmetic",
    "not v": "is no arithmetic",
    "v//g": "is no arithmetic",
    "[v for v in g]": "'[', at character 1",
    "v[0]": "'[', at character 2",
    "v == g": "'=', at character 3",
    "v := g": "':', at character 3",
    "v, g": "',', at character 2, has no meaning here. Write decimals with a point",
    "v^2": "'^', at character 2, has no meaning here. Write powers as **",
    "α*v": "'α', at character 1",
    "v\n+ g": "'\\n', at character 2",
    "v\x00": "'\\x00', at character 2",
    "ｖ": "'ｖ', at character 1",
    "velocity": "'velocity', at character 1, is no letter of it",
    "True": "is no real number",
    "None": "is no real number",
    "...": "is no real number",
    "1j": "is no real number",
    "1e999": "is not between 1e-30 and 1e30",
    "1e-999": "is not between 1e-30 and 1e30",
    "9" * 350: "is not between 1e-30 and 1e30",
    "0x" + "f" * 300: "is not between 1e-30 and 1e30",
    "9**9**9": "'9**9', at character 4, is no exponent",
    "v**9": "is no exponent: give a whole number from -8 to 8",
    "v**-9": "is no exponent",
    "2**0.5": "is no exponent",
    "beta**eta": "'eta', at character 7, is no exponent",
    "2**True": "is no exponent",
    "((9**8)**8)**8": "'(9**8)**8', at character 2, holds a number beyond 1e60",
    "1e29*1e29*1e29": "holds a number beyond 1e60",
    "(theta + v + g + eta + beta)**8": "has more than 100 terms",
    "((1 + v)**8)**8*((1 + g)**8)**8": "has more than 100 terms",
    "1/0": "'0', at character 3, is 0",
    "v/(eta - eta)": "'eta - eta', at character 4, is 0",
    "1/((beta + 1)**2 - beta**2 - 2*beta - 1)": "is 0, and nothing can be divided by it",
    "0**-1": "'0', at character 1, is 0",
    "beta*v) + (g": "cannot be read as arithmetic",
    "2v": "cannot be read as arithmetic",
    "v v": "cannot be read as arithmetic",
    "*v": "cannot be read as arithmetic",
    "yield": "cannot be read as arithmetic",
    "(": "cannot be read as arithmetic",
    "(" * 390: "--velocity: ",
    "-" * 399 + "v": "more than 60 operations deep",
    "+".join(["v"] * 150): "more than 60 operations deep",
    "v" * 401: "it has 401 characters, at most 400 are read",
    "": "it is empty",
    "   ": "it is empty",
}


@pytest.mark.parametrize("text", REFUSED, ids=[text[:24] for text in REFUSED])
def test_everything_else_is_refused_by_piece_and_position(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    letters = (*LETTERS, s.rho) if "rho" in text else LETTERS
    began = time.process_time()
    with pytest.raises(ValueError, match=r"^--velocity: ") as refused:
        read_expression("--velocity", text, letters)
    assert REFUSED[text] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert time.process_time() - began < 1
    assert not list(tmp_path.iterdir())


TOKENS = ["v", "g", "theta", "beta", "x", "9", "0.5", "1e9", "**", "*", "+", "-", "/", "(", ")"]
TOKENS += [" ", ".", "lambda", "()", "__class__", "if", "or", ",", "[", "'", "1j", "e", "_", "\\"]


@given(
    st.lists(st.sampled_from(TOKENS), max_size=60).map("".join)
    | st.text(max_size=80)
    | st.text(string.printable, max_size=80)
    | st.recursive(LEAVES | st.just("(1+beta+v)"), trees, max_leaves=30)
)
@example("((1+v+g)**8)**8")
@example("1or 2")
@example("(((1+v)/(1+g))**3/((1+beta)/(1+eta))**3)**3")
def test_any_text_is_an_expression_or_a_sentence_within_a_second(text):
    began = time.process_time()
    found, sentence = answer(text, RULE_LETTERS)
    if found is None:
        assert sentence.startswith("--velocity: ")
    else:
        assert found.free_symbols <= set(RULE_LETTERS)
        assert found.is_finite is not False
    assert time.process_time() - began < 1


def test_only_text_is_read():
    with pytest.raises(TypeError, match="text = v: give text"):
        read_expression("--velocity", s.v, LETTERS)
