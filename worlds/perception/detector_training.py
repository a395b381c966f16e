"""Training a detector on labelled pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from verifier.errors import InputError
from worlds.perception.detections import Booleans
from worlds.perception.detector import CHANNELS, Detector, Network, as_tensor
from worlds.perception.frames import Frames
from worlds.perception.recalibration import recalibrate


@dataclass(frozen=True)
class Training:
    """How a detector is trained.

    Attributes:
        epochs: Passes over the pictures.
        batch: Pictures per step.
        rate: Highest learning rate (AdamW, one cycle).
        decay: Weight decay.
        held_out: Share of episodes that is kept for recalibration and never trained on.
        recalibration: Method (see `worlds.perception.recalibration`); None for none.
        first_looks: Share of training pictures whose earlier picture is replaced by themselves,
            as it is at the first look of an episode.
        light: Half the range of the random gain of training pictures.
        seed: Of weights, order and augmentation.
        channels: Of the network.
        hidden: Of the network.
    """

    epochs: int = 20
    batch: int = 32
    rate: float = 3e-3
    decay: float = 1e-3
    held_out: float = 0.2
    recalibration: str | None = "platt"
    first_looks: float = 0.05
    light: float = 0.1
    seed: int = 0
    channels: tuple[int, ...] = CHANNELS
    hidden: int = 64


def train_detector(
    frames: Frames, training: Training | None = None, done: Callable[[int], None] | None = None
) -> Detector:
    """Train on some episodes, recalibrate on the others.

    Equal pictures and seeds give equal detectors on one machine with one number of threads.

    Args:
        frames: Labelled pictures of at least two episodes.
        training: Settings.
        done: Called with 1 after every epoch.

    Raises:
        InputError: Too few episodes, or a size that the network cannot take.
    """
    settings = training or Training()
    chosen = _training_part(frames, settings)
    started = time.perf_counter()
    torch.manual_seed(settings.seed)
    network = Network(len(frames.propositions), frames.size, settings.channels, settings.hidden)
    losses = _fit(network, frames.samples(chosen), settings, done)
    network.eval()
    card = {
        "domain": frames.domain,
        "pictures": int(chosen.sum()),
        "held_out": int((~chosen).sum()),
        "training": asdict(settings),
        "losses": losses,
        "seconds": round(time.perf_counter() - started, 1),
    }
    bare = Detector(
        network,
        frames.propositions,
        frames.size,
        settings.channels,
        settings.hidden,
        None,
        card,
    )
    if settings.recalibration is None:
        return bare
    maps = recalibrate(bare.detect(frames.samples(~chosen)), settings.recalibration)
    return Detector(
        network,
        frames.propositions,
        frames.size,
        settings.channels,
        settings.hidden,
        maps,
        card,
    )


def _training_part(frames: Frames, settings: Training) -> Booleans:
    numbers = np.unique(frames.episode)
    if len(numbers) < 2:
        raise InputError(
            f"{len(numbers)} episode of pictures", remedy="collect more: some are held out"
        )
    np.random.default_rng(settings.seed).shuffle(numbers)
    cut = min(max(round(settings.held_out * len(numbers)), 1), len(numbers) - 1)
    return ~np.isin(frames.episode, numbers[:cut])


def _fit(
    network: Network, frames: Frames, settings: Training, done: Callable[[int], None] | None
) -> list[float]:
    chance = np.random.default_rng([settings.seed, 1])
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.rate, weight_decay=settings.decay
    )
    batches = -(-len(frames) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=batches * settings.epochs
    )
    measure = nn.BCEWithLogitsLoss()
    labels = torch.from_numpy(frames.labels).float()
    network.train()
    losses = []
    for _ in range(settings.epochs):
        order, total = chance.permutation(len(frames)), 0.0
        for part in np.array_split(order, batches):
            now, before = _augmented(frames, part, settings, chance)
            loss = measure(network(now, before), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
        losses.append(round(total / len(frames), 5))
        if done is not None:
            done(1)
    return losses


def _augmented(
    frames: Frames, part: np.ndarray, settings: Training, chance: np.random.Generator
) -> tuple[Tensor, Tensor]:
    now, before = frames.now[part], frames.before[part].copy()
    first = chance.random(len(part)) < settings.first_looks
    before[first] = now[first]
    both = [as_tensor(frames.pictures[index]) for index in (now, before)]
    gain = torch.from_numpy(
        chance.uniform(1 - settings.light, 1 + settings.light, len(part)).astype(np.float32)
    ).view(-1, 1, 1, 1)
    return (both[0] * gain).clamp(0, 1), (both[1] * gain).clamp(0, 1)
