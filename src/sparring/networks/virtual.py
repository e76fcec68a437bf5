"""Virtual batch normalization: the statistics of a fixed batch and of the sample itself (arXiv:1606.03498, §3.4).

Batch norm makes a sample depend on its neighbours. Here a reference batch, drawn once, goes through G before the samples; each
of them is normalized with the mean and the variance of reference and itself together. No sample knows of another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.networks.spec import NetworkSpec
from sparring.randomness import draw_prior

#: Samples in the reference batch.
REFERENCE = 64
_EPSILON = 1e-5  # that of batch norm in torch


class VirtualBatchNorm(nn.Module):
    """Normalizes each channel of each sample; expects the reference batch in front of the samples.

    With R reference samples, ``mean = (R mean_ref + mean_x) / (R + 1)`` and the same for the mean of squares. The reference
    itself is normalized with its own statistics. There are no running averages: training and evaluation are the same.

    Attributes:
        weight: scale, ``[channels]``, 1 at first.
        bias: shift, ``[channels]``, 0 at first.
        reference: R, the samples in front.
    """

    def __init__(self, channels: int, reference: int = REFERENCE) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.reference = reference

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x [R + B, channels, ...]`` normalized."""
        flat = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(*x.shape[:2], -1)
        reference, samples = flat[: self.reference], flat[self.reference :]
        variance, mean = torch.var_mean(reference, (0, 2), correction=0, keepdim=True)
        own_variance, own_mean = torch.var_mean(samples, 2, correction=0, keepdim=True)
        share = 1 / (self.reference + 1)
        apart = own_mean - mean
        # The mean of squares less the squared mean, written so that it cannot lose its digits or fall below 0.
        both = torch.lerp(variance, own_variance, share) + share * (1 - share) * apart.square()
        normal = torch.cat(
            (
                (reference - mean) * (variance + _EPSILON).rsqrt(),
                (samples - (mean + share * apart)) * (both + _EPSILON).rsqrt(),
            )
        )
        return torch.addcmul(self.bias[:, None], normal, self.weight[:, None]).to(x.dtype).reshape(x.shape)

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(network)``."""
        return f"{len(self.weight)}, reference={self.reference}"


class WithReference(nn.Module):
    """A generator that takes its reference batch along.

    Attributes:
        network: the generator.
        reference: the z of the reference batch, ``[R, latent_dim]``; it is saved with the weights and never changes.
    """

    reference: Tensor

    def __init__(self, network: nn.Module, reference: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("reference", reference)

    def forward(self, z: Tensor) -> Tensor:
        """Return the samples ``[B, *shape]`` of ``z [B, latent_dim]``; those of the reference stay inside."""
        x: Tensor = self.network(torch.cat((self.reference, z)))
        return x[len(self.reference) :]


def with_reference(G: nn.Module, spec: NetworkSpec, randomness: torch.Generator) -> WithReference:
    """Give G a reference batch.

    Args:
        G: the generator, whose normalizations expect one.
        spec: prior and length of z are read.
        randomness: what the reference is drawn from.
    """
    return WithReference(G, draw_prior(spec.prior, REFERENCE, spec.latent_dim, randomness))
