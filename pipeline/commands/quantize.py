"""``specdrive quantize``: a model in few bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.native import serving_errors

if TYPE_CHECKING:
    from pipeline.models import LanguageModel
    from serving.quantization import Report

_METHODS = ("awq", "awq-gptq", "gptq", "rtn", "atom", "exact")


@click.command("quantize")
@click.argument("model", default="smollm2")
@click.option(
    "--method",
    default="awq",
    show_default=True,
    type=click.Choice(_METHODS),
    help="exact takes over weights that lie on a 4-bit grid already.",
)
@click.option("--bits", default=4, show_default=True, type=click.IntRange(4, 8), help="4 or 8.")
@click.option("--group", default=64, show_default=True, help="Weights that share a scale.")
@click.option(
    "--symmetric/--asymmetric", default=True, show_default=True, help="Without or with zero points."
)
@click.option(
    "--head-bits",
    default="8",
    show_default=True,
    type=click.Choice(["4", "8", "16"]),
    help="Of embedding and head.",
)
@click.option(
    "--adapter", type=click.Path(path_type=Path), metavar="DIR", help="Merged before quantizing."
)
@click.option(
    "--calibration-rows",
    default=128,
    show_default=True,
    type=click.IntRange(min=1),
    help="Texts that show which weights matter: answers to training tasks, and prose.",
)
@click.option(
    "--calibration-length",
    default=256,
    show_default=True,
    type=click.IntRange(min=16),
    help="Tokens.",
)
@click.option("--seed", default=0, show_default=True, help="Of the calibration texts.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), metavar="DIR", help="Default: MODEL-METHOD."
)
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
@options.json_option
def command(
    model: str,
    method: Any,
    bits: int,
    group: int,
    symmetric: bool,
    head_bits: str,
    adapter: Path | None,
    calibration_rows: int,
    calibration_length: int,
    seed: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Quantize MODEL (smollm2, a local folder or a Hugging Face id) into a checkpoint.

    An attempt that was stopped goes on where it was when the same command is given again.
    """
    from pipeline.models import load_model
    from pipeline.tables import progress_bar
    from pipeline.training.adapters import portable_name

    with serving_errors():
        from serving.architecture import read_architecture
        from serving.folders import read_json
        from serving.quantization import CALIBRATED, QuantizeSettings, quantize_model

        dense = load_model(model, "cpu", "float32", adapter=adapter, engine="transformers")
        settings = QuantizeSettings(
            method=method,
            bits=bits,
            group=group,
            symmetric=symmetric,
            head_bits=int(head_bits),
            base=portable_name(dense) if adapter is None else "",
        )
        rows = (
            _calibration(dense, calibration_rows, calibration_length, seed)
            if method in CALIBRATED
            else []
        )
        folder = out or Path(f"{Path(model).name}-{method}")
        weights = _weights(dense)
        parts = read_architecture(read_json(weights / "config.json")).layers + 1
        with progress_bar("quantizing", parts) as advance:
            report = quantize_model(
                weights, folder, settings, rows, _steps(advance), overwrite=overwrite
            )
    if as_json:
        options.print_json(report.to_json())
    else:
        _print(report)


def _calibration(model: LanguageModel, count: int, length: int, seed: int) -> list[list[int]]:
    from pipeline.quantized.calibration import calibration_rows
    from pipeline.tables import progress_bar

    with progress_bar("sampling answers to calibrate with", (count + 1) // 2) as advance:
        return calibration_rows(model, count, length, seed, on_answers=advance)


def _weights(model: LanguageModel) -> Path:
    """The folder to quantize; one with the adapter merged is kept in the cache."""
    from pipeline.models import cache_folder
    from pipeline.quantized.making import merged

    if model.adapter is None:
        return model.folder
    return merged(model, cache_folder() / "merged" / model.hash.removeprefix("sha256:")[:16])


def _steps(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    """The quantizer's progress (done, total) as steps of a bar."""
    shown = 0

    def progress(done: int, _total: int) -> None:
        nonlocal shown
        advance(done - shown)
        shown = done

    return progress


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "weights", "output", "chosen", "seconds"):
        table.add_column(heading, justify="left" if heading in ("layer", "chosen") else "right")
    for layer in report.layers:
        output = "" if layer.output_error is None else f"{100 * layer.output_error:.2f} %"
        table.add_row(
            layer.name.removeprefix("model."),
            f"{100 * layer.weight_error:.2f} %",
            output,
            "  ".join(f"{names}: {choice}" for names, choice in layer.choices.items() if choice),
            f"{layer.seconds:.1f}",
        )
    console = Console()
    console.print(table)
    console.print(
        "Errors are squared changes relative to squares: of the weights, and of what a layer adds.",
        style="dim",
    )
    how = report.settings
    console.print(
        f"{report.folder}: {how.method}, groups of {how.group}, "
        f"{report.bits_per_weight:.2f} bits per weight ({report.layer_bits_per_weight:.2f} in the "
        f"layers), {report.bytes / 1e6:.1f} MB, {report.seconds:.0f} s"
    )
