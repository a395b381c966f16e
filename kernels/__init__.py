"""Operations of quantized decoders with many adapters, on CPUs (C++) and NVIDIA GPUs (Triton).

Every operation has one name and one definition in plain PyTorch (`kernels.reference`). The
functions here run it where their tensors are, as PyTorch operators ``torch.ops.specdrive.NAME``,
which `torch.compile` traces through. Weights are packed once, for one kind of device, by `pack`.

A whole decoder step on the CPU is `kernels.cpu.decoder`.
"""

from kernels.kv_cache import KVCache, allocate_kv_cache
from kernels.operations import (
    add_rms_norm,
    dense_linear,
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
from kernels.packing import PackedAtomWeight, PackedWeight, pack, pack_atom, pack_dense
from kernels.weights import (
    AtomWeight,
    QuantizedWeight,
    concatenate,
    pack_nibbles,
    unpack_nibbles,
)

__all__ = [
    "AtomWeight",
    "KVCache",
    "PackedAtomWeight",
    "PackedWeight",
    "QuantizedWeight",
    "add_rms_norm",
    "allocate_kv_cache",
    "concatenate",
    "dense_linear",
    "embedding",
    "int4_linear",
    "int8_linear",
    "lora_sgmv",
    "pack",
    "pack_atom",
    "pack_dense",
    "pack_nibbles",
    "paged_attention",
    "rms_norm",
    "rope",
    "sample",
    "silu_mul",
    "unpack_nibbles",
    "w4a4_linear",
    "write_kv",
]
