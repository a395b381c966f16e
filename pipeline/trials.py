"""Trial drives: what answers that have been verified do in a simulator.

Verdicts stay the model checker's. Trials show how often a rule is kept in traffic, what is hit and
how long it takes, before and after training (the paper's Fig. 11), and film the worst of it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.evaluation import PROGRESS
from pipeline.feedback import can_be_simulated
from pipeline.files import write_text
from pipeline.tasks import Task
from verifier.canonical import controller_hash
from verifier.controller import Controller
from verifier.semantics import Semantics
from verifier.vocabulary import Vocabulary
from worlds.load import load_world
from worlds.simulation.crew import Crew, Driven, Job
from worlds.simulation.driver import Course
from worlds.simulation.episode import Episode
from worlds.simulation.judging import HARD_BRAKING, EpisodeJudge
from worlds.simulation.layout import layout_of
from worlds.statistics import Rate, wilson

TRIALS, WORST = "trials.json", "worst.png"

_ZOOM = {("sumo", "junction"): 1.8, ("sumo", "roundabout"): 1.3}
"""Simulator and shape of the place -> enlargement, where pictures show more than the place."""


@dataclass(frozen=True)
class Answered:
    """A readable answer.

    Attributes:
        id: Of the answer.
        task: What was asked.
        controller: What it says.
    """

    id: str
    task: Task
    controller: Controller


@dataclass(frozen=True)
class _Trial:
    """The episodes of an answer, or of several that say the same."""

    answer: Answered
    weight: int
    episodes: tuple[Episode, ...]
    lost: int


def run_trials(
    answers: Sequence[Answered],
    unread: int,
    config: RunConfig,
    semantics: Semantics,
    vocabulary: Vocabulary,
    folder: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Drive every answer and write ``trials.json`` and ``worst.png`` into a folder.

    Args:
        answers: Those in worlds that cannot be simulated are counted and left out.
        unread: How many more could not be read.
        config: ``trials`` says where and how often.
        semantics: Profile under which the controllers run.
        vocabulary: The domain.
        folder: Where to write.
        progress: Called with episodes driven and episodes in all.

    Raises:
        InputError: The simulator is not installed or fails.
    """
    settings = config.trials
    there = [a for a in answers if can_be_simulated(a.task.world, settings.simulator, vocabulary)]
    course = Course(semantics)
    trials = _drive(there, config, course, vocabulary, progress)
    judges = _judges(there, vocabulary)
    worst = _worst(trials, judges)
    content: dict[str, Any] = {
        "simulator": settings.simulator,
        "episodes_per_answer": settings.episodes,
        "answers": len(there),
        "unread": unread,
        "not_simulated": len(answers) - len(there),
        "lost": sum(trial.lost * trial.weight for trial in trials),
        "rules": _rules(trials, judges),
        "driving": _driving(trials, judges),
        "worst": None,
    }
    if worst is not None:
        trial, episode = worst
        (folder / WORST).write_bytes(
            _filmed(trial, episode, settings.simulator, course, vocabulary)
        )
        content["worst"] = {
            "answer": trial.answer.id,
            "task": trial.answer.task.id,
            "seed": episode.seed,
            "outcome": episode.outcome,
            "broken": _broken(episode, judges[_key(trial.answer)]),
        }
    write_text(folder / TRIALS, json.dumps(content, indent=1) + "\n")


def _drive(
    answers: Sequence[Answered],
    config: RunConfig,
    course: Course,
    vocabulary: Vocabulary,
    progress: Callable[[int, int], None],
) -> list[_Trial]:
    """Answers to one task that say the same share their episodes."""
    settings = config.trials
    counts = Counter(_identity(answer) for answer in answers)
    different = {_identity(answer): answer for answer in reversed(answers)}
    # World by world: a process keeps its simulator for as long as the world is the same.
    ordered = sorted(different, key=lambda identity: (different[identity].task.world, identity))
    seeds = range(settings.episodes)
    jobs = [
        Job(
            f"{settings.simulator}/{different[identity].task.world}",
            different[identity].controller,
            different[identity].task.action,
            seed,
        )
        for identity in ordered
        for seed in seeds
    ]
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(jobs))

    with Crew(course, vocabulary, workers=settings.workers) as crew:
        driven = crew.drive(jobs, advance)
    groups = (driven[start : start + len(seeds)] for start in range(0, len(jobs), len(seeds)))
    return [
        _trial(different[identity], counts[identity], group)
        for identity, group in zip(ordered, groups, strict=True)
    ]


def _trial(answer: Answered, weight: int, driven: Iterable[Driven]) -> _Trial:
    results = [one.result for one in driven]
    episodes = tuple(result for result in results if isinstance(result, Episode))
    return _Trial(answer, weight, episodes, len(results) - len(episodes))


def _identity(answer: Answered) -> tuple[str, str]:
    return answer.task.id, controller_hash(answer.controller)


def _key(answer: Answered) -> tuple[str, str]:
    return answer.task.world, answer.task.action


def _judges(
    answers: Iterable[Answered], vocabulary: Vocabulary
) -> dict[tuple[str, str], EpisodeJudge]:
    return {
        (world, action): EpisodeJudge(load_world(world, vocabulary), action, vocabulary)
        for world, action in dict.fromkeys(map(_key, answers))
    }


def _rules(
    trials: Sequence[_Trial], judges: Mapping[tuple[str, str], EpisodeJudge]
) -> dict[str, dict[str, Any]]:
    """Rule book -> rule -> how often it is kept where it applies, over answers."""
    shares: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for trial in trials:
        for rule in judges[_key(trial.answer)].rules(trial.episodes):
            name = rule.specification.id
            name = PROGRESS if name.startswith(f"{PROGRESS}_") else name
            if rule.rate.value is not None:
                shares[rule.book, name].append((rule.rate.value, trial.weight))
    books: dict[str, dict[str, Any]] = {}
    for (book, name), rows in shares.items():
        books.setdefault(book, {})[name] = mean_share(rows).to_json()
    return books


def mean_share(rows: Sequence[tuple[float, int]]) -> Rate:
    """The mean of shares by weight; the interval is as if each answer had one episode.

    Episodes of one answer resemble each other; the interval over answers does not count them as
    independent (see `worlds.statistics.wilson` on means of values in [0, 1]).
    """
    answers = sum(weight for _, weight in rows)
    return wilson(sum(share * weight for share, weight in rows), answers)


def _driving(
    trials: Sequence[_Trial], judges: Mapping[tuple[str, str], EpisodeJudge]
) -> dict[str, Any]:
    shares: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    seconds: list[float] = []
    for trial in trials:
        driving = judges[_key(trial.answer)].driving(trial.episodes)
        for name, rate in driving.rates.items():
            if rate.value is not None:
                shares[name].append((rate.value, trial.weight))
        if driving.seconds_to_finish is not None:
            seconds += [driving.seconds_to_finish] * trial.weight
    return {
        **{name: mean_share(rows).to_json() for name, rows in shares.items()},
        "seconds_to_finish": sum(seconds) / len(seconds) if seconds else None,
        "hard_braking_from": HARD_BRAKING,
    }


def _broken(episode: Episode, judge: EpisodeJudge) -> list[str]:
    return [
        rule.specification.id
        for rule in judge.rules([episode])
        if rule.book == "road" and rule.specification.kind != "progress" and rule.violations
    ]


def _worst(
    trials: Sequence[_Trial], judges: Mapping[tuple[str, str], EpisodeJudge]
) -> tuple[_Trial, Episode] | None:
    """A collision before a broken rule, more broken rules before fewer; None if all went well."""
    found = [
        (episode.outcome == "collision", len(broken), trial, episode)
        for trial in trials
        for episode in trial.episodes
        if (broken := _broken(episode, judges[_key(trial.answer)]))
        or episode.outcome == "collision"
    ]
    if not found:
        return None
    _, _, trial, episode = max(found, key=lambda row: row[:2])
    return trial, episode


def _filmed(
    trial: _Trial, episode: Episode, simulator: str, course: Course, vocabulary: Vocabulary
) -> bytes:
    from verifier.rules import load_rules
    from worlds.recording.film import Ride
    from worlds.recording.filmstrip import filmstrip
    from worlds.simulation.registry import make_simulator

    task = trial.answer.task
    scene = make_simulator(f"{simulator}/{task.world}", vocabulary)
    try:
        rules = load_rules("road", vocabulary)
        title = task.prompt[:1].upper() + task.prompt[1:]
        ride = Ride(
            simulator=scene,
            controller=trial.answer.controller,
            action=task.action,
            course=course,
            rules=rules,
            vocabulary=vocabulary,
            title=title,
            zoom=_ZOOM.get(
                (simulator, layout_of(task.world, vocabulary, buildable=False).shape), 1.0
            ),
        )
        return filmstrip(ride.film(episode.seed), vocabulary)
    finally:
        scene.close()
