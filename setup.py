"""Builds the CPU kernels: one shared library, its kernels compiled once per instruction set."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = Path("kernels/cpu/src")
FLAGS = [
    "-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-fopenmp-simd", "-Wall", "-Wextra",
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fno-rtti",
    "-Wno-maybe-uninitialized", "-Wno-uninitialized",  # GCC says so of its own AVX-512 header
]  # fmt: skip
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [
    *AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni",
    "-mprefer-vector-width=512",
]  # fmt: skip
LEVELS = {"plain": [], "avx2": AVX2, "avx512": AVX512, "avx512bf16": [*AVX512, "-mavx512bf16"]}


class BuildKernels(build_ext):
    """Compiles `isa_unit.cpp` once per level and links everything with the portable parts."""

    def build_extension(self, ext: Extension) -> None:
        """Compile in parallel what is older than its sources, then link."""
        folder = Path(self.build_temp) / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        portable = [path for path in sorted(SOURCES.glob("*.cpp")) if path.name != "isa_unit.cpp"]
        intel = platform.machine() in {"x86_64", "AMD64"}
        levels = LEVELS if intel else {"plain": []}
        # Portable objects and the plain level come first: of a weak symbol that several units
        # define, the linker keeps the first, which every processor can run.
        units = [(path, folder / f"{path.stem}.o", []) for path in portable]
        units += [
            (SOURCES / "isa_unit.cpp", folder / f"isa_{name}.o", [*flags, f"-DSD_ISA={name}"])
            for name, flags in levels.items()
        ]
        newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
        compiler = os.environ.get("CXX", "g++").split()

        def compile_one(unit: tuple[Path, Path, list[str]]) -> None:
            source, target, flags = unit
            if not target.exists() or target.stat().st_mtime < newest:
                self.spawn([*compiler, *FLAGS, *flags, "-c", str(source), "-o", str(target)])

        with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
            list(workers.map(compile_one, reversed(units)))
        output = Path(self.get_ext_fullpath(ext.name))
        output.parent.mkdir(parents=True, exist_ok=True)
        objects = [str(target) for _, target, _ in units]
        # Not over the old library: a process that has it loaded keeps it, and does not crash.
        linked = output.with_suffix(f".{os.getpid()}.tmp")
        self.spawn([*compiler, "-shared", "-pthread", "-o", str(linked), *objects])
        linked.replace(output)


setup(
    ext_modules=[Extension("kernels.cpu._native", [])],
    cmdclass={"build_ext": BuildKernels},
)
