"""What is to be logged, before any store is involved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Point:
    """One value of a metric.

    Attributes:
        key: Its name; slashes make groups.
        value: Finite.
        step: The round, or the step of training.
        split: The evaluation split it was measured on, if any: the value is then also a score of
            the model that was evaluated.
    """

    key: str
    value: float
    step: int
    split: str | None = None


@dataclass(frozen=True)
class Picture:
    """The path of a picture among the same content's files, as the cell of a table."""

    path: str


@dataclass(frozen=True)
class Table:
    """Rows under columns, in the form that MLflow's table viewer reads."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell | Picture, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Cell | Picture]]) -> Table:
        """From mappings; the columns are the keys in the order in which they first occur."""
        columns = tuple(dict.fromkeys(key for row in rows for key in row))
        return cls(columns, tuple(tuple(row.get(key) for key in columns) for row in rows))

    def to_json(self) -> str:
        """As ``mlflow.log_table`` writes it: ``{"columns": [...], "data": [[...], ...]}``."""
        data = [[_cell(cell) for cell in row] for row in self.rows]
        return json.dumps({"columns": self.columns, "data": data}, ensure_ascii=False)


def _cell(cell: Cell | Picture) -> Any:
    if not isinstance(cell, Picture):
        return cell
    return {"type": "image", "filepath": cell.path, "compressed_filepath": cell.path}


@dataclass(frozen=True)
class Data:
    """A set of rows that a stage used or produced.

    Attributes:
        name: Shown in the list of datasets.
        file: Where the rows are.
        context: ``training``, ``evaluation``, ...
        rows: How many.
        columns: Names of the fields.
    """

    name: str
    file: Path
    context: str
    rows: int
    columns: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of the file's content; MLflow allows 36 characters."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Adapter:
    """A trained adapter: a folder in peft's format, and what is known about it."""

    folder: Path
    sha256: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """A quantized model: its folder, the adapter beside it, if any, and what is known about it."""

    folder: Path
    adapter: Path | None
    sha256: str
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Content:
    """Everything that one finished stage logs.

    Attributes:
        tags, params, metrics, datasets: Of the stage's own run.
        tables: Artefact path (ending in .json) -> table.
        files: Artefact path -> file to copy.
        blobs: Artefact path -> content.
        parent_metrics, parent_datasets, parent_tags, parent_blobs: What the run of the whole
            pipeline shows of it.
        adapter: What the stage trained.
        checkpoint: What the stage quantized.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Point, ...] = ()
    datasets: tuple[Data, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    parent_metrics: tuple[Point, ...] = ()
    parent_datasets: tuple[Data, ...] = ()
    parent_tags: Mapping[str, str] = field(default_factory=dict)
    parent_blobs: Mapping[str, bytes] = field(default_factory=dict)
    adapter: Adapter | None = None
    checkpoint: Checkpoint | None = None
