"""The model registry: the selected adapter becomes a version, and the gate moves the alias."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking.layout import Place, RunFolder
from pipeline.tracking.rows import read_object
from pipeline.tracking.scores import number, percent
from pipeline.tracking.store import RUN, VERSIONS, Store
from verifier.errors import InputError
from verifier.semantics import load_semantics

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
DECIDED = "alias_given"
"""Tag of a version: the alias that it was given once."""


@dataclass(frozen=True)
class Selected:
    """What ``select`` chose.

    Attributes:
        name: ``round-02``.
        passed: Whether the gate was passed.
        reasons: Why not.
        scores: Of the selected candidate.
    """

    name: str
    passed: bool
    reasons: tuple[str, ...]
    scores: Mapping[str, Any]


def read_selection(folder: Path) -> Selected:
    """The selection in the folder of a finished ``select`` stage."""
    said = read_object(folder / "selection.json")
    gate = said.get("gate") or {}
    name = str(said.get("champion"))
    scores = next((one for one in said.get("candidates") or () if one.get("name") == name), {})
    reasons = tuple(str(reason) for reason in gate.get("reasons") or ())
    return Selected(name, gate.get("passed") is True, reasons, scores)


def register(store: Store, run: RunFolder, place: Place) -> str | None:
    """Register the selected adapter and decide, once, which alias points to it.

    ``champion`` moves only if the gate was passed, and never to a version that is worse than the
    present one on the same measure, nor to one that was judged under another semantics profile;
    otherwise ``challenger`` moves.

    Returns:
        The version, or None if the base model was selected, which needs no adapter.
    """
    selected = read_selection(place.folder)
    trained = next(
        (
            found
            for path in (f"{selected.name}/train", f"variants/{selected.name}/train")
            if (found := store.find(run.key, path)) is not None
        ),
        None,
    )
    models = store.models(trained.info.run_id) if trained is not None else ()
    if trained is None or not models:
        return None
    name = str(run.setting("tracking", "registered_model", "specdrive-controller"))
    tags = _tags(run, place, selected, models[0].tags.get("adapter_sha256", ""))
    version = find_version(store, name, tags, (RUN, "selection", "adapter_sha256"))
    if version is None:
        ensure(store, name)
        version = store.client.create_model_version(
            name,
            source=store.source(models[0]),
            run_id=trained.info.run_id,
            tags=tags,
            model_id=models[0].model_id,
            description=_description(run, selected),
            await_creation_for=30,
        )
    link(store, models[0], name, version.version)
    if DECIDED not in version.tags:
        give_alias(store, name, version.version, *_alias(store, name, selected, tags))
    return str(version.version)


def give_alias(store: Store, name: str, version: str, alias: str, why: str) -> None:
    """Point an alias to a version; why, and that it is decided, are its tags."""
    store.client.set_registered_model_alias(name, alias, version)
    store.client.set_model_version_tag(name, version, "alias_reason", why)
    store.client.set_model_version_tag(name, version, DECIDED, alias)


def link(store: Store, model: LoggedModel, name: str, version: str) -> None:
    """Let the logged model's page show its version, as ``mlflow.register_model`` does."""
    shown = json.loads(model.tags.get(VERSIONS, "[]"))
    entry = {"name": name, "version": int(version)}
    if entry not in shown:
        store.client.set_logged_model_tags(model.model_id, {VERSIONS: json.dumps([*shown, entry])})


def _tags(run: RunFolder, place: Place, selected: Selected, adapter: str) -> dict[str, str]:
    tags = {
        RUN: run.key,
        "run": run.name,
        "selected": selected.name,
        "base_model": str(run.setting("model", "name", "")),
        "semantics": semantics_of(run),
        "tasks": str(run.setting("tasks", "bank", "driving")),
        "task_limit": _limit(run),
        "metric": str(run.setting("select", "metric", "strict_success")),
        "split": str(run.setting("select", "split", "validation")),
        "config_hash": str(run.description.get("config_hash", "")),
        "adapter_sha256": adapter,
        "selection": place.hash,
        "gate": "passed" if selected.passed else "failed",
    }
    for key, value in selected.scores.items():
        rate = number(value.get("value")) if isinstance(value, Mapping) else None
        if rate is not None:
            tags[key] = f"{rate:.6g}"
    return tags


def semantics_of(run: RunFolder) -> str:
    """The whole profile, as it is stored with every score."""
    name = str(run.setting("tasks", "semantics", "default"))
    try:
        return json.dumps(load_semantics(name).to_json())
    except InputError:
        return name


def _limit(run: RunFolder) -> str:
    """How many tasks per split were asked; scores on other tasks are not compared."""
    limits = [run.setting(section, "limit") for section in ("tasks", "evaluate")]
    return str(min((limit for limit in limits if limit is not None), default="none"))


def _description(run: RunFolder, selected: Selected) -> str:
    gate = "passed" if selected.passed else f"failed: {'; '.join(selected.reasons)}"
    lines = [
        f"* {key.replace('_', ' ')}: {percent(value)}"
        for key, value in selected.scores.items()
        if isinstance(value, Mapping)
    ]
    split = run.setting("select", "split", "validation")
    head = f"The adapter of {selected.name} of the run {run.name}. Gate {gate}."
    return "\n".join([head, "", f"On the split {split}, with 95 % intervals:", "", *lines])


def find_version(
    store: Store, name: str, tags: Mapping[str, str], keys: Sequence[str]
) -> ModelVersion | None:
    """The version that was made for the same thing before, if there is one."""
    for version in store.client.search_model_versions(f"name = '{name}'"):
        if all(version.tags.get(key) == tags[key] for key in keys):
            return version
    return None


def ensure(store: Store, name: str) -> None:
    """Make a registered model, unless it is there."""
    try:
        store.client.create_registered_model(
            name, description="Adapters that write driving controllers; verified by specdrive."
        )
    except Exception as error:
        if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
            raise


def _alias(store: Store, name: str, selected: Selected, tags: Mapping[str, str]) -> tuple[str, str]:
    """The alias that the version deserves, and why."""
    if not selected.passed:
        return CHALLENGER, "; ".join(selected.reasons) or "the gate was not passed"
    same = ("tasks", "task_limit", "metric", "split")
    against = worse_than(store, name, CHAMPION, tags, same)
    return (CHALLENGER, against) if against else (CHAMPION, "the gate was passed")


def worse_than(
    store: Store, name: str, alias: str, tags: Mapping[str, str], same: Sequence[str]
) -> str | None:
    """Why a version must not take an alias from the present holder; None if it may.

    Args:
        store: Where.
        name: Of the registered model.
        alias: To be taken.
        tags: Of the version.
        same: Tags that must agree for scores to be compared.
    """
    present = _present(store, name, alias)
    if present is None:
        return None
    if present.tags.get("semantics") != tags["semantics"]:
        return "the champion was judged under another semantics profile"
    if all(present.tags.get(key) == tags[key] for key in same):
        measure = tags["metric"]
        before, now = (float(t.get(measure, "nan")) for t in (present.tags, tags))
        if now < before:
            return f"{measure} {now:.4g} is below the champion's {before:.4g}"
    return None


def _present(store: Store, name: str, alias: str) -> ModelVersion | None:
    try:
        return store.client.get_model_version_by_alias(name, alias)
    except Exception as error:
        if getattr(error, "error_code", None) in {
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        }:
            return None
        raise
