"""llama.cpp through the low-level interface of llama-cpp-python.

Sequences with different adapters are not computed together: as in llama-server there is one
``llama_decode`` per adapter, with that adapter set before it.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from benchmarks.model_step_work import (
    LONGEST,
    MIDDLE,
    Adapters,
    EngineSpec,
    first_position,
    row_ids,
)

# Need not be installed, so that type checkers cannot count on it.
llama_cpp: Any = import_module("llama_cpp")

_PROMPT = 512
_CELLS = 256
"""llama.cpp takes contexts in multiples of this."""


class Llama:
    """An `Engine`."""

    def __init__(self, spec: EngineSpec) -> None:
        """Load model and adapters.

        Raises:
            RuntimeError: llama.cpp cannot load something.
        """
        self._said: list[str] = []
        self._log = llama_cpp.llama_log_callback(self._on_log)
        llama_cpp.llama_log_set(self._log, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._threads = spec.threads
        self._model = llama_cpp.llama_model_load_from_file(
            spec.model.encode(), llama_cpp.llama_model_default_params()
        )
        self._adapters = [
            llama_cpp.llama_adapter_lora_init(self._require(self._model), path.encode())
            for path in spec.adapters
        ]
        for adapter in self._adapters:
            self._require(adapter)
        self._vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._contexts: dict[int, Any] = {}
        self._batch = llama_cpp.llama_batch_init(max(_PROMPT, spec.sequences), 0, 1)
        self._none = (llama_cpp.llama_adapter_lora_p_ctypes * 1)()
        self._scale = (ctypes.c_float * 1)(1.0)

    def steps(self, batch: int, adapters: Adapters, steps: int) -> list[float]:
        """See `Engine.steps`."""
        context = self._context(batch)
        memory = llama_cpp.llama_get_memory(context)
        first = first_position(steps)
        for row in range(batch):
            llama_cpp.llama_memory_seq_rm(memory, row, first, -1)
        ids = [row_ids(row) for row in range(batch)]
        if adapters != "distinct":
            self._use(context, None if adapters == "none" else 0)
        spent: list[float] = []
        for position in range(first, first + steps):
            began = time.perf_counter()
            tokens = [(ids[row][position], position, row, True) for row in range(batch)]
            if adapters == "distinct":
                for row, token in enumerate(tokens):
                    self._use(context, row)
                    self._decode(context, [token])
            else:
                self._decode(context, tokens)
            spent.append(time.perf_counter() - began)
        return spent

    def prompt(self, tokens: int) -> float:
        """See `Engine.prompt`."""
        context = self._new_context(1, max(tokens, _CELLS))
        ids = row_ids(0, tokens)
        began = time.perf_counter()
        self._read(context, 0, ids)
        spent = time.perf_counter() - began
        llama_cpp.llama_free(context)
        return spent

    def logits(self, rows: Sequence[Sequence[int]], adapter: int | None) -> torch.Tensor:
        """See `Engine.logits`."""
        context = self._new_context(len(rows), LONGEST)
        self._use(context, adapter)
        found: list[torch.Tensor] = []
        for row, ids in enumerate(rows):
            self._read(context, row, ids)
            numbers = llama_cpp.llama_get_logits(context)
            flat = (ctypes.c_float * self._vocab).from_address(
                ctypes.cast(numbers, ctypes.c_void_p).value or 0
            )
            found.append(torch.frombuffer(flat, dtype=torch.float32).clone())
        llama_cpp.llama_free(context)
        return torch.stack(found)

    def info(self) -> str:
        """See `Engine.info`: instruction sets it was built for, and what was repacked for them."""
        sets = llama_cpp.llama_print_system_info().decode()
        used = [name for name in re.findall(r"(\w+) = 1", sets) if name.startswith("AVX512")]
        repacked = re.search(
            r"CPU_REPACK model buffer size\s*=\s*([\d.]+) MiB", "".join(self._said)
        )
        told = f"{repacked[1]} MiB repacked" if repacked else "nothing repacked"
        return f"llama.cpp built with {', '.join(used) or 'no AVX-512'}; {told}"

    def _on_log(self, _level: int, text: bytes, _data: object) -> None:
        self._said.append(text.decode(errors="replace"))

    def _require(self, pointer: Any) -> Any:
        if not pointer:
            raise RuntimeError("".join(self._said[-3:]).strip() or "llama.cpp cannot load it")
        return pointer

    def _context(self, batch: int) -> Any:
        """A context of so many sequences that have read their prompts."""
        if batch not in self._contexts:
            context = self._new_context(batch, LONGEST)
            for row in range(batch):
                self._read(context, row, row_ids(row)[:MIDDLE])
            self._contexts[batch] = context
        return self._contexts[batch]

    def _new_context(self, sequences: int, tokens: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-tokens // _CELLS) * _CELLS * sequences
        params.n_seq_max = sequences
        params.n_batch = params.n_ubatch = _PROMPT
        params.n_threads = params.n_threads_batch = self._threads
        return self._require(llama_cpp.llama_init_from_model(self._model, params))

    def _use(self, context: Any, adapter: int | None) -> None:
        count = 0
        if adapter is not None:
            self._none[0] = self._adapters[adapter]
            count = 1
        if llama_cpp.llama_set_adapters_lora(context, self._none, count, self._scale):
            raise RuntimeError("llama.cpp cannot use the adapter")

    def _read(self, context: Any, row: int, ids: Sequence[int]) -> None:
        last = len(ids) - 1
        self._decode(context, [(token, at, row, at == last) for at, token in enumerate(ids)])

    def _decode(self, context: Any, tokens: Sequence[tuple[int, int, int, bool]]) -> None:
        """Tokens with their positions, sequences, and whether logits are wanted."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, position, row, wanted) in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = row
            batch.logits[i] = wanted
        if llama_cpp.llama_decode(context, batch):
            raise RuntimeError("".join(self._said[-3:]).strip() or "llama_decode failed")
        llama_cpp.llama_get_logits(context)  # waits for them
