"""The search for grids narrower than a group's weights, which clip the outermost of them.

`clip_groups` is AWQ's search (Lin et al., MLSys 2024; ``auto_clip.py`` of its code): each group of
each row takes, by itself, the factor of its span that changes its part of the output least.

`clip_rows` goes on from there: the parts of one output add up, so that errors of different groups
may cancel. Group after group takes the factor that changes the whole output least while the row's
other groups stay as they are, in several sweeps. The error of an output never grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from serving.quantization.grid import Grid, Ranges, find_ranges, in_groups, snap

ROWS = 4096
"""Output channels that are worked on at a time: bounds the memory."""


@dataclass(frozen=True)
class ClipSettings:
    """Which factors of the span are tried, and how.

    Attributes:
        steps: Number of factors from 1 down to ``lowest``, both included.
        lowest: The smallest one.
        sweeps: Times that `clip_rows` visits every group; 0: `clip_groups` alone.
    """

    steps: int = 21
    lowest: float = 0.5
    sweeps: int = 2

    def factors(self) -> list[float]:
        """From 1 down."""
        span = max(self.steps - 1, 1)
        return [1.0 - (1.0 - self.lowest) * i / span for i in range(self.steps)]


def clip(
    weight: torch.Tensor, gram: torch.Tensor, grid: Grid, settings: ClipSettings = ClipSettings()
) -> Ranges:
    """Grids for round-to-nearest that keep a layer's outputs.

    Args:
        weight: float32 [N, K].
        gram: Mean of x x^T over calibration inputs, [K, K].
        grid: Of which kind the grids are.
        settings: Of the search.
    """
    parts = [
        clip_rows(part, gram, grid, clip_groups(part, gram, grid, settings), settings)
        for part in weight.split(ROWS)
    ]
    return Ranges(torch.cat([p.scale for p in parts]), torch.cat([p.zero for p in parts]))


def clip_groups(
    weight: torch.Tensor, gram: torch.Tensor, grid: Grid, settings: ClipSettings
) -> Ranges:
    """AWQ's search: as `clip`, every group by itself."""
    blocks = torch.stack(list(_blocks(gram, grid.group)))  # [K/group, group, group]
    best = find_ranges(weight, grid)
    least = _group_errors(weight, best, grid, blocks)
    for factor in settings.factors():
        found = find_ranges(weight, grid, factor)
        errors = _group_errors(weight, found, grid, blocks)
        better = errors < least
        least = torch.where(better, errors, least)
        best = _where(better, found, best)
    return best


def clip_rows(
    weight: torch.Tensor, gram: torch.Tensor, grid: Grid, start: Ranges, settings: ClipSettings
) -> Ranges:
    """Lower each output's whole error, group after group.

    Args:
        weight: As for `clip`.
        gram: As for `clip`.
        grid: As for `clip`.
        start: The grids to begin with.
        settings: Of the search.
    """
    size = grid.group
    change = snap(weight, start, grid) - weight  # D, [N, K]
    pull = change @ gram  # D H, kept up to date
    scale, zero = start.scale.clone(), start.zero.clone()
    factors = settings.factors()
    for _ in range(settings.sweeps):
        for group, block in enumerate(_blocks(gram, size)):
            columns = slice(group * size, (group + 1) * size)
            old = change[:, columns]
            others = pull[:, columns] - old @ block
            part = weight[:, columns]
            new, least = old.clone(), _share(old, block, others)
            for factor in factors:
                found = find_ranges(part, grid, factor)
                tried = snap(part, found, grid) - part
                error = _share(tried, block, others)
                better = error < least
                least = torch.where(better, error, least)
                new = torch.where(better[:, None], tried, new)
                scale[:, group] = torch.where(better, found.scale[:, 0], scale[:, group])
                zero[:, group] = torch.where(better, found.zero[:, 0], zero[:, group])
            pull += (new - old) @ gram[columns]
            change[:, columns] = new
    return Ranges(scale, zero)


def _share(change: torch.Tensor, block: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """What a group's change [N, g] adds to each row's squared error, given the other groups'."""
    return ((change @ block + 2 * others) * change).sum(dim=-1)


def _group_errors(
    weight: torch.Tensor, ranges: Ranges, grid: Grid, blocks: torch.Tensor
) -> torch.Tensor:
    change = in_groups(snap(weight, ranges, grid) - weight, grid.group).transpose(0, 1)
    return ((change @ blocks) * change).sum(dim=-1).T


def _blocks(gram: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """The diagonal blocks."""
    for start in range(0, len(gram), size):
        yield gram[start : start + size, start : start + size]


def _where(better: torch.Tensor, one: Ranges, other: Ranges) -> Ranges:
    return Ranges(
        torch.where(better, one.scale, other.scale), torch.where(better, one.zero, other.zero)
    )
