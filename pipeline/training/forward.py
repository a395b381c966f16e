"""Log-probabilities of the completions in a shared-prefix row, and their gradient.

Logits exist only chunk by chunk and only where a completion's token is predicted. The gradient
with respect to the hidden states needs the expected output embedding under each prediction; it
is computed along with the logits, so that nothing of the size of the vocabulary is kept.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn import functional

from pipeline.training.prefixes import Row
from verifier.errors import InputError

_CHUNK = 256
"""Predictions whose logits exist at once."""

Tensors = dict[str, torch.Tensor]


def row_tensors(row: Row) -> Tensors:
    """A row as the model takes it: T tokens, P predictions, E completion tokens, S completions.

    ``input_ids`` and ``position_ids`` [1, T]; ``visible`` [1, 1, T, T], which token sees which;
    ``predict`` [P], tokens whose next one is predicted; for each token of a completion,
    ``edge_of`` [E] (which prediction) and ``edge_token`` [E] (which token); ``paths`` [S, L],
    the E-indices of each completion, E where it is shorter than the longest; ``lengths`` [S].
    """
    edges = sorted({node for path in row.paths for node in path})
    edge_index = {node: i for i, node in enumerate(edges)}
    predict = sorted({row.parents[node] for node in edges})
    predict_index = {node: i for i, node in enumerate(predict)}
    longest = max(len(path) for path in row.paths)
    paths = [
        [edge_index[node] for node in path] + [len(edges)] * (longest - len(path))
        for path in row.paths
    ]
    return {
        "input_ids": torch.tensor([row.tokens]),
        "position_ids": torch.tensor([row.depths]),
        "visible": _visible(row)[None, None],
        "predict": torch.tensor(predict),
        "edge_of": torch.tensor([predict_index[row.parents[node]] for node in edges]),
        "edge_token": torch.tensor([row.tokens[node] for node in edges]),
        "paths": torch.tensor(paths),
        "lengths": torch.tensor([len(path) for path in row.paths]),
    }


def _visible(row: Row) -> torch.Tensor:
    size = len(row.tokens)
    visible = torch.zeros(size, size, dtype=torch.bool)
    seen = visible.numpy()
    for node, parent in enumerate(row.parents):
        if parent >= 0:
            seen[node] = seen[parent]
        seen[node, node] = True
    return visible


def add_row_forward(network: Any) -> None:
    """Let ``network(row=row_tensors(...))`` return log-probabilities [S, L] of its completions.

    Entries past a completion's end are 0. With ``distributions=True`` it returns [P, V] instead:
    the log-probability of every token of the vocabulary at every prediction, float32. Called
    without a row, the network is as before.

    Raises:
        InputError: The model does more between hidden states and logits than a linear map.
    """
    config = network.config.get_text_config()
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise InputError(
                f"models with {name} ({config.model_type}) cannot be trained",
                remedy="use a Llama-like model",
            )
    if config._attn_implementation not in ("sdpa", "eager"):
        network.set_attn_implementation("sdpa")
    original = network.forward

    def forward(
        self: Any,
        *args: Any,
        row: Tensors | None = None,
        distributions: bool = False,
        **kwargs: Any,
    ) -> Any:
        if row is None:
            return original(*args, **kwargs)
        return _row_distributions(self, row) if distributions else _row_log_probs(self, row)

    network.forward = types.MethodType(forward, network)


def _row_log_probs(network: Any, row: Tensors) -> torch.Tensor:
    states, (weight, bias) = _predicting_states(network, row), _output_map(network)
    by_edge = edge_log_probs(states, weight, bias, row["edge_of"], row["edge_token"])
    paths = row["paths"]
    return functional.pad(by_edge, (0, 1)).index_select(0, paths.flatten()).view(paths.shape)


def _row_distributions(network: Any, row: Tensors) -> torch.Tensor:
    states, (weight, bias) = _predicting_states(network, row), _output_map(network)
    return torch.log_softmax(
        functional.linear(states.to(weight.dtype), weight, bias).float(), dim=-1
    )


def _predicting_states(network: Any, row: Tensors) -> torch.Tensor:
    """[P, H], hidden states of the tokens whose next one is predicted."""
    hidden = network.base_model(
        input_ids=row["input_ids"],
        attention_mask=_attention_mask(row["visible"], network.dtype),
        position_ids=row["position_ids"],
        use_cache=False,
    ).last_hidden_state[0]
    return hidden.index_select(0, row["predict"])


def _output_map(network: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    head = network.get_output_embeddings()
    return _whole(head.weight), _whole(getattr(head, "bias", None))


def _attention_mask(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if visible.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return visible
    # torch's CPU kernel would convert a boolean mask in every layer.
    mask = torch.zeros(visible.shape, dtype=dtype)
    return mask.masked_fill_(~visible, float("-inf"))


def _whole(parameter: Any) -> Any:
    """The parameter itself, gathered from all processes if FSDP holds it in parts."""
    return parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter


def edge_log_probs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    edge_of: torch.Tensor,
    edge_token: torch.Tensor,
) -> torch.Tensor:
    """log P(token) for E (prediction, token) edges, differentiable in ``hidden`` only.

    Args:
        hidden: [P, H], one hidden state per prediction.
        weight: [V, H], the output embedding; frozen.
        bias: [V] or None.
        edge_of: [E], the prediction an edge belongs to.
        edge_token: [E], its token.

    Returns:
        [E] float32 (float64 for a model in float64).
    """
    return _EdgeLogProbs.apply(hidden, weight.detach(), bias, edge_of, edge_token)


class _EdgeLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        edge_of: torch.Tensor,
        edge_token: torch.Tensor,
    ) -> torch.Tensor:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        device = hidden.device.type
        if torch.is_autocast_enabled(device):  # once, and not for every chunk
            weight = weight.to(torch.get_autocast_dtype(device))
        states = hidden.to(weight.dtype)
        wanted = ctx.needs_input_grad[0]
        found = torch.empty(len(edge_of), dtype=exact, device=hidden.device)
        expected = torch.empty(hidden.shape, dtype=exact, device=hidden.device) if wanted else None
        for start in range(0, len(states), _CHUNK):
            part = slice(start, start + _CHUNK)
            logits = functional.linear(states[part], weight, bias).to(exact)
            log_probs = torch.log_softmax(logits, dim=-1)
            here = (edge_of >= start) & (edge_of < start + _CHUNK)
            found[here] = log_probs[edge_of[here] - start, edge_token[here]]
            if expected is not None:
                expected[part] = log_probs.exp_().to(weight.dtype) @ weight
        if expected is not None:
            ctx.save_for_backward(weight, edge_of, edge_token, expected)
        ctx.dtype = hidden.dtype
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        (gradient,) = gradients
        weight, edge_of, edge_token, expected = ctx.saved_tensors
        total = torch.zeros(len(expected), dtype=expected.dtype, device=expected.device)
        total.index_add_(0, edge_of, gradient)
        result = expected * -total[:, None]
        result.index_add_(0, edge_of, weight[edge_token].to(expected.dtype) * gradient[:, None])
        return result.to(ctx.dtype), None, None, None, None
