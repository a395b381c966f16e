"""What a run depends on outside its folder: contents of named files, versions, the machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.config import RunConfig, config_hash
from pipeline.models import load_model
from pipeline.prompts import load_template
from pipeline.tasks import load_tasks
from verifier.rules import load_rules
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from worlds.load import load_world

_PACKAGES = ("specdrive", "torch", "transformers", "trl", "peft", "spottl")
RULE_BOOKS = ("road", "paper")


def outside_inputs(config: RunConfig) -> dict[str, str]:
    """Section -> hash of the files that it names: the model's weights; tasks, worlds and so on.

    A file that is edited between two attempts then counts as a change, as it should.

    Raises:
        InputError: One of them cannot be read; nothing has been started yet.
    """
    return {"model": _model_content(config.model.name), "tasks": _tasks_content(config)}


@cache
def _model_content(name: str) -> str:
    # On no particular device: results move between machines with their run.
    return load_model(name, device="cpu", dtype="float32", engine="transformers").hash


def _tasks_content(config: RunConfig) -> str:
    words = load_vocabulary(config.tasks.vocabulary)
    tasks = load_tasks(config.tasks.bank, words)
    template = load_template(config.tasks.prompt)
    worlds = {task.world: "" for task in tasks}
    content = {
        "tasks": [[t.id, t.prompt, t.world, t.action, t.split, t.wording] for t in tasks],
        "worlds": {name: load_world(name, words).hash for name in worlds},
        "template": hashlib.sha256(repr(template).encode()).hexdigest(),
        "semantics": load_semantics(config.tasks.semantics).to_json(),
        "vocabulary": hashlib.sha256(repr(words).encode()).hexdigest(),
        "rules": {name: load_rules(name, words).hash for name in RULE_BOOKS},
    }
    return config_hash(json.loads(json.dumps(content)))


@cache
def versions() -> dict[str, str]:
    """Of Python and the installed packages that results may depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def host(device: str) -> dict[str, Any]:
    """Number of usable cores, and the device by its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": cores, "device": _device_name(device)}


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None or not torch.cuda.is_available():
        return "cpu"
    return torch.cuda.get_device_name(None if device == "auto" else torch.device(device))
