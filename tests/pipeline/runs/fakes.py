"""Stages that only count and copy, for the logic of the engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pipeline.config import RunConfig
from pipeline.runs.engine import Engine, Silent
from pipeline.runs.folder import RunFolder, make_run
from pipeline.runs.plan import ROUND, Step, plan
from pipeline.stages.context import Stage, StageContext

Act = Callable[[StageContext], None]


@dataclass
class Fake:
    """A stage that writes what it was given, after ``act``."""

    name: str
    SECTIONS: tuple[str, ...]
    NEEDS: tuple[str, ...]
    calls: list[str]
    act: Act = lambda _context: None

    def run(self, context: StageContext) -> None:
        self.calls.append(f"{context.round}/{self.name}")
        self.act(context)
        given = {name: _read(folder) for name, folder in sorted(context.inputs.items())}
        settings = context.config.sections(self.SECTIONS)
        text = json.dumps([self.name, context.round, settings, given], sort_keys=True)
        (context.work / "out.txt").write_text(text)
        if self.name == "train":
            (context.work / "adapter").mkdir(exist_ok=True)
            (context.work / "adapter" / "weights").write_text(str(hash_of(text)))


def hash_of(text: str) -> int:
    """Short, and the same in every process."""
    return sum(ord(letter) * (i + 1) for i, letter in enumerate(text)) % 1_000_003


def _read(folder: Path) -> str:
    return str(
        hash_of(
            "".join(
                p.read_text()
                for p in sorted(folder.glob("*"))
                if p.is_file() and p.name != "manifest.json"
            )
        )
    )


@dataclass
class World:
    """A run of fake stages.

    Attributes:
        calls: ``ROUND/STAGE`` for each time a stage was carried out.
    """

    path: Path
    calls: list[str] = field(default_factory=list)
    acts: dict[str, Act] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=lambda: {"model": "m", "tasks": "t"})

    def stages(self) -> Mapping[str, Stage]:
        """All stages, with the needs and sections of the real ones."""
        fakes = {
            "generate": (("seed", "model", "tasks", "generate"), ("adapter",)),
            "verify": (("tasks",), ("generate",)),
            "repair": (("seed", "model", "tasks", "repair"), ("generate", "verify")),
            "rank": (("rank",), ("generate", "verify", "repair")),
            "train": (("seed", "model", "train"), ("rank",)),
            "evaluate": (("model", "tasks", "evaluate"), ()),
            "select": (("select",), ()),
        }
        assert set(fakes) == {*ROUND, "select"}
        nothing: Act = lambda _context: None  # noqa: E731
        return {
            name: cast(Stage, Fake(name, sections, needs, self.calls, self.acts.get(name, nothing)))
            for name, (sections, needs) in fakes.items()
        }

    def steps(self, config: RunConfig) -> tuple[Step, ...]:
        return plan(config, self.stages())

    def engine(self, config: RunConfig, observer: Silent | None = None) -> Engine:
        if not (self.path / "run.json").exists():
            make_run(self.path, config)
        run = RunFolder(self.path, config, {})
        return Engine(run, self.stages(), self.outside, observer or Silent())

    def go(self, config: RunConfig) -> list[str]:
        """Carry everything out; the calls that this took."""
        self.calls.clear()
        self.engine(config).execute(self.steps(config))
        return list(self.calls)


def content(run: Path) -> dict[str, bytes]:
    """Everything in a run but what depends on time."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "run.json", ".lock")
    }
