"""Operations of quantized, adapter-batched decoding on CPUs and CUDA GPUs.

Each has one name, one definition in PyTorch (`kernels.reference`), one implementation in C++
(`kernels.cpu`) and one in Triton (`kernels.triton`), and is a torch operator
(``torch.ops.specdrive.NAME``).
"""

from kernels.kv_cache import KVCache, allocate_kv_cache
from kernels.operations import (
    add_rms_norm,
    embedding,
    int4_linear,
    int8_linear,
    lora_sgmv,
    paged_attention,
    rms_norm,
    rope,
    sample,
    silu_mul,
    w4a4_linear,
    write_kv,
)
from kernels.packing import PackedAtomWeight, PackedWeight, pack
from kernels.weights import AtomWeight, QuantizedWeight

__all__ = [
    "AtomWeight",
    "KVCache",
    "PackedAtomWeight",
    "PackedWeight",
    "QuantizedWeight",
    "add_rms_norm",
    "allocate_kv_cache",
    "embedding",
    "int4_linear",
    "int8_linear",
    "lora_sgmv",
    "pack",
    "paged_attention",
    "rms_norm",
    "rope",
    "sample",
    "silu_mul",
    "w4a4_linear",
    "write_kv",
]
