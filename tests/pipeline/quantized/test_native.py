"""The native engine as a reader: the same numbers as transformers, and what only it can do."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
from grid_model import on_grid

from pipeline.decoding import Request, sample_batch
from pipeline.grammar import GrammarConstraint
from pipeline.likelihood import Said, divergence
from pipeline.models import load_model
from pipeline.native import is_quantized, native_reader
from pipeline.perplexity import perplexity
from pipeline.prompts import Message, Prompt
from verifier.errors import InputError

torch = pytest.importorskip("torch")

PROMPTS = [(10, 20, 30), (10, 20, 31), (40,), (10, 20, 30), (50, 60, 70, 80, 90, 100, 110)]
ANSWERS = [(5, 6, 7), (), (8,), (9, 10), (11, 12, 13, 14)]
NEAR = {"rtol": 0.0, "atol": 0.06}
"""Logits are of size 3; matrices, keys and values are kept in bfloat16."""


@pytest.fixture(scope="module")
def loud(tiny, tmp_path_factory):
    """`tiny` with opinions: random weights say nearly the same of everything."""
    folder = tmp_path_factory.mktemp("loud") / "model"
    model = load_model(tiny.folder, "cpu")
    shutil.copytree(tiny.folder, folder)
    with torch.no_grad():
        model.model.lm_head.weight.mul_(20)
    model.model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def native(loud):
    return load_model(loud, "cpu", engine="native")


@pytest.fixture(scope="module")
def plain(loud):
    return load_model(loud, "cpu", engine="transformers")


@pytest.fixture(scope="module")
def checkpoint(loud, tmp_path_factory):
    return on_grid(loud, tmp_path_factory.mktemp("grid") / "checkpoint")


def readers(*models):
    return [model.reader for model in models]


def test_logits_after_prompts_and_on_from_there(native, plain):
    with torch.inference_mode():
        (ours, reading), (theirs, other) = (r.start(PROMPTS) for r in readers(native, plain))
        torch.testing.assert_close(ours, theirs, **NEAR)
        assert torch.equal(ours[0], ours[3])
        for rows, tokens in (([4, 1, 1, 0], [7, 8, 9, 8]), ([2, 0], [20, 21])):
            reading.select(rows)
            other.select(rows)
            torch.testing.assert_close(reading.read(tokens), other.read(tokens), **NEAR)


def test_logits_along_answers_and_everywhere(native, plain):
    with torch.inference_mode():
        ours, theirs = (r.along(PROMPTS, ANSWERS) for r in readers(native, plain))
        assert [tuple(row.shape) for row in ours] == [(len(a), 300) for a in ANSWERS]
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, **NEAR)
        rows = [[1, 2, 3, 4], [9, 8, 7, 6]]
        ours, theirs = (r.everywhere(rows) for r in readers(native, plain))
        torch.testing.assert_close(ours, theirs, **NEAR)
        # What several ways of asking say of one place agrees.
        row = native.reader.along([(1, 2)], [(3, 4)])[0]
        torch.testing.assert_close(ours[0, 1:3], row, **NEAR)


def test_silence_alone(native):
    with torch.inference_mode():
        assert native.reader.along([(1, 2)], [()])[0].shape == (0, 300)


def test_settings_are_the_models(native, plain):
    assert native.stop_ids == plain.stop_ids == {1}
    assert native.reader.vocabulary == plain.reader.vocabulary == 300


def requests(count):
    return [Request(PROMPTS[i % len(PROMPTS)], f"0:{i}") for i in range(count)]


def test_sampling_and_company(native):
    together = sample_batch(native, requests(8), max_new_tokens=8)
    assert together == [c for r in requests(8) for c in sample_batch(native, [r], max_new_tokens=8)]
    assert len({c.text for c in together}) > 4


def test_most_probable_answers_are_those_of_transformers(native, plain):
    how = {"temperature": 0, "max_new_tokens": 6}
    ours, theirs = (sample_batch(model, requests(5), **how) for model in (native, plain))
    assert sum(a == b for a, b in zip(ours, theirs, strict=True)) >= 4


def test_grammars(native):
    constraint = GrammarConstraint(native, ['start: "ab" | "cd"'] * 6)
    said = sample_batch(native, requests(6), max_new_tokens=4, constraint=constraint)
    assert {c.text for c in said} <= {"ab", "cd"}


def test_scores(native, plain):
    text = "All good things come in threes. " * 20
    ours, theirs = (perplexity(model, text, 200).value for model in (native, plain))
    assert ours == pytest.approx(theirs, rel=0.01)
    prompt = Prompt("t", "plain", (Message("user", "Turn left."),))
    said = [Said(prompt, "1. Stop.", True), Said(prompt, "2. Go on and on.", False)]
    found = divergence(plain, native, said)
    assert 0 <= found.per_token < 1e-3


def test_an_adapter_stays_apart_and_does_the_same(loud, tiny_adapter, native):
    apart = load_model(loud, "cpu", adapter=tiny_adapter, engine="native")
    merged = load_model(loud, "cpu", adapter=tiny_adapter)
    with torch.inference_mode():
        ours, theirs = (r.start(PROMPTS)[0] for r in readers(apart, merged))
        torch.testing.assert_close(ours, theirs, **NEAR)
        assert (ours - native.reader.start(PROMPTS)[0]).abs().max() > 0.1
    answers = apart.reader.along(PROMPTS, ANSWERS)
    for mine, other in zip(answers, merged.reader.along(PROMPTS, ANSWERS), strict=True):
        torch.testing.assert_close(mine, other.detach(), **NEAR)


def test_a_checkpoint_is_a_model_like_any_other(checkpoint, tiny_adapter):
    model = load_model(checkpoint)
    assert (model.engine, model.quantized, model.device) == ("native", True, "cpu")
    assert is_quantized(checkpoint)
    assert model.tokenizer.eos_token == "<end>"
    with torch.inference_mode():
        for adapter in (None, tiny_adapter):
            served = load_model(checkpoint, adapter=adapter)
            modules = load_model(checkpoint, "cpu", adapter=adapter, engine="transformers")
            assert served.hash != modules.hash
            ours, theirs = (r.start(PROMPTS)[0] for r in readers(served, modules))
            torch.testing.assert_close(ours, theirs, **NEAR)


def test_what_is_computed_differently_has_another_hash(loud, checkpoint, tiny_adapter):
    hashes = [
        load_model(loud, "cpu").hash,
        load_model(loud, "cpu", "bfloat16").hash,
        load_model(loud, "cpu", engine="native").hash,
        load_model(loud, "cpu", engine="native", adapter=tiny_adapter).hash,
        load_model(checkpoint).hash,
        load_model(checkpoint, activation_bits=8).hash,
        load_model(checkpoint, kv="int8").hash,
    ]
    assert len(set(hashes)) == len(hashes)
    assert load_model(loud, "cpu", engine="transformers").hash == hashes[0]


def test_variants_of_the_engine_stay_close(checkpoint):
    with torch.inference_mode():
        exact = load_model(checkpoint).reader.start(PROMPTS)[0]
        for how in ({"activation_bits": 8}, {"kv": "int8"}):
            found = load_model(checkpoint, **how).reader.start(PROMPTS)[0]
            assert 0 < (found - exact).abs().max() < 0.15 * exact.abs().max()


def test_nothing_is_loaded_before_it_is_used(checkpoint):
    code = (
        "import sys; from pipeline.models import load_model\n"
        f"model = load_model({str(checkpoint)!r})\n"
        "assert model.hash and not {'torch', 'transformers', 'serving'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gradients_pass_through_a_quantized_network(checkpoint):
    network = load_model(checkpoint, "cpu", engine="transformers").model
    states = network.get_input_embeddings()(torch.tensor([[1, 2, 3]])).requires_grad_()
    network(inputs_embeds=states).logits.sum().backward()
    assert states.grad.abs().max() > 0


# -- what is refused ---------------------------------------------------------------------------


def test_no_gpu_and_no_other_number_format(loud, checkpoint):
    for folder, how in ((loud, {"engine": "native"}), (checkpoint, {})):
        with pytest.raises(InputError, match=r"decodes on CPUs only, not on 'cuda'; use device"):
            load_model(folder, "cuda", **how)
        with pytest.raises(InputError, match="does not keep weights in float16; leave"):
            load_model(folder, "cpu", "float16", **how)
    with pytest.raises(InputError, match="no engine 'fast'; use 'auto', 'transformers'"):
        load_model(loud, engine="fast")


def test_an_adapter_of_another_base(checkpoint, tiny_adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    wrong = shutil.copytree(tiny_adapter, tmp_path / "wrong")
    weights = load_file(wrong / "adapter_model.safetensors")
    name = "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"
    save_file(weights | {name: torch.zeros(4, 65)}, wrong / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"down_proj is of shape \[32, 64\]: width 65 does not"):
        load_model(checkpoint, adapter=wrong)


def test_an_adapter_that_says_it_is_of_another_base(loud, tiny_adapter, tmp_path):
    named = on_grid(loud, tmp_path / "named", base="someone/other")
    with pytest.raises(InputError, match=r"was trained on .*, not on someone/other") as caught:
        _ = load_model(named, adapter=tiny_adapter).reader
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint(checkpoint, tmp_path):
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    file = broken / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors is damaged: .*hash") as caught:
        _ = load_model(broken).reader
    assert "\n" not in str(caught.value)


def test_another_architecture(loud, tmp_path):
    other = shutil.copytree(loud, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(InputError, match="models of type 'gpt2' are not supported"):
        _ = load_model(other, engine="native").reader


def test_too_long_a_prompt(native):
    limit = native.reader.decoder.max_positions
    with pytest.raises(InputError, match=str(limit)):
        native.reader.start([tuple([5] * (limit + 1))])


def test_kernels_that_are_not_built(native, monkeypatch):
    from kernels.cpu import library

    def missing():
        raise RuntimeError("the CPU kernels are not built: run pip install -e .")

    monkeypatch.setattr(library, "native", missing)
    with pytest.raises(InputError, match="not built: run pip"):
        native_reader(dataclasses.replace(native))


def test_a_logged_checkpoint_answers_in_mlflow(checkpoint, tmp_path):
    from pipeline.tracking.flavour import QUANTIZED, _load_pyfunc, describe_model

    logged = shutil.copytree(checkpoint, tmp_path / "logged")
    said = {QUANTIZED: "rtn", "base_model": "gone", "prompt": "observed", "vocabulary": "driving"}
    (logged / "MLmodel").write_text(describe_model("quantized", "m", "r", "2026", said))
    writer = _load_pyfunc(str(logged))
    asked = [{"prompt": "turn right at the traffic light", "world": "traffic_light"}]
    (answer,) = writer.predict(asked, {"max_new_tokens": 3})
    assert isinstance(answer, str)
    assert writer._model.hash == load_model(checkpoint).hash
