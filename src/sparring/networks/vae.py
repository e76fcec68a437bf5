"""A variational autoencoder (Kingma and Welling 2013, arXiv:1312.6114) on DCGAN's convolutions.

The encoder is DCGAN's D without its last layer and gives the mean and variance of q(z|x). The decoder is DCGAN's G without
its tanh. It gives p(x|z): a discretized logistic over the 256 levels of every pixel, with one learnt scale for each channel.
That is a likelihood of what the data are, whole levels, so its bits per dimension compare with those of other models of
levels. The scale weighs reconstruction against the prior, with no β to choose (arXiv:2006.13202).

A sample is the mean of p(x|z), as is usual: to draw from p(x|z) would add independent noise to every pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparring.networks.dcgan import downward, feature_maps, upward
from sparring.networks.layers import Layers, draw_weights
from sparring.networks.likelihood import LikelihoodModel, single
from sparring.networks.logistic import logistic_log_prob, logistic_mean
from sparring.networks.spec import NetworkSpec

_FIRST_LOG_SCALE = -1.0


class LogisticLikelihood(nn.Module):
    """p(x|z): a discretized logistic at every place, of one learnt scale for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((channels, 1, 1), _FIRST_LOG_SCALE))

    def forward(self, x: Tensor, means: Tensor) -> Tensor:
        """Return log p(x|z), ``[B]`` in nats, of ``x [B, C, H, W]``; ``means`` are those of the logistics, likewise."""
        return logistic_log_prob(x, means, self.log_scale).flatten(1).sum(1)


class VariationalAutoencoder(LikelihoodModel):
    """``z [B, latent_dim]`` to images ``[B, C, H, W]`` in [-1, 1], and an upper bound of -log p(x)."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        base, shallow = feature_maps(spec.shape, spec.g.width)
        features = shallow[-1] * base * base
        self.encoder = Layers(
            *downward(spec.shape[0], shallow, spec.g), nn.Flatten(), nn.Linear(features, 2 * spec.latent_dim)
        )
        self.decoder = Layers(*upward(spec))
        self.likelihood = LogisticLikelihood(spec.shape[0])
        draw_weights(self, randomness, spec.g, std=None if spec.g.norm == "none" else 0.02)

    def forward(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z), ``[B, C, H, W]`` in [-1, 1], of ``z [B, latent_dim]``."""
        return logistic_mean(self._decode(z), self.likelihood.log_scale)

    def negative_log_likelihood(self, x: Tensor, source: torch.Generator) -> dict[str, Tensor]:
        """Return the two parts of minus the evidence lower bound, ``[B]`` in nats per dimension."""
        mean, log_variance = single(self.encoder(x)).chunk(2, 1)
        parts = negative_elbo(mean, log_variance, lambda z: self.likelihood(x, self._decode(z)), source)
        return {name: part / math.prod(x.shape[1:]) for name, part in parts.items()}

    def _decode(self, z: Tensor) -> Tensor:
        """Return the means of the logistics, ``[B, C, H, W]``."""
        return single(self.decoder(z))


def negative_elbo(
    mean: Tensor, log_variance: Tensor, log_prob: Callable[[Tensor], Tensor], source: torch.Generator
) -> dict[str, Tensor]:
    """Return minus the evidence lower bound, one draw of z for each sample (arXiv:1312.6114, eq. 10).

    -log p(x) ≤ E_q(z|x)[-log p(x|z)] + KL(q(z|x) ‖ p(z)), with equality where q(z|x) is p(z|x).

    Args:
        mean: ``[B, latent_dim]``, of q(z|x).
        log_variance: ``[B, latent_dim]``, of q(z|x).
        log_prob: ``z [B, latent_dim]`` -> log p(x|z), ``[B]``.
        source: of the draw.

    Returns:
        ``"reconstruction"`` and ``"kl"``, each ``[B]`` in nats.
    """
    noise = torch.randn(mean.shape, generator=source, dtype=mean.dtype).to(mean.device)
    z = mean + noise * torch.exp(log_variance / 2)
    return {"reconstruction": -log_prob(z), "kl": kl_from_prior(mean, log_variance)}


def kl_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, e^log_variance) ‖ N(0, I)), ``[B]`` in nats (arXiv:1312.6114, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
