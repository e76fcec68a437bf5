"""Inception-v3 as the FID uses it: TensorFlow's graph of 2015-12-05 in PyTorch, whose numbers can be compared with papers.

The network is that of arXiv:1512.00567, section 6, in the state in which it was published for the inception score
(arXiv:1606.03498) and taken over for the FID (arXiv:1706.08500). It differs from other Inception-v3 networks in three
places, each of which changes the numbers: average pools leave the padding out of the average, the last block pools by
maximum, and there are 1008 classes. Modules have the names of the published PyTorch weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from sparring.metrics.extractors.record import FeatureNetwork
from sparring.metrics.extractors.resize import as_channels_last, bilinear_tf1, to_rgb

SIDE = 299
RESIZE = "u8-bilinear-tf1-299"
"""How any image becomes the network's input, as protocols state it: see `Inception.from_levels`."""
FEATURE_DIM = 2048
NUM_CLASSES = 1008

Size = int | tuple[int, int]


class _Conv(nn.Module):
    """Convolution without bias, batch norm (epsilon 0.001), ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


def _same(inputs: int, outputs: int, kernel: Size) -> _Conv:
    """Return a convolution that keeps height and width."""
    padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    return _Conv(inputs, outputs, kernel, padding=padding)


def _average(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of each 3x3 neighbourhood; at the border, of the pixels that there are, as TensorFlow has it."""
    return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1, count_include_pad=False)


def _largest(x: torch.Tensor) -> torch.Tensor:
    """Return the maximum of each 3x3 neighbourhood, same size."""
    return F.max_pool2d(x, kernel_size=3, stride=1, padding=1)


def _halve(x: torch.Tensor) -> torch.Tensor:
    """Return the maximum of every second 3x3 neighbourhood: ``[B, C, H, W] -> [B, C, (H - 1) / 2, (W - 1) / 2]``."""
    return F.max_pool2d(x, kernel_size=3, stride=2)


class _Block35(nn.Module):
    """35x35: branches 1x1, 5x5, two 3x3, pool (figure 5)."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _same(inputs, 64, 1)
        self.branch5x5_1 = _same(inputs, 48, 1)
        self.branch5x5_2 = _same(48, 64, 5)
        self.branch3x3dbl_1 = _same(inputs, 64, 1)
        self.branch3x3dbl_2 = _same(64, 96, 3)
        self.branch3x3dbl_3 = _same(96, 96, 3)
        self.branch_pool = _same(inputs, pooled, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], dim=1)


class _Shrink35(nn.Module):
    """35x35 to 17x17: branches 3x3, two 3x3, pool (figure 10)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = _same(inputs, 64, 1)
        self.branch3x3dbl_2 = _same(64, 96, 3)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, _halve(x)], dim=1)


class _Block17(nn.Module):
    """17x17: branches 1x1, one and two 7x7 in rows and columns, pool (figure 6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = _same(768, 192, 1)
        self.branch7x7_1 = _same(768, width, 1)
        self.branch7x7_2 = _same(width, width, (1, 7))
        self.branch7x7_3 = _same(width, 192, (7, 1))
        self.branch7x7dbl_1 = _same(768, width, 1)
        self.branch7x7dbl_2 = _same(width, width, (7, 1))
        self.branch7x7dbl_3 = _same(width, width, (1, 7))
        self.branch7x7dbl_4 = _same(width, width, (7, 1))
        self.branch7x7dbl_5 = _same(width, 192, (1, 7))
        self.branch_pool = _same(768, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], dim=1)


class _Shrink17(nn.Module):
    """17x17 to 8x8: branches 3x3, 7x7 with 3x3, pool (figure 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _same(768, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _same(768, 192, 1)
        self.branch7x7x3_2 = _same(192, 192, (1, 7))
        self.branch7x7x3_3 = _same(192, 192, (7, 1))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, _halve(x)], dim=1)


class _Block8(nn.Module):
    """8x8: branches 1x1, 3x3 and two 3x3 that end in a row and a column beside each other, pool (figure 7).

    Args:
        inputs: channels of the input.
        by_maximum: whether the pool is a maximum; so it is in the very last block of this graph.
    """

    def __init__(self, inputs: int, *, by_maximum: bool) -> None:
        super().__init__()
        self.by_maximum = by_maximum
        self.branch1x1 = _same(inputs, 320, 1)
        self.branch3x3_1 = _same(inputs, 384, 1)
        self.branch3x3_2a = _same(384, 384, (1, 3))
        self.branch3x3_2b = _same(384, 384, (3, 1))
        self.branch3x3dbl_1 = _same(inputs, 448, 1)
        self.branch3x3dbl_2 = _same(448, 384, 3)
        self.branch3x3dbl_3a = _same(384, 384, (1, 3))
        self.branch3x3dbl_3b = _same(384, 384, (3, 1))
        self.branch_pool = _same(inputs, 192, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        ends = [
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
        ]
        pooled = _largest(x) if self.by_maximum else _average(x)
        return torch.cat([self.branch1x1(x), *ends, self.branch_pool(pooled)], dim=1)


class Inception(FeatureNetwork):
    """Inception-v3 of the FID: 2048 features after the global average pool (``pool_3``), 1008 logits.

    The logits leave out the bias of the last layer, as the published inception score does (arXiv:1606.03498; its code
    multiplies ``pool_3`` by the weights alone).
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _same(32, 64, 3)
        self.Conv2d_3b_1x1 = _same(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _Block35(192, pooled=32)
        self.Mixed_5c = _Block35(256, pooled=64)
        self.Mixed_5d = _Block35(288, pooled=64)
        self.Mixed_6a = _Shrink35(288)
        self.Mixed_6b = _Block17(128)
        self.Mixed_6c = _Block17(160)
        self.Mixed_6d = _Block17(160)
        self.Mixed_6e = _Block17(192)
        self.Mixed_7a = _Shrink17()
        self.Mixed_7b = _Block8(1280, by_maximum=False)
        self.Mixed_7c = _Block8(2048, by_maximum=True)
        self.fc = nn.Linear(FEATURE_DIM, NUM_CLASSES)

    def from_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """Return images as the graph takes them.

        In this order: grey becomes three equal channels; other sizes become 299x299 as TensorFlow 1 does it
        (`bilinear_tf1`); levels 0 … 255 become (level - 128) / 128.

        Args:
            levels: ``[B, 1 or 3, H, W]`` from `to_levels`.

        Returns:
            float32 ``[B, 3, 299, 299]`` in [-1, 0.992…].
        """
        return as_channels_last((bilinear_tf1(to_rgb(levels), SIDE) - 128) / 128)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits.

        Args:
            x: colour images ``[B, 3, 299, 299]`` from `prepare`.

        Returns:
            Features ``[B, 2048]``, all >= 0, and logits ``[B, 1008]`` without the bias.
        """
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [B, 64, 147, 147]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_halve(x)))  # [B, 192, 71, 71]
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(_halve(x))))  # [B, 288, 35, 35]
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # [B, 768, 17, 17]
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [B, 2048, 8, 8]
        features = x.mean(dim=(2, 3))
        return features, F.linear(features, self.fc.weight)
