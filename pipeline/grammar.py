"""Constrained decoding with llguidance: a model can only say what a grammar allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from verifier.errors import InputError

if TYPE_CHECKING:
    import torch

    from pipeline.models import LanguageModel


class GrammarConstraint:
    """A `pipeline.decoding.Constraint`: the answers of a batch, each within its own grammar.

    Args:
        model: Its tokenizer decides which tokens spell which texts.
        grammars: One per answer, in Lark syntax as llguidance reads it; None allows everything.

    Raises:
        InputError: A grammar is not valid.
    """

    def __init__(self, model: LanguageModel, grammars: Sequence[str | None]) -> None:
        from llguidance import LLMatcher

        self._tokenizer = model.grammar_tokenizer
        fresh = {g: LLMatcher(self._tokenizer, g) for g in set(grammars) if g is not None}
        for matcher in fresh.values():
            _check(matcher, "is not valid")
        self._fresh = [fresh[g] if g is not None else None for g in grammars]
        self._matchers = [m.deep_copy() if m is not None else None for m in self._fresh]

    def mask(self, answers: Sequence[int], logits: torch.Tensor) -> None:
        """Set the entries of ``logits`` that an answer may not go on with to minus infinity."""
        import numpy
        import torch

        size = logits.shape[-1]
        # One bit per token; answers without a grammar keep all bits.
        words = numpy.full((len(answers), (size + 31) // 32), -1, dtype=numpy.int32)
        for row, answer in enumerate(answers):
            matcher = self._matchers[answer]
            if matcher is not None:
                matcher.unsafe_compute_mask_ptr(words[row].ctypes.data, words[row].nbytes)
                _check(matcher, "cannot be followed")
        bits = numpy.unpackbits(words.view(numpy.uint8), axis=1, bitorder="little")[:, :size]
        logits.masked_fill_(torch.from_numpy(bits == 0).to(logits.device), float("-inf"))

    def advance(self, answer: int, token: int) -> bool:
        """Take an answer's next token; True when nothing more may follow."""
        matcher = self._matchers[answer]
        if matcher is None:
            return False
        matcher.consume_token(token)
        _check(matcher, "cannot be followed")
        return matcher.is_stopped()

    def constrains(self, answer: int) -> bool:
        """Whether an answer has a grammar."""
        return self._matchers[answer] is not None

    def shorten(self, answer: int, text: str) -> str:
        """The longest beginning of a cut-off text that the grammar takes for a whole one.

        The text itself if there is none.
        """
        fresh = self._fresh[answer]
        if fresh is None:
            return text
        matcher, end = fresh.deep_copy(), 0
        for position, character in enumerate(text, start=1):
            if not all(matcher.consume_token(t) for t in self._tokenizer.tokenize_str(character)):
                break
            if matcher.is_accepting():
                end = position
        return text[:end] if end else text


def _check(matcher: Any, what: str) -> None:
    if matcher.is_error():
        reason = " ".join(matcher.get_error().split())
        raise InputError(f"the grammar {what}: {reason}", remedy="see llguidance's Lark syntax")
