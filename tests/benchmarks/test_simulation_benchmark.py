import json
from pathlib import Path

import numpy as np
import pytest
from golden import AFTER, BEFORE
from highway_env.road.road import Road
from highway_env.vehicle.behavior import IDMVehicle
from PIL import Image

from benchmarks import simulation
from benchmarks.report import page
from benchmarks.results import FOLDER
from benchmarks.simulation_controllers import (
    entrants,
    paper_controllers,
    simulated_scenarios,
)
from benchmarks.simulation_crew import different
from benchmarks.simulation_paper import PICTURE
from benchmarks.simulation_speed import (
    DRIVES,
    Block,
    Recorded,
    in_turns,
    recorded_scenes,
    unchanged,
)
from verifier.canonical import controller_hash
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from worlds.highway.simulator import FREQUENCY, WARM_UP
from worlds.simulation.layout import layout_of

VOCABULARY = load_vocabulary()
DEFAULT = load_semantics("default")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of ``--quick``, elsewhere."""
    path = tmp_path_factory.mktemp("results") / "simulation.json"
    before = _times()
    assert simulation.main(["--quick", "--output", str(path)]) == 0
    assert _times() == before  # what is shipped stays as it is
    return path


def _times() -> dict[Path, float]:
    files = [*FOLDER.glob("*"), PICTURE]
    return {path: path.stat().st_mtime for path in files if path.exists()}


def test_quick_measures_everything(quick: Path):
    rows = {row["what"]: row for row in json.loads(quick.read_text())["rows"]}
    for kind in ("highway", "sumo"):
        for drive in DRIVES:
            row = rows[f"{kind}/{drive.scenario}, a controller driving"]
            assert row["value"] > 0
            assert row["peer_value"] > 0
        assert rows[f"{kind}/traffic_light, 2 processes"]["value"] > 0
        assert rows[f"Φ5 kept in {kind}/traffic_light"]["met"] is False  # 4 episodes prove nothing
        assert rows[f"proof and simulation agree, {kind}"]["value"] > 50
        assert rows[f"the same without an explanation, {kind}"]["met"]
        assert rows[f"lost episodes, {kind}"]["met"]
        assert 0 <= rows[f"proven controllers that finish lawfully, {kind}"]["value"] <= 100
    assert rows["episodes that differ between processes"]["value"] == 0


def test_report_shows_picture_and_tables(quick: Path):
    text = page(quick.parent)
    assert "](pictures/simulation_fig11.png)" in text
    assert "| rule | highway before | highway after | sumo before | sumo after |" in text
    assert "| Φ15 | " in text
    with Image.open(quick.parent / PICTURE.name) as picture:
        assert picture.height > 1.5 * picture.width  # one simulator under the other


def test_every_disagreement_is_listed_with_its_causes(quick: Path):
    found = json.loads(quick.read_text())
    rows = {row["what"]: row for row in found["rows"]}
    for kind in ("highway", "sumo"):
        listed = [one for one in found["disagreements"] if one["world"].startswith(kind)]
        assert len(listed) == rows[f"proved, yet broken in some episode, {kind}"]["value"]
        for one in listed:
            assert sum(cause["episodes"] for cause in one["causes"]) == one["broken_in"] > 0
    shown = found["tables"][1]["rows"]
    causes = [cause["episodes"] for one in found["disagreements"] for cause in one["causes"]]
    assert sum(row["episodes"] for row in shown) == sum(causes)


def test_who_begins_changes_and_the_first_block_does_not_count():
    calls: list[str] = []

    def side(name: str, cost: float):
        def work() -> float:
            calls.append(name)
            return cost

        return work

    def block(cost: float) -> Block:
        return Block(side("ours", cost), {"peer": side("peer", 2.0)}, {"peer": 10.0})

    found = in_turns(map(block, (9.0, 1.0, 4.0)))["peer"]
    assert calls == ["peer", "ours", "ours", "peer", "peer", "ours"]
    assert found.ours == [0.1, 0.4]
    assert found.ratios == [2.0, 0.5]


def test_the_library_moves_the_same_vehicles():
    drive = DRIVES[0]
    layout = layout_of(drive.scenario, VOCABULARY)
    scenes, seconds = recorded_scenes(drive, layout, [3])
    ticks = sum(scene.ticks for scene in scenes)
    assert ticks == pytest.approx((WARM_UP + seconds) * FREQUENCY)
    simulator = Recorded(layout, "highway/traffic_light")
    simulator.reset(3)
    cars = [simulator.own, *simulator.traffic.all]
    simulator.step()
    scene = simulator.scenes[-1]
    assert scene.ticks == FREQUENCY
    assert type(scene.road) is Road
    assert scene.vehicle_seconds == len(cars) > 2
    for car, vehicle in zip(cars, scene.road.vehicles, strict=True):
        assert isinstance(vehicle, IDMVehicle) == isinstance(car, IDMVehicle)
        assert vehicle.speed >= 0
    before = np.array([vehicle.position for vehicle in scene.road.vehicles])
    scene.play()
    after = np.array([vehicle.position for vehicle in scene.road.vehicles])
    ours = np.array([car.position for car in cars])
    # Moved, and about as ours moved: the library does not brake for lights and lines.
    assert not np.array_equal(before, after)
    assert np.abs(after - ours).max() < 10


def test_constants_of_the_library_are_put_back():
    before = IDMVehicle.COMFORT_ACC_MIN
    with unchanged(IDMVehicle):
        IDMVehicle.COMFORT_ACC_MIN = -1.0
    assert before == IDMVehicle.COMFORT_ACC_MIN


def test_paper_controllers_are_the_golden_ones():
    found = paper_controllers(VOCABULARY, load_semantics("paper"))
    hashes = {name: controller_hash(controller) for name, controller in found.items()}
    assert hashes == {"before": controller_hash(BEFORE), "after": controller_hash(AFTER)}


def test_entrants_differ_and_every_scenario_has_proven_ones():
    field = entrants(VOCABULARY, DEFAULT, 2)
    assert {one.scenario for one in field if one.proven} == set(simulated_scenarios())
    keys = [(one.scenario, one.action, controller_hash(one.controller)) for one in field]
    assert len(set(keys)) == len(keys)
    sampled = [one.scenario for one in field if not one.proven]
    assert max(map(sampled.count, sampled)) == 2
    assert len({(one.scenario, one.name) for one in field}) == len(field)


def test_different_counts_places():
    assert different([["a", "b", "c"], ["a", "x", "c"], ["a", "b", "y"]]) == 2
    assert different([["a"], ["a"]]) == 0
