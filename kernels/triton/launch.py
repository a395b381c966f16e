"""One launch of a Triton kernel as a value: it can be run, timed or compiled ahead of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton.language as tl
from triton import knobs

INTERPRETED = tl.constexpr(knobs.runtime.interpret)
"""Whether kernels run in Triton's interpreter (TRITON_INTERPRET=1 before the first import)."""


@dataclass(frozen=True)
class Target:
    """What a kernel's configuration depends on.

    Attributes:
        capability: Compute capability as in sm_90.
        processors: Streaming multiprocessors of the device.
        shared: Bytes of shared memory that one program can have.
    """

    capability: int = 90
    processors: int = 132
    shared: int = 227 * 1024

    @property
    def warpgroups(self) -> bool:
        """Whether four warps multiply together, with their second operand in shared memory."""
        return 90 <= self.capability < 110

    @property
    def pairs(self) -> int:
        """Consecutive 16-bit values that a thread holds of a matrix operand."""
        return 2 if self.warpgroups else 4


@dataclass(frozen=True)
class Launch:
    """A kernel, its grid and all its arguments by name (compile-time constants included)."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, Any]
    warps: int = 4
    stages: int = 3

    @property
    def options(self) -> dict[str, Any]:
        """Compiler options."""
        return {
            "num_warps": self.warps,
            "num_stages": self.stages,
            "enable_fp_fusion": True,
        }

    def run(self) -> None:
        """Launch it on the current stream of its tensors' device."""
        device = next(one.device for one in self.arguments.values() if torch.is_tensor(one))
        if device.type == "cuda" and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):
                self.kernel[self.grid](**self.arguments, **self.options)
        else:
            self.kernel[self.grid](**self.arguments, **self.options)


def target_of(tensor: torch.Tensor) -> Target:
    """The target that a tensor lives on; without a GPU (interpreter) the default."""
    if tensor.device.type != "cuda":
        return Target()
    found = torch.cuda.get_device_properties(tensor.device)
    return Target(
        found.major * 10 + found.minor,
        found.multi_processor_count,
        found.shared_memory_per_block_optin,
    )


def ceil_div(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)


def power_of_two(number: int) -> int:
    """The least power of two that is not below ``number``."""
    return 1 << max(0, number - 1).bit_length()


def check_size(*tensors: torch.Tensor) -> None:
    """Kernels count values of activations in 32 bits.

    Raises:
        ValueError: A tensor reaches over 2**31 values or more.
    """
    for tensor in tensors:
        last = (size - 1 for size in tensor.shape)
        reach = sum(step * stride for step, stride in zip(last, tensor.stride(), strict=True))
        if reach >= 2**31 - 1:
            raise ValueError("more than 2**31 values in one call: split the batch")
