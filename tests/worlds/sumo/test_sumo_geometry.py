"""Distances, speeds and outlines: pure functions of the SUMO worlds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worlds.sumo.car import (
    CRUISE,
    DECELERATION,
    Course,
    next_speed,
    speed_behind,
    speed_through,
    speed_to_stop,
)
from worlds.sumo.collisions import overlaps
from worlds.sumo.labels import direction, seconds_away
from worlds.sumo.network import Lane
from worlds.sumo.walkers import metres_beside

STEP = 0.1


@given(st.floats(0.0, 100.0), st.floats(0.0, CRUISE))
def test_a_car_that_brakes_in_time_stops_before_the_line(gap: float, speed: float):
    if speed > speed_to_stop(gap, STEP):
        return
    for _ in range(600):
        speed = next_speed(speed, speed_to_stop(gap, STEP), STEP)
        gap -= speed * STEP
    assert -1e-6 <= gap < 0.01


@given(st.floats(0.1, 40.0), st.floats(0.0, CRUISE))
def test_a_follower_stops_behind_a_leader_that_brakes(gap: float, speed: float):
    own = speed_behind(gap, speed, STEP)
    leader = speed
    for _ in range(200):
        leader = max(0.0, leader - DECELERATION * STEP)
        own = next_speed(own, speed_behind(gap, leader, STEP), STEP)
        gap += (leader - own) * STEP
        assert gap > -0.2  # one step of the leader's braking


def test_speed_changes_no_faster_than_the_car_can():
    assert next_speed(5.0, 9.0, STEP) == pytest.approx(5.3)
    assert next_speed(5.0, 0.0, STEP) == pytest.approx(4.7)
    assert next_speed(0.1, 0.0, STEP) == 0.0


def test_a_turn_is_entered_at_its_speed():
    course = Course(line=100.0, inner=20.0, speed=5.0)
    assert speed_through(course, 0.0) == CRUISE
    assert speed_through(course, 100.0 - 1e-9) == pytest.approx(5.0)
    assert speed_through(course, 110.0) == 5.0
    assert speed_through(course, 121.0) == CRUISE


@pytest.mark.parametrize(("distance", "speed"), [(0.0, 0.0), (5.0, 0.0), (50.0, 3.0), (80.0, 8.33)])
def test_seconds_away_is_how_long_a_car_needs(distance: float, speed: float):
    time, left, now = 0.0, distance, speed
    while left > 1e-9:
        left -= now * 0.001
        now = min(8.33, now + 2.6 * 0.001)
        time += 0.001
    assert seconds_away(distance, speed) == pytest.approx(time, abs=0.05)


def test_directions_are_those_of_a_driver():
    assert [direction("S", end) for end in "WNE"] == ["l", "s", "r"]
    assert [direction("W", end) for end in "NES"] == ["l", "s", "r"]


def test_a_car_covers_its_outline_and_no_more():
    front, east = (10.0, 0.0), math.pi / 2
    assert overlaps(front, east, (8.0, 0.0), 0.1)
    assert overlaps(front, east, (10.05, 0.0), 0.1)
    assert not overlaps(front, east, (10.2, 0.0), 0.1)
    assert not overlaps(front, east, (5.3, 0.0), 0.1)  # it is 4.5 m long
    assert overlaps(front, east, (8.0, 0.95), 0.1)
    assert not overlaps(front, east, (8.0, 1.1), 0.1)


def test_metres_beside_a_crosswalk():
    lane = Lane("c_0", "c", "crossing", False, 6.0, 4.0, ((0.0, 0.0), (6.0, 0.0)))
    assert metres_beside((3.0, 1.9), lane) == 0.0
    assert metres_beside((-1.5, 0.0), lane) == pytest.approx(1.5)
    assert metres_beside((9.0, 6.0), lane) == pytest.approx(5.0)
