"""From the folder of a finished stage to what is logged of it: pure functions of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.models import DEFAULT_MODEL
from pipeline.tracking.content import Adapter, Content, Data, Point, Table
from pipeline.tracking.evaluation import evaluate
from pipeline.tracking.layout import Place, RunFolder
from pipeline.tracking.quantized import quantize
from pipeline.tracking.rows import (
    answers_table,
    by_answer,
    data,
    pairs_table,
    read_object,
    read_rows,
    repairs_table,
)
from pipeline.tracking.scores import (
    essential,
    number,
    percent,
    points,
    verdict_points,
)

_WEIGHTS = "adapter/adapter_model.safetensors"


def project(run: RunFolder, place: Place) -> Content:
    """What a finished stage logs.

    Raises:
        OSError, ValueError, KeyError: Its files are not what the stage promises.
    """
    content = _PROJECTIONS.get(place.stage, _nothing)(run, place)
    seconds = number(place.manifest.get("seconds"))
    spent = [] if seconds is None else [Point("seconds", seconds, place.round)]
    shared = [Point(f"seconds/{place.stage}", p.value, p.step) for p in spent]
    return Content(
        **{
            **content.__dict__,
            "metrics": (*content.metrics, *spent),
            # The pipeline's curves are those of its rounds; a variant's stay in its own runs.
            "parent_metrics": () if place.variant else (*content.parent_metrics, *shared),
            "parent_datasets": () if place.variant else _learned_and_judged(content.datasets),
            "parent_blobs": {} if place.variant else content.parent_blobs,
            "params": {**_params(place), **content.params},
            "files": {"manifest.json": place.folder / "manifest.json", **content.files},
        }
    )


def _learned_and_judged(datasets: Iterable[Data]) -> tuple[Data, ...]:
    return tuple(one for one in datasets if one.context in ("training", "evaluation"))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"train": {"beta": 0.1}}`` as ``{"train.beta": "0.1"}``; lists as JSON."""
    out: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            out |= flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            out[f"{prefix}{key}"] = text
    return out


def _params(place: Place) -> dict[str, str]:
    """The sections of the configuration that the stage used."""
    return flat(place.manifest.get("config") or {})


def _nothing(run: RunFolder, place: Place) -> Content:
    del run, place
    return Content()


def _generate(run: RunFolder, place: Place) -> Content:
    del run
    file = place.folder / "answers.jsonl"
    answers = read_rows(file)
    counts: dict[str, object] = {"generated/answers": len(answers)}
    for origin in sorted({str(row.get("origin")) for row in answers}):
        counts[f"generated/{origin}"] = sum(row.get("origin") == origin for row in answers)
    counts["generated/tokens"] = sum(row.get("tokens") or 0 for row in answers)
    counts["generated/tasks"] = len({row.get("task") for row in answers})
    found = tuple(points(counts, place.round))
    return Content(
        metrics=found,
        datasets=data(f"answers of {place.title}", file, "generated"),
        tables={"tables/answers.json": answers_table(answers, {})},
        files=_existing(
            {"data/answers.jsonl": file, "data/tasks.yaml": place.folder / "tasks.yaml"}
        ),
    )


def _verify(run: RunFolder, place: Place) -> Content:
    del run
    file = place.folder / "verdicts.jsonl"
    verdicts = read_rows(file)
    answers = read_rows(place.beside("generate") / "answers.jsonl")
    known = by_answer(verdicts)
    found = verdict_points("samples", verdicts, place.round)
    for origin in sorted({str(row.get("origin")) for row in answers}):
        chosen = [
            known[row["id"]]
            for row in answers
            if row.get("origin") == origin and row["id"] in known
        ]
        found += verdict_points(f"samples_{origin}", chosen, place.round)
    return Content(
        metrics=tuple(found),
        parent_metrics=_essential(found),
        datasets=data(f"verdicts of {place.title}", file, "verdicts"),
        tables={"tables/verdicts.json": answers_table(answers, known)},
        files=_existing({"data/verdicts.jsonl": file}),
    )


def _repair(run: RunFolder, place: Place) -> Content:
    del run
    file = place.folder / "answers.jsonl"
    repaired, verdicts = read_rows(file), read_rows(place.folder / "verdicts.jsonl")
    known = by_answer(verdicts)
    found: list[Point] = []
    for origin in sorted({str(row.get("origin")) for row in repaired}):
        chosen = [
            known[row["id"]]
            for row in repaired
            if row.get("origin") == origin and row["id"] in known
        ]
        found += verdict_points(origin, chosen, place.round)
    originals = {row["id"]: row for row in read_rows(place.beside("generate") / "answers.jsonl")}
    return Content(
        metrics=tuple(found),
        parent_metrics=_essential(found),
        datasets=data(f"answers of {place.title}", file, "repaired"),
        tables={"tables/repairs.json": repairs_table(repaired, known, originals)},
        files=_existing(
            {"data/answers.jsonl": file, "data/verdicts.jsonl": place.folder / "verdicts.jsonl"}
        ),
    )


def _essential(found: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(point for point in found if essential(point))


def _rank(run: RunFolder, place: Place) -> Content:
    del run
    file = place.folder / "pairs.jsonl"
    summary = read_object(place.folder / "summary.json")
    counts: dict[str, object] = {
        "pairs/total": summary.get("pairs"),
        "pairs/tasks": summary.get("tasks"),
    }
    for name, value in (summary.get("by_source") or {}).items():
        counts[f"pairs/from_{name}"] = value
    for name, value in (summary.get("dropped") or {}).items():
        counts[f"pairs/dropped_{name}"] = value
    found = tuple(points(counts, place.round))
    return Content(
        metrics=found,
        parent_metrics=found,
        datasets=data(f"pairs of {place.title}", file, "pairs"),
        tables={"tables/pairs.json": pairs_table(read_rows(file))},
        files=_existing(
            {"data/pairs.jsonl": file, "data/summary.json": place.folder / "summary.json"}
        ),
    )


def _train(run: RunFolder, place: Place) -> Content:
    curves = read_rows(place.folder / "curves.jsonl")
    summary = read_object(place.folder / "summary.json")
    found = [
        Point(f"training/{key}", value, int(row.get("step", number_of)))
        for number_of, row in enumerate(curves, start=1)
        for key, raw in row.items()
        if key not in ("step", "epoch") and (value := number(raw)) is not None
    ]
    last = curves[-1] if curves else {}
    final = {
        **last,
        **(summary.get("final") or {}),
        **{k: summary.get(k) for k in ("pairs", "steps")},
    }
    end = {
        f"training/final_{key}": value
        for key, value in final.items()
        if key not in ("step", "epoch")
    }
    adapter = place.folder / "adapter"
    pairs = place.beside("rank") / "pairs.jsonl"
    return Content(
        metrics=tuple(found),
        parent_metrics=tuple(points(end, place.round)),
        datasets=data(f"pairs of {place.title.replace('train', 'rank')}", pairs, "training"),
        files=_existing(
            {
                "data/curves.jsonl": place.folder / "curves.jsonl",
                "data/summary.json": place.folder / "summary.json",
            }
        ),
        adapter=_adapter(run, place, adapter) if adapter.is_dir() else None,
    )


def _adapter(run: RunFolder, place: Place, folder: Path) -> Adapter:
    outputs = place.manifest.get("outputs") or {}
    return Adapter(
        folder,
        str(outputs.get(_WEIGHTS, "")),
        {
            "base_model": str(run.setting("model", "name", DEFAULT_MODEL)),
            "prompt": str(run.setting("tasks", "prompt", "observed")),
            "vocabulary": str(run.setting("tasks", "vocabulary", "driving")),
            "semantics": str(run.setting("tasks", "semantics", "")),
            "method": str(run.setting("train", "method", "")),
            "round": str(place.round),
        }
        | ({"variant": place.variant} if place.variant else {}),
    )


def _select(run: RunFolder, place: Place) -> Content:
    del run
    selection = read_object(place.folder / "selection.json")
    gate = selection.get("gate") or {}
    rows = [
        {
            "candidate": one.get("name"),
            "champion": one.get("name") == selection.get("champion"),
            **{
                key.replace("_", " "): percent(value) if isinstance(value, Mapping) else value
                for key, value in one.items()
                if key != "name"
                and (isinstance(value, Mapping | str | int | float) or value is None)
            },
        }
        for one in selection.get("candidates") or ()
    ]
    tags = {
        "champion": str(selection.get("champion")),
        "gate": "passed" if gate.get("passed") else "failed",
        "gate_reasons": "; ".join(str(reason) for reason in gate.get("reasons") or ()),
    }
    return Content(
        tags=tags,
        parent_tags=tags,
        tables={"tables/candidates.json": Table.of(rows)} if rows else {},
        files=_existing({"selection.json": place.folder / "selection.json"}),
    )


def _existing(files: Mapping[str, Path]) -> dict[str, Path]:
    return {name: file for name, file in files.items() if file.is_file()}


_PROJECTIONS: dict[str, Callable[[RunFolder, Place], Content]] = {
    "generate": _generate,
    "verify": _verify,
    "repair": _repair,
    "rank": _rank,
    "train": _train,
    "evaluate": evaluate,
    "select": _select,
    "quantize": quantize,
}
