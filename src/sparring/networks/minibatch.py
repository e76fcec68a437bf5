"""What D sees of a whole batch beside each sample, so that samples that are all alike give G away."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class MinibatchDiscrimination(nn.Module):
    """How near a sample is to the others of its batch, by learnt kernels (Salimans et al. 2016, arXiv:1606.03498, §3.2).

    ``M_i = f(x_i) T``,  ``c_b(x_i, x_j) = exp(-‖M_ib - M_jb‖₁)``,  ``o(x_i)_b = Σ_j c_b(x_i, x_j)``.

    The sum is over j ≠ i, as in the authors' code; the paper's sum has the constant c_b(x_i, x_i) = 1 beside it. It is a sum
    and no mean: it grows with the batch, between 0 and B - 1, so D should see batches of one size.

    Attributes:
        T: ``[F, kernels * dims]``.
        out_features: kernels.
    """

    def __init__(self, in_features: int, kernels: int, dims: int) -> None:
        super().__init__()
        self.T = nn.Parameter(torch.zeros(in_features, kernels * dims))
        self.out_features, self.dims = kernels, dims

    def draw_weights(self, generator: torch.Generator) -> None:
        """Draw T from N(0, 1 / F), which gives its columns length 1 on average, as the authors' code gives them."""
        nn.init.normal_(self.T, 0.0, 1 / math.sqrt(len(self.T)), generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Return o, ``[B, kernels]`` float32, of features ``[B, F]``."""
        # [kernels, dims, B]: with the samples last, the sums below run up to twice as fast.
        M = _wide(features @ self.T).T.reshape(self.out_features, self.dims, -1)
        distances = (M.unsqueeze(3) - M.unsqueeze(2)).abs().sum(1)
        itself = torch.eye(len(features), dtype=M.dtype, device=M.device)
        nearness: Tensor = (-distances).exp() - itself
        return nearness.sum(2).T

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(network)``."""
        return f"{len(self.T)}, kernels={self.out_features}, dims={self.dims}"


class MinibatchStddev(nn.Module):
    """How much the samples of a group differ, as one number (Karras et al. 2018, arXiv:1710.10196, §3).

    The standard deviation of each feature over a group of samples, averaged over the features. The paper's stands before the
    last convolution, as one more map; this one is one more input of the last dense layer, so that it fits any D. Neighbours in
    the batch make a group: where one pass judges real and fake, none is mixed.

    Attributes:
        group: samples in a group; a batch that does not split into such groups splits into the largest smaller ones that fit.
        out_features: 1.
    """

    out_features = 1

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def forward(self, features: Tensor) -> Tensor:
        """Return the deviation of each sample's group, ``[B, 1]`` float32, of features ``[B, F]``."""
        size = next(n for n in range(min(self.group, len(features)), 0, -1) if len(features) % n == 0)
        groups = _wide(features).reshape(-1, size, features.shape[1])
        variance = groups.var(1, correction=0)
        # The root of exactly 0, which equal samples would give, has no derivative.
        deviation: Tensor = (variance + 1e-8).sqrt().mean(1, keepdim=True)
        return deviation.repeat_interleave(size, 0)

    def extra_repr(self) -> str:
        """Return the size of a group, for ``print(network)``."""
        return f"group={self.group}"


def _wide(x: Tensor) -> Tensor:
    """Return x in float32 at least: differences of bfloat16 numbers have few digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
