"""Stage ``quantize``: the champion in few bits, and what that costs.

Writes ``quantized/`` (a checkpoint of `serving.checkpoint`), ``adapter/`` (what runs beside it, if
anything does), ``answers.jsonl`` (what the champion answers before and after, on the same prompts
with the same random numbers) and ``summary.json``. Both are decoded by the native engine, so that
they differ in nothing but the weights. The gate: strict success has dropped by no more than
``quantize.max_drop``. A gate that stays shut does not stop a run; it keeps the model from being
promoted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters import adapter_hash
from pipeline.config import QuantizeConfig, RunConfig
from pipeline.files import write_rows, write_text
from pipeline.quantized.size import AFTER, BEFORE, RECOVERED, sizes
from pipeline.stages.context import StageContext
from pipeline.stages.generate import TASKS
from pipeline.stages.select import ADAPTER, SELECTION
from pipeline.tasks import Task, load_tasks
from verifier.errors import InputError
from verifier.yaml_files import load_json

if TYPE_CHECKING:
    from pipeline.models import LanguageModel
    from pipeline.quantized.measuring import Measured, Questions

SECTIONS = ("seed", "model", "tasks", "train", "quantize")
"""``train`` only where an adapter may be trained on the quantized weights."""
NEEDS: tuple[str, ...] = ()
"""Its inputs are ``select`` and, where it may train, ``round-01/generate`` of every round."""

CHECKPOINT, ANSWERS, SUMMARY = "quantized", "answers.jsonl", "summary.json"

_SLACK = 1e-9


@dataclass(frozen=True)
class _Job:
    """What is to be done, and where its parts are kept until all of it is done.

    Attributes:
        context: Of the stage.
        champion: ``round-02``.
        adapter: The champion's, if it has one.
        name: What the quantized model is made from, for its files.
    """

    context: StageContext
    champion: str
    adapter: Path | None
    name: str

    @property
    def settings(self) -> QuantizeConfig:
        return self.context.config.quantize

    @property
    def beside(self) -> Path | None:
        """The adapter, where it is kept apart from the weights."""
        return self.adapter if self.settings.base == "separate" else None

    @property
    def partial(self) -> Path:
        return self.context.partial


def run(context: StageContext) -> None:
    """Merge, quantize, ask both models, and hold the second against the gate.

    Raises:
        InputError: The model cannot be quantized as asked, or something cannot be loaded.
    """
    from pipeline.models import load_model
    from pipeline.quantized.making import copied
    from pipeline.quantized.measuring import compare, measure

    job = _job(context)
    dense = _dense(job)
    checkpoint = _quantized(job, dense)
    questions = _questions(context)
    settings = job.settings

    first = load_model(dense, "cpu", adapter=job.beside, engine="native")
    second = _load_quantized(job, checkpoint, job.beside)
    before = measure(questions, first, BEFORE)
    after = measure(questions, second, AFTER)
    compared = {AFTER: compare(questions, before, after, (first, second))}
    measured = [before, after]
    kept, training = AFTER, None
    beside = job.beside
    size = sizes(dense, checkpoint, beside)
    if settings.recover_steps and (
        settings.recover == "always" or _drop(before, after) > settings.max_drop + _SLACK
    ):
        trained, training = _recovered(job, dense, checkpoint)
        third = _load_quantized(job, checkpoint, trained)
        size = sizes(dense, checkpoint, trained)
        again = measure(questions, third, RECOVERED)
        compared[RECOVERED] = compare(questions, before, again, (first, third))
        measured.append(again)
        if again.strict_success > after.strict_success:
            kept, beside = RECOVERED, trained
    chosen = next(one for one in measured if one.name == kept)
    summary = {
        "champion": job.champion,
        "name": job.name,
        **_how(settings),
        "adapter": adapter_hash(beside) if beside is not None else None,
        "size": size,
        "samples": settings.samples,
        "seeds": list(settings.seeds),
        "temperature": settings.temperature,
        "models": {one.name: one.to_json() for one in measured},
        "compared": compared,
        "training": training,
        "kept": kept,
        "gate": gate(before, chosen, settings.max_drop),
    }
    write_rows(context.work / ANSWERS, _rows(measured))
    copied(checkpoint, context.work / CHECKPOINT)
    if beside is not None:
        copied(beside, context.work / ADAPTER)
    write_text(context.work / SUMMARY, json.dumps(summary, indent=1) + "\n")


def check(config: RunConfig) -> LanguageModel:
    """See early whether a run's model can be quantized as its configuration says; the model.

    Raises:
        InputError: It is quantized already, its architecture is not supported, or a group does
            not divide a layer's columns.
    """
    from pipeline.models import load_model
    from pipeline.quantized.making import check_quantizable

    base = load_model(config.model.name, "cpu", "float32", engine="transformers")
    check_quantizable(base, config.quantize)
    return base


def gate(before: Measured, after: Measured, max_drop: float) -> dict[str, Any]:
    """``passed``, the ``reasons`` against (empty if none) and the drop of strict success."""
    drop = _drop(before, after)
    reasons = []
    if drop > max_drop + _SLACK:
        reasons.append(
            f"strict success went from {_percent(before.strict_success)} to "
            f"{_percent(after.strict_success)}, a drop of more than {100 * max_drop:g} points"
        )
    return {"passed": not reasons, "reasons": reasons, "drop": drop, "max_drop": max_drop}


def _job(context: StageContext) -> _Job:
    from pipeline.training.adapters import portable_name

    selected = context.inputs["select"]
    champion = str(load_json(selected / SELECTION)["champion"])
    adapter = selected / ADAPTER if (selected / ADAPTER).is_dir() else None
    base = check(context.config)
    name = portable_name(base)
    if adapter is not None and context.config.quantize.base == "merged":
        # Not the base any more: adapters of the base do not fit it.
        name = f"{name.rpartition('/')[2]}-{context.config.name}-{champion}"
    return _Job(context, champion, adapter, name)


def _dense(job: _Job) -> Path:
    """Folder of the weights that are quantized."""
    from pipeline.models import load_model
    from pipeline.quantized.making import merged

    of_model = job.context.config.model
    dtype = of_model.dtype if of_model.dtype != "auto" else "float32"
    apart = job.settings.base == "separate"
    adapter = None if apart else job.adapter
    model = load_model(of_model.name, "cpu", dtype, adapter, "transformers")
    if adapter is None:
        return model.folder
    job.context.report("merging the adapter", 0, 1)
    return merged(model, job.partial / "dense")


def _quantized(job: _Job, dense: Path) -> Path:
    from pipeline.models import load_model
    from pipeline.prompts import load_template
    from pipeline.quantized.calibration import calibration_rows
    from pipeline.quantized.making import quantized
    from pipeline.tasks import task_prompt

    config, settings = job.context.config, job.settings

    def rows() -> list[list[int]]:
        words, bank = _bank(job.context)
        template = load_template(config.tasks.prompt)
        asked = [task_prompt(task, template, words) for task in bank if task.split == "train"]
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            job.context.report(
                "answers to calibrate with", done, (settings.calibration_rows + 1) // 2
            )

        return calibration_rows(
            load_model(dense, "cpu", adapter=job.beside, engine="native"),
            settings.calibration_rows,
            settings.calibration_tokens,
            config.seed,
            prompts=asked,
            folder=job.partial / "calibration",
            on_answers=advance,
        )

    folder = job.partial / "checkpoint"
    return quantized(dense, folder, settings, rows, job.name, job.context.report)


def _load_quantized(job: _Job, checkpoint: Path, adapter: Path | None) -> LanguageModel:
    from pipeline.models import load_model

    return load_model(
        checkpoint,
        "cpu",
        adapter=adapter,
        engine="native",
        activation_bits=job.settings.activation_bits,
        kv=job.settings.kv,
    )


def _recovered(job: _Job, dense: Path, checkpoint: Path) -> tuple[Path, dict[str, Any]]:
    from pipeline.models import load_model
    from pipeline.prompts import load_template
    from pipeline.quantized.recovery import champions_answers, recover, recovery_settings
    from pipeline.tasks import task_prompt
    from verifier.vocabulary import load_vocabulary

    config, settings, report = job.context.config, job.settings, job.context.report
    number = int(job.champion.removeprefix("round-"))
    generated = job.context.inputs.get(f"{job.champion}/generate")
    if generated is None:
        raise InputError(
            "nothing was trained, so there is nothing to recover",
            remedy="set quantize.recover_steps=0",
        )
    words, template = load_vocabulary(config.tasks.vocabulary), load_template(config.tasks.prompt)
    training = recovery_settings(config, number)
    said = champions_answers(
        load_model(dense, "cpu", adapter=job.beside, engine="native"),
        [task_prompt(task, template, words) for task in load_tasks(generated / TASKS, words)],
        settings.recover_samples,
        settings.max_new_tokens,
        training.seed,
        job.partial / "recovery",
        report,
    )
    champion = load_model(dense, "cpu", "float32", job.beside, "transformers")
    folder = job.partial / "recovered"
    return recover(checkpoint, champion, said, training, folder, job.beside, job.name, report)


def _questions(context: StageContext) -> Questions:
    from pipeline.evaluation import Judge
    from pipeline.generation import Sampling
    from pipeline.prompts import load_template
    from pipeline.quantized.measuring import Questions
    from verifier.semantics import load_semantics

    settings, config = context.config.quantize, context.config
    words, bank = _bank(context)
    limit = settings.limit if settings.limit is not None else config.tasks.limit
    tasks = [
        task for split in settings.splits for task in [t for t in bank if t.split == split][:limit]
    ]
    if not tasks:
        raise InputError(
            f"no tasks in {', '.join(settings.splits)}",
            file=config.tasks.bank,
            remedy="choose others with quantize.splits",
        )
    return Questions(
        tuple(tasks),
        load_template(config.tasks.prompt),
        Judge(words, load_semantics(config.tasks.semantics)),
        settings.samples,
        tuple(
            Sampling(settings.temperature, 1.0, settings.max_new_tokens, seed)
            for seed in settings.seeds
        ),
        context.partial,
        context.report,
    )


def _bank(context: StageContext) -> tuple[Any, tuple[Task, ...]]:
    from verifier.vocabulary import load_vocabulary

    words = load_vocabulary(context.config.tasks.vocabulary)
    return words, tuple(load_tasks(context.config.tasks.bank, words))


def _how(settings: QuantizeConfig) -> dict[str, Any]:
    names = ("base", "method", "bits", "group", "symmetric", "head_bits", "activation_bits", "kv")
    return {name: getattr(settings, name) for name in names}


def _rows(measured: list[Measured]) -> list[dict[str, Any]]:
    return [row.to_json() for row in chain.from_iterable(one.rows for one in measured)]


def _drop(before: Measured, after: Measured) -> float:
    return before.strict_success - after.strict_success


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
