"""The players with which mode collapse on points is counted: maxout units in D (Goodfellow et al. 2013, arXiv:1302.4389).

Sizes after VEEGAN (arXiv:1705.07761) and PacGAN (arXiv:1712.04086): four hidden layers of 400 in G, three of 200 units in D,
each the maximum of five linear pieces.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from sparring.networks import mlp
from sparring.networks.layers import FeatureCritic, Logit, draw_weights, normalization
from sparring.networks.spec import NetworkSpec

_HIDDEN_LAYERS = 3
_PIECES = 5


class Maxout(nn.Module):
    """The largest of each unit's pieces: ``[B, units * pieces]`` to ``[B, units]``."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima; the gradient goes to one piece of each unit."""
        # amax and a tree of torch.maximum are faster forward only; a turn of D with R1 takes a quarter longer, or twice as long.
        return x.reshape(len(x), -1, self.pieces).max(-1).values

    def extra_repr(self) -> str:
        """Return the number of pieces, for ``print(network)``."""
        return f"pieces={self.pieces}"


class Generator(mlp.Generator):
    """``z [B, latent_dim]`` to samples, through four hidden layers."""

    hidden_layers = 4


class Discriminator(FeatureCritic):
    """Samples ``[B, *shape]`` to logits ``[B]``, through three layers of maxout units."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        sizes = [math.prod(spec.judged_shape), *[spec.d.width] * _HIDDEN_LAYERS]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            pieces = after * _PIECES
            layers += [nn.Linear(before, pieces), normalization(spec.d, pieces, flat=True), Maxout(_PIECES)]
        self.features = nn.Sequential(*layers)
        self.logit = Logit(spec.d.width, spec.d)
        draw_weights(self, randomness, std=None)
