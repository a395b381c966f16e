"""A tiny model that may be changed, and pairs for it."""

import pytest
from small_pairs import make_groups

from pipeline.training.pairs import PromptGroup


@pytest.fixture(scope="session")
def groups() -> list[PromptGroup]:
    return make_groups()


@pytest.fixture
def fresh(tiny):
    """`tiny` anew: training changes a network."""
    from pipeline.models import load_model

    return load_model(tiny.folder, device="cpu")
