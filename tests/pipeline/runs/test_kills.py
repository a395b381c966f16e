"""A run that is killed at any moments ends with the same artefacts as an undisturbed one."""

import json
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
    import os

    root = str(HERE.parents[2])
    return os.environ | {
        "PYTHONPATH": root,
        "OMP_NUM_THREADS": "1",
        "SPECDRIVE_CACHE": str(folder / "cache"),
        "TOKENIZERS_PARALLELISM": "false",
    }


def test_fake_stages_survive_kills(tmp_path: Path) -> None:
    found = storm("fake", tmp_path, kills=60, seed=0, timeout=120)
    assert found["kills"] >= 60
    assert found["differing"] == []
    assert found["leftovers"] == []
    assert found["missed"] == []
