"""Killed attempts go on where they were and end with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_networks import save_network, token_rows

from serving.errors import ServingError
from serving.quantization import Method, QuantizeSettings, quantize_model, walk
from serving.quantization.workspace import workspace


class _KilledError(Exception):
    pass


def _attempt(
    dense: Path, out: Path, settings: QuantizeSettings, monkeypatch: pytest.MonkeyPatch, after: int
) -> int:
    """Stop within the layer that follows ``after`` finished ones; how many layers were begun."""
    begun = 0
    whole = walk.METHODS[settings.method]

    def counted(stage, settings):  # type: ignore[no-untyped-def]
        nonlocal begun
        begun += stage.names == walk.STAGES[0] and stage.place != ""
        if begun > after and stage.names == walk.STAGES[2]:
            raise _KilledError
        return whole(stage, settings)

    with monkeypatch.context() as patch:
        patch.setitem(walk.METHODS, settings.method, counted)
        try:
            quantize_model(dense, out, settings, token_rows())
        except _KilledError:
            assert not out.exists()
    return begun


@pytest.mark.parametrize("method", ["rtn", "awq", "atom"])
def test_finished_layers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    dense = save_network(tmp_path / "dense", "llama", num_hidden_layers=3)
    settings = QuantizeSettings(method=method, group=16, head_bits=4)
    quantize_model(dense, tmp_path / "whole", settings, token_rows())
    out = tmp_path / "out"
    assert _attempt(dense, out, settings, monkeypatch, after=1) == 2
    assert (tmp_path / ".out.quantizing").is_dir()
    assert _attempt(dense, out, settings, monkeypatch, after=1) == 2  # goes on with the second
    assert _attempt(dense, out, settings, monkeypatch, after=9) == 1  # and with the third
    wanted, found = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out")
    )
    assert found == wanted
    assert not (tmp_path / ".out.quantizing").exists()


def test_parts_of_other_settings_rows_and_models_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    other = save_network(tmp_path / "other", "llama", seed=5)
    first = QuantizeSettings(method="gptq", group=16)
    out = tmp_path / "out"
    assert _attempt(dense, out, first, monkeypatch, after=1) == 2
    assert _attempt(dense, out, QuantizeSettings(method="gptq", group=32), monkeypatch, 1) == 2
    assert _attempt(other, out, first, monkeypatch, after=1) == 2
    assert _attempt(dense, out, first, monkeypatch, after=1) == 2
    monkeypatch.setitem(walk.METHODS, "gptq", _refuse_first)
    with pytest.raises(_KilledError):  # other rows
        quantize_model(dense, out, first, token_rows(seed=8))


def _refuse_first(stage, settings):  # type: ignore[no-untyped-def]
    del settings
    assert stage.place in ("", "model.layers.0")
    raise _KilledError


@pytest.mark.parametrize("name", ["layer-000.safetensors", "hidden.safetensors"])
def test_damaged_parts_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    dense = save_network(tmp_path / "dense", "llama")
    settings = QuantizeSettings(method="gptq", group=16)
    quantize_model(dense, tmp_path / "whole", settings, token_rows())
    _attempt(dense, tmp_path / "out", settings, monkeypatch, after=1)
    part = tmp_path / ".out.quantizing" / name
    part.write_bytes(part.read_bytes()[:-9])
    quantize_model(dense, tmp_path / "out", settings, token_rows())
    wanted = load_file(str(tmp_path / "whole" / "model.safetensors"))
    found = load_file(str(tmp_path / "out" / "model.safetensors"))
    assert all((found[key] == wanted[key]).all() for key in wanted)


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with (
        workspace(tmp_path / "out", "key"),
        pytest.raises(ServingError, match="being made by another process"),
        workspace(tmp_path / "out", "key"),
    ):
        pass


def test_killed_processes_leave_nothing_that_looks_whole(tmp_path: Path) -> None:
    dense = save_network(tmp_path / "dense", "llama", num_hidden_layers=4)
    script = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import torch
        from pathlib import Path
        from tiny_networks import token_rows
        from serving.quantization import QuantizeSettings, quantize_model
        torch.set_num_threads(1)
        settings = QuantizeSettings(method="gptq", group=16)
        quantize_model(Path({str(dense)!r}), Path(sys.argv[1]), settings, token_rows(),
                       lambda done, total: print(done, flush=True))
        """
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=environment)
    out = tmp_path / "out"
    with subprocess.Popen([*command, str(out)], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"3":
            pass
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    finished = subprocess.run(
        [*command, str(out)], check=True, env=environment, capture_output=True, text=True
    )
    assert int(finished.stdout.split()[0]) >= 3
    wanted, found = (
        (folder / "model.safetensors").read_bytes() for folder in (tmp_path / "whole", out)
    )
    assert found == wanted
