"""Ahead-of-time compilation, without a GPU: what the machine code of a launch needs and uses.

``python -m kernels.triton.compile [sm_90 ...]`` prints it for `kernels.triton.catalogue`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from kernels.triton.launch import Launch

MATRIX_INSTRUCTIONS = ("HMMA", "IMMA", "HGMMA", "IGMMA")
"""Tensor-core instructions: of a warp, and (HGMMA, IGMMA) of four warps together."""

_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int8: "*i8",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
_OPCODE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)")
_USAGE = re.compile(r"REG:(\d+) STACK:(\d+)")


@dataclass(frozen=True)
class MachineCode:
    """What cuobjdump and the compiler say about one compiled launch.

    Attributes:
        registers: Per thread.
        stack: Bytes per thread; more than 0 means spilled registers or local arrays.
        spills: Instructions that read or write local memory.
        shared: Bytes of shared memory per program.
        warps: Per program.
        instructions: How often each instruction occurs in the code (not: is executed).
    """

    registers: int
    stack: int
    spills: int
    shared: int
    warps: int
    instructions: Mapping[str, int]

    @property
    def matrix(self) -> dict[str, int]:
        """The tensor-core instructions among them."""
        found = {name: self.instructions.get(name, 0) for name in MATRIX_INSTRUCTIONS}
        return {name: count for name, count in found.items() if count}

    def programs(self, shared: int) -> int:
        """How many fit a processor of 64 Ki registers, 64 warps and ``shared`` bytes of memory."""
        by_registers = 65536 // (32 * self.warps * max(8, -(-self.registers // 8) * 8))
        return min(by_registers, shared // (self.shared + 1024), 64 // self.warps)


def compile_launch(launch: Launch, capability: int) -> MachineCode:
    """Compile for compute capability ``capability`` (80 for sm_80); tensors may be on ``meta``.

    Arguments are specialized as at a launch: pointers are taken as aligned to 16 bytes.
    """
    signature, constants, attributes = _specialize(launch)
    source = ASTSource(launch.kernel, signature, constants, attributes)
    compiled = triton.compile(source, GPUTarget("cuda", capability, 32), dict(launch.options))
    return _read(compiled.asm["cubin"], compiled.metadata.shared, launch.warps)


def _specialize(launch: Launch) -> tuple[dict[str, str], dict[str, Any], dict[Any, Any]]:
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[Any, Any] = {}
    for index, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr or value is None:
            kind, constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            kind = _POINTERS[value.dtype]
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif isinstance(value, float):
            kind = "fp32"
        elif value == 1 and not parameter.do_not_specialize:
            kind, constants[parameter.name] = "constexpr", 1
        else:
            kind = "i32"
            if value % 16 == 0 and not parameter.do_not_specialize:
                attributes[(index,)] = [["tt.divisibility", 16]]
        signature[parameter.name] = kind
    return signature, constants, attributes


def _read(cubin: bytes, shared: int, warps: int) -> MachineCode:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _USAGE.search(_cuobjdump("-res-usage", path))
        code = _cuobjdump("-sass", path)
    if usage is None:
        raise RuntimeError("cuobjdump reports no resource usage")
    counts = Counter(match.group(1) for match in _OPCODE.finditer(code))
    return MachineCode(
        registers=int(usage.group(1)),
        stack=int(usage.group(2)),
        spills=counts["LDL"] + counts["STL"],
        shared=shared,
        warps=warps,
        instructions=dict(counts),
    )


def _cuobjdump(option: str, path: Path) -> str:
    tool = knobs.nvidia.cuobjdump.path
    done = subprocess.run([tool, option, str(path)], capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Print a table of the catalogue's kernels."""
    from kernels.triton.catalogue import catalogue

    names = sys.argv[1:] or ["sm_80", "sm_90"]
    print(f"{'kernel':42} {'arch':6} {'regs':>4} {'stack':>5} {'spill':>5} {'shared':>7}  matrix")
    for capability in (int(name.removeprefix("sm_")) for name in names):
        for name, launch in catalogue(capability).items():
            code = compile_launch(launch, capability)
            matrix = " ".join(f"{key} {count}" for key, count in code.matrix.items())
            print(
                f"{name:42} sm_{capability:3} {code.registers:4} {code.stack:5} {code.spills:5} "
                f"{code.shared:7}  {matrix}"
            )


if __name__ == "__main__":
    main()
