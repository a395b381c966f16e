"""transformers in eager mode, bfloat16, with the weights of the same quantized model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.model_step_files import dense_weights
from benchmarks.model_step_work import MIDDLE, Adapters, EngineSpec, first_position, row_ids
from pipeline.reading import cache_argument
from serving.formats.gguf import read_gguf


class Transformers:
    """An `Engine`, without adapters."""

    def __init__(self, spec: EngineSpec) -> None:
        """Make the network."""
        from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

        torch.set_num_threads(spec.threads)
        model = read_gguf(spec.path)
        settings = {key: value for key, value in model.config.items() if key != "model_type"}
        config: Any = AutoConfig.for_model(model.config["model_type"], **settings)
        network: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        missing, unexpected = network.load_state_dict(dense_weights(model), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise RuntimeError(f"weights that do not fit: {missing}, {unexpected}")
        network.tie_weights()
        self._network = network.eval()
        self._new_cache = lambda: DynamicCache(config=config)
        self._argument = cache_argument(type(network))
        self._caches: dict[int, Any] = {}

    def steps(self, batch: int, adapters: Adapters, steps: int) -> list[float]:
        """See `Engine.steps`.

        Raises:
            ValueError: With adapters.
        """
        if adapters != "none":
            raise ValueError("transformers is measured without adapters")
        ids = torch.tensor([row_ids(row) for row in range(batch)])
        with torch.inference_mode():
            if batch not in self._caches:
                self._caches[batch] = self._new_cache()
                self._run(ids[:, :MIDDLE], self._caches[batch])
            cache = self._caches[batch]
            first = first_position(steps)
            if (beyond := cache.get_seq_length() - first) > 0:
                cache.crop(-beyond)
            spent: list[float] = []
            for position in range(first, first + steps):
                began = time.perf_counter()
                self._run(ids[:, position : position + 1], cache).logits.float()
                spent.append(time.perf_counter() - began)
        return spent

    def prompt(self, tokens: int) -> float:
        """See `Engine.prompt`."""
        ids = torch.tensor([row_ids(0, tokens)])
        began = time.perf_counter()
        with torch.inference_mode():
            self._run(ids, self._new_cache())
        return time.perf_counter() - began

    def logits(self, rows: Sequence[Sequence[int]], adapter: int | None) -> torch.Tensor:
        """See `Engine.logits`.

        Raises:
            ValueError: With an adapter.
        """
        if adapter is not None:
            raise ValueError("transformers is measured without adapters")
        with torch.inference_mode():
            return self._run(torch.tensor(rows), self._new_cache()).logits[:, -1].float()

    def info(self) -> str:
        """See `Engine.info`."""
        return str(self._network.config._attn_implementation)

    def _run(self, ids: torch.Tensor, cache: Any) -> Any:
        held = {self._argument: cache}
        return self._network(ids, use_cache=True, logits_to_keep=1, **held)
