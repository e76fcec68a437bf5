"""The value function of the game, and what is known exactly: its optimum and the divergences of known densities.

Densities live on a grid: ``p [N]`` and ``q [N]`` with the grid's quadrature weights ``[N]``, so that ``(p * weights).sum()``
is 1. Probabilities of finitely many points are the case in which all weights are 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sparring._lazy import LazyModule

if TYPE_CHECKING:
    import numpy as np
    import torch.nn.functional as F
    from torch import Tensor

    Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
else:
    F = LazyModule("torch.nn.functional")
    np = LazyModule("numpy")

#: V(D*, G) where the generated distribution equals that of the data (arXiv:1406.2661, theorem 1).
EQUILIBRIUM_VALUE = -math.log(4.0)


def value_function(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return ``log D(x) + log(1 - D(G(z)))``, whose mean is V(D, G) (arXiv:1406.2661, eq. 1).

    Args:
        real_logits: ``[B]``.
        fake_logits: ``[B]``.

    Returns:
        ``[B]``, negative; -log 4 where D says ½ to everything.
    """
    return F.logsigmoid(real_logits) + F.logsigmoid(-fake_logits)


def optimal_discriminator(p: Array, q: Array, real_label: float = 1.0, fake_label: float = 0.0) -> Array:
    """Return ``D*(x) = (a p + b q) / (p + q)``, the best D against a fixed G.

    With labels a = 1 and b = 0 this is ``p / (p + q)`` (arXiv:1406.2661, proposition 1); with others it is the optimum of
    label smoothing (arXiv:1606.03498, §3.4).

    Args:
        p: density of the data, ``[N]``.
        q: density of the samples, ``[N]``; p + q must be positive.
        real_label: a, D's target for real samples.
        fake_label: b, D's target for fakes.

    Returns:
        ``[N]``, from b to a.
    """
    return (real_label * p + fake_label * q) / (p + q)


def optimal_value(p: Array, q: Array, weights: Array) -> float:
    """Return ``V(D*) = E_p[log D*] + E_q[log(1 - D*)]``, which is ``-log 4 + 2 JS(p ‖ q)`` (arXiv:1406.2661, eq. 6)."""
    return expected_value(optimal_logits(p, q), p, q, weights)


def expected_value(logits: Array, p: Array, q: Array, weights: Array) -> float:
    """Return V(D, G) without sampling noise, for any D.

    Args:
        logits: of D at every point of the grid, ``[N]``; infinite ones are allowed.
        p: density of the data, ``[N]``.
        q: density of the samples, ``[N]``.
        weights: of the quadrature, ``[N]``.
    """
    with np.errstate(invalid="ignore"):  # p log D is 0 where p is, whatever D says there
        real = np.where(p > 0, -p * np.logaddexp(0.0, -logits), 0.0)
        fake = np.where(q > 0, -q * np.logaddexp(0.0, logits), 0.0)
    return float(((real + fake) * weights).sum())


def optimal_logits(p: Array, q: Array) -> Array:
    """Return the logits of D*, ``log p - log q``, ``[N]``: infinite where one has no mass, 0 where neither has."""
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(p) - np.log(q)
    return np.where(np.isnan(difference), 0.0, difference)


def kl(p: Array, q: Array, weights: Array) -> float:
    """Return ``KL(p ‖ q) = ∫ p log(p / q)`` in nats, infinite where p has mass and q has none."""
    inside = p > 0
    if bool((q[inside] == 0).any()):
        return math.inf
    return float((p[inside] * np.log(p[inside] / q[inside]) * weights[inside]).sum())


def jensen_shannon(p: Array, q: Array, weights: Array) -> float:
    """Return ``JS(p ‖ q) = ½ KL(p ‖ m) + ½ KL(q ‖ m)``, m = (p + q) / 2, in nats: 0 to log 2."""
    middle = (p + q) / 2
    return 0.5 * kl(p, middle, weights) + 0.5 * kl(q, middle, weights)


def total_variation(p: Array, q: Array, weights: Array) -> float:
    """Return ``½ ∫ |p - q|``, 0 to 1: the largest difference of the probabilities of any event."""
    return float((np.abs(p - q) * weights).sum() / 2)


def wasserstein(p_below: Array, q_below: Array, weights: Array) -> float:
    """Return the Wasserstein-1 distance on the line, ``∫ |P - Q|`` over the distribution functions.

    Args:
        p_below: ``P(x)``, the probability of at most x, ``[N]``.
        q_below: ``Q(x)``, ``[N]``.
        weights: of the quadrature, ``[N]``.
    """
    return float((np.abs(p_below - q_below) * weights).sum())


def grid(low: float, high: float, points: int) -> tuple[Array, Array]:
    """Return the middles of equal cells and the width of each, ``[points]`` both: the midpoint rule."""
    width = (high - low) / points
    middles: Array = low + width * (np.arange(points, dtype=np.float64) + 0.5)
    return middles, np.full(points, width, dtype=np.float64)


@dataclass(frozen=True)
class Gaussian:
    """N(mean, std²) on the line."""

    mean: float = 0.0
    std: float = 1.0

    def density(self, x: Array) -> Array:
        """Return p(x), ``[N]``."""
        return np.exp(-0.5 * ((x - self.mean) / self.std) ** 2) / (self.std * math.sqrt(2 * math.pi))

    def below(self, x: Array) -> Array:
        """Return the probability of at most x, ``[N]``."""
        return np.array([0.5 * math.erfc(-(v - self.mean) / (self.std * math.sqrt(2))) for v in x])

    def kl(self, other: Gaussian) -> float:
        """Return KL(self ‖ other) in closed form, in nats."""
        ratio = self.std / other.std
        shift = (self.mean - other.mean) / other.std
        return 0.5 * (ratio**2 + shift**2 - 1) - math.log(ratio)


@dataclass(frozen=True)
class Uniform:
    """U(low, high) on the line."""

    low: float = 0.0
    high: float = 1.0

    def density(self, x: Array) -> Array:
        """Return p(x), ``[N]``."""
        return np.where((x >= self.low) & (x < self.high), 1 / (self.high - self.low), 0.0)

    def below(self, x: Array) -> Array:
        """Return the probability of at most x, ``[N]``."""
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)
