"""An update's loss and gradient are those of trl's own trainer on the same pairs."""

import pytest
import torch
from datasets import Dataset
from small_pairs import make_groups, quick
from trl import DPOConfig, DPOTrainer

from pipeline.models import load_model
from pipeline.prompts import Prompt, chat_text
from pipeline.training import plan
from pipeline.training.adapters import with_adapter
from pipeline.training.forward import add_row_forward
from pipeline.training.pairs import tokenized
from pipeline.training.plan import plan_steps
from pipeline.training.trainer import PreferenceTrainer, arguments


def _moved(network):
    """Away from the reference, as after some updates; the gradients of what is trained."""
    generator = torch.Generator().manual_seed(3)
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    assert trained
    assert not any(".ref." in name for name in trained)
    for parameter in trained.values():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return trained


def _ours(model, settings, folder, adapter):
    groups = [tokenized(model.tokenizer, group) for group in make_groups()]
    steps = plan_steps(groups, settings)
    assert len(steps) == 1
    assert len(steps[0].parts[0]) > 1
    network = model.model
    add_row_forward(network)
    network = with_adapter(network, settings, adapter)
    args = arguments(settings, 1, folder, on_cpu=True, mixed=False)
    trainer = PreferenceTrainer(
        network, model.tokenizer, args, groups, steps, settings, folder, lambda *_: None
    )
    trainer.begin()
    trained = _moved(network)
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer.training_step(network, trainer.data_collator([{"number": 0}]))
    return loss.item(), {name: p.grad for name, p in trained.items()}


def _trls(model, settings, folder, adapter):
    rows = []
    for group in make_groups():
        start = chat_text(model.tokenizer, Prompt("", "", group.messages))
        for pair in group.pairs:
            row = {
                "chosen": group.completions[pair.chosen],
                "rejected": group.completions[pair.rejected],
            }
            rows += [{"prompt": start, **row}] * pair.weight
    network = with_adapter(model.model, settings, adapter)
    weights = [1.0, settings.sft_weight]
    args = DPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=len(rows),
        loss_type=[settings.loss, "sft"],
        loss_weights=weights,
        beta=settings.beta,
        max_length=None,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
    )
    trainer = DPOTrainer(
        model=network,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=model.tokenizer,
    )
    trained = _moved(network)
    (batch,) = trainer.get_train_dataloader()
    network.train()
    loss = trainer.compute_loss(network, batch)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in trained.items()}


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
@pytest.mark.parametrize("continued", [False, True], ids=["new", "continued"])
def test_loss_and_gradient_are_trls(tiny, tiny_adapter, tmp_path, monkeypatch, loss, continued):
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr(plan, "ROW_TOKENS", 150)
    targets = ("q_proj", "down_proj")
    alpha = 8
    adapter = tiny_adapter if continued else None
    settings = quick(
        loss=loss,
        sft_weight=0.7,
        pairs_per_step=100,
        lora_alpha=alpha,
        lora_targets=targets,
        beta=0.2,
    )
    ours, our_gradient = _ours(load_model(tiny.folder, "cpu"), settings, tmp_path / "a", adapter)
    theirs, gradient = _trls(load_model(tiny.folder, "cpu"), settings, tmp_path / "b", adapter)
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert our_gradient.keys() == gradient.keys()
    assert sum(float(g.norm()) for g in gradient.values()) > 0.1
    for name, expected in gradient.items():
        error = (our_gradient[name] - expected).norm() / expected.norm().clamp_min(1e-6)
        assert error < 1e-3, name
