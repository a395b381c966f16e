"""Learned transition systems: what was recorded and nothing else."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_junction import GREEN, LEFT, SCENARIO, ToyJunction

from verifier.vocabulary import load_vocabulary
from worlds.check import check_world
from worlds.learned.assumptions import LONG, applicable, clear_conditions, proposals, support
from worlds.learned.drivers import record
from worlds.learned.model import learn_world
from worlds.learned.recordings import Recording
from worlds.learned.tracking import Tracker
from worlds.learned.world_file import world_to_yaml
from worlds.load import load_scenario, load_world

VOCABULARY = load_vocabulary()
NAMES = (GREEN, LEFT)
LABELS = {
    ".": frozenset[str](),
    "g": frozenset({GREEN}),
    "c": frozenset({LEFT}),
    "b": frozenset(NAMES),
}


def recording(letters: str, seed: int = 0) -> Recording:
    """ "ggc" is green, green, car from the left."""
    count = len(letters)
    return Recording(
        "toy/toy", "toy", seed, 1.0, "hold", NAMES,
        tuple(map(float, range(count))), tuple(LABELS[c] for c in letters), ("stop",) * count,
    )  # fmt: skip


def edges(learned) -> set[tuple[str, str]]:
    world = learned.world
    letters = {label: letter for letter, label in LABELS.items()}
    word = ["".join(letters[label] for label in state) for state in learned.states]
    return {(word[i], word[j]) for i, row in enumerate(world.successors) for j in row}


def test_states_and_steps_are_those_seen():
    learned = learn_world([recording("ggc.g"), recording("c.c", 1)], VOCABULARY, name="toy")
    assert edges(learned) == {("g", "g"), ("g", "c"), ("c", "."), (".", "g"), (".", "c")}
    world = learned.world
    assert world.propositions == NAMES
    assert world.states == ("s0", "s1", "s2")
    assert world.labels == (LABELS["."], LABELS["c"], LABELS["g"])
    assert [world.labels[i] for i in world.initial] == [LABELS["c"], LABELS["g"]]
    assert learned.stays == ()
    every = learn_world([recording("ggc.g")], VOCABULARY, name="toy", initial="all").world
    assert every.initial == (0, 1, 2)


def test_with_history_a_state_is_the_last_labels():
    learned = learn_world([recording("gg.gg")], VOCABULARY, name="toy", history=2)
    assert edges(learned) == {("g", "gg"), ("gg", "g."), ("g.", ".g"), (".g", "gg")}
    assert [learned.states[i] for i in learned.world.initial] == [(LABELS["g"],)]


def test_a_state_without_a_way_on_stays_and_is_named():
    learned = learn_world([recording("gg.")], VOCABULARY, name="toy")
    assert edges(learned) == {("g", "g"), ("g", "."), (".", ".")}
    assert [learned.world.states[i] for i in learned.stays] == ["s0"]
    assert "s0: [s0]  # only seen last; taken to stay" in world_to_yaml(learned)


@given(
    st.lists(st.text("g.cb", min_size=1, max_size=12), min_size=1, max_size=5), st.integers(1, 3)
)
def test_every_recording_is_a_run_of_its_world_and_the_world_is_sound(words, history):
    recordings = [recording(word, seed) for seed, word in enumerate(words)]
    learned = learn_world(recordings, VOCABULARY, name="toy", history=history)
    tracker = Tracker(learned.world)
    assert all(tracker.breaks(r.labels) == [] for r in recordings)
    assert not [f for f in check_world(learned.world, VOCABULARY) if f.severity == "error"]


@given(st.lists(st.text("g.cb", min_size=2, max_size=9), min_size=1, max_size=4), st.integers(1, 2))
def test_every_step_of_a_learned_world_was_seen(words, history):
    recordings = [recording(word, seed) for seed, word in enumerate(words)]
    learned = learn_world(recordings, VOCABULARY, name="toy", history=history)
    pairs = {pair for word in words for pair in itertools.pairwise(word)}
    stays = {learned.world.labels[i] for i in learned.stays}
    for i, row in enumerate(learned.world.successors):
        for j in row:
            now, after = learned.world.labels[i], learned.world.labels[j]
            letters = {label: letter for letter, label in LABELS.items()}
            assert (letters[now], letters[after]) in pairs or (i == j and now in stays)


@given(st.lists(st.text("g.cb", min_size=1, max_size=9), min_size=1, max_size=4), st.integers(1, 3))
def test_the_file_is_read_back_as_the_same_world(tmp_path_factory, words, history):
    recordings = [recording(word, seed) for seed, word in enumerate(words)]
    learned = learn_world(recordings, VOCABULARY, name="toy", history=history)
    file = tmp_path_factory.mktemp("worlds") / "toy.yaml"
    file.write_text(world_to_yaml(learned, reasons=['It: was, "seen".'], actions=["turn_right"]))
    assert load_world(file, VOCABULARY) == learned.world
    scenario = load_scenario(file, VOCABULARY)
    assert scenario.reasons == ('It: was, "seen".',)
    assert scenario.actions == ("turn_right",)


def test_counts_stand_in_the_file():
    text = world_to_yaml(learn_world([recording("ggg.")], VOCABULARY, name="toy"))
    assert f"  s1: [{GREEN}]  # 3\n" in text
    assert "  s1: [s0, s1]  # 1, 2\n" in text


def test_the_toy_is_learned_completely(tmp_path):
    """With enough episodes the learned world is the one that the scenario's rules describe."""
    file = tmp_path / "toy.yaml"
    file.write_text(SCENARIO)
    written = load_world(file, VOCABULARY)
    recordings = [record(ToyJunction(), seed, 120) for seed in range(30)]
    learned = learn_world(recordings, VOCABULARY, name="toy", initial="all").world
    assert (learned.labels, learned.successors) == (written.labels, written.successors)


def test_what_is_clear():
    assert clear_conditions(["stop_sign", "car_from_left"]) == ("!car_from_left",)
    assert clear_conditions(["green_traffic_light", "green_left_turn_light", "opposite_car"]) == (
        "green_traffic_light & !opposite_car",
        "green_left_turn_light & !opposite_car",
    )
    assert clear_conditions(
        ["green_traffic_light", "pedestrian_at_left", "pedestrian_in_front"]
    ) == ("green_traffic_light & !pedestrian_at_left & !pedestrian_in_front",)


def test_an_assumption_is_supported_if_every_long_episode_had_it():
    long = "c" * LONG
    formula = f"GF({GREEN} & !{LEFT})"
    both = support(formula, [recording(f"g{long}g"), recording(f"ccg{long}", 1)], NAMES)
    assert (both.long_episodes, both.seen_in, both.longest_wait) == (2, 2, LONG)
    assert both.supported
    # Short episodes are not asked.
    short = support(formula, [recording(f"g{long}"), recording("cc", 1)], NAMES)
    assert (short.long_episodes, short.supported) == (1, True)
    one = support(formula, [recording(f"g{long}"), recording(f"cc{long}", 1)], NAMES)
    assert (one.seen_in, one.longest_wait, one.supported) == (1, LONG + 2, False)
    assert not support(formula, [recording("ggg")], NAMES).supported


def test_how_sure_an_assumption_is():
    """The rule of three: 30 of 30 leave about one in ten."""
    found = proposals([record(ToyJunction(), seed, LONG) for seed in range(30)], NAMES)
    assert [s.formula for s in found] == [f"GF({GREEN} & !{LEFT})"]
    assert found[0].supported
    assert found[0].missing_at_most == pytest.approx(1 - 0.05 ** (1 / 30))


def test_assumptions_of_another_form_are_not_judged():
    assert support(f"G({GREEN} -> F {LEFT})", [recording("g" * 70)], NAMES).longest_wait is None


def test_assumptions_about_other_things_do_not_apply():
    formulas = ["GF !stop_sign", f"GF {GREEN}"]
    assert applicable(formulas, NAMES, VOCABULARY) == [f"GF {GREEN}"]


def test_with_assumptions():
    learned = learn_world([recording("gg")], VOCABULARY, name="toy")
    fair = learned.with_assumptions([f"GF {GREEN}"])
    assert [a.formula for a in fair.world.assumptions] == [f"GF {GREEN}"]
    assert fair == replace(learned, world=fair.world)
