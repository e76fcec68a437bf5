"""Feature extractors: small classifiers, shipped with the package, in whose features generated data is judged.

Inception features (arXiv:1706.08500) come from ImageNet and know little of a digit; a classifier trained on the very
data set knows what matters in it. Each extractor is a frozen record in `EXTRACTORS` that names its weights file and its
sha256, so a number measured with it can say exactly what it was measured with.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

from sparring.errors import CheckpointError, UsageError, unknown_name

SIDE = 28
RESIZE = "u8-luma-bilinear-antialias-28"
"""How any image becomes a classifier's input, as protocols state it: see `prepare`."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True)
class Extractor:
    """A feature extractor that ships with the package.

    Attributes:
        name: its key in `EXTRACTORS`, and what protocols state.
        summary: one line for people.
        weights: file name in ``sparring/metrics/weights``.
        sha256: of that file, hexadecimal.
        accuracy: fraction of the data set's 10,000 test images that it recognises.
        class_names: K names, in the order of the logits.
        feature_dim: F, the number of features.
    """

    name: str
    summary: str
    weights: str
    sha256: str
    accuracy: float
    class_names: tuple[str, ...]
    feature_dim: int


EXTRACTORS: dict[str, Extractor] = {
    extractor.name: extractor
    for extractor in (
        Extractor(
            name="digits-v1",
            summary="classifier of handwritten digits, trained on MNIST's 60,000 training images",
            weights="digits-v1.safetensors",
            sha256="0d86a89f755fb91b98de9c06cd4989e00aea7767a85326ac51634fb5c0fa1ebf",
            accuracy=0.9975,
            class_names=tuple("0123456789"),
            feature_dim=64,
        ),
        Extractor(
            name="clothes-v1",
            summary="classifier of pieces of clothing, trained on Fashion-MNIST's 60,000 training images",
            weights="clothes-v1.safetensors",
            sha256="34d19f22a61f116290ad9e8d8557a5911c89445f42cd48a4df7ba5415f5557fa",
            accuracy=0.9295,
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            feature_dim=64,
        ),
    )
}
"""Every feature extractor by name; each sha256 is checked when its weights are loaded."""


def _block(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return convolution 3x3, batch norm, ReLU: ``[B, in, H, W] -> [B, out, H/stride, W/stride]``."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


class Classifier(nn.Module):
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

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and logits.

        Args:
            x: grey images ``[B, 1, 28, 28]`` in [-1, 1].

        Returns:
            Features ``[B, F]`` (before the ReLU) and logits ``[B, K]``.
        """
        features = self.features(self.trunk(x).mean(dim=(2, 3)))
        return features, self.head(torch.relu(features))


@dataclass(frozen=True, eq=False)
class Features:
    """What an extractor says about N images.

    Attributes:
        features: float64 ``[N, F]``.
        probabilities: float64 ``[N, K]``, rows sum to 1.
    """

    features: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The most probable class of each image, int64 ``[N]``."""
        most: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return most


def load_extractor(name: str) -> Classifier:
    """Return a shipped classifier, on the CPU, in eval mode and without gradients; the same object every time.

    Args:
        name: a key of `EXTRACTORS`.

    Raises:
        UsageError: when there is no extractor of that name.
        CheckpointError: when its weights file is missing or is not the one that the table describes.
    """
    if name not in EXTRACTORS:
        raise UsageError(unknown_name("feature extractor", name, EXTRACTORS))
    return _load(EXTRACTORS[name])


@functools.cache
def _load(extractor: Extractor) -> Classifier:
    content = _read(extractor)
    digest = hashlib.sha256(content).hexdigest()
    if digest != extractor.sha256:
        raise CheckpointError(
            f"The weights of {extractor.name} ({extractor.weights}) have sha256 {digest[:8]}… instead of "
            f"{extractor.sha256[:8]}…; reinstall sparring."
        )
    net = Classifier(len(extractor.class_names), extractor.feature_dim)
    try:
        net.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"The weights of {extractor.name} do not fit its network; reinstall sparring.") from error
    return net.eval().requires_grad_(False)


def _read(extractor: Extractor) -> bytes:
    try:
        return (files("sparring.metrics") / "weights" / extractor.weights).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights of {extractor.name} ({extractor.weights}) cannot be read: {error}; reinstall sparring."
        ) from error


def prepare(x: torch.Tensor) -> torch.Tensor:
    """Return images as the classifiers take them, so that a generated tensor and its saved picture count the same.

    In this order: values are clipped and rounded to the 256 levels of a picture; RGB becomes grey by its luma (BT.601);
    other sizes become 28x28, bilinear with antialiasing, whatever the aspect.

    Args:
        x: images ``[B, 1 or 3, H, W]``, any float dtype and device, meant for [-1, 1].

    Returns:
        float32 ``[B, 1, 28, 28]`` on the CPU, in [-1, 1].

    Raises:
        UsageError: when x has another shape.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise UsageError(
            f"Feature extractor: images of shape {tuple(x.shape)} cannot be read; give [B, 1, H, W] or [B, 3, H, W]."
        )
    levels = (x.detach().to("cpu", torch.float32) * 127.5 + 127.5).round().clamp(0, 255)
    x = levels / 127.5 - 1
    if x.shape[1] == 3:
        x = (x * x.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    if x.shape[2:] != (SIDE, SIDE):
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return x


def extract(extractor: str | Classifier, batches: Iterable[torch.Tensor]) -> Features:
    """Return features and class probabilities of all images, always computed on the CPU in float32.

    A number must not depend on the machine that trained: hence no accelerator and no autocast, whatever the caller has
    switched on. How the images are cut into batches changes nothing beyond float32 rounding. No randomness is used.

    Args:
        extractor: a key of `EXTRACTORS`, or a classifier in eval mode.
        batches: images ``[B, 1 or 3, H, W]`` in [-1, 1], see `prepare`; any B. NaN in gives NaN out.

    Raises:
        UsageError: for an unknown name, for images that cannot be read, or when there are none.
    """
    net = load_extractor(extractor) if isinstance(extractor, str) else extractor
    features: list[torch.Tensor] = []
    probabilities: list[torch.Tensor] = []
    for x in batches:  # drawn outside of the two modes, which are nobody's business but the classifier's
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            found, logits = net(prepare(x))
            features.append(found.double())
            probabilities.append(logits.double().softmax(dim=1))
    if not features:
        raise UsageError("Feature extractor: there are no images to measure; give at least one batch.")
    return Features(torch.cat(features).numpy(), torch.cat(probabilities).numpy())
