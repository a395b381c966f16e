"""Completions in a shared-prefix row have the log-probabilities that they have alone."""

import pytest
import torch
from small_pairs import make_groups, quick

from pipeline.training.adapters import with_adapter
from pipeline.training.forward import add_row_forward, row_tensors
from pipeline.training.pairs import tokenized
from pipeline.training.plan import row_of
from pipeline.training.prefixes import RowBuilder, tree_size
from verifier.errors import InputError


def _network(fresh, tiny_adapter, dtype):
    network = fresh.model.to(dtype)
    add_row_forward(network)
    from peft import PeftModel

    network = PeftModel.from_pretrained(network, str(tiny_adapter), is_trainable=True)
    return network.to(dtype)  # but for norms and rotations, which transformers has in float32


def _alone(network, prompt, completion):
    """Log-probabilities of a completion's tokens from a plain forward pass."""
    logits = network(input_ids=torch.tensor([[*prompt, *completion]])).logits[
        0, len(prompt) - 1 : -1
    ]
    return logits.log_softmax(-1)[range(len(completion)), list(completion)]


def _everything(fresh):
    groups = [tokenized(fresh.tokenizer, group) for group in make_groups()]
    completions = [(g, c) for g, group in enumerate(groups) for c in range(len(group.completions))]
    return groups, completions


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 2e-5)])
def test_log_probs_and_gradients_are_those_of_plain_passes(fresh, tiny_adapter, dtype, tolerance):
    network = _network(fresh, tiny_adapter, dtype)
    groups, completions = _everything(fresh)
    weights = torch.randn(len(completions), dtype=dtype, generator=torch.manual_seed(0))
    trainable = [p for p in network.parameters() if p.requires_grad]

    found = network(row=row_tensors(row_of(completions, groups)))
    gradients = torch.autograd.grad((found.sum(-1) * weights).sum(), trainable)

    plain = [_alone(network, groups[g].prompt, groups[g].completions[c]) for g, c in completions]
    for ours, theirs in zip(found, plain, strict=True):
        assert torch.allclose(ours[: len(theirs)], theirs, atol=tolerance)
        assert not ours[len(theirs) :].any()
    expected = torch.autograd.grad(
        sum(w * row.sum() for w, row in zip(weights, plain, strict=True)), trainable
    )
    assert any(gradient.abs().max() > 1e-3 for gradient in expected)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=tolerance * 10, rtol=tolerance * 10)


def test_more_predictions_than_one_chunk(fresh, tiny_adapter, monkeypatch):
    network = _network(fresh, tiny_adapter, torch.float64)
    groups, completions = _everything(fresh)
    row = row_tensors(row_of(completions, groups))
    whole = network(row=row)
    monkeypatch.setattr("pipeline.training.forward._CHUNK", 7)
    assert torch.equal(network(row=row), whole) or torch.allclose(
        network(row=row), whole, atol=1e-12
    )


def test_distributions_are_the_log_softmax_of_the_logits(fresh, tiny_adapter):
    network = _network(fresh, tiny_adapter, torch.float32)
    groups, _ = _everything(fresh)
    prompt, completion = groups[0].prompt, groups[0].completions[0]
    found = network(row=row_tensors(row_of([(0, 0)], groups)), distributions=True)
    logits = network(input_ids=torch.tensor([[*prompt, *completion]])).logits[
        0, len(prompt) - 1 : -1
    ]
    assert torch.allclose(found, logits.log_softmax(-1), atol=1e-5)


def test_the_network_is_as_before_without_a_row(fresh):
    network, tokens = fresh.model, torch.tensor([[5, 6, 7, 8]])
    before = network(input_ids=tokens).logits
    add_row_forward(network)
    assert torch.equal(network(input_ids=tokens).logits, before)


def test_models_that_change_their_logits_are_refused(fresh):
    fresh.model.config.final_logit_softcapping = 30.0
    with pytest.raises(InputError, match="final_logit_softcapping"):
        add_row_forward(fresh.model)


def test_a_row_is_the_smallest_tree():
    builder = RowBuilder()
    for completion in ((4, 5), (4, 6), (4,), (7,)):
        builder.add((1, 2, 3), completion)
    row = builder.row()
    assert row.tokens == (1, 2, 3, 4, 5, 6, 7)
    assert row.parents == (-1, 0, 1, 2, 3, 3, 2)
    assert row.depths == (0, 1, 2, 3, 4, 4, 3)
    assert row.paths == ((3, 4), (3, 5), (3,), (6,))
    assert tree_size([((1, 2), (3,)), ((1, 4), (3,))]) == 5


def test_nothing_is_differentiated_that_is_not_trained(fresh):
    network = fresh.model
    add_row_forward(network)
    network = with_adapter(network, quick(), None)
    groups, completions = _everything(fresh)
    network(row=row_tensors(row_of(completions, groups))).sum().backward()
    with_gradient = {name for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name, p in network.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in with_gradient)
