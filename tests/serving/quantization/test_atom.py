"""Atom: order of the columns, those that keep 8 bits, activations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_networks import correlated_inputs, save_network, token_rows

from kernels.reference.linear import w4a4_linear
from serving.errors import ServingError
from serving.quantization.atom import (
    ACTIVATION_CLIP,
    atom_stage,
    atom_weight,
    fake_quantizer,
    kept_columns,
)
from serving.quantization.gptq import relative_error
from serving.quantization.grid import Grid, quantize_to_grid
from serving.quantization.moments import moments_of
from serving.quantization.settings import QuantizeSettings
from serving.quantization.source import open_dense
from serving.quantization.stages import ATTENTION, Stage, stage_inputs


@pytest.mark.parametrize(
    ("columns", "group", "kept"),
    [
        (576, 64, 64),
        (1536, 64, 64),
        (576, 32, 32),
        (1536, 32, 64),
        (576, 128, 64),
        (1536, 128, 128),
        (4096, 128, 128),
        (11008, 128, 384),
    ],
)
def test_three_percent_of_the_columns_keep_eight_bits(columns: int, group: int, kept: int) -> None:
    assert kept_columns(columns, group) == kept
    assert kept >= 0.03 * columns
    assert (columns - kept) % group == 0


def test_groups_without_room_are_refused() -> None:
    with pytest.raises(ServingError, match=r"groups of 512 .* 320 columns of model\.x"):
        kept_columns(320, 512, "model.x")


def test_columns_go_by_importance_and_the_last_are_finer() -> None:
    x = correlated_inputs(500, 128, 3)
    moments = moments_of([x], "x")
    draw = torch.Generator().manual_seed(0)
    dense = torch.randn(24, 128, generator=draw)
    weight = atom_weight(dense, moments, group=32, kept=32)
    importance = x.square().mean(dim=0)[weight.order.long()]
    assert bool((importance.diff() >= -1e-4 * importance[1:]).all())
    assert sorted(weight.order.tolist()) == list(range(128))
    assert (weight.low.bits, weight.high.bits) == (4, 8)
    assert (weight.low.shape[1], weight.high.shape[1]) == (96, 32)
    # 8-bit columns are not the dense ones: they make up for the error of the 4-bit ones.
    kept = dense[:, weight.order[96:].long()]
    assert not torch.allclose(weight.high.dequantize(), kept, atol=0.02)
    nearest = quantize_to_grid(dense, Grid(4, 32, True)).dequantize()
    assert relative_error(dense, weight.dequantize(), moments.gram) < 0.3 * relative_error(
        dense, nearest, moments.gram
    )


def test_activations_are_quantized_as_the_kernels_do() -> None:
    x = correlated_inputs(40, 128, 5)
    dense = torch.randn(16, 128, generator=torch.Generator().manual_seed(2))
    weight = atom_weight(dense, moments_of([x], "x"), group=32, kept=32)
    found = fake_quantizer(weight)(x) @ weight.dequantize().T
    wanted = w4a4_linear(x.double(), weight, ACTIVATION_CLIP)
    assert torch.allclose(found.double(), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_maps_of_one_stage_share_their_order(tmp_path: Path) -> None:
    model = open_dense(save_network(tmp_path, "llama"))
    layer = model.layer(0)
    hidden = [model.embedding[torch.tensor(row)] for row in token_rows()]
    inputs = list(stage_inputs(layer, ATTENTION, hidden))
    stage = Stage("model.layers.0", ATTENTION, layer, moments_of(inputs, "x"), inputs)
    result = atom_stage(stage, QuantizeSettings(method="atom", group=16))
    orders = [weight.order for weight in result.weights.values()]  # type: ignore[union-attr]
    assert all(torch.equal(order, orders[0]) for order in orders)
    assert result.scales is None
    assert result.activation is not None
    assert result.choice == "16 of 64"
