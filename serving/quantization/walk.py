"""One decoder layer through its four stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from kernels.weights import AtomWeight, QuantizedWeight
from serving.quantization.atom import atom_stage
from serving.quantization.awq import awq_stage
from serving.quantization.gptq import gptq_stage
from serving.quantization.layer import DecoderLayer
from serving.quantization.moments import Moments, moments_of, not_finite
from serving.quantization.report import LayerReport
from serving.quantization.rtn import exact_stage, rtn_stage
from serving.quantization.settings import Method, QuantizeSettings
from serving.quantization.stages import (
    GATED,
    LAST,
    OUTPUT,
    STAGES,
    Stage,
    StageResult,
    check_scales,
    rescaled_rows,
    source_rows,
    stage_inputs,
    unfold_inputs,
    weighted_inputs,
)

METHODS: dict[Method, Callable[[Stage, QuantizeSettings], StageResult]] = {
    "rtn": rtn_stage,
    "exact": exact_stage,
    "gptq": gptq_stage,
    "awq": awq_stage,
    "awq-gptq": partial(awq_stage, compensated=True),
    "atom": atom_stage,
}
"""What each method does with a stage."""

WEIGHTED: tuple[Method, ...] = ("awq", "awq-gptq")
"""Methods in which tokens count by what an error in them does to the next layer."""

Quantized = dict[str, QuantizedWeight | AtomWeight]


@dataclass(frozen=True)
class LayerResult:
    """A quantized layer.

    Attributes:
        weights: Its matrices, by the linear map's name within the layer.
        vectors: Its norms and biases, by their names within the layer, float32.
        layer: The layer as it computes now.
        hidden: What comes out of it, row by row.
        report: Errors and choices.
    """

    weights: Quantized
    vectors: dict[str, torch.Tensor]
    layer: DecoderLayer
    hidden: list[torch.Tensor]
    report: LayerReport


def quantize_layer(
    place: str,
    dense: DecoderLayer,
    hidden: Sequence[torch.Tensor],
    sample: Sequence[int],
    settings: QuantizeSettings,
) -> LayerResult:
    """Quantize a layer.

    Args:
        place: The layer's name (``model.layers.3``).
        dense: The layer as it was.
        hidden: Hidden states [T, hidden] that enter it, one per calibration row; may be none for
            methods that need no calibration.
        sample: Numbers of the rows that blocks are compared on.
        settings: How.

    Raises:
        ServingError: Activations are not finite, or a method cannot do what it is asked for.
    """
    began = time.perf_counter()
    layer, weights, choices = dense, Quantized(), {}
    change = total = 0.0
    current = list(hidden)
    for names in STAGES:
        if names == GATED:
            current = [layer.after_attention(row) for row in current]
        stage = _stage(place, names, layer, current, sample, settings.method in WEIGHTED)
        result = METHODS[settings.method](stage, settings)
        for name, weight in result.weights.items():
            check_scales(weight, stage.full_name(name))
        change += _weight_change(stage, result)
        total += sum(_squares(weight) for weight in stage.matrices.values())
        layer = _placed(layer, names, result, weights)
        if result.choice:
            choices[" ".join(name.split(".")[-1].removesuffix("_proj") for name in names)] = (
                result.choice
            )
    current = [layer.after_mlp(row) for row in current]
    for row in current:
        if not bool(torch.isfinite(row).all()):
            raise not_finite(f"outputs of {place}")
    report = LayerReport(
        name=place,
        weight_error=change / total if total > 0 else 0.0,
        output_error=_output_error(
            dense, [hidden[i] for i in sample], [current[i] for i in sample]
        ),
        choices=choices,
        seconds=time.perf_counter() - began,
    )
    vectors = {name: tensor for name, tensor in layer.weights.items() if tensor.dim() == 1}
    return LayerResult(weights, vectors, layer, current, report)


def restored_layer(
    dense: DecoderLayer, weights: Quantized, vectors: dict[str, torch.Tensor]
) -> DecoderLayer:
    """A layer that computes with quantized weights (activations as they are)."""
    matrices = {name: weight.dequantize() for name, weight in weights.items()}
    return dense.with_tensors(vectors).with_matrices(matrices)


def _stage(
    place: str,
    names: tuple[str, ...],
    layer: DecoderLayer,
    hidden: Sequence[torch.Tensor],
    sample: Sequence[int],
    weighted: bool,
) -> Stage:
    if not hidden:
        columns = layer.matrix(names[0]).shape[1]
        return Stage(place, names, layer, Moments(torch.eye(columns), torch.ones(columns), 0))
    inputs = (weighted_inputs if weighted else stage_inputs)(layer, names, hidden)
    moments = moments_of(inputs, f"{place}.{names[0]}")
    return Stage(place, names, layer, moments, [hidden[i] for i in sample])


def _placed(
    layer: DecoderLayer, names: tuple[str, ...], result: StageResult, weights: Quantized
) -> DecoderLayer:
    """The layer with a stage's quantized weights, and scales folded; ``weights`` grows."""
    if result.scales is not None:
        layer = unfold_inputs(layer, names, result.scales)
        if names in (OUTPUT, LAST):
            # What the scales go into has been quantized before.
            source, factors = source_rows(layer, names, result.scales)
            old = weights[source]
            if not isinstance(old, QuantizedWeight):
                raise TypeError(f"{source} cannot take scales")
            weights[source] = rescaled_rows(old, factors)
            layer = layer.with_matrices({source: weights[source].dequantize()})
    weights.update(result.weights)
    layer = layer.with_matrices({name: w.dequantize() for name, w in result.weights.items()})
    if result.activation is not None:
        activations = dict.fromkeys(names, result.activation)
        layer = replace(layer, activations={**layer.activations, **activations})
    return layer


def _weight_change(stage: Stage, result: StageResult) -> float:
    """Squared change of a stage's weights, scales undone."""
    scales = 1.0 if result.scales is None else result.scales
    return sum(
        _squares(weight.dequantize() / scales - stage.layer.matrix(name))
        for name, weight in result.weights.items()
    )


def _squares(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().sum())


def _output_error(
    dense: DecoderLayer, before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]
) -> float | None:
    change = total = 0.0
    for enters, leaves in zip(before, after, strict=True):
        wanted = dense(enters)
        change += _squares(leaves - wanted)
        total += _squares(wanted - enters)
    return change / total if total > 0 else None
