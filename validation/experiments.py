"""An experiment as a small declared file: TOML in, a frozen record out, its content its identity.

What a file leaves out is filled in before the hash is taken, and files that it names count by
their content: comments and order change nothing, a changed weight changes everything.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

__all__ = [
    "Cell",
    "Data",
    "Experiment",
    "Loss",
    "Model",
    "Optimizer",
    "Record",
    "Sampler",
    "cells",
    "checked_record",
    "declared_experiment",
    "find_experiment",
    "read_experiment",
    "read_tables",
]

_OWN = Path(__file__).parent.parent / "experiments"
_STRICT = ConfigDict(extra="forbid", strict=True)
_Options: TypeAlias = dict[str, bool | int | float | str]
_Positive: TypeAlias = Annotated[int, Field(ge=1)]
_Count: TypeAlias = Annotated[int, Field(ge=0)]
_Rate: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Decay: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Model:
    """What is trained.

    Args:
        name: "linear", "mlp", "vgg", "resnet18", or a function of one's own,
            "package.module:function".
        options: arguments of that function.
        dtype: of its parameters.
        weights: safetensors file that it starts from; by default it is initialised by the seed.
    """

    __pydantic_config__ = _STRICT
    name: str
    options: _Options = field(default_factory=dict)
    dtype: Literal["float32", "float64"] = "float32"
    weights: str | None = None


@dataclass(frozen=True)
class Data:
    """What it is trained on.

    Args:
        name: "diabetes", "digits", "power_law", "features", "digits_images", "cifar10", "imagenet",
            or a function of one's own, "package.module:function".
        options: arguments of that function.
        label_noise: standard deviation of the Gaussian error that a target has each time it is
            drawn.
    """

    __pydantic_config__ = _STRICT
    name: str
    options: _Options = field(default_factory=dict)
    label_noise: _Decay = 0.0


@dataclass(frozen=True)
class Loss:
    """The loss of a batch is the mean of its examples' losses.

    Args:
        name: "half_squared_error" or "cross_entropy".
    """

    __pydantic_config__ = _STRICT
    name: Literal["half_squared_error", "cross_entropy"] = "half_squared_error"


@dataclass(frozen=True)
class Sampler:
    """How batches are drawn.

    Args:
        name: of the sampling.
        batch_size: S.
    """

    __pydantic_config__ = _STRICT
    name: Literal["with_replacement", "epochs", "fixed_order"]
    batch_size: _Positive


@dataclass(frozen=True)
class Optimizer:
    """Of torch.optim.SGD, by its names.

    Args:
        learning_rate: η.
        momentum: β.
        weight_decay: λ.
        dampening: τ.
        nesterov: whether the gradient is taken ahead.
    """

    __pydantic_config__ = _STRICT
    learning_rate: _Rate
    momentum: _Fraction = 0.0
    weight_decay: _Decay = 0.0
    dampening: _Fraction = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and (self.dampening or not self.momentum):
            raise ValueError(
                f"nesterov = true with momentum = {self.momentum} and dampening = "
                f"{self.dampening}: torch.optim.SGD takes it with momentum and without dampening"
            )


HESSIAN = "hessian"


@dataclass(frozen=True)
class Record:
    """What is kept, and for how long.

    Args:
        updates: recorded updates.
        burn_in: updates before the record begins.
        checkpoint_every: updates between two checkpoints, the most that a kill can cost.
        directions: safetensors file with a tensor `directions`, (parameters, k), one a column; or
            "hessian", the eigenvectors of a linear model's Hessian.
        random_projections: number of random unit directions, drawn by the seed.
        projections_every: updates between two projections.
        snapshots_every: updates between two copies of all parameters; 0 for none.
        replicas: independent copies, of a linear model.
        lags: in updates, at which linear models are correlated; 1 and then ascending.
    """

    __pydantic_config__ = _STRICT
    updates: _Positive
    burn_in: _Count = 0
    checkpoint_every: _Positive = 256
    directions: str | None = None
    random_projections: _Count = 0
    projections_every: _Positive = 1
    snapshots_every: _Count = 0
    replicas: _Positive = 1
    lags: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (1, 2, 4, 8, 16, 32)

    def __post_init__(self) -> None:
        if self.lags[0] != 1 or any(a >= b for a, b in itertools.pairwise(self.lags)):
            raise ValueError(f"lags = {list(self.lags)}: they begin with 1 and ascend")


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a result, and nothing else.

    Args:
        name: for people.
        model: what is trained.
        data: on what.
        loss: to lower what.
        sampler: with which batches.
        optimizer: by which rule.
        record: what is kept.
        seeds: of one run each.
        engine: "torch" trains with torch.optim.SGD; "ensemble" simulates linear models fast;
            "stability" looks for the learning rate beyond which they grow without bounds.
        folder: where relative paths begin: that of the file.
    """

    __pydantic_config__ = _STRICT
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    model: Model
    data: Data
    sampler: Sampler
    optimizer: Optimizer
    record: Record
    loss: Loss = Loss()
    seeds: Annotated[tuple[_Count, ...], Field(min_length=1)] = (0,)
    engine: Literal["torch", "ensemble", "stability"] = "torch"
    folder: Path = Path()

    @property
    def content(self) -> dict[str, Any]:
        """What is hashed: plain types, with digests in the place of files, and of own functions."""
        declared = asdict(self)
        for place in ("folder", "seeds", "name"):
            del declared[place]
        places = (declared["model"], "weights"), (declared["record"], "directions")
        for section, entry in (*places, (declared["data"]["options"], "path")):
            if section.get(entry) not in (None, HESSIAN):
                section[entry] = _digest(str(section[entry]), self)
        own = (name for name in (self.model.name, self.data.name) if ":" in name)
        return {**declared, "files": {name: _digest_of_code(name) for name in own}}

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits of SHA-256 over the content; seeds are runs of their own."""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, name: str) -> Path:
        """Where a file that it names lies."""
        return self.folder / name

    def varied(self, values: Mapping[str, Any]) -> Experiment:
        """The same but for some entries, each named as `optimizer.learning_rate`."""
        declared = asdict(self)
        for name, value in values.items():
            *sections, last = name.split(".")
            place = declared
            for section in sections:
                place = place.get(section, {})
            if not isinstance(place, dict) or (last not in place and sections[-1:] != ["options"]):
                raise ValueError(f"sweep: {name} names no entry of an experiment.")
            place[last] = value
        folder = declared.pop("folder")
        return replace(_checked(declared, f"{self.name} with {dict(values)}"), folder=folder)


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: an experiment and one of its seeds."""

    experiment: Experiment
    seed: int

    @property
    def folder(self) -> str:
        """Name of its folder: for people first, and unique."""
        return f"{self.experiment.name}-{self.experiment.identity}/seed-{self.seed}"


def _digest(name: str, experiment: Experiment) -> str:
    path = experiment.path(name)
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        try:
            found = _file_digest(file, *_version(file))
        except OSError as error:
            raise ValueError(
                f"{experiment.name} names {name}, which cannot be read at {path}: {error}. "
                "Paths begin at the folder of the experiment's file."
            ) from error
        total.update(found)
    return total.hexdigest()


def _version(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


# Directions of a large network are gigabytes, and a run asks for its identity more than once.
@lru_cache(maxsize=64)
def _file_digest(file: Path, *version: int) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _digest_of_code(name: str) -> str:
    """Of the file that defines a function of one's own; what that imports is not looked at."""
    module = name.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError(
            f"{name}: there is no module {module}. It must lie in the working folder or in a "
            "folder of PYTHONPATH."
        )
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


_Kind = TypeVar("_Kind")


def checked_record(kind: type[_Kind], declared: Mapping[str, Any], complaint: str) -> _Kind:
    """A record of what a file declares.

    Args:
        kind: of the record.
        declared: its entries.
        complaint: how the error begins.

    Raises:
        ValueError: naming every entry that is wrong, its value and what is allowed.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(declared, default=str))
    except ValidationError as error:
        lines = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'the file'} = {problem['input']!r}: "
            f"{problem['msg']}"
            for problem in error.errors()
        )
        raise ValueError(f"{complaint}: {lines}.") from None


def _checked(declared: Mapping[str, Any], origin: str) -> Experiment:
    return checked_record(Experiment, declared, f"{origin} does not declare an experiment")


def find_experiment(name: str) -> Path:
    """The file of that path, or of that name among those that come with this project.

    Raises:
        ValueError: naming those that there are.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    known = sorted(file.stem for file in _OWN.glob("*.toml"))
    if name not in known:
        raise ValueError(f"{name} is no TOML file, and none of {', '.join(known)}.")
    return _OWN / f"{name}.toml"


@dataclass(frozen=True)
class _Declaration:
    """A file: an experiment, and in what its cells differ from it."""

    experiment: Experiment
    points: tuple[Mapping[str, Any], ...]
    sweep: Mapping[str, list[Any]]


def read_tables(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What a TOML file holds, over what the file beside it holds that it extends.

    Args:
        path: of the file.
        above: those that extend it.

    Raises:
        ValueError: naming the file and what is wrong.
    """
    declared = _parsed_toml(path)
    base = declared.pop("extends", None)
    if base is None:
        return declared
    if not isinstance(base, str) or Path(base).name != base:
        raise ValueError(f"{path}: extends = {base!r}: give the name of a file beside this one.")
    if path.with_name(base) in (path, *above):
        raise ValueError(f"{path}: extends = {base!r}, which extends this file. Leave out one.")
    below = read_tables(path.with_name(base), (path, *above))
    return {
        **below,
        **{
            name: {**below[name], **value} if _are_tables(below.get(name), value) else value
            for name, value in declared.items()
        },
    }


def _are_tables(*values: object) -> bool:
    return all(isinstance(value, dict) for value in values)


def _parsed_toml(path: Path) -> dict[str, Any]:
    try:
        declared = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} cannot be read as TOML: {error}") from error
    if "folder" in declared:
        raise ValueError(f"{path}: folder is that of the file and cannot be declared.")
    return declared


def declared_experiment(tables: Mapping[str, Any], path: Path) -> Experiment:
    """The experiment that the tables of a file declare.

    Raises:
        ValueError: naming the file, the entry, its value and what is allowed.
    """
    return replace(_checked(tables, str(path)), folder=path.resolve().parent)


def _parsed(path: Path) -> _Declaration:
    declared = read_tables(path)
    if "stages" in declared:
        raise ValueError(
            f"{path} declares stages, which `python -m validation run` performs, all settings "
            "included. Give it to `run`, `compare` or `report`."
        )
    points, sweep = declared.pop("points", [{}]), declared.pop("sweep", {})
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise ValueError(f"{path}: points = {points!r}: give tables, [[points]].")
    if not isinstance(sweep, dict):
        raise ValueError(  # noqa: TRY004
            f"{path}: sweep = {sweep!r}: give a table, [sweep]."
        )
    for name, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f'{path}: sweep."{name}" = {values!r}: give a list of values.')
    return _Declaration(declared_experiment(declared, path), tuple(points), sweep)


def read_experiment(path: Path) -> Experiment:
    """The experiment of a TOML file, without its points and its sweep.

    Raises:
        ValueError: naming the file, the entry, its value and what is allowed.
    """
    return _parsed(path).experiment


def cells(path: Path) -> tuple[Cell, ...]:
    """Every run that a file declares: each of its points, with all of its sweep, with all seeds.

    A table [sweep] holds lists under names like "optimizer.learning_rate", and stands for all
    their combinations; a table [[points]] holds one value under each of its names.

    Raises:
        ValueError: naming the file, the entry, its value and what is allowed.
    """
    file = _parsed(path)
    combinations = [
        dict(zip(file.sweep, values, strict=True))
        for values in itertools.product(*file.sweep.values())
    ]
    return tuple(
        Cell(varied, seed)
        for point in file.points
        for combination in combinations
        for varied in (file.experiment.varied({**point, **combination}),)
        for seed in varied.seeds
    )
