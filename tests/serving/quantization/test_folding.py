"""Layers as functions of their weights; factors that move from one place to another."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_networks import KINDS, make_network, save_network, token_rows

from serving.architecture import FINAL_NORM
from serving.errors import ServingError
from serving.quantization.grid import Grid, quantize_to_grid
from serving.quantization.layer import DOWN, UP, O, V, rms_norm
from serving.quantization.moments import moments_of
from serving.quantization.source import DenseModel, open_dense
from serving.quantization.stages import (
    STAGES,
    Stage,
    fold,
    rescaled_rows,
    shared_scales,
    stage_inputs,
    weighted_inputs,
)


def _logits(model: DenseModel, row: list[int], layers: list | None = None) -> torch.Tensor:  # type: ignore[type-arg]
    hidden = model.embedding[torch.tensor(row)]
    for number in range(model.architecture.layers):
        hidden = (layers[number] if layers else model.layer(number))(hidden)
    return rms_norm(hidden, model.final_norm, model.architecture.rms_eps) @ model.head.T


@pytest.mark.parametrize("kind", KINDS)
def test_layers_compute_what_transformers_does(tmp_path: Path, kind: str) -> None:
    model = open_dense(save_network(tmp_path, kind))
    row = token_rows(1)[0]
    with torch.inference_mode():
        wanted = make_network(kind)(input_ids=torch.tensor([row])).logits[0]
        found = _logits(model, row)
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", STAGES)
def test_folding_changes_weights_but_not_what_is_computed(
    tmp_path: Path, kind: str, names: tuple[str, ...]
) -> None:
    model = open_dense(save_network(tmp_path, kind))
    row = token_rows(1)[0]
    wanted = _logits(model, row)
    draw = torch.Generator().manual_seed(7)
    layers = []
    for number in range(model.architecture.layers):
        layer = model.layer(number)
        columns = layer.matrix(names[0]).shape[1]
        scales = torch.exp(0.7 * torch.randn(columns, generator=draw))
        scales = shared_scales(scales, names, model.architecture)
        layers.append(fold(layer, names, scales))
        for name in names:
            assert torch.equal(layers[-1].matrix(name), layer.matrix(name) * scales)
    found = _logits(model, row, layers)
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_query_heads_that_share_values_share_scales(tmp_path: Path) -> None:
    model = open_dense(save_network(tmp_path, "llama"))
    sizes = model.architecture  # 4 query heads over 2 of values, 16 wide
    scales = torch.arange(1.0, 65.0)
    shared = shared_scales(scales, (O,), sizes).view(4, 16)
    assert torch.equal(shared[0], shared[1])
    assert torch.equal(shared[2], shared[3])
    assert torch.equal(shared[0], (scales[:16] + scales[16:32]) / 2)
    assert torch.equal(shared_scales(scales, (DOWN,), sizes), scales)


def test_rows_of_quantized_weights_are_scaled_without_new_codes() -> None:
    weight = quantize_to_grid(torch.randn(6, 64), Grid(4, 32, False))
    factors = torch.rand(6) + 0.5
    scaled = rescaled_rows(weight, factors)
    assert torch.equal(scaled.codes, weight.codes)
    wanted = weight.dequantize() * factors[:, None]
    assert torch.allclose(scaled.dequantize(), wanted, rtol=2.0**-10)


@pytest.mark.parametrize("names", STAGES)
def test_errors_of_a_stage_are_those_of_its_block(tmp_path: Path, names: tuple[str, ...]) -> None:
    model = open_dense(save_network(tmp_path, "qwen2"))
    layer = model.layer(0)
    hidden = [model.embedding[torch.tensor(row)] for row in token_rows(3)]
    hidden[0][0] *= 300  # a token whose states are much larger than the others'
    inputs = list(stage_inputs(layer, names, hidden))
    moments = moments_of(weighted_inputs(layer, names, hidden), "l")
    stage = Stage("l", names, layer, moments, hidden)
    error = stage.error()
    assert error(stage.matrices) == 0
    draw = torch.Generator().manual_seed(1)
    changed = {n: w + 0.1 * torch.randn(w.shape, generator=draw) for n, w in stage.matrices.items()}
    other = layer.with_matrices(changed)
    squares, weights = [], []
    for x, state in zip(inputs, hidden, strict=True):
        if names in ((O,), (DOWN,)):
            before, after = layer.project(names[0], x), other.project(names[0], x)
        elif V in names:
            before, after = layer.attention_block(x), other.attention_block(x)
        else:
            assert UP in names
            before, after = layer.mlp_block(x), other.mlp_block(x)
        squares.append((after - before).square().mean(dim=1))
        weights.append(1 / (state + before).square().mean(dim=1))
    wanted = (torch.cat(squares) * torch.cat(weights)).sum() / torch.cat(weights).sum()
    assert error(changed) == pytest.approx(float(wanted), rel=1e-3)


def test_moments_are_weighted_means() -> None:
    x, weights = torch.randn(7, 4), torch.rand(7)
    found = moments_of([(x[:3], weights[:3]), (x[3:], weights[3:])], "l")
    share = weights / weights.sum()
    assert torch.allclose(found.gram, x.T @ (x * share[:, None]), atol=1e-5)
    assert torch.allclose(found.magnitude, (x.abs() * share[:, None]).sum(dim=0), atol=1e-5)
    plain = moments_of([x], "l")
    assert torch.allclose(plain.gram, x.T @ x / 7, atol=1e-5)
    assert plain.tokens == found.tokens == 7
    scaled = plain.scaled(torch.tensor([1.0, 2.0, 4.0, 0.5]))
    other = moments_of([x / torch.tensor([1.0, 2.0, 4.0, 0.5])], "l")
    assert torch.allclose(scaled.gram, other.gram, atol=1e-5)
    with pytest.raises(ServingError, match=r"inputs of model\.x are not finite"):
        moments_of([torch.full((2, 3), torch.nan)], "model.x")
    with pytest.raises(ServingError, match="no calibration rows"):
        moments_of([], "l")


def test_the_final_norm_has_its_name(tmp_path: Path) -> None:
    model = open_dense(save_network(tmp_path, "llama"))
    assert torch.equal(model.final_norm, model.tensors[f"{FINAL_NORM}.weight"])
