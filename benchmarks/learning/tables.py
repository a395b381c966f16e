"""What the models of a run do, as tables."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.learning.page import Bounds, Cell, Kind, Table
from pipeline.run_report.comparisons import SPLIT_WORDS, variant_note
from pipeline.run_report.headline import TASK_WORDS
from pipeline.run_report.reading import Round, Run
from pipeline.run_report.rules import rule_rows
from pipeline.run_report.scores import METRICS, Evaluation, Scores, outcomes_of
from verifier.rules import load_rules
from verifier.vocabulary import load_vocabulary
from worlds.statistics import Rate

Row = Mapping[str, Cell]

REGRESSION = "regression"
_RESAMPLES = 4000
_COUNT = "paper_count"
_CORRECT = "answers proven correct"
_PAPER = "paper score"
_TRIVIAL = {
    "always_stop": "stops, whatever it sees",
    "always_go": "makes the manoeuvre at every step, whatever it sees",
}


def evaluated(run: Run) -> list[Round]:
    """Rounds, then variants, that were evaluated."""
    return [one for one in (*run.rounds, *run.variants) if one.evaluation]


def rate_cell(rate: Rate | None) -> Bounds | None:
    """A rate as a table holds it."""
    return rate.to_json() if rate and rate.value is not None else None


def comparison(run: Run) -> Table:
    """Every way of answering the held-out tasks, side by side."""
    first = _first(run)
    rows = [
        *_trained(run, run.rounds, first),
        *_best_of(run),
        *_trained(run, run.variants, first),
        *_trivial(run),
    ]
    after = run.after
    seeds = [
        f"{100 * value:.1f} % with {seed}"
        for seed, rates in (after.per_seed if after else {}).items()
        if (value := rates.get("strict_success")) is not None
    ]
    by_seed = f"Seeds of sampling, {_champion(run)}: {', '.join(seeds)}." if len(seeds) > 1 else ""
    return Table(
        "Side by side",
        f"Every way of answering the {TASK_WORDS[run.split]}s: strict success, the paper's score "
        "and what else the answers are like.",
        {
            "": "text",
            "what it is": "text",
            _CORRECT: "rate",
            "points on round 1": "difference",
            _PAPER: "rate",
            "readable": "rate",
            "never moves": "share",
        },
        rows,
        [
            "An answer is proven correct if no rule of the road is violated or undecided and the "
            "manoeuvre is made in every run. The paper's score is the mean share of its 15 rules "
            "that hold. In brackets: Wilson's 95 % interval over answers, as if those to one task "
            f"were independent; that of the points is a bootstrap over tasks. {by_seed}".strip()
        ],
    )


def _trained(run: Run, rounds: Sequence[Round], first: Evaluation | None) -> Iterator[Row]:
    for one in rounds:
        scores = run.scores(one.evaluation)
        if one.evaluation is None or scores is None or not scores.answers:
            continue
        apart = first is not None and first is not one.evaluation
        yield {
            "": one.label,
            "what it is": _what(run, one),
            **_rates(scores),
            "points on round 1": difference(first, one.evaluation, run.split)
            if apart and first
            else None,
            "readable": rate_cell(scores.parse_rate),
        }


def _what(run: Run, one: Round) -> str:
    if one.number is None:
        return variant_note(run, one.name)
    if not one.number:
        return "before training"
    number = one.ranking.get("pairs")
    method = str(run.setting("train", "method", "dpo")).upper()
    told = f"{method}, {number:,} pairs" if isinstance(number, int) else method
    return f"{told}; champion" if one is run.champion and run.selection else told


def _best_of(run: Run) -> Iterator[Row]:
    for one in _base_and_champion(run):
        if one.evaluation is None or one.evaluation.best_of is None:
            continue
        n, strict, paper = one.evaluation.best_of
        yield {
            "": f"{one.label}, best of {n}",
            "what it is": "the verifier chooses",
            _CORRECT: rate_cell(strict),
            _PAPER: rate_cell(paper),
        }


def _trivial(run: Run) -> Iterator[Row]:
    for name, scores in (run.after.trivial if run.after else {}).items():
        yield {"": name.replace("_", " "), "what it is": _TRIVIAL.get(name, ""), **_rates(scores)}


def _rates(scores: Scores) -> dict[str, Cell]:
    return {
        _CORRECT: rate_cell(scores.strict_success),
        _PAPER: rate_cell(scores.paper_score),
        "never moves": scores.never_moving,
    }


def by_split(run: Run, metric: str) -> Table:
    """One rate on every split, those of the held-out tasks apart."""
    columns: dict[str, Kind] = {"": "text"}
    columns |= dict.fromkeys(SPLIT_WORDS.values(), "rate")
    one_of = {"strict_success": "Answers proven correct", "paper_score": "The paper's score"}
    rows = [
        {
            "": one.label,
            **{
                words: rate_cell(scores.rate(metric))
                for split, words in SPLIT_WORDS.items()
                if one.evaluation
                and (scores := one.evaluation.splits.get(split))
                and scores.answers
            },
        }
        for one in evaluated(run)
    ]
    return Table(
        f"{one_of[metric]}, by split",
        f"{METRICS[metric].capitalize()} on the tasks of each split; known and new worlds are the "
        "test tasks in worlds that training tasks play in, and those in worlds it never showed.",
        columns,
        rows,
    )


def paper_count(run: Run) -> Table:
    """What ranking by the number of satisfied rules makes of the answers."""
    counted = [one for one in run.variants if _settings(run, one).get("rank.order") == _COUNT]
    rows: list[Row] = []
    for one in [*(o for o in run.rounds if o.number in (0, 1)), *counted] if counted else ():
        scores = run.scores(one.evaluation)
        if one.evaluation is None or scores is None or not scores.answers:
            continue
        became = outcomes_of(one.evaluation.on(run.split))
        share = {key: became.get(key, 0) / scores.answers for key in became}
        rows.append(
            {
                "": one.label,
                _PAPER: rate_cell(scores.paper_score),
                _CORRECT: rate_cell(scores.strict_success),
                "never moves": scores.never_moving,
                "safe, never gets there": share.get("unfinished", 0.0),
                "breaks a rule": share.get("unsafe", 0.0) + share.get("both", 0.0),
                "cannot be read": share.get("unreadable", 0.0),
                "different controllers": scores.distinct,
            }
        )
    return Table(
        "Ranked by the paper's count of rules",
        "The same verified answers of round 1 ranked by the number of satisfied rules, beside the "
        f"order by rules of the road and progress that round 1 uses ({run.split} tasks).",
        {
            "": "text",
            _PAPER: "rate",
            _CORRECT: "rate",
            "never moves": "share",
            "safe, never gets there": "share",
            "breaks a rule": "share",
            "cannot be read": "share",
            "different controllers": "count",
        },
        rows,
    )


def rules(run: Run) -> Table:
    """How often every specification holds, before and after."""
    rows: list[Row] = []
    if run.after is not None and run.before is not None:
        words = load_vocabulary(run.setting("tasks", "vocabulary", "driving"))
        for name in ("road", "paper"):
            for row in rule_rows(load_rules(name, words), run.before, run.after, run.split):
                verdict = REGRESSION if row.regressed else "less often" if row.slipped else ""
                rows.append(
                    {
                        "what it says": row.text,
                        "before": rate_cell(row.held_before),
                        "after": rate_cell(row.held_after),
                        "": f"{name} {row.rule}".replace("_", " "),
                        "mark": verdict,
                    }
                )
    return Table(
        "Every specification, before and after",
        f"Share of the answers to {run.split} tasks in which a specification holds, of those it "
        f"applies to (unreadable answers do not count as holding): base, then {_champion(run)}.",
        {"": "text", "what it says": "text", "before": "rate", "after": "rate", "mark": "text"},
        rows,
        [
            "A regression holds less often than the lower end of its interval before; one marked "
            f"“less often” stays within it. {gate(run)}".strip()
        ],
    )


def gate(run: Run) -> str:
    """What the gate said of the champion, on the tasks it was chosen on; empty before select."""
    found = run.selection.get("gate")
    if not isinstance(found, Mapping):
        return ""
    reasons = "; ".join(str(reason).replace("_", " ") for reason in found.get("reasons") or ())
    said = "passed" if found.get("passed") else f"did not pass: {reasons}"
    return f"The gate, on {run.selection.get('split')} tasks, {said}."


def robustness(run: Run) -> Table:
    """Tasks as they stand, in other words, and with propositions renamed."""
    rows = [
        {
            "": one.label,
            "asked": words,
            "answers": scores.answers,
            _CORRECT: rate_cell(scores.strict_success),
            _PAPER: rate_cell(scores.paper_score),
        }
        for one in _base_and_champion(run)
        if one.evaluation and one.evaluation.variations
        for words, scores in _asked(run, one.evaluation)
    ]
    return Table(
        "Robustness",
        f"The {run.split} tasks in other words, and with the propositions under other names.",
        {"": "text", "asked": "text", "answers": "count", _CORRECT: "rate", _PAPER: "rate"},
        rows,
    )


def _asked(run: Run, evaluation: Evaluation) -> Iterator[tuple[str, Scores]]:
    plain = run.scores(evaluation)
    if plain is not None:
        yield "as the tasks stand", plain
    yield from evaluation.variations.items()


def keeping(run: Run) -> Table:
    """Whether the model forgets or narrows: perplexity, divergence and diversity."""
    rows: list[Row] = []
    for one in evaluated(run):
        scores = run.scores(one.evaluation)
        if one.evaluation is None or scores is None or not scores.answers:
            continue
        rows.append(
            {
                "": one.label,
                "perplexity": one.evaluation.perplexity,
                "KL per token": one.evaluation.kl.get("per_token"),
                "KL per answer": one.evaluation.kl.get("per_answer"),
                "different controllers": scores.distinct,
                "correct ones": scores.distinct_correct,
                "of answers": scores.answers,
                "tokens per answer": scores.tokens,
            }
        )
    long = run.after.perplexity_tokens if run.after else None
    text = f"neutral text ({long:,} tokens)" if long else "neutral text"
    return Table(
        "What else changes",
        f"Perplexity of {text}, divergence from the base on the model's own answers (nats), and "
        f"how different the answers to {run.split} tasks are.",
        {
            "": "text",
            "perplexity": "number",
            "KL per token": "number",
            "KL per answer": "number",
            "different controllers": "count",
            "correct ones": "count",
            "of answers": "count",
            "tokens per answer": "number",
        },
        rows,
    )


def difference(before: Evaluation, after: Evaluation, split: str) -> Bounds | None:
    """Change of strict success on the tasks both answered, with a 95 % interval.

    Tasks are drawn again with replacement, each with all its answers (percentile bootstrap): the
    answers to one task are alike, so tasks are what varies.
    """
    old, new = (_by_task(one, split) for one in (before, after))
    changes = [new[task] - old[task] for task in old if task in new]
    if not changes:
        return None
    draw = random.Random(0)
    means = sorted(
        sum(draw.choices(changes, k=len(changes))) / len(changes) for _ in range(_RESAMPLES)
    )
    cut = round(0.025 * _RESAMPLES)
    mean = sum(changes) / len(changes)
    return {"value": mean, "low": means[cut], "high": means[-1 - cut]}


def _by_task(evaluation: Evaluation, split: str) -> dict[str, float]:
    found: dict[str, list[bool]] = {}
    for answer in evaluation.on(split):
        found.setdefault(answer.task, []).append(answer.success)
    return {task: sum(successes) / len(successes) for task, successes in found.items()}


def _first(run: Run) -> Evaluation | None:
    return next((one.evaluation for one in run.rounds if one.number == 1), None)


def _base_and_champion(run: Run) -> list[Round]:
    base = [run.base] if run.base and run.base is not run.champion else []
    return [*base, run.champion] if run.champion else base


def _champion(run: Run) -> str:
    return run.champion.label if run.champion else "the last round"


def _settings(run: Run, variant: Round) -> Mapping[str, Any]:
    """What a variant sets, by dotted key."""
    listed = run.config.get("variants") or ()
    return next((one.get("set") or {} for one in listed if one.get("name") == variant.name), {})
