"""What the model checker says of the scenarios, beside what happens in both simulators."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.learning.page import Cell, Table
from benchmarks.results import Row, at_most
from benchmarks.simulation_controllers import SIMULATORS, Entrant
from verifier.semantics import Semantics
from verifier.vocabulary import Vocabulary
from worlds.load import load_world
from worlds.simulation.agreement import REASONS, Agreement, Explanation, Kind, agreement
from worlds.simulation.campaign import Campaign
from worlds.simulation.crew import Crew, Driven, Job, Lost
from worlds.simulation.driver import Course
from worlds.simulation.episode import Episode
from worlds.simulation.judging import EpisodeJudge
from worlds.statistics import clopper_pearson

_NOTE = (
    "A triple: a controller, a rule of `road` or `paper` (or the task's progress) and a simulated "
    "world; {controllers} controllers ({champion} proven ones of the champion, the rest sampled "
    "answers, most of them wrong), {episodes} episodes each. They agree where a rule is violated "
    "by proof and by some trace, or by neither. Rules that do not apply there or that no trace can "
    "decide are left out ({left_out})."
)
_UNSEEN_NOTE = (
    "No contradiction: a proof speaks of every run that the scenario allows, however rare or, in a "
    "simulator, impossible. With 95 % confidence an episode breaks such a rule with at most {bound}"
    ". By rule: {rules}."
)
_BROKEN_NOTE = (
    "Each is listed in the table below with its cause. By cause: {reasons}. A trace can leave the "
    "scenario, end before everything is done, or go on behind the place; what is left would be a "
    "contradiction."
)


@dataclass(frozen=True, eq=False)
class Compared:
    """An entrant in a simulated world, rule by rule."""

    entrant: Entrant
    campaign: Campaign
    agreements: tuple[Agreement, ...]

    def of(self, kind: Kind) -> list[Agreement]:
        """The rules that compare like this."""
        return [one for one in self.agreements if one.kind == kind]


def compare_all(
    vocabulary: Vocabulary,
    semantics: Semantics,
    field: Sequence[Entrant],
    episodes: int,
    workers: int,
) -> dict[str, list[Compared]]:
    """Drive everybody in both simulators and compare with the proofs; by kind of simulator."""
    found: dict[str, list[Compared]] = {}
    course = Course(semantics)
    for kind in SIMULATORS:
        jobs = [
            Job(f"{kind}/{one.scenario}", one.controller, one.action, seed)
            for one in field
            for seed in range(episodes)
        ]
        with Crew(course, vocabulary, workers=workers) as crew:
            driven = crew.drive(jobs)
        found[kind] = [
            _compared(one, kind, driven[i * episodes : (i + 1) * episodes], vocabulary, semantics)
            for i, one in enumerate(field)
        ]
    return found


def _compared(
    one: Entrant, kind: str, driven: Sequence[Driven], vocabulary: Vocabulary, semantics: Semantics
) -> Compared:
    scenario = load_world(one.scenario, vocabulary)
    judge = EpisodeJudge(scenario, one.action, vocabulary)
    episodes = tuple(d.result for d in driven if isinstance(d.result, Episode))
    campaign = Campaign(
        name=one.name,
        controller=one.controller,
        world=f"{kind}/{one.scenario}",
        scenario=scenario,
        task_action=one.action,
        semantics=semantics,
        seed=0,
        episodes=episodes,
        lost=tuple(d.result for d in driven if isinstance(d.result, Lost)),
        repeated=sum(d.attempts - 1 for d in driven),
        rules=judge.rules(episodes),
        driving=judge.driving(episodes),
        impossible=judge.impossible(episodes),
    )
    return Compared(one, campaign, agreement(campaign, vocabulary))


def agreement_rows(found: Mapping[str, Sequence[Compared]]) -> Iterator[Row]:
    """How many triples agree, and how the others differ, for each simulator."""
    for kind, everybody in found.items():
        yield from _rows(kind, everybody)


def _rows(kind: str, everybody: Sequence[Compared]) -> Iterator[Row]:
    counts = Counter(a.kind for one in everybody for a in one.agreements)
    compared = sum(counts.values()) - counts["not_judged"]
    violated = _count(everybody, lambda a: a.kind != "not_judged" and a.formal == "violated")
    unseen = [a for one in everybody for a in one.of("never_seen")]
    broken = [a for one in everybody for a in one.of("disagrees")]
    note = _NOTE.format(
        controllers=len(everybody),
        champion=sum(one.entrant.proven for one in everybody),
        episodes=max(len(one.campaign.episodes) for one in everybody),
        left_out=f"{counts['not_judged']:,}",
    )
    yield Row(
        f"proof and simulation agree, {kind}", counts["agrees"], f"of {compared:,}", note=note
    )
    bound = max((a.bound or 0.0 for a in unseen), default=0.0)
    rules = Counter(a.rule.specification.id for a in unseen)
    listed = ", ".join(f"{rule} {count}" for rule, count in rules.most_common()) or "none"
    note = _UNSEEN_NOTE.format(bound=f"{100 * bound:.0f} %", rules=listed)
    what = f"violated by proof, broken in no episode, {kind}"
    yield Row(what, len(unseen), f"of {violated:,}", note=note)
    reasons = Counter(REASONS[a.explanations[0].reason] for a in broken)
    listed = "; ".join(f"{text}: {count}" for text, count in reasons.most_common()) or "none"
    note = _BROKEN_NOTE.format(reasons=listed)
    what, unit = f"proved, yet broken in some episode, {kind}", f"of {compared - violated:,}"
    yield Row(what, len(broken), unit, note=note)
    left = sum(any(e.reason == "unexplained" for e in a.explanations) for a in broken)
    yield at_most(Row(f"the same without an explanation, {kind}", left, unit, note=note), 0)
    lost = sum(len(one.campaign.lost) for one in everybody)
    total = lost + sum(len(one.campaign.episodes) for one in everybody)
    repeated = sum(one.campaign.repeated for one in everybody)
    yield from _proven_rows(kind, [one for one in everybody if one.entrant.proven])
    note = f"Attempts that came to nothing (crash or hang) and were made again: {repeated}."
    yield at_most(Row(f"lost episodes, {kind}", lost, f"of {total:,}", note=note), 0)


_OUTCOMES = {
    "success": "finish lawfully",
    "unfinished": "do not finish in time",
    "collision": "hit something",
}


def _proven_rows(kind: str, proven: Sequence[Compared]) -> Iterator[Row]:
    """How the champion's proven controllers drive, all of them together."""
    total = sum(len(one.campaign.episodes) for one in proven)
    for name, text in _OUTCOMES.items():
        hits = {one: _hits(one, name) for one in proven}
        rate = clopper_pearson(sum(hits.values()), total)
        note = f"{rate.percent()} of {total:,} episodes of {len(proven)} controllers in {kind}."
        if name != "success" and any(hits.values()):
            worst = max(proven, key=lambda one: hits[one])
            where = f"{worst.entrant.scenario}, {worst.entrant.name}"
            note += f" Most of them, {hits[worst]}, in {where} ({worst.entrant.action})."
        what = f"proven controllers that {text}, {kind}"
        yield Row(what, 100 * (rate.value or 0.0), "% of episodes", note=note)


def _hits(one: Compared, outcome: str) -> int:
    """Episodes with an outcome."""
    rate = one.campaign.driving.rates[outcome]
    return round((rate.value or 0.0) * len(one.campaign.episodes))


def disagreements(found: Mapping[str, Sequence[Compared]]) -> list[dict[str, Any]]:
    """Every rule that was proved and is yet broken by a trace, with all its causes."""
    return [
        {
            "world": one.campaign.world,
            "controller": one.entrant.name,
            "task_action": one.entrant.action,
            "book": each.rule.book,
            "rule": each.rule.specification.id,
            "proof": each.formal,
            "episodes": each.rule.judged,
            "broken_in": each.rule.counts["violated"],
            "causes": [cause.to_json() for cause in each.explanations],
        }
        for everybody in found.values()
        for one in everybody
        for each in one.of("disagrees")
    ]


def cause_table(found: Mapping[str, Sequence[Compared]]) -> Table:
    """The disagreements by simulator, rule and reason."""
    cases = defaultdict[tuple[str, str, str], list[tuple[Compared, Explanation]]](list)
    for kind, everybody in found.items():
        for one in everybody:
            for each in one.of("disagrees"):
                rule = f"{each.rule.book}: {each.rule.specification.id}"
                for cause in each.explanations:
                    cases[kind, rule, cause.reason].append((one, cause))
    rows: list[Mapping[str, Cell]] = [
        {
            "simulator": kind,
            "rule": rule,
            "controllers": len(group),
            "episodes": sum(cause.episodes for _, cause in group),
            "cause": REASONS[group[0][1].reason],
            "example": example_text(*max(group, key=lambda case: case[1].episodes)),
        }
        for (kind, rule, _), group in cases.items()
    ]
    return Table(
        "Proved in the scenario, broken in a simulator",
        "Every such case has a cause; here by rule and cause, each with the controller that has "
        "most episodes of it. `docs/results/simulation.json` lists them all (`disagreements`).",
        {
            "simulator": "text",
            "rule": "text",
            "controllers": "count",
            "episodes": "count",
            "cause": "text",
            "example": "text",
        },
        rows,
    )


def example_text(one: Compared, cause: Explanation) -> str:
    """Where it can be seen, and where the trace left the scenario if it did."""
    where = f"{one.entrant.scenario}, {one.entrant.name}, seed {cause.example.seed}"
    if cause.departure is None:
        return where
    before, after = cause.departure
    step = _label(after) if before is None else f"{_label(before)} → {_label(after)}"
    return f"{where}: {step}"


def _label(label: frozenset[str]) -> str:
    return f"{{{', '.join(sorted(label))}}}"


def _count(everybody: Sequence[Compared], test: Callable[[Agreement], bool]) -> int:
    return sum(test(a) for one in everybody for a in one.agreements)
