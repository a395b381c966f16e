"""What every operation means, in plain PyTorch: slow, in any float type, the tests' oracle."""

from kernels.reference.attention import paged_attention, write_kv
from kernels.reference.elementwise import add_rms_norm, embedding, rms_norm, rope, silu_mul
from kernels.reference.linear import dense_linear, int4_linear, int8_linear, w4a4_linear
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
    "rms_norm",
    "rope",
    "sample",
    "silu_mul",
    "w4a4_linear",
    "write_kv",
]
