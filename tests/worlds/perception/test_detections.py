"""Files of detections: both forms, round trips, and every way to get them wrong."""

import json

import numpy as np
import pytest

from verifier.errors import InputError
from worlds.perception.detections import detection_rows, detections_of, read_detections


def write(tmp_path, *rows, name="d.jsonl"):
    path = tmp_path / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def test_both_forms(tmp_path):
    path = write(
        tmp_path,
        {
            "domain": "x",
            "episode": 1,
            "seconds": 2,
            "label": ["a"],
            "confidences": {"a": 0.9, "b": 0.2},
        },
        {"domain": "x", "episode": 1, "proposition": "b", "confidence": 0.7, "correct": False},
    )
    found = read_detections([path])
    assert found.domain == "x"
    assert found.propositions == ("a", "b")
    assert found.confidence.tolist() == [0.9, 0.2, 0.7]
    assert found.truth.tolist() == [True, False, False]
    assert len(set(found.episode.tolist())) == 1


def test_rows_without_episode_are_their_own_and_files_do_not_share_episodes(tmp_path):
    row = {"proposition": "a", "confidence": 0.5, "correct": True}
    one = write(tmp_path, row, row, name="one.jsonl")
    two = write(tmp_path, {**row, "episode": 0}, {**row, "episode": 0}, name="two.jsonl")
    three = write(tmp_path, {**row, "episode": 0}, name="three.jsonl")
    found = read_detections([one, two, three])
    assert found.episode.tolist() == [0, 1, 2, 2, 3]
    assert found.domain == "one + two + three"


def test_round_trip(tmp_path):
    chance = np.random.default_rng(0)
    made = detections_of(
        "here",
        ("a", "b"),
        chance.random((6, 2)).round(4),
        chance.random((6, 2)) < 0.5,
        np.array([0, 0, 0, 1, 1, 1]),
        np.array([0.0, 1.0, 2.0] * 2),
    )
    read = read_detections([write(tmp_path, *detection_rows(made))])
    for name in ("proposition", "confidence", "truth", "episode", "seconds"):
        assert getattr(read, name).tolist() == getattr(made, name).tolist()


def test_answers_fold_the_confidence():
    made = detections_of(
        "x",
        ("a",),
        np.array([[0.9], [0.2], [0.5]]),
        np.array([[True], [True], [False]]),
        np.arange(3),
    )
    folded = made.answers()
    assert folded.confidence.tolist() == [0.9, 0.8, 0.5]
    assert folded.truth.tolist() == [True, False, False]


def test_split_keeps_episodes_whole_and_loses_none():
    episodes = np.repeat(np.arange(10), 4)
    made = detections_of("x", ("a",), np.full((40, 1), 0.5), np.ones((40, 1), bool), episodes)
    first, second = made.split(0.5, seed=3)
    assert len(set(first.episode)) == 5
    assert not set(first.episode) & set(second.episode)
    assert len(first) + len(second) == 40
    with pytest.raises(InputError, match="at least two episodes"):
        made.where(made.episode == 0).split(0.5, 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not an object"),
        ({"a": 1}, "neither a scene"),
        ({"proposition": "a", "confidence": 1.2, "correct": True}, "from 0 to 1, not 1.2"),
        ({"proposition": "a", "confidence": True, "correct": True}, "from 0 to 1, not True"),
        ({"label": ["b"], "confidences": {"a": 0.1}}, "'b' is in the label but has no confidence"),
        ({"label": {}, "confidences": {"a": 0.1}}, "a list 'label'"),
        ({"episode": "x", "label": [], "confidences": {"a": 0.1}}, "episode cannot be 'x'"),
    ],
)
def test_bad_rows_name_the_line(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_detections([write(tmp_path, row)])


def test_an_empty_file(tmp_path):
    with pytest.raises(InputError, match="no detections"):
        read_detections([write(tmp_path)])
