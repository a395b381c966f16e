"""``specdrive convert``: a model in another layout, so that it runs elsewhere, or theirs here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.native import serving_errors

if TYPE_CHECKING:
    from serving.checkpoint import QuantizedModel

_LAYOUTS = ("specdrive", "autoawq", "compressed-tensors", "gguf")


@click.command("convert")
@click.argument("source")
@click.option("--to", "layout", required=True, type=click.Choice(_LAYOUTS), help="The layout.")
@click.option(
    "--out",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder to write; for gguf also a file.",
)
@click.option("--base", default="", help="What model it comes from, if the source does not say.")
@click.option("--overwrite", is_flag=True, help="Replace a model that is there.")
@options.json_option
def command(source: str, layout: Any, out: Path, base: str, overwrite: bool, as_json: bool) -> None:
    """Convert SOURCE: a quantized checkpoint, a checkpoint of AutoAWQ or compressed-tensors, a GGUF
    file, or smollm2, which stands for the GGUF file of the embedded model.

    Weights are taken over as they are, not quantized again: what the layout cannot hold is refused.
    """
    from pipeline.models import DEFAULT_MODEL, PUBLIC_NAME, embedded_gguf

    path = Path(source)
    if source == DEFAULT_MODEL:
        path, base = embedded_gguf(), base or PUBLIC_NAME
    with serving_errors():
        from serving.exchange import convert

        model = convert(path, layout, out, base=base, overwrite=overwrite)
    summary = _summary(model)
    if as_json:
        options.print_json({"out": str(out), "layout": layout, **summary})
    else:
        words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in summary.items())
        click.echo(f"{out}: {words}")


def _summary(model: QuantizedModel) -> dict[str, Any]:
    """How the model is quantized."""
    header = model.header
    return {
        "method": header.method,
        "bits": header.bits,
        "group": header.group or "mixed",
        "grid": "symmetric" if header.symmetric else "asymmetric",
        "head_bits": header.head_bits,
        "base": header.base or "unknown",
    }
