"""Recordings against hand-written scenarios: what these exclude, by which rule, and what is unseen."""

import json
import random
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_junction import GREEN, LEFT, SCENARIO, ToyJunction

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.learned.conformance import Conformance, conform
from worlds.learned.drivers import record
from worlds.learned.faults import step_fault, valuation
from worlds.learned.recordings import Recording
from worlds.learned.tracking import Tracker
from worlds.learned.unseen import label_patterns, step_patterns
from worlds.load import load_scenario, load_world, shipped_worlds
from worlds.scenario import ByRule

VOCABULARY = load_vocabulary()
SHORT = {"G": GREEN, "L": LEFT, "O": "opposite_car", "F": "pedestrian_in_front", "S": "stop_sign"}
BY_RULE = [
    name
    for name in shipped_worlds()
    if name not in ("free", "two_way_stop")  # large; no step rules
    and isinstance(load_scenario(name, VOCABULARY).body, ByRule)
]


def episode(text: str, scenario: str, seed: int = 0) -> Recording:
    """ "GL G -" is a green light with a car from the left, a green light, nothing."""
    labels = tuple(frozenset(SHORT[c] for c in word if c != "-") for word in text.split())
    return Recording(
        f"test/{scenario}", scenario, seed, 1.0, "hold",
        load_world(scenario, VOCABULARY).propositions,
        tuple(map(float, range(len(labels)))), labels, ("stop",) * len(labels),
    )  # fmt: skip


def compared(scenario: str, *texts: str) -> Conformance:
    recordings = [episode(text, scenario, seed) for seed, text in enumerate(texts)]
    return conform(
        recordings, load_scenario(scenario, VOCABULARY), load_world(scenario, VOCABULARY)
    )


def test_a_run_of_the_scenario_conforms():
    found = compared("traffic_light", "GO GO O - L L L GL G", "L - - GO G G - -")
    assert (found.episodes, found.conforming, found.exclusions) == (2, 2, ())
    assert found.steps == 15
    assert (found.modelled_labels, found.seen_labels) == (128, 6)


def test_an_excluded_label_names_the_invariant():
    found = compared("unprotected_left_turn", "G GO O - O -")
    (only,) = found.exclusions
    assert (only.kind, only.times, only.episodes) == ("label", 2, 1)
    assert [[str(rule) for rule in rules] for rules in only.fault] == [
        ["invariant 1: opposite_car -> green_traffic_light"]
    ]
    (example, count), *_ = only.examples
    assert (example.seed, example.seconds, count) == (0, 2.0, 1)
    assert example.before == frozenset({GREEN, "opposite_car"})
    assert example.label == frozenset({"opposite_car"})


def test_an_excluded_step_names_the_rule():
    found = compared("traffic_light", "- G GL GL G", "G GF -")
    steps = {
        str(e.fault[0][0]).split(":")[0]: (e.kind, e.times, len(e.fault)) for e in found.exclusions
    }
    assert steps == {"step 4": ("step", 1, 1), "step 6": ("step", 1, 1)}
    assert found.conforming == 0


def test_hidden_variables_are_followed():
    """An opposite car without green is there on yellow, which lasts one moment only."""
    assert compared("traffic_light", "GO O -").conforming == 1
    assert compared("traffic_light", "O -").conforming == 1
    found = compared("traffic_light", "GO O O -")
    (only,) = found.exclusions
    assert only.kind == "step"
    assert [[str(rule) for rule in rules] for rules in only.fault] == [
        ["invariant 2: opposite_car -> (green_traffic_light | yellow_light)"],
        ["step 2: yellow_light -> X(!green_traffic_light & !yellow_light)"],
    ]
    assert [(str(rule).split(":")[0], times) for rule, times in found.relief] == [
        ("invariant 2", 1), ("step 2", 1),
    ]  # fmt: skip
    # Yellow is followed by red, so green right after an opposite car on yellow is excluded too,
    # although "O -" and "- G" are possible by themselves.
    assert compared("traffic_light", "O G").exclusions[0].kind == "step"
    assert compared("traffic_light", "O - G").conforming == 1


def test_a_manoeuvre_takes_the_time_of_several_steps():
    """Green, then (four seconds later, at the line) red with a crossing car: yellow was missed."""
    quick = episode("G L", "traffic_light")
    scenario = load_scenario("traffic_light", VOCABULARY)
    world = load_world("traffic_light", VOCABULARY)
    assert conform([quick], scenario, world).exclusions[0].kind == "step"
    slow = replace(quick, seconds=(0.0, 4.0))
    assert slow.periods == (1, 4)
    found = conform([slow], scenario, world)
    assert (found.conforming, found.exclusions, found.long_steps) == (1, (), 1)
    # What is impossible at any time stays so.
    never = replace(episode("G O", "unprotected_left_turn"), seconds=(0.0, 4.0))
    found = conform([never], load_scenario("unprotected_left_turn", VOCABULARY),
                    load_world("unprotected_left_turn", VOCABULARY))  # fmt: skip
    assert found.exclusions[0].kind == "label"


def test_after_an_impossible_step_one_starts_anew():
    found = compared("traffic_light", "G GL GL GL - L")
    assert sum(e.times for e in found.exclusions) == 1


def test_after_an_impossible_label_one_starts_anew_at_the_next():
    tracker = Tracker(load_world("unprotected_left_turn", VOCABULARY))
    recording = episode("G O O G G GF", "unprotected_left_turn")
    assert [(b.kind, b.index) for b in tracker.breaks(recording.labels)] == [
        ("label", 1), ("label", 2), ("step", 5),
    ]  # fmt: skip


def test_a_scenario_without_rules_has_no_rule_at_fault():
    scenario, world = (load(
        "paper_traffic_light", VOCABULARY) for load in (load_scenario, load_world))  # fmt: skip
    recording = replace(episode("G GF L", "traffic_light"), scenario="paper_traffic_light")
    found = conform([recording], scenario, world)
    # The paper's world does not speak of pedestrians in front.
    assert "pedestrian_in_front" in found.ignored
    assert found.conforming == 1
    both = replace(episode("G GL L", "traffic_light"), scenario="paper_traffic_light")
    (only,) = conform([both], scenario, world).exclusions
    assert (only.kind, only.fault) == ("label", ())


def test_initial_states_count(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_text(SCENARIO + f"initial: {GREEN}\n")
    scenario, world = load_scenario(file, VOCABULARY), load_world(file, VOCABULARY)
    bad = replace(episode("L G", "paper_traffic_light"), propositions=(GREEN, LEFT))
    (only,) = conform([bad], scenario, world).exclusions
    assert (only.kind, only.examples[0][0].before) == ("start", None)


def test_recordings_must_show_what_the_scenario_asks_for():
    toy = record(ToyJunction(), 0, 5)
    with pytest.raises(InputError, match="do not say whether there was opposite_car"):
        conform([toy], load_scenario("traffic_light", VOCABULARY),
                load_world("traffic_light", VOCABULARY))  # fmt: skip
    with pytest.raises(InputError, match="universal is a union"):
        conform([toy], load_scenario("universal", VOCABULARY), load_world("universal", VOCABULARY))


@pytest.mark.parametrize("name", BY_RULE)
def test_a_step_is_possible_exactly_if_no_rule_is_at_fault(name):
    """The blame agrees with the builder, which decides with decision diagrams."""
    scenario, world = load_scenario(name, VOCABULARY), load_world(name, VOCABULARY)
    body = scenario.body
    assert isinstance(body, ByRule)
    tracker, chance = Tracker(world), random.Random(name)
    hidden = frozenset(body.hidden)
    for _ in range(60):
        state, label = chance.randrange(len(world.states)), chance.choice(world.labels)
        fault = step_fault(body, [valuation(world, state, hidden)], label)
        possible = bool(tracker.after(frozenset({state}), label))
        assert possible == (fault == ((),))


@settings(max_examples=30)
@given(st.sampled_from(BY_RULE), st.integers(0, 1000))
def test_runs_of_a_scenario_conform_to_it(name, seed):
    world, chance = load_world(name, VOCABULARY), random.Random(seed)
    state = chance.choice(world.initial)
    labels = []
    for _ in range(30):
        labels.append(world.labels[state])
        state = chance.choice(world.successors[state])
    assert Tracker(world).breaks(labels) == []


def test_the_late_toy_breaks_the_rule_of_its_scenario(tmp_path):
    file = tmp_path / "toy.yaml"
    file.write_text(SCENARIO)
    scenario, world = load_scenario(file, VOCABULARY), load_world(file, VOCABULARY)
    good = conform([record(ToyJunction(), s, 100) for s in range(10)], scenario, world)
    assert good.conforming == 10
    late = conform([record(ToyJunction(late=0.3), s, 100) for s in range(10)], scenario, world)
    (only,) = late.exclusions
    assert str(only.fault[0][0]) == f"step 1: X({GREEN} & {LEFT}) -> {LEFT}"
    assert only.times > 10
    assert late.excluded_steps == only.times
    row = late.to_json()
    assert json.loads(json.dumps(row)) == row
    assert row["exclusions"][0]["examples"][0]["label"] == [LEFT, GREEN]


def test_what_was_never_seen_is_counted_and_named():
    found = compared("unprotected_left_turn", "G GO G - F F -")
    assert found.seen_labels == 4
    assert len(found.unseen_labels) == found.modelled_labels - 4
    assert len(found.unseen_steps) == found.modelled_steps - found.seen_steps
    assert found.seen_steps == 6  # G GO, GO G, G -, - F, F F, F -
    never = [pattern.literals for pattern in found.never_together]
    assert (("pedestrian_at_left", True),) in never
    assert ((GREEN, True), ("pedestrian_in_front", True)) in never


NAMES = ("car_from_left", "green_traffic_light", "opposite_car")
labels = st.frozensets(st.sampled_from(NAMES))


@given(st.sets(labels, min_size=1), st.data())
def test_patterns_of_labels_are_never_seen_and_each_explains_something(modelled, data):
    seen = [label for label in modelled if data.draw(st.booleans())]
    unseen = [label for label in modelled if label not in seen]

    def matches(pattern, label):
        return all((name in label) == value for name, value in pattern.literals)

    patterns = label_patterns(list(modelled), seen, NAMES)
    for pattern in patterns:
        assert not any(matches(pattern, label) for label in seen)
        assert pattern.explains > 0
    explained = [label for label in unseen if any(matches(p, label) for p in patterns)]
    assert len(explained) == sum(p.explains for p in patterns)


@given(st.sets(labels, min_size=1, max_size=4), st.data())
def test_patterns_of_steps_likewise(states, data):
    modelled = list(product(states, states))
    walk = data.draw(st.lists(st.sampled_from(sorted(states, key=sorted)), min_size=2, max_size=9))
    seen = list(set(pairwise(walk)))
    for pattern in step_patterns(modelled, seen, NAMES):
        (a, now), (b, after) = pattern.literals
        assert not any((a in s) == now and (b in t) == after for s, t in seen)
        assert pattern.explains > 0
