"""What changes in the course of a run: learning rates, burn-in and annealing, as pure functions of the share that is done."""

from __future__ import annotations

import math


def decay(done: float, start: float, shape: str = "linear") -> float:
    """Return the factor of both learning rates.

    Args:
        done: share of the run that is done, 0 … 1.
        start: share after which the rate falls; 1 is never.
        shape: ``"linear"``, or ``"cosine"`` (arXiv:1608.03983, eq. 5, without restarts).

    Returns:
        1 until ``start``, then down to 0 at the end of the run.
    """
    if done <= start:
        return 1.0
    left = (1.0 - done) / (1.0 - start)
    return left if shape == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))


def burn_in(first: float, final: float, done: float, share: float) -> float:
    """Return a value that moves along a cosine from its first to its final value , as R3GAN does (arXiv:2501.05441).

    Args:
        first: the value at the start of the run.
        final: the value from the end of the burn-in on.
        done: share of the run that is done, 0 … 1.
        share: length of the burn-in as a share of the run; 0 is no burn-in.
    """
    if done >= share:
        return final
    return final + (first - final) * 0.5 * (1.0 + math.cos(math.pi * done / share))


def annealed(first: float, done: float, until: float) -> float:
    """Return a value that falls linearly to 0.

    Args:
        first: the value at the start of the run.
        done: share of the run that is done, 0 … 1.
        until: share of the run at which it is 0.
    """
    return first * max(0.0, 1.0 - done / until)
