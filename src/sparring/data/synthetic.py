"""Points in the plane with known modes: the ring and the grid of PacGAN's and VEEGAN's protocol (arXiv:1712.04086)."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np

from sparring.data.records import Array, Data, Modes, make_data

TRAIN_POINTS = 100_000
HELD_OUT_POINTS = 10_000


def ring() -> Modes:
    """Return 8 modes on the unit circle at angles 2πi/8, i = 0 … 7, with σ = 0.01."""
    angles = 2 * np.pi * np.arange(8) / 8
    return Modes(np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.01)


def grid() -> Modes:
    """Return 25 modes at {-4, -2, 0, 2, 4}², with σ = 0.05."""
    ticks = (-4.0, -2.0, 0.0, 2.0, 4.0)
    return Modes(np.array(list(product(ticks, ticks))), 0.05)


def draw(modes: Modes, count: int, seed: int, purpose: str) -> tuple[Array, Array]:
    """Draw points from the mixture; a pure function of its arguments.

    Args:
        modes: the mixture, K modes of equal weight.
        count: how many points.
        seed: any integer.
        purpose: separates streams of one seed, e.g. ``"train"`` and ``"held-out"``.

    Returns:
        float32 [count, 2], the points, and int64 [count], the mode each one came from.
    """
    digest = hashlib.sha256(f"{seed}/points/{purpose}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    labels = generator.integers(len(modes.centres), size=count)
    points = modes.centres[labels] + modes.sigma * generator.standard_normal((count, 2))
    return points.astype(np.float32), labels.astype(np.int64)


def open_points(name: str, modes: Modes, seed: int) -> Data:
    """Return 100,000 training points and 10,000 held-out points of a mixture, fixed by ``seed``.

    The mode a point came from is not given as a label: finding the modes is the generator's task.
    """
    held_out = make_data(name, draw(modes, HELD_OUT_POINTS, seed, "held-out")[0], modes=modes)
    return make_data(name, draw(modes, TRAIN_POINTS, seed, "train")[0], modes=modes, held_out=held_out)
