"""An engine in a process of its own: ``python -m benchmarks.model_step_worker SPEC.json``.

It answers requests, one JSON object per line, until its input ends. Engines in one process would
share settings of their OpenMP runtimes, and wait for each other's threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.model_step_work import Adapters, Engine, EngineSpec
from benchmarks.results import REPOSITORY


def load_engine(spec: EngineSpec) -> Engine:
    """The engine of a spec.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    if spec.kind == "llama":
        from benchmarks.model_step_llama import Llama

        return Llama(spec)
    if spec.kind == "transformers":
        from benchmarks.model_step_transformers import Transformers

        return Transformers(spec)
    from benchmarks.model_step_ours import Ours

    return Ours(spec)


class Worker:
    """The process, seen from outside; an `Engine` itself.

    Attributes:
        missing: Why it cannot be used; empty if it can.
    """

    def __init__(self, spec: EngineSpec, folder: Path, name: str) -> None:
        """Start it; ``folder`` takes what does not fit into a line."""
        self._exchange = folder / f"{name}.pt"
        file = folder / f"{name}.json"
        file.write_text(json.dumps(asdict(spec)))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.model_step_worker", str(file)],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": str(spec.threads), "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.missing: str = self._answer()
        if self.missing:
            self.close()

    def steps(self, batch: int, adapters: Adapters, steps: int) -> list[float]:
        """See `Engine.steps`."""
        return self._ask(do="steps", batch=batch, adapters=adapters, steps=steps)

    def prompt(self, tokens: int) -> float:
        """See `Engine.prompt`."""
        return self._ask(do="prompt", tokens=tokens)

    def logits(self, rows: Any, adapter: int | None) -> torch.Tensor:
        """See `Engine.logits`."""
        self._ask(do="logits", rows=rows, adapter=adapter, file=str(self._exchange))
        return torch.load(self._exchange)

    def info(self) -> str:
        """See `Engine.info`."""
        return self._ask(do="info")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"an engine ended with code {self._process.wait()}")
        return json.loads(line)


def _answers(engine: Engine) -> Callable[[dict[str, Any]], Any]:
    def answer(request: dict[str, Any]) -> Any:
        match request.pop("do"):
            case "steps":
                return engine.steps(**request)
            case "prompt":
                return engine.prompt(**request)
            case "logits":
                file = request.pop("file")
                torch.save(engine.logits(**request), file)
                return file
            case _:
                return engine.info()

    return answer


def main() -> None:
    """Answer requests."""
    # Whatever libraries print goes to the other stream.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spec = EngineSpec.from_json(json.loads(Path(sys.argv[1]).read_text()))
    try:
        answer = _answers(load_engine(spec))
    except ModuleNotFoundError as error:
        print(json.dumps(f"{error.name} is not installed"), file=channel, flush=True)
        return
    print(json.dumps(""), file=channel, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=channel, flush=True)


if __name__ == "__main__":
    main()
