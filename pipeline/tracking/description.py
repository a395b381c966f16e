"""The text on top of a run's page in MLflow: its result in a few lines of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.quantized.size import size_of
from pipeline.tracking.evaluation import shown_split
from pipeline.tracking.layout import Place
from pipeline.tracking.rows import read_object
from pipeline.tracking.scores import percent

_TITLES = {
    "strict_success": "strict success",
    "paper_score": "paper score",
    "parse_rate": "readable",
}


def describe(places: Sequence[Place]) -> str:
    """Scores on held-out tasks, round by round and for every variant, and what was selected.

    Empty as long as nothing has been evaluated.
    """
    rows = list(_rows([place for place in places if place.stage == "evaluate"]))
    if not rows:
        return ""
    head = f"| {' | '.join(('model', *_TITLES.values()))} |"
    lines = [
        *_selected(places),
        *_quantized(places),
        head,
        "|---|" + "---|" * len(_TITLES),
        *rows,
        "",
    ]
    lines.append("Held-out tasks, 95 % intervals. The whole report: artefact `report/index.html`.")
    return "\n".join(lines)


def _rows(places: Sequence[Place]) -> Iterator[str]:
    for place in places:
        splits: dict[str, Any] = read_object(place.folder / "summary.json").get("splits") or {}
        scores = splits.get(shown_split(splits)) or {}
        cells = [percent(scores.get(name)) for name in _TITLES]
        yield f"| {' | '.join([_title(place), *cells])} |"


def _title(place: Place) -> str:
    if place.variant:
        return f"variant {place.variant}"
    return f"round {place.round}" if place.round else "base"


def _selected(places: Sequence[Place]) -> list[str]:
    select = next((place for place in places if place.stage == "select"), None)
    if select is None:
        return []
    selection = read_object(select.folder / "selection.json")
    gate = selection.get("gate") or {}
    reasons = "; ".join(str(reason) for reason in gate.get("reasons") or ())
    passed = "passed" if gate.get("passed") else "failed"
    said = f"Selected: **{selection.get('champion')}**. Gate **{passed}**"
    return [f"{said}: {reasons}." if reasons else f"{said}.", ""]


def _quantized(places: Sequence[Place]) -> list[str]:
    place = next((place for place in places if place.stage == "quantize"), None)
    if place is None:
        return []
    said = read_object(place.folder / "summary.json")
    before, after = (said["models"][name]["all"] for name in ("bf16", said["kept"]))
    passed = "passed" if said["gate"]["passed"] else "failed"
    rates = " → ".join(percent(scores["strict_success"]) for scores in (before, after))
    bits = f"{size_of(said, said['kept'])[1]:.2f} bits per weight"
    return [f"Quantized ({said['method']}, {bits}): strict success {rates}. Gate **{passed}**.", ""]
