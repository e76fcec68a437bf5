"""What networks without an opponent share: they learn from the likelihood of the data itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class LikelihoodModel(nn.Module, ABC):
    """A generator that can also be asked how likely a sample is. Its forward pass is that of any G: ``z -> x``."""

    @abstractmethod
    def negative_log_likelihood(self, x: Tensor, source: torch.Generator) -> dict[str, Tensor]:
        """Return -log p(x), or the parts of an upper bound of it.

        Args:
            x: ``[B, C, H, W]`` in [-1, 1], on the 256 levels of a picture.
            source: of everything random in it, on the CPU.

        Returns:
            Name -> ``[B]``, in nats for each of the C·H·W numbers of a sample; they add up.
        """


def single(x: Tensor) -> Tensor:
    """Return x in single precision if a network made it in bfloat16: a likelihood needs more digits."""
    return x.float() if x.dtype == torch.bfloat16 else x


class LikelihoodPass(nn.Module):
    """The pass that trains a model, as a module, for those who look at what its layers do.

    Attributes:
        model: the network.
    """

    def __init__(self, model: LikelihoodModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return -log p(x), or its bound, ``[B]``, of ``x [B, C, H, W]``."""
        parts = self.model.negative_log_likelihood(x, torch.Generator())
        return torch.stack(list(parts.values())).sum(0)
