"""The four stages of a decoder layer, and factors that go from one into the one before.

Linear maps that share an input are quantized together: queries, keys and values; the output
projection; gate and up; down. Multiplying a column of their weights by s_j and dividing the input
x_j by it changes nothing; the division is done where x_j comes from: in the norm's weight, in the
rows of the values' projection, or in the rows of the up projection.

Where several query heads share a head of values, their columns of the output projection share a
factor, so that the values' rows can take it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from kernels.weights import AtomWeight, QuantizedWeight
from serving.architecture import Architecture
from serving.errors import ServingError
from serving.quantization.layer import (
    DOWN,
    GATE,
    INPUT_NORM,
    POST_NORM,
    UP,
    DecoderLayer,
    K,
    O,
    Q,
    V,
)
from serving.quantization.moments import Moments, not_finite, token_weights

ATTENTION, OUTPUT, GATED, LAST = (Q, K, V), (O,), (GATE, UP), (DOWN,)
STAGES = (ATTENTION, OUTPUT, GATED, LAST)
"""Names of the linear maps that are quantized together, in the order of their use."""

Matrices = Mapping[str, torch.Tensor]
"""Weights [N, K] by the name of their linear map within the layer."""


@dataclass(frozen=True)
class Stage:
    """Linear maps to be quantized, and what is known of them.

    Attributes:
        place: The layer's name (``model.layers.3``), for messages.
        names: One of `STAGES`.
        layer: The layer; earlier stages are quantized in it already.
        moments: Of the stage's inputs.
        sample: Some texts' hidden states [T, hidden] that enter the block that the stage is in.
            Only stages of several maps need them.
    """

    place: str
    names: tuple[str, ...]
    layer: DecoderLayer
    moments: Moments
    sample: Sequence[torch.Tensor] = ()

    def full_name(self, name: str) -> str:
        """A linear map's name in the model."""
        return f"{self.place}.{name}"

    @property
    def matrices(self) -> Matrices:
        """The weights to be quantized."""
        return {name: self.layer.matrix(name) for name in self.names}

    def error(self) -> Callable[[Matrices], float]:
        """How much other weights in place of these change the outputs.

        For queries, keys and values the mean squared change of the attention block's output, for
        gate and up that of the MLP's, on `sample`, tokens weighted by
        `serving.quantization.moments.token_weights` of the states that leave the block; for a
        single map that of its own output over all calibration tokens, weighted as `moments` are.
        Weights are to be given for unscaled inputs.
        """
        if len(self.names) == 1:
            (name,) = self.names
            weight, gram = self.layer.matrix(name), self.moments.gram

            def own(matrices: Matrices) -> float:
                change = matrices[name] - weight
                return float(((change @ gram) * change).sum()) / len(weight)

            return own
        norm = INPUT_NORM if self.names == ATTENTION else POST_NORM
        inputs = [self.layer.normed(hidden, norm) for hidden in self.sample]
        wanted = [self._block(self.layer, x) for x in inputs]
        weights = [token_weights(h + y) for h, y in zip(self.sample, wanted, strict=True)]
        total = sum(float(weight.sum(dtype=torch.float64)) for weight in weights)
        if not 0 < total < math.inf:
            raise not_finite(f"states that leave {self.full_name(self.names[0])}'s block")

        def of_block(matrices: Matrices) -> float:
            changed, error = self.layer.with_matrices(matrices), 0.0
            for x, y, weight in zip(inputs, wanted, weights, strict=True):
                squares = (self._block(changed, x) - y).square().mean(dim=-1)
                error += float((squares * weight).sum(dtype=torch.float64))
            return error / total

        return of_block

    def _block(self, layer: DecoderLayer, x: torch.Tensor) -> torch.Tensor:
        return layer.attention_block(x) if self.names == ATTENTION else layer.mlp_block(x)


@dataclass(frozen=True)
class StageResult:
    """What a method makes of a stage.

    Attributes:
        weights: Quantized, by the linear map's name; of inputs that are divided by ``scales``.
        scales: float32 [K]; None if inputs stay as they are.
        choice: What was chosen, in a few words (``alpha 0.35``).
        activation: What quantizes the inputs at inference, if anything does.
    """

    weights: Mapping[str, QuantizedWeight | AtomWeight]
    scales: torch.Tensor | None = None
    choice: str = ""
    activation: Callable[[torch.Tensor], torch.Tensor] | None = None


def shared_scales(
    scales: torch.Tensor, names: tuple[str, ...], sizes: Architecture
) -> torch.Tensor:
    """Scales that can be folded: equal (the mean) for query heads that share a head of values."""
    if names != OUTPUT:
        return scales
    heads = scales.view(sizes.kv_heads, -1, sizes.head_dim)
    return heads.mean(dim=1, keepdim=True).expand_as(heads).reshape(-1)


def fold(layer: DecoderLayer, names: tuple[str, ...], scales: torch.Tensor) -> DecoderLayer:
    """Scale the columns of a stage's weights, and undo it where its inputs come from.

    Args:
        layer: Not changed.
        names: One of `STAGES`.
        scales: float32 [K], from `shared_scales`.
    """
    scaled = {name: layer.matrix(name) * scales for name in names}
    return unfold_inputs(layer.with_matrices(scaled), names, scales)


def unfold_inputs(
    layer: DecoderLayer, names: tuple[str, ...], scales: torch.Tensor
) -> DecoderLayer:
    """Divide a stage's inputs by scales, by changing what makes them; its weights stay."""
    changed: dict[str, torch.Tensor] = {}
    if names in (ATTENTION, GATED):
        norm = INPUT_NORM if names == ATTENTION else POST_NORM
        changed[norm] = layer.weights[norm] / scales
        return layer.with_tensors(changed)
    source, factors = source_rows(layer, names, scales)
    changed[f"{source}.weight"] = layer.matrix(source) * factors[:, None]
    if (bias := layer.weights.get(f"{source}.bias")) is not None:
        changed[f"{source}.bias"] = bias * factors
    return layer.with_tensors(changed)


def source_rows(
    layer: DecoderLayer, names: tuple[str, ...], scales: torch.Tensor
) -> tuple[str, torch.Tensor]:
    """The linear map whose outputs are divided by a stage's scales, and factors of its rows."""
    if names == LAST:
        return UP, 1 / scales
    sizes = layer.architecture
    return V, 1 / scales.view(sizes.kv_heads, -1, sizes.head_dim)[:, 0].reshape(-1)


def rescaled_rows(weight: QuantizedWeight, factors: torch.Tensor) -> QuantizedWeight:
    """A quantized matrix with its rows multiplied: codes stay, scales are rounded to float16."""
    return replace(weight, scales=(weight.scales.float() * factors[:, None]).half())


def check_scales(weight: QuantizedWeight | AtomWeight, name: str) -> None:
    """Whether float16 could hold a matrix's scales.

    Raises:
        ServingError: It could not.
    """
    parts = (weight.low, weight.high) if isinstance(weight, AtomWeight) else (weight,)
    if not all(bool(torch.isfinite(part.scales).all()) for part in parts):
        raise ServingError(
            f"weights of {name} are too large for scales in float16", remedy="get the weights again"
        )


def stage_inputs(
    layer: DecoderLayer, names: tuple[str, ...], hidden: Sequence[torch.Tensor]
) -> Iterator[torch.Tensor]:
    """Inputs of a stage, text by text.

    Args:
        layer: Which layer.
        names: One of `STAGES`.
        hidden: Each text's hidden states [T, hidden]: those that enter the layer for the first
            two stages, those after attention for the others.
    """
    norm = INPUT_NORM if names in (ATTENTION, OUTPUT) else POST_NORM
    for text in hidden:
        x = layer.normed(text, norm)
        if names == OUTPUT:
            x = layer.attended(x)
        elif names == LAST:
            x = layer.gated(x)
        yield x


def weighted_inputs(
    layer: DecoderLayer, names: tuple[str, ...], hidden: Sequence[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """As `stage_inputs`, with the weights of the tokens.

    What goes through a single map is added to the hidden states, whose size then tells; inputs of
    the other stages come out of a norm and count alike.
    """
    for text, x in zip(hidden, stage_inputs(layer, names, hidden), strict=True):
        if len(names) == 1:
            yield x, token_weights(text + layer.project(names[0], x))
        else:
            yield x, torch.ones(len(x))
