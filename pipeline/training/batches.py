"""An update's rows as the trainer's data loader gives them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.training.forward import Tensors, row_tensors
from pipeline.training.pairs import TokenGroup
from pipeline.training.plan import Part, Step, row_of


@dataclass(frozen=True)
class RowContent:
    """What stands in a row, and how much it counts.

    Attributes:
        completions: S different ones, (group, completion) each, in the order of the row's paths.
        lengths: Tokens of each.
        chosen: For each item, which of these is the chosen one.
        rejected: The same; empty where completions are only imitated.
        item_share: As of the `Part`.
        token_share: As of the `Part`.
    """

    completions: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    item_share: float
    token_share: float

    @property
    def prompts(self) -> tuple[int, ...]:
        """The prompt of each completion."""
        return tuple(group for group, _ in self.completions)


def row_content(part: Part, groups: Sequence[TokenGroup]) -> RowContent:
    """The completions of a part's items, each once."""
    index: dict[tuple[int, int], int] = {}
    for item in part.items:
        for completion in item.completions:
            index.setdefault(completion, len(index))
    return RowContent(
        tuple(index),
        tuple(len(groups[g].completions[c]) for g, c in index),
        tuple(index[item.group, item.chosen] for item in part.items),
        tuple(index[i.group, i.rejected] for i in part.items if i.rejected is not None),
        part.item_share,
        part.token_share,
    )


@dataclass(frozen=True)
class RowCollator:
    """Makes a batch of the one number that stands for it.

    Number ``i`` is update ``i // processes`` for process ``i % processes``: so a data loader
    that deals out single numbers in order gives each process its own part of the same update.

    Attributes:
        steps: All updates.
        groups: What their items refer to.
    """

    steps: Sequence[Step]
    groups: Sequence[TokenGroup]

    def __call__(self, numbers: Sequence[dict[str, int]]) -> dict[str, Any]:
        """``{"parts": [{"row": tensors, "content": RowContent}, ...]}``."""
        (number,) = (entry["number"] for entry in numbers)
        update, process = divmod(number, len(self.steps[0].parts))
        return {"parts": [self._batch(part) for part in self.steps[update].parts[process]]}

    def _batch(self, part: Part) -> dict[str, Tensors | RowContent]:
        content = row_content(part, self.groups)
        return {"row": row_tensors(row_of(content.completions, self.groups)), "content": content}
