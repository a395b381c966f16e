"""What a stage is given: its configuration, its inputs, and a folder to work in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.config import RunConfig

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

PARTIAL = "partial"
"""Folder within ``work`` for what only a resumed attempt needs; never part of the results."""


@dataclass(frozen=True)
class StageContext:
    """The surroundings of one stage.

    Attributes:
        config: The run's configuration; a variant's own, in a variant.
        round: From 1; 0 is the base model. Variants belong to round 1.
        inputs: Folders of finished stages by stage name, as far as they exist. ``adapter`` is
            the adapter that the round starts from (absent in round 1); for ``evaluate`` it is the
            adapter to be evaluated (absent for the base).
        work: Folder to write artefacts to. Everything in it but ``work/partial`` is new at every
            attempt and becomes the stage's folder when `Stage.run` returns.
        report: Progress, for the terminal; cheap to call often.
    """

    config: RunConfig
    round: int
    inputs: Mapping[str, Path]
    work: Path
    report: Progress

    @property
    def partial(self) -> Path:
        """State of an interrupted attempt with the same inputs, else an empty folder."""
        return self.work / PARTIAL


class Stage(Protocol):
    """A module of this package."""

    SECTIONS: tuple[str, ...]
    NEEDS: tuple[str, ...]

    def run(self, context: StageContext) -> None:
        """Write the stage's artefacts into ``context.work``.

        Raises:
            InputError: Something the user can mend.
        """
        ...
