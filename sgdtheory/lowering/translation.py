"""From restricted Python to another language: statements, whole functions, and their comments."""

from __future__ import annotations

import ast
import re
import textwrap
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sgdtheory.lowering.restricted_python import INT, Kind, message
from sgdtheory.lowering.translated_expressions import Expressions, Term

__all__ = ["Translation", "Translator", "comment"]


@dataclass(frozen=True)
class Translation:
    """What a back end of another language makes of a generated source.

    Args:
        files: their texts by name; the source comes first.
        usage: how to compile or import them.
    """

    files: Mapping[str, str]
    usage: str


def comment(lines: Iterable[str]) -> str:
    """A block comment that no symbol's name can end: the text inside is disarmed and wrapped."""
    wrapped: list[str] = []
    for line in lines:
        # Control and direction characters, ends of comments, and C's trigraphs.
        plain = "".join(c if c.isprintable() else " " for c in line)
        plain = re.sub(r"(?<=\*)(?=/)|(?<=/)(?=\*)|(?<=\?)(?=\?)", " ", plain)
        wrapped += textwrap.wrap(plain, 94, subsequent_indent="  ", break_long_words=False) or [""]
    if len(wrapped) == 1:
        return f"/** {wrapped[0]} */"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in wrapped), " */"])


class Translator(Expressions):
    """One routine to one language, statement by statement."""

    temporaries = 0

    # -- what a language adds --------------------------------------------------------------------

    @abstractmethod
    def declaration(self, name: str, kind: Kind, *, fixed: bool) -> str:
        """How a variable is introduced; `fixed` if it never changes."""

    @abstractmethod
    def unpacking(self, targets: Sequence[str], value: Term) -> list[str]:
        """The entries of a tuple, assigned to names; those called _ are not wanted."""

    @abstractmethod
    def failure(self, message: str) -> str:
        """The statement that refuses an input."""

    # -- statements ------------------------------------------------------------------------------

    def temporary(self) -> str:
        """A name for a value on its way; no variable of the sources looks like it."""
        self.temporaries += 1
        return f"_t{self.temporaries}"

    def block(self, statements: Iterable[ast.stmt], **known: Kind) -> list[str]:
        """Statements, indented; names that are first assigned in them end with them."""
        self.scopes.append(known)
        lines = [f"    {line}" for part in statements for line in self.visit(part)]
        self.scopes.pop()
        return lines

    def assigned(self, name: str, value: Term) -> str:
        """A value's assignment to a variable, which is introduced if it is new."""
        known = self.known().get(name)
        if known is not None:
            return f"{self.names[name]} = {self.converted(value, known).text};"
        self.scopes[-1][name] = value.kind
        head = self.declaration(self.names[name], value.kind, fixed=self.stores[name] == 1)
        return f"{head} = {value.text};"

    def _Assign(self, node: ast.Assign) -> list[str]:
        (target,) = node.targets
        if isinstance(target, ast.Name):
            return [self.assigned(target.id, self.visit(node.value))]
        assert isinstance(target, ast.Tuple)
        names = [part.id for part in target.elts if isinstance(part, ast.Name)]
        if not isinstance(node.value, ast.Tuple):
            return self.unpacking(names, self.visit(node.value))
        values = [self.visit(part) for part in node.value.elts]
        lines = []
        if set(names) & {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}:
            # All values are those from before, whatever is assigned first.
            for index, value in enumerate(values):
                values[index] = Term(self.temporary(), value.kind)
                head = self.declaration(values[index].text, value.kind, fixed=True)
                lines.append(f"{head} = {value.text};")
        return lines + [self.assigned(*pair) for pair in zip(names, values, strict=True)]

    def _AugAssign(self, node: ast.AugAssign) -> list[str]:
        changed = ast.BinOp(ast.Name(ast.unparse(node.target), ast.Load()), node.op, node.value)
        return [self.assigned(ast.unparse(node.target), self.visit(changed))]

    def _Return(self, node: ast.Return) -> list[str]:
        assert node.value is not None
        return [f"return {self.converted(self.visit(node.value), self.routine.returns).text};"]

    def _Raise(self, node: ast.Raise) -> list[str]:
        return [self.failure(message(node.exc))]

    def _If(self, node: ast.If) -> list[str]:
        lines = [f"if ({self.visit(node.test).text}) {{", *self.block(node.body)]
        return [*lines, *(["} else {", *self.block(node.orelse)] if node.orelse else []), "}"]

    def _While(self, node: ast.While) -> list[str]:
        return [f"while ({self.visit(node.test).text}) {{", *self.block(node.body), "}"]

    def _For(self, node: ast.For) -> list[str]:
        assert isinstance(node.iter, ast.Call)
        assert isinstance(node.target, ast.Name)
        *start, stop = (self.visit(part).text for part in node.iter.args)
        variable = self.names[node.target.id]
        head = self.declaration(variable, INT, fixed=False)
        first = f"{head} = {start[0] if start else 0}"
        line = f"for ({first}; {variable} < {stop}; {variable} += 1) {{"
        return [line, *self.block(node.body, **{node.target.id: INT}), "}"]

    def _Expr(self, node: ast.Expr) -> list[str]:
        return [] if isinstance(node.value, ast.Constant) else self.refuse(node)

    # -- the whole -------------------------------------------------------------------------------

    def statements(self) -> list[str]:
        """The routine's statements."""
        return self.block(self.routine.body)

    def entries(self) -> tuple[list[str], list[str]]:
        """The statements before a generated function's return, and the entries it returns."""
        *before, last = self.routine.body
        lines = [f"    {line}" for part in before for line in self.visit(part)]
        assert isinstance(last, ast.Return)
        assert isinstance(last.value, ast.Tuple)
        return lines, [self.floating(self.visit(part)).text for part in last.value.elts]
