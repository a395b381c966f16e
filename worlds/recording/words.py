"""The words and colours beside a picture: what was seen, done and broken."""

from __future__ import annotations

from dataclasses import dataclass

from verifier.vocabulary import Vocabulary
from worlds.recording import lettering as ink
from worlds.recording.film import Film
from worlds.simulation.episode import Decision, Episode
from worlds.simulation.interface import STOP
from worlds.simulation.layout import ARROW, CARS, FLASHING, LIGHT, PEDESTRIANS, SIGN

_ARROWS = {"turn_left": "←", "turn_right": "→", "go_straight": "↑", STOP: "■"}


@dataclass(frozen=True)
class Chip:
    """A proposition beside the picture.

    Attributes:
        text: Its phrase; behind a detector also what the detector made of it.
        holds: Whether it holds.
        colour: Of its kind.
        mistaken: The controller was told otherwise.
    """

    text: str
    holds: bool
    colour: str
    mistaken: bool = False


def chips(decision: Decision, propositions: tuple[str, ...], words: Vocabulary) -> list[Chip]:
    """One chip per proposition that can be observed."""
    return [_chip(name, decision, words) for name in propositions]


def _chip(name: str, decision: Decision, words: Vocabulary) -> Chip:
    holds, told = name in decision.label, name in decision.seen
    text = words.proposition(name).phrase
    if holds != told:
        text += " (missed)" if holds else " (imagined)"
    return Chip(text, holds, colour_of(name), holds != told)


def colour_of(name: str) -> str:
    """Lights green, signs red, cars orange, pedestrians purple."""
    if name in (LIGHT, ARROW, FLASHING):
        return ink.GREEN
    if name == SIGN:
        return ink.RED
    if name in CARS:
        return "#c2541b"
    return ink.PURPLE if name in PEDESTRIANS else ink.SLATE


def deed(decision: Decision, words: Vocabulary) -> str:
    """ "→ turn right"; "■ stop"."""
    if decision.action is None:
        return "nothing"
    arrow = _ARROWS.get(decision.action, "•")
    return f"{arrow} {words.action(decision.action).phrase}"


def deed_colour(decision: Decision) -> str:
    """Moving is blue, standing slate."""
    return ink.SLATE if decision.action in (None, STOP) else ink.BLUE


def sentence(decision: Decision, steps: tuple[str, ...]) -> str:
    """The line of the text that the decision came from."""
    if decision.step is None:
        return "Waits: no step acts now." if steps else f"State {decision.state}"
    if decision.step <= len(steps):
        return steps[decision.step - 1]
    return f"Step {decision.step}"


def label_line(decision: Decision, words: Vocabulary) -> str:
    """ "green traffic light, car from left"; "nothing ahead"."""
    phrases = [p.phrase for p in words.propositions if p.name in decision.label]
    return ", ".join(phrases) or "nothing ahead"


def outcome(episode: Episode, words: Vocabulary) -> tuple[str, bool]:
    """What became of the episode, and whether that is well."""
    status = episode.status
    if episode.outcome == "collision":
        return f"Collision with a {status.collision} after {status.seconds:.0f} s", False
    if episode.outcome == "unfinished":
        return f"Not finished after {status.seconds:.0f} s", False
    made = words.action(status.manoeuvre).does if status.manoeuvre else "leaves"
    if episode.outcome == "elsewhere":
        return f"It {made} instead, after {status.seconds:.0f} s", False
    return f"It {made} after {status.seconds:.0f} s", True


def judgement(film: Film) -> tuple[str, bool]:
    """How many rules are broken, in words."""
    count = len(film.violations)
    if not count:
        return "no rule broken", True
    return f"{count} rule{'s' if count > 1 else ''} broken", False
