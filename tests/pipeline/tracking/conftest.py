"""A small run, and stores to log it to: the slow things are made once and copied."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1] / "run_report"))

from fake_run import Shape, make_run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, tiny, tiny_adapter) -> Path:
    """One round and one variant; its adapters are real ones of the model `tiny`."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    make_run(folder, Shape(rounds=1, per_split=2, samples=2, variants={"no_repair": 0.5}))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["name"] = str(tiny.folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for train in (folder / "round-01/train", folder / "variants/no_repair/train"):
        shutil.copytree(tiny_adapter, train / "adapter", dirs_exist_ok=True)
    (folder / "report").mkdir()
    (folder / "report/index.html").write_text("<!doctype html><title>report</title>")
    return folder


@pytest.fixture
def run(small_run, tmp_path) -> Path:
    """A copy to change."""
    return shutil.copytree(small_run, tmp_path / "runs" / "small")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """MLflow's tables; making them takes longer than all that is done with them."""
    from pipeline.tracking.connection import make_client, quiet

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    with quiet():
        make_client(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def new_store(empty_database) -> Callable[[Path], str]:
    """Makes an empty store in a folder and returns its address."""

    def make(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty_database, folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    return make


@pytest.fixture
def store(new_store, tmp_path) -> str:
    """The address of an empty store."""
    return new_store(tmp_path / "store")
