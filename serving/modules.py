"""Quantized layers as PyTorch modules, and a transformers network made of them.

They compute with the same operators as the decoder, and pass gradients to their inputs, so that
adapters can be trained on a quantized base. Their own weights never change.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import kernels
from kernels.weights import AtomWeight, QuantizedWeight
from serving.architecture import EMBEDDING, HEAD
from serving.checkpoint import QuantizedModel
from serving.errors import ServingError

Quantized = QuantizedWeight | AtomWeight
"""A weight on a grid."""


_DATA: Any = torch.Tensor.data


class FixedWeight(torch.Tensor):
    """The numbers that a quantized weight stands for; writing to ``data`` is refused.

    Merging an adapter would otherwise change a copy and be lost without a word.
    """

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """As for any tensor, but for ``data``."""
        if func in (_DATA.__get__, _DATA.__set__):
            raise RuntimeError("the weight is quantized: nothing can be merged into it")
        return super().__torch_function__(func, types, args, kwargs or {})


class _OnGrid(nn.Module):
    """What quantized layers share: a weight that follows the module from device to device."""

    quantized: Quantized

    def _take(self, weight: Quantized) -> None:
        self.quantized = weight
        self._anchor = torch.empty(0, device=_device(weight))
        self._ready: Any = None

    def _packed(self) -> Any:
        """The weight in the layout of the device's kernels."""
        if self._ready is None:
            self._ready = kernels.pack(self.quantized, self._anchor.device)
        return self._ready

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Move with the module; number formats stay as they are."""
        moved = fn(self._anchor)
        if moved.device != self._anchor.device:
            self._take(_moved(self.quantized, moved.device))
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """Shape and grid."""
        rows, columns = self.quantized.shape
        kind = "mixed"
        if isinstance(self.quantized, QuantizedWeight):
            kind = f"{self.quantized.bits} bits, groups of {self.quantized.group}"
        return f"{columns} -> {rows}, {kind}"


class QuantizedLinear(_OnGrid, nn.Linear):
    """A linear layer whose weight is on a grid; peft takes it for a linear layer.

    Attributes:
        quantized: The weight.
        bias: float [N] or None.
        activation_bits: 16, or 8 to quantize activations on the fly; Atom's weights have their own.
    """

    def __init__(
        self,
        weight: Quantized,
        bias: torch.Tensor | None = None,
        activation_bits: int = 16,
    ) -> None:
        """Wrap a weight [N, K]."""
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.activation_bits = activation_bits
        self.register_parameter(
            "bias", nn.Parameter(bias, requires_grad=False) if bias is not None else None
        )
        self._take(weight)

    @property
    def weight(self) -> torch.Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the weight stands for, float32 [N, K]; made anew at every call."""
        return self.quantized.dequantize(torch.float32).as_subclass(FixedWeight)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Apply the layer: [..., K] to [..., N]."""
        output = _Product.apply(input, self)
        return output if self.bias is None else output + self.bias.to(output.dtype)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` times the weight, without bias and gradients."""
        packed = self._packed()
        if isinstance(self.quantized, AtomWeight):
            return kernels.w4a4_linear(x, packed)
        if self.quantized.bits == 8:
            return kernels.int8_linear(x, packed, self.activation_bits)
        return kernels.int4_linear(x, packed, self.activation_bits)


class QuantizedEmbedding(_OnGrid, nn.Embedding):
    """An embedding whose rows are on a grid.

    Attributes:
        quantized: The table.
        dtype: Number format of what it gives.
    """

    def __init__(self, weight: QuantizedWeight, dtype: torch.dtype = torch.float32) -> None:
        """Wrap a table [vocabulary, width]."""
        nn.Module.__init__(self)
        self.num_embeddings, self.embedding_dim = weight.shape
        self.padding_idx = None
        self.dtype = dtype
        self._take(weight)

    @property
    def _table(self) -> QuantizedWeight:
        assert isinstance(self.quantized, QuantizedWeight)
        return self.quantized

    @property
    def weight(self) -> torch.Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the table stands for, float32; made anew at every call."""
        return self.quantized.dequantize(torch.float32).as_subclass(FixedWeight)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Rows of the table: [...] to [..., width]."""
        rows = kernels.embedding(input.flatten(), self._table)
        return rows.to(self.dtype).reshape(*input.shape, self.embedding_dim)


class _Product(torch.autograd.Function):
    """The product, and its gradient as if activations had not been quantized."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: QuantizedLinear) -> torch.Tensor:
        """``x`` [..., K] times the layer's weight."""
        ctx.layer = layer
        return layer.product(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        """The gradient [..., K] by ``x``."""
        (grad,) = grads
        return grad @ ctx.layer.quantized.dequantize(grad.dtype), None


def load_quantized_network(
    model: QuantizedModel | Path,
    *,
    dtype: torch.dtype = torch.float32,
    activation_bits: int = 16,
) -> Any:
    """A transformers network whose layers are quantized; in evaluation mode, nothing trainable.

    Args:
        model: A model in memory, or a folder or file that `serving.exchange.opened` understands.
        dtype: Of norms, biases, matrices that are not quantized, and activations.
        activation_bits: As `QuantizedLinear`.

    Raises:
        ServingError: The folder cannot be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if isinstance(model, Path):
        from serving.exchange import opened

        with opened(model) as held:
            return load_quantized_network(held, dtype=dtype, activation_bits=activation_bits)
    settings = {key: value for key, value in model.config.items() if key != "model_type"}
    config: Any = AutoConfig.for_model(model.config["model_type"], **settings)
    with torch.device("meta"):
        network: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for layer in (*model.architecture.matrix_shapes(), HEAD):
        weight = model.matrix(layer)
        if isinstance(weight, torch.Tensor):
            continue
        bias = model.tensors.get(f"{layer}.bias")
        if layer == EMBEDDING:
            if isinstance(weight, AtomWeight):
                raise ServingError("an embedding cannot be of mixed precision", remedy="use INT8")
            module: nn.Module = QuantizedEmbedding(weight, dtype)
        else:
            held_bias = bias.to(dtype) if isinstance(bias, torch.Tensor) else None
            module = QuantizedLinear(weight, held_bias, activation_bits)
        network.set_submodule(layer, module)
    _fill(network, model, dtype)
    # Frequencies are computed, not stored.
    network.model.rotary_emb = type(network.model.rotary_emb)(config=config)
    if model.folder is not None and (model.folder / "generation_config.json").is_file():
        from transformers import GenerationConfig

        network.generation_config = GenerationConfig.from_pretrained(str(model.folder))
    return network.requires_grad_(False).eval()


def _fill(network: Any, model: QuantizedModel, dtype: torch.dtype) -> None:
    """Put all that is not quantized into place."""
    wanted = {name for name, _ in network.named_parameters()}
    state = {
        name: tensor.to(dtype)
        for name, tensor in model.tensors.items()
        if isinstance(tensor, torch.Tensor) and name in wanted
    }
    head = f"{HEAD}.weight"
    if head in wanted and head not in state:
        state[head] = model.dense(f"{EMBEDDING}.weight").to(dtype)
    missing = wanted - state.keys()
    if missing:
        raise ServingError(f"the model has no tensor {min(missing)}", remedy="get it again")
    network.load_state_dict(state, strict=False, assign=True)


def _device(weight: Quantized) -> torch.device:
    return (weight.low if isinstance(weight, AtomWeight) else weight).codes.device


def _moved(weight: Quantized, device: torch.device) -> Quantized:
    if isinstance(weight, AtomWeight):
        low, high = (_moved(part, device) for part in (weight.low, weight.high))
        assert isinstance(low, QuantizedWeight)
        assert isinstance(high, QuantizedWeight)
        return AtomWeight(low=low, high=high, order=weight.order.to(device))
    return QuantizedWeight(
        codes=weight.codes.to(device),
        scales=weight.scales.to(device),
        zeros=weight.zeros.to(device) if weight.zeros is not None else None,
        bits=weight.bits,
        group=weight.group,
    )
