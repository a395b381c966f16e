"""A run that is killed at any moments ends with the same artefacts as an undisturbed one."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def storm(kind: str, folder: Path, kills: int, seed: int, timeout: float) -> dict:
    outcome = subprocess.run(
        [sys.executable, str(HERE / "storm.py"), kind, str(folder), str(kills), str(seed)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment(folder),
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return json.loads(outcome.stdout.splitlines()[-1])


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)]),
        "OMP_NUM_THREADS": "1",
        "SPECDRIVE_CACHE": str(folder / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
    }


def check(found: dict, kills: int) -> None:
    """Enough kills, every stage of every round and variant struck, nothing lost or left over."""
    assert found["kills"] >= kills
    assert found["missed"] == []
    assert found["differing"] == []
    assert found["leftovers"] == []


def test_fake_stages_survive_kills(tmp_path: Path) -> None:
    """Many moments of the engine alone: its stages take milliseconds."""
    check(storm("fake", tmp_path, kills=60, seed=0, timeout=120), 60)


def test_real_stages_survive_kills(tmp_path: Path) -> None:
    """Sampling, verification, repair, ranking, training, evaluation and selection as they are.

    The undisturbed run is another run with the same seed: so this also shows that two runs give
    the same answers, pairs, adapters and scores.
    """
    check(storm("real", tmp_path, kills=51, seed=0, timeout=600), 51)
