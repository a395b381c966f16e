"""AWQ's search on stages of random layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_networks import save_network, token_rows

from serving.quantization.awq import AwqSettings, awq_stage, scales_of
from serving.quantization.moments import moments_of
from serving.quantization.rtn import rtn_stage
from serving.quantization.settings import QuantizeSettings
from serving.quantization.source import open_dense
from serving.quantization.stages import STAGES, Matrices, Stage, StageResult, weighted_inputs


def _stage(folder: Path, names: tuple[str, ...], kind: str = "llama", seed: int = 0) -> Stage:
    model = open_dense(save_network(folder, kind, seed))
    layer = model.layer(1)
    hidden = [model.embedding[torch.tensor(row)] for row in token_rows(8)]
    moments = moments_of(weighted_inputs(layer, names, hidden), "x")
    return Stage("model.layers.1", names, layer, moments, hidden)


def _error(stage: Stage, result: StageResult) -> float:
    scales = 1.0 if result.scales is None else result.scales
    values: Matrices = {n: w.dequantize() / scales for n, w in result.weights.items()}
    return stage.error()(values)


@pytest.mark.parametrize("names", STAGES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_never_worse_than_rounding_to_nearest(
    tmp_path: Path, names: tuple[str, ...], symmetric: bool, seed: int
) -> None:
    stage = _stage(tmp_path, names, seed=seed)
    settings = QuantizeSettings(group=32, symmetric=symmetric)
    nearest = _error(stage, rtn_stage(stage, settings))
    for awq in (AwqSettings(), AwqSettings(alphas=(1.0,), finalists=1), AwqSettings(alphas=())):
        assert _error(stage, awq_stage(stage, settings, awq)) <= nearest
    assert _error(stage, awq_stage(stage, settings)) < 0.8 * nearest


@pytest.mark.parametrize("names", STAGES)
def test_gptq_on_its_grids_is_better_still(tmp_path: Path, names: tuple[str, ...]) -> None:
    stage = _stage(tmp_path, names)
    settings = QuantizeSettings(group=32)
    plain = _error(stage, awq_stage(stage, settings))
    assert _error(stage, awq_stage(stage, settings, compensated=True)) < plain


def test_scales_are_taken_only_where_they_help(tmp_path: Path) -> None:
    stage = _stage(tmp_path, STAGES[2])
    result = awq_stage(stage, QuantizeSettings(group=32))
    assert result.scales is not None
    assert result.choice.startswith("alpha 0.")
    only = awq_stage(stage, QuantizeSettings(group=32), AwqSettings(alphas=(0.0,)))
    assert only.scales is None
    assert only.choice.startswith("alpha 0,")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_scales_are_powers_of_magnitudes(alpha: float) -> None:
    magnitude = torch.tensor([0.5, 2.0, 8.0, 0.0])
    scales = scales_of(magnitude, alpha)
    assert float(scales.max() * scales.min()) == pytest.approx(1.0, rel=1e-4)
    assert float(scales[2] / scales[0]) == pytest.approx(16.0**alpha, rel=1e-4)
    assert bool((scales > 0).all())
    assert bool(torch.isfinite(scales_of(torch.zeros(4), alpha)).all())


def test_what_the_search_saw_is_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = _stage(tmp_path, STAGES[3])
    seen: list[float] = []
    plain = Stage.error

    def watched(self: Stage) -> Callable[[Matrices], float]:
        error = plain(self)

        def note(matrices: Matrices) -> float:
            seen.append(error(matrices))
            return seen[-1]

        return note

    monkeypatch.setattr(Stage, "error", watched)
    result = awq_stage(stage, QuantizeSettings(group=32))
    monkeypatch.undo()
    assert _error(stage, result) == pytest.approx(min(seen), rel=1e-6)
