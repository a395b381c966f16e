"""Batched sampling from a causal language model: one forward pass per token for many answers.

Every random choice comes from a hash of the request's key and the token's position, never from
shared generator state, so an answer does not depend on which others are in its batch, on the
batch size or on the library's random numbers. What remains is rounding: matrix products of
different batch sizes differ in the last bits, which changes a token only when the drawn number
falls within that distance (about 1e-6 in float32, 1e-2 in bfloat16) of a boundary.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

    from pipeline.models import LanguageModel

Finish = Literal["stop", "list_end", "grammar", "length"]
"""Why an answer ended: the model said so; other text followed its numbered list; the grammar
allows no more; it reached the limit of tokens (and was not complete: within a grammar, what the
text of such an answer holds is its longest beginning that is a sentence of the grammar)."""

_BLOCK = 256
_NUMBERED = re.compile(r"^\s*\d+\s*[.):]", re.MULTILINE)
_AFTER_LIST = re.compile(r"\n[ \t]*\n[ \t]*(?![\s\d*#-])\S")


@dataclass(frozen=True)
class Request:
    """One answer to sample: the prompt's token ids and the key of its random numbers."""

    ids: tuple[int, ...]
    key: str


@dataclass(frozen=True)
class Completion:
    """A sampled answer: its text, the number of tokens sampled for it, and why it ended."""

    text: str
    tokens: int
    finish: Finish


class Constraint(Protocol):
    """What the answers of a batch may say; see `pipeline.grammar.GrammarConstraint`."""

    def mask(self, answers: Sequence[int], logits: torch.Tensor) -> None:
        """Set forbidden entries of ``logits`` [answers, vocabulary] to minus infinity, in place.

        ``answers`` are positions in the batch, one per row.
        """
        ...

    def advance(self, answer: int, token: int) -> bool:
        """Take an answer's next token; True when nothing more may follow."""
        ...

    def constrains(self, answer: int) -> bool:
        """Whether there is anything that an answer may not say."""
        ...

    def shorten(self, answer: int, text: str) -> str:
        """What to keep of a text that the limit of tokens cut off."""
        ...


def uniform(key: str, position: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments (53 bits of SHA-256)."""
    digest = hashlib.sha256(f"{key}:{position}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def list_end(text: str) -> int | None:
    """Where a numbered list ends and other text begins, or None.

    A blank line ends the list when the next line is neither numbered, indented under a bullet,
    a heading nor a bullet; text before the first numbered line does not count.
    """
    first = _NUMBERED.search(text)
    after = _AFTER_LIST.search(text, first.end()) if first else None
    return after.start() if after else None


def choose(
    logits: torch.Tensor, draws: Sequence[float], temperature: float, top_p: float
) -> list[int]:
    """One token per row by inverting the distribution function at the drawn numbers.

    Args:
        logits: [rows, vocabulary], any float type; minus infinity forbids a token.
        draws: One number in [0, 1) per row.
        temperature: Divides the logits; 0 takes the most probable token.
        top_p: Only the fewest most probable tokens that hold this much probability.
    """
    import torch

    if temperature == 0:
        return logits.argmax(dim=-1).tolist()
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    drawn = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None]
    if top_p >= 1:
        return _invert(probabilities, drawn).tolist()
    ordered, order = _head(probabilities, top_p)
    before = ordered.cumsum(dim=-1) - ordered
    kept = ordered.masked_fill(before >= top_p, 0)
    return order.gather(-1, _invert(kept, drawn)[:, None])[:, 0].tolist()


def _head(probabilities: torch.Tensor, top_p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The most probable tokens in descending order, enough of them to hold ``top_p``."""
    # A full sort of 49,152 entries costs as much as a forward pass; 512 nearly always suffice.
    size = probabilities.shape[-1]
    values, order = probabilities.topk(min(512, size), dim=-1)
    if bool((values.sum(dim=-1) >= top_p).all()) or values.shape[-1] == size:
        return values, order
    return probabilities.sort(dim=-1, descending=True)


def _invert(weights: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """The column [rows] of ``weights`` [rows, columns] at which ``drawn`` [rows, 1] falls."""
    import torch

    # By blocks and then within one: a running sum in float64 over a whole vocabulary takes a
    # tenth of a forward pass.
    if missing := -weights.shape[-1] % _BLOCK:
        weights = torch.nn.functional.pad(weights, (0, missing))
    blocks = weights.unflatten(-1, (-1, _BLOCK))
    upto = blocks.double().sum(dim=-1).cumsum(dim=-1)
    total = upto[:, -1:].contiguous()
    target = drawn * total
    # Rounding of the product may step past the last block, and the token, with weight.
    block = torch.minimum(
        torch.searchsorted(upto, target, right=True), torch.searchsorted(upto, total)
    )
    within = blocks.gather(1, block[..., None].expand(-1, -1, _BLOCK))[:, 0]
    before = torch.nn.functional.pad(upto, (1, 0)).gather(1, block)
    cumulative = before + within.cumsum(dim=-1, dtype=torch.float64)
    found = torch.searchsorted(cumulative, target, right=True)[:, 0]
    last = _BLOCK - 1 - (within.flip(-1) > 0).int().argmax(dim=-1)
    return block[:, 0] * _BLOCK + torch.minimum(found, last)


def sample_batch(
    model: LanguageModel,
    requests: Sequence[Request],
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 160,
    constraint: Constraint | None = None,
    on_token: Callable[[int], None] = lambda _rows: None,
) -> list[Completion]:
    """Sample all requests together; what prompts share is read by the model only once.

    Answers that end leave the batch at once. Memory grows with rows x (prompt + new tokens).

    Args:
        model: Weights and tokenizer.
        requests: Prompts and random keys; answers come back in the same order.
        temperature: As `choose`.
        top_p: As `choose`.
        max_new_tokens: Limit per answer.
        constraint: What may be said, if not everything.
        on_token: Called after each forward pass with the number of answers still in work.
    """
    import torch

    sampled: list[list[int]] = [[] for _ in requests]
    finished: dict[int, Completion] = {}
    live = list(range(len(requests)))
    with torch.inference_mode():
        logits, context = model.reader.start([request.ids for request in requests])
        while True:
            if constraint:
                constraint.mask(live, logits)
            draws = [uniform(requests[i].key, len(sampled[i])) for i in live]
            keep = []
            for row, token in enumerate(choose(logits, draws, temperature, top_p)):
                i = live[row]
                if token not in model.stop_ids:
                    sampled[i].append(token)
                finish = _finish(model, sampled[i], token, max_new_tokens, constraint, i)
                if finish:
                    finished[i] = _completion(model, sampled[i], finish, constraint, i)
                else:
                    keep.append(row)
            on_token(len(keep))
            if not keep:
                return [finished[i] for i in range(len(requests))]
            if len(keep) < len(live):
                keep = _closed_up(keep)
                context.select(keep)
                live = [live[row] for row in keep]
            logits = context.read([sampled[i][-1] for i in live])


def _closed_up(rows: Sequence[int]) -> list[int]:
    """``rows`` in an order that leaves most of them where they are: the last ones fill the gaps.

    The cache then moves no more rows than have left the batch.
    """
    staying = {row for row in rows if row < len(rows)}
    late = iter([row for row in rows if row >= len(rows)])
    return [row if row in staying else next(late) for row in range(len(rows))]


def _finish(
    model: LanguageModel,
    sampled: list[int],
    token: int,
    max_new_tokens: int,
    constraint: Constraint | None,
    answer: int,
) -> Finish | None:
    """Why an answer ends with its last token, if it does."""
    if token in model.stop_ids:
        return "stop"
    if constraint and constraint.constrains(answer):
        if constraint.advance(answer, token):
            return "grammar"
    elif list_end(_text(model.tokenizer, sampled)) is not None:
        return "list_end"
    return "length" if len(sampled) >= max_new_tokens else None


def _completion(
    model: LanguageModel,
    sampled: list[int],
    finish: Finish,
    constraint: Constraint | None,
    answer: int,
) -> Completion:
    text = _text(model.tokenizer, sampled)
    if finish == "list_end":
        text = text[: list_end(text)]
    if finish == "length" and constraint:
        text = constraint.shorten(answer, text)
    return Completion(text, len(sampled) + (finish == "stop"), finish)


def _text(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
