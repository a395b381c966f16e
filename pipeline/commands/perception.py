"""``specdrive perception``: detectors between scenes and propositions, what their errors cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.perception_detector import detector
from pipeline.commands.perception_effect import effect

if TYPE_CHECKING:
    from worlds.perception.bins import Binning
    from worlds.perception.calibration import Calibration
    from worlds.perception.comparison import Bands, Comparison
    from worlds.perception.detections import Detections
    from worlds.perception.quality import Quality

_AXES = {
    "holds": "confidence that the proposition holds",
    "answers": "confidence in the answer given",
}

_view_option = click.option(
    "--view",
    type=click.Choice(tuple(_AXES)),
    default="holds",
    show_default=True,
    help="Confidence that a proposition holds, or confidence in the answer yes or no.",
)
_bins_option = click.option(
    "--bins", default=10, show_default=True, type=click.IntRange(min=1), metavar="N"
)
_binning_option = click.option(
    "--binning",
    type=click.Choice(("mass", "width")),
    default="mass",
    show_default=True,
    help="Bins with equal numbers of detections, or of equal width.",
)
_plot_option = click.option(
    "--plot", type=click.Path(path_type=Path), metavar="PNG", help="Also draw a picture."
)
_seed_option = click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))


@click.group("perception")
def command() -> None:
    """Detectors between scenes and propositions: calibration, domains, effect on controllers."""


command.add_command(detector)
command.add_command(effect)


@command.command("calibrate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--method",
    type=click.Choice(("temperature", "platt", "isotonic")),
    default="platt",
    show_default=True,
    help="Of recalibration; fitted on half of the episodes, measured on the other half.",
)
@_view_option
@_bins_option
@_binning_option
@_seed_option
@click.option(
    "--noise",
    type=click.Path(path_type=Path),
    metavar="JSON",
    help="Also estimate a noise model from all detections and write it.",
)
@click.option(
    "--kind",
    type=click.Choice(("empirical", "binormal")),
    default="empirical",
    show_default=True,
    help="Of the noise model's channels.",
)
@click.option(
    "--threshold",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Confidence from which on a proposition is taken to hold.",
)
@_plot_option
@options.json_option
def calibrate(
    files: tuple[str, ...],
    method: str,
    view: str,
    bins: int,
    binning: Binning,
    seed: int,
    noise: Path | None,
    kind: str,
    threshold: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure how far a detector's confidences can be trusted, before and after recalibration.

    FILE holds detections (see docs/perception.md); several files are taken together.
    """
    from pipeline.files import write_bytes, write_text
    from worlds.perception.calibration import calibration_of
    from worlds.perception.detections import read_detections
    from worlds.perception.noise import estimate_noise
    from worlds.perception.quality import quality_of
    from worlds.perception.recalibration import recalibrate

    found = read_detections(files)
    fitting, held_out = found.split(0.5, seed)
    maps = recalibrate(fitting, method)
    series: list[tuple[str, Detections, Calibration]] = []
    for name, detections in (("as it is", held_out), (method, maps(held_out))):
        seen = detections.answers() if view == "answers" else detections
        series.append((name, seen, calibration_of(seen, bins, binning, seed=seed)))
    qualities = quality_of(found, threshold)
    if plot is not None:
        from worlds.perception.plots import reliability_diagram

        write_bytes(plot, reliability_diagram(series, found.domain, _AXES[view]))
    if noise is not None:
        import json

        model = estimate_noise(found, kind, threshold)
        write_text(noise, json.dumps(model.to_json()) + "\n")
    if as_json:
        options.print_json(
            {
                "domain": found.domain,
                "view": view,
                "calibration": {name: row.to_json() for name, _, row in series},
                "recalibration": maps.to_json(),
                "quality": [row.to_json() for row in qualities],
            }
        )
        return
    _print_calibration(found, series)
    print_quality(qualities)
    for written in (plot, noise):
        if written is not None:
            click.echo(f"written: {written}")


def _print_calibration(
    found: Detections, series: list[tuple[str, Detections, Calibration]]
) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.tables import make_console, plain_table

    console = make_console()
    held = series[0][2]
    head = (
        f"  {len(found):,} detections; measured on {held.detections:,} of {held.episodes} episodes"
    )
    console.print(Text.assemble((found.domain, "bold"), head))
    table = plain_table("confidences", "ECE, equal mass", "ECE, equal width", "plain", "Brier")
    for name, _, row in series:
        plain = f"{100 * row.ece['mass']:.1f} %"
        score = f"{row.brier.value:.4f} [{row.brier.low:.4f}, {row.brier.high:.4f}]"
        table.add_row(
            name, row.debiased["mass"].percent(), row.debiased["width"].percent(), plain, score
        )
    console.print(Padding(table, (0, 0, 1, 2)))


def print_quality(qualities: list[Quality]) -> None:
    """AUC, average precision and errors of every proposition."""
    from rich.padding import Padding

    from pipeline.tables import make_console, plain_table
    from worlds.statistics import Rate

    def number(rate: Rate) -> str:
        if rate.value is None:
            return "–"
        return f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f} %"

    table = plain_table(
        "proposition", "holds", "AUC", "average precision", "missed", "false alarms"
    )
    for row in qualities:
        table.add_row(
            row.proposition,
            percent(row.base_rate),
            number(row.auc),
            number(row.average_precision),
            percent(row.misses),
            percent(row.false_alarms),
        )
    make_console().print(Padding(table, (0, 0, 1, 2)))


@command.command("compare")
@click.argument("first", metavar="FILE")
@click.argument("second", metavar="FILE")
@click.option(
    "--margin",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Difference of accuracy at equal confidence that would not matter.",
)
@click.option(
    "--bands",
    type=click.Choice(("episodes", "exact")),
    default="episodes",
    show_default=True,
    help="Simultaneous bands by resampling episodes, or Clopper-Pearson with Bonferroni.",
)
@click.option(
    "--level",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    help="Error probability of bands, intervals and tests.",
)
@_view_option
@_bins_option
@_binning_option
@_seed_option
@_plot_option
@options.json_option
def compare_domains(
    first: str,
    second: str,
    margin: float,
    bands: Bands,
    level: float,
    view: str,
    bins: int,
    binning: Binning,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Compare a detector's accuracy at equal confidence in two domains.

    Exit code 1 unless the domains are shown to be equivalent within the margin.
    """
    from pipeline.files import write_bytes
    from worlds.perception.comparison import compare
    from worlds.perception.detections import read_detections

    domains = [read_detections([file]) for file in (first, second)]
    if view == "answers":
        domains = [domain.answers() for domain in domains]
    found = compare(
        domains[0], domains[1], margin, bins, binning, bands=bands, level=level, seed=seed
    )
    if plot is not None:
        from worlds.perception.plots import domain_picture

        write_bytes(plot, domain_picture(found, domains, _AXES[view]))
    if as_json:
        options.print_json(_plain(found.to_json()) | {"view": view})
    else:
        _print_comparison(found)
        if plot is not None:
            click.echo(f"written: {plot}")
    return int(found.decision != "equivalent")


def _plain(value: Any) -> Any:
    """JSON without NumPy's numbers."""
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value.item() if hasattr(value, "item") else value


def _print_comparison(found: Comparison) -> None:
    from rich.padding import Padding
    from rich.text import Text

    from pipeline.tables import make_console, plain_table

    console = make_console()
    a, b = found.curves
    console.print(Text.assemble((f"{a.domain}", "bold"), "  and  ", (b.domain, "bold")))
    table = plain_table("confidence", "detections", "accuracy", "", "gap")
    for i, gap in enumerate(found.gaps):
        cells = [
            f"{100 * c.accuracy[i]:.1f} % [{100 * c.low[i]:.1f}, {100 * c.high[i]:.1f}]"
            for c in (a, b)
        ]
        table.add_row(
            f"{found.edges[i]:.4g} – {found.edges[i + 1]:.4g}",
            f"{int(a.number[i]):,} / {int(b.number[i]):,}",
            *cells,
            f"{100 * gap:+.1f} [{100 * found.gap_low[i]:+.1f}, {100 * found.gap_high[i]:+.1f}]",
        )
    console.print(Padding(table, (0, 0, 1, 2)))
    table = plain_table("distance", "value", "between random halves", "p (no difference)")
    for name, distance in found.distances.items():
        value = distance.value
        table.add_row(
            name.replace("_", " "),
            f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]",
            f"{distance.floor:.4f}",
            f"{distance.p_value:.2g}",
        )
    console.print(Padding(table, (0, 0, 1, 2)))
    words = {
        "equivalent": ("equivalent", "green"),
        "different": ("different", "bold red"),
        "undecided": ("undecided", "yellow"),
    }[found.decision]
    console.print(
        Text.assemble(words, f" at a margin of {found.margin:g} (p = {found.p_value:.2g})")
    )
