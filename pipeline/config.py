"""Configuration of a run: what it consists of, checked before anything starts.

A configuration is a YAML file of sections (`RunConfig`); what it leaves out takes the defaults
given here. `pipeline.config_files` reads and overrides them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.models import DEFAULT_MODEL

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Split = Literal["train", "validation", "test"]
Source = Literal["samples", "symbolic_repair", "model_repair"]
Order = Literal["road", "paper_count", "weighted"]

Engine = Literal["auto", "transformers", "native"]
QuantizationMethod = Literal["rtn", "gptq", "awq", "awq-gptq", "atom", "exact"]

Simulator = Literal["highway", "sumo", "walk"]
Feedback = Literal["formal", "simulated", "both"]

_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
_Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(_Section):
    """The language model that learns."""

    name: str = Field(default=DEFAULT_MODEL, description="smollm2, a local folder or a hub id")
    device: str = Field(default="auto", description="auto takes a CUDA GPU when there is one")
    dtype: Dtype = Field(
        default="auto", description="of the weights: bfloat16 on a GPU, else float32"
    )
    engine: Engine = Field(
        default="auto",
        description="what samples: transformers, or native (bfloat16, on a CPU); auto takes native "
        "for quantized checkpoints",
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
    round_decay: float = Field(
        default=1.0, gt=0, le=1, description="factor of the rate from one round to the next"
    )
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
    temperature: _Temperature = Field(default=0.2, description="0 takes the most probable token")
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


class QuantizeConfig(_Section):
    """The champion in few bits, held against the champion itself."""

    enabled: bool = Field(default=False, description="whether the run has this stage")
    base: Literal["merged", "separate"] = Field(
        default="merged",
        description="the champion's adapter: merged into the weights first, or kept beside them",
    )
    method: QuantizationMethod = Field(
        default="gptq", description="see `serving.quantization`; exact is for weights on a grid"
    )
    bits: Literal[4, 8] = Field(default=4, description="of the layers' weights")
    group: _Positive = Field(default=64, description="weights that share a scale")
    symmetric: bool = Field(default=False, description="no zero points")
    head_bits: Literal[4, 8, 16] = Field(default=8, description="of the embedding and the head")
    calibration_rows: _Positive = Field(
        default=128, description="texts that show which weights matter: answers and prose"
    )
    calibration_tokens: Annotated[int, Field(ge=2)] = Field(
        default=256, description="of each of them, at most"
    )
    activation_bits: Literal[16, 8] = Field(
        default=16, description="when it decodes: 8 quantizes activations on the fly"
    )
    kv: Literal["bf16", "int8", "int4"] = Field(
        default="bf16", description="how it keeps keys and values"
    )
    splits: tuple[Split, ...] = Field(
        default=("validation", "test"), min_length=1, description="asked before and after"
    )
    samples: _Positive = Field(default=8, description="answers per task and seed")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="of sampling")
    temperature: _Temperature = Field(default=0.2, description="0 takes the most probable token")
    max_new_tokens: _Positive = Field(default=120, description="limit per answer")
    limit: _Positive | None = Field(default=None, description="only the first tasks of every split")
    max_drop: _Share = Field(default=0.01, description="strict success that may be lost")
    recover: Literal["failed", "always"] = Field(
        default="failed", description="when an adapter is trained on the quantized weights"
    )
    recover_steps: _Count = Field(default=0, description="updates of it at most; 0: never")
    recover_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=2e-4, description="learning rate of these"
    )
    recover_samples: _Positive = Field(
        default=4, description="answers of the champion per task to learn its predictions along"
    )


class TrackingConfig(_Section):
    """The record of the run in MLflow."""

    enabled: bool = True
    uri: str | None = Field(default=None, description="MLFLOW_TRACKING_URI, else a local database")
    experiment: str = "specdrive"
    registered_model: str = "specdrive-controller"


class SimulateConfig(_Section):
    """Episodes in a simulator, where feedback comes from one."""

    simulator: Simulator = "sumo"
    episodes: _Positive = Field(default=20, description="per controller that breaks no rule")
    broken: _Positive = Field(
        default=3, description="an answer is given up after so many episodes with a fault"
    )
    finished: _Share = Field(
        default=0.75, description="share of episodes in which the manoeuvre has to be made"
    )
    max_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=120.0, description="simulated time of an episode at most"
    )
    workers: _Positive = Field(default=1, description="processes that simulate")


class TrialsConfig(_Section):
    """Trial drives of the answers to held-out tasks: shown, never judged by."""

    simulator: Simulator = "sumo"
    episodes: _Count = Field(default=0, description="per different answer; 0: no trials")
    workers: _Positive = Field(default=1, description="processes that simulate")


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
    feedback: Feedback = Field(
        default="formal", description="what judges the answers to learn from"
    )
    simulate: SimulateConfig = SimulateConfig()
    repair: RepairConfig = RepairConfig()
    rank: RankConfig = RankConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    trials: TrialsConfig = TrialsConfig()
    select: SelectConfig = SelectConfig()
    quantize: QuantizeConfig = QuantizeConfig()
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
        """Only these top-level keys, as plain values; without what is not used."""
        values, names = self.to_json(), tuple(names)
        unused = {"feedback", "simulate"} if self.feedback == "formal" else set()
        if not self.trials.episodes:
            unused.add("trials")
        if "quantize" in names and not self.quantize.recover_steps:
            unused.add("train")
        if self.model.engine == "auto":
            del values["model"]["engine"]
        return {name: values[name] for name in names if name not in unused}

    @property
    def hash(self) -> str:
        """``sha256:...`` of the whole configuration."""
        return config_hash(self.to_json())


def config_hash(values: Mapping[str, Any]) -> str:
    """``sha256:...`` of plain values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
