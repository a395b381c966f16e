"""The paper's example: two controllers for "turn right at the traffic light" and their verdicts."""

from __future__ import annotations

from verifier.controller import Controller, Transition
from verifier.semantics import Semantics

_T = Transition

BEFORE = Controller(
    initial=0,
    final=5,
    transitions=(
        _T(0, "true", "epsilon", 1, 1),
        _T(1, "!green_traffic_light", "epsilon", 1, 2),
        _T(1, "green_traffic_light", "go_straight", 2, 2),
        _T(2, "true", "epsilon", 3, 3),
        _T(3, "car_from_left", "epsilon", 3, 4),
        _T(3, "!car_from_left", "epsilon", 4, 4),
        _T(4, "pedestrian_at_right", "epsilon", 4, 5),
        _T(4, "!pedestrian_at_right", "turn_right", 5, 5),
    ),
)

AFTER = Controller(
    initial=0,
    final=3,
    transitions=(
        _T(0, "true", "epsilon", 1, 1),
        _T(1, "true", "epsilon", 2, 2),
        _T(2, "car_from_left | pedestrian_at_right", "epsilon", 2, 3),
        _T(2, "!car_from_left & !pedestrian_at_right", "turn_right", 3, 3),
    ),
)

BEFORE_TEXT = """\
1. Observe the traffic light.
2. If the traffic light is green, go straight.
3. Observe the car from left.
4. If there is no car from left, check the pedestrian at right.
5. If there is no pedestrian at right, turn right.
"""

AFTER_TEXT = """\
1. Observe the traffic light.
2. Check the car from left and the pedestrian at right.
3. If there is neither a car from left nor a pedestrian at right, turn right.
"""

VIOLATED = {
    # profile fields -> violated by BEFORE, by AFTER (design: semantics, golden cases)
    Semantics(conditional="wait"): ({5, 9, 11}, set()),
    Semantics(on_finish="stutter", assumptions="none"): ({5, 7, 9, 10, 11}, {7, 10}),
    Semantics(epsilon="noop"): ({1, 5, 6, 8, 9, 11}, {1, 6, 8}),
}
