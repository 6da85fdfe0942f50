"""One run of an experiment with torch.optim.SGD, in a folder, that can be killed at any moment.

Called again it goes on from its last checkpoint. On the processor, with the same libraries and as
many threads, it ends bit for bit as if it had never been killed. The folder holds

    experiment.json             what was declared, and the seed
    record.zarr                 what was measured
    directions.safetensors      the directions that no file gave, if there are any
    checkpoint.safetensors      where it is, in the end the final state; and the one before
    complete.json               at the end: a digest of every array
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from validation.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from validation.directions import declared_directions
from validation.experiments import Experiment, Record
from validation.generator_states import own_generators
from validation.record_layout import Layout
from validation.record_store import RecordStore, check_record
from validation.recorder import Recorder, checkpoint_interval
from validation.run_folder import RunFolder
from validation.torch_training import Training, stream_seed

__all__ = ["run"]


def run(
    experiment: Experiment,
    seed: int,
    folder: Path,
    device: str = "cpu",
    progress: Callable[[int], object] = lambda _: None,
) -> Path:
    """Start a run, or go on with it; a complete one is left as it is.

    Args:
        experiment: what is run.
        seed: of batches, label noise, initial weights, random directions and dropout.
        folder: of this run alone; made if need be.
        device: any torch device.
        progress: called with the number of updates done since the last call.

    Returns:
        The path of its record, for `open_record`.

    Raises:
        ValueError: naming the file, if the folder is another run's, is in use, or is damaged; and
            if the training diverges.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, where = RunFolder(folder, experiment.identity, seed), torch.device(device)
    with place.locked():
        place.claim(experiment)
        if place.is_complete():
            progress(experiment.record.burn_in + experiment.record.updates)
        else:
            with own_generators(stream_seed(seed, "global generators"), where):
                _Run(experiment, place, where).finish(progress)
    return place.record


def _boundaries(record: Record) -> Iterator[int]:
    """Steps at a checkpoint: where burn-in and record end, and every so often before."""
    every, end = checkpoint_interval(record), record.burn_in + record.updates
    yield from range(every, record.burn_in, every)
    yield from range(record.burn_in, end, every)
    yield end


class _Run:
    """A training and its record, from wherever the folder says that it is."""

    def __init__(self, experiment: Experiment, place: RunFolder, device: torch.device) -> None:
        self._record, self._place = experiment.record, place
        self._training = Training(experiment, place.seed, device)
        parameters = sum(p.numel() for p in self._training.parameters) // self._record.replicas
        self._directions = declared_directions(experiment, place.seed, parameters, place.directions)
        size, count = self._directions.shape
        self._layout = Layout.of(experiment.record, size, count, experiment.model.dtype)
        self._recorder: Recorder | None = None
        found = read_checkpoint(place.path, place.identity, place.seed)
        # Steps that need no checkpoint any more.
        self._saved = -1 if found is None else found.step
        self._store = self._begin(experiment.name) if found is None else self._go_on(found)

    def _begin(self, name: str) -> RecordStore:
        """An empty record, in place of what a run left that was killed before its checkpoint."""
        shutil.rmtree(self._place.record, ignore_errors=True)
        about = {"identity": self._place.identity, "seed": self._place.seed, "name": name}
        return RecordStore.create(self._place.record, self._layout, about)

    def _go_on(self, found: Checkpoint) -> RecordStore:
        """The record as it was at the checkpoint, each of its chunks seen to be whole."""
        for torn in self._place.record.rglob("*.partial"):
            torn.unlink()
        recorded = found.step - self._record.burn_in
        if recorded >= 0:
            check_record(self._place.record, self._place.identity, recorded)
        store = RecordStore(self._place.record, self._layout)
        self._training.restore(found.step, found.tensors, found.numbers)
        if recorded >= 0:
            self._start_recorder(store, found.tensors["record/start"])
        return store

    def _start_recorder(self, store: RecordStore, start: torch.Tensor | None = None) -> None:
        self._recorder = Recorder(
            self._training.parameters,
            self._training.optimizer,
            self._record,
            self._directions,
            store.write,
            start=start,
            update=self._training.step - self._record.burn_in,
        )

    def _save(self) -> None:
        tensors, numbers = self._training.state()
        if self._recorder is not None:
            self._recorder.flush()
            tensors["record/start"] = self._recorder.start
        # The record first: a checkpoint must not speak of chunks that a power cut may take.
        self._store.sync()
        at = self._place.identity, self._place.seed, self._training.step
        write_checkpoint(self._place.path, Checkpoint(*at, tensors, numbers))

    def finish(self, progress: Callable[[int], object]) -> None:
        """Train to the end, with a checkpoint at every boundary."""
        progress(self._training.step)
        for boundary in _boundaries(self._record):
            if boundary <= self._saved:
                continue
            while self._training.step < boundary:
                self._training.update()
                if self._recorder is not None:
                    self._recorder.observe()
                progress(1)
            if boundary == self._record.burn_in:
                self._start_recorder(self._store)
            self._save()
        digests = check_record(self._place.record, self._place.identity)
        self._place.complete({"steps": self._training.step, "sha256": digests})
