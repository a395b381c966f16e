"""A model's weights joined and packed as the CPU's decoder takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from kernels.cpu.decoder import DecoderConfig, DecoderWeights, LayerWeights
from kernels.cpu.linear import pack, pack_atom, pack_dense
from kernels.packing import PackedAtomWeight, PackedWeight
from kernels.weights import AtomWeight, QuantizedWeight, concatenate
from serving.architecture import EMBEDDING, FINAL_NORM, HEAD, Architecture, rope_tables
from serving.checkpoint import QuantizedModel, Weight
from serving.errors import ServingError
from serving.formats.shared import regrouped


def decoder_config(architecture: Architecture) -> DecoderConfig:
    """The sizes that the decoder asks for."""
    return DecoderConfig(
        hidden=architecture.hidden,
        layers=architecture.layers,
        heads=architecture.heads,
        kv_heads=architecture.kv_heads,
        head_dim=architecture.head_dim,
        intermediate=architecture.intermediate,
        vocab=architecture.vocab,
        rms_eps=architecture.rms_eps,
        qk_norm=architecture.qk_norm,
        qkv_bias=architecture.qkv_bias,
    )


def decoder_weights(model: QuantizedModel) -> DecoderWeights:
    """Packed weights; those that are not quantized become bfloat16.

    Raises:
        ServingError: Weights that are multiplied together and cannot be joined.
    """
    architecture = model.architecture
    cos, sin = rope_tables(architecture, architecture.max_positions)
    head = join([model.matrix(HEAD)])
    embedding = model.matrix(EMBEDDING)
    shared = model.matrix(HEAD) is embedding and isinstance(head, PackedWeight)
    return DecoderWeights(
        embedding=head if shared and isinstance(head, PackedWeight) else _table(embedding),
        layers=[_layer(model, number) for number in range(architecture.layers)],
        final_norm=model.dense(f"{FINAL_NORM}.weight"),
        lm_head=head,
        cos=cos,
        sin=sin,
    )


def join(weights: Sequence[Weight]) -> PackedWeight | PackedAtomWeight:
    """Weights over the same inputs, one below the other, packed.

    Groups and zero points are brought to one form, exactly; weights that are on different grids
    become float32.

    Raises:
        ServingError: Mixed-precision weights whose columns are in different orders.
    """
    atoms = [weight for weight in weights if isinstance(weight, AtomWeight)]
    grids = [weight for weight in weights if isinstance(weight, QuantizedWeight)]
    dense = [weight for weight in weights if isinstance(weight, torch.Tensor)]
    if len(atoms) == len(weights):
        return _join_atoms(atoms)
    if len(grids) == len(weights) and len({weight.bits for weight in grids}) == 1:
        return pack(concatenate(alike(grids)))
    if len(dense) == len(weights):
        return pack_dense(torch.cat([weight.to(torch.bfloat16) for weight in dense]))
    whole = [w.float() if isinstance(w, torch.Tensor) else w.dequantize() for w in weights]
    return pack_dense(torch.cat(whole))


def alike(weights: Sequence[QuantizedWeight]) -> tuple[QuantizedWeight, ...]:
    """The same weights, of equal bits, with groups of one size and zeros of one kind; exact but
    for zero points that must become offsets in float16.
    """
    group = math.gcd(*(weight.group for weight in weights))
    kind = max(weight.zero_kind for weight in weights)
    return tuple(_with_zeros(regrouped(weight, group), kind) for weight in weights)


def _with_zeros(weight: QuantizedWeight, kind: int) -> QuantizedWeight:
    if weight.zero_kind == kind:
        return weight
    zeros = weight.zeros
    if zeros is None:
        zeros = torch.full_like(weight.scales, 8).to(torch.uint8)
    if kind == 2:
        zeros = (-weight.scales.float() * zeros.float()).to(torch.float16)
    return QuantizedWeight(weight.codes, weight.scales, zeros, weight.bits, weight.group)


def _join_atoms(atoms: Sequence[AtomWeight]) -> PackedAtomWeight:
    first = atoms[0]
    if any(not torch.equal(atom.order, first.order) for atom in atoms):
        raise ServingError(
            "layers with the same input have their columns in different orders",
            remedy="quantize the model again",
        )
    return pack_atom(
        AtomWeight(
            low=concatenate(alike([atom.low for atom in atoms])),
            high=concatenate(alike([atom.high for atom in atoms])),
            order=first.order,
        )
    )


def _layer(model: QuantizedModel, number: int) -> LayerWeights:
    at = f"model.layers.{number}"
    attention, mlp = f"{at}.self_attn", f"{at}.mlp"
    architecture = model.architecture
    biases = [model.dense(f"{attention}.{x}_proj.bias") for x in "qkv" if architecture.qkv_bias]
    norms = [model.dense(f"{attention}.{x}_norm.weight") for x in "qk" if architecture.qk_norm]
    return LayerWeights(
        input_norm=model.dense(f"{at}.input_layernorm.weight"),
        qkv=join([model.matrix(f"{attention}.{x}_proj") for x in "qkv"]),
        qkv_bias=torch.cat([bias.float() for bias in biases]) if biases else None,
        q_norm=norms[0] if norms else None,
        k_norm=norms[1] if norms else None,
        o=join([model.matrix(f"{attention}.o_proj")]),
        post_norm=model.dense(f"{at}.post_attention_layernorm.weight"),
        gate_up=join([model.matrix(f"{mlp}.{x}_proj") for x in ("gate", "up")]),
        down=join([model.matrix(f"{mlp}.down_proj")]),
    )


def _table(weight: Weight) -> PackedWeight | torch.Tensor:
    """An embedding as the decoder takes it."""
    if isinstance(weight, AtomWeight):
        raise ServingError("an embedding cannot be of mixed precision", remedy="use INT8")
    if isinstance(weight, QuantizedWeight):
        return pack(weight)
    return weight if weight.dtype == torch.float16 else weight.to(torch.bfloat16)
