"""A champion that is given away: loadable, small, and its certificates hold for others."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from pipeline.adapters import WEIGHTS
from pipeline.champion import CERTIFICATES, SCORES, export_champion
from pipeline.cli import run as specdrive
from pipeline.files import read_rows, write_rows
from pipeline.runs.folder import open_run
from pipeline.tasks import load_tasks
from verifier.errors import InputError

RIGHT = (
    "1. Stop.\n2. If there is a green traffic light and there is no car from left and "
    "no pedestrian at right and no pedestrian in front, turn right."
)


@pytest.fixture
def solved(small_run, tmp_path):
    """A copy of the small run whose champion has solved one held-out task."""
    folder = shutil.copytree(small_run, tmp_path / "run")
    task = next(
        t
        for t in load_tasks()
        if (t.split, t.world, t.action) == ("test", "exit_ramp", "turn_right")
    )
    chosen = json.loads((folder / "select/selection.json").read_text())["champion"]
    path = folder / chosen / "evaluate/answers.jsonl"
    rows = read_rows(path)
    row = rows[0] | {"task": task.id, "split": "test", "text": RIGHT}
    row["verdict"] = row["verdict"] | {"strict_success": True}
    write_rows(path, [*rows[1:], row])
    return open_run(folder)


def test_the_adapter_is_that_of_the_run_in_half_the_bytes(solved, tmp_path):
    scores = export_champion(solved, tmp_path / "champion")
    ours = load_file(tmp_path / "champion" / WEIGHTS)
    theirs = load_file(solved.path / "select/adapter" / WEIGHTS)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.element_size() == 2
        assert (tensor.float() - theirs[name]).abs().max() <= theirs[name].abs().max() / 1000
    assert json.loads((tmp_path / "champion" / SCORES).read_text()) == scores
    assert (tmp_path / "champion/config.yaml").read_text() == solved.config.to_yaml()
    card = (tmp_path / "champion/README.md").read_text()
    assert card.startswith("---\nbase_model: ")
    assert "strict success" in card


def test_certificates_are_confirmed_and_forged_ones_are_not(solved, tmp_path, capsys):
    export_champion(solved, tmp_path / "champion")
    file = tmp_path / "champion" / CERTIFICATES
    (certificate,) = read_rows(file)
    assert certificate["answer"]["text"] == RIGHT
    assert not {"violated", "unknown"} & set(certificate["verdicts"].values())
    assert specdrive(["certificate", "verify", str(file)]) == 0
    assert "1 of 1 confirmed" in capsys.readouterr().out
    rule = next(name for name, value in certificate["verdicts"].items() if value == "satisfied")
    certificate["verdicts"][rule] = "violated"
    write_rows(file, [certificate])
    assert specdrive(["certificate", "verify", str(file)]) == 1
    assert f"{CERTIFICATES}:1: verdicts.{rule}" in capsys.readouterr().out


def test_a_run_without_champion_is_refused(solved, tmp_path):
    shutil.rmtree(solved.path / "select")
    with pytest.raises(InputError, match=r"selection\.json is not there yet"):
        export_champion(solved, tmp_path / "champion")
