"""Quantized layers as modules: what they compute, their gradients, adapters on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import (
    CONFIGS,
    VOCABULARY,
    dense_network,
    quantized_model,
    random_atom,
    random_weight,
    weights,
)

from kernels.weights import QuantizedWeight
from serving.checkpoint import save_checkpoint
from serving.modules import QuantizedEmbedding, QuantizedLinear, load_quantized_network


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(weights(("symmetric", "zero_points", "offsets")), st.integers(1, 9), st.booleans())
@settings(max_examples=15, deadline=None)
def test_layers_and_gradients_are_those_of_the_dense_layer(
    weight: QuantizedWeight, rows: int, biased: bool
) -> None:
    n, k = weight.shape
    bias = _random(n, seed=1) if biased else None
    layer = QuantizedLinear(weight, bias)
    x = _random(2, rows, k, seed=2).requires_grad_()
    upstream = _random(2, rows, n, seed=3)
    y = layer(x)
    y.backward(upstream)
    twin = x.detach().double().requires_grad_()
    wanted = torch.nn.functional.linear(
        twin, weight.dequantize(torch.float64), None if bias is None else bias.double()
    )
    wanted.backward(upstream.double())
    assert x.grad is not None
    assert twin.grad is not None
    torch.testing.assert_close(y, wanted.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(x.grad, twin.grad.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "make", [lambda: random_weight(24, 64, 32, bits=8), lambda: random_atom(24, 96, 32, 32)]
)
def test_other_kinds_of_weights(make: Callable[[], Any]) -> None:
    weight = make()
    layer = QuantizedLinear(weight)
    x = _random(5, weight.shape[1]).requires_grad_()
    y = layer(x)
    wanted = x.detach() @ weight.dequantize().T
    # Activations of mixed-precision weights are themselves quantized.
    error = (y.detach() - wanted).norm() / wanted.norm()
    assert float(error) < (0.01 if isinstance(weight, QuantizedWeight) else 0.25)
    y.sum().backward()
    torch.testing.assert_close(x.grad, weight.dequantize().sum(dim=0).expand(5, -1))


def test_activations_of_eight_bits_are_near() -> None:
    weight = random_weight(32, 128, 64, "zero_points")
    x = _random(7, 128)
    exact, coarse = (QuantizedLinear(weight, activation_bits=bits)(x) for bits in (16, 8))
    assert 0 < float((exact - coarse).norm() / exact.norm()) < 0.02


def test_embedding_gives_rows() -> None:
    weight = random_weight(50, 64, 32, bits=8)
    layer = QuantizedEmbedding(weight)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert torch.equal(layer(ids), weight.dequantize()[ids])
    assert (layer.num_embeddings, layer.embedding_dim) == (50, 64)


def test_weights_can_be_seen_but_not_changed() -> None:
    weight = random_weight(8, 32, 32)
    layer = QuantizedLinear(weight)
    assert torch.equal(torch.Tensor(layer.weight).as_subclass(torch.Tensor), weight.dequantize())
    with pytest.raises(RuntimeError, match="nothing can be merged"):
        layer.weight.data += 1
    assert not list(layer.parameters())
    assert "8" in layer.extra_repr()


@pytest.mark.parametrize("kind", CONFIGS)
def test_networks_compute_what_dense_ones_do(tmp_path: Path, kind: str) -> None:
    model = quantized_model(kind, "zero_points", head_bits=16 if kind == "mistral" else 8)
    save_checkpoint(tmp_path / "out", model)
    network = load_quantized_network(tmp_path / "out")
    ids = torch.randint(VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = network(input_ids=ids).logits, dense_network(model)(input_ids=ids).logits
    assert float((found - wanted).norm() / wanted.norm()) < 2e-3
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_networks_generate() -> None:
    model = quantized_model("llama")
    ids = torch.tensor([[5, 6, 7]])
    settings_: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    found = load_quantized_network(model).generate(ids, **settings_)
    assert found.shape == (1, 11)


def _lora(network: Any, **settings_: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, lora_dropout=0.0, **settings_)
    return get_peft_model(network, config)


def test_adapters_of_a_dense_base_run_on_the_quantized_one(tmp_path: Path) -> None:
    from peft import PeftModel

    model = quantized_model("llama")
    dense = _lora(dense_network(model), init_lora_weights=False)
    dense.save_pretrained(str(tmp_path))
    network = PeftModel.from_pretrained(load_quantized_network(model), str(tmp_path))
    ids = torch.randint(VOCABULARY, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = network(input_ids=ids).logits, dense(input_ids=ids).logits
        base = load_quantized_network(model)(input_ids=ids).logits
    assert float((found - wanted).norm() / wanted.norm()) < 2e-3
    assert float((base - wanted).norm() / wanted.norm()) > 0.05


def test_training_an_adapter_on_the_quantized_base_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = _lora(load_quantized_network(quantized_model("qwen2")))
    network.train()
    trained = [p for p in network.parameters() if p.requires_grad]
    assert all("lora" in name for name, p in network.named_parameters() if p.requires_grad)
    optimizer = torch.optim.Adam(trained, lr=0.02)
    ids = torch.randint(VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(12):
        loss = network(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    with pytest.raises(RuntimeError, match="nothing can be merged"):
        network.merge_and_unload()


def test_gradients_of_an_adapter_are_those_on_the_dense_base(tmp_path: Path) -> None:
    from peft import PeftModel

    model = quantized_model("llama")
    dense = _lora(dense_network(model), init_lora_weights=False)
    dense.save_pretrained(str(tmp_path))
    network = PeftModel.from_pretrained(
        load_quantized_network(model), str(tmp_path), is_trainable=True
    )
    ids = torch.randint(VOCABULARY, (2, 12), generator=torch.Generator().manual_seed(0))
    grads = []
    for one in (network, dense):
        one(input_ids=ids, labels=ids).loss.backward()
        found = {n: p.grad for n, p in one.named_parameters() if p.grad is not None}
        grads.append(torch.cat([found[name].flatten() for name in sorted(found)]))
    assert grads[0].shape == grads[1].shape
    assert float((grads[0] - grads[1]).norm() / grads[1].norm()) < 5e-3
