"""SUMO simulators: equal seeds, everything that can be observed, one simulation per process."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from verifier.errors import InputError
from verifier.vocabulary import load_vocabulary
from worlds.learned.conformance import conform
from worlds.learned.drivers import record
from worlds.load import load_scenario, load_world
from worlds.practice import practice_worlds
from worlds.simulation.check import check_simulator
from worlds.simulation.interface import Simulator
from worlds.simulation.layout import layout_of
from worlds.simulation.registry import make_simulator, simulated_worlds
from worlds.sumo.network import CACHE_VARIABLE, network_of

VOCABULARY = load_vocabulary()
NAMES = [name for name in simulated_worlds() if name.startswith("sumo/")]
CONFORMING = [  # all_way_stop and paper_traffic_light: see docs/simulated_worlds_sumo.md
    *("traffic_light", "left_turn_light", "light_with_left_arrow", "unprotected_left_turn"),
    *("exit_ramp", "two_way_stop", "signalised_crossing", "t_junction", "driveway_exit"),
]


def make(scenario: str) -> Simulator:
    return make_simulator(f"sumo/{scenario}", VOCABULARY)


def watched(simulator: Simulator, seed: int, seconds: int) -> list[list[str]]:
    """Labels, second after second, seen by a car that stands."""
    simulator.reset(seed)
    labels = []
    for _ in range(seconds):
        labels.append(sorted(simulator.observe()))
        simulator.apply("stop")
        simulator.step()
    return labels


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_can_be_observed_occurs_and_the_way_is_clear_at_times(name: str):
    simulator = make_simulator(name, VOCABULARY)
    labels = [label for seed in range(3) for label in watched(simulator, seed, 200)]
    assert {p for label in labels for p in label} == set(simulator.propositions)
    clear = [x for x in labels if not any(p.startswith(("car", "opp", "ped")) for p in x)]
    assert len(clear) > 0.1 * len(labels)
    simulator.close()


@pytest.mark.parametrize("scenario", CONFORMING)
def test_labels_keep_the_rules_of_the_hand_written_scenario(scenario: str):
    simulator = make(scenario)
    recordings = [record(simulator, seed, 120) for seed in range(3)]
    found = conform(
        recordings, load_scenario(scenario, VOCABULARY), load_world(scenario, VOCABULARY)
    )
    assert found.exclusions == ()
    assert found.seen_labels >= 6
    simulator.close()


@pytest.mark.parametrize("scenario", ["traffic_light", "roundabout", "pedestrian_crossing"])
def test_the_contract_of_simulators_is_kept(scenario: str):
    assert check_simulator(lambda: make(scenario), VOCABULARY, seeds=(0, 1)) == ()


def test_worlds_for_practice_are_simulated_too(tmp_path: Path):
    for world in practice_worlds(4, 3, VOCABULARY):
        path = tmp_path / f"{world.name}.yaml"
        path.write_text(yaml.safe_dump(world.scenario))
        simulator = make(str(path))
        labels = [label for seed in range(2) for label in watched(simulator, seed, 150)]
        assert {p for label in labels for p in label} == set(world.propositions)
        assert simulator.actions == world.actions
        simulator.close()


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]):
    page = Path(__file__).parents[3] / "docs" / "simulated_worlds_sumo.md"
    code = page.read_text().split("```python")[1].split("```")[0]
    exec(code, {})
    assert "manoeuvre='turn_right', collision=None" in capsys.readouterr().out


def test_equal_seeds_give_equal_labels_in_a_fresh_process_too():
    simulator = make("traffic_light")
    here = watched(simulator, 7, 60)
    watched(simulator, 8, 10)
    assert watched(simulator, 7, 60) == here
    assert watched(simulator, 8, 60) != here
    code = (
        "import json; from test_sumo_simulator import make, watched; "
        "print(json.dumps(watched(make('traffic_light'), 7, 60)))"
    )
    folders = [str(Path(__file__).parents[i]) for i in (0, 3)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == here  # and nothing else was printed
    assert done.stderr == ""
    simulator.close()


def test_networks_are_made_once_however_many_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    layout = layout_of("t_junction", VOCABULARY)
    with ThreadPoolExecutor(4) as pool:
        folders = {network.folder for network in pool.map(network_of, [layout] * 4)}
    (folder,) = folders
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    before = (folder / "place.net.xml").stat().st_mtime_ns
    assert network_of(layout).folder == folder
    assert (folder / "place.net.xml").stat().st_mtime_ns == before
    (folder / "place.net.xml").unlink()  # as a temporary folder may be tidied up
    assert network_of(layout).files[0].is_file()


def test_a_network_without_cars_and_crosswalks_nobody_asked_for():
    layout = layout_of("driveway_exit", VOCABULARY)
    network = network_of(layout)
    traffic = network.files[2].read_text()
    assert set(network.crosswalks) == {"S"}
    assert {line[10] for line in traffic.splitlines() if line.startswith("<flow")} == {"W", "E"}
    assert "in_N" not in network.car_lanes


def test_one_simulation_at_a_time():
    first, second = make("traffic_light"), make("roundabout")
    first.reset(0)
    second.reset(0)
    for use in (first.observe, first.step, first.status, first.render, lambda: first.apply("stop")):
        with pytest.raises(InputError, match="another SUMO simulation"):
            use()
    first.close()  # takes nothing from the other
    second.step()
    first.reset(0)
    first.step()
    with pytest.raises(InputError, match="another SUMO simulation"):
        second.observe()
    first.close()
    first.close()
    with pytest.raises(InputError, match="reset"):
        first.step()


def test_wrong_use_says_what_is_wrong():
    simulator = make("left_turn_light")
    with pytest.raises(InputError, match="has not been reset"):
        simulator.observe()
    simulator.reset(1)
    with pytest.raises(InputError, match="no action 'go_straight'; choose one of stop, turn_left"):
        simulator.apply("go_straight")
    for _ in range(975):
        simulator.step()
    with pytest.raises(InputError, match="no more traffic after 975 seconds"):
        simulator.step()
    simulator.close()


def test_looking_at_every_moment_changes_nothing():
    simulator = make("traffic_light")
    plain = watched(simulator, 5, 40)
    moments: list[float] = []
    simulator.on_moment = lambda: moments.append(simulator.status().seconds)  # pyright: ignore
    assert watched(simulator, 5, 40) == plain
    assert moments == pytest.approx([0.1 * (i + 1) for i in range(400)])
    simulator.close()


def test_pictures_show_what_happens_and_change_nothing():
    simulator = make("light_with_left_arrow")
    plain = watched(simulator, 3, 20)
    simulator.reset(3)
    pictures, labels = [], []
    for _ in range(20):
        labels.append(sorted(simulator.observe()))
        pictures.append(simulator.render())
        simulator.apply("stop")
        simulator.step()
    assert labels == plain
    assert {picture.shape for picture in pictures} == {(600, 600, 3)}
    assert {picture.dtype for picture in pictures} == {np.dtype(np.uint8)}
    assert any((a != b).any() for a, b in pairwise(pictures))
    ours = (pictures[0] == (31, 111, 235)).all(axis=2)
    rows, columns = np.nonzero(ours)
    assert ours.sum() > 50
    assert rows.mean() > 310  # south of the middle, on the right-hand side
    assert 300 < columns.mean() < 320
    simulator.close()
