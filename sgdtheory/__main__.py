"""Command line: `sgdtheory advise | derive | explore | predict`, also as `python -m sgdtheory`."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import sgdtheory

__all__ = ["main"]

_WRONG_INPUT = 2
_INTERRUPTED = 130
_SHELLS = (["bash"], ["zsh"], ["tcsh"], ["fish"])
_DESCRIPTION = """The statistical physics of stochastic gradient descent: derived and predicted.

Each command has examples: sgdtheory derive --help. sgdtheory --version prints the version,
sgdtheory --tyro-print-completion bash (or zsh) a script that completes words in a shell.

Exit status: 0, also when a reader of the output stops early; 2 for wrong input, with a paragraph
on standard error that says what to change."""


def _tyro() -> Any:
    try:
        import tyro
    except ImportError:
        raise ImportError(
            "the command line is read by tyro, which is not installed. Run pip install "
            "'sgdtheory[cli]'."
        ) from None
    return tyro


def _joined(arguments: list[str]) -> list[str]:
    """Values that begin with a minus sign, joined to their options: else they look like options."""
    joined: list[str] = []
    for argument in arguments:
        value = argument.startswith("-") and not argument.startswith("--") and argument != "-h"
        if value and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(f"sgdtheory {sgdtheory.__version__}")
        return
    if arguments[:1] == ["--tyro-print-completion"] and arguments[1:2] not in _SHELLS:
        raise ValueError("--tyro-print-completion: give one shell of bash, zsh, tcsh and fish.")
    tyro = _tyro()
    # Commands are declared in types of tyro.
    from sgdtheory.commands import COMMANDS

    tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="sgdtheory",
        description=_DESCRIPTION,
        args=_joined(arguments) or ["--help"],
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )


def main() -> None:
    """Run the command that the arguments ask for; wrong input ends with status 2."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no Greek shows question marks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has no reader; the interpreter would complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except (ValueError, ImportError, OSError) as error:
        print(f"sgdtheory: {_told(error)}", file=sys.stderr)
        sys.exit(_WRONG_INPUT)


def _told(error: Exception) -> str:
    """In words; the system's own are of a file, which it names apart from them."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}. Give another file."
    return str(error)


if __name__ == "__main__":
    main()
