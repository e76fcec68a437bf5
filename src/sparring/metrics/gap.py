"""How much better the discriminator knows its training images than others: overfitting, seen from inside the game."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.estimate import Z95, Estimate

Logits = npt.ArrayLike | torch.Tensor


def discriminator_gap(train_logits: Logits, held_out_logits: Logits, fake_logits: Logits) -> Estimate:
    """Return ``r_v = (E[D_train] - E[D_held_out]) / (E[D_train] - E[D_fake])`` (arXiv:2006.06676, eq. 1).

    The interval is Fieller's (1954), for a ratio of means. It is unbounded while D tells training images from generated ones no
    better than chance does: then the ratio has no meaning yet.

    Args:
        train_logits: of training images ``[N]``, N >= 2, in any shape; larger = more real.
        held_out_logits: of real images that D was never trained on ``[M]``, M >= 2.
        fake_logits: of generated ones ``[K]``, K >= 2.

    Returns:
        0 without overfitting; 1 when held-out images look like generated ones. Chance can take it outside 0 … 1. NaN when D
        gives training and generated images the same mean logit.

    Raises:
        UsageError: when there are fewer than two logits of a kind, or some are NaN or infinite.
    """
    (train, of_train), (held_out, of_held_out), (fake, of_fake) = (
        _mean_and_variance(logits, kind)
        for logits, kind in ((train_logits, "training"), (held_out_logits, "held-out"), (fake_logits, "generated"))
    )
    above, below = train - held_out, train - fake
    if below == 0:
        return Estimate(math.nan)
    low, high = _fieller(above, below, of_train + of_held_out, of_train + of_fake, of_train)
    return Estimate(above / below, low, high, "Fieller")


def _mean_and_variance(logits: Logits, kind: str) -> tuple[float, float]:
    """Return the mean of logits and the variance of that mean."""
    values = logits.detach().cpu().double().numpy() if isinstance(logits, torch.Tensor) else np.asarray(logits, float)
    if values.size < 2 or not np.isfinite(values).all():
        raise UsageError(
            f"Discriminator gap: {values.size} {kind} logits, {int(np.isfinite(values).sum())} of them finite, are no sample; "
            "give at least 2, all finite."
        )
    return float(values.mean()), float(values.var(ddof=1) / values.size)


def _fieller(above: float, below: float, of_above: float, of_below: float, of_both: float) -> tuple[float, float]:
    """Return all ratios g for which ``above - g * below`` is 0 within its error, ``-inf … inf`` if they have no end.

    Args:
        above: numerator.
        below: denominator, not 0.
        of_above: variance of the numerator.
        of_below: of the denominator.
        of_both: their covariance.
    """
    square, middle, rest = (
        below**2 - Z95**2 * of_below,
        above * below - Z95**2 * of_both,
        above**2 - Z95**2 * of_above,
    )
    if square <= 0:
        return -math.inf, math.inf
    half = math.sqrt(max(middle**2 - square * rest, 0.0))
    return (middle - half) / square, (middle + half) / square
