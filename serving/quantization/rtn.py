"""Round to nearest: the baseline, and taking over weights that lie on a grid already."""

from __future__ import annotations

from serving.errors import ServingError
from serving.quantization.exact import exact_grid
from serving.quantization.grid import quantize_to_grid
from serving.quantization.settings import QuantizeSettings
from serving.quantization.stages import Stage, StageResult


def rtn_stage(stage: Stage, settings: QuantizeSettings) -> StageResult:
    """Every weight to the nearest number of a grid that spans its group."""
    return StageResult(
        {
            name: quantize_to_grid(weight, settings.grid(weight.shape[1]))
            for name, weight in stage.matrices.items()
        }
    )


def exact_stage(stage: Stage, settings: QuantizeSettings) -> StageResult:
    """Weights that lie on a grid, unchanged.

    Raises:
        ServingError: Some do not.
    """
    weights = {}
    for name, weight in stage.matrices.items():
        found = exact_grid(weight, settings.bits, settings.group)
        if found is None:
            raise ServingError(
                f"weights of {stage.full_name(name)} do not lie on a {settings.bits}-bit grid in "
                f"groups of {settings.group}",
                remedy="use another --group, or a method that rounds",
            )
        weights[name] = found
    return StageResult(weights)
