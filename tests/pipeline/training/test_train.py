"""From pairs to an adapter: results, resuming after kills, going on with an adapter, errors."""

import json
import multiprocessing
import shutil
import signal
from pathlib import Path

import pytest
import torch
from killed import run
from peft import PeftModel
from small_pairs import make_groups, quick
from transformers import AutoModelForCausalLM

from pipeline.adapters import adapter_hash
from pipeline.models import load_model
from pipeline.training import curves, plan
from pipeline.training.adapters import with_adapter
from pipeline.training.train import ADAPTER, CURVES, SUMMARY, train
from verifier.errors import InputError


def results(folder: Path) -> dict[str, bytes]:
    """All files but those of ``partial``."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.relative_to(folder).parts[0] != "partial"
    }


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / CURVES).read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def _small_rows():
    before, plan.ROW_TOKENS = plan.ROW_TOKENS, 150
    yield
    plan.ROW_TOKENS = before


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory) -> Path:
    """Four updates of DPO, without interruption."""
    folder = tmp_path_factory.mktemp("trained")
    run(str(tiny.folder), str(folder), {}, None)
    return folder


def test_writes_an_adapter_curves_and_a_summary(trained, tiny):
    assert set(results(trained)) == {
        f"{ADAPTER}/adapter_config.json",
        f"{ADAPTER}/adapter_model.safetensors",
        CURVES,
        SUMMARY,
    }
    found = rows(trained)
    assert [row["step"] for row in found] == [1, 2, 3, 4]
    assert all(list(row) == ["step", "epoch", *curves.MEASURES] for row in found)
    assert found[-1]["epoch"] == 1.0
    first = found[0]
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert first["preference_loss"] == pytest.approx(0.6931, abs=1e-4)
    assert first["loss"] == pytest.approx(first["preference_loss"] + 0.5 * first["sft_loss"])
    assert [row["kl"] is not None for row in found] == [True, False, False, True]
    assert found[-1]["kl"] > first["kl"] > 0
    assert abs(found[-1]["length_drift"]) > 0

    summary = json.loads((trained / SUMMARY).read_text())
    groups = make_groups()
    assert summary["pairs"] == sum(p.weight for g in groups for p in g.pairs) == 15
    assert (summary["prompts"], summary["steps"]) == (3, 4)
    assert summary["adapter"] == adapter_hash(trained / ADAPTER)
    assert summary["final"] == curves.final(found)
    assert 0 < summary["tokens"] < summary["tokens_without_sharing"]
    layers = tiny.model.config.num_hidden_layers
    assert summary["trainable_parameters"] == layers * 4 * ((32 + 32) + (32 + 16) + (64 + 32))
    config = json.loads((trained / ADAPTER / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny.folder.name
    assert str(tiny.folder.parent) not in (trained / SUMMARY).read_text()


def test_learns_to_prefer_what_was_chosen(tiny, tmp_path):
    changes = {"epochs": 6, "checkpoint_every": 100, "sft_weight": 0.0}
    run(str(tiny.folder), str(tmp_path), changes, None)
    found = rows(tmp_path)
    assert found[-1]["margin"] > 1
    assert found[-1]["preference_loss"] < 0.6
    assert curves.final(found)["reward_accuracy"] > 0.9


@pytest.mark.parametrize(
    "kill",
    [
        ["scoring with the reference", 2],
        ["training", 0],
        ["training", 1],
        ["saving", 2],
        ["training", 3],
        ["saving", 4],
    ],
    ids=lambda kill: f"{kill[0].split()[0]}-{kill[1]}",
)
def test_a_killed_training_goes_on_to_the_same_bytes(kill, trained, tiny, tmp_path):
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(str(tiny.folder), str(tmp_path), {}, kill)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / SUMMARY).exists()
    seen = []
    train(
        load_model(tiny.folder, "cpu"),
        make_groups(),
        quick(),
        tmp_path,
        tmp_path / "partial",
        report=lambda what, done, total: seen.append((what, done, total)),
    )
    assert results(tmp_path) == results(trained)
    made = [done for what, done, _ in seen if what == "training" and done]
    kept = {"scoring with the reference": 0, "saving": kill[1] - 1, "training": kill[1] - 1}[
        kill[0]
    ]
    assert made[-1] == 4
    assert len(made) <= 4 - max(kept, 0) + (kept > 0)
    if kill[0] == "scoring with the reference":
        assert min(done for what, done, _ in seen if what == kill[0]) > kill[1]


def test_dropout_resumes_exactly_too(tiny, tmp_path):
    changes = {"lora_dropout": 0.3}
    run(str(tiny.folder), str(tmp_path / "whole"), changes, None)
    process = multiprocessing.get_context("fork").Process(
        target=run, args=(str(tiny.folder), str(tmp_path / "cut"), changes, ["training", 3])
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    run(str(tiny.folder), str(tmp_path / "cut"), changes, None)
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    run(str(tiny.folder), str(tmp_path / "none"), {}, None)
    assert results(tmp_path / "none") != results(tmp_path / "whole")


def test_a_finished_training_is_only_written_again(trained, tiny, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(trained, again)
    for name in (SUMMARY, CURVES):
        (again / name).unlink()
    run(str(tiny.folder), str(again), {}, None)
    assert results(again) == results(trained)


def test_goes_on_from_an_adapter_which_is_the_reference(trained, tiny, tmp_path):
    before = results(trained)
    run(str(tiny.folder), str(tmp_path), {"seed": 1}, None, str(trained / ADAPTER))
    first = rows(tmp_path)[0]
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert first["preference_loss"] == pytest.approx(0.6931, abs=1e-4)
    assert first["sft_loss"] < rows(trained)[0]["sft_loss"]
    assert results(trained) == before
    assert results(tmp_path) != before


def test_checkpoints_ask_no_hub(trained, tiny, tmp_path, monkeypatch):
    """peft asks for the base's configuration where the adapter names a base that is no folder."""
    from peft.utils import save_and_load

    published = tmp_path / "published"
    shutil.copytree(trained / ADAPTER, published)
    config = json.loads((published / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "somebody/model"
    (published / "adapter_config.json").write_text(json.dumps(config))
    asked: list[str] = []
    monkeypatch.setattr(
        save_and_load, "check_file_exists_on_hf_hub", lambda name, *_: asked.append(name)
    )
    network = AutoModelForCausalLM.from_pretrained(str(tiny.folder))
    with_adapter(network, quick(), published).save_pretrained(str(tmp_path / "checkpoint"))
    assert asked == []
    assert (tmp_path / "checkpoint" / "adapter_model.safetensors").is_file()


def test_plain_peft_loads_the_adapter(trained, tiny):
    """And gives the same log-probabilities as the model that specdrive itself merges."""
    tokens = torch.tensor([[5, 20, 33, 47, 60]])
    base = AutoModelForCausalLM.from_pretrained(str(tiny.folder)).eval()
    with torch.no_grad():
        before = base(input_ids=tokens).logits
        plain = PeftModel.from_pretrained(base, str(trained / ADAPTER)).eval()
        found = plain(input_ids=tokens).logits
        merged = load_model(tiny.folder, "cpu", adapter=trained / ADAPTER).model(input_ids=tokens)
    assert (found - before).abs().max() > 1e-2
    assert torch.allclose(found, merged.logits, atol=1e-4)


def test_sft_has_no_preferences(tiny, tmp_path):
    run(str(tiny.folder), str(tmp_path), {"method": "sft", "epochs": 3}, None)
    found = rows(tmp_path)
    assert all(row["preference_loss"] is None and row["accuracy"] is None for row in found)
    assert all(row["loss"] == row["sft_loss"] for row in found)
    assert found[-1]["sft_loss"] < found[0]["sft_loss"]
    assert not (tmp_path / "partial" / "reference.json").exists()


@pytest.mark.parametrize("changes", [{"loss": "ipo"}, {"gradient_checkpointing": True}])
def test_other_ways_to_train(changes, trained, tiny, tmp_path):
    run(str(tiny.folder), str(tmp_path), changes, None)
    losses = [[row["loss"] for row in rows(folder)] for folder in (tmp_path, trained)]
    if "loss" in changes:
        assert losses[0][0] > losses[1][0]
    else:
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_bfloat16_is_close_to_float32(trained, tiny, tmp_path):
    run(str(tiny.folder), str(tmp_path), {"dtype": "bfloat16"}, None)
    assert json.loads((tmp_path / SUMMARY).read_text())["dtype"] == "bfloat16"
    for ours, exact in zip(rows(tmp_path), rows(trained), strict=True):
        assert ours["loss"] == pytest.approx(exact["loss"], rel=0.02)


def test_nothing_is_printed(tiny, tmp_path, capfd, recwarn):
    train(load_model(tiny.folder, "cpu"), make_groups(1), quick(), tmp_path, tmp_path / "partial")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def _refused(tiny, tmp_path, adapter=None, groups=None, **changes):
    with pytest.raises(InputError) as caught:
        train(
            load_model(tiny.folder, "cpu"),
            make_groups(1) if groups is None else groups,
            quick(**changes),
            tmp_path / "work",
            tmp_path / "partial",
            adapter,
        )
    return str(caught.value)


def test_refuses_to_train_on_nothing(tiny, tmp_path):
    assert "no preference pairs" in _refused(tiny, tmp_path, groups=[])


def test_stops_when_the_loss_is_no_number(tiny, tmp_path):
    said = _refused(tiny, tmp_path, learning_rate=1e30, warmup=0.0, epochs=9)
    assert "no longer a finite number" in said
    assert "lower train.learning_rate" in said
    assert not (tmp_path / "work" / ADAPTER).exists()


def test_refuses_targets_that_the_model_lacks(tiny, tmp_path):
    said = _refused(tiny, tmp_path, lora_targets=("query",))
    assert "no linear maps called query" in said
    assert "train.lora.targets" in said


def test_refuses_to_adapt_the_output_layer(tiny, tmp_path):
    assert "lm_head" in _refused(tiny, tmp_path, lora_targets=("q_proj", "lm_head"))


def test_refuses_an_adapter_of_another_shape(trained, tiny, tmp_path):
    said = _refused(tiny, tmp_path, trained / ADAPTER, lora_rank=8)
    assert "has rank 4" in said


def test_refuses_an_adapter_of_another_model(trained, tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    other = shutil.copytree(trained / ADAPTER, tmp_path / "other")
    file = other / "adapter_model.safetensors"
    wider = {name: torch.cat([t, t], -1) for name, t in load_file(file).items()}
    save_file(wider, file)
    assert "does not fit" in _refused(tiny, tmp_path, other)


def test_refuses_a_folder_without_adapter(tiny, tmp_path):
    assert "not a LoRA adapter" in _refused(tiny, tmp_path, tmp_path)


def test_refuses_texts_that_are_too_long(tiny, tmp_path):
    from pipeline.prompts import Message
    from pipeline.training.pairs import group_pairs

    long = group_pairs([((Message("user", "a" * 3000),), "1. Stop.", "1. Go.")])
    assert "the model can read 2048" in _refused(tiny, tmp_path, groups=long)
