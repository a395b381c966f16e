"""A whole step of a Llama-type decoder on the CPU in one call.

Embedding; per layer norm, projections to queries, keys and values, rotation, cache, attention,
projection back, norm, gated feed-forward; then the final norm and the head for the rows that are
asked for. Activations are float32 throughout. Adapters of any ranks are added to any of the seven
projections of each layer, per row.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from typing import Any, Literal

import torch

from kernels.cpu.decoder_c import (
    TARGETS,
    CDecoderLayer,
    CDecoderModel,
    CKVCache,
    CStepBatch,
)
from kernels.cpu.decoder_types import (
    AnyPacked,
    DecoderConfig,
    DecoderWeights,
    LayerWeights,
    LoraBatch,
    StepBatch,
)
from kernels.cpu.library import DTYPES, check, native
from kernels.cpu.linear import CLinear, CMatrix, c_atom, c_linear, c_matrix
from kernels.cpu.lora import CLoraSegments, CLoraTarget, c_segments, c_target
from kernels.kv_cache import KVCache
from kernels.packing import PackedAtomWeight, PackedWeight

__all__ = [
    "TARGETS",
    "Decoder",
    "DecoderConfig",
    "DecoderWeights",
    "LayerWeights",
    "LoraBatch",
    "StepBatch",
]


class Decoder:
    """Computes steps. Calls from several threads take turns.

    Numbers of a sequence do not depend on the other sequences of the batch, on how it was cut into
    steps, or on the number of threads, beyond float32 rounding.
    """

    def __init__(
        self,
        config: DecoderConfig,
        weights: DecoderWeights,
        activation_bits: Literal[16, 8] = 16,
        clip: float = 0.9,
    ) -> None:
        """Take weights as they are: nothing large is copied.

        Args:
            config: Sizes.
            weights: Of exactly these sizes.
            activation_bits: 16: weight-only; 8: activations are quantized per row and group before
                they meet weights of 4 or 8 bits. Unquantized weights always meet 16 bits, those of
                mixed precision 4 and 8.
            clip: Of the 4-bit activations of mixed-precision weights.

        Raises:
            ValueError: Weights of other shapes.
            MemoryError: There is no memory.
        """
        if activation_bits not in (16, 8):
            raise ValueError(f"activation_bits must be 16 or 8, not {activation_bits}")
        self.config = config
        self._held: list[Any] = []  # what the C side points to
        self._bits, self._clip = activation_bits, clip
        library: Any = native()
        library.sd_decoder_create.restype = ctypes.c_void_p
        library.sd_decoder_kinds.restype = ctypes.c_char_p
        handle = library.sd_decoder_create(ctypes.byref(self._model(weights)))
        if not handle:
            raise MemoryError("no memory for a decoder")
        self._handle = ctypes.c_void_p(handle)
        weakref.finalize(self, library.sd_decoder_free, self._handle)
        self._lock = threading.Lock()
        self._caches: tuple[list[weakref.ref[KVCache]], Any] = ([], None)
        self._adapters: weakref.WeakKeyDictionary[LoraBatch, tuple[CLoraSegments, Any, int]] = (
            weakref.WeakKeyDictionary()
        )

    def step(self, batch: StepBatch) -> torch.Tensor:
        """Compute the tokens, write their keys and values, and return logits.

        Returns:
            float32 [R, vocab].

        Raises:
            TypeError: A tensor of the wrong type.
            ValueError: Shapes that do not fit, or numbers that lead out of a tensor: ids beyond the
                vocabulary, positions beyond the rotary table, slots or blocks beyond the cache, a
                block table that is too short, pages beyond the pool. Nothing is written then.
            RuntimeError: There is no memory.
        """
        tokens, rows = batch.ids.numel(), batch.rows.numel()
        sequences = batch.context_lens.numel()
        _check_tensor("ids", batch.ids, torch.int32, (tokens,))
        _check_tensor("positions", batch.positions, torch.int32, (tokens,))
        _check_tensor("slots", batch.slots, torch.int64, (tokens,))
        _check_tensor("query_indptr", batch.query_indptr, torch.int32, (sequences + 1,))
        _check_tensor("context_lens", batch.context_lens, torch.int32, (sequences,))
        _check_tensor("rows", batch.rows, torch.int32, (rows,))
        tables = batch.block_tables
        _check_tensor("block_tables", tables, torch.int32, (sequences, tables.shape[-1]))
        logits = torch.empty(rows, self.config.vocab)
        with self._lock:
            caches = self._c_caches(batch.kv)
            segments, targets, ranks = self._c_adapters(batch.lora)
            step = CStepBatch(
                tokens, batch.ids.data_ptr(), batch.positions.data_ptr(), batch.slots.data_ptr(),
                sequences, batch.query_indptr.data_ptr(), batch.context_lens.data_ptr(),
                tables.data_ptr(), tables.shape[1], tables.shape[1], ctypes.addressof(caches),
                batch.kv[0].blocks, rows, batch.rows.data_ptr(),
                None if segments is None else ctypes.addressof(segments),
                None if targets is None else ctypes.addressof(targets), ranks, logits.data_ptr(),
            )  # fmt: skip
            code = native().sd_decoder_step(self._handle, ctypes.byref(step))
        _check(code)
        return logits

    def set_timing(self, on: bool) -> None:
        """Book the time of later steps on what it is spent on; forgets what was booked."""
        native().sd_decoder_set_timing(self._handle, int(on))

    def times(self) -> dict[str, float]:
        """Seconds booked since `set_timing`, by kind of operation."""
        library: Any = native()
        names = library.sd_decoder_kinds().decode().split()
        booked = (ctypes.c_int64 * len(names))()
        library.sd_decoder_times(self._handle, booked)
        return {name: time * 1e-9 for name, time in zip(names, booked, strict=True)}

    def _model(self, weights: DecoderWeights) -> CDecoderModel:
        c = self.config
        if len(weights.layers) != c.layers:
            raise ValueError(f"{len(weights.layers)} layers given, {c.layers} configured")
        layers = (CDecoderLayer * c.layers)(
            *(self._layer(f"layers[{i}].", layer) for i, layer in enumerate(weights.layers))
        )
        shape = (c.vocab, c.hidden)
        embedding, rows, dtype = CMatrix(), None, 0
        if isinstance(weights.embedding, PackedWeight):
            self._linear("embedding", weights.embedding, *shape)
            embedding = c_matrix(weights.embedding)
        elif weights.embedding.dtype in DTYPES:
            table = weights.embedding.detach().contiguous()
            _check_tensor("embedding", table, table.dtype, shape)
            self._held.append(table)
            rows, dtype = table.data_ptr(), DTYPES[table.dtype]
        else:
            raise TypeError(f"an embedding of {weights.embedding.dtype} is not supported")
        positions = weights.cos.shape[0]
        return CDecoderModel(
            c.hidden, c.layers, c.heads, c.kv_heads, c.head_dim, c.intermediate, c.vocab,
            positions, c.rms_eps, ctypes.cast(layers, ctypes.POINTER(CDecoderLayer)), embedding,
            rows, dtype, self._vector("final_norm", weights.final_norm, c.hidden),
            self._linear("lm_head", weights.lm_head, *shape),
            self._vector("cos", weights.cos, positions, c.head_dim // 2),
            self._vector("sin", weights.sin, positions, c.head_dim // 2),
        )  # fmt: skip

    def _layer(self, at: str, layer: LayerWeights) -> CDecoderLayer:
        c = self.config
        qkv = c.q_width + 2 * c.kv_width
        norms = (("q_norm", layer.q_norm), ("k_norm", layer.k_norm))
        for name, vector, there in (
            *((name, norm, c.qk_norm) for name, norm in norms),
            ("qkv_bias", layer.qkv_bias, c.qkv_bias),
        ):
            if (vector is not None) != there:
                raise ValueError(f"{at}{name} must {'' if there else 'not '}be given")
        bias = None if layer.qkv_bias is None else layer.qkv_bias.detach().float().contiguous()
        if bias is not None:
            _check_tensor(f"{at}qkv_bias", bias, torch.float32, (qkv,))
            self._held.append(bias)
        q_norm, k_norm = (
            None if norm is None else self._vector(at + name, norm, c.head_dim)
            for name, norm in norms
        )
        return CDecoderLayer(
            self._vector(f"{at}input_norm", layer.input_norm, c.hidden),
            self._vector(f"{at}post_norm", layer.post_norm, c.hidden),
            q_norm, k_norm,
            self._linear(f"{at}qkv", layer.qkv, qkv, c.hidden, bias),
            self._linear(f"{at}o", layer.o, c.hidden, c.q_width),
            self._linear(f"{at}gate_up", layer.gate_up, 2 * c.intermediate, c.hidden),
            self._linear(f"{at}down", layer.down, c.hidden, c.intermediate),
        )  # fmt: skip

    def _vector(self, name: str, tensor: torch.Tensor, *shape: int) -> int:
        numbers = tensor.detach().float().contiguous()
        _check_tensor(name, numbers, torch.float32, shape)
        self._held.append(numbers)
        return numbers.data_ptr()

    def _linear(
        self, name: str, packed: AnyPacked, n: int, k: int, bias: torch.Tensor | None = None
    ) -> CLinear:
        self._held.append(packed)
        if packed.device.type != "cpu":
            raise ValueError(f"{name} is on {packed.device}, not packed for the CPU")
        if isinstance(packed, PackedAtomWeight):
            shape = (packed.low.n, packed.low.k + packed.high.k)
            linear = c_atom(packed, self._clip)
            linear.bias = None if bias is None else bias.data_ptr()
        else:
            shape = (packed.n, packed.k)
            linear = c_linear(packed, self._bits if packed.bits <= 8 else 16, bias)
        if shape != (n, k):
            raise ValueError(f"{name} must be {[n, k]}, not {[*shape]}")
        return linear

    def _c_caches(self, kv: Sequence[KVCache]) -> Any:
        known, views = self._caches
        if len(known) == len(kv) and all(ref() is one for ref, one in zip(known, kv, strict=True)):
            return views
        c = self.config
        if len(kv) != c.layers:
            raise ValueError(f"caches of {len(kv)} layers given, {c.layers} needed")
        views = (CKVCache * c.layers)(*(_c_cache(one, kv[0], c) for one in kv))
        self._caches = ([weakref.ref(one) for one in kv], views)
        return views

    def _c_adapters(self, lora: LoraBatch | None) -> tuple[Any, Any, int]:
        if lora is None:
            return None, None, 0
        if lora not in self._adapters:
            self._adapters[lora] = self._check_adapters(lora)
        return self._adapters[lora]

    def _check_adapters(self, lora: LoraBatch) -> tuple[CLoraSegments, Any, int]:
        c = self.config
        segments = c_segments(lora.indptr, lora.rank_indptr, lora.scales, lora.pool)
        if len(lora.pages) != c.layers:
            raise ValueError(f"page tables of {len(lora.pages)} layers given, {c.layers} needed")
        ranks = int(lora.rank_indptr[-1])
        targets = (CLoraTarget * (c.layers * len(TARGETS)))()
        shapes = c.target_shapes()
        for number, layer in enumerate(lora.pages):
            for name, (a, b) in layer.items():
                if name not in shapes:
                    raise ValueError(f"adapters cannot adapt {name!r}, only {', '.join(TARGETS)}")
                if a.shape[0] != ranks:
                    raise ValueError(f"{ranks} rank rows, but page tables of {a.shape[0]}")
                place = number * len(TARGETS) + TARGETS.index(name)
                targets[place] = c_target(a, b, *shapes[name], lora.pool.shape[1])
        _check(
            native().sd_lora_check(
                ctypes.byref(segments), targets, ctypes.c_int64(len(targets)),
                ctypes.c_int64(ranks), ctypes.c_int64(lora.pool.shape[0]),
            )
        )  # fmt: skip
        return segments, targets, ranks


def _c_cache(cache: KVCache, first: KVCache, config: DecoderConfig) -> CKVCache:
    if (cache.kv_heads, cache.head_dim) != (config.kv_heads, config.head_dim):
        raise ValueError(
            f"a cache of {cache.kv_heads} heads of {cache.head_dim} does not fit a decoder of "
            f"{config.kv_heads} heads of {config.head_dim}"
        )
    if (cache.blocks, cache.block_size) != (first.blocks, first.block_size):
        raise ValueError("the caches of all layers must have equal blocks")
    params = (cache.key_params, cache.value_params)
    for tensor in (cache.keys, cache.values, *(one for one in params if one is not None)):
        if not tensor.is_contiguous() or tensor.device.type != "cpu":
            raise ValueError("caches must be contiguous and on the CPU")
    return CKVCache(
        cache.keys.data_ptr(), cache.values.data_ptr(),
        *(None if one is None else one.data_ptr() for one in params),
        cache.bits, cache.block_size, cache.kv_heads, cache.head_dim,
    )  # fmt: skip


def _check(code: int) -> None:
    if code == 2:
        raise ValueError(native().sd_last_error().decode())
    check(code)


def _check_tensor(
    name: str, tensor: torch.Tensor, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    if tensor.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, not {tensor.dtype}")
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must be {[*shape]}, not {[*tensor.shape]}")
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError(f"{name} must be contiguous and on the CPU")
