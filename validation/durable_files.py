"""Files that are there whole or not at all, after a kill or a power cut, and know when damaged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["read_sealed", "seal_of", "sync", "write_sealed", "written_whole"]


def sync(path: Path) -> None:
    """Until a file's content, or a folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write to, beside `path`; what is there at the end replaces `path` at once."""
    temporary = path.with_name(f"{path.name}.temporary")
    yield temporary
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def seal_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain types, whatever their order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """JSON with the SHA-256 of its content; it ends with a brace, so that no shorter file is valid.

    Args:
        path: of the file.
        content: plain types.
    """
    text = json.dumps({"content": content, "sha256": seal_of(content)}, indent=1)
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """The content of a file of `write_sealed`.

    Args:
        path: of the file.
        remedy: what to do if it is damaged; the end of the error's text.

    Raises:
        ValueError: if it is truncated, changed or something else.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        content, seal = read["content"], read["sha256"]
        intact = seal == seal_of(content)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error!r}. {remedy}") from error
    if not intact or not isinstance(content, dict):
        raise ValueError(f"{path} has been changed: its SHA-256 is not the one it states. {remedy}")
    return content
