r"""A derivation: the steps from a definition to a result, readable as mathematics.

Every record of the theory carries one. It is built while SymPy does the work, so it shows the
expressions that were really there and not a retelling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from sympy import latex
from sympy.core.basic import Basic
from sympy.matrices import MatrixBase

Formula: TypeAlias = Basic | MatrixBase

__all__ = ["Derivation", "Formula", "Step"]


# What an engine without Unicode cannot set, in mathematics.
_COMMANDS = {
    **{
        letter: rf"\{name} "
        for letter, name in zip(
            "αβγδεηθκλμνξρστφΓΔΣΦ",
            [
                "alpha",
                "beta",
                "gamma",
                "delta",
                "varepsilon",
                "eta",
                "theta",
                "kappa",
                "lambda",
                "mu",
                "nu",
                "xi",
                "rho",
                "sigma",
                "tau",
                "varphi",
                "Gamma",
                "Delta",
                "Sigma",
                "Phi",
            ],
            strict=True,
        )
    },
    "½": r"\tfrac12 ",
    "²": "^2",
    "ᵀ": "^T",
    "ⁿ": "^n",
    "⁻¹": "^{-1}",
    "√": r"\surd ",
    "∇": r"\nabla ",
    "∂": r"\partial ",
    "∝": r"\propto ",
    "∞": r"\infty ",
    "‖": r"\| ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "→": r"\to ",
    "·": r"\cdot ",
    "×": r"\times ",
    "−": "-",
    "θ̇": r"\dot\theta ",
}


def _spelled(text: str) -> str:
    for letter in sorted(_COMMANDS, key=len, reverse=True):
        text = text.replace(letter, _COMMANDS[letter])
    return text


def _typeset(text: str) -> str:
    """Prose, with every stretch that holds such a letter set as mathematics."""
    letters = "".join(dict.fromkeys("".join(_COMMANDS)))
    words = text.split(" ")
    return " ".join(
        f"${_spelled(word)}$" if any(letter in word for letter in letters) else word
        for word in words
    )


def _escaped(text: str) -> str:
    """Words in which a rule's name is no markup; quotation marks are none."""
    return escape(text, quote=False)


@dataclass(frozen=True)
class Step:
    """One step: what was done, to which formulas it led, and what had to be assumed.

    Args:
        title: a few words.
        action: one sentence, what was done to the formulas before.
        formulas: the outcome, in the order of reading.
        assumption: what the step takes for granted beyond algebra; empty if nothing.
    """

    title: str
    action: str
    formulas: tuple[Formula, ...] = ()
    assumption: str = ""

    def _repr_markdown_(self) -> str:
        return Derivation((self,)).markdown()


@dataclass(frozen=True)
class Derivation:
    """Steps in order; iterates, indexes, prints as text, Markdown or LaTeX, renders in a notebook.

    >>> from sgdtheory import heavy_ball, modified_equation
    >>> [step.title for step in modified_equation(heavy_ball()).derivation][:2]
    ['Update rule', 'Eliminate the velocity']
    """

    steps: tuple[Step, ...] = ()

    def then(self, title: str, action: str, *formulas: Formula, assumption: str = "") -> Derivation:
        """The derivation with one step more."""
        return Derivation((*self.steps, Step(title, action, formulas, assumption)))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the steps take for granted, each once, in order."""
        return tuple(dict.fromkeys(step.assumption for step in self.steps if step.assumption))

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]

    def markdown(self) -> str:
        """Markdown with display mathematics, as a notebook or a documentation page shows it."""
        parts = []
        for number, step in enumerate(self.steps, start=1):
            parts.append(f"**{number}. {_escaped(step.title)}.** {_escaped(step.action)}")
            parts += [f"$$\n{latex(formula)}\n$$" for formula in step.formulas]
            if step.assumption:
                parts.append(f"*Assumed: {_escaped(step.assumption)}*")
        return "\n\n".join(parts)

    def latex(self) -> str:
        """LaTeX paragraphs, for any engine: letters of formulas in the words are set as such."""
        parts = []
        for step in self.steps:
            parts.append(rf"\paragraph{{{_typeset(step.title)}}} {_typeset(step.action)}")
            parts += [rf"\[ {_spelled(latex(formula))} \]" for formula in step.formulas]
            if step.assumption:
                parts.append(rf"\emph{{Assumed: {_typeset(step.assumption)}}}")
        return "\n".join(parts)

    def __str__(self) -> str:
        lines = []
        for number, step in enumerate(self.steps, start=1):
            lines.append(f"{number}. {step.title}. {step.action}")
            lines += [f"     {formula}" for formula in step.formulas]
            if step.assumption:
                lines.append(f"     assumed: {step.assumption}")
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.markdown()
