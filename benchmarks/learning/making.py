"""How a run was made, as tables: settings, answers, pairs and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.learning.page import Cell, Kind, Table
from pipeline.run_report.making import STAGE_ORDER, cost_rows, facts
from pipeline.run_report.reading import Run, label_of
from pipeline.run_report.scores import METRICS
from pipeline.run_report.sources import SOURCE_WORDS, origin_rows, pair_rows

Row = Mapping[str, Cell]

_REPAIRS = {"symbolic": "edits of the steps at fault", "model": "asking the model again"}


def setup(run: Run) -> Table:
    """Settings in words, and how much of everything there was."""
    rows: list[Row] = [
        {"": what, "value": told.replace("\u00a0", " ").replace("\u202f", ",")}
        for what, told in (*_settings(run), *facts(run))
        if told
    ]
    return Table(
        "What was run",
        "Model, settings, seeds and size of the run; the whole configuration is at the end.",
        {"": "text", "value": "text"},
        rows,
    )


def _settings(run: Run) -> Iterator[tuple[str, str]]:
    def of(section: str, key: str) -> str:
        return str(run.setting(section, key, "–"))

    yield "model", run.model
    yield "rounds", f"{run.finished_rounds} of {run.config.get('rounds', '–')}"
    yield (
        "tasks to learn from",
        ", ".join(
            f"{len({answer.task for answer in one.generated})} in {one.label}"
            for one in run.rounds
            if one.generated
        ),
    )
    yield (
        "answers per task",
        f"{of('generate', 'samples')} free, {of('generate', 'constrained_samples')} within the "
        f"grammar, {of('generate', 'extra_samples')} more where none was correct; "
        f"temperature {of('generate', 'temperature')}",
    )
    repairs = [words for kind, words in _REPAIRS.items() if run.setting("repair", kind)]
    yield "repair", " and ".join(repairs) or "none"
    only = ", the chosen one correct" if run.setting("rank", "successes_only") else ""
    yield (
        "pairs",
        f"order “{of('rank', 'order')}”, at most {of('rank', 'pairs_per_task')} per task{only}",
    )
    limit = run.setting("train", "max_steps")
    at_most = f", at most {limit} steps" if limit else ""
    lora = run.setting("train", "lora") or {}
    yield (
        "training",
        f"{of('train', 'method').upper()} ({of('train', 'loss')}), β {of('train', 'beta')}, weight "
        f"of the SFT term {of('train', 'sft_weight')}, learning rate "
        f"{of('train', 'learning_rate')}, epochs {of('train', 'epochs')}, "
        f"{of('train', 'pairs_per_step')} pairs per step{at_most}, "
        f"LoRA rank {lora.get('rank', '–')}",
    )
    if run.after is not None:
        seeds = len(run.after.seeds)
        yield (
            "evaluation",
            f"{run.after.samples} × {seeds} answers per task (samples × seeds), temperature "
            f"{run.after.temperature}; "
            + ", ".join(
                f"{scores.answers} answers of {split}"
                for split, scores in run.after.splits.items()
                if split in ("train", "validation", "test") and scores.answers
            ),
        )
    if run.champion is not None and run.selection:
        metric = str(run.selection.get("metric"))
        yield (
            "champion",
            f"{run.champion.label}, by {METRICS.get(metric, metric)} on "
            f"{run.selection.get('split')} tasks",
        )
    yield "not finished", ", ".join(_missing(run))


def _missing(run: Run) -> Iterator[str]:
    """Rounds and variants that the configuration has and that were not evaluated."""
    done = {one.name for one in (*run.rounds, *run.variants) if one.evaluation}
    rounds = int(run.config.get("rounds") or 0)
    names = [f"round-{number:02d}" for number in range(rounds + 1)]
    if run.setting("evaluate", "every_round", True) is False:
        names = [names[0], names[-1]]
    for name in (*names, *(str(one["name"]) for one in run.config.get("variants") or ())):
        if name not in done:
            yield label_of(name)


def origins(run: Run) -> Table:
    """Where the answers to learn from come from."""
    rows = [
        {
            "": row.round,
            "origin": row.origin,
            "answers": row.answers,
            "proven correct": row.outcomes.get("correct", 0) / row.answers,
            "tasks solved": row.solved,
            "by it alone": row.only,
        }
        for row in origin_rows(run)
    ]
    return Table(
        "Answers to learn from",
        "How many answers each source gave in each round, how many are proven correct, and for "
        "how many training tasks it was the only source of a correct one.",
        {
            "": "text",
            "origin": "text",
            "answers": "count",
            "proven correct": "share",
            "tasks solved": "count",
            "by it alone": "count",
        },
        rows,
    )


def pairs(run: Run) -> Table:
    """Preference pairs by the source that made them possible."""
    found = pair_rows(run)
    sources = list(dict.fromkeys(s for row in found for s in row.by_source))
    columns: dict[str, Kind] = {"": "text", "pairs": "count", "tasks": "count"}
    columns |= {SOURCE_WORDS.get(source, source): "count" for source in sources}
    columns["chosen is correct"] = "share"
    rows = [
        {
            "": row.round,
            "pairs": row.pairs,
            "tasks": row.tasks,
            **{SOURCE_WORDS.get(s, s): row.by_source.get(s, 0) for s in sources},
            "chosen is correct": row.successful / row.pairs
            if row.successful is not None and row.pairs
            else None,
        }
        for row in found
    ]
    return Table(
        "Preference pairs",
        "Pairs that each training learned from, by the source of their answers; what those of "
        "repair are worth is the variant without them, above.",
        columns,
        rows,
    )


def costs(run: Run) -> Table:
    """Where the time went."""
    found = cost_rows(run)
    rows: list[Row] = [{"": row.label, **row.seconds, "all": row.total} for row in found]
    if rows:
        stages = dict.fromkeys(stage for row in found for stage in row.seconds)
        total: dict[str, Cell] = {s: sum(row.seconds.get(s, 0.0) for row in found) for s in stages}
        rows.append({"": "all", **total, "all": sum(row.total for row in found)})
    columns: dict[str, Kind] = {"": "text"}
    columns |= dict.fromkeys((*STAGE_ORDER, "all"), "seconds")
    return Table(
        "Time",
        "Time of every stage, as it was measured.",
        columns,
        rows,
    )
