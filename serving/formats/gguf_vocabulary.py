"""The tokenizer in a GGUF file's metadata, written from the files of a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf

from serving.errors import ServingError
from serving.folders import read_json

# How llama.cpp calls ways to split text before byte-pair merges, by the pattern that marks them.
_SPLITS = {
    r"\p{N}{1,3}": "llama-bpe",
    r"|\p{N}|": "qwen2",
}


def add_vocabulary(writer: gguf.GGUFWriter, folder: Path, size: int) -> None:
    """Write tokens, merges, special tokens and the chat template.

    Args:
        writer: Takes the metadata.
        folder: Holds tokenizer.json and config.json.
        size: Entries of the model's embedding; those without a token are marked unused.

    Raises:
        ServingError: No tokenizer.json, or a kind of tokenizer that llama.cpp does not name.
    """
    content = read_json(folder / "tokenizer.json")
    model: dict[str, Any] = content.get("model") or {}
    if model.get("type") != "BPE":
        raise ServingError(
            f"a tokenizer of type {model.get('type')!r} cannot be written to GGUF",
            remedy="convert from a GGUF file, whose tokenizer is copied",
        )
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=size)
    pieces = bool(model.get("byte_fallback"))
    tokens, kinds = _tokens(content, size)
    if pieces:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores(_scores(tokens, special.merges))
        special.merges = []
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_split(content))
        writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    # Without a word on it, llama.cpp would add one to some kinds of tokenizer.
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)
    prefix = "Metaspace" in str(content.get("pre_tokenizer")) or "Prepend" in str(
        content.get("normalizer")
    )
    writer.add_add_space_prefix(pieces and prefix)


def _tokens(content: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Texts and kinds of all entries."""
    vocabulary: dict[str, int] = content["model"].get("vocab") or {}
    tokens = [f"[PAD{i}]" for i in range(size)]
    kinds = [int(gguf.TokenType.UNUSED)] * size
    for text, number in vocabulary.items():
        if number < size:
            byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
            tokens[number] = text
            kinds[number] = int(gguf.TokenType.BYTE if byte else gguf.TokenType.NORMAL)
    for added in content.get("added_tokens") or ():
        number = int(added["id"])
        if number < size:
            tokens[number] = added["content"]
            kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
            kinds[number] = int(kind)
    return tokens, kinds


def _scores(tokens: list[str], merges: list[str]) -> list[float]:
    """Of what merging gives: the earlier, the higher; as llama.cpp merges by highest score."""
    rank: dict[str, int] = {}
    for number, merge in enumerate(merges):
        rank.setdefault(merge.replace(" ", ""), number)
    return [-float(rank.get(token, len(merges))) for token in tokens]


def _split(content: dict[str, Any]) -> str:
    """What llama.cpp calls the way of splitting text before merges."""
    steps: dict[str, Any] = content.get("pre_tokenizer") or {}
    members = steps.get("pretokenizers") or [steps]
    kinds = [member.get("type") for member in members]
    if kinds == ["ByteLevel"] and members[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and members[0].get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"]:
        pattern = str((members[0].get("pattern") or {}).get("Regex"))
        for mark, name in _SPLITS.items():
            if mark in pattern:
                return name
    steps_named = ", ".join(map(str, kinds))
    raise ServingError(
        f"the tokenizer splits text in a way that llama.cpp does not name ({steps_named})",
        remedy="convert from a GGUF file, whose tokenizer is copied",
    )
