"""The paper's two controllers in both simulators: its Fig. 11, with intervals."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from benchmarks.learning.page import Cell, Kind, Table
from benchmarks.results import FOLDER, Row
from benchmarks.simulation_controllers import SIMULATORS, paper_controllers
from pipeline.simulation_plot import draw_before_after
from pipeline.simulation_tables import Shown
from verifier.semantics import load_semantics
from verifier.vocabulary import Vocabulary
from worlds.simulation.agreement import agreement
from worlds.simulation.campaign import Settings, simulate
from worlds.simulation.driver import Course
from worlds.simulation.judging import HARD_BRAKING
from worlds.statistics import Rate

SCENARIO, ACTION, RULE = "traffic_light", "turn_right", "phi_5"
PICTURE = FOLDER.parent / "pictures" / "simulation_fig11.png"
DRIVING = {
    "finished": "finished",
    "collision": "collision",
    "hard_braking": f"braked hard (> {HARD_BRAKING:g} m/s²)",
    "others_hard_braking": f"made others brake hard (> {HARD_BRAKING:g} m/s²)",
}

_TARGET = "after above before, intervals apart"
_NOTE = (
    "After training beside before it, in per cent of {episodes} episodes each with the same seeds "
    "(semantics `paper`, `examples/`); the intervals are in the table below."
)


def drive_paper_controllers(
    vocabulary: Vocabulary, episodes: int, workers: int
) -> dict[str, list[Shown]]:
    """Before and after, judged by the paper's rules, by name of the simulated world."""
    semantics = load_semantics("paper")
    settings = Settings(episodes=episodes, course=Course(semantics), workers=workers)
    controllers = paper_controllers(vocabulary, semantics)
    return {
        world: [
            Shown(one, tuple(a for a in agreement(one, vocabulary) if a.rule.book == "paper"))
            for one in simulate(controllers, world, ACTION, settings, vocabulary)
        ]
        for world in (f"{kind}/{SCENARIO}" for kind in SIMULATORS)
    }


def paper_rows(found: Mapping[str, Sequence[Shown]]) -> Iterator[Row]:
    """Φ5 with its target, and what became of the car."""
    for world, (before, after) in found.items():
        old, new = (rule_rate(one, RULE) for one in (before, after))
        note = (
            f"{_NOTE.format(episodes=len(after.campaign.episodes))} Intervals of Φ5 (Clopper and "
            f"Pearson, 95 %) in {world}: before {old.percent()}, after {new.percent()}."
        )
        yield Row(
            f"Φ5 kept in {world}",
            *(_percent(new), "% of traces", "before", _percent(old)),
            target=_TARGET,
            met=new.low > old.high,
            note=note,
        )
    for world, (before, after) in found.items():
        for name, text in DRIVING.items():
            old, new = (one.campaign.driving.rates[name] for one in (before, after))
            note = _NOTE.format(episodes=len(after.campaign.episodes))
            value, other = _percent(new), _percent(old)
            yield Row(f"{text}, {world}", value, "% of episodes", "before", other, note=note)


def rule_rate(shown: Shown, rule: str) -> Rate:
    """How often a rule is kept."""
    return next(a.rule.rate for a in shown.agreements if a.rule.specification.id == rule)


def _percent(rate: Rate) -> float:
    return 100 * (rate.value or 0.0)


def paper_table(found: Mapping[str, Sequence[Shown]]) -> Table:
    """Every rule, both controllers, both simulators; then what became of the car."""
    columns = {f"{w.partition('/')[0]} {one.label}": one for w, two in found.items() for one in two}
    rows: list[dict[str, Cell]] = []
    for number, first in enumerate(next(iter(columns.values())).agreements):
        row: dict[str, Cell] = {"rule": first.rule.specification.id.replace("phi_", "Φ")}
        for name, one in columns.items():
            row[name] = one.agreements[number].rule.rate.to_json()
        for one in next(iter(found.values())):
            row[f"proof {one.label}"] = one.agreements[number].formal
        rows.append(row)
    for rate, text in DRIVING.items():
        row = {"rule": text}
        for name, one in columns.items():
            row[name] = one.campaign.driving.rates[rate].to_json()
        rows.append(row)
    kinds: dict[str, Kind] = {"rule": "text"}
    for name in columns:
        kinds[name] = "rate"
    for one in next(iter(found.values())):
        kinds[f"proof {one.label}"] = "text"
    return Table(
        "The paper's two controllers for a right turn at the light (its Fig. 11)",
        "Share of the simulated traces that keep each rule, vacuously or not, beside the proof in "
        f"the hand-written world `{SCENARIO}`; below, what became of the car.",
        kinds,
        rows,
        ["In brackets: exact 95 % intervals of Clopper and Pearson."],
    )


def draw_paper_figure(found: Mapping[str, Sequence[Shown]], path: Path = PICTURE) -> None:
    """One simulator's bars under the other's, as ``specdrive simulate --plot`` draws them."""
    with tempfile.TemporaryDirectory() as folder:
        pictures: list[Image.Image] = []
        for number, shown in enumerate(found.values()):
            part = Path(folder) / f"{number}.png"
            draw_before_after(shown, part)
            with Image.open(part) as picture:
                pictures.append(picture.convert("RGB"))
    size = max(p.width for p in pictures), sum(p.height for p in pictures)
    whole, top = Image.new("RGB", size, "white"), 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, optimize=True)
