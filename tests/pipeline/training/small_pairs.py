"""Small sets of pairs that share beginnings, and quick settings."""

import random

from pipeline.prompts import Message
from pipeline.training.pairs import PromptGroup, group_pairs
from pipeline.training.settings import TrainSettings

STEPS = ("1. Stop.", "2. If no car, turn left.", "2. If no car, go.", "3. Turn right.", "3. Wait.")


def make_groups(prompts: int = 3, pairs: int = 5, seed: int = 0) -> list[PromptGroup]:
    """Prompts with a common beginning; answers put together from a few lines."""
    rng = random.Random(seed)
    rows = []
    for number in range(prompts):
        messages = (Message("user", f"Steps for the task: turn {number}"),)
        for _ in range(pairs):
            chosen, rejected = ("\n".join(rng.sample(STEPS, rng.randint(1, 3))) for _ in range(2))
            rows.append((messages, chosen, rejected + " Then stop."))
    return group_pairs(rows)


def quick(**changes) -> TrainSettings:
    """Settings for a tiny model."""
    values = {
        "lora_rank": 4,
        "lora_alpha": 8,
        "lora_targets": ("q_proj", "v_proj", "down_proj"),
        "pairs_per_step": 4,
        "epochs": 1,
        "dtype": "float32",
        "learning_rate": 1e-2,
        "checkpoint_every": 1,
    }
    return TrainSettings(**(values | changes))
