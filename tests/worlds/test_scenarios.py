"""The shipped scenarios: they load, are sound, and are what their descriptions say."""

import pytest

from verifier.transition_system import TransitionSystem
from verifier.vocabulary import load_vocabulary
from worlds.check import check_world
from worlds.load import load_scenario, load_world, sensible_actions, shipped_worlds
from worlds.scenario import Explicit, UnionOf

VOCABULARY = load_vocabulary()

# name: states, transitions, initial states
SIZES = {
    "all_way_stop": (32, 1024, 32),
    "driveway_exit": (8, 64, 8),
    "exit_ramp": (64, 2912, 64),
    "free": (1024, 1024 * 1024, 1024),
    "highway_merge": (4, 12, 4),
    "left_turn_light": (24, 416, 24),
    "light_with_left_arrow": (64, 2304, 64),
    "paper_traffic_light": (6, 36, 6),
    "paper_wide_median": (4, 16, 4),
    "pedestrian_crossing": (8, 60, 8),
    "roundabout": (16, 256, 16),
    "school_crossing": (16, 204, 16),
    "signalised_crossing": (16, 216, 16),
    "t_junction": (16, 256, 16),
    "traffic_light": (160, 7392, 160),
    "two_way_stop": (64, 4096, 64),
    "universal": (514, 19384, 514),
    "unprotected_left_turn": (12, 120, 12),
}

# Signs that are part of the place hold in every state, and that is meant.
NOTES = {
    name: [
        "note: propositions: 'stop_sign' holds in every state; "
        "right if it is part of the place, as a sign is"
    ]
    for name in ("two_way_stop", "all_way_stop")
}


def show(world: TransitionSystem) -> str:
    """One line per state: name, label, successors."""
    rows = zip(world.states, world.labels, world.successors, strict=True)
    return "\n".join(
        f"{state} {{{', '.join(sorted(label))}}} -> {' '.join(world.states[i] for i in row)}"
        for state, label, row in rows
    )


def test_all_are_listed():
    assert shipped_worlds() == tuple(sorted(SIZES))


@pytest.mark.parametrize("name", sorted(SIZES))
class TestEvery:
    def test_size(self, name):
        world = load_world(name, VOCABULARY)
        assert (len(world.states), world.num_transitions, len(world.initial)) == SIZES[name]

    def test_sound(self, name):
        findings = check_world(load_world(name, VOCABULARY), VOCABULARY)
        assert [str(finding) for finding in findings] == NOTES.get(name, [])

    def test_documented(self, name):
        scenario = load_scenario(name, VOCABULARY)
        assert scenario.name == name
        assert scenario.text.endswith(".")
        body = scenario.body
        explained = (
            (len(body.members) > 0,)
            if isinstance(body, UnionOf)
            else (body.transitions, body.assumptions)
            if isinstance(body, Explicit)
            else (body.invariants, body.steps, body.assumptions)
        )
        assert len(scenario.reasons) >= sum(map(bool, explained)) >= 1
        assert all(reason[0].isupper() and reason.endswith(".") for reason in scenario.reasons)
        assert load_world(name, VOCABULARY).text == scenario.text

    def test_sensible_actions(self, name):
        actions = sensible_actions(name, VOCABULARY)
        assert actions
        assert "stop" not in actions

    def test_equal_rows_are_shared(self, name):
        rows = load_world(name, VOCABULARY).successors
        assert len({id(row) for row in rows}) == len(set(rows))

    def test_loading_is_deterministic(self, name):
        from worlds import load

        first = load_world(name, VOCABULARY)
        load._load_shipped.cache_clear()
        assert load_world(name, VOCABULARY) == first


def test_golden_paper_traffic_light():
    world = load_world("paper_traffic_light", VOCABULARY)
    everything = "p0 p1 p2a p2b p3 p4"
    assert show(world) == "\n".join(
        [
            f"p0 {{green_traffic_light}} -> {everything}",
            f"p1 {{car_from_left}} -> {everything}",
            f"p2a {{green_traffic_light, opposite_car}} -> {everything}",
            f"p2b {{green_traffic_light, pedestrian_at_left}} -> {everything}",
            f"p3 {{green_traffic_light, pedestrian_at_right}} -> {everything}",
            f"p4 {{}} -> {everything}",
        ]
    )
    assert [" ".join(a.formula.split()) for a in world.assumptions] == [
        "GF(green_traffic_light & !car_from_left & !opposite_car"
        " & !pedestrian_at_left & !pedestrian_at_right)"
    ]


def test_golden_paper_wide_median():
    world = load_world("paper_wide_median", VOCABULARY)
    assert show(world) == (
        "p0 {car_from_left, car_from_right} -> p0 p1 p2 p3\n"
        "p1 {car_from_left} -> p0 p1 p2 p3\n"
        "p2 {} -> p0 p1 p2 p3\n"
        "p3 {car_from_right} -> p0 p1 p2 p3"
    )
    assert [a.formula for a in world.assumptions] == ["GF(!car_from_left & !car_from_right)"]


def test_golden_ramp_meter_is_green_for_one_moment():
    assert show(load_world("highway_merge", VOCABULARY)) == (
        "s0 {} -> s0 s1 s2 s3\n"
        "s1 {car_from_left} -> s0 s1 s2 s3\n"
        "s2 {green_traffic_light} -> s0 s1\n"
        "s3 {car_from_left, green_traffic_light} -> s0 s1"
    )


def test_traffic_light_cycles_green_yellow_red():
    world = load_world("traffic_light", VOCABULARY)

    def phase(state: int) -> str:
        if "green_traffic_light" in world.labels[state]:
            return "green"
        return "yellow" if world.states[state].endswith("+yellow_light") else "red"

    changes = {(phase(i), phase(j)) for i, row in enumerate(world.successors) for j in row}
    assert changes == {
        ("green", "green"),
        ("green", "yellow"),
        ("yellow", "red"),
        ("red", "red"),
        ("red", "green"),
    }
    assert "yellow_light" not in world.propositions


def test_crossing_traffic_does_not_start_while_our_light_is_green():
    world = load_world("traffic_light", VOCABULARY)
    for i, row in enumerate(world.successors):
        for j in row:
            if "green_traffic_light" in world.labels[j] and "car_from_left" in world.labels[j]:
                assert "car_from_left" in world.labels[i]


def test_universal_holds_every_driving_scenario():
    body = load_scenario("universal", VOCABULARY).body
    assert isinstance(body, UnionOf)
    assert set(body.members) == set(shipped_worlds()) - {"free", "universal"}
