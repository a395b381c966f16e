"""Trial drives before and after: how often rules are kept in a simulator, and the worst drives."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation import PROGRESS
from pipeline.run_report.reading import Round, Run
from pipeline.run_report.scores import NOTHING
from pipeline.trials import TRIALS, WORST
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.vocabulary import Vocabulary
from worlds.statistics import Rate

SIMULATORS = {"sumo": "SUMO", "highway": "highway-env", "walk": "random walks of the worlds"}

_DRIVING = {
    "finished": "makes the manoeuvre",
    "success": "makes it and keeps every rule of the road",
    "collision": "hits something",
    "hard_braking": "brakes hard",
    "others_hard_braking": "makes others brake hard",
}


@dataclass(frozen=True)
class Line:
    """A share before and after.

    Attributes:
        name: A rule's id, or empty.
        text: What it is the share of.
        before: Nothing where there is no before.
        after: Likewise.
    """

    name: str
    text: str
    before: Rate
    after: Rate


@dataclass(frozen=True)
class Worst:
    """The worst drive of a model.

    Attributes:
        label: Of the model ("base").
        broken: Rules that it breaks, in words.
        outcome: What became of it.
        picture: The filmstrip as a ``data:`` address.
    """

    label: str
    broken: tuple[str, ...]
    outcome: str
    picture: str


@dataclass(frozen=True)
class Trials:
    """What the page shows of trial drives.

    Attributes:
        simulator: For readers.
        episodes: Of each different answer.
        answers: Driven after training (before, where there is no after).
        has_before: Whether there is a model to compare with.
        books: Name of the rule book -> its rules that applied somewhere.
        driving: What becomes of the car.
        seconds: Mean time of a finished drive, before and after.
        worst: Of the base, then of the champion.
    """

    simulator: str
    episodes: int
    answers: int
    has_before: bool
    books: Mapping[str, tuple[Line, ...]]
    driving: tuple[Line, ...]
    seconds: tuple[float | None, float | None]
    worst: tuple[Worst, ...]


def trials(run: Run, vocabulary: Vocabulary) -> Trials | None:
    """The trials of the base and of the champion; None if nothing was driven.

    Raises:
        InputError: A file of them cannot be read.
    """
    pair = (run.base, None if run.champion is run.base else run.champion)
    shown = [one for one in pair if one is not None and one.number is not None]
    found = [(one, _read(run, one)) for one in shown]
    driven = [(one, content) for one, content in found if content is not None]
    if not driven:
        return None
    (_, last), first = driven[-1], driven[0][1] if len(driven) > 1 else None
    return Trials(
        simulator=SIMULATORS[last["simulator"]],
        episodes=last["episodes_per_answer"],
        answers=last["answers"],
        has_before=first is not None,
        books={name: _rules(name, first, last, vocabulary) for name in ("road", "paper")},
        driving=tuple(
            Line("", text, _rate(first, "driving", name), _rate(last, "driving", name))
            for name, text in _DRIVING.items()
        ),
        seconds=(
            first["driving"]["seconds_to_finish"] if first else None,
            last["driving"]["seconds_to_finish"],
        ),
        worst=tuple(w for one, content in driven if (w := _worst(run, one, content)) is not None),
    )


def _folder(run: Run, one: Round) -> Path:
    return run.folder / one.name / "evaluate"


def _read(run: Run, one: Round) -> dict[str, Any] | None:
    path = _folder(run, one) / TRIALS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be read: {error}", file=path, remedy="make it again: evaluate --force"
        ) from None


def _rules(
    book: str, first: dict[str, Any] | None, last: dict[str, Any], vocabulary: Vocabulary
) -> tuple[Line, ...]:
    texts = {rule.id: rule.text for rule in load_rules(book, vocabulary).specifications}
    texts[PROGRESS] = "The task gets done: the manoeuvre is made."
    lines = (
        Line(rule, text, _rate(first, "rules", book, rule), _rate(last, "rules", book, rule))
        for rule, text in texts.items()
    )
    return tuple(line for line in lines if not line.before.value is line.after.value is None)


def _rate(content: dict[str, Any] | None, *keys: str) -> Rate:
    found: Any = content
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return Rate(found["value"], found["low"], found["high"]) if found else NOTHING


def _worst(run: Run, one: Round, content: dict[str, Any]) -> Worst | None:
    worst, path = content["worst"], _folder(run, one) / WORST
    if worst is None or not path.exists():
        return None
    picture = base64.b64encode(path.read_bytes()).decode()
    return Worst(
        one.label,
        tuple(rule.replace("_", " ") for rule in worst["broken"]),
        worst["outcome"],
        f"data:image/png;base64,{picture}",
    )
