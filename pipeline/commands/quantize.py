"""``specdrive quantize``: a model's weights in few bits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from verifier.errors import InputError

if TYPE_CHECKING:
    from pipeline.models import LanguageModel
    from serving.quantization import QuantizeSettings, Report

# Names of `serving.quantization.METHODS`, here so that help needs no torch; a test compares.
METHODS = ("rtn", "gptq", "awq", "awq-gptq", "atom", "exact")
_SHOWN = 4


@click.command("quantize")
@click.argument("model", default="smollm2")
@click.option(
    "--method",
    "-m",
    type=click.Choice(METHODS),
    default="gptq",
    show_default=True,
    help="rtn rounds to nearest; exact takes over weights that lie on a grid already.",
)
@click.option("--bits", type=click.Choice(["4", "8"]), default="4", show_default=True)
@click.option(
    "--group",
    default=64,
    show_default=True,
    type=click.IntRange(min=8),
    metavar="N",
    help="Neighbouring weights that share a scale.",
)
@click.option(
    "--narrow-group",
    type=click.IntRange(min=8),
    metavar="N",
    help="The group of matrices that --group does not divide; by default an error.",
)
@click.option(
    "--asymmetric/--symmetric",
    default=True,
    show_default=True,
    help="With zero points or without.",
)
@click.option(
    "--head-bits",
    type=click.Choice(["4", "8", "16"]),
    default="8",
    show_default=True,
    help="Of the embedding and the head.",
)
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A LoRA adapter to merge into the weights first.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the checkpoint goes; default: MODEL-METHOD-gGROUP here.",
)
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
@click.option(
    "--calibration-rows",
    default=128,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Texts that show which weights matter: half prompts with the model's own answers, half "
    "prose.",
)
@click.option(
    "--calibration-tokens",
    default=512,
    show_default=True,
    type=click.IntRange(min=2),
    metavar="N",
    help="Of each text, at most.",
)
@click.option("--seed", default=0, show_default=True, help="Of the calibration's texts.")
@options.json_option
def command(
    model: str,
    method: Any,
    bits: str,
    group: int,
    narrow_group: int | None,
    asymmetric: bool,
    head_bits: str,
    adapter: Path | None,
    out: Path | None,
    overwrite: bool,
    calibration_rows: int,
    calibration_tokens: int,
    seed: int,
    as_json: bool,
) -> None:
    """Quantize MODEL: smollm2 (the default), a local folder or a Hugging Face id.

    The result is a checkpoint for specdrive evaluate, generate and serve; specdrive convert gives
    it other layouts. An attempt that was stopped, by whatever means, goes on where it was when the
    same command is given again, and ends with the same bytes.
    """
    from pipeline.models import load_model
    from pipeline.native import serving_errors

    with serving_errors():
        from serving.quantization import CALIBRATED, QuantizeSettings

        settings = QuantizeSettings(
            method=method,
            bits=int(bits),
            group=group,
            symmetric=not asymmetric,
            head_bits=int(head_bits),
            narrow_group=narrow_group,
        )
    source = load_model(model, "cpu", "float32", adapter, "transformers")
    if source.quantized:
        raise InputError(
            "the model is quantized already", file=model, remedy="name the original one"
        )
    target = out or Path(default_name(model, settings))
    with _dense(source, target) as folder:
        rows: Sequence[Sequence[int]] = []
        if method in CALIBRATED:
            rows = _calibration(folder, calibration_rows, calibration_tokens, seed)
        report = _quantized(source, folder, target, settings, rows, overwrite)
    if as_json:
        options.print_json(report.to_json())
    else:
        _print(report)


def default_name(model: str, settings: QuantizeSettings) -> str:
    """``smollm2-awq-g64``."""
    kind = "" if not settings.grid().symmetric else "-symmetric"
    return f"{Path(model).name}-{settings.method}-g{settings.group}{kind}"


@contextmanager
def _dense(source: LanguageModel, target: Path) -> Iterator[Path]:
    """The folder to quantize; with an adapter, one that is there until all is done."""
    if source.adapter is None:
        yield source.folder
        return
    from pipeline.quantized.making import merged

    digest = source.hash.removeprefix("sha256:")[:16]
    folder = target.parent / f".{target.name}.merged-{digest}"
    for old in target.parent.glob(f".{target.name}.merged-*"):
        if old != folder:
            shutil.rmtree(old, ignore_errors=True)
    yield merged(source, folder)
    shutil.rmtree(folder, ignore_errors=True)


def _calibration(folder: Path, count: int, length: int, seed: int) -> Sequence[Sequence[int]]:
    from pipeline.models import load_model
    from pipeline.quantized.calibration import calibration_rows
    from pipeline.tables import progress_bar

    asked = load_model(folder, "cpu", engine="native")
    with progress_bar("answers to calibrate with", (count + 1) // 2) as advance:
        return calibration_rows(asked, count, length, seed, on_answers=advance)


def _quantized(
    source: LanguageModel,
    folder: Path,
    target: Path,
    settings: QuantizeSettings,
    rows: Sequence[Sequence[int]],
    overwrite: bool,
) -> Report:
    from dataclasses import replace

    from pipeline.native import serving_errors
    from pipeline.tables import progress_bar
    from pipeline.training.adapters import portable_name
    from serving.architecture import read_architecture
    from serving.folders import CONFIG, read_json
    from serving.quantization import quantize_model

    name = portable_name(source)
    if source.adapter is not None:
        name = f"{name.rpartition('/')[2]}-{source.adapter.name}"
    with serving_errors():
        parts = read_architecture(read_json(folder / CONFIG)).layers + 1
        with progress_bar(f"quantizing ({settings.method})", parts) as advance:
            done = 0

            def progress(finished: int, _total: int) -> None:
                nonlocal done
                advance(finished - done)
                done = finished

            return quantize_model(
                folder, target, replace(settings, base=name), rows, progress, overwrite=overwrite
            )


def _print(report: Report) -> None:
    from rich.padding import Padding

    from pipeline.tables import make_console, plain_table

    console = make_console()
    table = plain_table("layer", "weights changed by", "outputs changed by", "chosen")
    for column in table.columns[1:3]:
        column.justify = "right"
    layers = sorted(report.layers, key=lambda x: -(x.output_error or x.weight_error))
    for layer in layers[:_SHOWN]:
        table.add_row(
            layer.name.removeprefix("model.layers."),
            _percent(layer.weight_error),
            _percent(layer.output_error),
            "; ".join(f"{names}: {choice}" for names, choice in layer.choices.items()),
        )
    settings = report.settings
    console.print(
        f"{report.folder}: {settings.method}, {report.bits_per_weight:.2f} bits per weight "
        f"({report.layer_bits_per_weight:.2f} in the layers, {settings.head_bits} bits in the "
        f"head), {report.bytes / 1e6:.1f} MB, {report.seconds:.0f} s"
    )
    if layers:
        outputs = [layer.output_error for layer in layers if layer.output_error is not None]
        mean = f", of outputs by {_percent(sum(outputs) / len(outputs))}" if outputs else ""
        weights = sum(layer.weight_error for layer in layers) / len(layers)
        console.print(
            f"Squares of weights changed by {_percent(weights)} in the mean of the "
            f"{len(layers)} layers{mean}; most in"
        )
        console.print(Padding(table, (0, 0, 0, 2)))


def _percent(share: float | None) -> str:
    return f"{100 * share:.2f} %" if share is not None else "–"
