"""Campaigns: a controller drives many episodes in a simulated world, and every trace is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verifier.canonical import controller_hash
from verifier.controller import Controller
from verifier.errors import InputError
from verifier.semantics import Semantics
from verifier.transition_system import TransitionSystem
from verifier.vocabulary import Vocabulary
from worlds.load import load_world
from worlds.simulation.crew import Crew, Driven, Job, Lost, MakeByName, Progress
from worlds.simulation.driver import Course
from worlds.simulation.episode import Episode
from worlds.simulation.judging import Driving, EpisodeJudge, ImpossibleLabel, RuleRate
from worlds.simulation.registry import make_simulator, scenario_of
from worlds.simulation.sequential import ERROR, Comparison


@dataclass(frozen=True)
class Settings:
    """How much is driven, and how.

    Attributes:
        episodes: Per controller; the most of it where one may stop earlier.
        seed: Of the first episode; the next ones have the next seeds, whoever drives.
        course: Semantics, time limit, detector. Everything in it must be picklable.
        workers: Processes. 0: this one, without protection from crashes and hangs.
        wall_seconds: Wall-clock time that an episode may take before it counts as hung.
        attempts: How often an episode is tried before it is lost.
        make: Makes simulators by name; importable.
    """

    episodes: int = 100
    seed: int = 0
    course: Course = field(default_factory=lambda: Course(Semantics()))
    workers: int = 2
    wall_seconds: float = 120.0
    attempts: int = 3
    make: MakeByName = make_simulator

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise InputError("no episodes", remedy="ask for at least one")

    def crew(self, vocabulary: Vocabulary) -> Crew:
        """Processes that drive by these settings."""
        return Crew(
            self.course,
            vocabulary,
            workers=self.workers,
            wall_seconds=self.wall_seconds,
            attempts=self.attempts,
            make=self.make,
        )


@dataclass(frozen=True)
class Campaign:
    """A controller in a simulated world.

    Attributes:
        name: What the controller is called, such as its file.
        controller: Who drove.
        world: ``KIND/SCENARIO``.
        scenario: The hand-written world of it.
        task_action: The manoeuvre asked for, if any.
        semantics: Profile under which the controller ran.
        seed: Of the first episode.
        episodes: In the order of their seeds.
        lost: Episodes that could not be driven to their end; no rate counts them.
        repeated: Number of attempts that came to nothing and were made again.
        rules: Of both rule books.
        driving: What became of the car.
        impossible: Labels observed that the scenario excludes.
    """

    name: str
    controller: Controller
    world: str
    scenario: TransitionSystem
    task_action: str | None
    semantics: Semantics
    seed: int
    episodes: tuple[Episode, ...]
    lost: tuple[Lost, ...]
    repeated: int
    rules: tuple[RuleRate, ...]
    driving: Driving
    impossible: tuple[ImpossibleLabel, ...]

    @property
    def violated(self) -> bool:
        """Whether some trace violates some rule of the road (the task's progress included)."""
        return any(rule.violations for rule in self.rules_of("road"))

    def rules_of(self, book: str) -> tuple[RuleRate, ...]:
        """The rules of one book."""
        return tuple(rule for rule in self.rules if rule.book == book)

    def to_json(self, *, episodes: bool = False) -> dict[str, Any]:
        """Plain data (docs/simulation.md); with every episode if asked for."""
        return {
            "file": self.name,
            "controller": {
                "hash": controller_hash(self.controller),
                "states": self.controller.num_states,
            },
            "world": self.world,
            "scenario": {"name": self.scenario.name, "hash": self.scenario.hash},
            "task_action": self.task_action,
            "semantics": self.semantics.to_json(),
            "seed": self.seed,
            "episodes": len(self.episodes),
            "lost": [lost.to_json() for lost in self.lost],
            "repeated": self.repeated,
            "rules": [rule.to_json() for rule in self.rules],
            "driving": self.driving.to_json(),
            "impossible_labels": [label.to_json() for label in self.impossible],
            **({"traces": [e.to_json() for e in self.episodes]} if episodes else {}),
        }


def simulate(
    controllers: Mapping[str, Controller],
    world: str,
    task_action: str | None,
    settings: Settings,
    vocabulary: Vocabulary,
    progress: Progress | None = None,
) -> list[Campaign]:
    """Drive every controller for `Settings.episodes` episodes and judge the traces.

    Args:
        controllers: Name -> controller.
        world: ``KIND/SCENARIO``.
        task_action: The manoeuvre asked for; None if any will do.
        settings: See there.
        vocabulary: The domain.
        progress: Called as episodes come to an end.

    Returns:
        One campaign per controller, in order; equal for equal arguments, however many workers.

    Raises:
        InputError: Unknown world or action, missing library, a simulator that breaks its contract
            or loses every episode.
    """
    stand = _Stand(world, task_action, settings, vocabulary)
    seeds = range(settings.seed, settings.seed + settings.episodes)
    jobs = [stand.job(controller, seed) for controller in controllers.values() for seed in seeds]
    with settings.crew(vocabulary) as crew:
        driven = crew.drive(jobs, progress)
    return [
        stand.campaign(name, controller, driven[start : start + settings.episodes])
        for (name, controller), start in zip(
            controllers.items(), range(0, len(jobs), settings.episodes), strict=True
        )
    ]


def race(
    first: tuple[str, Controller],
    second: tuple[str, Controller],
    world: str,
    task_action: str | None,
    settings: Settings,
    vocabulary: Vocabulary,
    progress: Progress | None = None,
    *,
    error: float = ERROR,
    batch: int = 10,
) -> tuple[Comparison, list[Campaign]]:
    """Drive two controllers, seed by seed, until it is clear which succeeds more often.

    Succeeding is to finish lawfully (`EpisodeJudge.success`). Seeds whose episode is lost for one
    of them make no pair.

    Args:
        first: Name and controller.
        second: Likewise.
        world: As for `simulate`, also the following ones.
        task_action: See there.
        settings: See there; ``episodes`` is the most that is driven.
        vocabulary: See there.
        progress: See there.
        error: Probability of calling one better that is not.
        batch: Seeds after which one looks whether it is clear.

    Returns:
        The comparison, undecided if the episodes did not suffice, and both campaigns.

    Raises:
        InputError: As `simulate`.
    """
    stand = _Stand(world, task_action, settings, vocabulary)
    comparison = Comparison(error=error)
    driven: tuple[list[Driven], list[Driven]] = ([], [])
    ends = settings.seed + settings.episodes
    with settings.crew(vocabulary) as crew:
        for start in range(settings.seed, ends, batch):
            seeds = range(start, min(ends, start + batch))
            jobs = [stand.job(one[1], seed) for one in (first, second) for seed in seeds]
            new = crew.drive(jobs, progress)
            pairs = new[: len(seeds)], new[len(seeds) :]
            for rows, more in zip(driven, pairs, strict=True):
                rows.extend(more)
            comparison = comparison.after(
                (stand.judge.success(one.result), stand.judge.success(other.result))
                for one, other in zip(*pairs, strict=True)
                if isinstance(one.result, Episode) and isinstance(other.result, Episode)
            )
            if comparison.decided:
                break
    campaigns = [
        stand.campaign(*one, rows) for one, rows in zip((first, second), driven, strict=True)
    ]
    return comparison, campaigns


def compare(
    first: Campaign, second: Campaign, vocabulary: Vocabulary, error: float = ERROR
) -> Comparison:
    """What the pairs of episodes with equal seeds say about which controller is better.

    Args:
        first: A campaign.
        second: Another one in the same world for the same task.
        vocabulary: The domain.
        error: As for `race`.
    """
    judge = EpisodeJudge(first.scenario, first.task_action, vocabulary)
    others = {episode.seed: episode for episode in second.episodes}
    return Comparison(error=error).after(
        (judge.success(episode), judge.success(others[episode.seed]))
        for episode in first.episodes
        if episode.seed in others
    )


class _Stand:
    """What all episodes of a call have in common."""

    def __init__(
        self, world: str, task_action: str | None, settings: Settings, vocabulary: Vocabulary
    ) -> None:
        self.world, self.task_action, self.settings = world, task_action, settings
        self.scenario = load_world(scenario_of(world), vocabulary)
        if task_action is not None and task_action not in vocabulary.action_names:
            raise InputError(
                f"unknown action {task_action!r}",
                remedy=f"use one of {', '.join(vocabulary.action_names)}",
            )
        self.judge = EpisodeJudge(self.scenario, task_action, vocabulary)

    def job(self, controller: Controller, seed: int) -> Job:
        return Job(self.world, controller, self.task_action, seed)

    def campaign(self, name: str, controller: Controller, driven: Sequence[Driven]) -> Campaign:
        episodes = tuple(d.result for d in driven if isinstance(d.result, Episode))
        return Campaign(
            name=name,
            controller=controller,
            world=self.world,
            scenario=self.scenario,
            task_action=self.task_action,
            semantics=self.settings.course.semantics,
            seed=self.settings.seed,
            episodes=episodes,
            lost=tuple(d.result for d in driven if isinstance(d.result, Lost)),
            repeated=sum(d.attempts - 1 for d in driven),
            rules=self.judge.rules(episodes),
            driving=self.judge.driving(episodes),
            impossible=self.judge.impossible(episodes),
        )
