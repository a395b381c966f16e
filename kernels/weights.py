"""Quantized weights in their canonical, row-major form: as checkpoints store them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SYMMETRIC, ZERO_POINTS, OFFSETS = 0, 1, 2
"""Kinds of zeros, as the kernels number them."""


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight W [N, K] (outputs, inputs) on a grid of 4 or 8 bits in groups along K.

    Attributes:
        codes: 4 bits: uint8 [N, K/2], columns 2j and 2j+1 in the low and high nibble, codes 0..15.
            8 bits: int8 [N, K], codes -127..127.
        scales: float16 [N, K/group].
        zeros: None: w = s (q - 8) with 4 bits, w = s q with 8. uint8 [N, K/group]: zero points
            0..15, w = s (q - z). float16 [N, K/group]: offsets, w = s q + offset.
        bits: 4 or 8.
        group: Columns that share a scale.
    """

    codes: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor | None
    bits: int
    group: int

    def __post_init__(self) -> None:
        """Check shapes and formats.

        Raises:
            ValueError: They do not fit together; the message says which.
        """
        if self.bits not in (4, 8):
            raise ValueError(f"bits must be 4 or 8, not {self.bits}")
        expected = torch.uint8 if self.bits == 4 else torch.int8
        if self.codes.dim() != 2 or self.codes.dtype != expected:
            raise ValueError(
                f"codes must be {expected} [N, K], not {self.codes.dtype} {[*self.codes.shape]}"
            )
        n, k = self.shape
        if self.group < 1 or self.group % 8 or k % self.group:
            raise ValueError(f"group {self.group} does not divide K = {k} in multiples of 8")
        for name, numbers, formats in (
            ("scales", self.scales, (torch.float16,)),
            ("zeros", self.zeros, (torch.uint8, torch.float16)),
        ):
            if numbers is None:
                continue
            if tuple(numbers.shape) != (n, k // self.group) or numbers.dtype not in formats:
                wanted = " or ".join(str(one) for one in formats)
                raise ValueError(
                    f"{name} must be {wanted} {[n, k // self.group]}, "
                    f"not {numbers.dtype} {[*numbers.shape]}"
                )
        if self.bits == 8 and self.zeros is not None:
            raise ValueError("8-bit weights are symmetric: zeros must be None")

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        n, stored = self.codes.shape
        return n, stored * 2 if self.bits == 4 else stored

    @property
    def zero_kind(self) -> int:
        """`SYMMETRIC`, `ZERO_POINTS` or `OFFSETS`."""
        if self.zeros is None:
            return SYMMETRIC
        return ZERO_POINTS if self.zeros.dtype == torch.uint8 else OFFSETS

    @property
    def bits_per_weight(self) -> float:
        """Stored bits per weight, scales and zeros included (zero points count 4 bits)."""
        extra = 16 + {SYMMETRIC: 0, ZERO_POINTS: 4, OFFSETS: 16}[self.zero_kind]
        return self.bits + extra / self.group

    def integers(self) -> torch.Tensor:
        """The codes as int8 [N, K]: 0..15 or -127..127."""
        return unpack_nibbles(self.codes).to(torch.int8) if self.bits == 4 else self.codes

    def dequantize(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """W [N, K], computed in ``dtype`` (float32: the numbers that the kernels use)."""
        n, k = self.shape
        codes = self.integers().to(dtype).reshape(n, k // self.group, self.group)
        scales = self.scales.to(dtype)[..., None]
        if self.zeros is None:
            values = scales * (codes - (8 if self.bits == 4 else 0))
        elif self.zero_kind == ZERO_POINTS:
            values = scales * (codes - self.zeros.to(dtype)[..., None])
        else:
            values = scales * codes + self.zeros.to(dtype)[..., None]
        return values.reshape(n, k)


@dataclass(frozen=True)
class AtomWeight:
    """A weight of mixed precision (Atom, section 4.1): 4 bits, and 8 for the outlier columns.

    Attributes:
        low: The first K - K8 reordered columns: 4 bits, symmetric.
        high: The last K8 reordered columns: 8 bits.
        order: int32 [K]: reordered column j is original column ``order[j]``.
    """

    low: QuantizedWeight
    high: QuantizedWeight
    order: torch.Tensor

    def __post_init__(self) -> None:
        """Check that the parts fit.

        Raises:
            ValueError: They do not; the message says which.
        """
        if self.low.bits != 4 or self.low.zeros is not None or self.high.bits != 8:
            raise ValueError("low must be 4-bit symmetric and high 8-bit")
        if self.low.shape[0] != self.high.shape[0]:
            raise ValueError(
                f"low has {self.low.shape[0]} rows and high {self.high.shape[0]}: must be equal"
            )
        if self.order.dtype != torch.int32 or tuple(self.order.shape) != (self.shape[1],):
            raise ValueError(f"order must be int32 [{self.shape[1]}]")
        numbers = torch.arange(self.shape[1], dtype=torch.int32, device=self.order.device)
        if not torch.equal(self.order.sort().values, numbers):
            raise ValueError(f"order must hold every column from 0 to {self.shape[1] - 1} once")

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return self.low.shape[0], self.low.shape[1] + self.high.shape[1]

    @property
    def bits_per_weight(self) -> float:
        """Stored bits per weight, scales included; the order (32 bits per column) as well."""
        n, k = self.shape
        low, high = self.low.shape[1], self.high.shape[1]
        return (self.low.bits_per_weight * low + self.high.bits_per_weight * high) / k + 32 / n

    def dequantize(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """W [N, K] with the columns in their original order."""
        reordered = torch.cat([self.low.dequantize(dtype), self.high.dequantize(dtype)], dim=1)
        original = torch.empty_like(reordered)
        original[:, self.order.long()] = reordered
        return original


def pack_nibbles(codes: torch.Tensor) -> torch.Tensor:
    """Codes 0..15 [..., K] as uint8 [..., K/2], even columns in the low nibble.

    Raises:
        ValueError: K is odd.
    """
    if codes.shape[-1] % 2:
        raise ValueError(f"an odd number of columns ({codes.shape[-1]}) has no nibble pairs")
    pairs = codes.to(torch.uint8).unflatten(-1, (-1, 2))
    return pairs[..., 0] | pairs[..., 1] << 4


def unpack_nibbles(packed: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack_nibbles`: uint8 [..., K/2] as uint8 [..., K]."""
    return torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2)


def concatenate(weights: tuple[QuantizedWeight, ...]) -> QuantizedWeight:
    """Several weights over the same inputs as one: rows of the first, then of the next.

    Raises:
        ValueError: They differ in columns, bits, group or kind of zeros.
    """
    kinds = {(one.shape[1], one.bits, one.group, one.zero_kind) for one in weights}
    if len(kinds) != 1:
        raise ValueError("weights that are joined must agree in columns, bits, group and zeros")
    zeros = [one.zeros for one in weights if one.zeros is not None]
    return QuantizedWeight(
        torch.cat([one.codes for one in weights]),
        torch.cat([one.scales for one in weights]),
        torch.cat(zeros) if zeros else None,
        weights[0].bits,
        weights[0].group,
    )
