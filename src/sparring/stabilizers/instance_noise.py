"""Instance noise: D judges real and fake under the same Gaussian blur of their distributions, which fades in the run.

Sønderby et al. 2016 (arXiv:1610.04490) and Arjovsky & Bottou 2017 (arXiv:1701.04862, §3): where the supports of p_data and
p_g do not meet, a perfect D exists and G's gradient says nothing; with noise added to both, the supports meet.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.schedules import annealed
from sparring.stabilizers.hooks import Hooks
from sparring.turns import Batch


class InstanceNoise(Hooks):
    """Shows D ``x + σ_t ε`` with ε ~ N(0, I), fresh for every look at a sample."""

    def __init__(self, sigma: float, until: float) -> None:
        """Set the schedule.

        Args:
            sigma: σ at the start of the run, in units of the samples (images span [-1, 1]).
            until: share of the run after which σ is 0, above 0; it falls linearly.
        """
        super().__init__()
        self.sigma, self.until = sigma, until

    def look(self, x: Tensor, batch: Batch) -> Tensor:
        """Return ``x [B, *shape]`` with noise; x itself, without a draw, once σ is 0."""
        sigma = annealed(self.sigma, batch.clock.progress, self.until)
        if sigma == 0:
            return x
        return x + sigma * torch.randn(x.shape, generator=batch.source).to(x)
