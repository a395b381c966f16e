"""A crossing guard's sign goes up and down, in every simulator alike."""

import random
from itertools import groupby
from pathlib import Path

import pytest
from reference_controllers import VOCABULARY

from worlds.simulation.guard import RAISED, Guard
from worlds.simulation.registry import make_simulator

WORLD = """\
name: guard_place
propositions: [stop_sign, pedestrian_at_left]
actions: [turn_left, go_straight]
assumptions: ["GF(!stop_sign & !pedestrian_at_left)"]
"""


def test_the_sign_stays_up_and_down_for_its_time():
    guard = Guard(random.Random(1))
    states = []
    for _ in range(20_000):
        guard.advance(0.1)
        states.append(guard.raised)
    lengths = [0.1 * len(list(group)) for _, group in groupby(states)][1:-1]
    assert min(lengths) >= RAISED[0] - 0.1
    assert max(lengths) <= RAISED[1] + 0.1
    assert 0.4 < sum(states) / len(states) < 0.6


@pytest.mark.parametrize("kind", ["sumo", "highway"])
def test_simulators_have_one_where_a_sign_stands_without_cars(kind, tmp_path: Path):
    path = tmp_path / "guard_place.yaml"
    path.write_text(WORLD)
    simulator = make_simulator(f"{kind}/{path}", VOCABULARY)
    simulator.reset(3)
    seen, pictures = [], {}
    for _ in range(40):
        simulator.apply("stop")
        simulator.step()
        seen.append("stop_sign" in simulator.observe())
        pictures.setdefault(seen[-1], simulator.render().tobytes())
    simulator.close()
    assert len(list(groupby(seen))) >= 3
    assert pictures[True] != pictures[False]
