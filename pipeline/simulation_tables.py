"""Simulated episodes on a terminal: how often every rule is kept, and what the proof says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.tables import plain_table, verdict_text
from worlds.check import Finding
from worlds.simulation.agreement import REASONS, Agreement, Kind, summary
from worlds.simulation.campaign import Campaign
from worlds.simulation.judging import HARD_BRAKING
from worlds.simulation.sequential import Comparison
from worlds.statistics import Rate

_WIDTH, _NARROW = 12, 5
_PARTS = " ▏▎▍▌▋▊▉█"
_SHOWN_LABELS = 3
_SHOWN_LOST = 3

_DRIVING: Mapping[str, str] = {
    "success": "finished lawfully",
    "finished": "finished",
    "lawful": "kept every rule of the road",
    "collision": "collision",
    "hard_braking": f"braked hard (> {HARD_BRAKING:g} m/s²)",
    "others_hard_braking": "made others brake hard",
    "unfinished": "not finished in time",
    "elsewhere": "made another manoeuvre",
}
_GOOD = ("success", "finished", "lawful")


@dataclass(frozen=True)
class Shown:
    """A campaign and its comparison with the proofs, of one rule book."""

    campaign: Campaign
    agreements: tuple[Agreement, ...]

    @property
    def label(self) -> str:
        """What the controller is called."""
        return self.campaign.name


def campaign_view(shown: Shown, details: bool) -> RenderableType:
    """One controller in full."""
    table = plain_table("rule", "traces that keep it", "violated", "proof", "")
    for column in table.columns[:4]:
        column.no_wrap = True
    table.columns[2].justify = "right"
    judged = [one for one in shown.agreements if one.rule.judged]
    for one in judged:
        table.add_row(
            one.rule.specification.id,
            rate_text(one.rule.rate),
            f"{one.rule.counts['violated']}/{one.rule.judged}",
            verdict_text(one.formal),
            _remark(one),
        )
    parts: list[RenderableType] = [_head(shown.campaign), Padding(table, (1, 0, 0, 2))]
    parts.append(_aside(_counts(summary(shown.agreements))))
    parts.append(Padding(driving_table([shown]), (1, 0, 0, 2)))
    parts += _notes(shown, details)
    return Padding(Group(*parts), (0, 0, 1, 0))


def before_after_view(
    before: Shown, after: Shown, comparison: Comparison, details: bool
) -> RenderableType:
    """Two controllers side by side."""
    table = plain_table("rule", before.label, "proof", after.label, "proof", "change")
    for column in table.columns:
        column.no_wrap = True
    table.columns[-1].justify = "right"
    for one, other in zip(before.agreements, after.agreements, strict=True):
        if one.rule.judged and other.rule.judged:
            table.add_row(
                one.rule.specification.id,
                rate_text(one.rule.rate, width=_NARROW),
                _symbol(one),
                rate_text(other.rule.rate, width=_NARROW),
                _symbol(other),
                _change(one.rule.rate, other.rule.rate),
            )
    return Group(
        *(_head(one.campaign) for one in (before, after)),
        Padding(table, (1, 0, 0, 2)),
        *_key(before, after),
        Padding(driving_table([before, after]), (1, 0, 1, 2)),
        Padding(comparison_text(comparison, before.label, after.label), (0, 0, 0, 2)),
        *(
            Group(Padding(Text(one.label, style="bold"), (1, 0, 0, 0)), *notes)
            for one in (before, after)
            if (notes := _notes(one, details))
        ),
        Text(""),
    )


def driving_table(columns: Sequence[Shown]) -> Table:
    """What became of the car, one column per controller."""
    heads = [one.label for one in columns] if len(columns) > 1 else ["share of the episodes"]
    table = plain_table("the car", *heads)
    for name, title in _DRIVING.items():
        rates = [one.campaign.driving.rates[name] for one in columns]
        good, width = name in _GOOD, _WIDTH if len(columns) == 1 else _NARROW
        table.add_row(title, *(rate_text(rate, good=good, width=width) for rate in rates))
    means: tuple[tuple[str, Callable[[Shown], float | None], str], ...] = (
        ("mean time to finish", lambda one: one.campaign.driving.seconds_to_finish, "{:.1f} s"),
        ("mean share of the way", lambda one: one.campaign.driving.progress, "{:.0%}"),
    )
    for title, mean, form in means:
        values = [mean(one) for one in columns]
        table.add_row(title, *("–" if v is None else form.format(v) for v in values))
    if any(one.campaign.lost for one in columns):
        table.add_row("lost episodes", *(str(len(one.campaign.lost)) for one in columns))
    for column in table.columns:
        column.no_wrap = True
    return table


def comparison_text(comparison: Comparison, first: str, second: str) -> Text:
    """Which of two controllers is better, and by what evidence."""
    seen = (
        f"{second} alone finished lawfully in {comparison.second_only} of {comparison.pairs} "
        f"episodes with the same traffic, {first} alone in {comparison.first_only}"
    )
    sure = f"with at most {comparison.error:.0%} risk of error"
    if comparison.decided is None:
        return Text.assemble((f"Undecided {sure}", "yellow"), f": {seen}.")
    better = first if comparison.decided == "first" else second
    return Text.assemble((f"{better} is better", "bold green"), f", {sure}: {seen}.")


def rate_text(rate: Rate, *, good: bool = True, width: int = _WIDTH) -> Text:
    """A share as a bar and in numbers, green to red; ``good`` says which end is green."""
    if rate.value is None:
        return Text("–", style="dim")
    eighths = round(8 * width * rate.value)
    full, part = divmod(eighths, 8)
    bar = "█" * full + (_PARTS[part] if part else "")
    merit = rate.value if good else 1 - rate.value
    style = "green" if merit >= 0.999 else "yellow" if merit >= 0.9 else "red"
    digits = 1 if width == _WIDTH else 0
    return Text.assemble(
        (bar.ljust(width, "·"), style),
        f" {100 * rate.value:5.1f} % ",
        (f"[{100 * rate.low:.{digits}f}, {100 * rate.high:.{digits}f}]", "dim"),
    )


def findings_view(name: str, findings: Sequence[Finding], seeds: int) -> RenderableType:
    """What `check_simulator` found."""
    if not findings:
        return Text.assemble(("✓ ", "green"), f"{name} keeps its contract ({seeds} seeds)")
    styles = {"error": "red", "warning": "yellow", "note": "dim"}
    return Group(
        *(
            Text.assemble((f"{f.severity}: ", styles[f.severity]), str(f).partition(": ")[2])
            for f in findings
        )
    )


def worlds_table(rows: Iterable[tuple[str, Mapping[str, bool], str]]) -> Table:
    """Scenarios with the kinds of simulators that have them, and what they are."""
    listed = list(rows)
    kinds = list(listed[0][1]) if listed else []
    table = plain_table("scenario", *kinds, "what it is")
    for name, has, text in listed:
        marks = [
            Text("✓", style="green") if has[kind] else Text("–", style="dim") for kind in kinds
        ]
        table.add_row(name, *marks, text)
    table.columns[0].no_wrap = True
    return table


def _head(campaign: Campaign) -> Text:
    count = len(campaign.episodes)
    last = campaign.seed + count + len(campaign.lost) - 1
    task = f", to {campaign.task_action.replace('_', ' ')}" if campaign.task_action else ""
    return Text.assemble(
        (campaign.name, "bold"),
        f"  in {campaign.world}{task}: {count} episodes "
        f"(seeds {campaign.seed} to {last}, semantics {campaign.semantics.name})",
    )


def _remark(one: Agreement) -> Text:
    match one.kind:
        case "agrees":
            return Text("agrees", style="dim")
        case "never_seen":
            return Text(f"never seen: at most {100 * (one.bound or 0):.1f} %", style="yellow")
        case "disagrees":
            return Text("disagrees", style="bold red")
        case _:
            return Text("")


def _counts(kinds: Mapping[Kind, int]) -> str:
    """In words, how many rules compare in which way."""
    words: Mapping[Kind, str] = {
        "agrees": "agree with the proof",
        "never_seen": "violated by proof and never seen",
        "disagrees": "disagree with it",
        "not_judged": "do not apply",
    }
    return " · ".join(f"{kinds[kind]} {text}" for kind, text in words.items() if kinds[kind])


def _symbol(one: Agreement) -> Text:
    """The proof's verdict as a symbol, marked where the traces differ from it."""
    symbol = verdict_text(one.formal)[:1]
    if one.kind == "never_seen":
        return symbol.append(" ?", style="bold yellow")
    if one.kind == "disagrees":
        return symbol.append(" !", style="bold red")
    return symbol


def _key(*columns: Shown) -> Iterable[RenderableType]:
    """What the marks of `_symbol` say, where there are any."""
    unseen = [a for one in columns for a in one.agreements if a.kind == "never_seen"]
    if unseen:
        bound = 100 * max(a.bound or 0 for a in unseen)
        yield _aside(
            f"✗ ?  no trace violates it: with 95 % confidence, at most {bound:.1f} % of them would"
        )
    if any(a.kind == "disagrees" for one in columns for a in one.agreements):
        yield _aside("✓ !  proved, and yet violated by a trace: the reasons are below")


def _change(before: Rate, after: Rate) -> Text:
    """Difference in points; marked where the intervals do not overlap."""
    points = 100 * ((after.value or 0) - (before.value or 0))
    if abs(points) < 0.05:
        return Text("0", style="dim")
    apart = after.low > before.high or before.low > after.high
    style = "" if not apart else "bold green" if points > 0 else "bold red"
    return Text(f"{points:+.1f}", style=style)


def _notes(shown: Shown, details: bool) -> list[RenderableType]:
    """Everything that must not go unsaid."""
    notes: list[Text] = []
    campaign = shown.campaign
    for one in shown.agreements:
        for explanation in one.explanations:
            where = explanation.example
            at = (
                "at the end"
                if where.decision is None
                else f"at {where.seconds:g} s (decision {where.decision + 1})"
            )
            text = Text.assemble(
                (f"{one.rule.specification.id} ", "red"),
                f"is proved and yet violated in {_count(explanation.episodes, 'trace')}: "
                f"{REASONS[explanation.reason]}; for example seed {where.seed}, {at}",
            )
            if explanation.departure is not None:
                before, now = explanation.departure
                text.append(
                    f": {_label(before) + ' → ' if before is not None else ''}{_label(now)}"
                )
            notes.append(text)
    shown_labels = campaign.impossible if details else campaign.impossible[:_SHOWN_LABELS]
    for label in shown_labels:
        notes.append(
            Text.assemble(
                ("impossible label ", "yellow"),
                f"{_label(label.label)}: {campaign.scenario.name} excludes it, "
                f"{100 * label.share:.1f} % of the decisions had it, in "
                f"{_count(label.episodes, 'episode')}; for example seed {label.first.seed} "
                f"at {label.first.seconds:g} s",
            )
        )
    if len(shown_labels) < len(campaign.impossible):
        more = len(campaign.impossible) - len(shown_labels)
        notes.append(Text(f"and {more} more impossible labels (--details shows them)", "yellow"))
    for lost in campaign.lost if details else campaign.lost[:_SHOWN_LOST]:
        notes.append(
            Text.assemble(
                ("lost ", "yellow"),
                f"seed {lost.seed} after {lost.attempts} attempts: {lost.reason}",
            )
        )
    repeated = campaign.repeated - sum(lost.attempts - 1 for lost in campaign.lost)
    if repeated:
        notes.append(Text(f"{repeated} attempts came to nothing and were repeated", "yellow"))
    return [Padding(note, (1 if i == 0 else 0, 0, 0, 2)) for i, note in enumerate(notes)]


def _label(label: frozenset[str]) -> str:
    return "{" + ", ".join(sorted(label)) + "}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _aside(text: str) -> Padding:
    return Padding(Text(text, style="dim"), (0, 0, 0, 2))
