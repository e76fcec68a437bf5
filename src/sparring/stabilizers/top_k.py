"""Top-k training: G learns only from those fakes of a batch that D takes for the most real.

Sinha et al. 2020 (arXiv:2002.06224, alg. 1): the gradient from bad fakes may point away from the data, so they are left out;
k falls from the batch size by a factor γ an epoch, because early on D's scores mean little.
"""

from __future__ import annotations

import math

from torch import Tensor

from sparring.stabilizers.hooks import Hooks
from sparring.turns import Batch

_DIGITS = 9  # beyond them a product of shares is rounding error, which must not add a sample


class TopK(Hooks):
    """Picks the ``k = max(ν B, γ^epoch B)`` fakes of highest score, rounded up, the epochs counted whole."""

    def __init__(self, floor: float, gamma: float) -> None:
        """Set the schedule.

        Args:
            floor: ν, the share of a batch that G always learns from, above 0.
            gamma: γ, the factor of k from one epoch to the next.
        """
        super().__init__()
        self.floor, self.gamma = floor, gamma

    def chosen(self, fake_logits: Tensor, batch: Batch) -> Tensor | None:
        """Return the indices ``[k]`` of the highest of ``fake_logits [B]``; None where k is B."""
        share = max(self.floor, self.gamma ** int(batch.clock.epoch))
        k = math.ceil(round(share * len(fake_logits), _DIGITS))
        return None if k == len(fake_logits) else fake_logits.topk(k).indices
