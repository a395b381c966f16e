"""Campaigns in the walk: rates, drive measures, agreement with proofs, ranking."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import bad_simulators as bad
import pytest
from golden import AFTER, BEFORE, VIOLATED

from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.finite import check_trace
from verifier.semantics import Semantics, load_semantics
from verifier.trivial_controllers import constant_controllers
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world
from worlds.simulation.agreement import Agreement, agreement
from worlds.simulation.campaign import Campaign, Settings, compare, race, simulate
from worlds.simulation.driver import Course
from worlds.simulation.episode import Decision, Episode
from worlds.simulation.interface import Status
from worlds.simulation.judging import EpisodeJudge

VOCABULARY = load_vocabulary()
PAPER = load_semantics("paper")
COURSE = Course(PAPER, max_seconds=60)
QUICK = Settings(episodes=60, course=COURSE, workers=0)
GOLDEN = {"before": BEFORE, "after": AFTER}
WORLD = "walk/paper_traffic_light"
CONSTANT = constant_controllers(VOCABULARY.action_names)


def violated(campaign: Campaign, book: str) -> set[str]:
    return {rule.specification.id for rule in campaign.rules_of(book) if rule.violations}


def kinds(agreements: Iterable[Agreement]) -> dict[str, str]:
    return {a.rule.specification.id: a.kind for a in agreements}


def test_the_golden_controllers_violate_what_is_proved_and_nothing_else() -> None:
    campaigns = simulate(GOLDEN, WORLD, "turn_right", QUICK, VOCABULARY)
    for campaign, expected in zip(campaigns, VIOLATED[Semantics(conditional="wait")], strict=True):
        assert violated(campaign, "paper") == {f"phi_{number}" for number in expected}
        assert set(kinds(agreement(campaign, VOCABULARY)).values()) == {"agrees", "not_judged"}
        assert campaign.driving.rates["finished"].value == 1
    before, after = (
        next(r.rate for r in c.rules if r.specification.id == "phi_5") for c in campaigns
    )
    assert before.high < after.low


def test_results_do_not_depend_on_the_number_of_processes() -> None:
    few = replace(QUICK, episodes=8)
    results = [
        simulate(GOLDEN, WORLD, "turn_right", replace(few, workers=workers), VOCABULARY)
        for workers in (0, 1, 2)
    ]
    traces = [[e.hash for c in campaigns for e in c.episodes] for campaigns in results]
    assert traces[0] == traces[1] == traces[2]
    texts = {json.dumps([c.to_json(episodes=True) for c in result]) for result in results}
    assert len(texts) == 1


def test_rates_are_those_of_the_traces() -> None:
    (campaign,) = simulate({"before": BEFORE}, WORLD, "turn_right", QUICK, VOCABULARY)
    judge = EpisodeJudge(campaign.scenario, "turn_right", VOCABULARY)
    for book in judge.books:
        rules = campaign.rules_of(book.name)
        for episode in campaign.episodes:
            verdicts = check_trace(episode.trace, book, VOCABULARY, campaign.scenario.propositions)
            for rule, verdict in zip(rules, verdicts, strict=True):
                seen = {v.seed: v for v in rule.violations}
                assert (verdict.value == "violated") == (episode.seed in seen)
    phi_5 = next(r for r in campaign.rules if r.specification.id == "phi_5")
    for sighting in phi_5.violations:
        assert sighting.decision is not None
        letter = campaign.episodes[sighting.seed].trace[sighting.decision]
        assert "turn_right" in letter
        assert "car_from_left" in letter
    data = phi_5.to_json()
    assert data["satisfied"] + data["vacuous"] + data["violated"] == 60
    assert data["p"]["low"] < data["p"]["value"] < data["p"]["high"]
    assert data["p"] != data["p_wilson"]
    inapplicable = next(r for r in campaign.rules if r.counts["inapplicable"])
    assert inapplicable.to_json()["p"]["value"] is None
    assert inapplicable.judged == 0


def test_who_always_stops_is_unfinished_and_lawful() -> None:
    controllers = {"stop": CONSTANT["always_stop"], "go": CONSTANT["always_turn_right"]}
    stop, go = simulate(controllers, WORLD, "turn_right", QUICK, VOCABULARY)
    assert stop.driving.rates["unfinished"].value == stop.driving.rates["lawful"].value == 1
    assert (stop.driving.rates["success"].value, stop.driving.seconds_to_finish) == (0, None)
    assert violated(stop, "road") == {"progress_turn_right"}
    assert go.driving.rates["finished"].value == 1
    assert 0 < (go.driving.rates["lawful"].value or 0) < 1
    (elsewhere,) = simulate(
        {"left": CONSTANT["always_turn_left"]}, WORLD, "turn_right", QUICK, VOCABULARY
    )
    assert elsewhere.driving.rates["elsewhere"].value == 1


def test_what_is_violated_by_proof_and_never_seen_has_a_bound() -> None:
    """The first of BEFORE's episodes in which the car from the left comes too late to matter."""
    (sixty,) = simulate({"before": BEFORE}, WORLD, "turn_right", QUICK, VOCABULARY)
    phi_5 = next(rule for rule in sixty.rules if rule.specification.id == "phi_5")
    quiet = phi_5.violations[0].seed
    assert quiet > 0
    few = replace(QUICK, episodes=quiet)
    (campaign,) = simulate({"before": BEFORE}, WORLD, "turn_right", few, VOCABULARY)
    found = agreement(campaign, VOCABULARY)
    assert kinds(found)["phi_5"] == "never_seen"
    one = next(a for a in found if a.rule.specification.id == "phi_5")
    assert one.formal == "violated"
    assert one.bound == pytest.approx(1 - 0.05 ** (1 / quiet))


def test_time_that_runs_out_before_fairness_does_is_named() -> None:
    """AFTER turns right under the world's fairness; in two seconds that may not have come."""
    hasty = replace(QUICK, episodes=40, course=replace(COURSE, max_seconds=2))
    (campaign,) = simulate({"after": AFTER}, WORLD, "turn_right", hasty, VOCABULARY)
    by_id = {a.rule.specification.id: a for a in agreement(campaign, VOCABULARY)}
    progress = by_id["progress_turn_right"]
    assert (progress.formal, progress.kind) == ("satisfied", "disagrees")
    reasons = {e.reason: e.episodes for e in progress.explanations}
    assert reasons.keys() == {"unfair", "cut_off"}
    assert sum(reasons.values()) == progress.rule.counts["violated"] == 40
    assert progress.to_json()["explanations"][0]["text"]


@pytest.mark.parametrize(
    ("decisions", "closing", "outcome", "expected"),
    [
        (
            [("car_from_left", "stop"), ("car_from_left", "turn_right")],
            0,
            "finished",
            "unexplained",
        ),
        (
            [("stop_sign", "stop"), ("car_from_left", "turn_right")],
            0,
            "finished",
            "impossible_label",
        ),
        (
            [("pedestrian_at_right", "stop"), ("car_from_left", "turn_right")],
            0,
            "finished",
            "impossible_label",
        ),
        ([("", "turn_right"), ("car_from_left", "turn_right")], 1, "finished", "behind_the_place"),
    ],
)
def test_reasons_of_disagreements(
    decisions: list[tuple[str, str]], closing: int, outcome: str, expected: str
) -> None:
    """Traces made by hand, said to be AFTER's, which provably keeps phi_5."""
    (campaign,) = simulate(
        {"after": AFTER}, WORLD, "turn_right", replace(QUICK, episodes=1), VOCABULARY
    )
    rows = tuple(
        Decision(
            float(i),
            frozenset(filter(None, [label])),
            frozenset(filter(None, [label])),
            action,
            0,
            None,
        )
        for i, (label, action) in enumerate(decisions)
    )
    status = Status(2.0, "turn_right", None, 1.0, 0.0, 0.0, 0.0)
    episode = Episode(WORLD, 5, rows, closing, outcome, status)  # type: ignore[arg-type]
    assert _reason(campaign, episode, "phi_5") == expected


def test_misperceived_and_collision() -> None:
    (campaign,) = simulate(
        {"after": AFTER}, WORLD, "turn_right", replace(QUICK, episodes=1), VOCABULARY
    )
    car, nothing = frozenset({"car_from_left"}), frozenset()
    wrong = Episode(
        WORLD,
        5,
        (Decision(0.0, car, nothing, "turn_right", 0, None),),
        0,
        "finished",
        Status(1.0, "turn_right", None, 1.0, 0.0, 0.0, 0.0),
    )
    assert _reason(campaign, wrong, "phi_5") == "misperceived"
    hit = Episode(
        WORLD,
        5,
        (Decision(0.0, nothing, nothing, "go_straight", 0, None),),
        0,
        "collision",
        Status(1.0, None, "car", 0.5, 0.0, 0.0, 0.0),
    )
    assert _reason(campaign, hit, "progress_turn_right") == "collision"


def test_a_step_that_the_scenario_excludes() -> None:
    """A crossing car does not appear while our light is green."""
    world = "walk/traffic_light"
    careful = Controller(0, 1, (Transition(0, "true", "epsilon", 1, 1),))
    (campaign,) = simulate({"waits": careful}, world, None, replace(QUICK, episodes=1), VOCABULARY)
    green = frozenset({"green_traffic_light"})
    car = green | {"car_from_left"}
    rows = (
        Decision(0.0, green, green, "stop", 0, None),
        Decision(1.0, car, car, "turn_right", 0, None),
    )
    episode = Episode(
        world, 5, rows, 0, "elsewhere", Status(2.0, "turn_right", None, 1.0, 0.0, 0.0, 0.0)
    )
    judge = EpisodeJudge(campaign.scenario, None, VOCABULARY)
    changed = replace(campaign, episodes=(episode,), rules=judge.rules([episode]))
    phi_5 = next(a for a in agreement(changed, VOCABULARY) if a.rule.specification.id == "phi_5")
    (explanation,) = phi_5.explanations
    assert (explanation.reason, explanation.departure) == ("impossible_step", (green, car))
    assert explanation.to_json()["departure"] == [sorted(green), sorted(car)]


def _reason(campaign: Campaign, episode: Episode, rule: str) -> str:
    judge = EpisodeJudge(campaign.scenario, "turn_right", VOCABULARY)
    changed = replace(campaign, episodes=(episode,), rules=judge.rules([episode]))
    found = next(a for a in agreement(changed, VOCABULARY) if a.rule.specification.id == rule)
    assert found.kind == "disagrees"
    (explanation,) = found.explanations
    return explanation.reason


def test_impossible_labels_are_reported_and_judged_all_the_same() -> None:
    settings = replace(QUICK, make=bad.Impossible, episodes=20)
    controllers = {"stop": CONSTANT["always_stop"]}
    (campaign,) = simulate(controllers, "walk/two_way_stop", None, settings, VOCABULARY)
    assert len(campaign.episodes) == 20
    assert sum(label.share for label in campaign.impossible) == pytest.approx(1 / 3)
    first = campaign.impossible[0]
    assert "stop_sign" not in first.label
    decision = campaign.episodes[first.first.seed].decisions[first.first.decision or 0]
    assert decision.label == first.label
    data = campaign.to_json()["impossible_labels"][0]
    assert data["decisions"] == first.decisions >= first.episodes
    (good,) = simulate(
        controllers, "walk/two_way_stop", None, replace(QUICK, episodes=5), VOCABULARY
    )
    assert not good.impossible


def test_lost_episodes_are_counted_and_in_no_rate() -> None:
    settings = replace(QUICK, make=bad.Crashing, episodes=4, workers=1, attempts=2)
    (campaign,) = simulate({"after": AFTER}, WORLD, "turn_right", settings, VOCABULARY)
    assert [lost.seed for lost in campaign.lost] == [2]
    assert (len(campaign.episodes), campaign.repeated) == (3, 1)
    assert {r.judged for r in campaign.rules} == {0, 3}
    assert campaign.to_json()["lost"][0]["attempts"] == 2


def test_a_race_stops_when_it_is_clear() -> None:
    most = replace(QUICK, episodes=200)
    comparison, campaigns = race(
        ("before", BEFORE), ("after", AFTER), WORLD, "turn_right", most, VOCABULARY
    )
    assert comparison.decided == "second"
    assert comparison.pairs == len(campaigns[0].episodes) < 100
    assert compare(*campaigns, VOCABULARY) == comparison  # type: ignore[call-arg]
    same, _ = race(
        ("one", AFTER), ("two", AFTER), WORLD, "turn_right", replace(QUICK, episodes=25), VOCABULARY
    )
    assert (same.decided, same.pairs) == (None, 25)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no simulated world 'moon/traffic_light'"):
        simulate(GOLDEN, "moon/traffic_light", None, QUICK, VOCABULARY)
    with pytest.raises(
        InputError, match="no world named 'trafic_light'; did you mean 'traffic_light'"
    ):
        simulate(GOLDEN, "walk/trafic_light", None, QUICK, VOCABULARY)
    with pytest.raises(InputError, match="unknown action 'fly'"):
        simulate(GOLDEN, WORLD, "fly", QUICK, VOCABULARY)
    with pytest.raises(InputError, match="no episodes"):
        Settings(episodes=0)
    own = tmp_path / "quarry.yaml"
    own.write_text("name: quarry\npropositions: [car_from_left]\nactions: [turn_right]\n")
    (campaign,) = simulate({"a": AFTER}, f"walk/{own}", "turn_right", QUICK, VOCABULARY)
    assert campaign.scenario.labels == load_world(own, VOCABULARY).labels
