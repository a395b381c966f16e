"""Configuration of a run: what it consists of, checked before anything starts.

A configuration is a YAML file of sections (`RunConfig`); what it leaves out takes the defaults
given here. Single values are overridden by ``section.key=value``, the value written as in YAML.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.models import DEFAULT_MODEL
from verifier.errors import InputError
from verifier.yaml_files import load_mapping

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Split = Literal["train", "validation", "test"]
Source = Literal["samples", "symbolic_repair", "model_repair"]
Order = Literal["road", "paper_count", "weighted"]

_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
_Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]

VARIANT_SECTIONS = ("rank", "train", "evaluate")
"""What a variant may set: it branches off after repair, so nothing earlier can differ."""

CONFIG_FILE = "config.yaml"
"""Name of the resolved configuration in a run's folder."""

_SHIPPED = Path(__file__).parent.parent / "configs"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(_Section):
    """The language model that learns."""

    name: str = Field(default=DEFAULT_MODEL, description="smollm2, a local folder or a hub id")
    device: str = Field(default="auto", description="auto takes a CUDA GPU when there is one")
    dtype: Dtype = Field(
        default="auto", description="of the weights: bfloat16 on a GPU, else float32"
    )


class PracticeConfig(_Section):
    """Generated worlds to practise in, one entry per round."""

    worlds: _Count = Field(default=0, description="how many worlds")
    propositions: tuple[_Positive, _Positive] = Field(
        default=(2, 3), description="fewest and most propositions of a world"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.propositions[0] > self.propositions[1]:
            raise ValueError("propositions must be [fewest, most]")
        return self


class TasksConfig(_Section):
    """What is asked, how it is asked, and how answers are read and judged."""

    bank: str = Field(default="driving", description="a shipped bank's name or a .yaml file")
    prompt: str = Field(default="observed", description="a prompt template's name or a .yaml file")
    semantics: str = Field(default="default", description="a semantics profile: name or .yaml file")
    vocabulary: str = Field(default="driving", description="the domain's words: name or .yaml file")
    practice: tuple[PracticeConfig, ...] = Field(
        default=(), description="practice worlds of round 1, 2, ...; the last entry holds on"
    )
    limit: _Positive | None = Field(default=None, description="only the first tasks of every split")


class GenerateConfig(_Section):
    """Sampling of answers to learn from."""

    samples: _Count = Field(default=8, description="free answers per task")
    constrained_samples: _Count = Field(
        default=4, description="answers within the grammar per task"
    )
    temperature: _Temperature = Field(default=0.8, description="0 takes the most probable token")
    top_p: float = Field(default=1.0, gt=0, le=1, description="share of probability that is kept")
    max_new_tokens: _Positive = Field(default=120, description="limit per answer")
    chunk: _Positive = Field(
        default=64, description="answers per batch, and between two saved states"
    )
    extra_samples: _Count = Field(
        default=8, description="more answers to tasks where none succeeded"
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.samples + self.constrained_samples == 0:
            raise ValueError("samples and constrained_samples cannot both be 0")
        return self


class RepairConfig(_Section):
    """Better answers made from those that failed, guided by counterexamples."""

    symbolic: bool = Field(
        default=True, description="smallest edits of steps that mend the controller"
    )
    model: bool = Field(
        default=True, description="the model answers again, shown its counterexample"
    )
    max_edits: _Positive = Field(default=6, description="edits of one answer")
    per_task: _Positive = Field(default=4, description="failed answers per task that are edited")
    asked_per_task: _Positive = Field(
        default=1, description="failed answers per task that the model is shown: long prompts"
    )


class RankConfig(_Section):
    """Which of two answers is preferred, and which pairs are kept."""

    order: Order = Field(default="road", description="the partial order, or a count for comparison")
    sources: tuple[Source, ...] = Field(
        default=("samples", "symbolic_repair", "model_repair"),
        description="where answers come from",
    )
    margin: _Finite = Field(default=0.0, description="pairs that differ by no more are dropped")
    pairs_per_task: _Positive = Field(default=12, description="limit per task")
    successes_only: bool = Field(
        default=False, description="only pairs whose chosen answer succeeds"
    )


class LoraConfig(_Section):
    """The low-rank adapter."""

    rank: _Positive = Field(default=16, description="rank of every update")
    alpha: _Positive = Field(default=32, description="updates are scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        description="names of the layers that are adapted",
        min_length=1,
    )


class TrainConfig(_Section):
    """Training on a round's pairs; the reference is the round's starting model."""

    method: Literal["dpo", "sft"] = Field(
        default="dpo", description="sft learns the chosen answers only"
    )
    loss: Literal["sigmoid", "ipo"] = Field(default="sigmoid", description="of preferences")
    beta: float = Field(
        default=0.1, gt=0, allow_inf_nan=False, description="pull towards the reference"
    )
    sft_weight: _Finite = Field(
        default=0.5, description="weight of the likelihood of chosen answers"
    )
    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    epochs: _Positive = Field(default=2, description="passes over the pairs")
    pairs_per_step: _Positive = Field(default=16, description="pairs per update of the weights")
    pairs_per_prompt: _Positive = Field(
        default=4, description="of them, at most so many of one prompt: more share more work"
    )
    warmup: _Share = Field(default=0.1, description="share of the steps in which the rate rises")
    lora: LoraConfig = LoraConfig()
    dtype: Dtype = Field(default="auto", description="of the computation")
    checkpoint_every: _Positive = Field(default=20, description="steps between two saved states")
    max_steps: _Positive | None = Field(default=None, description="stop after so many steps")
    gradient_checkpointing: bool = Field(default=False, description="less memory, more time")


class EvaluateConfig(_Section):
    """Scores of a round's model on tasks."""

    splits: tuple[Split, ...] = Field(default=("train", "validation", "test"), min_length=1)
    samples: _Positive = Field(default=4, description="answers per task and seed")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="of sampling")
    temperature: _Temperature = Field(default=0.5, description="0 takes the most probable token")
    max_new_tokens: _Positive = Field(default=120, description="limit per answer")
    limit: _Positive | None = Field(default=None, description="only the first tasks of every split")
    robustness: bool = Field(
        default=True, description="also paraphrased tasks and renamed propositions"
    )
    perplexity: bool = Field(default=True, description="also on neutral text")
    every_round: bool = Field(default=True, description="not only the base and the last round")


class GateConfig(_Section):
    """What the champion must have achieved over the base to be promoted."""

    min_gain: _Share = Field(default=0.0, description="least gain of strict success")
    regressions: bool = Field(default=True, description="no rule may get worse beyond its interval")


class SelectConfig(_Section):
    """The choice of the best round."""

    metric: Literal["strict_success", "paper_score"] = "strict_success"
    split: Split = Field(default="validation", description="on which rounds are compared")
    gate: GateConfig = GateConfig()


class TrackingConfig(_Section):
    """The record of the run in MLflow."""

    enabled: bool = True
    uri: str | None = Field(default=None, description="MLFLOW_TRACKING_URI, else a local database")
    experiment: str = "specdrive"
    registered_model: str = "specdrive-controller"


class VariantConfig(_Section):
    """An ablation: what differs from the run, from round 1's ranking on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="lower-case, for a folder")
    set: dict[str, Any] = Field(min_length=1, description="section.key: value")


class RunConfig(_Section):
    """A run."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of everything random")
    rounds: _Count = Field(
        default=3, description="of generate, verify, repair, rank, train, evaluate"
    )
    workers: _Count = Field(default=1, description="stages at once, in processes of their own")
    model: ModelConfig = ModelConfig()
    tasks: TasksConfig = TasksConfig()
    generate: GenerateConfig = GenerateConfig()
    repair: RepairConfig = RepairConfig()
    rank: RankConfig = RankConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    select: SelectConfig = SelectConfig()
    tracking: TrackingConfig = TrackingConfig()
    variants: tuple[VariantConfig, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [variant.name for variant in self.variants]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two variants are called {twice!r}")
        if self.variants and self.rounds == 0:
            raise ValueError("variants need at least one round")
        if self.select.split not in self.evaluate.splits:
            raise ValueError(f"select.split {self.select.split!r} is not in evaluate.splits")
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order of the fields."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The text of a configuration file with every value written out."""
        return yaml.safe_dump(self.to_json(), sort_keys=False, allow_unicode=True)

    def sections(self, names: Iterable[str]) -> dict[str, Any]:
        """Only these top-level keys, as plain values."""
        values = self.to_json()
        return {name: values[name] for name in names}

    @property
    def hash(self) -> str:
        """``sha256:...`` of the whole configuration."""
        return config_hash(self.to_json())

    def variant(self, variant: VariantConfig) -> RunConfig:
        """The configuration of an ablation: its values set, no rounds or variants of its own.

        Raises:
            InputError: It sets something unknown, invalid or earlier than ranking.
        """
        place = f"variant {variant.name!r}"
        values = self.to_json() | {"variants": []}
        for key, value in variant.set.items():
            if key.split(".")[0] not in VARIANT_SECTIONS:
                raise InputError(
                    f"a variant cannot set {key!r}",
                    place=place,
                    remedy=f"it branches off after repair: set {', '.join(VARIANT_SECTIONS)}",
                )
            _assign(values, key, value, place)
        return _validated(values, None, dict.fromkeys(variant.set, place))


def config_hash(values: Mapping[str, Any]) -> str:
    """``sha256:...`` of plain values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def shipped_configs() -> tuple[str, ...]:
    """Names of the configurations that come with the package."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.yaml")))


def load_config(path_or_name: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a file, of a finished or started run, or shipped under a name.

    Args:
        path_or_name: A .yaml file, a run's folder, or one of `shipped_configs`.
        overrides: ``section.key=value`` each, the value written as in YAML; later ones win.

    Raises:
        InputError: No such configuration; a key that does not exist (the nearest one is named)
            or a value that is not allowed, in the file or in an override.
    """
    path = _locate(path_or_name)
    values: dict[str, Any] = {"name": path.stem, **load_mapping(path)}
    sources: dict[str, str] = {}
    for override in overrides:
        key, value = _parse_override(override)
        _assign(values, key, value, f"--set {override}")
        sources[key] = f"--set {override}"
    config = _validated(values, path, sources)
    for variant in config.variants:  # those of a file should fail now and not hours later
        try:
            config.variant(variant)
        except InputError as error:
            raise error.located(path) from None
    return config


def _locate(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_dir():
        return path / CONFIG_FILE
    if path.exists() or (path.suffix in {".yaml", ".yml"} and path.parent != Path()):
        return path
    for folder in (Path("configs"), _SHIPPED):
        for name in (path.name, f"{path.name}.yaml"):
            if path.parent == Path() and (folder / name).is_file():
                return folder / name
    near = get_close_matches(path.name.removesuffix(".yaml"), shipped_configs(), n=1)
    raise InputError(
        f"no configuration {str(path_or_name)!r}",
        remedy=f"did you mean {near[0]!r}?"
        if near
        else f"use one of {', '.join(shipped_configs())} or the path of a .yaml file",
    )


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"not an override: {override!r}", remedy="write --set section.key=value")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(
            f"{text!r} is not a YAML value", place=f"--set {key.strip()}", remedy="quote it"
        ) from None


def _assign(values: dict[str, Any], key: str, value: Any, place: str) -> None:
    """Set a dotted key in nested mappings; what exists is not modified in place."""
    *parents, last = key.split(".")
    here = values
    for depth, name in enumerate(parents, start=1):
        inner = here.get(name)
        if inner is not None and not isinstance(inner, dict):
            raise InputError(
                f"{'.'.join(parents[:depth])} has no keys",
                place=place,
                remedy=f"set {'.'.join(parents[:depth])} as a whole",
            )
        here[name] = dict(inner or {})
        here = here[name]
    here[last] = value


def _validated(values: dict[str, Any], file: Path | None, sources: Mapping[str, str]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    location = tuple(first["loc"])
    key = _dotted(location)
    # What an override has set is not to be looked for in the file.
    place = next((where for name, where in sources.items() if _related(name, key)), None)
    where: dict[str, Any] = {"place": place} if place else {"file": file}
    if first["type"] == "extra_forbidden":
        raise InputError(f"unknown key {key!r}", **where, remedy=_nearest(location)) from None
    if first["type"] == "missing":
        raise InputError(f"{key} is missing", **where, remedy="add it")
    if first["type"] == "model_type":
        raise InputError(f"{key} must hold keys and values", **where, remedy="see configs/")
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    found = first.get("input")
    shown = "" if isinstance(found, dict | BaseModel) else f" (found {found!r})"
    raise InputError(f"{key}: {message}{shown}" if key else message, **where)


def _related(override: str, key: str) -> bool:
    """Whether an override has set a key, a part of it, or what it is a part of."""
    short, long = sorted((override, key), key=len)
    return bool(key) and long.startswith(short) and long[len(short) :][:1] in ("", ".", "[")


def _dotted(location: Sequence[int | str]) -> str:
    """``train.lora.rank``, ``variants[2].name``: positions count from 1, as in other messages."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _nearest(location: Sequence[int | str]) -> str:
    """What was probably meant by an unknown key: a key of the same section, else of another."""
    wrong = str(location[-1])
    section = RunConfig
    for part in location[:-1]:
        if isinstance(part, str):
            section = _model_in(section.model_fields[part].annotation) or section
    fields = list(section.model_fields)
    parent = _dotted(location[:-1])
    if near := get_close_matches(wrong, fields, n=1, cutoff=0.6):
        return f"did you mean {f'{parent}.{near[0]}' if parent else near[0]!r}?"
    everywhere = {name.rsplit(".", 1)[-1]: name for name in reversed(_all_keys(RunConfig))}
    if elsewhere := get_close_matches(wrong, everywhere, n=1, cutoff=0.75):
        return f"did you mean {everywhere[elsewhere[0]]!r}?"
    return f"keys of {parent or 'a configuration'}: {', '.join(fields)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, on its own or as the members of a tuple."""
    for kind in (annotation, *(get_args(annotation) if get_origin(annotation) else ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return cast(type[BaseModel], kind)
    return None


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        inner = _model_in(field.annotation)
        if inner is not None and inner is field.annotation:
            keys += _all_keys(inner, f"{prefix}{name}.")
    return keys
