"""Reading and copying memory with the kernels' threads: the limit that kernels are held against."""

from __future__ import annotations

import ctypes

import torch

from kernels.cpu.library import check, native

LINE = 64
"""Bytes of a cache line."""


def read(data: torch.Tensor, streams: int = 8) -> int:
    """Read all of a tensor once; the sum of its 64-bit words, modulo 2^64.

    Args:
        data: Contiguous, on the CPU, a multiple of 64 bytes.
        streams: Places that each thread reads from in turns, 1 to 16: one does not use up a core's
            bandwidth.

    Raises:
        ValueError: A tensor of another kind.
    """
    size = _bytes(data)
    if size % LINE:
        raise ValueError(f"only multiples of {LINE} bytes can be read, not {size}")
    if not 1 <= streams <= 16:
        raise ValueError(f"streams must be 1 to 16, not {streams}")
    total = ctypes.c_uint64()
    check(
        native().sd_read_bandwidth(
            ctypes.c_void_p(data.data_ptr()), ctypes.c_int64(size), streams, ctypes.byref(total)
        )
    )
    return total.value


def copy(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy a tensor's bytes to another of as many.

    Raises:
        ValueError: They differ in size or are of another kind than `read` takes.
    """
    size = _bytes(source)
    if _bytes(target) != size:
        raise ValueError(f"{size} bytes cannot be copied to {_bytes(target)}")
    check(
        native().sd_copy(
            ctypes.c_void_p(target.data_ptr()),
            ctypes.c_void_p(source.data_ptr()),
            ctypes.c_int64(size),
        )
    )


def _bytes(tensor: torch.Tensor) -> int:
    if tensor.device.type != "cpu" or not tensor.is_contiguous():
        raise ValueError("the tensor must be contiguous and on the CPU")
    return tensor.numel() * tensor.element_size()
