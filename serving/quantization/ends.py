"""Embedding and head: a third of a small model's weights.

A head that is the embedding stays so: one quantized matrix serves both. With 8 or 16 bits they are
rounded to nearest. With 4 bits and a method that calibrates, the head is quantized like a layer
whose inputs are the final hidden states of the model before quantization: GPTQ, or clipped grids;
scales can be folded into the final norm only where the head is a matrix of its own. Rows of the
embedding are looked up and not multiplied, so that their inputs count as independent; a shared
matrix gets the mean of both.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from kernels.weights import QuantizedWeight
from serving.architecture import EMBEDDING, FINAL_NORM, HEAD
from serving.checkpoint import Weight
from serving.errors import ServingError
from serving.quantization.awq import AwqSettings, awq_stage
from serving.quantization.calibration import Calibration
from serving.quantization.exact import exact_grid
from serving.quantization.gptq import gptq_stage
from serving.quantization.grid import quantize_to_grid
from serving.quantization.layer import DecoderLayer, rms_norm
from serving.quantization.moments import Moments, moments_of
from serving.quantization.settings import CALIBRATED, QuantizeSettings
from serving.quantization.source import DenseModel
from serving.quantization.stages import Stage, StageResult, check_scales

TOKENS = 16384
"""Calibration tokens, about, whose final hidden states are used."""


def quantize_ends(
    model: DenseModel, settings: QuantizeSettings, calibration: Calibration
) -> dict[str, Weight]:
    """Embedding, head unless it is the embedding, and final norm, by their names in checkpoints.

    Raises:
        ServingError: Weights or final hidden states are not finite; with the method ``exact``,
            weights that lie on no grid.
    """
    tensors = _ends(model, settings, calibration)
    for name, weight in tensors.items():
        if not isinstance(weight, torch.Tensor):
            check_scales(weight, name)
    return tensors


def _ends(
    model: DenseModel, settings: QuantizeSettings, calibration: Calibration
) -> dict[str, Weight]:
    norm = model.final_norm
    names = [EMBEDDING] if model.architecture.tied else [EMBEDDING, HEAD]
    tensors: dict[str, Weight] = {f"{FINAL_NORM}.weight": norm}
    if settings.head_bits == 16:
        for name in names:
            dense = model.embedding if name == EMBEDDING else model.head
            tensors[f"{name}.weight"] = _half(dense)
        return tensors
    calibrated = settings.head_bits == 4 and settings.method in CALIBRATED
    if not calibrated:
        for name in names:
            tensors[name] = _rounded(model, name, settings)
        return tensors
    moments = final_moments(model, calibration)
    even = Moments(torch.eye(len(norm)), torch.ones(len(norm)), moments.tokens)
    if model.architecture.tied:
        mean = moments.gram.diagonal().mean()
        both = Moments((moments.gram / mean + even.gram) / 2, even.magnitude, moments.tokens)
        tensors |= _stage(model, EMBEDDING, both, settings, scaled=False).weights
        return tensors
    tensors |= _stage(model, EMBEDDING, even, settings, scaled=False).weights
    result = _stage(model, HEAD, moments, settings, scaled=True)
    tensors |= result.weights
    if result.scales is not None:
        tensors[f"{FINAL_NORM}.weight"] = norm / result.scales
    return tensors


def final_moments(model: DenseModel, calibration: Calibration) -> Moments:
    """Statistics of the head's inputs in the model before quantization."""
    chosen = [calibration.rows[i] for i in calibration.spread(TOKENS)]
    embedding = model.embedding
    hidden = [embedding[row] for row in chosen]
    for number in range(model.architecture.layers):
        layer = model.layer(number)
        hidden = [layer(row) for row in hidden]
    norm, eps = model.final_norm, model.architecture.rms_eps
    return moments_of((rms_norm(row, norm, eps) for row in hidden), HEAD)


def embedded(tensors: dict[str, Weight], calibration: Calibration) -> list[torch.Tensor]:
    """Each calibration row's hidden states [T, hidden] as the finished embedding makes them."""
    table = tensors.get(EMBEDDING, tensors.get(f"{EMBEDDING}.weight"))
    if table is None:
        raise KeyError(EMBEDDING)
    dense = table.float() if isinstance(table, torch.Tensor) else table.dequantize()
    return [dense[row] for row in calibration.rows]


def _stage(
    model: DenseModel, name: str, moments: Moments, settings: QuantizeSettings, scaled: bool
) -> StageResult:
    dense = model.embedding if name == EMBEDDING else model.head
    layer = DecoderLayer(model.architecture, {f"{name}.weight": dense})
    stage = Stage("", (name,), layer, moments)
    of_head = replace(settings, bits=settings.head_bits)
    if settings.method in ("gptq", "atom"):
        return gptq_stage(stage, replace(of_head, method="gptq"))
    awq = AwqSettings() if scaled else AwqSettings(alphas=(0.0,))
    return awq_stage(stage, of_head, awq, compensated=settings.method == "awq-gptq")


def _rounded(model: DenseModel, name: str, settings: QuantizeSettings) -> QuantizedWeight:
    dense = model.embedding if name == EMBEDDING else model.head
    if settings.method != "exact":
        return quantize_to_grid(dense, settings.head_grid(dense.shape[1]))
    found = exact_grid(dense, settings.head_bits, settings.group)
    if found is None:
        raise ServingError(
            f"weights of {name} do not lie on a {settings.head_bits}-bit grid in groups of "
            f"{settings.group}",
            remedy="use another --head-bits, or a method that rounds",
        )
    return found


def _half(tensor: torch.Tensor) -> torch.Tensor:
    """In float16, or bfloat16 if that overflows."""
    half = tensor.half()
    return half if bool(torch.isfinite(half).all()) else tensor.bfloat16()
