"""Compiled code on disk: a file per content hash, in the user's own cache folder.

A file holds a digest of its key and content, and then the content. One that was cut off, changed or
renamed does not match its digest and counts as absent, so it is built anew and written over. A
digest protects against accidents, not against somebody who may write to the folder: that is the
user alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

__all__ = ["FOLDER_VARIABLE", "cache_folder", "content_key", "remembered_on_disk"]

FOLDER_VARIABLE = "SGDTHEORY_CACHE_DIR"
_DIGEST_BYTES = sha256().digest_size


def cache_folder() -> Path | None:
    """Where compiled code is kept; None where the user has no home.

    ``SGDTHEORY_CACHE_DIR`` if it is set, else ``sgdtheory`` in ``XDG_CACHE_HOME``, else in the
    place that the platform has for caches.
    """
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return Path(chosen).expanduser().absolute()
    # The convention tells programs to ignore a relative path.
    if (shared := Path(os.environ.get("XDG_CACHE_HOME", ""))).is_absolute():
        return shared / "sgdtheory"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) / "sgdtheory" / "cache" if local else None
    with suppress(RuntimeError):
        custom = "Library/Caches" if sys.platform == "darwin" else ".cache"
        return Path.home() / custom / "sgdtheory"
    return None


def content_key(parts: Iterable[str]) -> str:
    """Hash of all that a compiled code depends on, in hexadecimal digits."""
    digest = sha256()
    for part in parts:
        encoded = part.encode()
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def remembered_on_disk(key: str, build: Callable[[], bytes]) -> bytes:
    """The content kept under a key; built, and kept if the folder can be written, if there is none.

    Args:
        key: from `content_key`.
        build: makes the content.
    """
    folder = cache_folder()
    if folder is None:
        return build()
    path = folder / f"{key}.bin"
    content = _read(path, key)
    if content is None:
        content = build()
        # Without a cache the next process compiles again, and nothing else is amiss.
        with suppress(OSError):
            _write(path, _digest(key, content) + content)
    return content


def _digest(key: str, content: bytes) -> bytes:
    return sha256(key.encode() + content).digest()


def _read(path: Path, key: str) -> bytes | None:
    """The content of a file; None if it is absent or does not match its digest."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    return content if _digest(key, content) == digest else None


def _write(path: Path, content: bytes) -> None:
    """Write a file in one piece: who reads it meanwhile sees all of it or nothing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
