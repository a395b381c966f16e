"""The shipped task bank, and what is said about task files that are wrong."""

from collections import Counter, defaultdict

import pytest

from pipeline.prompts import load_template
from pipeline.tasks import SPLITS, allowed_actions, load_tasks, scene_of, shipped_tasks, task_prompt
from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world, sensible_actions

VOCABULARY = load_vocabulary()
TASKS = load_tasks()
GOOD = "{id: a, prompt: turn right, world: traffic_light, action: turn_right, split: train}"


def in_split(split):
    return [task for task in TASKS if task.split == split]


def test_bank_is_large_and_covers_places_manoeuvres_and_wordings():
    assert shipped_tasks() == ("driving", "fresh")
    assert len(TASKS) >= 80
    assert len({task.world for task in TASKS}) >= 13
    assert {task.action for task in TASKS} == {"turn_left", "turn_right", "go_straight"}
    assert len({task.wording for task in TASKS}) >= 5
    assert all(len(in_split(split)) >= 20 for split in SPLITS)


def test_prompts_are_distinct():
    assert max(Counter(task.prompt for task in TASKS).values()) == 1


def test_test_split_holds_out_whole_worlds():
    elsewhere = {task.world for task in TASKS if task.split != "test"}
    held_out = {task.world for task in in_split("test")} - elsewhere
    assert held_out == {
        *("light_with_left_arrow", "all_way_stop", "signalised_crossing"),
        *("exit_ramp", "t_junction"),
    }


def test_test_split_holds_out_wordings():
    elsewhere = {task.wording for task in TASKS if task.split != "test"}
    worlds_of_train = {task.world for task in in_split("train")}
    tested = {task.wording for task in in_split("test") if task.world in worlds_of_train}
    assert len(tested) >= 2
    assert not tested & elsewhere


def test_validation_shares_worlds_with_train_but_not_wordings():
    train, validation = in_split("train"), in_split("validation")
    assert {task.world for task in validation} <= {task.world for task in train}
    assert not {task.wording for task in validation} & {task.wording for task in train}


def test_every_sensible_manoeuvre_of_every_world_is_asked_for():
    asked = defaultdict(set)
    for task in TASKS:
        asked[task.world].add(task.action)
    for world, actions in asked.items():
        assert actions == set(sensible_actions(world, VOCABULARY)), world


def test_scene_and_prompt_tell_the_world():
    task = next(task for task in TASKS if task.world == "driveway_exit")
    scene = scene_of(task, VOCABULARY)
    assert scene.propositions == load_world("driveway_exit", VOCABULARY).propositions
    assert scene.actions == allowed_actions("driveway_exit", VOCABULARY)
    assert scene.actions == ("stop", "turn_left", "turn_right")
    said = task_prompt(task, load_template("observed"), VOCABULARY).messages[-1].content
    assert task.prompt in said
    assert "car from left, car from right, pedestrian in front" in said
    assert "stop, turn left, turn right." in said
    assert "go straight" not in said


def test_only_some_splits():
    assert load_tasks(splits=["validation"]) == tuple(in_split("validation"))


def test_world_beside_the_task_file(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "name: own\nactions: [turn_right]\nstates: {a: [stop_sign], b: []}\n"
        "initial: all\ntransitions: complete\n"
    )
    (tmp_path / "bank.yaml").write_text(f"tasks:\n- {GOOD.replace('traffic_light', 'own.yaml')}\n")
    (task,) = load_tasks(tmp_path / "bank.yaml")
    assert task.world == str(tmp_path / "own.yaml")
    assert scene_of(task, VOCABULARY).propositions == ("stop_sign",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tasks: []", "no tasks"),
        ("tasks: 3", "no tasks"),
        (f"jobs: []\ntasks: [{GOOD}]", "unknown field 'jobs'"),
        ("tasks: [3]", "task 1: must be a mapping"),
        (f"tasks: [{GOOD}, {GOOD}]", "'a' occurs twice"),
        (f"tasks: [{GOOD.replace('split:', 'spilt:')}]", "did you mean 'split'?"),
        (f"tasks: [{GOOD.replace('turn right', '3')}]", "task 'a': lacks prompt"),
        (f"tasks: [{GOOD.replace('id: a, ', '')}]", "task 1: lacks id"),
        (f"tasks: [{GOOD.replace('split: train', 'split: dev')}]", "split cannot be 'dev'"),
        (f"tasks: [{GOOD.replace('traffic_light', 'trafic_light')}]", "'traffic_light'?"),
        (f"tasks: [{GOOD.replace('turn_right', 'fly')}]", "unknown action 'fly'"),
        (f"tasks: [{GOOD.replace('traffic_light', 'highway_merge')}]", "makes no sense"),
        (f"tasks: [{GOOD.replace('turn_right', 'stop')}]", "makes no sense"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, complaint):
    path = tmp_path / "bank.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_tasks(path)
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_bank():
    with pytest.raises(InputError, match="use one of driving"):
        load_tasks("flying")
