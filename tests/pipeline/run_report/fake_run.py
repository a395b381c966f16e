"""A run folder as a run would leave it, made without a model.

Base answers come from the corpus of real answers, good ones from the reference controllers, and
every one of them is judged, so that controllers, verdicts and counterexamples are real. Only the
training curves and durations are invented.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from fake_answers import corpus, good_texts, judge, judged, near_misses, replace_id
from fake_rows import (
    MODEL,
    Row,
    count,
    json_lines,
    json_text,
    sha,
    side,
    summary_of,
    training_rows,
    write,
)

from pipeline.evaluation import Judged, best, summarize, trivial_answers
from pipeline.tasks import Task
from verifier.controller import controller_to_json
from verifier.semantics import SHIPPED

QUALITY = (0.0, 0.58, 0.86, 0.965, 0.98)
"""Share of good answers, by round."""
HOSTILE = "</pre></svg><script>alert('1 & 2')</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
SPLITS = ("train", "validation", "test")
SETTINGS: dict[str, dict[str, Any]] = {
    "no_repair": {"rank.sources": ["samples"]},
    "no_sft": {"train.sft_weight": 0.0},
    "sft_on_best": {"train.method": "sft"},
    "paper_count": {"rank.order": "paper_count"},
}


@dataclass(frozen=True)
class Shape:
    """What the run looks like.

    Attributes:
        rounds: Rounds of training; the base is evaluated as round 0.
        per_split: At most so many tasks of each split.
        samples: Answers per task and evaluation.
        variants: Ablations: name -> share of good answers.
        repair: Whether there are repaired answers and pairs made of them.
        robustness: Whether rewording and renaming were evaluated.
        selected: Whether the run has got as far as select.
        hostile: Text put into an answer, a task's id and the configuration.
    """

    rounds: int = 3
    per_split: int | None = None
    samples: int = 4
    variants: Mapping[str, float] = field(
        default_factory=lambda: {
            "no_repair": 0.47,
            "no_sft": 0.52,
            "sft_on_best": 0.55,
            "paper_count": 0.0,
        }
    )
    repair: bool = True
    robustness: bool = True
    selected: bool = True
    hostile: str = ""


def make_run(folder: Path, shape: Shape | None = None, name: str = "reproduce") -> Path:
    """Write a run into ``folder`` and return it."""
    shape = shape or Shape()
    return _Maker(folder, shape, name).make()


class _Maker:
    def __init__(self, folder: Path, shape: Shape, name: str) -> None:
        self.folder, self.shape, self.name = folder, shape, name
        self.random = random.Random(0)
        self.bank = corpus(shape.per_split)
        self.known = {task.world for task in self.bank if task.split == "train"}
        self.summaries: dict[str, dict[str, Any]] = {}

    def make(self) -> Path:
        self._head()
        self._evaluate(self.folder / "round-00", 0, 0.0)
        for number in range(1, self.shape.rounds + 1):
            round_folder = self.folder / f"round-{number:02d}"
            answers = self._generate(round_folder, number)
            repaired = self._repair(round_folder, number, answers) if self.shape.repair else []
            pairs = self._rank(round_folder, number, answers, repaired)
            self._train(round_folder, number, pairs)
            self._evaluate(round_folder, number, QUALITY[number])
        for variant, quality in self.shape.variants.items():
            stuck = variant == "paper_count"
            self._train(self.folder / "variants" / variant, 1, 96)
            self._evaluate(self.folder / "variants" / variant, 1, quality, stuck=stuck)
        if self.shape.selected:
            self._select()
        return self.folder

    def _head(self) -> None:
        write(
            self.folder / "run.json",
            json_text(
                {
                    "name": self.name,
                    "created": "2026-11-25T03:10:00+00:00",
                    "config_hash": "sha256:" + "ab" * 32,
                    "version": "0.1.0",
                }
            ),
        )
        config = {
            "name": self.name,
            "seed": 0,
            "rounds": self.shape.rounds,
            "model": {"name": "smollm2", "device": "auto", "dtype": "auto"},
            "tasks": {"bank": "driving", "prompt": "observed", "semantics": "default", "vocabulary": "driving"},
            "generate": {"samples": 8, "constrained_samples": 4, "temperature": 0.8},
            "repair": {"symbolic": True, "model": True, "max_edits": 6},
            "rank": {"order": "road", "sources": ["samples", "symbolic_repair", "model_repair"], "margin": 0.0},
            "train": {"method": "dpo", "loss": "sigmoid", "beta": 0.1, "sft_weight": 0.5, "learning_rate": 1e-4, "epochs": 2},
            "evaluate": {"samples": self.shape.samples, "seeds": [0, 1], "temperature": 0.5},
            "select": {"metric": "strict_success", "split": "validation"},
            "variants": [{"name": name, "set": SETTINGS[name]} for name in self.shape.variants],
        }  # fmt: skip
        if self.shape.hostile:
            config["name"] = self.shape.hostile
        write(self.folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))

    # -- stages ------------------------------------------------------------------------------

    def _evaluate(self, parent: Path, number: int, quality: float, *, stuck: bool = False) -> None:
        rows: list[Row] = []
        for task in self.bank:
            new = task.world not in self.known
            for sample in range(self.shape.samples):
                text = self._text(task, quality - (0.06 if new and quality else 0), number, stuck)
                rows.append(
                    Row(f"e{number:02d}-{len(rows):05d}", judged(task, text), "free", sample % 2)
                )
        if self.shape.hostile:
            task = replace_id(rows[-1].item.task, self.shape.hostile)
            rows.append(
                Row(f"e{number:02d}-{len(rows):05d}", judged(task, self.shape.hostile), "free")
            )
        of = {split: [r for r in rows if r.item.task.split == split] for split in SPLITS}
        test = of["test"]
        of["test_known_worlds"] = [r for r in test if r.item.task.world in self.known]
        of["test_new_worlds"] = [r for r in test if r.item.task.world not in self.known]
        by_task: dict[str, list[Judged]] = {}
        for row in test:
            by_task.setdefault(row.item.task.id, []).append(row.item)
        chosen = summarize([best(items) for items in by_task.values()])
        trivial = trivial_answers(judge(), [task for task in self.bank if task.split == "test"])
        robust = self.shape.robustness
        summary = {
            "model": sha(MODEL),
            "adapter": None if not number else sha(f"{parent}{number}"),
            "samples": self.shape.samples,
            "seeds": [0, 1],
            "temperature": 0.5,
            "splits": {name: summary_of(group) for name, group in of.items()},
            "best_of": {
                "n": self.shape.samples,
                "strict_success": chosen.strict_success.to_json(),
                "paper_score": chosen.paper_score.to_json(),
            },
            "paraphrased": self._variation(number, quality, 0.03) if robust else None,
            "renamed": self._variation(number, quality, 0.11) if robust else None,
            "trivial": {key: summarize(items).to_json() for key, items in trivial.items()},
            "perplexity": {"neutral": 21.4 + 0.13 * number, "tokens": 20_480},
            "kl": {"per_answer": 3.1 * number + 1.2, "per_token": 0.07 * number, "answers": 64}
            if number
            else None,
            "per_seed": {
                str(seed): {
                    key: getattr(summarize([r.item for r in test if r.seed == seed]), key).value
                    for key in ("strict_success", "paper_score", "parse_rate")
                }
                for seed in (0, 1)
            },
        }
        stage = parent / "evaluate"
        self.summaries[parent.name] = summary
        lines = [
            row.answer()
            | {
                "seed": row.seed,
                "verdict": row.verdict(),
                "controller_json": controller_to_json(row.item.controller)
                if row.item.controller
                else None,
            }
            for row in rows
        ]
        write(stage / "answers.jsonl", json_lines(lines))
        write(stage / "summary.json", json_text(summary))
        self._manifest(stage, "evaluate", number, 310 + 4 * number)

    def _variation(self, number: int, quality: float, loss: float) -> dict[str, Any]:
        items = [
            judged(task, self._text(task, max(0.0, quality - loss), number, False))
            for task in self.bank
            if task.split == "test"
            for _ in range(self.shape.samples)
        ]
        return summarize(items).to_json()

    def _generate(self, parent: Path, number: int) -> list[Row]:
        rows: list[Row] = []
        training = [task for task in self.bank if task.split == "train"]
        for task in training:
            for sample in range(12):
                free = sample < 8
                quality = 0.9 * QUALITY[number - 1] + (0.0 if free else 0.04)
                text = self._text(task, quality, number - 1, False)
                if not free and judged(task, text).controller is None:
                    text = self.random.choice(near_misses(task))
                origin = "free" if free else "constrained"
                rows.append(Row(f"r{number:02d}-{len(rows):05d}", judged(task, text), origin))
        stage = parent / "generate"
        write(stage / "answers.jsonl", json_lines(row.answer() for row in rows))
        tasks = [
            {"id": t.id, "prompt": t.prompt, "world": t.world, "action": t.action, "split": t.split}
            for t in training
        ]
        write(stage / "tasks.yaml", yaml.safe_dump({"tasks": tasks}, sort_keys=False))
        self._manifest(stage, "generate", number, 420)
        verify = parent / "verify"
        write(verify / "verdicts.jsonl", json_lines(row.verdict() for row in rows))
        self._manifest(verify, "verify", number, 9)
        return rows

    def _repair(self, parent: Path, number: int, answers: Sequence[Row]) -> list[Row]:
        rows: list[Row] = []
        broken = [r for r in answers if r.item.controller is not None and not r.item.strict_success]
        for position, row in enumerate(broken[:120]):
            symbolic = position % 3 > 0
            options = good_texts(row.item.task)
            if not options:
                continue
            alike = [text for text in options if text[:8] == row.item.text[:8]]
            text = (
                (alike or options)[0] if symbolic or position % 2 else row.item.text + "\n9. Stop."
            )
            rows.append(
                Row(
                    f"s{number:02d}-{len(rows):05d}",
                    judged(row.item.task, text),
                    "symbolic_repair" if symbolic else "model_repair",
                    parent=row.id,
                )
            )
        stage = parent / "repair"
        write(stage / "answers.jsonl", json_lines(row.answer() for row in rows))
        write(stage / "verdicts.jsonl", json_lines(row.verdict() for row in rows))
        self._manifest(stage, "repair", number, 130)
        return rows

    def _rank(
        self, parent: Path, number: int, answers: Sequence[Row], repaired: Sequence[Row]
    ) -> int:
        everything = [*answers, *repaired]
        pairs: list[dict[str, Any]] = []
        seen: set[tuple[str | None, str | None]] = set()
        for chosen in everything:
            if not chosen.item.strict_success:
                continue
            for rejected in everything:
                key = (chosen.item.road.controller_hash, rejected.item.road.controller_hash)
                same = chosen.item.task.id == rejected.item.task.id
                if not same or rejected.item.strict_success or key in seen:
                    continue
                seen.add(key)
                origins = {chosen.origin, rejected.origin} & {"symbolic_repair", "model_repair"}
                pairs.append(
                    {
                        "id": f"p{number:02d}-{len(pairs):05d}",
                        "task": chosen.item.task.id,
                        "prompt": {"hash": sha(chosen.item.task.id), "messages": []},
                        "chosen": side(chosen),
                        "rejected": side(rejected),
                        "source": max(origins, default="samples"),
                        "order": "road",
                        "margin": 1.0,
                        "semantics": SHIPPED["default"].to_json(),
                        "round": number,
                    }
                )
        stage = parent / "rank"
        write(stage / "pairs.jsonl", json_lines(pairs))
        write(
            stage / "summary.json",
            json_text(
                {
                    "pairs": len(pairs),
                    "tasks": len({p["task"] for p in pairs}),
                    "successful": len(pairs),
                    "by_source": count(p["source"] for p in pairs),
                    "by_task": count(p["task"] for p in pairs),
                    "dropped": {
                        "tie": 812,
                        "margin": 0,
                        "duplicate": 344,
                        "not_successful": 0,
                        "cap": 97,
                    },
                }
            ),
        )
        self._manifest(stage, "rank", number, 3)
        return len(pairs)

    def _train(self, parent: Path, number: int, pairs: int) -> None:
        rows = training_rows(self.random, number)
        stage = parent / "train"
        write(stage / "curves.jsonl", json_lines(rows))
        write(stage / "adapter" / "adapter_model.safetensors", "not read by the report")
        final = {key: rows[-1][key] for key in rows[-1] if key not in ("step", "epoch")}
        trained = {"pairs": pairs, "steps": len(rows), "final": final}
        write(stage / "summary.json", json_text(trained))
        self._manifest(stage, "train", number, 980)

    def _select(self) -> None:
        candidates = [
            {
                "name": name,
                "strict_success": summary["splits"]["validation"]["strict_success"],
                "paper_score": summary["splits"]["validation"]["paper_score"],
            }
            for name, summary in self.summaries.items()
            if name.startswith("round-")
        ]
        champion = max(candidates, key=lambda row: row["strict_success"]["value"])["name"]
        stage = self.folder / "select"
        first, best_ = (
            next(row for row in candidates if row["name"] == name)
            for name in ("round-00", champion)
        )
        gain = best_["strict_success"]["value"] - first["strict_success"]["value"]
        selection = {
            "champion": champion,
            "metric": "strict_success",
            "split": "validation",
            "candidates": candidates,
            "gate": {"passed": True, "reasons": [], "gain": gain, "regressions": []},
        }
        write(stage / "selection.json", json_text(selection))
        self._manifest(stage, "select", 0, 1)

    # -- helpers -----------------------------------------------------------------------------

    def _text(self, task: Task, quality: float, number: int, stuck: bool) -> str:
        """A good answer with probability ``quality``; else a typical bad one of that round."""
        if stuck and self.random.random() < 0.9:
            return "1. Observe the traffic light.\n2. Stop."
        good = good_texts(task)
        if good and self.random.random() < quality:
            return self.random.choice(good)
        if number and self.random.random() < 0.75:
            return self.random.choice(near_misses(task))
        return self.random.choice(self.bank[task])

    def _manifest(self, stage: Path, name: str, number: int, seconds: float) -> None:
        outputs = {
            str(path.relative_to(stage)): "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(stage.rglob("*"))
            if path.is_file()
        }
        write(
            stage / "manifest.json",
            json_text(
                {
                    "stage": name,
                    "round": number,
                    "inputs": {},
                    "config": {},
                    "config_hash": "sha256:" + "cd" * 32,
                    "outputs": outputs,
                    "versions": {"specdrive": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "spot": "2.13"},
                    "seed": 17 * number,
                    "started": "2026-11-25T03:10:00+00:00",
                    "seconds": seconds + self.random.random(),
                    "host": {"cores": 2, "device": "cpu"},
                }
            ),
        )  # fmt: skip
