"""The operations' definitions in plain PyTorch: what every back-end is tested against.

They compute in float64 where their input is float64 and in float32 otherwise, and round once, at
the end. Clarity comes before speed.
"""

from kernels.reference.attention import paged_attention, read_kv, write_kv
from kernels.reference.elementwise import add_rms_norm, embedding, rms_norm, rope, silu_mul
from kernels.reference.linear import (
    dense_linear,
    int4_linear,
    int8_linear,
    quantize_activations,
    w4a4_linear,
)
from kernels.reference.lora import lora_sgmv
from kernels.reference.sampling import sample

__all__ = [
    "add_rms_norm",
    "dense_linear",
    "embedding",
    "int4_linear",
    "int8_linear",
    "lora_sgmv",
    "paged_attention",
    "quantize_activations",
    "read_kv",
    "rms_norm",
    "rope",
    "sample",
    "silu_mul",
    "w4a4_linear",
    "write_kv",
]
