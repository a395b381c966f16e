"""A plain model put on a grid: what the tests of this folder decode."""

from __future__ import annotations

from pathlib import Path

import torch

from serving.architecture import EMBEDDING, HEAD
from serving.checkpoint import Weight, describe, save_checkpoint
from serving.exchange import read_plain
from serving.quantization.grid import Grid, find_codes, find_ranges, pack


def on_grid(dense: Path, folder: Path, group: int = 16, base: str = "") -> Path:
    """Round every matrix of a model to the nearest 4-bit number, embedding and head to 8 bits."""
    from dataclasses import replace

    model = read_plain(dense)
    tensors: dict[str, Weight] = {}
    for name, weight in model.tensors.items():
        layer = name.removesuffix(".weight")
        if not isinstance(weight, torch.Tensor) or weight.dim() != 2:
            tensors[name] = weight
            continue
        grid = Grid(bits=8 if layer in (EMBEDDING, HEAD) else 4, group=group, symmetric=False)
        matrix = weight.float()
        ranges = find_ranges(matrix, grid)
        tensors[layer] = pack(find_codes(matrix, ranges, grid), ranges, grid)
    header = describe("rtn", tensors, base=base)
    save_checkpoint(folder, replace(model, tensors=tensors, header=header), companions=dense)
    return folder
