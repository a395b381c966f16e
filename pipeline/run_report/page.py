"""The page put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.files import write_text
from pipeline.run_report import comparisons, curves, making, wording
from pipeline.run_report.comparisons import RuleRow, rule_rows, ways
from pipeline.run_report.reading import Run, read_run
from pipeline.run_report.scores import METRICS, OUTCOME_WORDS, OUTCOMES
from pipeline.run_report.stories import Teller, tell
from pipeline.statistics import Rate
from verifier.rules import load_rules
from verifier.verdicts import VERDICT_VALUES


@dataclass(frozen=True)
class Headline:
    """One of the three rates before and after."""

    metric: str
    words: str
    before: Rate | None
    after: Rate


def write_report(run: Path) -> Path:
    """Write ``report/index.html`` into a run's folder and return its path.

    The run may still be in progress: what is not finished is left out.

    Raises:
        InputError: Not a run folder, a file in it cannot be read, or the page cannot be written.
    """
    path = run / "report" / "index.html"
    write_text(path, run_page(run))
    return path


def run_page(folder: Path) -> str:
    """The page of a run as HTML, with everything inside.

    Raises:
        InputError: Not a run folder, or a file in it cannot be read.
    """
    run = read_run(folder)
    teller = Teller(run)
    books = _books(run, teller)
    regressed = [row.rule for _, rows in books for row in rows if row.regressed]
    return _environment().get_template("page.html.jinja").render(
        run=run,
        headlines=_headlines(run),
        sentences=[s for s in wording.headline_sentences(run, regressed) if s],
        ways=ways(run),
        rounds=[one for one in run.rounds if one.evaluation],
        variants=[one for one in run.variants if one.evaluation],
        metrics=METRICS,
        splits=comparisons.SPLIT_WORDS,
        progress=curves.progress_figures(run),
        training=curves.training_figures(run),
        stories=tell(run, teller),
        books=books,
        origins=comparisons.origin_rows(run),
        pairs=comparisons.pair_rows(run),
        sources=comparisons.SOURCE_WORDS,
        worlds=comparisons.world_rows(run, teller.tasks),
        outcomes=OUTCOMES,
        outcome_words=OUTCOME_WORDS,
        verdicts=VERDICT_VALUES,
        semantics=teller.semantics.to_json(),
        costs=making.cost_rows(run),
        stage_order=making.STAGE_ORDER,
        facts=making.facts(run),
        versions=making.versions(run),
        hashes=making.hashes(run),
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline", "data/report/run"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": wording.percent,
        "interval": wording.interval,
        "points": wording.points,
        "number": wording.number,
        "duration": wording.duration,
        "date": wording.date,
        "strip": strip,
    }
    return environment


def strip(rate: Rate | None, before: Rate | None = None) -> Markup:
    """A rate on a line from 0 to 100 %: its interval as a bar, itself as a dot; before in grey."""
    inside = Markup("")
    for kind, one in (("old", before), ("new", rate)):
        if one is None or one.value is None:
            continue
        inside += Markup(
            '<i class="{k} range" style="left:{low:.1f}%;width:{width:.1f}%"></i>'
            '<i class="{k} point" style="left:{at:.1f}%"></i>'
        ).format(k=kind, low=100 * one.low, width=100 * (one.high - one.low), at=100 * one.value)
    return Markup('<span class="strip" aria-hidden="true">{}</span>').format(inside)


def _headlines(run: Run) -> list[Headline]:
    after = run.champion.evaluation.test if run.champion and run.champion.evaluation else None
    before = run.base.evaluation.test if run.base and run.base.evaluation else None
    if after is None:
        return []
    shown = before if run.base is not run.champion else None
    return [
        Headline(metric, words, shown.rate(metric) if shown else None, after.rate(metric))
        for metric, words in METRICS.items()
    ]


def _books(run: Run, teller: Teller) -> list[tuple[str, list[RuleRow]]]:
    """The rules of both books before and after, on held-out tasks."""
    after = run.champion.evaluation.test if run.champion and run.champion.evaluation else None
    before = run.base.evaluation.test if run.base and run.base.evaluation else None
    if after is None:
        return []
    old = before if run.base is not run.champion else None
    books = [load_rules(name, teller.vocabulary) for name in ("road", "paper")]
    return [(book.name, rows) for book in books if (rows := rule_rows(book, old, after))]
