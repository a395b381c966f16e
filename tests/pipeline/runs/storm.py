"""Killing a run again and again: the driver that `test_kills` starts in a process of its own.

    python storm.py KIND FOLDER KILLS SEED

An undisturbed run is made in FOLDER/calm; runs in FOLDER/storm-N are killed (SIGKILL) at random
moments, spread over all stages, and continued, until KILLS is reached. Every attempt is a forked
process, so that libraries are imported only once; the parent itself never computes anything that
would start threads. Prints JSON: where the kills struck, and what differs at the end.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.runs.manifest import read_manifest
from pipeline.runs.plan import Step

_PATIENCE = 120.0
_MOST_RUNS = 8
_EARLY = 6


@dataclass(frozen=True)
class Subject:
    """A run to be killed: its steps, and how to carry it out or continue it in a folder.

    ``prelude`` is about how many seconds an attempt takes until it begins a step.
    """

    steps: tuple[Step, ...]
    carry_out: Callable[[Path], None]
    prelude: float


def attempt(act: Callable[[], object]) -> int:
    """The process id of a child that does something."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        act()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: int, block: bool = False) -> int | None:
    """The exit code of an attempt (negative: the signal); None while it goes on."""
    found, status = os.waitpid(child, 0 if block else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def unfinished(subject: Subject, run: Path) -> int:
    """Index of the first step without results."""
    present = [(run / step.folder).is_dir() for step in subject.steps]
    return present.index(False) if False in present else len(present)


def strike(subject: Subject, run: Path, target: int, delay: float) -> str | None:
    """Start an attempt, kill it ``delay`` after it has begun a step; where that struck.

    None if the attempt was over before.

    Raises:
        RuntimeError: The attempt failed by itself.
    """
    child = attempt(lambda: subject.carry_out(run))
    place = subject.steps[target].folder
    work = run / place.parent / f".{place.name}.partial"
    deadline = time.monotonic() + _PATIENCE
    code = None
    while code is None and not (work.exists() or unfinished(subject, run) > target):
        time.sleep(0.0005)
        code = ended(child)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            raise RuntimeError(f"{place} was not begun within {_PATIENCE} s")
    moment = time.monotonic() + delay
    while code is None and time.monotonic() < moment:
        time.sleep(0.0005)
        code = ended(child)
    if code is None:
        os.kill(child, signal.SIGKILL)
        code = ended(child, block=True)
    if code == -signal.SIGKILL:
        here = unfinished(subject, run)
        return str(subject.steps[here].folder) if here < len(subject.steps) else "afterwards"
    if code:
        raise RuntimeError(f"an attempt at {place} ended with exit code {code}")
    return None


def strike_early(subject: Subject, run: Path, delay: float) -> bool:
    """Kill an attempt ``delay`` after its start, before it has finished a step or even begun one."""
    child = attempt(lambda: subject.carry_out(run))
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return ended(child, block=True) == -signal.SIGKILL


def calm(subject: Subject, run: Path) -> list[float]:
    """Carry a run out without disturbance; the seconds of each step."""
    code = ended(attempt(lambda: subject.carry_out(run)), block=True)
    if code:
        raise RuntimeError(f"the undisturbed run ended with exit code {code}")
    manifests = [read_manifest(run / step.folder) for step in subject.steps]
    return [manifest.seconds if manifest else 0.0 for manifest in manifests]


def artefacts(subject: Subject, run: Path) -> dict[str, dict[str, str]]:
    """Step -> what it was made from and what it holds, by hashes of the files as they are."""
    found: dict[str, dict[str, str]] = {}
    for step in subject.steps:
        manifest = read_manifest(run / step.folder)
        found[str(step.folder)] = (
            {"recipe": manifest.recipe.hash, **manifest.outputs} if manifest else {}
        )
    return found


def leftovers(run: Path) -> list[str]:
    """Hidden files and folders that should not outlive a finished run."""
    return sorted(
        str(path.relative_to(run))
        for path in run.rglob(".*")
        if path.name not in (".lock",) and "report" not in path.parts
    )


def weather(subject: Subject, folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill runs until there were enough kills and every step was struck; compare the results."""
    chance = random.Random(seed)
    seconds = calm(subject, folder / "calm")
    expected = artefacts(subject, folder / "calm")
    struck = {"start": 0}
    differing: list[str] = []
    remains: list[str] = []
    runs = 0
    places = [str(step.folder) for step in subject.steps]
    while sum(struck.values()) < kills or (set(places) - set(struck) and runs < _MOST_RUNS):
        run = folder / f"storm-{runs}"
        runs += 1
        share = max(1, math.ceil((kills - sum(struck.values())) / len(subject.steps)))
        for _ in range(_EARLY):
            struck["start"] += strike_early(subject, run, chance.uniform(0, subject.prelude))
        for index, place in enumerate(places):
            # Once there are enough, only where none has struck yet.
            for _ in range(share if sum(struck.values()) < kills or place not in struck else 0):
                target = max(index, unfinished(subject, run))
                if target == len(subject.steps):
                    break
                # Of what takes a moment, only the first kills can strike the beginning.
                longest = 1.1 * seconds[target] if places[target] in struck else 0.002
                where = strike(subject, run, target, chance.uniform(0, longest))
                if where is not None:
                    struck[where] = struck.get(where, 0) + 1
        calm(subject, run)
        found = artefacts(subject, run)
        differing += [f"{run.name}/{name}" for name in expected if found[name] != expected[name]]
        remains += leftovers(run)
    return {
        "kills": sum(struck.values()),
        "runs": runs,
        "struck": struck,
        "missed": [place for place in places if place not in struck],
        "differing": differing,
        "leftovers": remains,
        "seconds": sum(seconds),
    }


def fake() -> Subject:
    """Stages that save their state every few milliseconds."""
    from fakes import World

    from pipeline.config import RunConfig
    from pipeline.files import write_text
    from pipeline.runs.folder import locked

    config = RunConfig.model_validate(
        {"rounds": 2, "variants": [{"name": "plain", "set": {"train.sft_weight": 0}}]}
    )

    def work(context) -> None:
        for part in range(4):
            saved = context.partial / f"part-{part}"
            if not saved.exists():
                time.sleep(0.004)
                write_text(saved, str(part))
            write_text(context.work / f"part-{part}.txt", saved.read_text())

    def carry_out(run: Path) -> None:
        with locked(run):
            world = World(run, acts=dict.fromkeys(World(run).stages(), work))
            world.engine(config).execute(world.steps(config))

    return Subject(World(Path("nowhere")).steps(config), carry_out, prelude=0.005)


def real(folder: Path) -> Subject:
    """The stages as they are, on a model of random weights and a few tasks."""
    import llguidance.hf  # noqa: F401  (each is imported here so that no attempt has to)
    import peft  # noqa: F401
    import torch  # noqa: F401
    from small_run import make_small_model, small_config
    from transformers.models.llama import modeling_llama  # noqa: F401

    import pipeline.grammar
    import pipeline.runs.launch
    from pipeline.files import write_text
    from pipeline.runs.plan import plan, shipped_stages
    from pipeline.runs.surroundings import outside_inputs

    model = folder / "model"
    if ended(attempt(lambda: make_small_model(model)), block=True):
        raise RuntimeError("the model could not be made")
    config = small_config(model)
    stages = shipped_stages()
    outside_inputs(config)  # hashes and parsed files that attempts inherit

    def page(run: Path) -> Path:
        write_text(run / "report" / "index.html", "drawing takes longer than all stages together")
        return run / "report" / "index.html"

    pipeline.runs.launch._report = page

    def once(run: Path) -> None:
        pipeline.runs.launch.carry_out(config, run, resume=True)

    return Subject(plan(config, stages), once, prelude=0.25)


def main(kind: str, folder: str, kills: str, seed: str) -> None:
    place = Path(folder)
    subject = fake() if kind == "fake" else real(place)
    print(json.dumps(weather(subject, place, int(kills), int(seed))))


if __name__ == "__main__":
    main(*sys.argv[1:])
