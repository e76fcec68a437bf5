"""What the losses of a run tell of its samples: nothing steady (T8), and at 0 that the game is lost (T12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparring.experiments.arena import Played, play
from sparring.experiments.finding import Cell, Curve, Finding, Panel
from sparring.theory import EQUILIBRIUM_VALUE

_SIZE: dict[str, Any] = {"latent_dim": 2, "batch_size": 64, "g": {"width": 32}, "d": {"width": 32}}
_GAMES: dict[str, dict[str, Any]] = {
    "classic": {"loss": "non-saturating", "g": {"lr": 1e-3}, "d": {"lr": 1e-3}},
    "classic, R1": {"loss": "non-saturating", "penalty": ("r1:0.1",), "g": {"lr": 1e-3}, "d": {"lr": 1e-3}},
    "Wasserstein": {
        "loss": "wasserstein",
        "penalty": ("wgan-gp:1",),
        "g": {"lr": 1e-3, "betas": (0.0, 0.9)},
        "d": {"lr": 1e-3, "betas": (0.0, 0.9), "steps": 5},
    },
}


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Spearman's ρ, -1 to 1: how far two series rise and fall together. There must be no ties."""
    ranks = [np.argsort(np.argsort(series)) for series in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


