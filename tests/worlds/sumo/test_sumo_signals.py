"""Signal programmes: they keep the light rules of the scenarios, and never let two in at once."""

from itertools import pairwise

import pytest

from worlds.simulation.layout import ARROW, FLASHING, LIGHT, Layout
from worlds.sumo.signals import Phase, programme, programme_xml, seconds_to_green, start_of

SETS = [
    (LIGHT,),
    (ARROW, FLASHING),
    (LIGHT, ARROW),
    (ARROW,),
    (FLASHING,),
    (LIGHT, ARROW, FLASHING),
]
CROSSING_CARS = ("Ws", "Wl", "Wr", "Es", "El", "Er")


def phases_of(lights: tuple[str, ...], shape: str = "junction") -> tuple[Phase, ...]:
    return programme(Layout("test", shape, lights, ("turn_left",)))  # pyright: ignore[reportArgumentType]


def seconds(phases: tuple[Phase, ...]) -> list[dict[str, str]]:
    """What is shown, second after second, in one cycle."""
    return [dict(p.shown) for p in phases for _ in range(round(p.seconds))]


def goes(shown: dict[str, str], movement: str) -> bool:
    return shown.get(movement, "r") != "r"


@pytest.mark.parametrize("lights", SETS)
def test_crossing_traffic_has_red_while_any_of_ours_goes(lights: tuple[str, ...]):
    for shown in seconds(phases_of(lights)):
        ours = any(goes(shown, m) for m in ("Ss", "Sl", "Sr", "Ns", "pW", "pE"))
        assert not (ours and any(goes(shown, m) for m in (*CROSSING_CARS, "pS")))


@pytest.mark.parametrize("lights", SETS)
def test_a_protected_left_turn_meets_nobody(lights: tuple[str, ...]):
    for shown in seconds(phases_of(lights)):
        if shown.get("Sl") == "G":
            assert not any(goes(shown, m) for m in ("Ns", "Nr", "Nl", "pW", *CROSSING_CARS))


@pytest.mark.parametrize("lights", SETS)
def test_there_is_time_to_clear_between_any_two_that_conflict(lights: tuple[str, ...]):
    shown = seconds(phases_of(lights)) * 2
    for before, after in (("Ss", "Ws"), ("Ws", "Ss")):
        ends = [
            i for i, (a, b) in enumerate(pairwise(shown)) if a.get(before) == "G" != b.get(before)
        ]
        for end in ends:
            start = next((i for i in range(end, len(shown)) if shown[i].get(after) == "G"), None)
            assert start is None or start - end > 7


def test_red_follows_green_and_the_arrow_comes_before_green():
    shown = [(s.get("Sl") == "G", s.get("Ss") == "G") for s in seconds(phases_of((LIGHT, ARROW)))]
    steps = set(pairwise([*shown, shown[0]]))
    arrow, green, red = (True, False), (False, True), (False, False)
    assert steps == {
        (arrow, arrow), (arrow, green), (green, green), (green, red), (red, red), (red, arrow),
    }  # fmt: skip


def test_the_arrow_is_dark_between_green_and_flashing():
    left = [s.get("Sl", "r") for s in seconds(phases_of((ARROW, FLASHING)))]
    assert {"G", "g", "y", "r"} == set(left)
    assert not {("G", "g"), ("g", "G")} & set(pairwise([*left, left[0]]))


def test_oncoming_cars_go_only_with_our_green_light():
    for lights in ((LIGHT,), (LIGHT, ARROW)):
        for shown in seconds(phases_of(lights)):
            assert shown.get("Ss") == "G" or not goes(shown, "Ns")


def test_at_a_crossing_either_cars_or_pedestrians_go():
    shown = seconds(phases_of((LIGHT,), "crossing"))
    assert any(goes(s, "pS") for s in shown)
    assert any(goes(s, "Ss") for s in shown)
    assert not any(goes(s, "pS") and goes(s, "Ss") for s in shown)


def test_state_strings_put_letters_at_their_links():
    assert Phase(3.0, {"Ss": "G", "pW": "y"}).state({"Ss": 2, "pW": 0, "Sl": 1}) == "yrG"
    text = programme_xml((Phase(3.0, {"Ss": "G"}),), {"Ss": 0, "Sl": 1}, "J")
    assert '<phase duration="3" state="Gr"/>' in text
    assert "tlLogic" not in programme_xml((), {}, "J")


def test_seconds_to_green_count_the_phases_between():
    phases = (Phase(10.0, {"a": "G"}), Phase(3.0, {"a": "y"}), Phase(5.0, {"b": "g"}))
    assert seconds_to_green(phases, 0, 4.0, "a") == 0.0
    assert seconds_to_green(phases, 0, 4.0, "b") == 7.0
    assert seconds_to_green(phases, 1, 1.5, "a") == 6.5
    assert seconds_to_green(phases, 0, 4.0, "c") == float("inf")


def test_the_start_is_anywhere_in_the_cycle():
    phases = (Phase(10.0), Phase(3.0), Phase(7.0))
    assert start_of(phases, 0.0) == (0, 10.0)
    assert start_of(phases, 0.55) == (1, 2.0)
    assert start_of(phases, 0.999)[0] == 2


def test_no_lights_no_programme():
    assert programme(Layout("test", "junction", ("stop_sign",), ("turn_left",))) == ()
