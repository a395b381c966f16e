"""A trained model as an MLflow model: ``mlflow.pyfunc.load_model`` makes it answer tasks.

Of an adapter the logged model holds the adapter alone; the base is loaded as everywhere else, by
its name. A quantized model is held as a whole, with the adapter that runs beside it, if any.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

FLAVOUR = "specdrive"
QUANTIZED = "quantized"
"""The parameter that says that the logged model is a quantized checkpoint, and by which method."""
ADAPTER = "adapter"
"""Folder of the adapter within a quantized model's."""

_INPUTS = ("prompt", "world")
_PARAMETERS = (
    ("temperature", "double", 0.0),
    ("top_p", "double", 1.0),
    ("max_new_tokens", "long", 160),
    ("seed", "long", 0),
)
"""What may be set when it answers, with types and defaults: the fields of `Sampling`, by default
the most probable tokens."""


def describe_model(
    name: str, model_id: str, run_id: str, created: str, parameters: Mapping[str, str]
) -> str:
    """The file ``MLmodel``, which is all that MLflow needs to know of a model.

    Args:
        name: Of the logged model.
        model_id, run_id: MLflow's.
        created: ISO 8601.
        parameters: What `Writer` needs (``base_model``, ``prompt``, ``vocabulary``) and whatever
            else describes the model; `QUANTIZED` if it is a checkpoint.
    """
    columns = [{"type": "string", "name": column, "required": True} for column in _INPUTS]
    described: dict[str, Any] = {
        "artifact_path": name,
        "flavors": {
            FLAVOUR: dict(parameters),
            "python_function": {
                "loader_module": __name__,
                "data": ".",
                "python_version": platform.python_version(),
            },
        },
        "model_id": model_id,
        "run_id": run_id,
        "signature": {
            "inputs": json.dumps(columns),
            "outputs": json.dumps([{"type": "string", "name": "answer", "required": True}]),
            "params": json.dumps(
                [
                    {"name": name, "type": kind, "default": default, "shape": None}
                    for name, kind, default in _PARAMETERS
                ]
            ),
        },
        "utc_time_created": created,
    }
    return yaml.safe_dump(described, sort_keys=True)


@dataclass(frozen=True)
class Writer:
    """A base model with an adapter that writes controllers for tasks.

    Attributes:
        adapter: Folder in peft's format, if there is one.
        base_model: As `pipeline.models.load_model` takes it.
        prompt: Name or file of the prompt's template.
        vocabulary: Name or file of the vocabulary.
    """

    adapter: Path | None
    base_model: str
    prompt: str
    vocabulary: str

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> list[str]:
        """One answer for each row: numbered steps, to be verified like any other.

        Args:
            model_input: A data frame, or mappings, with ``prompt`` (what to do, in words) and
                ``world`` (a shipped one, or a file).
            params: Fields of `pipeline.generation.Sampling`; see `_PARAMETERS` for the defaults.

        Raises:
            InputError: The base model, a world, the template or the vocabulary cannot be loaded.
        """
        from pipeline.generation import Sampling, generate
        from pipeline.prompts import Scene, load_template, render
        from pipeline.tasks import allowed_actions
        from verifier.vocabulary import load_vocabulary
        from worlds.load import load_world

        words, template = load_vocabulary(self.vocabulary), load_template(self.prompt)
        prompts = [
            render(
                template,
                task=str(number),
                scene=Scene(
                    prompt=str(row["prompt"]),
                    action=None,
                    propositions=load_world(str(row["world"]), words).propositions,
                    actions=allowed_actions(str(row["world"]), words),
                ),
                vocabulary=words,
            )
            for number, row in enumerate(_rows(model_input))
        ]
        settings: dict[str, Any] = {name: default for name, _, default in _PARAMETERS}
        sampling = Sampling(**(settings | dict(params or {})))
        return [answer.text for answer in generate(self._model, prompts, 1, sampling)]

    @cached_property
    def _model(self) -> Any:
        from pipeline.models import load_model

        return load_model(self.base_model, adapter=self.adapter)


def _load_pyfunc(path: str) -> Writer:
    """Called by ``mlflow.pyfunc.load_model`` with the folder of the logged model."""
    folder = Path(path)
    described = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    said = described["flavors"][FLAVOUR]
    if QUANTIZED in said:
        beside = folder / ADAPTER if (folder / ADAPTER).is_dir() else None
        return Writer(beside, str(folder), said["prompt"], said["vocabulary"])
    return Writer(folder, said["base_model"], said["prompt"], said["vocabulary"])


def _rows(model_input: Any) -> Iterable[Mapping[str, Any]]:
    if hasattr(model_input, "to_dict"):
        return model_input.to_dict("records")
    return [model_input] if isinstance(model_input, Mapping) else model_input
