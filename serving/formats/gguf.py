"""Models in GGUF files, which llama.cpp runs: import and export.

Types Q4_0, Q4_1 and Q8_0 are taken over as they are; whatever else a file holds becomes dense.
Files of the architecture ``llama`` store the rows of queries and keys in another order, because
llama.cpp rotates neighbouring elements of a head there and Hugging Face the two halves.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from kernels.weights import QuantizedWeight
from serving.architecture import (
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    Architecture,
    llama3_divisors,
    read_architecture,
)
from serving.checkpoint import QuantizedModel, Weight, describe
from serving.errors import ServingError
from serving.folders import GGUF_METADATA, damaged, unwritable
from serving.formats.gguf_blocks import from_blocks, to_blocks
from serving.formats.gguf_vocabulary import add_vocabulary
from serving.formats.shared import dense_half

_ARCHITECTURE = "general.architecture"
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_ENDS = {EMBEDDING: "token_embd", HEAD: "output", FINAL_NORM: "output_norm"}
_WITHIN = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_INWARD = {theirs: ours for ours, theirs in _WITHIN.items()}
_FREQUENCIES = "rope_freqs.weight"
_OF_TENSORS = ("general.file_type", "general.quantization_version", "general.alignment")
_FILE_TYPES = {
    gguf.GGMLQuantizationType.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
    gguf.GGMLQuantizationType.Q4_1: gguf.LlamaFileType.MOSTLY_Q4_1,
    gguf.GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    gguf.GGMLQuantizationType.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    gguf.GGMLQuantizationType.F16: gguf.LlamaFileType.MOSTLY_F16,
}


def their_name(name: str) -> str:
    """GGUF's name of one of our tensors (``model.layers.0.mlp.up_proj.weight``)."""
    stem, _, end = name.rpartition(".")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.{end}"
    _, _, layer, within = stem.split(".", 3)
    return f"blk.{layer}.{_WITHIN[within]}.{end}"


def our_name(name: str) -> str | None:
    """The inverse of `their_name`; None for a tensor that a Llama-type model does not have."""
    stem, _, end = name.rpartition(".")
    for ours, theirs in _ENDS.items():
        if stem == theirs:
            return f"{ours}.{end}"
    parts = stem.split(".", 2)
    if len(parts) != 3 or parts[0] != "blk" or parts[2] not in _INWARD:
        return None
    return f"model.layers.{parts[1]}.{_INWARD[parts[2]]}.{end}"


def read_gguf(
    file: Path, *, base: str = "", reader: gguf.GGUFReader | None = None
) -> QuantizedModel:
    """Import a file; its tokenizer apart (see `write_companions`).

    Args:
        file: The GGUF file.
        base: What to call the model; the name in the file if empty.
        reader: Of the file, if there is one: making one takes seconds.

    Raises:
        ServingError: Damaged, of another architecture, or with positions that are not understood.
    """
    reader = reader or open_gguf(file)
    named = {
        our_name(tensor.name) or tensor.name: tensor
        for tensor in reader.tensors
        if tensor.name != _FREQUENCIES
    }
    config = _config(file, reader, named)
    architecture = read_architecture(config)
    tensors: dict[str, Weight] = {}
    for name, tensor in named.items():
        tensors.update(_imported(file, name, tensor, architecture, reader))
    name = str(_value(reader, "general.name") or "")
    return QuantizedModel(config, tensors, describe("gguf", tensors, base=base or name))


def open_gguf(file: Path) -> gguf.GGUFReader:
    """A reader of a file.

    Raises:
        ServingError: Missing or damaged.
    """
    if not file.is_file():
        raise ServingError(f"{file}: no such file", remedy="name a GGUF file")
    try:
        return gguf.GGUFReader(str(file))
    except (ValueError, OSError, IndexError, KeyError, OverflowError) as error:
        raise damaged(file, str(error)) from None


def write_companions(file: Path, folder: Path, reader: gguf.GGUFReader | None = None) -> None:
    """Write the tokenizer's files, and the metadata that exports copy, into a folder.

    Args:
        file: The GGUF file.
        folder: Where to.
        reader: Of the file, if there is one.

    Raises:
        ServingError: The tokenizer is of a kind that transformers cannot read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    except Exception as error:  # the reader of foreign tokenizers raises many types
        raise ServingError(
            f"{file}: its tokenizer cannot be read: {error}", remedy="use another file"
        ) from None
    tokenizer.save_pretrained(str(folder))
    reader = reader or open_gguf(file)
    writer = gguf.GGUFWriter(str(folder / GGUF_METADATA), str(_value(reader, _ARCHITECTURE)))
    _copy_metadata(reader, writer)
    _finish(writer)


def write_gguf(
    model: QuantizedModel,
    file: Path,
    *,
    companions: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Export a model: Q4_0, Q4_1 and Q8_0 as `to_blocks` says, dense matrices as they are.

    Args:
        model: What to write.
        file: The file; there whole or not at all.
        companions: Folder of the tokenizer; ``model.folder`` if None.
        overwrite: Replace a file.

    Raises:
        ServingError: Something GGUF cannot hold, no tokenizer, or a file in the way.
    """
    if file.exists() and not overwrite:
        raise ServingError(f"{file} is there already", remedy="choose another place or remove it")
    source = companions or model.folder
    if source is None:
        raise ServingError("the model has no tokenizer", remedy="convert a whole model folder")
    ready = list(_exported(model))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as error:
        raise unwritable(file, error) from None
    os.close(descriptor)
    beside = Path(name)
    try:
        architecture = model.architecture
        writer = gguf.GGUFWriter(str(beside), _ARCHITECTURES[architecture.model_type])
        if (source / GGUF_METADATA).is_file():
            _copy_metadata(open_gguf(source / GGUF_METADATA), writer)
        else:
            _add_metadata(writer, model, architecture)
            add_vocabulary(writer, source, architecture.vocab)
        kinds = Counter(kind for _, kind, data in ready if data.ndim > 1)
        most = kinds.most_common(1)[0][0]
        writer.add_file_type(int(_FILE_TYPES.get(most, gguf.LlamaFileType.ALL_F32)))
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for name, kind, data in ready:
            writer.add_tensor(name, data, raw_dtype=kind)
        _finish(writer)
        beside.chmod(0o644)
        beside.replace(file)
    except OSError as error:
        raise unwritable(file, error) from None
    finally:
        beside.unlink(missing_ok=True)


def _value(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return field.contents() if field is not None else None


def _config(
    file: Path, reader: gguf.GGUFReader, named: Mapping[str, gguf.ReaderTensor]
) -> dict[str, Any]:
    """What config.json would say."""
    kind = _value(reader, _ARCHITECTURE)
    if kind not in set(_ARCHITECTURES.values()):
        raise ServingError(
            f"{file}: models of architecture {kind!r} are not supported",
            remedy=f"use {', '.join(dict.fromkeys(_ARCHITECTURES.values()))}",
        )

    def number(key: str, default: Any = None) -> Any:
        found = _value(reader, f"{kind}.{key}")
        if found is None and default is None:
            raise damaged(file, f"no {kind}.{key}")
        return default if found is None else found

    heads = number("attention.head_count")
    width = number("embedding_length")
    embedding = named.get(f"{EMBEDDING}.weight")
    if embedding is None:
        raise damaged(file, "no embedding")
    config: dict[str, Any] = {
        "architectures": [f"{str(kind).capitalize()}ForCausalLM"],
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("attention.head_count_kv", heads),
        "head_dim": number("attention.key_length", width // heads),
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "vocab_size": int(embedding.shape[1]),
        "tie_word_embeddings": f"{HEAD}.weight" not in named,
        "rope_parameters": _rope(file, reader, number),
        "dtype": "float32",
    }
    for name in ("bos", "eos", "padding"):
        found = _value(reader, f"tokenizer.ggml.{name}_token_id")
        config[f"{name.removesuffix('ding')}_token_id"] = found
    return config


def _rope(file: Path, reader: gguf.GGUFReader, number: Any) -> dict[str, Any]:
    rope: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": number("rope.freq_base", 10000.0),
    }
    scaling = number("rope.scaling.type", "none")
    if scaling == "linear":
        rope |= {"rope_type": "linear", "factor": number("rope.scaling.factor")}
    elif scaling != "none":
        raise ServingError(
            f"{file}: rotary positions of type {scaling!r} are not supported",
            remedy="use a model with default, linear or llama3 positions",
        )
    divisors = next((t for t in reader.tensors if t.name == _FREQUENCIES), None)
    if divisors is None:
        return rope
    found = torch.from_numpy(np.array(divisors.data, dtype=np.float32))
    width = 2 * len(found)
    plain = 1.0 / (rope["rope_theta"] ** (torch.arange(0, width, 2).float() / width))
    for factor in (8.0, 32.0):
        guess = {
            "rope_type": "llama3",
            "rope_theta": rope["rope_theta"],
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        if torch.allclose(llama3_divisors(plain, guess), found, rtol=1e-3):
            return guess
    raise ServingError(
        f"{file}: its rotary positions are scaled in an unknown way",
        remedy="use a model with default, linear or llama3 positions",
    )


def _imported(
    file: Path,
    name: str,
    tensor: gguf.ReaderTensor,
    architecture: Architecture,
    reader: gguf.GGUFReader,
) -> Iterator[tuple[str, Weight]]:
    """One tensor under its name, quantized or dense, rows in Hugging Face's order."""
    matrix = len(tensor.shape) > 1
    try:
        kept = None
        if matrix and tensor.data.dtype == np.uint8:
            blocks = torch.from_numpy(np.array(tensor.data))
            kept = from_blocks(tensor.tensor_type, blocks)
        full: Weight
        if kept is not None:
            full = kept
        elif tensor.tensor_type == gguf.GGMLQuantizationType.BF16:
            full = torch.from_numpy(np.array(tensor.data)).view(torch.bfloat16)
        elif tensor.data.dtype == np.uint8:
            full = dense_half(torch.from_numpy(_dequantized(tensor)))
        else:
            full = torch.from_numpy(np.array(tensor.data))
    except (ValueError, NotImplementedError, TypeError) as error:
        raise damaged(file, f"{tensor.name}: {error}") from None
    if _value(reader, _ARCHITECTURE) == "llama":
        full = _reordered(name, full, architecture, _halves_of_pairs)
    yield (name if kept is None else name.removesuffix(".weight")), full


def _dequantized(tensor: gguf.ReaderTensor) -> np.ndarray:
    return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)


def _halves_of_pairs(head_dim: int) -> torch.Tensor:
    """Where row i of a head in Hugging Face's order stands in llama.cpp's."""
    return torch.arange(head_dim).reshape(head_dim // 2, 2).T.flatten()


def _pairs_of_halves(head_dim: int) -> torch.Tensor:
    """The inverse."""
    return torch.arange(head_dim).reshape(2, head_dim // 2).T.flatten()


def _reordered(name: str, weight: Weight, architecture: Architecture, order: Any) -> Weight:
    """Rows of queries and keys in another order within each head; others as they are."""
    stem = name.removesuffix(".weight").removesuffix(".bias")
    if not stem.endswith(("self_attn.q_proj", "self_attn.k_proj")):
        return weight
    heads = architecture.heads if stem.endswith("q_proj") else architecture.kv_heads
    width = architecture.head_dim
    rows = (torch.arange(heads)[:, None] * width + order(width)[None]).flatten()
    if isinstance(weight, QuantizedWeight):
        zeros = weight.zeros
        return QuantizedWeight(
            codes=weight.codes[rows],
            scales=weight.scales[rows],
            zeros=zeros[rows] if zeros is not None else None,
            bits=weight.bits,
            group=weight.group,
        )
    assert isinstance(weight, torch.Tensor)
    return weight[rows]


def _exported(
    model: QuantizedModel,
) -> Iterator[tuple[str, gguf.GGMLQuantizationType, np.ndarray]]:
    """GGUF's name, type and data of every tensor."""
    architecture = model.architecture
    turned = _ARCHITECTURES[architecture.model_type] == "llama"
    for name, weight in model.tensors.items():
        if turned:
            weight = _reordered(name, weight, architecture, _pairs_of_halves)
        if isinstance(weight, QuantizedWeight):
            kind, blocks = to_blocks(weight)
            yield their_name(f"{name}.weight"), kind, blocks.contiguous().numpy()
        elif not isinstance(weight, torch.Tensor):
            raise ServingError(
                "GGUF cannot hold Atom's mixed precision", remedy="quantize with another method"
            )
        elif weight.dim() == 1:
            data = weight.float().contiguous().numpy()
            yield their_name(name), gguf.GGMLQuantizationType.F32, data
        elif weight.dtype == torch.bfloat16:
            data = weight.contiguous().view(torch.uint8).numpy()
            yield their_name(name), gguf.GGMLQuantizationType.BF16, data
        else:
            half = weight.dtype == torch.float16
            kind = gguf.GGMLQuantizationType.F16 if half else gguf.GGMLQuantizationType.F32
            yield their_name(name), kind, (weight if half else weight.float()).contiguous().numpy()
    rope = architecture.rope
    if rope["rope_type"] == "llama3":
        width = architecture.head_dim
        plain = 1.0 / (rope["rope_theta"] ** (torch.arange(0, width, 2).float() / width))
        divisors = llama3_divisors(plain, rope)
        yield _FREQUENCIES, gguf.GGMLQuantizationType.F32, divisors.numpy()


def _add_metadata(
    writer: gguf.GGUFWriter, model: QuantizedModel, architecture: Architecture
) -> None:
    writer.add_type("model")
    writer.add_name(model.header.base or "model")
    writer.add_vocab_size(architecture.vocab)
    writer.add_context_length(architecture.max_positions)
    writer.add_embedding_length(architecture.hidden)
    writer.add_block_count(architecture.layers)
    writer.add_feed_forward_length(architecture.intermediate)
    writer.add_head_count(architecture.heads)
    writer.add_head_count_kv(architecture.kv_heads)
    writer.add_key_length(architecture.head_dim)
    writer.add_value_length(architecture.head_dim)
    writer.add_rope_dimension_count(architecture.head_dim)
    writer.add_layer_norm_rms_eps(architecture.rms_eps)
    writer.add_rope_freq_base(architecture.rope["rope_theta"])
    if architecture.rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(architecture.rope["factor"])


def _copy_metadata(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    """All that does not depend on how tensors are stored."""
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in (_ARCHITECTURE, *_OF_TENSORS):
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
