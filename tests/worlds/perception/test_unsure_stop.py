"""Eyes with a band: when they hesitate, and that nothing but the action changes then."""

from dataclasses import dataclass, field

import pytest
from golden import AFTER
from little_junction import PROPOSITIONS, LittleJunction

from verifier.errors import InputError
from verifier.semantics import SHIPPED
from worlds.perception.eyes import Gaze, could_differ, seen_through
from worlds.simulation.driver import Course, Machine, drive

PAPER = SHIPPED["paper"]


@dataclass
class Script:
    """Eyes that say what they are told to say, the last for ever."""

    rows: list
    threshold: float = 0.5
    looked: int = 0
    steps: int = 0
    opened: list = field(default_factory=list)

    def open(self, seed):
        self.opened.append(seed)
        self.looked = 0

    def look(self, simulator):
        row = self.rows[min(self.looked, len(self.rows) - 1)]
        self.looked += 1
        return dict.fromkeys(simulator.propositions, 0.0) | row

    def watch(self, simulator):
        assert simulator.name
        self.steps += 1


def driven(rows, band):
    course, gaze = seen_through(Course(PAPER, 20), Script(rows), 4, band)
    return drive(LittleJunction(), AFTER, "turn_right", 4, course), gaze


UNSURE, SURE = {"car_from_left": 0.45}, {"car_from_left": 0.05}


def test_unsure_about_what_matters_stops_and_looks_again():
    episode, gaze = driven([{}, {}, UNSURE, UNSURE, SURE], band=0.2)
    before = episode.decisions[: len(episode.decisions) - episode.closing]
    assert [d.action for d in before] == ["stop", "stop", "stop", "stop", "turn_right"]
    assert [d.state for d in before] == [0, 1, 2, 2, 2]
    assert [d.step for d in before] == [1, 2, None, None, 3]
    assert gaze.hesitations == 2


def test_without_a_band_nobody_hesitates():
    episode, gaze = driven([{}, {}, UNSURE], band=0.0)
    assert [d.action for d in episode.decisions[:3]] == ["stop", "stop", "turn_right"]
    assert gaze.hesitations == 0


def test_unsure_about_what_does_not_matter_goes_on():
    # Not in the guards; in the guards of another state; and with a car there for sure, whether a
    # pedestrian is there too changes nothing.
    _, gaze = driven([UNSURE, UNSURE, {"green_traffic_light": 0.5}], band=0.2)
    assert gaze.hesitations == 0
    held, gaze = driven([{}, {}, {"car_from_left": 0.9, "pedestrian_at_right": 0.5}], band=0.2)
    assert gaze.hesitations == 0
    assert held.outcome == "unfinished"


def test_two_unsure_ones_are_looked_at_together():
    machine = Machine(AFTER, PAPER, 0)
    machine.state = 2
    both = frozenset({"car_from_left", "pedestrian_at_right"})
    assert not could_differ(machine, both, ["car_from_left"])
    assert could_differ(machine, both, ["car_from_left", "pedestrian_at_right"])


def test_who_is_never_sure_never_goes():
    episode, gaze = driven([{}, {}, UNSURE], band=0.2)
    assert episode.outcome == "unfinished"
    assert gaze.hesitations == len(episode.decisions) - 2


def test_the_trace_is_judged_on_the_truth_and_behind_the_place_the_truth_is_seen():
    episode, gaze = driven([{"pedestrian_at_right": 0.9}] * 4 + [SURE], band=0.0)
    assert episode.closing > 0
    for decision in episode.decisions[: len(episode.decisions) - episode.closing]:
        assert decision.seen <= {"pedestrian_at_right"}
    assert all(
        d.seen == d.label for d in episode.decisions[len(episode.decisions) - episode.closing :]
    )
    # The look that would begin anew is not a decision of the trace.
    assert len(gaze.confidences) - len(episode.decisions) in (0, 1)
    simulator = LittleJunction()
    simulator.reset(4)
    for decision in episode.decisions[:3]:
        assert decision.label == simulator.observe()
        simulator.step()


def test_every_step_is_watched():
    watched = []
    eyes = Script([SURE])
    course, _ = seen_through(Course(PAPER, 20, watch=lambda *_: watched.append(1)), eyes, 1)
    episode = drive(LittleJunction(), AFTER, None, 1, course)
    assert eyes.opened == [1]
    assert len(watched) == eyes.steps == len(episode.decisions) - episode.closing


def test_bad_bands():
    with pytest.raises(InputError, match=r"a band of 0\.5"):
        Gaze(Script([{}]), 0.5)
    assert set(PROPOSITIONS) == set(LittleJunction.propositions)
