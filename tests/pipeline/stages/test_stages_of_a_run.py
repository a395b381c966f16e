"""What the stages of a finished run hold: every row follows from rows that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_run import small_config

from pipeline.evaluation import Judge
from pipeline.files import read_rows, write_rows
from pipeline.ranking import MARGINS
from pipeline.runs.folder import RunFolder, open_run
from pipeline.runs.plan import Step, plan, shipped_stages
from pipeline.runs.provenance import trace_pair
from pipeline.stages import generate, rank, repair, verify
from pipeline.stages.context import StageContext
from pipeline.stages.generate import round_tasks
from pipeline.tasks import load_tasks, task_prompt
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from verifier.yaml_files import load_json

Rows = dict[str, dict[str, Any]]
REPAIRS = ("symbolic_repair", "model_repair")
ANSWER = {
    *("id", "task", "split", "origin", "parent", "sample", "text", "tokens", "finish"),
    *("model", "sampling"),
}


@pytest.fixture(scope="module")
def run(small_run) -> RunFolder:
    return open_run(small_run)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_vocabulary(), load_semantics("default"))


@pytest.fixture(params=["round-01", "round-02"])
def round_folder(run, request) -> Path:
    return run.path / request.param


def rows_of(folder: Path) -> tuple[Rows, Rows]:
    """Answers of a round and of its repairs by id; their verdicts by answer."""
    answers, verdicts = (
        [row for place in places for row in read_rows(folder / place)]
        for places in (
            ("generate/answers.jsonl", "repair/answers.jsonl"),
            ("verify/verdicts.jsonl", "repair/verdicts.jsonl"),
        )
    )
    assert [row["id"] for row in answers] == [row["answer"] for row in verdicts]
    by_id = {row["id"]: row for row in answers}
    assert len(by_id) == len(answers)
    return by_id, {row["answer"]: row for row in verdicts}


def test_answers_are_to_train_tasks_and_practice(run, round_folder):
    answers = read_rows(round_folder / "generate" / "answers.jsonl")
    tasks = round_tasks(round_folder / "generate")
    bank = {task.id: task for task in load_tasks()}
    practice = [task for task in tasks if task not in bank]
    assert bool(practice) == (round_folder.name == "round-01")  # as configured
    assert (
        {tasks[row["task"]].split for row in answers} == {"train"} == {r["split"] for r in answers}
    )
    assert {row["task"] for row in answers} == set(tasks)
    settings = run.config.generate
    for task in tasks:
        own = [row for row in answers if row["task"] == task]
        free = [row for row in own if row["origin"] == "free"]
        within = [row for row in own if row["origin"] == "constrained"]
        assert len(free) == settings.samples
        assert len(within) - settings.constrained_samples in (0, settings.extra_samples)
        assert all(set(row) >= ANSWER for row in own)
        assert all(row["parent"] is None and row["sampling"]["grammar"] for row in within)
        assert all(row["sampling"]["grammar"] is None for row in free)


def test_a_task_without_success_is_asked_again_with_another_seed(run, round_folder):
    answers, verdicts = rows_of(round_folder)
    settings = run.config.generate
    for task in round_tasks(round_folder / "generate"):
        own = [row for row in answers.values() if row["task"] == task and row["parent"] is None]
        seeds = {row["sampling"]["seed"] for row in own}
        first = [row for row in own if row["sampling"]["seed"] == min(seeds)]
        assert len(first) == settings.samples + settings.constrained_samples
        solved = any(verdicts[row["id"]]["strict_success"] for row in first)
        assert len(seeds) == (1 if solved else 2)


def test_rounds_sample_anew_from_the_adapter_before(run):
    models, seeds = [], []
    for number in (1, 2):
        answers = read_rows(run.path / f"round-{number:02}" / "generate" / "answers.jsonl")
        models.append({row["model"] for row in answers})
        seeds.append({row["sampling"]["seed"] for row in answers})
    assert len(models[0]) == len(models[1]) == 1
    assert models[0] != models[1]
    assert not seeds[0] & seeds[1]


def test_verdicts_are_those_of_the_checker(round_folder, judge):
    answers, verdicts = rows_of(round_folder)
    tasks = round_tasks(round_folder / "generate")
    for name, row in verdicts.items():
        judged = judge.judge(tasks[row["task"]], answers[name]["text"]).to_json()
        assert row == {"answer": name, "task": answers[name]["task"], **judged}


def test_repairs_mend_readable_failures_of_the_same_task(run, round_folder):
    answers, verdicts = rows_of(round_folder)
    repairs = [row for row in answers.values() if row["origin"] in REPAIRS]
    assert {row["origin"] for row in repairs} == set(REPAIRS)
    mended: dict[str, set[str]] = {}
    for row in repairs:
        parent, before = answers[row["parent"]], verdicts[row["parent"]]
        assert parent["origin"] in ("free", "constrained")
        assert parent["task"] == row["task"]
        assert before["parsed"]
        assert not before["strict_success"]
        mended.setdefault(row["task"], set()).add(parent["id"])
        if row["origin"] == "symbolic_repair":
            assert 1 <= len(row["edits"]) <= run.config.repair.max_edits
            assert verdicts[row["id"]]["strict_success"]
            assert verdicts[row["id"]]["controller"] != before["controller"]
        else:
            assert row["prompt"].startswith("sha256:")
            assert row["tokens"] > 0
    assert max(map(len, mended.values())) <= run.config.repair.per_task


def ranked_steps(run: RunFolder) -> list[Step]:
    return [step for step in plan(run.config, shipped_stages()) if step.stage == "rank"]


def test_every_pair_follows_from_rows_that_are_there(run, judge):
    steps = ranked_steps(run)
    assert {str(step.folder) for step in steps} == {
        "round-01/rank",
        "round-02/rank",
        "variants/plain/rank",
    }
    template = generate.load_template(run.config.tasks.prompt)
    for step in steps:
        folder = run.path / f"round-{step.round:02}"
        answers, verdicts = rows_of(folder)
        tasks = round_tasks(folder / "generate")
        pairs = read_rows(run.path / step.folder / "pairs.jsonl")
        assert pairs
        assert len({pair["id"] for pair in pairs}) == len(pairs)
        for pair in pairs:
            task = tasks[pair["task"]]
            prompt = task_prompt(task, template, judge.vocabulary)
            assert pair["prompt"] == {"hash": prompt.hash, "messages": prompt.chat()}
            assert pair["semantics"] == judge.semantics.to_json()
            assert (pair["round"], pair["order"]) == (step.round, "road")
            for side in (pair["chosen"], pair["rejected"]):
                answer, verdict = answers[side["answer"]], verdicts[side["answer"]]
                assert answer["task"] == pair["task"]
                for field in ("text", "origin", "parent"):
                    assert side[field] == answer[field]
                assert side["parent"] is None or side["parent"] in answers
                assert {**side["verdicts"], "answer": answer["id"], "task": task.id} == verdict
                assert side["controller"] == verdict["controller"]


def test_the_chosen_answer_is_better_by_the_margin_that_is_told(run, judge):
    for step in ranked_steps(run):
        tasks = round_tasks(run.path / f"round-{step.round:02}" / "generate")
        for pair in read_rows(run.path / step.folder / "pairs.jsonl"):
            chosen, rejected = (
                rank._ranked(
                    rank._Judgement(
                        {**side, "id": side["answer"], "task": pair["task"]}, side["verdicts"]
                    ),
                    judge,
                    tasks[pair["task"]],
                )
                for side in (pair["chosen"], pair["rejected"])
            )
            assert MARGINS["road"](chosen, rejected) == pair["margin"] > 0
            assert MARGINS["road"](rejected, chosen) is None
            origins = {chosen.origin, rejected.origin}
            expected = next((o for o in REPAIRS if o in origins), "samples")
            assert pair["source"] == expected


def test_summaries_count_the_pairs(run):
    for step in ranked_steps(run):
        pairs = read_rows(run.path / step.folder / "pairs.jsonl")
        summary = load_json(run.path / step.folder / "summary.json")
        assert summary["pairs"] == len(pairs)
        assert summary["tasks"] == len({pair["task"] for pair in pairs})
        wins = [pair for pair in pairs if pair["chosen"]["verdicts"]["strict_success"]]
        assert summary["successful"] == len(wins)
        assert sum(summary["by_source"].values()) == sum(summary["by_task"].values()) == len(pairs)
        assert max(summary["by_task"].values()) <= step.config.rank.pairs_per_task


def test_a_pair_is_traced_back_to_the_sampled_text(run):
    steps = plan(run.config, shipped_stages())
    for step in ranked_steps(run):
        prefix = f"{step.variant}/" if step.variant else ""
        for pair in read_rows(run.path / step.folder / "pairs.jsonl"):
            trace = trace_pair(run, steps, prefix + pair["id"])
            assert trace["pair"] == pair
            assert set(trace["ranked"]["inputs"]) == {"generate", "verify", "repair", "tasks"}
            for side in ("chosen", "rejected"):
                chain = trace[side]
                assert chain[0]["answer"]["text"] == pair[side]["text"]
                assert chain[-1]["answer"]["parent"] is None
                assert len(chain) == (2 if pair[side]["origin"] in REPAIRS else 1)


def context(run: RunFolder, work: Path, inputs: dict[str, Path], **sections: Any) -> StageContext:
    work.mkdir()
    config = small_config(Path(run.config.model.name), **sections)
    return StageContext(config, 1, inputs, work, lambda *_: None)


def inputs(run: RunFolder) -> dict[str, Path]:
    return {name: run.path / "round-01" / name for name in ("generate", "verify", "repair")}


def test_sources_can_be_left_out(run, tmp_path):
    rank.run(context(run, tmp_path / "plain", inputs(run), rank={"sources": ["samples"]}))
    pairs = read_rows(tmp_path / "plain" / "pairs.jsonl")
    assert pairs
    assert {pair["source"] for pair in pairs} == {"samples"}
    assert not {pair[s]["origin"] for pair in pairs for s in ("chosen", "rejected")} & set(REPAIRS)


def test_answers_that_are_all_alike_make_no_pairs(run, tmp_path):
    given = inputs(run)
    del given["repair"]
    for name in ("generate", "verify"):
        (tmp_path / name).mkdir()
        given[name] = tmp_path / name
    source = run.path / "round-01"
    (tmp_path / "generate" / "tasks.yaml").write_text(
        (source / "generate" / "tasks.yaml").read_text()
    )
    worlds = source / "generate" / "worlds"
    (tmp_path / "generate" / "worlds").symlink_to(worlds)
    write_rows(
        tmp_path / "generate" / "answers.jsonl",
        read_rows(source / "generate" / "answers.jsonl")[:1],
    )
    write_rows(
        tmp_path / "verify" / "verdicts.jsonl",
        read_rows(source / "verify" / "verdicts.jsonl")[:1],
    )
    with pytest.raises(InputError, match=r"round 1 has no preference pairs.*sample more"):
        rank.run(context(run, tmp_path / "none", given))


def test_repairs_can_be_switched_off(run, tmp_path):
    given = inputs(run)
    repair.run(context(run, tmp_path / "no", given, repair={"symbolic": False, "model": False}))
    assert read_rows(tmp_path / "no" / "answers.jsonl") == []
    assert read_rows(tmp_path / "no" / "verdicts.jsonl") == []


def test_verification_reports_its_progress(run, tmp_path):
    heard: list[tuple[str, int, int]] = []
    work = tmp_path / "verify"
    work.mkdir()
    given = {"generate": run.path / "round-01" / "generate"}
    verify.run(StageContext(run.config, 1, given, work, lambda *said: heard.append(said)))
    count = len(read_rows(given["generate"] / "answers.jsonl"))
    assert heard == [("verifying", done, count) for done in range(1, count + 1)]
    assert (work / "verdicts.jsonl").read_bytes() == (
        run.path / "round-01" / "verify" / "verdicts.jsonl"
    ).read_bytes()
