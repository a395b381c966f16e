"""GGUF: blocks against the gguf package, whole files against transformers and llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import (
    CONFIGS,
    VOCABULARY,
    dense_network,
    dense_weights,
    make_tokenizer,
    quantized_model,
    random_atom,
    random_weight,
    weights,
)
from safetensors.torch import load_file

from kernels.weights import QuantizedWeight
from serving.architecture import read_architecture
from serving.checkpoint import QuantizedModel
from serving.errors import ServingError
from serving.folders import read_json
from serving.formats.gguf import open_gguf, read_gguf, write_companions, write_gguf
from serving.formats.gguf_blocks import Q4_0, Q4_1, Q8_0, from_blocks, to_blocks

_BYTES = {Q4_0: 18, Q4_1: 20, Q8_0: 34}


@given(st.sampled_from([Q4_0, Q4_1, Q8_0]), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_any_block_means_what_gguf_says(kind: gguf.GGMLQuantizationType, seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows, blocks = int(draw.integers(1, 5)), int(draw.integers(1, 4))
    data = draw.integers(0, 256, (rows, blocks, _BYTES[kind]), dtype=np.uint8)
    # Scales and offsets must be numbers.
    halves = draw.normal(size=(rows, blocks, 2)).astype(np.float16)
    data[..., :2] = halves[..., :1].view(np.uint8)
    if kind == Q4_1:
        data[..., 2:4] = halves[..., 1:].view(np.uint8)
    if kind == Q8_0:
        data[..., 2:][data[..., 2:] == 128] = 129
    data = data.reshape(rows, -1)
    weight = from_blocks(kind, torch.from_numpy(data))
    assert weight is not None
    theirs = gguf.quants.dequantize(data, kind)
    np.testing.assert_array_equal(weight.dequantize(torch.float32).numpy(), theirs)
    again_kind, again = to_blocks(weight)
    assert again_kind == kind
    np.testing.assert_array_equal(again.numpy(), data)


@given(weights(("symmetric", "offsets"), eights=3))
@settings(max_examples=20, deadline=None)
def test_larger_groups_are_exact(weight: QuantizedWeight) -> None:
    kind, blocks = to_blocks(weight)
    theirs = gguf.quants.dequantize(blocks.numpy(), kind)
    np.testing.assert_array_equal(theirs, weight.dequantize(torch.float32).numpy())


@given(weights(("zero_points",), eights=3))
@settings(max_examples=20, deadline=None)
def test_zero_points_are_off_by_less_than_a_percent_of_a_step(weight: QuantizedWeight) -> None:
    kind, blocks = to_blocks(weight)
    assert kind == Q4_1
    theirs = torch.from_numpy(gguf.quants.dequantize(blocks.numpy(), kind))
    steps = weight.scales.float().repeat_interleave(weight.group, dim=1)
    off = (theirs - weight.dequantize(torch.float32)).abs() / steps
    assert float(off.max()) < 0.008


def test_minus_128_is_not_taken_over() -> None:
    data = np.zeros((1, 34), dtype=np.uint8)
    data[0, 5] = 128
    assert from_blocks(Q8_0, torch.from_numpy(data)) is None


def test_groups_that_blocks_do_not_divide_are_refused() -> None:
    with pytest.raises(ServingError, match="blocks of 32"):
        to_blocks(random_weight(4, 48, 48))


def _same(found: QuantizedModel, wanted: QuantizedModel) -> None:
    ours, theirs = dense_weights(found), dense_weights(wanted)
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name


@pytest.mark.parametrize("kind", CONFIGS)
def test_files_there_and_back(tmp_path: Path, kind: str) -> None:
    model = quantized_model(kind, "offsets" if kind.startswith("l") else "symmetric")
    write_gguf(model, tmp_path / "m.gguf", companions=make_tokenizer(tmp_path / "t"))
    back = read_gguf(tmp_path / "m.gguf")
    _same(back, model)
    ours = model.architecture
    wanted = {"model_type": "llama"} if kind == "mistral" else {}
    for name, value in {**vars(ours), **wanted}.items():
        found = vars(back.architecture)[name]
        assert found == (pytest.approx(value) if name == "rms_eps" else value), name


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_transformers_reads_the_same_weights(tmp_path: Path, kind: str) -> None:
    from transformers import AutoModelForCausalLM, GgufConfig

    model = quantized_model(kind)
    write_gguf(model, tmp_path / "m.gguf", companions=make_tokenizer(tmp_path / "t"))
    network: Any = AutoModelForCausalLM.from_pretrained(
        str(tmp_path),
        gguf_file="m.gguf",
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    theirs, ours = network.state_dict(), dense_weights(model)
    for name, weight in ours.items():
        assert torch.equal(theirs[name], weight), name


@pytest.mark.parametrize("kind", ["llama", "llama3", "linear", "qwen2", "qwen3"])
def test_llama_cpp_computes_the_same(tmp_path: Path, kind: str) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    model = quantized_model(kind, "symmetric" if kind == "qwen2" else "offsets")
    write_gguf(model, tmp_path / "m.gguf", companions=make_tokenizer(tmp_path / "t"))
    peer = llama_cpp.Llama(
        str(tmp_path / "m.gguf"), n_ctx=64, n_threads=1, logits_all=True, verbose=False
    )
    try:
        draw = torch.Generator().manual_seed(1)
        ids = torch.randint(3, VOCABULARY, (24,), generator=draw)
        peer.eval(ids.tolist())
        theirs = torch.from_numpy(np.array(peer.scores[: len(ids)])).float()
    finally:
        peer.close()
    with torch.inference_mode():
        ours = dense_network(model)(input_ids=ids[None]).logits[0]
    # llama.cpp rounds activations to 8 bits.
    error = (theirs - ours).norm() / ours.norm()
    assert float(error) < 0.06


def test_tokenizer_is_written_and_read(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    source = make_tokenizer(tmp_path / "t")
    write_gguf(quantized_model("llama"), tmp_path / "m.gguf", companions=source)
    reader = open_gguf(tmp_path / "m.gguf")

    def value(key: str) -> Any:
        field = reader.get_field(f"tokenizer.ggml.{key}")
        return None if field is None else field.contents()

    tokenizer: Any = AutoTokenizer.from_pretrained(str(source))
    vocabulary = tokenizer.get_vocab()
    assert {text: i for i, text in enumerate(value("tokens")) if text in vocabulary} == vocabulary
    assert value("token_type")[:4] == [3, 3, 3, 1]
    assert (value("model"), value("pre")) == ("gpt2", "smollm")
    assert (value("bos_token_id"), value("eos_token_id")) == (1, 2)
    (tmp_path / "back").mkdir()
    write_companions(tmp_path / "m.gguf", tmp_path / "back")
    back: Any = AutoTokenizer.from_pretrained(str(tmp_path / "back"))
    text = "stop at the sign, then turn right"
    assert back(text).input_ids == tokenizer(text).input_ids
    # A second export copies the first one's metadata.
    write_gguf(quantized_model("llama"), tmp_path / "n.gguf", companions=tmp_path / "back")
    again = open_gguf(tmp_path / "n.gguf")
    first, second = (
        {k: f.contents() for k, f in r.fields.items() if k != "GGUF.kv_count"}
        for r in (reader, again)
    )
    assert first == second


def test_plain_byte_level_splitting_is_gpt2(tmp_path: Path) -> None:
    source = make_tokenizer(tmp_path / "t", digits=False)
    write_gguf(quantized_model("llama"), tmp_path / "m.gguf", companions=source)
    field = open_gguf(tmp_path / "m.gguf").get_field("tokenizer.ggml.pre")
    assert field is not None
    assert field.contents() == "gpt-2"


def test_types_that_ours_lacks_become_dense(tmp_path: Path) -> None:
    model = quantized_model("qwen2", head_bits=16)
    write_gguf(model, tmp_path / "m.gguf", companions=make_tokenizer(tmp_path / "t"))
    reader = open_gguf(tmp_path / "m.gguf")
    writer = gguf.GGUFWriter(str(tmp_path / "n.gguf"), "qwen2")
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kinds = field.types
            writer.add_key_value(key, field.contents(), kinds[0], kinds[-1])
    name = "blk.0.ffn_up.weight"
    values = np.random.default_rng(0).normal(size=(96, 64)).astype(np.float32)
    fifth = gguf.GGMLQuantizationType.Q5_0
    blocks = gguf.quants.quantize(values, fifth)
    for tensor in reader.tensors:
        if tensor.name == name:
            writer.add_tensor(name, blocks, raw_dtype=fifth)
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    back = read_gguf(tmp_path / "n.gguf")
    found = back.dense("model.layers.0.mlp.up_proj.weight")
    theirs = torch.from_numpy(gguf.quants.dequantize(blocks, fifth))
    assert torch.equal(found, theirs.half())


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no such file"):
        read_gguf(tmp_path / "none.gguf")
    model = quantized_model("llama")
    source = make_tokenizer(tmp_path / "t")
    write_gguf(model, tmp_path / "m.gguf", companions=source)
    content = (tmp_path / "m.gguf").read_bytes()
    for size in (0, 2, 30, 2000, len(content) // 2, len(content) - 40):
        (tmp_path / "cut.gguf").write_bytes(content[:size])
        with pytest.raises(ServingError, match=r"damaged|not understood") as error:
            read_gguf(tmp_path / "cut.gguf")
        assert "\n" not in str(error.value)
    with pytest.raises(ServingError, match="there already"):
        write_gguf(model, tmp_path / "m.gguf", companions=source)
    model.tensors["model.layers.0.mlp.up_proj"] = random_atom(96, 64, 32, 32)
    with pytest.raises(ServingError, match="Atom"):
        write_gguf(model, tmp_path / "new.gguf", companions=source)
    odd = quantized_model("llama")
    odd.tensors["model.layers.0.mlp.down_proj"] = random_weight(64, 96, 48)
    with pytest.raises(ServingError, match="blocks of 32"):
        write_gguf(odd, tmp_path / "new.gguf", companions=source)
    assert not (tmp_path / "new.gguf").exists()
    other = gguf.GGUFWriter(str(tmp_path / "other.gguf"), "gemma2")
    other.write_header_to_file()
    other.write_kv_data_to_file()
    other.write_tensors_to_file()
    other.close()
    with pytest.raises(ServingError, match="architecture 'gemma2'"):
        read_gguf(tmp_path / "other.gguf")


@pytest.mark.model
def test_embedded_model_is_imported_exactly(
    tmp_path: Path, embedded: QuantizedModel, embedded_file: Path
) -> None:
    """Bit-equal to the weights that the pipeline samples from, and written back byte for byte."""
    from pipeline.models import load_model

    converted = load_model("smollm2", device="cpu").folder
    theirs = load_file(str(converted / "model.safetensors"))
    ours = dense_weights(embedded)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert ours.keys() - theirs.keys() <= {"lm_head.weight"}
    assert read_architecture(read_json(converted / "config.json")) == embedded.architecture
    assert (embedded.header.bits, embedded.header.group, embedded.header.head_bits) == (4, 32, 8)
    matrices = [embedded.matrix(layer) for layer in embedded.architecture.matrix_shapes()]
    assert all(isinstance(matrix, QuantizedWeight) for matrix in matrices)
    write_gguf(embedded, tmp_path / "again.gguf", companions=converted)
    before, after = open_gguf(embedded_file), open_gguf(tmp_path / "again.gguf")
    held = {tensor.name: tensor for tensor in after.tensors}
    for tensor in before.tensors:
        assert tensor.tensor_type == held[tensor.name].tensor_type
        assert np.array_equal(tensor.data, held[tensor.name].data)
