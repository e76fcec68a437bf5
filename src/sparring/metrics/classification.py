"""What synthetic labelled images are worth to a classifier: alone (arXiv:1905.10887), and beside few real ones.

The classifier is a small convolutional one, trained from nothing in seconds on a CPU, by one schedule whatever it is given: as
many steps and as large batches, so that only the images differ. It is a gauge, not a record: compare its accuracies with each
other, and that of synthetic images with that of as many real ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.metrics.estimate import Z95, Estimate
from sparring.metrics.nonparametric import share
from sparring.randomness import randomness

STEPS = 400
"""Batches that a classifier is trained on."""

SIDE = 32
"""Images with a longer side are made this small first, so that a training takes seconds whatever their size."""

_BATCH = 64
_LEARNING_RATE = 3e-3
_WARM_UP = 0.1  # of the steps
_WIDTHS = (16, 32, 64)
_GROUPS = 8
_PARTS = 4
_TEST_BATCH = 500

Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with a class each.

    Attributes:
        x: ``[N, C, H, W]``, uint8, or float in [-1, 1].
        y: classes from 0 up, integers ``[N]``.
    """

    x: Tensor
    y: Tensor

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on.

        Raises:
            UsageError: the shapes do not fit together, there are none, or labels are no integers from 0 up.
        """
        if self.x.ndim != 4 or self.y.shape != self.x.shape[:1] or not len(self.y):
            raise UsageError(
                f"Labelled images: {tuple(self.x.shape)} images and {tuple(self.y.shape)} labels do not fit together; "
                "give [N, C, H, W] and [N], N of 1 or more."
            )
        if self.y.is_floating_point() or int(self.y.min()) < 0:
            raise UsageError("Labelled images: labels must be integers from 0 up; number the classes 0, 1, 2 …")


@dataclass(frozen=True)
class AugmentationGain:
    """What synthetic images add to real ones.

    Attributes:
        gain: accuracy with both less that with real images alone, -1 to 1.
        real: accuracy of classifiers trained on real images alone.
        both: of classifiers trained on real and synthetic ones.
    """

    gain: Estimate
    real: Estimate
    both: Estimate


def classification_accuracy(
    synthetic: LabelledImages, test: LabelledImages, *, seed: int = 0, steps: int = STEPS
) -> Estimate:
    """Return the accuracy on real images of a classifier trained on synthetic ones (arXiv:1905.10887).

    Args:
        synthetic: what the classifier is trained on; give real training images to know what could be reached.
        test: real images, of the same shape, that the generator was not trained on.
        seed: of the classifier's weights and batches.
        steps: of its training.

    Returns:
        The share of test images that it recognises, 0 to 1, with the interval of other test images.

    Raises:
        UsageError: when the images differ in shape.
    """
    return share(_hits((synthetic,), test, _num_classes(synthetic, test), seed, steps))


def augmentation_gain(
    real: LabelledImages,
    synthetic: LabelledImages,
    test: LabelledImages,
    *,
    seeds: int = 5,
    seed: int = 0,
    steps: int = STEPS,
) -> AugmentationGain:
    """Measure whether synthetic images help a classifier that has few real ones.

    Two classifiers are trained for every seed, from the same first weights: one on real images, one on batches whose one half is
    real and whose other half is synthetic. So many synthetic images cannot drown few real ones, and both see as many images in
    all. The differences are taken image by image.

    Args:
        real: the few real images.
        synthetic: of a generator trained on those few, or it knows what the classifier does not.
        test: other real images, of the same shape.
        seeds: pairs of classifiers, >= 2.
        seed: the first of their seeds.
        steps: of each training.

    Returns:
        The gain and both accuracies, with intervals that count in other seeds and other test images; not other real images.

    Raises:
        UsageError: when the images differ in shape, or there are fewer than 2 seeds.
    """
    if seeds < 2:
        raise UsageError(f"Augmentation gain: {seeds} seeds tell nothing of chance; take 2 or more.")
    classes = _num_classes(real, synthetic, test)
    alone, both = (
        np.stack([_hits(sources, test, classes, seed + i, steps) for i in range(seeds)]).astype(np.float64)
        for sources in ((real,), (real, synthetic))
    )
    return AugmentationGain(
        _mean_over_seeds(both - alone, -1.0), _mean_over_seeds(alone, 0.0), _mean_over_seeds(both, 0.0)
    )


def _num_classes(*sets: LabelledImages) -> int:
    """Return the number of classes, or say that the sets do not fit together."""
    shapes = {tuple(images.x.shape[1:]) for images in sets}
    if len(shapes) > 1:
        raise UsageError(f"Labelled images: sets of shapes {sorted(shapes)} cannot be mixed; resize them to one shape.")
    return 1 + max(int(images.y.max()) for images in sets)


def _hits(sources: Sequence[LabelledImages], test: LabelledImages, classes: int, seed: int, steps: int) -> Hits:
    """Train a classifier and return which test images it recognises, ``[N]``."""
    net = _train(sources, classes, seed, steps)
    x = _prepared(test.x)
    with torch.no_grad():
        found = torch.cat([net(x[first : first + _TEST_BATCH]).argmax(1) for first in range(0, len(x), _TEST_BATCH)])
    hits: Hits = (found == test.y.cpu()).numpy()
    return hits


def _train(sources: Sequence[LabelledImages], classes: int, seed: int, steps: int) -> nn.Module:
    """Return a classifier trained on batches of which every source has an equal part."""
    images = [(_prepared(source.x), source.y.to("cpu", torch.int64)) for source in sources]
    net = _classifier(images[0][0].shape[1], classes, randomness(seed, "classifier weights"))
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=_LEARNING_RATE)
    draw = randomness(seed, "classifier batches")
    for step in range(steps):
        chosen = [torch.randint(len(x), (_BATCH // len(images),), generator=draw) for x, _ in images]
        x = torch.cat([source[rows] for (source, _), rows in zip(images, chosen, strict=True)])
        y = torch.cat([labels[rows] for (_, labels), rows in zip(images, chosen, strict=True)])
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * _schedule(step / steps)
        gradients = torch.autograd.grad(F.cross_entropy(net(x), y), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    return net


def _schedule(progress: float) -> float:
    """Return the factor of the learning rate: up from 0, then down to 0 as half a cosine."""
    if progress < _WARM_UP:
        return progress / _WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))


def _classifier(channels: int, classes: int, source: torch.Generator) -> nn.Sequential:
    """Return three strided convolutions, means over 4 x 4 parts of the picture, and logits: ``[B, C, H, W] -> [B, K]``.

    Groups are normalized, not batches: a classifier of one kind of images must not judge another by the first's averages.
    """
    with torch.device("meta"):  # weights come from a generator of their own, not from the global one
        layers: list[nn.Module] = []
        for width in _WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(_GROUPS, width), nn.ReLU()]
            channels = width
        net = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(_PARTS), nn.Flatten(), nn.Linear(channels * _PARTS**2, classes)
        )
    net.to_empty(device="cpu")
    for layer in net:
        if isinstance(layer, nn.GroupNorm):
            layer.reset_parameters()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, generator=source)
            nn.init.zeros_(layer.bias)
    return net


def _prepared(x: Tensor) -> Tensor:
    """Return images as float32 in [-1, 1] on the CPU, at most `SIDE` pixels on the longer side."""
    images = x.detach().cpu()
    images = images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()
    longest = max(images.shape[2:])
    if longest <= SIDE:
        return images
    height, width = (max(1, round(side * SIDE / longest)) for side in images.shape[2:])
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)


#: Student's t at 97.5 % for 1 … 9 degrees of freedom; from there on the expansion of Cornish and Fisher is exact to 0.2 %.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def _student(freedom: int) -> float:
    if freedom <= len(_T):
        return _T[freedom - 1]
    return Z95 + (Z95**3 + Z95) / (4 * freedom) + (5 * Z95**5 + 16 * Z95**3 + 3 * Z95) / (96 * freedom**2)


def _mean_over_seeds(values: npt.NDArray[np.float64], least: float) -> Estimate:
    """Return the mean of values ``[seeds, images]``, least … 1, with the interval of other seeds and other images."""
    seeds, images = values.shape
    of_seeds = _student(seeds - 1) * float(values.mean(1).std(ddof=1)) / math.sqrt(seeds)
    of_images = Z95 * float(values.mean(0).std(ddof=1)) / math.sqrt(images)
    mean, half = float(values.mean()), math.hypot(of_seeds, of_images)
    return Estimate(mean, max(mean - half, least), min(mean + half, 1.0), f"{seeds} seeds")
