"""The folder of one run: whose it is, that one process at a time works in it, when it is done."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.durable_files import read_sealed, write_sealed
from validation.experiments import Experiment

__all__ = ["RunFolder"]

_FORMAT, _VERSION = "sgdtheory run", 1


@dataclass(frozen=True)
class RunFolder:
    """One run's place on disk.

    Args:
        path: of the folder.
        identity: of the experiment.
        seed: of the run.
    """

    path: Path
    identity: str
    seed: int

    @property
    def record(self) -> Path:
        """What was measured."""
        return self.path / "record.zarr"

    @property
    def directions(self) -> Path:
        """The directions that no file gave, if there are any."""
        return self.path / "directions.safetensors"

    @property
    def _declaration(self) -> Path:
        return self.path / "experiment.json"

    @property
    def _completion(self) -> Path:
        return self.path / "complete.json"

    @property
    def _head(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "identity": self.identity,
            "seed": self.seed,
        }

    def claim(self, experiment: Experiment) -> None:
        """Write what is run here, or see that it is the same.

        Raises:
            ValueError: naming the file, if it is damaged, missing or of another run.
        """
        remedy = "Delete the folder of this run and run it again: it ends the same."
        if self._declaration.exists():
            self._agree(self._declaration, remedy)
        elif self.record.exists():
            raise ValueError(f"{self._declaration} is missing beside {self.record.name}. {remedy}")
        else:
            about = {"name": experiment.name, "experiment": experiment.content}
            write_sealed(self._declaration, self._head | about)

    def is_complete(self) -> bool:
        """Whether the run has ended.

        Raises:
            ValueError: naming the file, if it is damaged or of another run.
        """
        if not self._completion.exists():
            return False
        self._agree(self._completion, "Delete it and run again: the record is then checked anew.")
        return True

    def completion(self) -> dict[str, Any]:
        """What `complete` has been told.

        Raises:
            ValueError: naming the file, if it is missing, damaged or of another run.
        """
        return self._agree(
            self._completion, "Delete the folder and run it again: it ends the same."
        )

    def complete(self, about: Mapping[str, Any]) -> None:
        """Say that the run has ended.

        Args:
            about: what it has left, in plain types.
        """
        write_sealed(self._completion, self._head | dict(about))

    def _agree(self, path: Path, remedy: str) -> dict[str, Any]:
        found = read_sealed(path, remedy)
        for name, value in self._head.items():
            if found.get(name) != value:
                raise ValueError(
                    f"{path} is of another run: {name} = {found.get(name)!r}, not {value!r}. Give "
                    "each run a folder of its own."
                )
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder. The system frees the lock of a process that is killed.

        Raises:
            ValueError: naming the lock, if another process holds it.
        """
        path = self.path / "lock"
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(
                    f"{path} is held: another process runs in this folder. Wait for it, or give "
                    "this run a folder of its own."
                ) from error
            yield
