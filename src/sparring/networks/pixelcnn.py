"""A fully visible belief network for images: Gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328).

p(x) = Π p(x_i | x_<i), pixel by pixel from the upper left, so the likelihood is exact. A pixel is a mixture of discretized
logistics over the data's own 256 levels, in which a channel also sees the channels before it (PixelCNN++, arXiv:1701.05517). No
weight is masked: the kernels cover only what a pixel may see. Six dilated layers see 17 pixels far, and a learnt number for
each place and feature tells where in the image a pixel is: without it, digits begin too low or twice.

z is one uniform number for each number of a sample. Each becomes a level by the inverse of that level's cumulative
distribution, so that a sample is a function of z, as with any G.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.networks.layers import draw_weights
from sparring.networks.likelihood import LikelihoodModel, single
from sparring.networks.logistic import outputs_for, read_mixture
from sparring.networks.spec import NetworkSpec

_DILATIONS = (1, 2, 4, 1, 2, 4)
_REACH = 3  # rows, and pixels to the left, that the first layer sees
_COMPONENTS = 5


def gate(features: Tensor, dim: int = 1) -> Tensor:
    """Return tanh(a / 2) σ(b) of the two halves (arXiv:1606.05328, eq. 2).

    tanh(a / 2) is 2 σ(a) - 1: one sigmoid does for both halves, in nearly half the time, and the weights make up for the ½.
    """
    a, b = torch.sigmoid(features).chunk(2, dim)
    return (2 * a - 1) * b


class GatedLayer(nn.Module):
    """One layer of both stacks (arXiv:1606.05328, fig. 2), with a residual in either."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.vertical = nn.Conv2d(width, 2 * width, (2, 3), dilation=dilation)
        self.horizontal = nn.Conv2d(width, 2 * width, (1, 2), dilation=dilation)
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next features of all rows above and of the row's pixels so far, ``[B, width, H, W]`` each."""
        d = self.dilation
        from_above = self.vertical(F.pad(above, (d, d, d, 0)))
        from_left = self.horizontal(F.pad(left, (d, 0, 0, 0)))
        return above + gate(from_above), left + self.out(gate(from_left + self.across(from_above)))


class Place(nn.Module):
    """Adds what is learnt of each place, whatever is there."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x [B, *shape]`` plus the number of each place."""
        return x + self.bias


class PixelCNN(LikelihoodModel):
    """``z [B, C·H·W]`` in [-1, 1] to images ``[B, C, H, W]`` in [-1, 1], and the exact -log p(x)."""

    def __init__(self, spec: NetworkSpec, randomness: torch.Generator) -> None:
        super().__init__()
        self.shape, width = spec.shape, spec.g.width
        channels = self.shape[0]
        self.above = nn.Conv2d(channels, width, (_REACH, 2 * _REACH + 1))
        self.left = nn.Conv2d(channels, width, (1, _REACH))
        self.place = Place(width, *self.shape[1:])
        self.layers = nn.ModuleList(GatedLayer(width, dilation) for dilation in _DILATIONS)
        self.hidden = nn.Conv2d(width, width, 1)
        self.last = nn.Conv2d(width, outputs_for(_COMPONENTS, channels), 1)
        draw_weights(self, randomness, spec.g, std=None)

    def outputs(self, x: Tensor) -> Tensor:
        """Return what the pixels before each pixel of ``x [B, C, H, W]`` say of it, ``[B, outputs_for(K, C), H, W]``."""
        # A padding of -1 takes the last row, or column, away: no pixel sees itself.
        above = self.place(self.above(F.pad(x, (_REACH, _REACH, _REACH, -1))))
        left = self.left(F.pad(x, (_REACH, -1, 0, 0)))
        for layer in self.layers:
            above, left = layer(above, left)
        return cast("Tensor", self.last(F.relu(self.hidden(F.relu(left)))))

    def negative_log_likelihood(self, x: Tensor, source: torch.Generator) -> dict[str, Tensor]:
        """Return -log p(x), ``[B]`` in nats per dimension; nothing in it is random."""
        log_prob = read_mixture(single(self.outputs(x)), _COMPONENTS, self.shape[0]).log_prob(x)
        return {"nll": -log_prob.flatten(1).sum(1) / math.prod(self.shape)}

    @torch.no_grad()
    def forward(self, z: Tensor) -> Tensor:
        """Return the images that ``z [B, C·H·W]`` stands for, ``[B, C, H, W]``; no gradient flows.

        In double precision, where the device has it: there rounding, which differs with the size of a batch, does not tip a
        pixel, after which all the rest of the sample would be another.
        """
        precise = torch.float32 if z.device.type == "mps" else torch.float64
        u = (z.to(precise).reshape(-1, *self.shape) + 1) / 2
        return _Walk(self, u).draw().to(z.dtype)


Affine = tuple[Tensor, Tensor]
"""Weight and bias."""


class _Walk:
    """Draws a batch pixel by pixel and computes at each pixel only what is new there.

    Features of the rows above change once a row, so `LayerWalk.down` computes a whole row of them; those of the pixels to the
    left change with each pixel. Channels come last here, which makes every convolution a product of two matrices.
    """

    def __init__(self, network: PixelCNN, u: Tensor) -> None:
        self.u = u
        self.above, self.left = _affine(network.above, u), _affine(network.left, u)
        self.head = _affine(network.hidden, u), _affine(network.last, u)
        self.place = network.place.bias.detach().to(u.dtype).permute(1, 2, 0)
        self.layers = [_LayerWalk(cast("GatedLayer", layer), u) for layer in network.layers]

    def draw(self) -> Tensor:
        """Return the images, ``[B, C, H, W]``."""
        batch, channels, height, width = self.u.shape
        rows = deque([self.u.new_zeros(batch, width, channels)] * _REACH, _REACH)
        drawn = []
        for number in range(height):
            rows.append(self._draw_row(number, rows))
            drawn.append(rows[-1])
        return torch.stack(drawn, 1).permute(0, 3, 1, 2)

    def _draw_row(self, number: int, rows: Iterable[Tensor]) -> Tensor:
        """Return one row, ``[B, W, C]``, from those before it."""
        above = F.linear(_windows(rows, 2 * _REACH + 1, 1), *self.above) + self.place[number]
        for layer in self.layers:
            above = layer.down(above)
        pixels = deque([self.u.new_zeros(self.u.shape[:2])] * _REACH, _REACH)
        drawn = []
        for column in range(self.u.shape[3]):
            left = F.linear(torch.cat(tuple(pixels), -1), *self.left)
            for layer in self.layers:
                left = layer.right(left, column)
            hidden, last = self.head
            outputs = F.linear(F.relu(F.linear(F.relu(left), *hidden)), *last)
            mixture = read_mixture(outputs, _COMPONENTS, self.u.shape[1])
            pixels.append(mixture.quantile(self.u[:, :, number, column]))
            drawn.append(pixels[-1])
        return torch.stack(drawn, 1)


class _LayerWalk:
    """A `GatedLayer` at the pixel where the walk stands: it remembers the inputs that its kernels reach back to."""

    def __init__(self, layer: GatedLayer, u: Tensor) -> None:
        convolutions = (layer.vertical, layer.across, layer.horizontal, layer.out)
        self.vertical, self.across, self.horizontal, self.out = (_affine(each, u) for each in convolutions)
        self.dilation = layer.dilation
        self.blank = u.new_zeros(u.shape[0], u.shape[3], layer.out.in_channels)
        self.rows = self._nothing(self.blank)

    def _nothing(self, blank: Tensor) -> deque[Tensor]:
        return deque([blank] * (self.dilation + 1), self.dilation + 1)

    def down(self, above: Tensor) -> Tensor:
        """Go to the next row and return its features of the rows above, ``[B, W, width]``."""
        self.rows.append(above)
        self.pixels = self._nothing(self.blank[:, 0])
        from_above = F.linear(_windows((self.rows[0], self.rows[-1]), 3, self.dilation), *self.vertical)
        self.from_above = F.linear(from_above, *self.across)
        return above + gate(from_above, -1)

    def right(self, left: Tensor, column: int) -> Tensor:
        """Go to the next pixel and return its features of the row so far, ``[B, width]``."""
        self.pixels.append(left)
        from_left = F.linear(torch.cat((self.pixels[0], self.pixels[-1]), -1), *self.horizontal)
        return left + F.linear(gate(from_left + self.from_above[:, column], -1), *self.out)


def _affine(convolution: nn.Conv2d, like: Tensor) -> Affine:
    """Return a convolution as a matrix over what its kernel covers, row by row, and its bias."""
    assert convolution.bias is not None
    weight = convolution.weight.detach().to(like.dtype).permute(0, 2, 3, 1).flatten(1)
    return weight, convolution.bias.detach().to(like.dtype)


def _windows(rows: Iterable[Tensor], size: int, dilation: int) -> Tensor:
    """Return what a kernel of some rows and ``size`` columns covers around each column, ``[B, W, rows · size · C]``."""
    reach = dilation * (size // 2)
    padded = [F.pad(row, (0, 0, reach, reach)) for row in rows]
    width = padded[0].shape[1] - 2 * reach
    return torch.cat([row[:, k * dilation : k * dilation + width] for row in padded for k in range(size)], -1)
