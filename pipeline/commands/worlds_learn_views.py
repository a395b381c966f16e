"""Learned worlds, their coverage and conformance on a terminal, and the learning curve drawn."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.tables import plain_table, verdict_text
from verifier.vocabulary import Vocabulary
from worlds.learned.comparison import Difference, RuleComparison
from worlds.learned.conformance import Conformance, Exclusion
from worlds.learned.coverage import Coverage
from worlds.learned.fairness import Choice
from worlds.learned.faults import Fault
from worlds.learned.model import LearnedWorld
from worlds.learned.unseen import Pattern

_MOST_STATES = 8
_EXCLUSION = {
    "label": "a label that no state has",
    "start": "a first label that no initial state has",
    "step": "a step that is not possible",
}
_DIFFERENCE = {
    "label": "has no such label",
    "start": "does not begin with",
    "step": "has no such step",
    "assumptions": "has that run, but takes it to be unfair",
}


def label_words(label: Iterable[str], vocabulary: Vocabulary) -> str:
    """ "green traffic light, car from left", in the vocabulary's order; "nothing"."""
    held = set(label)
    phrases = [p.phrase for p in vocabulary.propositions if p.name in held]
    return ", ".join(phrases) or "nothing"


def reasons(learned: LearnedWorld, covered: Coverage, choices: Sequence[Choice]) -> list[str]:
    """The sentences of a learned world's file."""
    held = covered.held_out
    told = [
        f"{len(covered.tally.visits):,} states and {len(covered.tally.steps):,} transitions were "
        f"seen, {covered.tally.seen_once:,} of the transitions once; nothing else is allowed.",
        f"Of {held.tested_on:,} held-out episodes {held.with_unseen:,} had a transition that the "
        f"other {held.learned_from:,} lacked: a new episode has one with probability at most "
        f"{_percent(held.bound)} (95 %).",
    ]
    if learned.stays:
        told.append(
            f"{len(learned.stays):,} states were seen only at the end of an episode and are taken "
            "to stay as they are."
        )
    told += [f"{c.support.formula}: {c.reason}." for c in choices if c.taken]
    return told


def learned_view(
    learned: LearnedWorld, covered: Coverage, choices: Sequence[Choice], vocabulary: Vocabulary
) -> RenderableType:
    """What was learned, how much was covered, and the assumptions."""
    world = learned.world
    parts: list[RenderableType] = [
        Text.assemble((world.name, "bold"), f": {world.text}"),
        Padding(_figures(learned, covered), (1, 0, 1, 2)),
        Padding(_curve(covered), (0, 0, 1, 2)),
        Text("states whose ways on are least known", style="dim"),
        Padding(_states(covered, vocabulary), (0, 0, 1, 2)),
    ]
    for choice in choices:
        mark = Text("✓ assumes ", style="green") if choice.taken else Text("✗ does not assume ")
        parts.append(Text.assemble(mark, choice.support.formula, (f"  {choice.reason}", "dim")))
    if not choices:
        parts.append(Text("no assumptions", style="dim"))
    return Group(*parts)


def _figures(learned: LearnedWorld, covered: Coverage) -> Table:
    counted, held = covered.tally, covered.held_out
    table = plain_table("", "", "")
    table.show_header = False
    steps = counted.recorded_steps
    table.add_row("recorded", f"{steps:,} steps", f"in {counted.episodes:,} episodes")
    table.add_row("states", f"{len(counted.visits):,}", _stays(learned))
    table.add_row(
        "transitions",
        f"{len(counted.steps):,}",
        f"{counted.seen_once:,} seen once, {covered.in_one_episode:,} in one episode only; "
        f"there are at least about {covered.transitions_at_least:,.0f} (Chao)",
    )
    table.add_row(
        "next step unseen",
        _percent(covered.estimate),
        f"Good-Turing; at most {_percent(covered.bound)} if steps were independent draws "
        "(McAllester-Schapire, 95 %)",
    )
    table.add_row(
        "next episode has unseen",
        _percent(covered.estimate_by_episode),
        f"at most {_percent(held.bound)} (Clopper-Pearson, 95 %): {held.with_unseen:,} of "
        f"{held.tested_on:,} held-out episodes had a transition that {held.learned_from:,} lacked",
    )
    table.add_row(
        "share of its steps",
        _percent(held.unseen_steps),
        f"at most {_percent(held.unseen_steps_bound)} (Hoeffding, 95 %)",
    )
    return table


def _stays(learned: LearnedWorld) -> str:
    if not learned.stays:
        return ""
    return f"{len(learned.stays):,} seen only at the end of an episode: taken to stay as they are"


def _curve(covered: Coverage) -> Table:
    table = plain_table("episodes", "steps", "states", "transitions", "new per 100 further steps")
    for column in table.columns:
        column.justify = "right"
    for point in covered.curve:
        table.add_row(
            f"{point.episodes:,}",
            f"{point.steps:,.0f}",
            f"{point.states:,.1f}",
            f"{point.transitions:,.1f}",
            f"{100 * point.new_per_step:.2f}",
        )
    return table


def _states(covered: Coverage, vocabulary: Vocabulary) -> Table:
    table = plain_table("state", "steps from it", "ways", "once", "unseen", "at most")
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    for row in covered.states[:_MOST_STATES]:
        words = " then ".join(label_words(label, vocabulary) for label in row.state)
        numbers = (f"{row.draws:,}", f"{row.ways:,}", f"{row.seen_once:,}")
        table.add_row(words, *numbers, _percent(row.estimate), _percent(row.bound))
    return table


def conformance_view(found: Conformance, vocabulary: Vocabulary, examples: int) -> RenderableType:
    """What a hand-written world excludes, and what of it was never seen."""
    parts: list[RenderableType] = [
        Text.assemble(
            (found.scenario, "bold"),
            f": {found.conforming:,} of {found.episodes:,} episodes are possible in it from "
            f"beginning to end; {found.excluded_steps:,} of {found.steps:,} recorded steps are not",
        )
    ]
    if found.ignored:
        ignored = label_words(found.ignored, vocabulary)
        parts.append(Text(f"left out, since it does not speak of them: {ignored}", style="yellow"))
    if found.long_steps:
        parts.append(
            Text(
                f"{found.long_steps:,} more took several periods and are possible only as several "
                "steps: a manoeuvre was made, and the world went on meanwhile",
                style="yellow",
            )
        )
    if found.relief:
        parts.append(Padding(_relief(found), (1, 0, 0, 2)))
    for exclusion in found.exclusions:
        parts.append(Padding(_exclusion(exclusion, vocabulary, examples), (1, 0, 0, 2)))
    parts.append(Padding(_unseen(found, vocabulary), (1, 0, 0, 0)))
    return Group(*parts)


def _relief(found: Conformance) -> Table:
    table = plain_table("without this rule", "so many would be possible")
    table.columns[1].justify = "right"
    for rule, times in found.relief:
        table.add_row(Text(str(rule), style="red"), f"{times:,} of {found.excluded_steps:,}")
    return table


def _exclusion(exclusion: Exclusion, vocabulary: Vocabulary, most: int) -> RenderableType:
    table = plain_table("times", "before", "then", "first seen")
    table.columns[0].justify = "right"
    table.columns[3].no_wrap = True
    one = len({example.world for example, _ in exclusion.examples}) == 1
    for example, count in exclusion.examples[:most]:
        before = "(start)" if example.before is None else label_words(example.before, vocabulary)
        where = f"seed {example.seed}, {example.seconds:g} s"
        where = where if one else f"{example.world}, {where}"
        table.add_row(f"{count:,}", before, label_words(example.label, vocabulary), where)
    head = Text.assemble(
        ("✗ ", "bold red"),
        f"{_EXCLUSION[exclusion.kind]}: {exclusion.times:,} times in {exclusion.episodes:,} "
        "episodes",
    )
    more = len(exclusion.examples) - most
    rows: list[RenderableType] = [head, *_fault(exclusion.fault), Padding(table, (0, 0, 0, 2))]
    if more > 0:
        rows.append(Text(f"  and {more:,} more pairs of labels; --json lists all", style="dim"))
    return Group(*rows)


def _fault(fault: Fault) -> list[Text]:
    lines = []
    for number, rules in enumerate(fault):
        named = " together with ".join(map(str, rules))
        lines.append(Text.assemble((f"  {'or ' if number else ''}", "dim"), (named, "red")))
    return lines


def _unseen(found: Conformance, vocabulary: Vocabulary) -> RenderableType:
    labels = f"{found.seen_labels:,} of {found.modelled_labels:,} labels"
    steps = f"{found.seen_steps:,} of {found.modelled_steps:,} steps between labels"
    parts: list[RenderableType] = [Text(f"of the model, {labels} and {steps} were seen")]
    for title, patterns, joint in (
        ("never seen together", found.never_together, " with "),
        ("never seen after one another, between labels seen", found.never_followed, ", then "),
    ):
        if patterns:
            table = plain_table(title, "accounts for")
            table.columns[1].justify = "right"
            for pattern in patterns:
                words = _pattern(pattern, vocabulary, joint)
                table.add_row(words, f"{pattern.explains:,}")
            parts.append(Padding(table, (1, 0, 0, 2)))
    return Group(*parts)


def _pattern(pattern: Pattern, vocabulary: Vocabulary, joint: str) -> str:
    return joint.join(
        ("" if value else "no ") + vocabulary.proposition(name).phrase
        for name, value in pattern.literals
    )


def comparison_view(
    rows: Sequence[RuleComparison], written: str, learned: str, vocabulary: Vocabulary
) -> RenderableType:
    """Verdicts in both worlds; where they differ, what the other world lacks."""
    table = plain_table("rule", f"in {written}", f"in {learned}", "why they differ")
    told = [r for r in rows if {r.written.value, r.learned.value} != {"inapplicable"}]
    for row in told:
        difference = "" if row.difference is None else _why(row, written, learned, vocabulary)
        table.add_row(
            row.written.id,
            verdict_text(row.written.value),
            verdict_text(row.learned.value),
            difference,
        )
    differ = sum(1 for row in told if not row.agree)
    verdict = f"{len(told) - differ} of {len(told)} applicable rules are judged alike"
    return Group(Padding(table, (1, 0, 0, 0)), Text(verdict))


def _why(row: RuleComparison, written: str, learned: str, vocabulary: Vocabulary) -> str:
    difference = row.difference or Difference("assumptions")
    other = learned if row.written.value == "violated" else written
    told = f"{other} {_DIFFERENCE[difference.kind]}"
    if difference.label is None:
        return told
    words = label_words(difference.label, vocabulary)
    if difference.before is not None and difference.kind == "step":
        words = f"{label_words(difference.before, vocabulary)} → {words}"
    return f"{told}: {words}"


def curve_picture(covered: Coverage, suffix: str) -> bytes:
    """The learning curve: transitions seen against steps recorded, and how many are new."""
    from matplotlib.figure import Figure

    steps = [point.steps for point in covered.curve]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    seen, new = figure.subplots(1, 2)
    seen.plot(steps, [p.transitions for p in covered.curve], "o-", color="#1f6feb", ms=4)
    seen.axhline(covered.transitions_at_least, ls="--", color="#8b949e", lw=1)
    total = f"dashed: there are at least about {covered.transitions_at_least:,.0f} (Chao)"
    seen.text(0.98, 0.05, total, transform=seen.transAxes, ha="right", color="#57606a", fontsize=9)
    seen.set(xscale="log", xlabel="recorded steps", title="distinct transitions seen", ylim=0)
    rates = [(p.steps, 100 * p.new_per_step) for p in covered.curve if p.new_per_step > 1e-5]
    new.plot(*zip(*rates, strict=True), "o-", color="#cf222e", ms=4)
    new.set(xscale="log", yscale="log", xlabel="recorded steps")
    new.set_title("new transitions per 100 further steps")
    for axes in (seen, new):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix.removeprefix(".") or "png", dpi=150)
    return buffer.getvalue()


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"
