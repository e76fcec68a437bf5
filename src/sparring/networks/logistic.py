"""Discretized logistics and their mixtures: distributions over the 256 levels of a pixel (arXiv:1701.05517, §2.1).

The levels lie evenly in [-1, 1]; each reaches half the distance to its neighbours, the first down to -∞ and the last up to ∞.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
_HALF = 1 / (LEVELS - 1)  # half the distance between two levels
_LEAST_LOG_SCALE = -7.0  # nearly all probability within one level


def logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-probability of a level (arXiv:1701.05517, eq. 2): log(σ(a) - σ(b)) at the level's two ends.

    It is written as log σ(a) + log σ(-b) + log(1 - exp(b - a)), where nothing underflows.

    Args:
        x: levels in [-1, 1].
        mean: of the logistic, any real number.
        log_scale: logarithm of its scale; all three have shapes that broadcast.
    """
    sharpness = torch.exp(-log_scale)
    below = F.logsigmoid((x - mean + _HALF) * sharpness)
    above = F.logsigmoid((mean - x + _HALF) * sharpness)
    between = torch.log(-torch.expm1(-2 * _HALF * sharpness))
    first, last = x < _HALF - 1, x > 1 - _HALF
    nothing = torch.zeros_like(between)
    return (
        torch.where(last, nothing, below)
        + torch.where(first, nothing, above)
        + torch.where(first | last, nothing, between)
    )


def logistic_mean(mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the mean over the levels, in [-1, 1]: that of a logistic whose tails are folded onto -1 and 1.

    It is -1 + ∫ P(X > t) dt from -1 to 1, which ignores that the levels between are discrete: less than half a level.

    Args:
        mean: of the logistic, any real number.
        log_scale: logarithm of its scale.
    """
    scale = torch.exp(log_scale)
    return scale * (F.softplus((mean + 1) / scale) - F.softplus((mean - 1) / scale)) - 1


class Mixture(NamedTuple):
    """What is known of pixels: K discretized logistics for each channel, of which one counts for all channels.

    Attributes:
        logits: ``[B, K, …]``, of the K weights.
        mean: ``[B, K, C, …]``.
        log_scale: ``[B, K, C, …]``.
        slope: ``[B, K, C, C, …]``: how the mean of a channel (first C) moves with the channels before it (second C).
    """

    logits: Tensor
    mean: Tensor
    log_scale: Tensor
    slope: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-probability of pixels ``x [B, C, …]``, ``[B, …]`` in nats."""
        x = x.unsqueeze(1)
        mean = self.mean + (self.slope * x.unsqueeze(2)).sum(3)
        of_each = logistic_log_prob(x, mean, self.log_scale).sum(2)
        return torch.logsumexp(F.log_softmax(self.logits, 1) + of_each, 1)

    def quantile(self, u: Tensor) -> Tensor:
        """Return the pixels at u, channel after channel: draws of the mixture, where every u ~ U(0, 1).

        Args:
            u: ``[B, C]`` in [0, 1]; the mixture has no dimensions after C.

        Returns:
            ``[B, C]``, levels in [-1, 1].
        """
        log_weights, x = F.log_softmax(self.logits, 1), torch.zeros_like(u)
        for channel in range(u.shape[1]):
            mean = self.mean[:, :, channel] + (self.slope[:, :, channel] * x.unsqueeze(1)).sum(2)
            log_scale = self.log_scale[:, :, channel]
            level = quantile(u[:, channel], F.softmax(log_weights, 1), mean, log_scale)
            log_weights = log_weights + logistic_log_prob(level.unsqueeze(1), mean, log_scale)
            x[:, channel] = level
        return x


def quantile(u: Tensor, weights: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Return the smallest level whose cumulative probability reaches u, by bisection.

    Args:
        u: ``[B]`` in [0, 1].
        weights: ``[B, K]``, adding up to 1.
        mean: ``[B, K]``.
        log_scale: ``[B, K]``.

    Returns:
        ``[B]``, levels in [-1, 1].
    """
    sharpness, level = torch.exp(-log_scale), torch.zeros_like(u)
    step = LEVELS // 2
    while step:
        beyond = level + step
        lower_end = ((2 * beyond - 1) * _HALF - 1).unsqueeze(1)
        cumulative = (weights * torch.sigmoid((lower_end - mean) * sharpness)).sum(1)
        level = torch.where(cumulative < u, beyond, level)
        step //= 2
    return 2 * _HALF * level - 1


def outputs_for(components: int, channels: int) -> int:
    """Return how many numbers describe a pixel."""
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


def read_mixture(outputs: Tensor, components: int, channels: int) -> Mixture:
    """Take a network's outputs for a mixture.

    Args:
        outputs: ``[B, outputs_for(K, C), …]``.
        components: K.
        channels: C.
    """
    of_each = outputs.reshape(len(outputs), components, -1, *outputs.shape[2:])
    pairs = channels * (channels - 1) // 2
    logits, mean, log_scale, slopes = torch.split(of_each, [1, channels, channels, pairs], 2)
    slope = of_each.new_zeros((*mean.shape[:3], channels, *mean.shape[3:]))
    after, before = torch.tril_indices(channels, channels, -1)
    slope[:, :, after, before] = torch.tanh(slopes)
    return Mixture(logits.squeeze(2), mean, log_scale.clamp_min(_LEAST_LOG_SCALE), slope)
