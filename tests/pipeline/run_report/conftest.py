"""Fake runs, made once: they take longer to make than to report on."""

from pathlib import Path

import pytest
from fake_run import HOSTILE, Shape, make_run

SMALL = Shape(rounds=2, per_split=6, samples=2, variants={"no_repair": 0.4, "paper_count": 0.0})


@pytest.fixture(scope="session")
def full(tmp_path_factory) -> Path:
    """Every part: rounds, repair, variants, robustness, selection."""
    return make_run(tmp_path_factory.mktemp("full") / "run", SMALL)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    """Markup in an answer, in a task's id and in the configuration."""
    shape = Shape(rounds=1, per_split=3, samples=1, variants={}, hostile=HOSTILE)
    return make_run(tmp_path_factory.mktemp("hostile") / "run", shape, name=HOSTILE)
