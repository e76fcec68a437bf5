"""The players with which mode collapse on points is counted: maxout units in D (Goodfellow et al. 2013, arXiv:1302.4389).

Sizes after VEEGAN (arXiv:1705.07761) and PacGAN (arXiv:1712.04086): four hidden layers of 400 in G, three of 200 units in D,
each the maximum of five linear pieces.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from sparring.networks import mlp
from sparring.networks.layers import FeatureCritic, Layers, Logit, Maxout, draw_weights, normalization
from sparring.networks.spec import NetworkSpec

_HIDDEN_LAYERS = 3
_PIECES = 5
#: Keeps the second moment: the largest of five standard normal numbers has 1.800.
_GAIN = 1.800**-0.5
#: Of the first layer's biases, as a share of a row of its weights: how far from the middle of [-1, 1] a unit changes its piece.
_OFFSET = 0.27
#: Of G's first weights, as a share of what keeps the second moment.
_FIRST = 0.1


class Generator(mlp.Generator):
    """``z [B, latent_dim]`` to samples, through four hidden layers.

    A unit of the first one bends along the line w·z + b = 0, at the distance b/|w| from the middle. All begin in the middle, so
    weights that begin small let a step of b move that line further.
    """

    hidden_layers = 4
    gain = 1.0  # less than He's: what folds the plane less at first has less to undo

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__(spec, randomness)
        if spec.g.init_std is None:
            with torch.no_grad():
                _first_layer(self.layers).weight.mul_(_FIRST)


class Discriminator(FeatureCritic):
    """Samples ``[B, *shape]`` to logits ``[B]``, through three layers of maxout units."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        sizes = [math.prod(spec.judged_shape), *[spec.d.width] * _HIDDEN_LAYERS]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            pieces = after * _PIECES
            layers += [nn.Linear(before, pieces), normalization(spec.d, pieces, flat=True), Maxout(_PIECES)]
        self.features = Layers(*layers)
        self.logit = Logit(spec.d.width, spec.d)
        draw_weights(self, randomness, spec.d, std=None, gain=_GAIN)
        if spec.d.init_std is None:
            self._move_edges(randomness)

    @torch.no_grad()
    def _move_edges(self, randomness: torch.Generator) -> None:
        """Let the first layer's units change their pieces anywhere between the samples, and not all in the middle.

        Without biases D(t x) = t D(x) at the start: it cannot tell points on a ray through 0 from each other, and has to move
        every edge to the samples before it can.
        """
        _first_layer(self.features).bias.normal_(0.0, _OFFSET * _GAIN, generator=randomness)


def _first_layer(layers: nn.Module) -> nn.Linear:
    return next(module for module in layers.modules() if isinstance(module, nn.Linear))
