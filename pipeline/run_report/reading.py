"""What a run folder says, read as far as the run has got.

Stages that are not finished are None or empty; a file that is there and cannot be read is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from pipeline.models import DEFAULT_MODEL
from pipeline.run_report.scores import (
    HEADLINE_SPLITS,
    Answer,
    Evaluation,
    Scores,
    answers_of,
    evaluation_of,
)
from verifier.errors import InputError

_ACRONYMS = {"sft": "SFT", "dpo": "DPO", "ipo": "IPO", "kl": "KL"}
_MODELS = {DEFAULT_MODEL: "SmolLM2-135M-Instruct"}
_ROUND = re.compile(r"round-(\d+)")


@dataclass(frozen=True)
class Stage:
    """A finished stage, as its manifest tells.

    Attributes:
        name: generate, verify, …
        place: ``round-01`` or the variant's name.
        seconds: How long it took; None if it does not say.
        manifest: All of it.
    """

    name: str
    place: str
    seconds: float | None
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Round:
    """One round, or a variant's only one.

    Attributes:
        name: ``round-01`` or the variant's name; `label` is for readers.
        number: 0 for the base; None for a variant.
        evaluation: What the model did at its end; None before.
        generated: Sampled answers with their verdicts.
        repaired: Repaired answers with theirs.
        ranking: Summary of its pairs; empty before.
        curve: One row per training step.
        training: Summary of the training.
    """

    name: str
    number: int | None
    evaluation: Evaluation | None = None
    generated: tuple[Answer, ...] = ()
    repaired: tuple[Answer, ...] = ()
    ranking: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """ "base", "round 2", "no repair"."""
        return label_of(self.name)


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        folder: Where it is.
        name: The run's name.
        created: When it was started, as written in its folder.
        config: The resolved configuration.
        config_text: The same as it stands in the file.
        rounds: In order; the base (round 0) first, if it was evaluated.
        variants: Ablations that branch off round 1.
        selection: Champion, candidates and gate; empty before select.
        quantized: Summary of the quantized champion; empty where there is none.
        stages: Every finished stage.
        version: Of the program that made it.
    """

    folder: Path
    name: str
    created: str
    config: Mapping[str, Any]
    config_text: str
    rounds: tuple[Round, ...]
    variants: tuple[Round, ...]
    selection: Mapping[str, Any]
    quantized: Mapping[str, Any]
    stages: tuple[Stage, ...]
    version: str

    def setting(self, section: str, key: str, default: Any = None) -> Any:
        """A value of the configuration; ``default`` where there is none."""
        part = self.config.get(section)
        return part.get(key, default) if isinstance(part, Mapping) else default

    @cached_property
    def base(self) -> Round | None:
        """The model before training, if it was evaluated."""
        return next((one for one in self.rounds if one.number == 0 and one.evaluation), None)

    @cached_property
    def champion(self) -> Round | None:
        """The selected round; before select the last one evaluated; None without any."""
        evaluated = [one for one in (*self.rounds, *self.variants) if one.evaluation]
        chosen = self.selection.get("champion")
        for one in evaluated:
            if one.name == chosen:
                return one
        rounds = [one for one in evaluated if one.number is not None]
        return rounds[-1] if rounds else None

    @property
    def after(self) -> Evaluation | None:
        """The champion's evaluation."""
        return self.champion.evaluation if self.champion else None

    @property
    def before(self) -> Evaluation | None:
        """The base's evaluation, if another model can be compared with it."""
        same = self.base is None or self.base is self.champion
        return None if same or self.base is None else self.base.evaluation

    @property
    def split(self) -> str:
        """The tasks that the page is about: held-out ones wherever they were evaluated."""
        found = self.after.headline_split if self.after else None
        return found or HEADLINE_SPLITS[0]

    def scores(self, evaluation: Evaluation | None) -> Scores | None:
        """An evaluation's scores on `split`."""
        return evaluation.splits.get(self.split) if evaluation else None

    @property
    def model(self) -> str:
        """The model's name for readers."""
        name = str(self.setting("model", "name", "") or "")
        if name:
            return _MODELS.get(name, name.rstrip("/").rsplit("/", 1)[-1])
        stored = self.after.model if self.after else ""
        return stored if stored and not stored.startswith("sha256:") else "The model"

    @property
    def finished_rounds(self) -> int:
        """Rounds of training that are done, their evaluation aside."""
        return sum(1 for one in self.rounds if one.number and one.training)


def read_run(folder: Path) -> Run:
    """Read what is finished of the run in ``folder``.

    Raises:
        InputError: Not a run folder, or a file in it cannot be read.
    """
    head = _json(folder / "run.json")
    if head is None:
        raise InputError("not a run: it has no run.json", file=folder, remedy="name a run's folder")
    config_text = _text(folder / "config.yaml") or ""
    names = sorted(path.name for path in folder.glob("round-*") if _ROUND.fullmatch(path.name))
    variants = sorted(path for path in folder.glob("variants/*") if path.is_dir())
    places = [(folder / name, name) for name in names] + [(path, path.name) for path in variants]
    return Run(
        folder=folder,
        name=str(head.get("name", folder.name)),
        created=str(head.get("created", "")),
        config=_mapping(config_text, folder / "config.yaml"),
        config_text=config_text,
        rounds=tuple(_round(folder / name, int(name.split("-")[1])) for name in names),
        variants=tuple(_round(path, None) for path in variants),
        selection=_json(folder / "select" / "selection.json") or {},
        quantized=_json(folder / "quantize" / "summary.json") or {},
        stages=tuple(
            stage for path, place in [*places, (folder, "")] for stage in _stages(path, place)
        ),
        version=str(head.get("version", "")),
    )


def label_of(name: str) -> str:
    """A round's or variant's name for readers: "base", "round 2", "no repair"."""
    match = _ROUND.fullmatch(name)
    if match is None:
        return " ".join(_ACRONYMS.get(word, word) for word in re.split("[_-]", name))
    return f"round {int(match[1])}" if int(match[1]) else "base"


def _round(folder: Path, number: int | None) -> Round:
    summary = _json(folder / "evaluate" / "summary.json")
    evaluation = None
    if summary is not None:
        rows = tuple(_rows(folder / "evaluate" / "answers.jsonl"))
        evaluation = evaluation_of(summary, rows)
    verdicts = tuple(_rows(folder / "verify" / "verdicts.jsonl"))
    mended = folder / "repair"
    return Round(
        name=folder.name,
        number=number,
        evaluation=evaluation,
        generated=answers_of(_rows(folder / "generate" / "answers.jsonl"), verdicts),
        repaired=answers_of(
            _rows(mended / "answers.jsonl"), tuple(_rows(mended / "verdicts.jsonl"))
        ),
        ranking=_json(folder / "rank" / "summary.json") or {},
        curve=tuple(_rows(folder / "train" / "curves.jsonl")),
        training=_json(folder / "train" / "summary.json") or {},
    )


def _stages(folder: Path, place: str) -> Iterator[Stage]:
    for path in sorted(folder.glob("*/manifest.json")):
        if path.parent.name.startswith("."):
            continue
        manifest = _json(path) or {}
        seconds = manifest.get("seconds")
        yield Stage(
            str(manifest.get("stage", path.parent.name)),
            place,
            float(seconds) if isinstance(seconds, int | float) else None,
            manifest,
        )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from None


def _json(path: Path) -> dict[str, Any] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(data, dict):
        raise _unreadable(path, "not an object")
    return data


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate((_text(path) or "").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise _unreadable(path, f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise _unreadable(path, f"line {number}: not an object")
        yield row


def _mapping(text: str, path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text) if text else {}
    except yaml.YAMLError as error:
        raise _unreadable(path, " ".join(str(error).split())) from None
    return data if isinstance(data, dict) else {}


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        f"cannot be read: {why}",
        file=path,
        remedy="delete its stage folder and run again with --resume",
    )
