"""Preference pairs, grouped by prompt, as texts and as tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.files import read_rows
from pipeline.prompts import Message, Prompt, chat_text
from verifier.errors import InputError


@dataclass(frozen=True)
class Pair:
    """Two completions of one prompt, by index.

    Attributes:
        chosen: The better one.
        rejected: The worse one.
        weight: How often the pair counts.
    """

    chosen: int
    rejected: int
    weight: int = 1


@dataclass(frozen=True)
class PromptGroup:
    """All pairs of one prompt.

    Attributes:
        messages: The conversation up to the answer.
        completions: The different answers that stand in pairs.
        pairs: Which is preferred to which.
    """

    messages: tuple[Message, ...]
    completions: tuple[str, ...]
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class TokenGroup:
    """A `PromptGroup` as token ids.

    Attributes:
        prompt: Up to where the answer starts.
        completions: Each with the tokens that end a turn.
        pairs: As in the group.
    """

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]


def load_groups(path: Path) -> list[PromptGroup]:
    """The rows of a pairs.jsonl, grouped by prompt in order of first appearance.

    Raises:
        InputError: The file is missing or a row is not a pair.
    """
    found = []
    for number, row in enumerate(read_rows(path), start=1):
        try:
            messages = tuple(Message(m["role"], m["content"]) for m in row["prompt"]["messages"])
            texts = (row["chosen"]["text"], row["rejected"]["text"])
            if not messages or not all(isinstance(text, str) for text in texts):
                raise TypeError
        except (KeyError, TypeError):
            raise InputError(
                "is not a preference pair",
                file=path,
                place=f"line {number}",
                remedy="needs prompt.messages, chosen.text and rejected.text",
            ) from None
        found.append((messages, *texts))
    return group_pairs(found)


def group_pairs(rows: Iterable[tuple[Sequence[Message], str, str]]) -> list[PromptGroup]:
    """Groups of (messages, chosen, rejected) rows; a pair given n times has the weight n."""
    groups: dict[tuple[Message, ...], dict[tuple[str, str], int]] = {}
    for messages, chosen, rejected in rows:
        pairs = groups.setdefault(tuple(messages), {})
        pairs[chosen, rejected] = pairs.get((chosen, rejected), 0) + 1
    return [_group(messages, pairs) for messages, pairs in groups.items()]


def _group(messages: tuple[Message, ...], pairs: dict[tuple[str, str], int]) -> PromptGroup:
    index: dict[str, int] = {}
    for pair in pairs:
        for text in pair:
            index.setdefault(text, len(index))
    return PromptGroup(
        messages,
        tuple(index),
        tuple(Pair(index[c], index[r], weight) for (c, r), weight in pairs.items()),
    )


def tokenized(tokenizer: Any, group: PromptGroup) -> TokenGroup:
    """Token ids as the model sees them when it answers.

    A completion is what the chat format puts behind the prompt for it, the tokens that end the
    turn included; without a chat format, the text and the end-of-text token. trl's tokens are
    the same unless a completion's start would merge with the prompt's end.
    """
    prompt = Prompt("", "", group.messages)
    start = chat_text(tokenizer, prompt)
    endings = [_ending(tokenizer, prompt, start, text) for text in group.completions]

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    return TokenGroup(ids(start), tuple(map(ids, endings)), group.pairs)


def _ending(tokenizer: Any, prompt: Prompt, start: str, text: str) -> str:
    if getattr(tokenizer, "chat_template", None) is None:
        return text + tokenizer.eos_token
    answered = [*prompt.chat(), {"role": "assistant", "content": text}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    # Some formats render earlier turns differently once there is an answer.
    return whole[len(start) :] if whole.startswith(start) else text + tokenizer.eos_token
