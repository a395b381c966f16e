"""Log-probabilities under the reference, computed once and kept on disk.

The reference is the model as the round starts. Its share of the work is saved row by row, so that
a training that was killed meanwhile goes on from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from accelerate.utils import broadcast_object_list, gather_object

from pipeline.files import write_text
from pipeline.training.forward import Tensors, row_tensors
from pipeline.training.pairs import TokenGroup
from pipeline.training.plan import Item, Step, row_of, within_rows

Completion = tuple[int, int]
"""(group, completion)."""

Reference = dict[Completion, float]
"""Log-probability of each completion as a whole."""


def used_completions(steps: Sequence[Step]) -> list[Completion]:
    """All completions that some update uses, in order of groups."""
    found = {
        completion
        for step in steps
        for parts in step.parts
        for part in parts
        for item in part.items
        for completion in item.completions
    }
    return sorted(found)


def reference_log_probs(
    score: Callable[[Tensors], list[float]],
    groups: Sequence[TokenGroup],
    steps: Sequence[Step],
    cache: Path,
    process: int = 0,
    processes: int = 1,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Reference:
    """Log-probabilities of everything that the updates use.

    Args:
        score: Log-probabilities of a row's completions under the reference.
        groups: Prompts and completions.
        steps: The updates.
        cache: File that holds what is known already; written by the first process.
        process: Index of this one of several processes, which share the rows.
        processes: How many there are.
        report: Called with rows done and their number.
    """
    rows = list(within_rows([Item(g, c, None) for g, c in used_completions(steps)], groups))
    found = _agreed(_load(cache) if process == 0 else {})
    left = [row for row in rows if any(item.completions[0] not in found for item in row)]
    for start in range(0, len(left), processes):
        # With fewer rows than processes some repeat the last: all must take part in a pass.
        mine = left[min(start + process, len(left) - 1)]
        completions = [item.completions[0] for item in mine]
        scores = score(row_tensors(row_of(completions, groups)))
        found.update(gather_object(list(zip(completions, scores, strict=True))))
        if process == 0:
            _save(cache, found)
        report(len(rows) - len(left) + min(start + processes, len(left)), len(rows))
    return found


def _agreed(found: Reference) -> Reference:
    """What the first process knows, on all processes: each must have the same rows left."""
    shared = [found]
    broadcast_object_list(shared)
    return shared[0]


def _save(cache: Path, found: Reference) -> None:
    write_text(cache, json.dumps([[*key, value] for key, value in sorted(found.items())]))


def _load(cache: Path) -> Reference:
    with suppress(OSError):
        return {(g, c): value for g, c, value in json.loads(cache.read_text(encoding="utf-8"))}
    return {}
