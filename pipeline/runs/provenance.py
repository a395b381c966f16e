"""Where a preference pair comes from: texts, controllers, verdicts and what they were made with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.files import read_rows
from pipeline.runs.folder import RunFolder
from pipeline.runs.manifest import read_manifest
from pipeline.runs.plan import Step, locate
from verifier.errors import InputError


def trace_pair(run: RunFolder, steps: Sequence[Step], pair: str) -> dict[str, Any]:
    """Everything a pair follows from.

    Args:
        run: The run.
        steps: Its steps.
        pair: ``p01-00012``; of a variant: ``no_sft/p01-00012``.

    Returns:
        ``pair`` (its row), ``ranked`` (folder, recipe of its stage), ``chosen`` and ``rejected``:
        lists of ``answer`` and ``verdict`` rows, from the answer itself back to the sampled text
        that it was repaired from.

    Raises:
        InputError: There is no such pair, or a row that it refers to.
    """
    variant, _, name = pair.rpartition("/")
    ranked = [s for s in steps if s.stage == "rank" and (s.variant or "") == variant]
    known: list[str] = []
    for step in ranked:
        file = run.path / step.folder / "pairs.jsonl"
        if not file.exists():
            continue
        rows = read_rows(file)
        known += [row["id"] for row in rows]
        found = next((row for row in rows if row["id"] == name), None)
        if found is not None:
            return _trace(run, step, found)
    near = get_close_matches(name, known, n=1)
    raise InputError(
        f"no pair {pair!r}{f' among {len(known)}' if known else ': nothing is ranked yet'}",
        file=run.path,
        remedy=f"did you mean {near[0]!r}?" if near else "see rank/pairs.jsonl of a round",
    )


def _trace(run: RunFolder, step: Step, row: dict[str, Any]) -> dict[str, Any]:
    folder = run.path / step.folder
    manifest = read_manifest(folder)
    places = [locate(run.path, place)[0] for place in step.inputs.values()]
    answers = _by(places, "answers.jsonl", "id")
    verdicts = _by(places, "verdicts.jsonl", "answer")
    return {
        "pair": row,
        "ranked": {
            "folder": str(folder),
            "inputs": manifest.recipe.inputs if manifest else {},
            "config": manifest.recipe.config if manifest else {},
        },
        "chosen": _lineage(row["chosen"]["answer"], answers, verdicts, folder),
        "rejected": _lineage(row["rejected"]["answer"], answers, verdicts, folder),
    }


def _lineage(
    answer: str | None, answers: dict[str, Any], verdicts: dict[str, Any], folder: Path
) -> list[dict[str, Any]]:
    """An answer, the one it was made from, and so on."""
    chain: list[dict[str, Any]] = []
    while answer is not None and len(chain) <= len(answers):
        if answer not in answers or answer not in verdicts:
            raise InputError(
                f"the pair refers to the answer {answer!r}, which is not there",
                file=folder,
                remedy="continue the run with --resume: its stages do not fit together",
            )
        chain.append({"answer": answers[answer], "verdict": verdicts[answer]})
        answer = answers[answer].get("parent")
    return chain


def _by(folders: Iterable[Path], name: str, key: str) -> dict[str, Any]:
    files = [folder / name for folder in folders if (folder / name).exists()]
    return {row[key]: row for file in files for row in read_rows(file)}
