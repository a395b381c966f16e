"""LoRA adapters: read, refused, kept in pages, and applied as peft applies them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import dense_network, distance, network_logits, quantized_model
from made_models import random_tokens as tokens
from safetensors.torch import load_file, save_file

from serving.adapters import AdapterStore, read_adapter, usual_page_size
from serving.checkpoint import QuantizedModel
from serving.decoder import ServedDecoder, make_decoder
from serving.errors import ServingError
from serving.generation import DecoderSession, logits_of
from serving.pages import PagePool

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

MODEL = quantized_model("llama", "zero_points")


def make_adapter(folder: Path, seed: int, rank: int = 4, **options: Any) -> Path:
    """A random adapter in peft's format."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    options = {"target_modules": ALL, "lora_alpha": 2 * rank, "init_lora_weights": False, **options}
    network = get_peft_model(dense_network(MODEL), LoraConfig(r=rank, **options))
    network.save_pretrained(str(folder))
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "elsewhere/Tiny"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def peft_logits(folder: Path | None, ids: list[int]) -> torch.Tensor:
    from peft import PeftModel

    network: Any = dense_network(MODEL)
    if folder is not None:
        network = PeftModel.from_pretrained(network, str(folder))
    return network_logits(network, ids)


@pytest.fixture
def decoder() -> ServedDecoder:
    return make_decoder(MODEL, Path("made"))


KINDS: dict[str, dict[str, Any]] = {
    "all": {},
    "rank 1": {"rank": 1},
    "attention only": {"target_modules": ["q_proj", "v_proj"], "rank": 8},
    "one layer": {"layers_to_transform": [1], "rank": 3},
    "rank-stabilised": {"use_rslora": True, "rank": 9},
    "ranks by layer": {
        "rank_pattern": {"q_proj": 2, "model.layers.1.mlp.down_proj": 7},
        "alpha_pattern": {"up_proj": 5, "layers.0.self_attn.o_proj": 24},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_do_what_peft_does(tmp_path: Path, decoder: ServedDecoder, kind: str) -> None:
    folder = make_adapter(tmp_path / "a", seed=3, **KINDS[kind])
    decoder.load_adapter("a", folder)
    ids = tokens(30)
    wanted, base = peft_logits(folder, ids), peft_logits(None, ids)
    found = logits_of(decoder, [ids], adapter="a", chunk=11)[0]
    assert distance(base, wanted) > 0.05
    assert distance(found, wanted) < 0.01
    assert distance(logits_of(decoder, [ids])[0], base) < 0.01


def test_rows_with_different_adapters(tmp_path: Path, decoder: ServedDecoder) -> None:
    folders = {
        name: make_adapter(tmp_path / name, seed=number, **options)
        for number, (name, options) in enumerate(KINDS.items())
    }
    for name, folder in folders.items():
        decoder.load_adapter(name, folder)
    names = [None, *folders, None, "rank 1", *folders]
    start = tokens(20)
    prompts = [[*start, *tokens(1 + number % 5, seed=number)] for number in range(len(names))]
    session = DecoderSession(decoder, block_size=8, chunk=48)
    logits = session.read(prompts, names)
    for row, name in enumerate(names):
        wanted = peft_logits(folders[name] if name else None, prompts[row])[-1]
        assert distance(logits[row], wanted) < 0.01
    kept = list(range(len(names)))[::2]
    session.select(kept)
    added = tokens(len(kept), seed=50)
    logits = session.step(added)
    for place, row in enumerate(kept):
        name = names[row]
        wanted = peft_logits(folders[name] if name else None, [*prompts[row], added[place]])[-1]
        assert distance(logits[place], wanted) < 0.01


def test_beginnings_are_not_shared_between_adapters(tmp_path: Path, decoder: ServedDecoder) -> None:
    decoder.load_adapter("a", make_adapter(tmp_path / "a", seed=1))
    ids = tokens(40)
    session = DecoderSession(decoder, block_size=8)
    logits = session.read([ids, ids], ["a", None])
    assert session.blocks_used == 10
    assert distance(logits[0], peft_logits(tmp_path / "a", ids)[-1]) < 0.01
    assert distance(logits[1], peft_logits(None, ids)[-1]) < 0.01


def test_unloading_frees_pages_for_others(tmp_path: Path, decoder: ServedDecoder) -> None:
    folders = [make_adapter(tmp_path / str(n), seed=n, rank=2 + n) for n in range(3)]
    ids = tokens(20)
    for number, folder in enumerate(folders):
        decoder.load_adapter(str(number), folder)
    with pytest.raises(ServingError, match="'1' is loaded already"):
        decoder.load_adapter("1", folders[0])
    used = decoder.store.pool.used
    decoder.unload_adapter("1")
    assert decoder.store.pool.used < used
    with pytest.raises(ServingError, match=r"no adapter '1'; loaded are: 0, 2"):
        logits_of(decoder, [ids], adapter="1")
    with pytest.raises(ServingError, match="no adapter '1'"):
        decoder.unload_adapter("1")
    decoder.load_adapter("again", folders[1])
    assert decoder.store.pool.used == used
    for name, folder in (("0", folders[0]), ("again", folders[1]), ("2", folders[2])):
        found = logits_of(decoder, [ids], adapter=name)[0]
        assert distance(found, peft_logits(folder, ids)) < 0.01
    for name in ("0", "again", "2"):
        decoder.unload_adapter(name)
    assert decoder.store.pool.used == 0
    assert decoder.adapter_names == ()


def test_a_full_pool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    architecture = MODEL.architecture
    small = read_adapter(make_adapter(tmp_path / "a", seed=1, rank=1), architecture)
    large = read_adapter(make_adapter(tmp_path / "b", seed=2, rank=16), architecture)
    store = AdapterStore(architecture, page_size=64, limit=60)
    store.load("small", small)
    before = store.pool.used
    with pytest.raises(ServingError, match="no room for an adapter"):
        store.load("large", large)
    assert store.pool.used == before
    assert store.names == ("small",)


def test_pages_of_zeros_stay_zeros(tmp_path: Path) -> None:
    adapter = read_adapter(make_adapter(tmp_path / "a", seed=1), MODEL.architecture)
    store = AdapterStore(MODEL.architecture)
    for turn in range(3):
        store.load(str(turn), adapter)
    assert not bool(store.pool.data[0].any())


def _change(folder: Path, change: dict[str, Any]) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"peft_type": "IA3"}, "of the kind 'IA3'"),
        ({"use_dora": True}, "uses use_dora, which is not supported"),
        ({"bias": "all"}, "uses bias: all"),
        ({"modules_to_save": ["lm_head"]}, "uses modules_to_save"),
    ],
)
def test_other_kinds_are_refused(
    tmp_path: Path, decoder: ServedDecoder, change: dict[str, Any], match: str
) -> None:
    folder = make_adapter(tmp_path / "a", seed=1)
    _change(folder, change)
    with pytest.raises(ServingError, match=match):
        decoder.load_adapter("a", folder)
    assert decoder.store.pool.used == 0


def test_adapters_that_do_not_fit_are_refused(tmp_path: Path, decoder: ServedDecoder) -> None:
    folder = make_adapter(tmp_path / "a", seed=1)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(str(file))
    place = "base_model.model.model.layers.0.mlp.up_proj"

    def refuse(changed: dict[str, torch.Tensor], match: str) -> None:
        save_file(changed, str(file))
        with pytest.raises(ServingError, match=match) as error:
            decoder.load_adapter("a", folder)
        assert "\n" not in str(error.value)
        assert decoder.store.pool.used == 0

    wide = {**tensors, f"{place}.lora_B.weight": torch.zeros(128, 4)}
    refuse(wide, r"layer model.layers.0.mlp.up_proj is of shape \[96, 64\], not \[128, 64\]")
    beyond = {name.replace("layers.1.", "layers.2."): t for name, t in tensors.items()}
    refuse(beyond, "which has no layer model.layers.2")
    half = {name: t for name, t in tensors.items() if name != f"{place}.lora_A.weight"}
    refuse(half, "lacks its lora_A or lora_B")
    ranks = {**tensors, f"{place}.lora_A.weight": torch.zeros(3, 64)}
    refuse(ranks, "do not fit each other")
    refuse({**tensors, "base_model.model.lm_head.lora_A.weight": torch.ones(4, 64)}, "cannot adapt")
    broken = {**tensors, f"{place}.lora_A.weight": torch.full((4, 64), torch.nan)}
    refuse(broken, "not finite")
    large = {**tensors, f"{place}.lora_A.weight": torch.full((4, 64), 1e6)}
    refuse(large, "not finite in float16")
    refuse({}, "adapter is empty")
    save_file(tensors, str(file))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ServingError, match="damaged"):
        decoder.load_adapter("a", folder)
    with pytest.raises(ServingError, match="no such file"):
        decoder.load_adapter("a", tmp_path)


def test_the_base_must_be_the_one_trained_on(tmp_path: Path, decoder: ServedDecoder) -> None:
    folder = make_adapter(tmp_path / "a", seed=1)
    decoder.load_adapter("same name, other owner", folder)
    _change(folder, {"base_model_name_or_path": "meta-llama/Llama-3.2-1B"})
    with pytest.raises(
        ServingError, match=r"trained on meta-llama/Llama-3\.2-1B, not on made/tiny"
    ):
        decoder.load_adapter("other name", folder)
    from dataclasses import replace

    _change(folder, {"base_model_name_or_path": "made/tiny", "base_hash": "sha256:aa"})
    decoder.load_adapter("hash of one side only", folder)
    hashed = replace(MODEL, header=replace(MODEL.header, base_hash="sha256:bb"))
    with pytest.raises(ServingError, match="trained on other weights"):
        make_decoder(hashed, Path("made")).load_adapter("other hash", folder)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 70)), max_size=8), st.data())
@settings(deadline=None)
def test_pages_hold_what_was_stored(shapes: list[tuple[int, int]], data: st.DataObject) -> None:
    pool = PagePool(32, torch.float32)
    held: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number, (rows, width) in enumerate(shapes):
        if held and data.draw(st.booleans()):
            pages, _ = held.pop(data.draw(st.integers(0, len(held) - 1)))
            pool.release(pages)
        values = torch.randn(rows, width, generator=torch.Generator().manual_seed(number))
        held.append((pool.store(values), values))
    taken = [page for pages, _ in held for page in pages.flatten().tolist()]
    assert len(set(taken)) == len(taken) == pool.used
    assert 0 not in taken
    for pages, values in held:
        found = pool.data[pages.long()].flatten(1)[:, : values.shape[1]]
        assert torch.equal(found, values)


def test_page_sizes_divide_widths() -> None:
    architecture = MODEL.architecture
    assert usual_page_size(architecture) == 64
    from dataclasses import replace

    smollm = replace(architecture, hidden=576, intermediate=1536, heads=9, kv_heads=3, head_dim=64)
    assert usual_page_size(smollm) == 192
    seven = replace(
        architecture, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128
    )
    assert usual_page_size(seven) == 256


@pytest.mark.model
def test_shipped_champion_runs_on_the_embedded_base(embedded: QuantizedModel) -> None:
    from pipeline.models import load_model

    champion = Path(__file__).parents[2] / "models" / "champion"
    decoder = make_decoder(embedded, Path("made"))
    decoder.load_adapter("champion", champion)
    merged = load_model("smollm2", device="cpu", dtype="float32", adapter=champion)
    ids = merged.tokenizer("Steps for turning right: 1. Observe the traffic light.").input_ids
    wanted = network_logits(merged.model, ids)
    found = logits_of(decoder, [ids], adapter="champion")[0]
    assert distance(found, wanted) < 0.01
    assert distance(logits_of(decoder, [ids])[0], wanted) > 0.05
