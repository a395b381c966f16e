"""Every back-end of this machine in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from operator_backends import BACKENDS, Backend

from kernels.cpu import isa, num_threads, select_isa, set_num_threads


@pytest.fixture(params=BACKENDS, ids=str, scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A back-end that is in use; memory for results is full of NaN before they are written."""
    before, deterministic = isa(), torch.are_deterministic_algorithms_enabled()
    if request.param.level:
        select_isa(request.param.level)
    # Deterministic algorithms are what makes PyTorch fill new memory.
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield request.param
    torch.use_deterministic_algorithms(deterministic)
    select_isa(before)


@pytest.fixture(scope="module")
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads until the end."""
    before = num_threads()
    yield set_num_threads
    set_num_threads(before)
