"""A training that ends itself at a given moment; run as a script with a JSON object of arguments."""

import json
import os
import signal
import sys
from pathlib import Path

from small_pairs import make_groups, quick

from pipeline.models import load_model, use_threads
from pipeline.training import trainer as module
from pipeline.training.train import train


def run(
    model: str, work: str, changes: dict, kill: list | None, adapter: str | None = None
) -> None:
    """Train; ``kill`` is (what, done) as reported, or ("saving", update) within a checkpoint."""
    use_threads(1)

    def report(what: str, done: int, _total: int) -> None:
        if kill == [what, done]:
            os.kill(os.getpid(), signal.SIGKILL)

    if kill and kill[0] == "saving":
        seal = module.PreferenceTrainer.seal

        def die(self) -> None:
            if self.state.global_step == kill[1]:
                os.kill(os.getpid(), signal.SIGKILL)
            seal(self)

        module.PreferenceTrainer.seal = die
    folder = Path(work)
    train(
        load_model(model, "cpu"),
        make_groups(),
        quick(**changes),
        folder,
        folder / "partial",
        Path(adapter) if adapter else None,
        report,
    )


if __name__ == "__main__":
    run(**json.loads(sys.argv[1]))
