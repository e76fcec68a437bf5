"""What every feature extractor is: a record of facts, a network, and the two loaded together."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sparring.metrics.extractors.resize import to_levels


class FeatureNetwork(nn.Module, ABC):
    """A network that makes features of images, together with the way an image becomes its input."""

    def prepare(self, x: torch.Tensor, *, rounded: bool = True) -> torch.Tensor:
        """Return images as the network takes them, first of all clipped and rounded to the 256 levels of a picture.

        A generated tensor and its saved picture thus count the same.

        Args:
            x: images ``[B, 1 or 3, H, W]``, any float dtype, meant for [-1, 1].
            rounded: False leaves values between the levels, for what follows tiny changes of an image.

        Returns:
            float32 on the device of x, in the network's own size, channels and range.

        Raises:
            UsageError: when x has another shape.
        """
        return self.from_levels(to_levels(x, rounded=rounded))

    @abstractmethod
    def from_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """Return float32 images ``[B, 1 or 3, H, W]``, whose values are levels 0 … 255, as the network takes them."""

    @abstractmethod
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return features ``[B, F]`` and logits ``[B, K]`` of prepared images; None where there are no classes."""


@dataclass(frozen=True)
class WeightsFile:
    """Where an extractor's weights come from.

    Attributes:
        name: of the file, as published.
        package: import name of the installed package that holds it, or None where it is downloaded.
        folder: in that package.
        install: what to tell pip when the package is not there.
        url: address of the file, or None where a package holds it.
    """

    name: str
    package: str | None = None
    folder: str = ""
    install: str = ""
    url: str | None = None


@dataclass(frozen=True)
class Extractor:
    """The facts of a feature extractor, all of which a number that is measured with it depends on.

    Attributes:
        name: its key in `EXTRACTORS`, and what protocols state.
        summary: one line for people.
        paper: where the network comes from, ``"arXiv:…"``, or None when it is sparring's own or the user's.
        weights: their file, or None for a module of the user's.
        sha256: of that file, or of the module's state, hexadecimal.
        network: builds the network without its weights; called on torch's meta device.
        side: height and width of the network's input in pixels, or None where images keep theirs.
        resize: how any image becomes that input, as protocols state it.
        feature_dim: F, the number of features, or None where it is not known before the first image.
        num_classes: K, the width of the logits; 0 where there are none.
        class_names: K names in the order of the logits, or none.
        accuracy: fraction of its data set's 10,000 test images that it recognises, where sparring measured it.
    """

    name: str
    summary: str
    paper: str | None
    weights: WeightsFile | None
    sha256: str
    network: Callable[[], FeatureNetwork]
    side: int | None
    resize: str
    feature_dim: int | None
    num_classes: int
    class_names: tuple[str, ...] = ()
    accuracy: float | None = None


@dataclass(frozen=True, eq=False)
class LoadedExtractor:
    """An extractor with its weights: in eval mode, in float32, without gradients.

    Attributes:
        record: its facts.
        net: its network. It may be shared; leave it as it is.
        device: where it computes.
    """

    record: Extractor
    net: FeatureNetwork
    device: torch.device

    def prepare(self, x: torch.Tensor, *, rounded: bool = True) -> torch.Tensor:
        """Return images as the network takes them, on its device; see `FeatureNetwork.prepare`."""
        return self.net.prepare(x.detach().to(self.device), rounded=rounded)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return features ``[B, F]`` and logits ``[B, K]`` (None without classes) of prepared images."""
        features, logits = self.net(x)
        return features, logits

    def on(self, device: str | torch.device) -> LoadedExtractor:
        """Return it on a device: itself where it is there already, else a copy."""
        there = torch.device(device)
        if there == self.device:
            return self
        return replace(self, net=copy.deepcopy(self.net).to(there), device=there)


@dataclass(frozen=True, eq=False)
class Features:
    """What an extractor says about N images.

    Attributes:
        features: float64 ``[N, F]``.
        probabilities: float64 ``[N, K]``, rows sum to 1; None for an extractor without classes.
    """

    features: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64] | None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The most probable class of each image, int64 ``[N]``; only of an extractor with classes."""
        assert self.probabilities is not None, "this extractor has no classes"
        most: npt.NDArray[np.int64] = self.probabilities.argmax(axis=1).astype(np.int64)
        return most

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The probability of that class, float64 ``[N]``; only of an extractor with classes."""
        assert self.probabilities is not None, "this extractor has no classes"
        largest: npt.NDArray[np.float64] = self.probabilities.max(axis=1)
        return largest
