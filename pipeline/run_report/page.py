"""The page put together."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.files import write_text
from pipeline.run_report import curves, headline, making, sources, wording
from pipeline.run_report.comparisons import ways
from pipeline.run_report.held_out import world_rows
from pipeline.run_report.quantized import quantized
from pipeline.run_report.reading import Run, read_run
from pipeline.run_report.rules import RuleRow, rule_rows
from pipeline.run_report.scores import METRICS, OUTCOME_WORDS, OUTCOMES
from pipeline.run_report.stories import Teller, tell
from pipeline.run_report.trials import trials
from verifier.rules import load_rules
from verifier.verdicts import VERDICT_VALUES
from worlds.statistics import Rate


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
    trainings, finals = curves.final_rows(run)
    return _environment().get_template("page.html.jinja").render(
        run=run,
        title=headline.title(run),
        headlines=headline.headlines(run),
        sentences=headline.sentences(run, regressed),
        task_words=headline.TASK_WORDS[run.split],
        ways=ways(run),
        rounds=[one for one in run.rounds if one.evaluation],
        variants=[one for one in run.variants if one.evaluation],
        metrics=METRICS,
        splits=_splits(run),
        progress=curves.progress_figures(run),
        training=curves.training_figures(run),
        trainings=trainings,
        finals=finals,
        stories=tell(run, teller),
        books=books,
        origins=sources.origin_rows(run),
        pairs=sources.pair_rows(run),
        sources=sources.SOURCE_WORDS,
        lasting=_lasting(run),
        trials=trials(run, teller.vocabulary),
        quantized=quantized(run),
        worlds=world_rows(run, teller.tasks),
        outcomes=OUTCOMES,
        outcome_words=OUTCOME_WORDS,
        verdicts=VERDICT_VALUES,
        semantics=teller.semantics.to_json(),
        costs=making.cost_rows(run),
        stage_order=making.stage_order(run),
        facts=making.facts(run),
        versions=making.versions(run),
        hashes=making.hashes(run),
    )  # fmt: skip


def _lasting(run: Run) -> bool:
    """Whether anything is known about robustness, forgetting or several seeds."""
    one = run.after
    return one is not None and bool(
        one.variations or one.perplexity is not None or one.kl or len(one.per_seed) > 1
    )


def _splits(run: Run) -> dict[str, str]:
    """Splits with answers, and their words."""
    found = {
        name
        for one in (*run.rounds, *run.variants)
        if one.evaluation
        for name, scores in one.evaluation.splits.items()
        if scores.answers
    }
    return {name: words for name, words in curves.SPLIT_WORDS.items() if name in found}


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
        "brief": wording.brief,
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


def _books(run: Run, teller: Teller) -> list[tuple[str, list[RuleRow]]]:
    """The rules of both books before and after."""
    if run.scores(run.after) is None or run.after is None:
        return []
    before = run.before if run.scores(run.before) else None
    books = [load_rules(name, teller.vocabulary) for name in ("road", "paper")]
    found = ((book.name, rule_rows(book, before, run.after, run.split)) for book in books)
    return [(name, rows) for name, rows in found if rows]
