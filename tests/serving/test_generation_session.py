"""Sessions against decoding step by step, one sequence at a time, with transformers."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_models import CONFIGS, VOCABULARY, dense_network, distance, quantized_model

from serving.blocks import BlockAllocator
from serving.decoder import ServedDecoder, make_decoder
from serving.errors import ServingError
from serving.generation import DecoderSession, logits_of


@pytest.fixture(scope="module")
def decoder() -> ServedDecoder:
    return make_decoder(quantized_model("llama", "zero_points"), Path("made"))


def _alone(decoder: ServedDecoder, ids: list[int]) -> torch.Tensor:
    """Logits after the last token of a sequence, read by itself."""
    return logits_of(decoder, [ids])[0][-1]


def _same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for keys and values whose rounding to bfloat16 turned on a float32's last bit."""
    assert distance(found, wanted) < 0.01


@pytest.mark.parametrize("kind", CONFIGS)
def test_greedy_answers_are_those_of_transformers(kind: str) -> None:
    model = quantized_model(kind, seed=3)
    network: Any = dense_network(model)
    session = DecoderSession(make_decoder(model, Path("made")), block_size=8, chunk=16)
    draw = random.Random(1)
    prompts = [[draw.randrange(3, VOCABULARY) for _ in range(n)] for n in (5, 17, 1, 30)]
    logits = session.read(prompts)
    said: list[list[int]] = [[] for _ in prompts]
    for _ in range(12):
        chosen = logits.argmax(dim=-1).tolist()
        for answer, token in zip(said, chosen, strict=True):
            answer.append(token)
        logits = session.step(chosen)
    for prompt, answer in zip(prompts, said, strict=True):
        with torch.inference_mode():
            ids = torch.tensor([prompt + answer])
            theirs = network(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        # Keys and values in bfloat16 may decide between two that are nearly equal.
        best = theirs.max(dim=-1).values
        ours = theirs.gather(-1, torch.tensor(answer)[:, None])[:, 0]
        assert float((best - ours).max()) < 0.02 * float(theirs.std())


def test_steps_equal_reading_at_once(decoder: ServedDecoder) -> None:
    draw = random.Random(2)
    ids = [draw.randrange(VOCABULARY) for _ in range(50)]
    session = DecoderSession(decoder, block_size=4, chunk=7, capacity=8)
    at_once = logits_of(decoder, [ids])[0]
    _same(session.read([ids[:20]])[0], at_once[19])
    several = session.extend([ids[20:35]], keep=15)[0]
    _same(several, at_once[20:35])
    for place in range(35, 50):
        logits = session.step([ids[place]])
        _same(logits[0], at_once[place])
    assert session.lengths == (50,)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_course_of_a_session(decoder: ServedDecoder, data: st.DataObject) -> None:
    """Reading, stepping, forking and dropping in any order: each row is as if it were alone."""
    draw = random.Random(data.draw(st.integers(0, 2**31)))
    session = DecoderSession(
        decoder, block_size=draw.choice((4, 8)), chunk=draw.choice((3, 8, 64)), capacity=8
    )
    rows: list[list[int]] = []
    for _ in range(data.draw(st.integers(1, 6))):
        action = data.draw(st.sampled_from(["read", "step", "extend", "select"]))
        logits = None
        if action == "read" or not rows:
            start = [draw.randrange(VOCABULARY) for _ in range(draw.randrange(12))]
            new = [
                start[: draw.randrange(13)] + [draw.randrange(VOCABULARY) for _ in range(length)]
                for length in draw.choices((1, 2, 5, 9), k=draw.randrange(1, 4))
            ]
            new += draw.choices(new, k=draw.randrange(2))
            logits = session.read(new)
            rows += new
            for place, row in enumerate(new):
                _same(logits[place], _alone(decoder, row))
        elif action == "step":
            added = [draw.randrange(VOCABULARY) for _ in rows]
            logits = session.step(added)
            rows = [[*row, token] for row, token in zip(rows, added, strict=True)]
        elif action == "extend":
            more = [[draw.randrange(VOCABULARY) for _ in range(draw.randrange(2, 6))] for _ in rows]
            logits = session.extend(more, keep=2)[:, -1]
            rows = [row + ids for row, ids in zip(rows, more, strict=True)]
        else:
            kept = draw.choices(range(len(rows)), k=draw.randrange(1, 5))
            session.select(kept)
            rows = [list(rows[place]) for place in kept]
        if action in ("step", "extend") and logits is not None:
            for place, row in enumerate(rows):
                _same(logits[place], _alone(decoder, row))
        assert session.lengths == tuple(map(len, rows))
    session.select([])
    assert session.blocks_used == 0


def test_what_prompts_share_is_read_once(decoder: ServedDecoder) -> None:
    draw = random.Random(4)
    start = [draw.randrange(VOCABULARY) for _ in range(70)]
    prompts = [[*start, 5, 6], [*start, 9], [*start, 5, 6], start]
    session = DecoderSession(decoder, block_size=16)
    counted: list[int] = []
    plain = ServedDecoder.forward

    def counting(self: ServedDecoder, pieces: Any, cache: Any) -> Any:
        counted.append(sum(len(piece.tokens) for piece in pieces))
        return plain(self, pieces, cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServedDecoder, "forward", counting)
        logits = session.read(prompts)
    # 64 tokens fill four blocks; what comes after them is read for each that is different.
    assert sum(counted) == 64 + (72 - 64) + (71 - 64) + (70 - 64)
    assert session.blocks_used == 4 + 3
    for row, prompt in enumerate(prompts):
        _same(logits[row], _alone(decoder, prompt))


def test_forks_do_not_write_to_each_other(decoder: ServedDecoder) -> None:
    prompt = list(range(10, 20))
    session = DecoderSession(decoder, block_size=16)
    session.read([prompt])
    session.select([0] * 5)
    assert session.blocks_used == 1
    rows = [list(prompt) for _ in range(5)]
    for turn in range(12):
        added = [30 + 7 * row + turn for row in range(5)]
        logits = session.step(added)
        rows = [[*row, token] for row, token in zip(rows, added, strict=True)]
    for place, row in enumerate(rows):
        _same(logits[place], _alone(decoder, row))
    session.close()
    assert session.rows == session.blocks_used == 0


def test_long_sequences_grow_the_memory(decoder: ServedDecoder) -> None:
    session = DecoderSession(decoder, block_size=4, capacity=4)
    ids = [random.Random(7).randrange(VOCABULARY) for _ in range(100)]
    logits = session.read([ids, ids[:50]])
    _same(logits[0], _alone(decoder, ids))
    _same(logits[1], _alone(decoder, ids[:50]))


@pytest.mark.parametrize("kv", ["int8", "int4"])
def test_forks_of_quantized_keys_are_copies(kv: str) -> None:
    model = quantized_model("qwen3")
    decoder = make_decoder(model, Path("made"), kv=kv)  # type: ignore[arg-type]
    session = DecoderSession(decoder, block_size=8)
    session.read([[5, 6, 7]])
    session.select([0, 0])
    session.step([8, 9])
    logits = session.step([10, 11])
    for place, row in enumerate(([5, 6, 7, 8, 10], [5, 6, 7, 9, 11])):
        _same(logits[place], _alone(decoder, row))


def test_bad_input_changes_nothing(decoder: ServedDecoder) -> None:
    session = DecoderSession(decoder, block_size=8)
    session.read([[1, 2, 3]])
    held = session.blocks_used
    for prompts, match in (
        ([[]], "empty"),
        ([[1], [VOCABULARY]], f"token {VOCABULARY} is not among"),
        ([[-1]], "token -1"),
        ([[1] * 129], "129 tokens are more than the model's 128"),
    ):
        with pytest.raises(ServingError, match=match):
            session.read(prompts)
    with pytest.raises(ServingError, match="no adapter 'other'"):
        session.read([[1]], ["other"])
    with pytest.raises(ServingError, match="more than the model's"):
        session.extend([[1] * 126])
    with pytest.raises(ServingError, match="token 999"):
        session.step([999])
    with pytest.raises(ValueError, match="2 sequences of tokens for 1 rows"):
        session.step([1, 2])
    with pytest.raises(ValueError, match="at least 2 tokens"):
        session.extend([[1]], keep=2)
    with pytest.raises(ValueError, match="of 1"):
        session.select([1])
    assert (session.lengths, session.blocks_used) == ((3,), held)
    _same(session.step([4])[0], _alone(decoder, [1, 2, 3, 4]))


def test_a_window_is_said_to_be_the_reason() -> None:
    model = quantized_model("mistral")
    model.config["sliding_window"] = 20
    session = DecoderSession(make_decoder(model, Path("made")))
    session.read([[1] * 20])
    with pytest.raises(ServingError, match=r"model's 20 \(its attention's window\)"):
        session.step([1])


def test_nothing_to_do(decoder: ServedDecoder) -> None:
    session = DecoderSession(decoder)
    assert session.read([]).shape == (0, VOCABULARY)
    assert session.step([]).shape == (0, VOCABULARY)
    assert logits_of(decoder, []) == []


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 6))
def test_blocks_are_never_given_out_twice(actions: list[int], start: int) -> None:
    allocator = BlockAllocator(start, limit=12)
    held: list[int] = []
    draw = random.Random(len(actions))
    for action in actions:
        if action == 0 and allocator.free:
            block = allocator.take()
            assert block not in held
            held.append(block)
        elif action == 1 and held:
            allocator.share(block := draw.choice(held))
            held.append(block)
        elif action == 2 and held:
            held.remove(block := draw.choice(held))
            allocator.drop(block)
        assert allocator.free == allocator.blocks - len(set(held))
        for block, times in itertools.groupby(sorted(held)):
            assert allocator.holders(block) == len(list(times))
        if not allocator.free and allocator.blocks < 12:
            allocator.grow(1)
    while allocator.free:
        allocator.take()
    with pytest.raises(ServingError, match="no free block"):
        allocator.take()
    with pytest.raises(ServingError, match="no room for 13"):
        allocator.grow(13 - allocator.blocks)
