"""The quantized champion: what it logs, and its version in the model registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.quantized.size import size_of
from pipeline.tracking.content import Checkpoint, Content, Point, Table
from pipeline.tracking.flavour import QUANTIZED
from pipeline.tracking.layout import Place, RunFolder
from pipeline.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    DECIDED,
    ensure,
    find_version,
    give_alias,
    link,
    read_selection,
    semantics_of,
    worse_than,
)
from pipeline.tracking.rows import answers_table, data, read_object, read_rows
from pipeline.tracking.scores import number, percent, points, rate_points, summary_points
from pipeline.tracking.store import RUN, Store

_WEIGHTS = "quantized/model.safetensors"
_RATES = ("strict_success", "paper_score", "parse_rate")


def quantize(run: RunFolder, place: Place) -> Content:
    """Scores before and after, what changed, and the checkpoint."""
    summary = read_object(place.folder / "summary.json")
    models: Mapping[str, Mapping[str, Any]] = summary["models"]
    gate, step = summary["gate"], place.round
    size, bits = size_of(summary, summary["kept"])
    changed = summary["compared"][_after(summary)]
    found: list[Point] = []
    for name, one in models.items():
        found += summary_points(name, one["all"], step)
        found += points({f"{name}/perplexity": one["perplexity"]["neutral"]}, step)
        for split, scores in one["splits"].items():
            found += rate_points(
                f"{name}_{split}", "strict_success", scores["strict_success"], step
            )
    shown = points(
        {
            f"{QUANTIZED}/change_of_strict_success": changed["strict_success"]["value"],
            f"{QUANTIZED}/bits_per_weight": bits,
            f"{QUANTIZED}/megabytes": size / 1e6,
            f"{QUANTIZED}/drift_per_token": changed["drift"]["per_token"],
            f"{QUANTIZED}/same_choice": changed["drift"]["same_choice"],
        },
        step,
    )
    bounds = {
        f"interval/{QUANTIZED}/change_of_strict_success_{end}": changed["strict_success"][end]
        for end in ("low", "high")
    }
    curves = ("strict_success", "paper_score", "perplexity")
    wanted = {f"{name}/{key}" for name in models for key in curves}
    passed = "passed" if gate["passed"] else "failed"
    answers = read_rows(place.folder / "answers.jsonl")
    return Content(
        tags={"gate": passed, "gate_reasons": "; ".join(gate["reasons"]), "kept": summary["kept"]},
        parent_tags={"quantized_gate": passed, "quantized_method": _method(summary)},
        metrics=(*found, *shown, *points(bounds, step)),
        parent_metrics=(*(point for point in found if point.key in wanted), *shown),
        datasets=data(f"answers of {place.title}", place.folder / "answers.jsonl", "evaluation"),
        tables={
            "tables/models.json": Table.of(
                [_row(name, one, summary) for name, one in models.items()]
            ),
            "tables/answers.json": answers_table(answers, {}),
        },
        files={"data/summary.json": place.folder / "summary.json"},
        checkpoint=_checkpoint(run, place, summary),
    )


def register_quantized(store: Store, run: RunFolder, place: Place) -> str:
    """Register the quantized champion and decide, once, which alias points to it; the version.

    ``champion-int4`` moves only if the gate of ``quantize`` and that of ``select`` were passed, and
    never to a version that is worse than the present one on the same measure; otherwise
    ``challenger-int4`` moves.
    """
    summary = read_object(place.folder / "summary.json")
    logged = store.find(run.key, place.path)
    models = store.models(logged.info.run_id) if logged is not None else ()
    if logged is None or not models:
        raise LookupError(f"{place.path} has not been logged")
    name = str(run.setting("tracking", "registered_model", "specdrive-controller"))
    tags = _tags(run, place, summary)
    version = find_version(store, name, tags, (RUN, "selection", "checkpoint_sha256"))
    if version is None:
        ensure(store, name)
        version = store.client.create_model_version(
            name,
            source=store.source(models[0]),
            run_id=logged.info.run_id,
            tags=tags,
            model_id=models[0].model_id,
            description=_description(run, summary),
            await_creation_for=30,
        )
    link(store, models[0], name, version.version)
    if DECIDED not in version.tags:
        alias, why = _alias(store, name, run, summary, tags)
        give_alias(store, name, version.version, alias, why)
    return str(version.version)


def _alias(
    store: Store,
    name: str,
    run: RunFolder,
    summary: Mapping[str, Any],
    tags: Mapping[str, str],
) -> tuple[str, str]:
    """The alias that the version deserves, and why."""
    champion, challenger = (f"{who}-int{summary['bits']}" for who in (CHAMPION, CHALLENGER))
    if not summary["gate"]["passed"]:
        return challenger, "; ".join(summary["gate"]["reasons"])
    if not read_selection(run.folder / "select").passed:
        return challenger, "the champion itself did not pass its gate"
    same = ("tasks", "task_limit", "metric", "split", "samples")
    against = worse_than(store, name, champion, tags, same)
    return (challenger, against) if against else (champion, "the gate was passed")


def _tags(run: RunFolder, place: Place, summary: Mapping[str, Any]) -> dict[str, str]:
    kept = summary["models"][summary["kept"]]["all"]
    limits = [run.setting(section, "limit") for section in ("tasks", "quantize")]
    scores = {key: number(kept[key]["value"]) for key in _RATES}
    return {
        RUN: run.key,
        "run": run.name,
        "selected": str(summary["champion"]),
        QUANTIZED: "true",
        "method": str(summary["method"]),
        "bits": str(summary["bits"]),
        "group": str(summary["group"]),
        "bits_per_weight": f"{size_of(summary, summary['kept'])[1]:.4g}",
        "base_model": str(run.setting("model", "name", "")),
        "semantics": semantics_of(run),
        "tasks": str(run.setting("tasks", "bank", "driving")),
        "task_limit": str(min((limit for limit in limits if limit is not None), default="none")),
        "metric": "strict_success",
        "split": ", ".join(summary["models"][summary["kept"]]["splits"]),
        "samples": f"{summary['samples']} of seeds {summary['seeds']}",
        "config_hash": str(run.description.get("config_hash", "")),
        "checkpoint_sha256": _sha256(place),
        "selection": place.hash,
        "gate": "passed" if summary["gate"]["passed"] else "failed",
    } | {key: f"{value:.6g}" for key, value in scores.items() if value is not None}


def _checkpoint(run: RunFolder, place: Place, summary: Mapping[str, Any]) -> Checkpoint:
    adapter = place.folder / "adapter"
    return Checkpoint(
        place.folder / "quantized",
        adapter if adapter.is_dir() else None,
        _sha256(place),
        {
            QUANTIZED: str(summary["method"]),
            "bits": str(summary["bits"]),
            "group": str(summary["group"]),
            "base_model": str(run.setting("model", "name", "")),
            "prompt": str(run.setting("tasks", "prompt", "observed")),
            "vocabulary": str(run.setting("tasks", "vocabulary", "driving")),
            "semantics": str(run.setting("tasks", "semantics", "")),
            "selected": str(summary["champion"]),
        },
    )


def _sha256(place: Place) -> str:
    return str((place.manifest.get("outputs") or {}).get(_WEIGHTS, ""))


def _after(summary: Mapping[str, Any]) -> str:
    """The model that the comparison is about: the one that is kept."""
    kept = str(summary["kept"])
    return kept if kept in summary["compared"] else next(iter(summary["compared"]))


def _row(name: str, one: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    size, bits = size_of(summary, name)
    return {
        "weights": name,
        "kept": name == summary["kept"],
        **{key.replace("_", " "): percent(one["all"][key]) for key in _RATES},
        "perplexity": round(float(one["perplexity"]["neutral"]), 3),
        "megabytes": round(size / 1e6, 1),
        "bits per weight": round(bits, 2),
    }


def _method(summary: Mapping[str, Any]) -> str:
    return f"{summary['method']}, {summary['bits']} bits, groups of {summary['group']}"


def _description(run: RunFolder, summary: Mapping[str, Any]) -> str:
    gate = summary["gate"]
    said = "passed" if gate["passed"] else f"failed: {'; '.join(gate['reasons'])}"
    rows = [
        f"* {name}: strict success {percent(one['all']['strict_success'])}, "
        f"perplexity {one['perplexity']['neutral']:.3f}"
        for name, one in summary["models"].items()
    ]
    head = (
        f"{summary['champion']} of the run {run.name}, quantized ({_method(summary)}). Gate {said}."
    )
    return "\n".join([head, "", "The same prompts and seeds, with 95 % intervals:", "", *rows])
