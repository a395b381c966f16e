"""The champion of a run in a folder that can be given away: adapter, scores, certificates.

Others need neither the run nor trust in it: the adapter is in peft's format, and every certificate
holds the world, the rules and the controller that a verdict is about.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.adapters import CONFIG, WEIGHTS
from pipeline.evaluation import Judge
from pipeline.files import read_rows, write_bytes, write_rows, write_text
from pipeline.runs.folder import RunFolder
from pipeline.tasks import load_tasks
from verifier.certificate import make_certificate
from verifier.errors import InputError
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from verifier.yaml_files import load_json

SCORES, CERTIFICATES = "scores.json", "certificates.jsonl"

_BASE = "round-00"
_HELD_OUT = "test"
_RATES = ("strict_success", "paper_score", "parse_rate")


def export_champion(run: RunFolder, folder: Path) -> dict[str, Any]:
    """Write a run's champion to ``folder``; its scores, as in ``scores.json``.

    The weights are rounded to 16 bits, which halves their size. Certificates are made of the
    first successful answer to every held-out task.

    Raises:
        InputError: Nothing is selected or trained yet, or the folder cannot be written to.
    """
    selection = _result(run.path / "select" / "selection.json", run)
    source = run.path / "select" / "adapter"
    if not source.is_dir():
        raise InputError(
            "the run has trained nothing", file=run.path, remedy="choose a run with rounds"
        )
    chosen = selection["champion"]
    scores = {
        "run": run.config.name,
        "seed": run.config.seed,
        "round": int(chosen.removeprefix("round-")),
        "gate": selection["gate"],
        "scores": _result(run.path / chosen / "evaluate" / "summary.json", run),
        "base": _result(run.path / _BASE / "evaluate" / "summary.json", run),
    }
    write_bytes(folder / WEIGHTS, _rounded(source / WEIGHTS))
    write_text(folder / CONFIG, (source / CONFIG).read_text("utf-8"))
    shutil.copyfile(run.path / "config.yaml", folder / "config.yaml")
    write_text(folder / SCORES, json.dumps(scores, indent=1) + "\n")
    certificates = list(_certificates(run, run.path / chosen / "evaluate" / "answers.jsonl"))
    write_rows(folder / CERTIFICATES, certificates)
    base = json.loads((folder / CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    write_text(folder / "README.md", _card(base, scores, len(certificates)))
    return scores


def _result(path: Path, run: RunFolder) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"{path.relative_to(run.path)} is not there yet",
            file=run.path,
            remedy=f"finish the run first: specdrive run {run.path} --resume",
        )
    return load_json(path)


def _rounded(weights: Path) -> bytes:
    import torch
    from safetensors.torch import load, save

    tensors = load(weights.read_bytes())
    halves = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    if not all(bool(tensor.isfinite().all()) for tensor in halves.values()):
        raise InputError(
            "weights are too large for 16 bits", file=weights, remedy="use the run's own adapter"
        )
    return save(halves, metadata={"format": "pt"})


def _certificates(run: RunFolder, answers: Path) -> Iterator[dict[str, Any]]:
    """One per held-out task that was solved, in the order of the tasks."""
    settings = run.config.tasks
    words = load_vocabulary(settings.vocabulary)
    judge = Judge(words, load_semantics(settings.semantics))
    solved: dict[str, Mapping[str, Any]] = {}
    for row in read_rows(answers):
        if row["split"] == _HELD_OUT and row["verdict"]["strict_success"]:
            solved.setdefault(row["task"], row)
    for task in load_tasks(settings.bank, words):
        row = solved.get(task.id)
        controller = judge.judge(task, row["text"]).controller if row is not None else None
        if row is None or controller is None:
            continue
        checker = judge.model_checker(task.world, judge.rules_of(task))
        answer = {"task": task.id, "prompt": task.prompt, "text": row["text"]}
        yield {**make_certificate(checker, controller), "answer": answer}


def _card(base: str, scores: Mapping[str, Any], certificates: int) -> str:
    split = _HELD_OUT if _HELD_OUT in scores["scores"]["splits"] else "validation"
    before, after = (scores[key]["splits"][split] for key in ("base", "scores"))
    rows = [
        f"| {name.replace('_', ' ')} | {_percent(before[name])} | {_percent(after[name])} |"
        for name in _RATES
    ]
    return "\n".join(
        [
            "---",
            f"base_model: {base}",
            "library_name: peft",
            "license: apache-2.0",
            "---",
            "",
            "# Driving controllers that keep the rules",
            "",
            f"A LoRA adapter for {base}, fine-tuned by the verdicts of a model checker.",
            f"Round {scores['round']} of the run `{scores['run']}`, seed {scores['seed']};",
            "`config.yaml` is its whole configuration.",
            "",
            "```console",
            "$ specdrive evaluate --adapter . --split test",
            f"$ specdrive certificate verify {CERTIFICATES}",
            "```",
            "",
            f"On {after['answers']} answers to tasks of the {split} split, with 95 % intervals:",
            "",
            "| | base model | with this adapter |",
            "|---|---:|---:|",
            *rows,
            "",
            f"`{SCORES}` has all scores, of the weights before they were rounded to 16 bits.",
            f"`{CERTIFICATES}` has a certificate for one answer to each of {certificates} held-out "
            "tasks:",
            "world, rules, controller and verdicts, to be recomputed by anyone.",
            "",
        ]
    )


def _percent(rate: Mapping[str, float]) -> str:
    return f"{rate['value']:.1%} ({rate['low']:.1%}–{rate['high']:.1%})".replace("%", " %")
