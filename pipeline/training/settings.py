"""What training depends on besides model and data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from verifier.errors import InputError

Method = Literal["dpo", "sft"]
Loss = Literal["sigmoid", "ipo"]

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every linear map of a decoder layer, as Llama-like models name them."""


@dataclass(frozen=True)
class TrainSettings:
    """How a round is trained. Equal settings, data, model and threads give equal adapters.

    Attributes:
        method: ``dpo`` learns from pairs; ``sft`` imitates the chosen completions.
        loss: Of DPO: ``sigmoid`` (the original one) or ``ipo`` (on log-ratios per token).
        beta: How strongly the policy is tied to the reference; τ of IPO.
        sft_weight: Weight of the mean negative log-likelihood per token of chosen completions
            that is added to DPO's loss; 0 for plain DPO.
        learning_rate: Peak of AdamW's rate, which then falls linearly to 0.
        epochs: Passes over the pairs.
        pairs_per_step: Pairs that one update averages over, on all processes together.
        pairs_per_prompt: At most so many of them from one prompt. More share more work; fewer
            mean more prompts in every update.
        warmup: Share of the updates in which the rate rises from 0.
        lora_rank: Width of a new adapter.
        lora_alpha: Its scale times the rank.
        lora_dropout: On the adapter's inputs.
        lora_targets: Names of the linear maps that get an adapter.
        dtype: ``float32``, ``bfloat16`` (mixed precision), or ``auto``: bfloat16 where the
            hardware multiplies in it.
        checkpoint_every: Updates between two checkpoints.
        max_steps: Stop after so many updates (the rate is planned for these); None for all.
        gradient_checkpointing: Recompute activations: less memory, a third more time.
        seed: Of a new adapter, of the order of pairs and of dropout.
    """

    method: Method = "dpo"
    loss: Loss = "sigmoid"
    beta: float = 0.1
    sft_weight: float = 0.5
    learning_rate: float = 1e-4
    epochs: int = 2
    pairs_per_step: int = 16
    pairs_per_prompt: int = 4
    warmup: float = 0.1
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = PROJECTIONS
    dtype: str = "auto"
    checkpoint_every: int = 20
    max_steps: int | None = None
    gradient_checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            InputError: One of them is wrong; the message names it.
        """
        for name, value, known in (
            ("method", self.method, ("dpo", "sft")),
            ("loss", self.loss, ("sigmoid", "ipo")),
            ("dtype", self.dtype, ("auto", "float32", "bfloat16")),
        ):
            if value not in known:
                raise InputError(f"train.{name} is {value!r}", remedy=f"use {' or '.join(known)}")
        for name, low, high in (
            ("beta", math.ulp(0.0), math.inf),
            ("sft_weight", 0, math.inf),
            ("learning_rate", 0, math.inf),
            ("epochs", 1, math.inf),
            ("pairs_per_step", 1, math.inf),
            ("pairs_per_prompt", 1, math.inf),
            ("warmup", 0, 1),
            ("lora_rank", 1, math.inf),
            ("lora_alpha", 1, math.inf),
            ("lora_dropout", 0, 1),
            ("checkpoint_every", 1, math.inf),
            ("max_steps", 1, math.inf),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                limit = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
                raise InputError(f"train.{name} is {value}", remedy=f"use a number {limit}")
        if not self.lora_targets:
            raise InputError("train.lora.targets is empty", remedy="name at least one linear map")
