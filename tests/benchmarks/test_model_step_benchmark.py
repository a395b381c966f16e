from importlib.util import find_spec

import pytest
import torch

from benchmarks import model_step
from benchmarks.model_step import Plan, cases_of, compare
from benchmarks.model_step import measure as measure_engines
from benchmarks.model_step_files import _their_rows
from benchmarks.model_step_tables import (
    GROUPS_8,
    LLAMA_0,
    LLAMA_1,
    OURS_8,
    OURS_16,
    TRANSFORMERS,
    Case,
    Measured,
    step_rows,
    step_table,
)
from benchmarks.model_step_work import EngineSpec, first_position, row_ids
from benchmarks.paired import MismatchError
from serving.architecture import read_architecture
from serving.formats import gguf

PLAN = Plan(rounds=2, steps=((1, 4), (32, 2)), few=((1, 2), (32, 1)), prompt=8)
NAMES = (OURS_8, OURS_16, GROUPS_8, LLAMA_0, LLAMA_1, TRANSFORMERS)


class Fake:
    """An engine that takes a given time per step."""

    def __init__(self, seconds=0.1, noise=0.0):
        self.seconds, self.noise, self.asked = seconds, noise, []

    def steps(self, batch, adapters, steps):
        self.asked.append((batch, adapters, steps))
        return [self.seconds * (2 if adapters == "distinct" else 1)] * steps

    def prompt(self, tokens):
        return tokens * self.seconds / 10

    def logits(self, rows, adapter):
        draw = torch.Generator().manual_seed(len(rows) + (adapter or 7))
        logits = torch.randn(len(rows), 50, generator=draw)
        return logits + self.noise * torch.randn(len(rows), 50)

    def info(self):
        return "fake"


def measured(engines, missing=None):
    rates, read = measure_engines(engines, PLAN, lambda: 20.0, lambda _what: None)
    return Measured(rates, read, dict.fromkeys(NAMES, 10**8), missing or {})


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(model_step, "_REST", 0.0)


def test_every_case_is_measured_in_every_round():
    engines = {name: Fake(0.3 if name == LLAMA_0 else 0.1) for name in NAMES}
    found = measured(engines)
    for name in NAMES:
        assert set(found.rates[name]) == set(cases_of(name, PLAN))
        assert all(len(rates) == PLAN.rounds for rates in found.rates[name].values())
    assert found.rate(OURS_8, Case(32, "none")) == pytest.approx(320)
    # Slow engines make fewer steps, and two of them have no adapters.
    assert max(steps for batch, _, steps in engines[TRANSFORMERS].asked if batch == 1) == 2
    assert {adapters for _, adapters, _ in engines[LLAMA_1].asked} == {"none"}
    rows = {row.what + "|" + str(row.peer): row for row in step_rows(found, PLAN.batches, 8)}
    faster = rows[f"decoding, batch 1, no adapters (Q4_0, 8-bit activations)|{LLAMA_0}"]
    assert (faster.ratio, faster.target, faster.met) == (pytest.approx(3), "≥ 1.5×", True)
    kept = rows["decoding, batch 32, an adapter each (Q4_0, 16-bit activations)|ours, no adapters"]
    assert (kept.ratio, kept.met) == (pytest.approx(0.5), False)
    table = step_table(found, PLAN.cases(), NAMES)
    assert len(table.rows) == len(PLAN.cases())
    assert table.rows[0][LLAMA_0] == pytest.approx(1 / 0.3)


def test_a_peer_that_is_not_installed_is_named_so():
    engines = {name: Fake() for name in NAMES if "llama" not in name}
    found = measured(engines, {LLAMA_0: "llama_cpp is not installed", LLAMA_1: "the same"})
    rows = [row for row in step_rows(found, PLAN.batches, 8) if "llama.cpp" in (row.peer or "")]
    assert rows
    for row in rows:
        assert row.peer.endswith("peer not installed")
        assert row.ratio is None
        assert row.met is None


def test_engines_that_predict_something_else_stop_it():
    same = {name: Fake() for name in (OURS_8, OURS_16, LLAMA_0, TRANSFORMERS)}
    assert max(compare(same).values()) < 1e-9
    with pytest.raises(MismatchError, match="llama"):
        compare({**same, LLAMA_0: Fake(noise=1.0)})


def test_blocks_of_steps_have_the_same_middle():
    assert {first_position(steps) + steps // 2 for steps in (4, 12, 24, 48)} == {88}
    assert row_ids(3) == row_ids(3) != row_ids(4)


def test_adapters_have_their_rows_in_the_order_of_the_layers():
    """llama.cpp's order of the rows of queries and keys, as exported models have it."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    config = {"model_type": "llama", "vocab_size": 11, **sizes, **heads}
    architecture = read_architecture(config)
    for layer, (out, _) in architecture.linear_shapes().items():
        b = torch.randn(out, 3)
        exported = gguf._reordered(f"{layer}.weight", b, architecture, gguf._pairs_of_halves)
        ours = _their_rows(layer, b, architecture)
        assert torch.equal(ours, exported)
        assert torch.equal(ours, b) == (layer[-6:] not in ("q_proj", "k_proj"))


@pytest.mark.model
@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_same_files_give_the_same_predictions(tmp_path):
    """Two layers of the real model, with an adapter, in llama.cpp and in our engine."""
    from benchmarks.model_step_files import write_files
    from benchmarks.model_step_worker import load_engine
    from pipeline.models import embedded_gguf

    files = write_files(embedded_gguf(), tmp_path, adapters=1, layers=2)
    found = {}
    for kind, model, adapters in (
        ("ours", files.q4_0, files.adapters),
        ("llama", files.q4_0, files.their_adapters),
        ("transformers", files.q4_0, ()),
    ):
        spec = EngineSpec(kind, str(model), tuple(map(str, adapters)), 1, 16, 2)
        engine = load_engine(spec)
        rows = [row_ids(row, 12) for row in range(8)]
        for adapter in (None, 0) if adapters else (None,):
            logits = engine.logits(rows, adapter).double()
            found[kind, adapter] = torch.log_softmax(logits, dim=-1)
        if kind != "transformers":
            assert len(engine.steps(2, "none", 3)) == 3
            assert len(engine.steps(2, "shared", 3)) == 3

    def apart(one, other):
        return float((found[one].exp() * (found[one] - found[other])).sum(dim=-1).mean())

    # What rounding differently changes is little beside what the adapter changes.
    moved = apart(("ours", None), ("ours", 0))
    assert 0 < apart(("ours", None), ("llama", None)) < moved / 4
    assert 0 < apart(("ours", 0), ("llama", 0)) < moved / 4
    assert 0 < apart(("ours", None), ("transformers", None)) < moved / 4
