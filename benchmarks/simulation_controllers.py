"""Who drives: real controllers of the repository, for every scenario that is simulated."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from benchmarks.answers import load_answers
from benchmarks.results import REPOSITORY
from verifier.canonical import controller_hash
from verifier.controller import Controller, controller_from_json
from verifier.semantics import Semantics
from verifier.steps import steps_to_controller
from verifier.vocabulary import Vocabulary
from worlds.simulation.registry import simulated_worlds

SIMULATORS = ("highway", "sumo")

CHAMPION = REPOSITORY / "models" / "champion" / "certificates.jsonl"
EXAMPLES = REPOSITORY / "examples"

_PROGRESS, _PROVEN, _SAMPLED = "progress_", "champion", "sampled"


@dataclass(frozen=True)
class Entrant:
    """A controller for a manoeuvre in a scenario.

    Attributes:
        name: Where it comes from, and which one of them it is.
        scenario: Where it drives.
        action: The manoeuvre asked for.
        controller: Who drives.
    """

    name: str
    scenario: str
    action: str | None
    controller: Controller

    @property
    def proven(self) -> bool:
        """Whether it is one of the champion's."""
        return self.name.startswith(_PROVEN)


def simulated_scenarios() -> tuple[str, ...]:
    """Those that ship and that both simulators have."""
    have = [
        {w.partition("/")[2] for w in simulated_worlds() if w.startswith(k)} for k in SIMULATORS
    ]
    return tuple(sorted(set.intersection(*have)))


def entrants(vocabulary: Vocabulary, semantics: Semantics, sampled: int) -> list[Entrant]:
    """All proven controllers of the champion, and so many sampled answers of each scenario.

    Within a scenario and manoeuvre all are different. Sampled answers are those that come first;
    most of them break some rule.
    """
    found: dict[tuple[str, str | None, str], Entrant] = {}
    scenarios = simulated_scenarios()
    counts: Counter[str] = Counter()

    def add(origin: str, scenario: str, action: str | None, controller: Controller) -> None:
        key = scenario, action, controller_hash(controller)
        if scenario in scenarios and key not in found:
            counts[f"{origin} {scenario}"] += 1
            name = f"{origin} {counts[f'{origin} {scenario}']}"
            found[key] = Entrant(name, scenario, action, controller)

    for scenario, action, controller in champion_controllers(vocabulary):
        add(_PROVEN, scenario, action, controller)
    for answer in load_answers(vocabulary, semantics)[0]:
        if counts[f"{_SAMPLED} {answer.world}"] < sampled:
            add(_SAMPLED, answer.world, answer.action, answer.controller)
    return sorted(found.values(), key=lambda one: (one.scenario, one.name))


def champion_controllers(vocabulary: Vocabulary) -> list[tuple[str, str, Controller]]:
    """Scenario, manoeuvre and controller of every certificate of the champion.

    Raises:
        InputError: A controller that cannot be read.
    """
    found = []
    for line in CHAMPION.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        controller = controller_from_json(data["controller"], vocabulary, CHAMPION)
        ids = [one for one in data["verdicts"] if one.startswith(_PROGRESS)]
        found.append((data["world"]["name"], ids[0].removeprefix(_PROGRESS), controller))
    return found


def paper_controllers(vocabulary: Vocabulary, semantics: Semantics) -> dict[str, Controller]:
    """The paper's two controllers for a right turn at a traffic light: before and after training.

    Raises:
        FileNotFoundError: The examples are gone.
        ValueError: Their text is not understood.
    """
    files = {"before": "turn_right.txt", "after": "turn_right_better.txt"}
    found: dict[str, Controller] = {}
    for name, file in files.items():
        text = (EXAMPLES / file).read_text(encoding="utf-8")
        controller = steps_to_controller(text, vocabulary, semantics.conditional).controller
        if controller is None:
            raise ValueError(f"examples/{file} is not understood")
        found[name] = controller
    return found
