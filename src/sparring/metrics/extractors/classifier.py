"""Small classifiers, shipped with the package, in whose features digits and clothes are judged.

Inception features (arXiv:1706.08500) come from ImageNet and know little of a digit; a classifier trained on the very
data set knows what matters in it.
"""

from __future__ import annotations

import torch
from torch import nn

from sparring.metrics.extractors.record import FeatureNetwork
from sparring.metrics.extractors.resize import bilinear_antialias, to_grey

SIDE = 28
RESIZE = "u8-luma-bilinear-antialias-28"
"""How any image becomes a classifier's input, as protocols state it: see `Classifier.from_levels`."""


def _block(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return convolution 3x3, batch norm, ReLU: ``[B, in, H, W] -> [B, out, H/stride, W/stride]``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class Classifier(FeatureNetwork):
    """A convolutional classifier of 28x28 grey images: five blocks, global average pooling, a 64-wide layer, logits.

    The features are the 64-wide layer after its batch norm and *before* its ReLU: every coordinate then has mass on
    both sides of zero, which is nearer to the Gaussian that the Fréchet distance assumes than a rectified one.

    Args:
        num_classes: K, the width of the logits.
        feature_dim: F, the width of the features.
    """

    def __init__(self, num_classes: int = 10, feature_dim: int = 64) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _block(1, 24, stride=1),
            _block(24, 48, stride=2),
            _block(48, 64, stride=1),
            _block(64, 96, stride=2),
            _block(96, 128, stride=1),
        )
        self.features = nn.Sequential(nn.Linear(128, feature_dim, bias=False), nn.BatchNorm1d(feature_dim))
        self.head = nn.Linear(feature_dim, num_classes)

    def from_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """Return images as the classifiers take them.

        In this order: levels 0 … 255 become -1 … 1; RGB becomes grey by its luma (BT.601); other sizes become 28x28,
        bilinear with antialiasing, whatever the aspect.

        Args:
            levels: ``[B, 1 or 3, H, W]`` from `to_levels`.

        Returns:
            float32 ``[B, 1, 28, 28]`` in [-1, 1].
        """
        return bilinear_antialias(to_grey(levels / 127.5 - 1), SIDE)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits.

        Args:
            x: grey images ``[B, 1, 28, 28]`` in [-1, 1].

        Returns:
            Features ``[B, F]`` (before the ReLU) and logits ``[B, K]``.
        """
        features = self.features(self.trunk(x).mean(dim=(2, 3)))
        return features, self.head(torch.relu(features))
