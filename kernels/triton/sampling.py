"""Drawing tokens on a GPU."""

from __future__ import annotations

import torch

from kernels.triton import sampling_kernels
from kernels.triton.launch import Launch, ceil_div, power_of_two

_BLOCK = 1024
"""Tokens of the vocabulary at a time."""


def sample(
    logits: torch.Tensor,
    draws: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
) -> torch.Tensor:
    """`kernels.reference.sampling.sample`, but a row that it would refuse gives -1.

    Nothing is read back to raise an error. Probabilities are float32, their sums float64.

    Args:
        logits: [M, V].
        draws: float64 [M].
        temperature: float32 [M].
        top_p: float32 [M].

    Returns:
        int64 [M].
    """
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    out = torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)
    if logits.shape[1] == 0:
        return out.fill_(-1)
    if out.numel():
        for launch in sample_launches(out, logits, draws, temperature, top_p):
            launch.run()
    return out


def sample_launches(
    out: torch.Tensor,
    logits: torch.Tensor,
    draws: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    block: int = _BLOCK,
) -> list[Launch]:
    """What to launch for `sample`: a survey of chunks, then the choice of each row."""
    rows, vocabulary = logits.shape
    chunks = ceil_div(vocabulary, block)

    def empty(columns: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(rows, columns, dtype=dtype, device=logits.device)

    statistics = {
        "highest": empty(chunks, torch.float32),
        "first": empty(chunks, torch.int32),
        "weight": empty(chunks, torch.float64),
        "logits": logits,
        "temperature": temperature,
        "vocabulary": vocabulary,
        "stride": logits.stride(0),
        "BLOCK": block,
    }
    choice = {
        "out": out,
        "pool": empty(vocabulary, torch.float32),
        "tokens": empty(vocabulary, torch.int32),
        "draws": draws,
        "top_p": top_p,
        "chunks": chunks,
        "CHUNKS": power_of_two(chunks),
    }
    return [
        Launch(sampling_kernels.survey, (rows, chunks), statistics, warps=4),
        Launch(sampling_kernels.choose, (rows,), {**statistics, **choice}, warps=8),
    ]
