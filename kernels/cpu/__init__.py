"""Kernels in C++ for CPUs behind a plain C interface; the instruction set is chosen at run time."""

from kernels.cpu.library import (
    available_isas,
    isa,
    num_threads,
    select_isa,
    set_num_threads,
)

__all__ = ["available_isas", "isa", "num_threads", "select_isa", "set_num_threads"]
