"""Making and measuring quantized models, each part kept on disk so that nothing is done twice."""

from __future__ import annotations

import ast
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch

import serving.quantization
from benchmarks.quantization_cells import Cell, Weights, digest
from benchmarks.quantization_text import Text, evaluation_text, losses, perplexity, windows_of
from benchmarks.results import REPOSITORY
from pipeline.config import QuantizeConfig
from pipeline.evaluation import Judge
from pipeline.generation import Sampling
from pipeline.models import DEFAULT_MODEL, PUBLIC_NAME, LanguageModel, folder_hash, load_model
from pipeline.prompts import load_template
from pipeline.quantized.calibration import calibration_rows
from pipeline.quantized.drift import drift
from pipeline.quantized.making import merged
from pipeline.quantized.measuring import Measured, Questions, kept, measure
from pipeline.tasks import load_tasks
from serving.checkpoint import Weight, load_checkpoint
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary

CHAMPION = REPOSITORY / "models" / "champion"
_STAGE = QuantizeConfig()
"""What the pipeline's stage does if nothing else is said."""
BANK, TEMPLATE, SEMANTICS, SPLIT = "driving", "observed", "default", "test"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        windows: Of the text at most; None for all of it.
        calibration: Rows and their length.
        samples: Answers per task.
        tasks: Of the held-out ones at most; None for all of them.
        temperature: Of sampling.
        max_new_tokens: Limit per answer.
        seed: Of calibration and of sampling.
    """

    windows: int | None = None
    calibration: tuple[int, int] = (_STAGE.calibration_rows, _STAGE.calibration_tokens)
    samples: int = 16
    tasks: int | None = None
    temperature: float = 0.2
    max_new_tokens: int = 120
    seed: int = 0


class Work:
    """A folder of checkpoints and results.

    What is there is used if it was made of the same weights, settings, calibration and code.
    """

    def __init__(self, folder: Path, plan: Plan, show: Callable[[str], None]) -> None:
        """Go on with what is in ``folder``; ``show`` is told what is being done."""
        self._folder, self._plan, self._show = folder, plan, show

    @cached_property
    def text(self) -> Text:
        """What perplexity is measured on."""
        return windows_of(self._base, evaluation_text(), self._plan.windows)

    def done(self, cell: Cell) -> dict[str, Any] | None:
        """What was measured of a cell; None if it has not been."""
        try:
            return json.loads(self._file(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def measured(self, cell: Cell) -> dict[str, Any]:
        """Measure a cell, or go on with an interrupted attempt.

        Returns:
            ``cell``, ``checkpoint`` (sizes and seconds), ``losses`` per window and ``perplexity``,
            ``answers`` (task and whether it is strictly right, in order), ``drift``.

        Raises:
            InputError: Something cannot be loaded.
            ServingError: The model cannot be quantized as asked.
        """
        if (before := self.done(cell)) is not None:
            return before
        folder = self._checkpoint(cell)
        adapter = CHAMPION if cell.adapter else None
        model = load_model(folder, "cpu", adapter=adapter, engine="native", kv=cell.kv)
        found: dict[str, Any] = {
            "cell": cell.to_json(),
            "checkpoint": self._about(cell, folder),
            "text": {"hash": self.text.hash, "predicted": self.text.predicted},
        }
        if not cell.adapter:
            windows = self._losses(cell, model)
            found["losses"] = windows
            found["perplexity"] = perplexity(windows, self.text.predicted)
        if cell.answers:
            answers = self._answers(cell, model)
            found["answers"] = [
                [row.judged.task.id, row.judged.strict_success] for row in answers.rows
            ]
            if cell.adapter and cell.method != "bf16":
                found["drift"] = self._drift(cell, model)
        file = self._file(cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".tmp")
        beside.write_text(json.dumps(found) + "\n", encoding="utf-8")
        beside.replace(file)
        return found

    @cached_property
    def _base(self) -> LanguageModel:
        return load_model(DEFAULT_MODEL, "cpu", "float32", engine="transformers")

    def _identity(self, weights: Weights) -> str:
        """Of the weights that are quantized, known before they are made."""
        return digest(
            folder_hash(self._base.folder), folder_hash(CHAMPION) if weights == "tuned" else ""
        )

    def _dense(self, weights: Weights) -> Path:
        """Folder of the weights that are quantized."""
        if weights == "original":
            return self._base.folder
        folder = self._folder / f"tuned-{self._identity(weights)}"
        if not folder.is_dir():
            self._show("merging the champion's adapter")
        tuned = load_model(DEFAULT_MODEL, "cpu", "float32", adapter=CHAMPION, engine="transformers")
        return merged(tuned, folder)

    def _checkpoint(self, cell: Cell) -> Path:
        """The quantized model's folder; the dense one's where nothing is quantized."""
        dense = self._dense(cell.weights)
        settings = cell.settings(PUBLIC_NAME if cell.weights == "original" else "")
        if settings is None:
            return dense
        folder = self._folder / "checkpoints" / self._key(cell)
        if folder.is_dir():
            return folder
        rows = self._calibration(cell.weights) if _calibrated(cell) else []
        resumed = folder.with_name(f".{folder.name}.quantizing").is_dir()
        began = time.perf_counter()

        def progress(done: int, total: int) -> None:
            self._show(f"{cell.name}: quantizing, part {done} of {total}")

        folder.parent.mkdir(parents=True, exist_ok=True)
        serving.quantization.quantize_model(dense, folder, settings, rows, progress)
        seconds = None if resumed else time.perf_counter() - began
        _seconds_file(folder).write_text(json.dumps(seconds))
        return folder

    def _about(self, cell: Cell, folder: Path) -> dict[str, Any]:
        """Bits per weight of the layers and of everything, bytes, and how long it took."""
        if cell.method == "bf16":
            return {"bits": 16.0, "bits_all": 16.0, "seconds": None}
        model = load_checkpoint(folder)
        layers = [model.matrix(name) for name in model.architecture.linear_shapes()]
        whole = [model.matrix(name) for name in model.architecture.matrix_shapes()]
        seconds = None
        with suppress(OSError, ValueError):
            seconds = json.loads(_seconds_file(folder).read_text())
        return {"bits": _bits(layers), "bits_all": _bits(whole), "seconds": seconds}

    def _calibration(self, weights: Weights) -> Sequence[Sequence[int]]:
        """The model's own answers to training tasks, and prose; sampled once."""
        count, length = self._plan.calibration
        file = self._folder / "calibration" / f"{self._calibration_key(weights)}.json"

        def rows() -> dict[str, Any]:
            self._show(f"{weights}: answers to calibrate with")
            model = load_model(self._dense(weights), "cpu", engine="native")
            return {
                "rows": calibration_rows(
                    model, count, length, self._plan.seed, folder=file.with_suffix("")
                )
            }

        return kept(file, rows)["rows"]

    def _calibration_key(self, weights: Weights) -> str:
        return digest(self._identity(weights), self._plan.calibration, self._plan.seed)

    def _losses(self, cell: Cell, model: LanguageModel) -> list[float]:
        total = len(self.text.windows)
        parts = self._folder / "losses" / f"{self._cell_key(cell)}.json"

        def progress(done: int) -> None:
            if done % 20 == 0 or done == total:
                self._show(f"{cell.name}: perplexity, window {done} of {total}")

        return kept(parts, lambda: {"losses": losses(model, self.text, progress)})["losses"]

    @cached_property
    def _questions(self) -> Questions:
        words = load_vocabulary()
        tasks = [task for task in load_tasks(BANK, words) if task.split == SPLIT]
        plan = self._plan
        sampling = Sampling(plan.temperature, 1.0, plan.max_new_tokens, plan.seed)
        return Questions(
            tuple(tasks[: plan.tasks]),
            load_template(TEMPLATE),
            Judge(words, load_semantics(SEMANTICS)),
            plan.samples,
            (sampling,),
            self._folder / "measured",
            lambda what, done, total: self._show(f"{what}, {done} of {total}"),
        )

    def _answers(self, cell: Cell, model: LanguageModel) -> Measured:
        return measure(self._questions, model, cell.name)

    def _drift(self, cell: Cell, model: LanguageModel) -> dict[str, Any]:
        """How far the adapter's predictions move when its base is quantized."""
        plain = replace(cell, method="bf16")
        dense = self._dense(cell.weights)
        before = load_model(dense, "cpu", adapter=CHAMPION, engine="native")
        said = self._answers(plain, before).first_answers()
        self._show(f"{cell.name}: drift")
        return drift(before, model, said).to_json()

    def _key(self, cell: Cell) -> str:
        """Of a checkpoint."""
        settings = cell.settings("")
        if settings is None:
            return digest(self._identity(cell.weights))
        calibration = self._calibration_key(cell.weights) if _calibrated(cell) else ""
        return digest(self._identity(cell.weights), settings.key(), calibration, _code())

    def _cell_key(self, cell: Cell) -> str:
        """Of a cell's measurements."""
        beside = folder_hash(CHAMPION) if cell.adapter else cell.adapter
        which = (cell.name, cell.kv, beside, cell.answers)
        return digest(self._key(cell), which, asdict(self._plan), self.text.hash)

    def _file(self, cell: Cell) -> Path:
        return self._folder / "cells" / f"{cell.name.replace('/', '-')}-{self._cell_key(cell)}.json"


def _bits(weights: Sequence[Weight]) -> float:
    """Stored bits per weight, scales and zero points included."""
    bits = count = 0.0
    for weight in weights:
        if isinstance(weight, torch.Tensor):
            bits, count = bits + 8 * weight.element_size() * weight.numel(), count + weight.numel()
        else:
            size = math.prod(weight.shape)
            bits, count = bits + weight.bits_per_weight * size, count + size
    return bits / count


def _seconds_file(checkpoint: Path) -> Path:
    return checkpoint.with_name(f"{checkpoint.name}.seconds.json")


def _calibrated(cell: Cell) -> bool:
    return cell.method in serving.quantization.CALIBRATED


@cache
def _code() -> str:
    """Of the quantizer's sources but for comments: other code makes other checkpoints."""
    sources = sorted((REPOSITORY / "serving" / "quantization").glob("*.py"))
    return digest(*(ast.dump(ast.parse(path.read_text("utf-8"))) for path in sources))
