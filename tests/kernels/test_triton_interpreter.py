"""The Triton kernels in Triton's interpreter, on CPU tensors, against the definitions.

Whether kernels are interpreted is decided when Triton is first imported: hence other processes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
CASES = FOLDER / "interpreted_kernels.py"
PARTS = {"linear": "linear or atom or activations", "others": "not linear and not atom"}


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
@pytest.mark.parametrize("part", PARTS)
def test_kernels_agree_with_their_definitions(part: str) -> None:
    command = [sys.executable, "-m", "pytest", str(CASES), "-k", PARTS[part]]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(FOLDER), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=FOLDER.parent.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 8
