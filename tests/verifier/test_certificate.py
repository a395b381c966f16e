"""Certificates confirm what they were made from and nothing else."""

from __future__ import annotations

import copy
import json

import pytest
from golden import AFTER, BEFORE

from verifier.certificate import make_certificate, verify_certificate
from verifier.checker import Checker
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world

VOCABULARY = load_vocabulary()


@pytest.fixture(scope="module")
def certificate() -> dict:
    rules = load_rules("paper", VOCABULARY)
    world = load_world("paper_traffic_light", VOCABULARY)
    made = make_certificate(Checker(world, rules, SHIPPED["paper"], VOCABULARY), AFTER)
    return json.loads(json.dumps(made))


@pytest.mark.parametrize("world", ["universal", "free", "two_way_stop"])
def test_round_trip_in_other_worlds(world: str) -> None:
    rules = load_rules("road", VOCABULARY)
    checker = Checker(load_world(world, VOCABULARY), rules, SHIPPED["default"], VOCABULARY)
    assert verify_certificate(json.loads(json.dumps(make_certificate(checker, BEFORE)))) == ()


def test_confirms_itself(certificate: dict) -> None:
    assert verify_certificate(certificate) == ()
    assert certificate["score"]["violated"] == 0
    assert set(certificate["hashes"]) == {"controller", "world", "rules", "semantics"}


def set_verdict(data: dict) -> None:
    data["verdicts"]["phi_4"] = "satisfied"


def drop_verdict(data: dict) -> None:
    del data["verdicts"]["phi_4"]


def change_guard(data: dict) -> None:
    data["controller"]["transitions"][3]["guard"] = "!pedestrian_at_right"


def drop_assumption(data: dict) -> None:
    data["world"]["assumptions"] = []


def weaken_rule(data: dict) -> None:
    data["rules"]["specifications"][4]["formula"] = "G(car_from_left -> !turn_right)"


def change_profile(data: dict) -> None:
    data["semantics"]["on_finish"] = "stutter"


@pytest.mark.parametrize(
    "tamper",
    [set_verdict, drop_verdict, change_guard, drop_assumption, weaken_rule, change_profile],
)
def test_tampering_shows(certificate: dict, tamper) -> None:
    changed = copy.deepcopy(certificate)
    tamper(changed)
    assert verify_certificate(changed)


@pytest.mark.parametrize("data", [None, [], {}, {"format": "other"}])
def test_not_a_certificate(data: object) -> None:
    with pytest.raises(InputError, match="not a certificate"):
        verify_certificate(data)


@pytest.mark.parametrize("section", ["world", "rules", "controller", "vocabulary", "verdicts"])
def test_incomplete(certificate: dict, section: str) -> None:
    changed = {key: value for key, value in certificate.items() if key != section}
    with pytest.raises(InputError, match="incomplete"):
        verify_certificate(changed)
