"""The stage ``train``: from a run's pairs to an adapter, in one or several processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from one_of_two import context
from small_pairs import make_groups
from test_train import results, rows

from pipeline.adapters import check_adapter
from pipeline.config import RunConfig
from pipeline.files import write_rows
from pipeline.stages import train
from verifier.errors import InputError

HERE = Path(__file__).parent


def write_pairs(folder: Path) -> None:
    """All pairs of `make_groups` but three, so that updates of four have no remainder."""
    found = [
        {
            "prompt": {
                "messages": [{"role": m.role, "content": m.content} for m in group.messages]
            },
            "chosen": {"text": group.completions[pair.chosen]},
            "rejected": {"text": group.completions[pair.rejected]},
        }
        for group in make_groups()
        for pair in group.pairs
        for _ in range(pair.weight)
    ]
    (folder / "rank").mkdir()
    write_rows(folder / "rank" / "pairs.jsonl", found[:12])


@pytest.fixture(scope="module")
def alone(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    write_pairs(folder)
    train.run(context(str(tiny.folder), folder))
    return folder


def test_trains_what_the_configuration_says(alone, tiny):
    check_adapter(alone / "train" / "adapter", tiny.folder)
    summary = json.loads((alone / "train" / "summary.json").read_text())
    assert (summary["pairs"], summary["steps"], summary["seed"]) == (12, 3, 1)
    assert summary["settings"]["lora_targets"] == ["q_proj", "v_proj", "down_proj"]


def test_every_setting_comes_from_the_configuration():
    values = {
        "method": "sft",
        "loss": "ipo",
        "beta": 0.3,
        "sft_weight": 0.2,
        "learning_rate": 0.01,
        "epochs": 3,
        "pairs_per_step": 5,
        "pairs_per_prompt": 2,
        "warmup": 0.25,
        "dtype": "bfloat16",
        "checkpoint_every": 7,
        "max_steps": 9,
        "gradient_checkpointing": True,
    }
    lora = {"rank": 3, "alpha": 5, "dropout": 0.5, "targets": ["q_proj"]}
    config = RunConfig.model_validate({"seed": 4, "train": values | {"lora": lora}})
    found = train.train_settings(config, 2)
    assert {name: getattr(found, name) for name in values} == values
    assert found.seed == 4002
    assert (found.lora_rank, found.lora_alpha, found.lora_dropout) == (3, 5, 0.5)
    assert found.lora_targets == ("q_proj",)


def test_the_next_round_goes_on_from_the_adapter(alone, tiny, tmp_path):
    write_pairs(tmp_path)
    first = context(str(tiny.folder), tmp_path)
    inputs = {**first.inputs, "adapter": alone / "train" / "adapter"}
    train.run(replace(first, round=2, inputs=inputs))
    assert rows(tmp_path / "train")[0]["sft_loss"] < rows(alone / "train")[0]["sft_loss"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"prompt": {"messages": []}, "chosen": {"text": "a"}, "rejected": {"text": "b"}}',
            "line 1",
        ),
        ('{"prompt": 3}', "is not a preference pair"),
        ("", "no preference pairs"),
    ],
)
def test_bad_pairs_are_named(line, said, tiny, tmp_path):
    (tmp_path / "rank").mkdir()
    (tmp_path / "rank" / "pairs.jsonl").write_text(line)
    with pytest.raises(InputError, match=said):
        train.run(context(str(tiny.folder), tmp_path))


def test_float16_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match=r"train\.dtype is 'float16'"):
        train.run(context(str(tiny.folder), tmp_path, dtype="float16"))


def test_two_processes_train_as_one_does(alone, tiny, tmp_path):
    write_pairs(tmp_path)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [sys.executable, *launch, str(HERE / "one_of_two.py"), str(tiny.folder), str(tmp_path)],
        env={
            **os.environ,
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)]),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "train").keys() == results(alone / "train").keys()
    for ours, expected in zip(rows(tmp_path / "train"), rows(alone / "train"), strict=True):
        for name, value in expected.items():
            # Prompts that both processes see count twice in the mean over prompts.
            if value is not None and name != "length_drift":
                assert ours[name] == pytest.approx(value, rel=2e-3, abs=2e-4), name
