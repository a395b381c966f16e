"""Several processes that train one model, as ``accelerate launch`` starts them.

The first one carries out the command; the others wait until it trains, take part in that, and
leave when it is done. Only the first writes files. Should it fail, the launcher ends the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.stages.context import StageContext


def count() -> int:
    """How many processes were launched together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Whether this is one of those that only take part in training."""
    return count() > 1 and int(os.environ.get("RANK", "0")) > 0


def follow(work: Callable[[StageContext], None]) -> None:
    """In a follower: do with the others what the first process announces, until dismissed."""
    while (context := _exchanged(None)) is not None:
        work(context)
    _leave()


def announce(context: StageContext) -> None:
    """In the first of several processes: let the followers begin; nothing if it is alone."""
    if count() > 1 and not is_follower():
        _exchanged(replace(context, report=_Silence()))


def dismiss() -> None:
    """In the first of several processes: let the followers leave; nothing if it is alone."""
    if count() > 1 and not is_follower():
        _exchanged(None)
        _leave()


def _leave() -> None:
    from accelerate import PartialState

    PartialState().destroy_process_group()


def _exchanged(context: StageContext | None) -> Any:
    """What the first process has, on all of them."""
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    asked = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    # Told of neither CPU nor GPU, accelerate takes each process for the only one.
    PartialState(cpu=asked or not torch.cuda.is_available())
    shared: list[Any] = [context]
    broadcast_object_list(shared)
    return shared[0]


@dataclass(frozen=True)
class _Silence:
    """Progress of processes that have nothing to say; can be sent to another process."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Nothing."""
