# ruff: noqa: E402
"""Machine code of the Triton kernels, compiled ahead of time: no GPU is needed."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import pytest

triton = pytest.importorskip("triton")

import kernels.triton
from kernels.triton.catalogue import catalogue
from kernels.triton.compile import MachineCode, compile_launch
from kernels.triton.launch import Launch

LIMITS = {
    # What must be fast at decoding has room for several programs on a processor.
    "int4_linear M=1 g64": 80,
    "int4_linear M=16 g128": 112,
    "int4_linear W4A8 M=16 g64 zero points": 112,
    "int8_linear M=1 g64": 80,
    "w4a4_linear M=1 g128": 96,
    "lora shrink 32 adapters": 128,
    "lora expand 32 adapters": 160,
    "attention decode int4": 168,
    # Large tiles of prefill use what there is, but nothing spills.
    "int4_linear M=1024 g64": 255,
    "attention prefill bf16": 255,
    # Reductions and selections without matrix products.
    "add_rms_norm": 64,
    "write_kv int4": 64,
    "sample choose": 96,
}
"""Kernel -> most registers per thread."""

PLAIN = ("add_rms_norm", "write_kv int4", "sample choose")
"""Those without matrix products."""


SHARED = {80: 164 * 1024, 90: 228 * 1024}
"""Bytes of shared memory of a processor."""

_AMPERE = (
    "int4_linear M=1 g64",
    "int4_linear M=16 g128",
    "int4_linear W4A8 M=16 g64 zero points",
    "int4_linear M=1024 g64",
    "w4a4_linear M=1 g128",
    "lora shrink 32 adapters",
    "attention decode int4",
)
CASES = [(name, 90) for name in LIMITS] + [(name, 80) for name in _AMPERE]


@cache
def launches(capability: int) -> dict[str, Launch]:
    return catalogue(capability)


@cache
def machine_code(name: str, capability: int) -> MachineCode:
    return compile_launch(launches(capability)[name], capability)


@pytest.mark.parametrize(("name", "capability"), CASES)
def test_registers_suffice(name: str, capability: int) -> None:
    code = machine_code(name, capability)
    assert code.stack == 0
    assert code.spills == 0
    assert code.registers <= LIMITS[name]
    assert code.programs(SHARED[capability]) >= (1 if LIMITS[name] == 255 else 3)
    if name in PLAIN:
        assert not code.matrix
    else:
        assert code.matrix


@pytest.mark.parametrize("name", [name for name in LIMITS if name.startswith("int4_linear")])
def test_hopper_takes_weights_from_registers(name: str) -> None:
    """Products of four warps at once, and codes that reach them without a detour.

    A shuffle or a store to shared memory inside the loop would mean that the packed layout no
    longer is the one in which the tensor cores want their first operand.
    """
    code = machine_code(name, 90)
    kind = "IGMMA" if "W4A8" in name else "HGMMA"
    assert code.matrix.get(kind, 0) >= 4
    assert "SHFL" not in code.instructions
    assert code.instructions.get("I2F", 0) == 0, "conversions of integers, one by one"


def test_unpacking_takes_few_instructions() -> None:
    """Two weights per LOP3: masks, magic numbers and signs in one instruction."""
    code = machine_code("int4_linear M=16 g128", 90)
    weights = 64 * 128 // 128  # of one thread in one step: tile over threads
    assert code.instructions["LOP3"] < 1.5 * weights
    assert code.instructions["HADD2"] <= 0.75 * weights


def test_integer_products_are_integer() -> None:
    for name in ("int4_linear W4A8 M=16 g64 zero points", "w4a4_linear M=1 g128"):
        assert set(machine_code(name, 80).matrix) == {"IMMA"}
        assert set(machine_code(name, 90).matrix) == {"IGMMA"}


def test_every_kernel_is_in_the_catalogue() -> None:
    modules = [
        importlib.import_module(f"kernels.triton.{module.name}")
        for module in pkgutil.iter_modules(kernels.triton.__path__)
    ]
    launched = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, triton.JITFunction) and "program_id" in value.src
    }
    assert launched
    assert launched == {launch.kernel for launch in launches(90).values()}
