"""Practice tasks: loadable, varied, reproducible, and never worded like a held-out task."""

from itertools import product

from reference_controllers import VOCABULARY

from pipeline.practice import (
    _MANOEUVRES,
    _SENTENCES,
    observations,
    practice_tasks,
    write_tasks,
    write_worlds,
)
from pipeline.tasks import load_tasks
from worlds.practice import practice_worlds

BANK = load_tasks("driving", VOCABULARY)


def test_tasks_and_worlds_are_read_back_as_they_were_written(tmp_path):
    worlds = practice_worlds(10, 3, VOCABULARY)
    folder = tmp_path / "worlds"
    tasks = practice_tasks(worlds, 3, folder)
    write_worlds(worlds, folder)
    write_tasks(tasks, tmp_path / "tasks.yaml")
    read = load_tasks(tmp_path / "tasks.yaml", VOCABULARY)
    assert [(t.id, t.prompt, t.action, t.split) for t in read] == [
        (t.id, t.prompt, t.action, t.split) for t in tasks
    ]
    assert observations(read, VOCABULARY) == {frozenset(w.propositions) for w in worlds}


def test_tasks_follow_from_the_seed_and_are_varied(tmp_path):
    worlds = practice_worlds(20, 3, VOCABULARY)
    tasks = practice_tasks(worlds, 3, tmp_path)
    assert tasks == practice_tasks(worlds, 3, tmp_path)
    assert tasks != practice_tasks(worlds, 4, tmp_path)
    assert {t.action for t in tasks} == {"turn_left", "turn_right", "go_straight"}
    assert len({t.prompt for t in tasks}) == len(tasks)
    assert {t.split for t in tasks} == {"train"}


def test_no_wording_is_that_of_a_held_out_task():
    places = {w.place for w in practice_worlds(40, 0, VOCABULARY)}
    names = [name for action in _MANOEUVRES.values() for name in action]
    shared = {s.format(manoeuvre=m, place="#") for s in _SENTENCES for m in names}
    held_out = [t.prompt for t in BANK if t.split != "train"]
    trained = {t.prompt for t in BANK if t.split == "train"}
    for wording, prompt in product(shared, held_out):
        before, _, after = wording.partition("#")
        fits = prompt.startswith(before) and prompt.endswith(after)
        # Test worlds that nobody trained in are asked for in the train split's wordings.
        assert not fits or prompt in trained or in_train_wording(prompt, trained)
    assert not any(place in prompt for place in places for prompt in held_out)


def in_train_wording(prompt, trained):
    return any(prompt.split(" at ")[0] == one.split(" at ")[0] for one in trained)
