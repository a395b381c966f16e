"""Bad scenario files: one line that names file, place and remedy."""

from pathlib import Path

import pytest

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.builder import MAX_STATES
from worlds.load import load_scenario, load_world, shipped_worlds

VOCABULARY = load_vocabulary()
TWO_CARS = "propositions: [car_from_left, car_from_right]\n"


def refusal(path: Path | str, text: str | None = None) -> str:
    """The message that loading gives, with the folder cut off."""
    if text is not None:
        Path(path).write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_world(path, VOCABULARY)
    message = str(error.value)
    assert "\n" not in message
    return message.replace(f"{Path(path).parent}/", "") if text is not None else message


CASES = {
    "empty": (
        "",
        "w.yaml: expected a mapping of names to values, found an empty file; see the file formats in the documentation",
    ),
    "yaml": (
        "name: w\nstates: {a: [}\n",
        "w.yaml: line 2, column 14: not valid YAML: did not find expected node content; mend the syntax",
    ),
    "list": (
        "- a\n",
        "w.yaml: expected a mapping of names to values, found a list; see the file formats in the documentation",
    ),
    "no form": (
        "name: w\n",
        "w.yaml: not a world; give 'states' and 'transitions', or 'propositions' and rules, or 'union'",
    ),
    "rule book": (
        "name: w\nspecifications: []\n",
        "w.yaml: not a world; give 'states' and 'transitions', or 'propositions' and rules, or 'union'",
    ),
    "misspelt field": (
        TWO_CARS + "invariant: [car_from_left]\n",
        "w.yaml: unknown field 'invariant' in a world by rule; did you mean 'invariants'?",
    ),
    "two forms": (
        "states: {a: []}\ntransitions: complete\nsteps: []\n",
        "w.yaml: unknown field 'steps' in a world with states; did you mean 'states'?",
    ),
    "name": (
        "name: 7\n" + TWO_CARS,
        "w.yaml: name must be a text; e.g. name: two_way_stop",
    ),
    "text": ("text: [a]\n" + TWO_CARS, "w.yaml: text must be a text; quote it"),
    "unknown action": (
        "actions: [turn_round]\n" + TWO_CARS,
        "w.yaml: actions: unknown action 'turn_round'; use one of stop, turn_left, turn_right, go_straight",
    ),
    "formula not in a list": (
        TWO_CARS + "steps: car_from_left\n",
        "w.yaml: steps must be a list of texts; use [ ... ] and quote each item",
    ),
    # Explicit form.
    "no states": (
        "states: {}\ntransitions: complete\n",
        "w.yaml: no states; e.g. states: {p0: [stop_sign], p1: []}",
    ),
    "states as a list": (
        "states: [a]\ntransitions: complete\n",
        "w.yaml: states must map names to lists; e.g. {p0: [a, b], p1: []}",
    ),
    "label not a list": (
        "states: {a: stop_sign}\ntransitions: complete\n",
        "w.yaml: states of a must be a list of texts; use [ ... ] and quote each item",
    ),
    "no transitions": (
        "states: {a: []}\n",
        "w.yaml: no transitions; add 'transitions: complete' or a mapping of states to successors",
    ),
    "unknown successor": (
        "states: {alpha: []}\ntransitions: {alpha: [alpha, alhpa]}\n",
        "w.yaml: transitions of alpha: unknown state 'alhpa'; did you mean 'alpha'?",
    ),
    "unknown source": (
        "states: {a: []}\ntransitions: {zz: [a]}\n",
        "w.yaml: transitions of zz: unknown state 'zz'; add it to 'states'",
    ),
    "unknown initial state": (
        "states: {a: []}\ntransitions: complete\ninitial: [zz]\n",
        "w.yaml: initial: unknown state 'zz'; add it to 'states'",
    ),
    "no initial state": (
        "states: {a: []}\ntransitions: complete\ninitial: []\n",
        "w.yaml: initial: no initial state; write 'initial: all'",
    ),
    "deadlock": (
        "states: {a: [stop_sign], b: []}\ntransitions: {a: [b]}\n",
        "w.yaml: state b {}: deadlock: no transition leaves it; allow a transition (to itself, if the world can stay as it is)",
    ),
    "unknown proposition in a label": (
        "states: {a: [stop_sing]}\ntransitions: complete\n",
        "w.yaml: propositions: unknown proposition 'stop_sing'; did you mean 'stop_sign'?",
    ),
    "name that YAML does not read as a text": (
        "states: {on: [], off: []}\ntransitions: complete\n",
        "w.yaml: states: the name True is not a text; quote it",
    ),
    "number in a label": (
        "states: {a: [1]}\ntransitions: complete\n",
        "w.yaml: states of a must be a list of texts; use [ ... ] and quote each item",
    ),
    "transitions as a word": (
        "states: {a: []}\ntransitions: all\n",
        "w.yaml: transitions must map names to lists; e.g. {p0: [a, b], p1: []}",
    ),
    "successor not in a list": (
        "states: {a: []}\ntransitions: {a: a}\n",
        "w.yaml: transitions of a must be a list of texts; use [ ... ] and quote each item",
    ),
    "initial not in a list": (
        "states: {a: []}\ntransitions: complete\ninitial: a\n",
        "w.yaml: initial must be a list of texts; use [ ... ] and quote each item",
    ),
    "initial twice": (
        "states: {a: []}\ntransitions: complete\ninitial: [a, a]\n",
        "w.yaml: initial: 'a' is listed twice; remove one",
    ),
    "label outside the propositions": (
        "states: {a: [stop_sign]}\ntransitions: complete\npropositions: [opposite_car]\n",
        "w.yaml: state a {stop_sign}: 'stop_sign' holds here but is not among the world's propositions; add it to 'propositions'",
    ),
    # Rule form.
    "unknown proposition": (
        "propositions: [stop_sing]\n",
        "w.yaml: propositions: unknown proposition 'stop_sing'; did you mean 'stop_sign'?",
    ),
    "proposition twice": (
        "propositions: [stop_sign, stop_sign]\n",
        "w.yaml: propositions: 'stop_sign' is listed twice; remove one",
    ),
    "invariant syntax": (
        TWO_CARS + "invariants: [car_from_left, car_from_left ->]\n",
        "w.yaml: invariant 2: syntax error, unexpected end of formula at column 17: car_from_left ->‹^›; mend the formula",
    ),
    "invariant about another proposition": (
        TWO_CARS + "invariants: [stop_sign]\n",
        "w.yaml: invariant 1: unknown proposition 'stop_sign'; known: car_from_left, car_from_right",
    ),
    "temporal invariant": (
        TWO_CARS + "invariants: [G car_from_left]\n",
        "w.yaml: invariant 1: not a Boolean formula: G car_from_left; remove the temporal operators",
    ),
    "contradictory invariants": (
        TWO_CARS + "invariants: [car_from_left, '!car_from_left']\n",
        "w.yaml: invariant 2: no label satisfies the invariants up to this one; weaken it",
    ),
    "always in a step": (
        TWO_CARS + "steps: [car_from_left -> F car_from_right]\n",
        "w.yaml: step 1: F cannot be used in a step rule: car_from_left -> F car_from_right; combine propositions p and next values X p with ! & | -> <-> xor only",
    ),
    "two moments ahead": (
        TWO_CARS + "steps: [car_from_left, car_from_left -> X X car_from_right]\n",
        "w.yaml: step 2: X cannot stand before Xcar_from_right in a step rule: car_from_left -> X X car_from_right; combine propositions p and next values X p with ! & | -> <-> xor only",
    ),
    "action in a step": (
        TWO_CARS + "steps: [turn_left -> X car_from_left]\n",
        "w.yaml: step 1: unknown proposition 'turn_left'; known: car_from_left, car_from_right",
    ),
    "initial as a list": (
        TWO_CARS + "initial: [s0]\n",
        "w.yaml: initial must be a Boolean formula or 'all'; state names exist only in worlds with 'states'",
    ),
    "initial formula without states": (
        TWO_CARS + "initial: car_from_left & !car_from_left\n",
        "w.yaml: initial: no initial state; write 'initial: all'",
    ),
    "deadlock by rule": (
        "propositions: [stop_sign]\nsteps: ['!stop_sign', X stop_sign]\n",
        "w.yaml: state s1 {stop_sign}: deadlock: no transition leaves it; allow a transition (to itself, if the world can stay as it is)",
    ),
    "no transition by rule": (
        "propositions: [stop_sign]\nsteps: [stop_sign & X !stop_sign, X stop_sign]\n",
        "w.yaml: steps: no transition satisfies the steps; weaken them",
    ),
    "hidden proposition": (
        TWO_CARS + "hidden: [stop_sign]\n",
        "w.yaml: hidden: 'stop_sign' cannot be hidden; hidden variables have names of their own, such as yellow_light",
    ),
    "hidden action": (
        TWO_CARS + "hidden: [stop]\n",
        "w.yaml: hidden: 'stop' cannot be hidden; hidden variables have names of their own, such as yellow_light",
    ),
    "hidden name that reads as a formula": (
        # Spot reads Fog as F og: eventually og.
        TWO_CARS + "hidden: [Fog]\n",
        "w.yaml: hidden: 'Fog' cannot be hidden; hidden variables have names of their own, such as yellow_light",
    ),
    "hidden twice": (
        TWO_CARS + "hidden: [fog, fog]\n",
        "w.yaml: hidden: 'fog' is listed twice; remove one",
    ),
    "empty invariant": (
        TWO_CARS + "invariants: ['']\n",
        "w.yaml: invariant 1: empty formula; mend the formula",
    ),
    "assumption syntax": (
        TWO_CARS + "assumptions: ['GF(!car_from_left']\n",
        "w.yaml: assumption 1: syntax error, missing closing parenthesis at column 3: GF‹^›(!car_from_left; mend the formula",
    ),
    "assumptions as a word": (
        TWO_CARS + "assumptions: none\n",
        "w.yaml: assumptions must be a list of texts; use [ ... ] and quote each item",
    ),
    "assumption about a hidden variable": (
        TWO_CARS + "hidden: [yellow]\nassumptions: [GF yellow]\n",
        "w.yaml: assumption 1: unknown proposition 'yellow'; known: green_traffic_light, green_left_turn_light, flashing_left_turn_light, opposite_car, car_from_left, car_from_right, pedestrian_at_left, pedestrian_at_right, pedestrian_in_front, stop_sign",
    ),
    "assumption about an action": (
        TWO_CARS + "assumptions: [GF stop]\n",
        "w.yaml: assumption 1: 'stop' is an action; assumptions speak about the world only; use propositions",
    ),
    "unsatisfiable assumption": (
        TWO_CARS
        + "steps: [car_from_left -> X car_from_left]\ninitial: car_from_left\nassumptions: [F !car_from_left]\n",
        "w.yaml: assumption 1: no path satisfies it: F !car_from_left; weaken it, or allow more labels or transitions",
    ),
    # Union.
    "empty union": ("union: []\n", "w.yaml: the union is empty; list scenarios in 'union'"),
    "member twice": (
        "union: [roundabout, roundabout]\n",
        "w.yaml: union: 'roundabout' is listed twice; remove one",
    ),
    "unknown member": (
        "union: [roundabuot]\n",
        "w.yaml: union: no world named 'roundabuot'; did you mean 'roundabout'? (or the path of a .yaml file)",
    ),
    "union with rules": (
        "union: [roundabout]\nsteps: []\n",
        "w.yaml: unknown field 'steps' in a union; fields: name, text, reasons, actions, union",
    ),
    "union of itself": (
        "union: [w.yaml]\n",
        "w.yaml: union: circular: w.yaml -> w.yaml; remove 'w.yaml'",
    ),
    "missing member file": (
        "union: [other.yaml]\n",
        "w.yaml: union: there is no file 'other.yaml'; give its path relative to this file",
    ),
    "member that is no text": (
        "union: [{name: roundabout}]\n",
        "w.yaml: union must be a list of texts; use [ ... ] and quote each item",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_file(case, tmp_path):
    text, expected = CASES[case]
    assert refusal(tmp_path / "w.yaml", text) == expected


def test_unknown_name():
    names = ", ".join(shipped_worlds())
    assert refusal("moon") == (
        f"no world named 'moon'; use one of {names} (or the path of a .yaml file)"
    )
    assert refusal("two_way_stp") == (
        "no world named 'two_way_stp'; did you mean 'two_way_stop'? (or the path of a .yaml file)"
    )


def test_wrong_kinds_of_files(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    assert refusal(tmp_path / "folder.yaml").endswith(
        "folder.yaml: this is a folder; name a file in it"
    )
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff")
    assert refusal(tmp_path / "image.yaml").endswith(
        "image.yaml: not UTF-8 text (byte 0); save the file as UTF-8"
    )
    assert refusal(tmp_path / "none.yaml").endswith("none.yaml: no such file; check the path")


def test_too_many_labels(tmp_path):
    hidden = ", ".join(f"h{i}" for i in range(17))
    text = f"{TWO_CARS}hidden: [{hidden}]\n"
    assert refusal(tmp_path / "w.yaml", text) == (
        f"w.yaml: {2**19} labels satisfy the invariants, more than {MAX_STATES}; "
        "add invariants or leave propositions out"
    )


def test_two_members_of_one_name(tmp_path):
    (tmp_path / "other.yaml").write_text("name: roundabout\n" + TWO_CARS, encoding="utf-8")
    assert refusal(tmp_path / "w.yaml", "union: [roundabout, other.yaml]\n") == (
        "w.yaml: union: two members are named 'roundabout'; rename one"
    )


def test_circular_unions(tmp_path):
    (tmp_path / "a.yaml").write_text("union: [roundabout, b.yaml]\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("union: [w.yaml]\n", encoding="utf-8")
    (tmp_path / "w.yaml").write_text("union: [a.yaml]\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_world(tmp_path / "w.yaml", VOCABULARY)
    assert str(error.value) == (
        f"{tmp_path}/b.yaml: union: circular: w.yaml -> a.yaml -> b.yaml -> w.yaml; remove 'w.yaml'"
    )


def test_a_fault_is_named_in_the_member_that_has_it(tmp_path):
    (tmp_path / "stuck.yaml").write_text(
        "states: {a: [stop_sign], b: []}\ntransitions: {a: [a, b]}\n", encoding="utf-8"
    )
    assert refusal(tmp_path / "w.yaml", "union: [roundabout, stuck.yaml]\n") == (
        "stuck.yaml: state b {}: deadlock: no transition leaves it; "
        "allow a transition (to itself, if the world can stay as it is)"
    )


def test_a_member_twice_in_different_unions_is_no_circle(tmp_path):
    (tmp_path / "a.yaml").write_text("union: [roundabout]\n", encoding="utf-8")
    (tmp_path / "w.yaml").write_text("union: [a.yaml, roundabout]\n", encoding="utf-8")
    states = load_world(tmp_path / "w.yaml", VOCABULARY).states
    assert "a:roundabout:s0" in states
    assert "roundabout:s0" in states


def test_overlong_names_are_names():
    assert refusal("x" * 5000).startswith("no world named 'xxx")


def test_members_are_relative_to_the_file(tmp_path):
    (tmp_path / "other.yaml").write_text("name: other\n" + TWO_CARS, encoding="utf-8")
    (tmp_path / "w.yaml").write_text("union: [other.yaml, roundabout]\n", encoding="utf-8")
    world = load_world(tmp_path / "w.yaml", VOCABULARY)
    assert world.name == "w"
    assert world.states[:2] == ("other:s0", "other:s1")


def test_name_defaults_to_the_file(tmp_path):
    (tmp_path / "lane.yaml").write_text(TWO_CARS, encoding="utf-8")
    assert load_scenario(tmp_path / "lane.yaml", VOCABULARY).name == "lane"


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text(TWO_CARS, encoding="utf-8")
    assert len(load_world(path, VOCABULARY).states) == 4
    path.write_text(TWO_CARS + "invariants: [car_from_left]\n", encoding="utf-8")
    assert len(load_world(path, VOCABULARY).states) == 2
