"""Which stages a run consists of, in which order, and what each is made from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import cast

from pipeline.config import RunConfig, VariantConfig
from pipeline.config_files import variant_config
from pipeline.stages.context import Stage
from verifier.errors import InputError

ROUND = ("generate", "verify", "repair", "rank", "train", "evaluate")
"""The stages of a round."""

ENDING = ("select", "quantize")
"""What follows the rounds; the last only where the configuration asks for it."""

_BRANCH = ("rank", "train", "evaluate")
_ADAPTER = PurePosixPath("train", "adapter")
# Stages that use the model; those that only read answers follow from the others' results.
_START_FROM_ADAPTER = ("generate", "repair", "train")


@dataclass(frozen=True)
class Step:
    """One stage at one place of a run.

    Attributes:
        stage: Its name.
        round: 0 for the base, None for what belongs to no round.
        folder: Where its results are, relative to the run.
        inputs: Name -> folder relative to the run; ``adapter`` is a folder within a stage's.
        config: The run's configuration, or the variant's.
        variant: Name of the variant, if it belongs to one.
    """

    stage: str
    round: int | None
    folder: PurePosixPath
    inputs: Mapping[str, PurePosixPath]
    config: RunConfig
    variant: str | None = None

    @property
    def title(self) -> str:
        """'round 1 · train'."""
        if self.variant is not None:
            return f"{self.variant} · {self.stage}"
        if self.round is None:
            return self.stage
        return f"{'base' if self.round == 0 else f'round {self.round}'} · {self.stage}"


def shipped_stages() -> Mapping[str, Stage]:
    """The modules of `pipeline.stages` by name of stage."""
    names = (*ROUND, *ENDING)
    return {name: cast(Stage, importlib.import_module(f"pipeline.stages.{name}")) for name in names}


def plan(config: RunConfig, stages: Mapping[str, Stage]) -> tuple[Step, ...]:
    """All steps of a run, each after those that it needs.

    Raises:
        InputError: A variant's configuration is not valid.
    """
    base = Step("evaluate", 0, _place(0, "evaluate"), {}, config)
    steps = [base]
    for number in range(1, config.rounds + 1):
        start = _place(number - 1, "train") / "adapter" if number > 1 else None
        for stage in ROUND:
            last = number == config.rounds
            if stage == "evaluate" and not last and not config.evaluate.every_round:
                continue
            inputs = {
                name: _place(number, name) for name in stages[stage].NEEDS if name in ROUND
            } | _adapter(stage, start, _place(number, "train"))
            steps.append(Step(stage, number, _place(number, stage), inputs, config))
    for variant in config.variants:
        steps += _branch(config, variant, stages)
    steps.append(Step("select", None, PurePosixPath("select"), _candidates(steps), config))
    if config.quantize.enabled:
        steps.append(
            Step("quantize", None, PurePosixPath("quantize"), _selected(steps, config), config)
        )
    return tuple(steps)


def _branch(config: RunConfig, variant: VariantConfig, stages: Mapping[str, Stage]) -> list[Step]:
    """A variant's own ranking, training and evaluation of round 1's answers."""
    own = variant_config(config, variant)
    folder = PurePosixPath("variants", variant.name)
    return [
        Step(
            stage,
            1,
            folder / stage,
            {
                name: folder / name if name in _BRANCH else _place(1, name)
                for name in stages[stage].NEEDS
                if name in ROUND
            }
            | _adapter(stage, None, folder / "train"),
            own,
            variant.name,
        )
        for stage in _BRANCH
    ]


def _place(number: int, stage: str) -> PurePosixPath:
    return PurePosixPath(f"round-{number:02}", stage)


def _adapter(
    stage: str, start: PurePosixPath | None, train: PurePosixPath
) -> dict[str, PurePosixPath]:
    if stage == "evaluate":
        return {"adapter": train / "adapter"}
    if stage in _START_FROM_ADAPTER and start is not None:
        return {"adapter": start}
    return {}


def _candidates(steps: list[Step]) -> dict[str, PurePosixPath]:
    """For the selection: ``round-01/evaluate`` and ``round-01/train`` of every evaluated round."""
    evaluated = [s.round for s in steps if s.stage == "evaluate" and s.variant is None]
    return {
        str(s.folder): s.folder
        for s in steps
        if s.variant is None and s.stage in ("train", "evaluate") and s.round in evaluated
    }


def _selected(steps: list[Step], config: RunConfig) -> dict[str, PurePosixPath]:
    """For quantization: ``select``, and where it may train, the tasks of every round."""
    inputs = {"select": PurePosixPath("select")}
    if config.quantize.recover_steps:
        inputs |= {
            str(s.folder): s.folder for s in steps if s.stage == "generate" and s.variant is None
        }
    return inputs


def find_steps(
    steps: Sequence[Step], stage: str, number: int | None, variant: str | None
) -> list[Step]:
    """The steps of a stage in a variant, or in a round, or in all rounds if None is given.

    Raises:
        InputError: There is no stage of this name.
    """
    names = dict.fromkeys((*ROUND, *ENDING))
    if stage not in names:
        near = get_close_matches(stage, names, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(names)}"
        raise InputError(f"no stage {stage!r}", remedy=remedy)
    return [
        step
        for step in steps
        if step.stage == stage
        and step.variant == variant
        and (variant is not None or number is None or step.round == number)
    ]


def locate(run: Path, place: PurePosixPath) -> tuple[Path, str]:
    """The folder of the stage that holds ``place``, and the part below it (or '')."""
    # Stage folders are all at the same depth, but for those that follow the rounds.
    depth = 1 if place.parts[0] in ENDING else 3 if place.parts[0] == "variants" else 2
    below = "/".join(place.parts[depth:])
    return run.joinpath(*place.parts[:depth]), below
