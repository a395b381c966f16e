"""``specdrive perception detector``: train a small detector on rendered pictures, evaluate it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from verifier.vocabulary import load_vocabulary

if TYPE_CHECKING:
    from worlds.perception.detections import Detections
    from worlds.perception.frames import Frames

CONDITIONS = ("day", "dusk", "night", "fog", "grain")
"""Names of `worlds.perception.conditions`, here so that help needs no NumPy; a test compares."""

condition_option = click.option(
    "--condition",
    type=click.Choice(CONDITIONS),
    default="day",
    show_default=True,
    help="Light and weather of the pictures.",
)
_size_option = click.option(
    "--size",
    default=96,
    show_default=True,
    type=click.IntRange(min=16),
    metavar="PIXELS",
    help="Height and width of the pictures, a multiple of 16.",
)
EVALUATION_SEED = 1_000_000
"""First seed of episodes that detectors are evaluated on: far from those of training."""

_EPISODES = 10_000


@click.group("detector")
def detector() -> None:
    """Train and evaluate a small detector on what simulators render."""


@detector.command("train")
@click.argument("worlds", nargs=-1, required=True, metavar="WORLD...")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the detector is written: weights as safetensors and a card as JSON.",
)
@click.option(
    "--pictures",
    default=2000,
    show_default=True,
    type=click.IntRange(min=2),
    metavar="N",
    help="Of each world.",
)
@click.option("--epochs", default=20, show_default=True, type=click.IntRange(min=1), metavar="N")
@click.option(
    "--recalibration",
    type=click.Choice(("platt", "temperature", "isotonic", "none")),
    default="platt",
    show_default=True,
    help="Fitted on a fifth of the episodes, which are held out for it.",
)
@_size_option
@condition_option
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@options.vocabulary_option
@options.json_option
def train(
    worlds: tuple[str, ...],
    out: Path,
    pictures: int,
    epochs: int,
    recalibration: str,
    size: int,
    condition: str,
    seed: int,
    vocabulary: str,
    as_json: bool,
) -> None:
    """Collect labelled pictures of simulated worlds and train a detector on them.

    Several worlds must be of one scenario, as in sumo/traffic_light and highway/traffic_light.
    """
    from pipeline.tables import progress_bar
    from worlds.perception.detector import save_detector
    from worlds.perception.detector_training import Training, train_detector
    from worlds.perception.frames import joined

    parts = [
        collect_pictures(world, pictures, size, condition, seed, vocabulary) for world in worlds
    ]
    frames = joined(parts)
    settings = Training(
        epochs=epochs,
        seed=seed,
        recalibration=None if recalibration == "none" else recalibration,
    )
    with progress_bar("training", epochs) as done:
        found = train_detector(frames, settings, done)
    save_detector(found, out)
    if as_json:
        options.print_json(dict(found.card) | {"folder": str(out), "parameters": found.parameters})
        return
    losses = found.card["losses"]
    click.echo(
        f"{out}: {found.parameters:,} parameters, {found.card['pictures']:,} pictures of "
        f"{found.card['domain']}, loss {losses[0]:.3f} → {losses[-1]:.3f} "
        f"in {found.card['seconds']:.0f} s"
    )


@detector.command("evaluate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("world")
@click.option(
    "--pictures",
    default=1000,
    show_default=True,
    type=click.IntRange(min=2),
    metavar="N",
    help="How many.",
)
@click.option(
    "--first-seed",
    default=EVALUATION_SEED,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of the first episode.",
)
@condition_option
@click.option(
    "--detections",
    type=click.Path(path_type=Path),
    metavar="JSONL",
    help="Also write what it said, for calibrate and compare.",
)
@click.option("--raw", is_flag=True, help="Without its recalibration.")
@options.vocabulary_option
@options.json_option
def evaluate(
    folder: Path,
    world: str,
    pictures: int,
    first_seed: int,
    condition: str,
    detections: Path | None,
    raw: bool,
    vocabulary: str,
    as_json: bool,
) -> None:
    """Evaluate a detector on fresh pictures: AUC, average precision, calibration."""
    from pipeline.files import write_rows
    from worlds.perception.calibration import calibration_of
    from worlds.perception.detections import detection_rows
    from worlds.perception.detector import load_detector
    from worlds.perception.quality import quality_of

    loaded = load_detector(folder)
    frames = collect_pictures(world, pictures, loaded.size, condition, first_seed, vocabulary)
    found = loaded.detect(frames, calibrated=not raw)
    if detections is not None:
        write_rows(detections, detection_rows(found))
    qualities, calibration = quality_of(found), calibration_of(found)
    if as_json:
        options.print_json(
            {
                "domain": found.domain,
                "quality": [row.to_json() for row in qualities],
                "calibration": calibration.to_json(),
                "scenes_without_error": _flawless(found),
            }
        )
        return
    from pipeline.commands.perception import print_quality

    click.echo(
        f"{found.domain}: {len(frames):,} scenes of {calibration.episodes} episodes; "
        f"{100 * _flawless(found):.1f} % without any error; "
        f"ECE {calibration.debiased['mass'].percent()}"
    )
    print_quality(qualities)
    if detections is not None:
        click.echo(f"written: {detections}")


def collect_pictures(
    world: str, pictures: int, size: int, condition: str, first_seed: int, vocabulary: str
) -> Frames:
    """Labelled pictures of a simulated world, with a bar on a terminal."""
    from pipeline.tables import progress_bar
    from worlds.perception.conditions import CONDITIONS as KNOWN
    from worlds.perception.frames import collect
    from worlds.simulation.registry import make_simulator

    simulator = make_simulator(world, load_vocabulary(vocabulary))
    try:
        with progress_bar(f"pictures of {world}", pictures) as done:
            seeds = range(first_seed, first_seed + _EPISODES)
            frames = collect(simulator, seeds, pictures, size, done)
    finally:
        simulator.close()
    return frames.under(KNOWN[condition], first_seed)


def _flawless(found: Detections) -> float:
    """Share of scenes in which every proposition is read rightly at 1/2."""
    right = (found.confidence >= 0.5) == found.truth
    return float(right.reshape(-1, len(found.propositions)).all(axis=1).mean())
