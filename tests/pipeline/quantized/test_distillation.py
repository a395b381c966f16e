"""Distillation: the loss against PyTorch's, what it teaches, kills, a rate that is too high."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models import load_model
from pipeline.quantized.distillation import distill, divergence
from pipeline.training.adapters import with_adapter
from pipeline.training.settings import TrainSettings
from verifier.errors import InputError

TEXTS = [((5, 9, 30 + i), (40 + i, 80, 7, 1)) for i in range(6)]
SETTINGS = TrainSettings(learning_rate=0.01, pairs_per_step=3, lora_rank=4, checkpoint_every=4)


@pytest.fixture
def teacher(tiny, tiny_adapter):
    return load_model(tiny.folder, "cpu", adapter=tiny_adapter).model


@pytest.fixture
def student(tiny):
    return lambda: with_adapter(load_model(tiny.folder, "cpu").model, SETTINGS, None)


def distance(student, teacher):
    total = 0.0
    with torch.no_grad():
        for prompt, answer in TEXTS:
            ids = torch.tensor([[*prompt, *answer]])
            ours, theirs = (m.eval()(input_ids=ids).logits[0] for m in (student, teacher))
            part = slice(len(prompt) - 1, len(prompt) + len(answer) - 1)
            total += float(divergence(ours[part], theirs[part]))
    return total / len(TEXTS)


@given(rows=st.integers(1, 5), vocabulary=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_the_loss_is_the_divergence_from_the_teacher(rows, vocabulary, seed):
    chance = torch.Generator().manual_seed(seed)
    ours, theirs = 5 * torch.randn(2, rows, vocabulary, generator=chance)
    expected = torch.nn.functional.kl_div(
        ours.double().log_softmax(-1),
        theirs.double().log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )
    assert float(divergence(ours, theirs)) == pytest.approx(float(expected), abs=1e-5)
    assert float(divergence(theirs, theirs)) == 0


def test_the_student_comes_nearer(student, teacher, tmp_path):
    model = student()
    before = distance(model, teacher)
    curve = distill(model, teacher, TEXTS, SETTINGS, 60, tmp_path)
    assert len(curve) == 60
    # All texts are in the first two updates.
    assert sum(curve[:2]) / 2 == pytest.approx(before, rel=0.1)
    assert distance(model, teacher) < 0.5 * before


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it."""


def test_a_killed_training_goes_on_from_its_checkpoint(student, teacher, tmp_path):
    calm = student()
    expected = distill(calm, teacher, TEXTS, SETTINGS, 10, tmp_path / "calm")

    def report(_what, done, _total):
        seen.append(done)
        if done == 6 and seen[0] == 0:
            raise Killed

    seen: list[int] = []
    struck = student()
    with pytest.raises(Killed):
        distill(struck, teacher, TEXTS, SETTINGS, 10, tmp_path / "struck", report)
    seen.clear()
    struck = student()
    found = distill(struck, teacher, TEXTS, SETTINGS, 10, tmp_path / "struck", report)
    assert seen == [4, 5, 6, 7, 8, 9, 10]
    assert found == expected
    for ours, theirs in zip(struck.parameters(), calm.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_rate_that_is_too_high(student, teacher, tmp_path):
    model = student()
    with torch.no_grad():
        next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(
        InputError, match=r"update 1: .* finite number; lower quantize\.recover_rate"
    ):
        distill(model, teacher, TEXTS, SETTINGS, 2, tmp_path)
