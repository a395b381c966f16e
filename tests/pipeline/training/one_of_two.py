"""One of several processes of the stage ``train``; run as a script with model and run folder."""

import sys
from pathlib import Path

from pipeline.config import RunConfig
from pipeline.models import use_threads
from pipeline.stages import train
from pipeline.stages.context import StageContext
from pipeline.training.processes import dismiss, is_follower


def context(model: str, folder: Path, **train_changes) -> StageContext:
    """Of round 1 of a run with the pairs in ``folder/rank``; results go to ``folder/train``."""
    values = {
        "epochs": 1,
        "pairs_per_step": 4,
        "dtype": "float32",
        "learning_rate": 1e-2,
        "lora": {"rank": 4, "alpha": 8, "targets": ["q_proj", "v_proj", "down_proj"]},
    }
    config = RunConfig.model_validate(
        {"model": {"name": model, "device": "cpu"}, "train": values | train_changes}
    )
    work = folder / "train"
    return StageContext(config, 1, {"rank": folder / "rank"}, work, lambda *_: None)


if __name__ == "__main__":
    use_threads(1)
    if is_follower():
        train.take_part()
    else:
        train.run(context(sys.argv[1], Path(sys.argv[2])))
        dismiss()
