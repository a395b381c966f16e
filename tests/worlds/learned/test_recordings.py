"""Label sequences: recorded, written, read."""

import json

import pytest
from toy_junction import GREEN, LEFT, ToyJunction

from verifier.errors import InputError
from worlds.learned.drivers import record
from worlds.learned.recordings import (
    check_compatible,
    read_recordings,
    recording_from_json,
    recordings_to_lines,
)


def test_hold_sees_every_period_of_the_world():
    recording = record(ToyJunction(), seed=3, steps=30)
    assert recording.steps == 30
    assert recording.seconds == tuple(map(float, range(31)))
    assert set(recording.actions) == {"stop"}
    greens = [GREEN in label for label in recording.labels]
    assert {True, False} == set(greens)
    assert (recording.world, recording.seed, recording.period) == ("toy/toy", 3, 1.0)


def test_explore_moves_and_stops_recording_when_the_car_has_left():
    recordings = [record(ToyJunction(), seed, 200, "explore") for seed in range(20)]
    assert any(r.steps < 200 for r in recordings)
    for r in recordings:
        moves = [action for action in r.actions if action != "stop"]
        assert len(moves) == (r.steps < 200)  # the one that leaves, and nothing behind the place
        assert r.actions[-1] != "stop" or r.steps == 200


def test_equal_seeds_give_equal_recordings_and_unequal_ones_do_not():
    assert record(ToyJunction(), 5, 50, "explore") == record(ToyJunction(), 5, 50, "explore")
    assert record(ToyJunction(), 5, 50).labels != record(ToyJunction(), 6, 50).labels


def test_a_file_is_read_back_as_it_was(tmp_path):
    recordings = [record(ToyJunction(), seed, 20) for seed in range(3)]
    file = tmp_path / "r.jsonl"
    file.write_text(recordings_to_lines(recordings))
    assert read_recordings([file]) == recordings


def test_unknown_driver():
    with pytest.raises(InputError, match="no driver 'drive'; use one of hold, explore"):
        record(ToyJunction(), 0, 3, "drive")


def test_a_simulator_that_sees_what_it_should_not():
    simulator = ToyJunction()
    simulator.propositions = (GREEN,)
    with pytest.raises(InputError, match="toy/toy observes 'car_from_left'"):
        record(simulator, 1, 200)


ROW = record(ToyJunction(), 1, 3).to_json()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": []}, "no labels"),
        ({"labels": [[GREEN]]}, "one entry per decision"),
        ({"labels": [["stop_sign"]] * 4}, "'stop_sign' is not among the propositions"),
        ({"labels": [GREEN] * 4}, "every label must be a list"),
        ({"seed": "1"}, "seed cannot be '1'"),
        ({"seed": True}, "seed cannot be True"),
        ({"seconds": ["a", "b", "c", "d"]}, "seconds must be numbers"),
        ({"actions": [1, 2, 3, 4]}, "actions must be texts"),
    ],
)
def test_rows_that_are_no_recordings(change, problem):
    with pytest.raises(InputError, match=problem):
        recording_from_json(ROW | change)


@pytest.mark.parametrize("field", list(ROW))
def test_every_field_is_needed(field):
    row = {key: value for key, value in ROW.items() if key != field}
    with pytest.raises(InputError, match=f"no field '{field}'"):
        recording_from_json(row)


def test_files_name_the_line(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(ROW) + "\n{\n")
    with pytest.raises(InputError, match=r"r\.jsonl: line 2: not JSON"):
        read_recordings([file])
    file.write_text("\n")
    with pytest.raises(InputError, match="no recordings"):
        read_recordings([file])


def test_an_episode_given_twice_is_refused(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text((json.dumps(ROW) + "\n") * 2)
    with pytest.raises(InputError, match=r"line 2: the episode of toy/toy with seed 1 was already"):
        read_recordings([file])


def test_recordings_of_different_places_or_periods_are_not_put_together():
    one = recording_from_json(ROW)
    with pytest.raises(InputError, match="differ in what can be observed: stop_sign"):
        check_compatible(
            [one, recording_from_json(ROW | {"propositions": [GREEN, LEFT, "stop_sign"]})]
        )
    with pytest.raises(InputError, match=r"periods of 0\.5 s and 1 s"):
        check_compatible([one, recording_from_json(ROW | {"period": 0.5})])
