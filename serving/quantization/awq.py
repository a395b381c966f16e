"""AWQ: weights that meet large activations are rounded more finely, by scaling them up beforehand.

Lin et al.: AWQ, MLSys 2024, section 3. With s_j = mean|x_j|^alpha, columns are multiplied by s_j
and inputs divided by it where they come from; the rounding error of a column then shrinks against
its weights as s_j grows. alpha is the one, from 0 (round to nearest) to 1, whose error in the
block's output is least. Then grids are narrowed where clipping lowers the error.

Different from the published code: alpha 1 is tried; the output projection is scaled also where
query heads share values; inputs of a stage are those that the quantized stages before it make;
queries and keys are clipped like the rest, since the search sees the error of a whole output and
not of a group's part of it (`serving.quantization.clipping`); symmetric grids are possible; and
what the search sees are the numbers that will be stored, with scales rounded to float16.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from kernels.weights import QuantizedWeight
from serving.quantization.clipping import ClipSettings, clip
from serving.quantization.gptq import gptq
from serving.quantization.grid import Grid, Ranges, find_codes, find_ranges, pack, snap, values_of
from serving.quantization.settings import QuantizeSettings
from serving.quantization.stages import Matrices, Stage, StageResult, shared_scales

SMALLEST_SHARE = 1e-4
"""Magnitudes below this share of the mean one count as this."""


@dataclass(frozen=True)
class AwqSettings:
    """What AWQ tries.

    Attributes:
        alphas: Exponents; 0 is always among them.
        refinement: Exponents this far below and above the best of these are tried, too.
        finalists: How many of the best exponents are clipped, to see which is best then.
        clip: The search for clipped grids.
    """

    alphas: tuple[float, ...] = tuple(i / 10 for i in range(11))
    refinement: float = 0.05
    finalists: int = 2
    clip: ClipSettings = field(default_factory=ClipSettings)


@dataclass(frozen=True)
class _Candidate:
    """One way to quantize a stage: ranges of the scaled weights and what they lead to."""

    alpha: float
    scales: torch.Tensor
    ranges: dict[str, Ranges]
    error: float


def awq_stage(
    stage: Stage,
    settings: QuantizeSettings,
    awq: AwqSettings = AwqSettings(),
    compensated: bool = False,
) -> StageResult:
    """The scales and grids with the least error of a stage's block.

    Round to nearest without scales or clipping is among what is compared, so that the result is
    never worse than that.

    Args:
        stage: What to quantize.
        settings: Of the grids.
        awq: Of the search.
        compensated: Round as GPTQ does on the grids that were found.
    """
    search = _Search(stage, settings, awq)
    plain = [search.plain(alpha) for alpha in sorted({0.0, *awq.alphas})]
    unscaled = plain[0]
    if len(plain) > 1 and awq.refinement:
        middle = min(plain, key=lambda c: c.error).alpha
        near = (round(middle + step, 6) for step in (-awq.refinement, awq.refinement))
        plain += [search.plain(alpha) for alpha in near if 0 < alpha <= 1]
    best = sorted(plain, key=lambda c: c.error)[: awq.finalists]
    tried = [unscaled, *best]
    tried += [search.clipped(candidate) for candidate in best]
    if compensated:
        finished = [search.compensated(candidate) for candidate in tried[-len(best) :]]
        weights, chosen = min(finished, key=lambda pair: pair[1].error)
    else:
        chosen = min(tried, key=lambda c: c.error)
        weights = search.rounded(chosen)
    relative = chosen.error / unscaled.error if unscaled.error > 0 else 1.0
    return StageResult(
        weights,
        scales=chosen.scales if chosen.alpha else None,
        choice=f"alpha {chosen.alpha:g}, {relative:.2f} of rtn",
    )


def scales_of(magnitude: torch.Tensor, alpha: float) -> torch.Tensor:
    """``magnitude^alpha``, with geometric middle of largest and smallest 1: float32 [K]."""
    mean = float(magnitude.mean())
    relative = magnitude / mean if mean > 0 else torch.ones_like(magnitude)
    scales = relative.clamp(min=SMALLEST_SHARE) ** alpha
    return scales / (scales.max() * scales.min()).sqrt()


class _Search:
    """Evaluates candidates of one stage."""

    def __init__(self, stage: Stage, settings: QuantizeSettings, awq: AwqSettings) -> None:
        self.stage, self.settings, self.awq = stage, settings, awq
        self.error = stage.error()

    def plain(self, alpha: float) -> _Candidate:
        """Grids that span the scaled weights."""
        sizes = self.stage.layer.architecture
        scales = shared_scales(
            scales_of(self.stage.moments.magnitude, alpha), self.stage.names, sizes
        )
        ranges = {n: find_ranges(w, self._grid(w)) for n, w in self._scaled(scales).items()}
        return self._judged(_Candidate(alpha, scales, ranges, 0.0))

    def clipped(self, candidate: _Candidate) -> _Candidate:
        """Grids narrowed where that keeps outputs."""
        gram = self.stage.moments.scaled(candidate.scales).gram
        ranges = {
            n: clip(w, gram, self._grid(w), self.awq.clip)
            for n, w in self._scaled(candidate.scales).items()
        }
        return self._judged(replace(candidate, ranges=ranges))

    def rounded(self, candidate: _Candidate) -> dict[str, QuantizedWeight]:
        """Each weight to the nearest number of its grid."""
        return {
            n: pack(
                find_codes(w, candidate.ranges[n], self._grid(w)),
                candidate.ranges[n],
                self._grid(w),
            )
            for n, w in self._scaled(candidate.scales).items()
        }

    def compensated(self, candidate: _Candidate) -> tuple[dict[str, QuantizedWeight], _Candidate]:
        """GPTQ on the candidate's grids, and its error."""
        gram = self.stage.moments.scaled(candidate.scales).gram
        weights, values = {}, {}
        for n, w in self._scaled(candidate.scales).items():
            grid = self._grid(w)
            codes, ranges = gptq(w, gram, grid, ranges=candidate.ranges[n])
            weights[n] = pack(codes, ranges, grid)
            values[n] = values_of(codes, ranges, grid) / candidate.scales
        return weights, replace(candidate, error=self.error(values))

    def _judged(self, candidate: _Candidate) -> _Candidate:
        values = {
            n: snap(w, candidate.ranges[n], self._grid(w)) / candidate.scales
            for n, w in self._scaled(candidate.scales).items()
        }
        return replace(candidate, error=self.error(values))

    def _scaled(self, scales: torch.Tensor) -> Matrices:
        return {name: weight * scales for name, weight in self.stage.matrices.items()}

    def _grid(self, weight: torch.Tensor) -> Grid:
        return self.settings.grid(weight.shape[1])
