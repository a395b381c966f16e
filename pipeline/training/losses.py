"""What training minimizes: trl's definitions, on log-probabilities of whole completions.

With r = log π(y|x) - log π_ref(y|x) of the chosen (+) and the rejected (-) completion and |y| its
number of tokens, an update minimizes the mean over its pairs of

* ``sigmoid``: -log σ(β (r⁺ - r⁻)), the original DPO;
* ``ipo``: (r⁺/|y⁺| - r⁻/|y⁻| - 1/(2β))²;

plus ``sft_weight`` times the mean over all tokens of its chosen completions of -log π(token). In
trl's terms: ``loss_type=[loss, "sft"], loss_weights=[1, sft_weight]``. The method ``sft``
minimizes that last mean alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from pipeline.training.batches import RowContent
from pipeline.training.settings import TrainSettings


@dataclass(frozen=True)
class Losses:
    """What a row adds to an update's loss; scalars.

    Attributes:
        total: To be minimized.
        preference: Of pairs, None without pairs.
        imitation: Mean negative log-likelihood of chosen tokens, its weight left out.
    """

    total: torch.Tensor
    preference: torch.Tensor | None
    imitation: torch.Tensor


def row_losses(
    log_probs: torch.Tensor,
    reference: torch.Tensor | None,
    content: RowContent,
    settings: TrainSettings,
) -> Losses:
    """The row's share of the update's losses.

    Args:
        log_probs: [S], of each completion under the policy.
        reference: [S], under the reference; None for the method ``sft``.
        content: What the row holds.
        settings: Method, loss and weights.
    """
    lengths = log_probs.new_tensor(content.lengths)
    chosen = torch.tensor(content.chosen, device=log_probs.device)
    likelihood = log_probs.index_select(0, chosen)
    tokens = lengths.index_select(0, chosen)
    imitation = -content.token_share * likelihood.sum() / tokens.sum()
    if settings.method == "sft" or reference is None:
        return Losses(imitation, None, imitation)
    rejected = torch.tensor(content.rejected, device=log_probs.device)
    ratios = log_probs - reference
    pairs = pair_losses(
        ratios.index_select(0, chosen),
        ratios.index_select(0, rejected),
        tokens,
        lengths.index_select(0, rejected),
        settings,
    )
    preference = content.item_share * pairs.mean()
    total = preference + settings.sft_weight * imitation if settings.sft_weight else preference
    return Losses(total, preference, imitation)


def pair_losses(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    chosen_tokens: torch.Tensor,
    rejected_tokens: torch.Tensor,
    settings: TrainSettings,
) -> torch.Tensor:
    """DPO's loss of each pair.

    Args:
        chosen: [N], log-ratios to the reference.
        rejected: [N], the same.
        chosen_tokens: [N], lengths.
        rejected_tokens: [N], lengths.
        settings: Loss and β.
    """
    if settings.loss == "ipo":
        difference = chosen / chosen_tokens - rejected / rejected_tokens
        return (difference - 1 / (2 * settings.beta)) ** 2
    return -functional.logsigmoid(settings.beta * (chosen - rejected))
