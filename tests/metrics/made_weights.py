"""Weights made of numpy's numbers: any two networks with the same names get the same ones, on every machine."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn


def made_state(network: nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a state for a network that keeps its activations in a natural range."""
    rng = np.random.default_rng(seed)
    return {name: _made(name, value, rng) for name, value in sorted(network.state_dict().items())}


def _made(name: str, value: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    unit = torch.from_numpy(rng.random(tuple(value.shape), dtype=np.float32))
    if value.ndim > 1:
        return (2 * unit - 1) * math.sqrt(6 / value[0].numel())
    if name.endswith(("running_var", "weight")):
        return 0.5 + unit
    return 0.4 * unit - 0.2


def made_pictures(count: int, channels: int, height: int, width: int) -> torch.Tensor:
    """Return images ``[count, channels, height, width]`` in [-1, 1] whose values are levels of a picture."""
    levels = np.random.default_rng(7).integers(0, 256, (count, channels, height, width))
    return torch.from_numpy(levels.astype(np.float32)) / 127.5 - 1
