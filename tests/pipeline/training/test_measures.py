"""Curves, checkpoints, the probe and the cache of the reference, each by itself."""

import json
import math

import pytest
import torch
from small_pairs import quick

from pipeline.training import curves, plan, probe
from pipeline.training.checkpoints import latest_complete, mark_complete, remove_others
from pipeline.training.pairs import Pair, TokenGroup
from pipeline.training.plan import plan_steps
from pipeline.training.probe import divergence, probe_row
from pipeline.training.reference import reference_log_probs, used_completions


def test_measures_of_pairs():
    sums = curves.pair_sums(
        policy=[-1.0, -3.0, -2.0],
        reference=[-2.0, -2.5, -2.0],
        lengths=[4, 8, 6],
        pairs=[(0, 1), (2, 0)],
        prompts=[0, 0, 0],
    )
    found = curves.means(sums)
    assert found["accuracy"] == 0.5  # -1 > -3, but -2 < -1
    assert found["reward_accuracy"] == 0.5
    assert found["margin"] == pytest.approx((1.5 - 1.0) / 2)
    assert found["chosen_drift"] == pytest.approx((1.0 + 0.0) / 2)
    assert found["rejected_drift"] == pytest.approx((-0.5 + 1.0) / 2)
    assert (found["chosen_length"], found["rejected_length"]) == (5.0, 6.0)
    weights = [math.exp(1.0), math.exp(-0.5), 1.0]
    expected = sum(w * n for w, n in zip(weights, (4, 8, 6), strict=True)) / sum(weights)
    assert found["length_drift"] == pytest.approx(expected - 6.0)


def test_nothing_measured_is_null():
    assert set(curves.means(curves.pair_sums([], [], [], [], [])).values()) == {None}


def test_final_values_are_means_of_the_last_updates():
    rows = [
        {"loss": float(n), "kl": 0.5 if n == 3 else None, "learning_rate": n} for n in range(10)
    ]
    found = curves.final(rows)
    assert found["loss"] == 7.0
    assert found["kl"] == 0.5
    assert found["learning_rate"] == 9
    assert found["margin"] is None


def _checkpoint(folder, number, complete=True):
    checkpoint = folder / f"checkpoint-{number}"
    (checkpoint / "ref").mkdir(parents=True)
    (checkpoint / "weights").write_text("abc")
    (checkpoint / "ref" / "weights").write_text("abc")
    if complete:
        mark_complete(checkpoint)
    return checkpoint


def test_only_whole_checkpoints_count(tmp_path):
    assert latest_complete(tmp_path / "none") is None
    _checkpoint(tmp_path, 2)
    tenth = _checkpoint(tmp_path, 10)
    cut = _checkpoint(tmp_path, 11)
    _checkpoint(tmp_path, 12, complete=False)
    (cut / "ref" / "weights").write_text("a")
    (tmp_path / "checkpoint-best").mkdir()
    assert latest_complete(tmp_path) == tenth
    remove_others(tmp_path, tenth)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-best"]


def test_divergence_is_zero_only_between_equals():
    generator = torch.Generator().manual_seed(0)
    policy, reference = (torch.randn(5, 7, generator=generator).log_softmax(-1) for _ in range(2))
    assert divergence(policy, policy) == 0.0
    expected = (policy.exp() * (policy - reference)).sum(-1).mean().item()
    assert divergence(policy, reference) == pytest.approx(expected, rel=1e-5)
    assert expected > 0


def test_the_probe_is_small(monkeypatch):
    long = tuple(range(300))
    groups = [TokenGroup((n,), (long, (1,)), (Pair(0, 1),)) for n in range(9)]
    row = probe_row(groups)
    assert row["input_ids"].shape[1] <= probe._TOKENS
    assert len(row["predict"]) == probe._POSITIONS
    monkeypatch.setattr(probe, "_TOKENS", 10)
    assert probe_row(groups)["input_ids"].shape[1] == 301


def test_the_reference_is_computed_once(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "ROW_TOKENS", 6)
    groups = [TokenGroup((9, n), ((1, 2), (3,), (4, 5, 6)), (Pair(0, 1),)) for n in range(3)]
    steps = plan_steps(groups, quick(pairs_per_step=2))
    cache = tmp_path / "reference.json"
    seen = []

    def score(row):
        seen.append(row["input_ids"].tolist())
        if len(seen) == 3:
            raise KeyboardInterrupt
        return [float(n) for n in row["lengths"]]

    assert used_completions(steps) == [(g, c) for g in range(3) for c in range(2)]
    with pytest.raises(KeyboardInterrupt):
        reference_log_probs(score, groups, steps, cache)
    assert len(json.loads(cache.read_text())) == 4
    found = reference_log_probs(score, groups, steps, cache)
    assert len(seen) == 4
    assert found == {(g, c): float(2 - c) for g in range(3) for c in range(2)}
    assert reference_log_probs(score, groups, steps, cache) == found
    assert len(seen) == 4
