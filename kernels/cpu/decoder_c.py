"""The decoder's structures as C sees them (`src/decoder.h`)."""

from __future__ import annotations

import ctypes

from kernels.cpu.linear import CLinear, CMatrix

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
"""Layers that adapters can adapt, in the order of ``sd::Target``."""


class CDecoderLayer(ctypes.Structure):
    """``sd::DecoderLayer``."""

    _fields_ = (
        ("input_norm", ctypes.c_void_p),
        ("post_norm", ctypes.c_void_p),
        ("q_norm", ctypes.c_void_p),
        ("k_norm", ctypes.c_void_p),
        ("qkv", CLinear),
        ("o", CLinear),
        ("gate_up", CLinear),
        ("down", CLinear),
    )


class CDecoderModel(ctypes.Structure):
    """``sd::DecoderModel``."""

    _fields_ = (
        ("hidden", ctypes.c_int32),
        ("layers", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("kv_heads", ctypes.c_int32),
        ("head_dim", ctypes.c_int32),
        ("intermediate", ctypes.c_int32),
        ("vocab", ctypes.c_int32),
        ("positions", ctypes.c_int32),
        ("rms_eps", ctypes.c_float),
        ("layer", ctypes.POINTER(CDecoderLayer)),
        ("embedding", CMatrix),
        ("embedding_rows", ctypes.c_void_p),
        ("embedding_dtype", ctypes.c_int32),
        ("final_norm", ctypes.c_void_p),
        ("head", CLinear),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
    )


class CKVCache(ctypes.Structure):
    """``sd::KVCacheView``."""

    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("key_params", ctypes.c_void_p),
        ("value_params", ctypes.c_void_p),
        ("bits", ctypes.c_int32),
        ("block_size", ctypes.c_int32),
        ("kv_heads", ctypes.c_int32),
        ("head_dim", ctypes.c_int32),
    )


class CStepBatch(ctypes.Structure):
    """``sd::StepBatch``."""

    _fields_ = (
        ("tokens", ctypes.c_int64),
        ("ids", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("sequences", ctypes.c_int64),
        ("query_indptr", ctypes.c_void_p),
        ("context_lens", ctypes.c_void_p),
        ("block_tables", ctypes.c_void_p),
        ("table_stride", ctypes.c_int64),
        ("table_width", ctypes.c_int64),
        ("caches", ctypes.c_void_p),
        ("blocks", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("row", ctypes.c_void_p),
        ("lora", ctypes.c_void_p),
        ("lora_targets", ctypes.c_void_p),
        ("lora_ranks", ctypes.c_int64),
        ("logits", ctypes.c_void_p),
    )
