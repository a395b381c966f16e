"""Without a GPU there is nothing to measure. (What it measures runs in the interpreter's tests.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_kernels


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_nothing_is_written_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "gpu_kernels.json"
    monkeypatch.setattr(sys, "argv", ["gpu_kernels", "--output", str(output)])
    gpu_kernels.main()
    assert "not measured: no CUDA GPU" in capsys.readouterr().out
    assert not output.exists()
