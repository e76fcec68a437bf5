"""Real data as what generated samples are measured against: images by their features, points, and stacks of digits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from sparring.data import Data, Modes
from sparring.errors import UsageError
from sparring.metrics import frechet
from sparring.metrics.estimate import Estimate, from_replicates, from_standard_error
from sparring.metrics.extractors import Features, LoadedExtractor, extract
from sparring.metrics.extractors.cache import cached_features
from sparring.metrics.frechet import intra_class_frechet
from sparring.metrics.inception_score import inception_score
from sparring.metrics.kernel import kernel_distance
from sparring.metrics.manifold import manifold_scores
from sparring.metrics.memorization import Memorization, memorization
from sparring.metrics.modes import class_histogram, class_kl, mode_report
from sparring.metrics.spread import feature_spread, mean_ms_ssim

Array = npt.NDArray[np.float64]
Values = dict[str, Estimate]

MAX_BATCH = 250
_REPLICATES = 1000
_PAIRS = 1000  # of samples whose similarity is averaged
_SMALL = 16  # pixels of an image in the test of memorization
_STACK = 3  # pictures in a stack
_STACK_BATCH = 128  # pictures classified at a time: the activations of 3 · 250 leave the cache and cost twice the time


@dataclass(frozen=True, eq=False)
class Drawn:
    """A generated set, as its reference looks at it.

    Attributes:
        features: ``[N, F]``; of points their coordinates, of stacks nothing.
        probabilities: of the classes ``[N, K]``, or None.
        images: uint8 ``[n, C, H, W]``, the first of the set, for measures that look at pixels; None for points.
        labels: of stacks, the class of each channel ``[N, 3]``; None elsewhere.
    """

    features: Array
    probabilities: Array | None = None
    images: torch.Tensor | None = None
    labels: npt.NDArray[np.int64] | None = None


class Measure(NamedTuple):
    """How a family is measured.

    Attributes:
        of: a generated set -> its values.
        gives: the metrics, keys of `METRICS`.
    """

    of: Callable[[Drawn], Values]
    gives: tuple[str, ...]


class Copying(NamedTuple):
    """What the tests of memorization found.

    Features see a copy that was moved or recoloured; pixels see one among training images that all look alike to an extractor.

    Attributes:
        features: the test on features.
        pixels: the test on small versions of the images, or None for points.
    """

    features: Memorization
    pixels: Memorization | None

    @property
    def gravest(self) -> Memorization:
        """The test that found most."""
        found = [self.features, *([] if self.pixels is None else [self.pixels])]
        order = ("no copying found", "single copies", "copies")
        return max(found, key=lambda each: (order.index(each.verdict), each.copied - each.copied_real))


class Reference(ABC):
    """Real data and what can be measured against them.

    Attributes:
        measures: family of metrics -> how it is measured.
        usual: families that are measured unless others are asked for.
        primary: the value by which the best checkpoint is chosen unless another is asked for.
        count: real samples that generated ones are compared with, 0 where the modes are known.
    """

    measures: dict[str, Measure]
    usual: tuple[str, ...]
    primary: str
    count: int = 0

    @abstractmethod
    def look(self, drawn: Iterator[torch.Tensor]) -> Drawn:
        """Take in a generated set, batch after batch."""

    @abstractmethod
    def histogram(self, drawn: Drawn) -> tuple[int, ...] | None:
        """Return how many samples belong to each class or mode, or None where there are none."""


@dataclass(eq=False)
class FeatureReference(Reference):
    """Real samples in a feature space: what images and points have in common."""

    @property
    @abstractmethod
    def real(self) -> Array:
        """Features of the samples that generated ones are compared with ``[M, F]``."""

    @property
    @abstractmethod
    def training(self) -> Array:
        """Features of all training samples."""

    @property
    @abstractmethod
    def held_out(self) -> Array | None:
        """Features of real samples that were not trained on, or None."""

    def of_features(self) -> dict[str, Measure]:
        """Return what any features can be measured by."""
        copying = ("copies", "pixel_copies", "copying_z")
        return {
            "fd": Measure(self.fd, ("fd",)),
            "kd": Measure(self.kd, ("kd",)),
            "prdc": Measure(self.prdc, ("precision", "recall", "density", "coverage")),
            "memorization": Measure(self.memorization, tuple(name for name in copying if name not in self.without)),
        }

    @property
    @abstractmethod
    def without(self) -> tuple[str, ...]:
        """Metrics that cannot be had of these data."""

    @cached_property
    def _frechet(self) -> frechet.Reference:
        return frechet.Reference.of(self.real)

    def fd(self, drawn: Drawn) -> Values:
        """Return the Fréchet distance."""
        return {"fd": self._frechet.distance(drawn.features)}

    def kd(self, drawn: Drawn) -> Values:
        """Return the kernel distance."""
        return {"kd": kernel_distance(drawn.features, self.real)}

    def prdc(self, drawn: Drawn) -> Values:
        """Return precision, recall, density and coverage."""
        found = manifold_scores(self.real, drawn.features)
        return {name: getattr(found, name) for name in ("precision", "recall", "density", "coverage")}

    def memorization(self, drawn: Drawn) -> Values:
        """Return the share of copies and, with held-out data, the z-score of the data-copying test."""
        found = self.copying(drawn)
        z = found.features.z
        values = {"copies": found.features.copied}
        values |= {} if found.pixels is None else {"pixel_copies": found.pixels.copied}
        return values if z is None else values | {"copying_z": Estimate(z)}

    def copying(self, drawn: Drawn) -> Copying:
        """Return all that the tests of memorization find; asked twice about one set, it answers from memory."""
        if self._tested is None or self._tested[0] is not drawn:
            features = memorization(drawn.features, self.training, self.held_out)
            self._tested = drawn, Copying(features, self.pixel_copying(drawn))
        return self._tested[1]

    def pixel_copying(self, drawn: Drawn) -> Memorization | None:
        """Return what the test finds in the pixels of images; None for points, whose features are all there is."""
        return None

    _tested: tuple[Drawn, Copying] | None = field(default=None, init=False, repr=False)


@dataclass(eq=False)
class ImageReference(FeatureReference):
    """Real images, by the features and classes of an extractor.

    Attributes:
        data: the training images, with those held out.
        extractor: what looks at images.
        split: the part that generated images are compared with, ``"held-out"`` or ``"train"``.
    """

    data: Data
    extractor: LoadedExtractor
    split: str
    usual: tuple[str, ...] = field(init=False)
    primary: str = field(init=False, default="fd")

    def __post_init__(self) -> None:
        self.measures = self.of_features() | {"spread": Measure(self.spread, ("ms_ssim", "feature_spread"))}
        if self.extractor.record.num_classes:
            self.measures["is"] = Measure(self.inception, ("inception_score",))
            self.measures["modes"] = Measure(self.modes, ("class_kl", "classes_present", "confidence"))
            self.measures["intra"] = Measure(self.intra, ("intra_fd",))
        # Classes of natural photographs say little about other images; those of its own data say all.
        self.usual = ("fd", "modes") if self.extractor.record.name == self.data.judge else ("fd",)
        self.count = len(self._compared)

    @property
    def _compared(self) -> Data:
        return self.data if self.split == "train" or self.data.held_out is None else self.data.held_out

    def _features(self, data: Data) -> Features:
        return cached_features(
            self.extractor, lambda: batches(data), data_sha256=data.sha256, split="all", count=len(data)
        )

    @cached_property
    def _found(self) -> Features:
        return self._features(self._compared)

    @property
    def real(self) -> Array:
        """Features of the part that is compared with."""
        return self._found.features

    @cached_property
    def training(self) -> Array:
        """Features of the training data."""
        return self.real if self._compared is self.data else self._features(self.data).features

    @cached_property
    def held_out(self) -> Array | None:
        """Features of what is held out."""
        data = self.data.held_out
        if data is None:
            return None
        return self.real if self._compared is data else self._features(data).features

    @property
    def without(self) -> tuple[str, ...]:
        """Metrics that cannot be had of these data."""
        return ("copying_z",) if self.data.held_out is None else ()

    def pixel_copying(self, drawn: Drawn) -> Memorization:
        """Return what the test finds in images of 16×16."""
        assert drawn.images is not None
        held_out = None if self.data.held_out is None else _small(batches(self.data.held_out))
        return memorization(_small([drawn.images.float() / 127.5 - 1]), self._small_training, held_out)

    @cached_property
    def _small_training(self) -> torch.Tensor:
        return _small(batches(self.data))

    def look(self, drawn: Iterator[torch.Tensor]) -> Drawn:
        """Take in a generated set; see `Reference.look`."""
        kept: list[torch.Tensor] = []
        found = extract(self.extractor, _keeping(drawn, kept, _PAIRS))
        return Drawn(found.features, found.probabilities, torch.cat(kept))

    def histogram(self, drawn: Drawn) -> tuple[int, ...] | None:
        """Return how many samples belong to each class or mode."""
        if "modes" not in self.usual:
            return None
        return tuple(int(count) for count in self._histogram(drawn))

    def _histogram(self, drawn: Drawn) -> npt.NDArray[np.int64]:
        assert drawn.probabilities is not None
        return class_histogram(drawn.probabilities.argmax(axis=1), drawn.probabilities.shape[1])

    @cached_property
    def _frequencies(self) -> Array:
        """How often each class occurs in the training data ``[K]``; by the labels where the extractor's classes are theirs."""
        classes = self.extractor.record.num_classes
        if self.extractor.record.name != self.data.judge:
            return class_histogram(self._found.labels, classes) / self.count
        if self.data.labels is None:
            return np.full(classes, 1 / classes)
        return class_histogram(self.data.labels, classes) / len(self.data)

    def modes(self, drawn: Drawn) -> Values:
        """Return which classes occur and how evenly."""
        assert drawn.probabilities is not None
        histogram, sure = self._histogram(drawn), drawn.probabilities.max(axis=1)
        error = float(sure.std() / np.sqrt(len(sure)))
        return {
            "class_kl": _divergence(histogram, self._frequencies),
            "classes_present": Estimate(float((histogram > 0).sum())),
            "confidence": from_standard_error(float(sure.mean()), error, "standard error", 0, 1),
        }

    def inception(self, drawn: Drawn) -> Values:
        """Return the inception score."""
        assert drawn.probabilities is not None
        return {"inception_score": inception_score(drawn.probabilities)}

    def intra(self, drawn: Drawn) -> Values:
        """Return the Fréchet distance within the classes that the extractor recognises on both sides."""
        assert drawn.probabilities is not None
        ours = drawn.probabilities.argmax(axis=1)
        return {"intra_fd": intra_class_frechet(drawn.features, ours, self.real, self._found.labels)}

    def spread(self, drawn: Drawn) -> Values:
        """Return how alike samples are, in pixels and in features."""
        assert drawn.images is not None
        ours, theirs = feature_spread(drawn.features), float(feature_spread(self.real))
        share = Estimate(ours / theirs, ours.low / theirs, ours.high / theirs, ours.interval)
        images = drawn.images.float() / 127.5 - 1
        return {"ms_ssim": mean_ms_ssim(images, pairs=_PAIRS), "feature_spread": share}


@dataclass(eq=False)
class PointReference(FeatureReference):
    """Points in the plane: their coordinates are their features, and the modes may be known.

    Attributes:
        data: the training points.
        modes: the mixture that they come from, or None.
    """

    data: Data
    modes: Modes | None

    def __post_init__(self) -> None:
        self.measures = self.of_features()
        if self.modes is not None:
            self.measures["modes"] = Measure(self.covered, ("mode_gap", "modes", "high_quality", "reverse_kl"))
        self.usual, self.primary = (("modes",), "mode_gap") if self.modes is not None else (("fd",), "fd")
        self.count = 0 if self.modes is not None else len(self._compared)

    @property
    def _compared(self) -> Data:
        return self.data if self.data.held_out is None else self.data.held_out

    @cached_property
    def real(self) -> Array:
        """Coordinates of the points that are compared with."""
        return _coordinates(self._compared)

    @cached_property
    def training(self) -> Array:
        """Coordinates of the training points."""
        return _coordinates(self.data)

    @property
    def held_out(self) -> Array | None:
        """Coordinates of what is held out."""
        return None if self.data.held_out is None else self.real

    @property
    def without(self) -> tuple[str, ...]:
        """Metrics that cannot be had of these data."""
        return ("pixel_copies",) if self.data.held_out is not None else ("pixel_copies", "copying_z")

    def look(self, drawn: Iterator[torch.Tensor]) -> Drawn:
        """Take in a generated set; see `Reference.look`."""
        return Drawn(torch.cat(list(drawn)).to("cpu", torch.float64).numpy())

    def histogram(self, drawn: Drawn) -> tuple[int, ...] | None:
        """Return how many samples belong to each class or mode."""
        return None if self.modes is None else mode_report(drawn.features, self.modes).histogram

    def covered(self, drawn: Drawn) -> Values:
        """Return which modes occur, how evenly, and how many samples miss them (arXiv:1712.04086, §4.1).

        ``mode_gap`` = reverse KL + fraction of samples that miss every mode. The reverse KL alone would call a blob between
        all modes perfect, the missing fraction alone a collapse onto one of them.
        """
        assert self.modes is not None
        report, count = mode_report(drawn.features, self.modes), len(drawn.features)
        spread = _divergence(np.array(report.histogram), np.ones(len(report.histogram)))
        missed = 1 - report.high_quality
        error = float(np.sqrt(missed * (1 - missed) / count))
        gap = Estimate(spread + missed, spread.low + missed - error, spread.high + missed + error, spread.interval)
        return {
            "mode_gap": gap,
            "modes": Estimate(float(report.modes)),
            "high_quality": from_standard_error(report.high_quality, error, "standard error", 0, 1),
            "reverse_kl": spread,
        }


@dataclass(eq=False)
class StackedReference(Reference):
    """Stacks of three pictures, judged by the K³ combinations of their classes, all equally likely.

    Each channel counts as the class that the classifier finds most probable in it, with no threshold (PacGAN,
    arXiv:1712.04086, section 4.2, after VEEGAN, arXiv:1705.07761). The reverse KL orders generators even while modes are
    missing: covering m modes evenly costs ln(K³/m). It does not see whether the pictures are any good.

    Of n samples over M modes even a perfect generator scores about (M - 1) / 2n: 0.019 for 26,000 over 1000.

    Attributes:
        extractor: the classifier of one channel.
    """

    extractor: LoadedExtractor

    def __post_init__(self) -> None:
        self.measures = {"modes": Measure(self.covered, ("reverse_kl", "modes"))}
        self.usual, self.primary = ("modes",), "reverse_kl"

    def look(self, drawn: Iterator[torch.Tensor]) -> Drawn:
        """Take in a generated set; see `Reference.look`."""
        labels = extract(self.extractor, _pictures(drawn)).labels.reshape(-1, _STACK)
        return Drawn(np.empty((len(labels), 0)), labels=labels)

    def histogram(self, drawn: Drawn) -> tuple[int, ...] | None:
        """Return how many samples belong to each class or mode."""
        assert drawn.labels is not None
        return tuple(int(count) for count in class_histogram(drawn.labels, self.extractor.record.num_classes))

    def covered(self, drawn: Drawn) -> Values:
        """Return how many triples occur, and how evenly."""
        assert drawn.labels is not None
        classes = self.extractor.record.num_classes
        numbers = drawn.labels @ classes ** np.arange(_STACK)[::-1]  # the first channel is the first digit
        histogram = class_histogram(numbers, classes**_STACK)
        return {
            "reverse_kl": _divergence(histogram, np.ones(len(histogram))),
            "modes": Estimate(float((histogram > 0).sum())),
        }


def _small(images: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the pixels ``[N, C 16²]`` of small versions of images."""
    return torch.cat([F.interpolate(x, (_SMALL, _SMALL), mode="bilinear", antialias=True).flatten(1) for x in images])


def _coordinates(data: Data) -> Array:
    return np.concatenate([x.double().numpy() for x in batches(data)]) * data.scale


def _divergence(histogram: npt.NDArray[np.int64], reference: Array) -> Estimate:
    """Return KL(generated ‖ reference) with the interval of redrawn histograms.

    Redrawing adds the bias of counting once more, so the interval is moved by it (the basic bootstrap would turn it round and
    reach below zero).
    """
    value, count = class_kl(histogram, reference), int(histogram.sum())
    redrawn = np.random.default_rng(0).multinomial(count, histogram / count, size=_REPLICATES)
    replicates = np.array([class_kl(row, reference) for row in redrawn])
    moved = np.maximum(replicates - (np.median(replicates) - value), 0) if np.isfinite(replicates).all() else replicates
    return from_replicates(value, moved, f"bootstrap {_REPLICATES}")


def batches(data: Data, count: int | None = None) -> Iterator[torch.Tensor]:
    """Yield real samples in their order, at most `MAX_BATCH` at a time; all of them, or the first ``count``."""
    total = len(data) if count is None else count
    for first in range(0, total, MAX_BATCH):
        yield data.batch(np.arange(first, min(first + MAX_BATCH, total)))[0]


def _keeping(drawn: Iterable[torch.Tensor], kept: list[torch.Tensor], most: int) -> Iterator[torch.Tensor]:
    """Yield batches, and keep the first images as the levels of a picture."""
    for x in drawn:
        room = most - sum(map(len, kept))
        if room > 0:
            kept.append((x[:room].detach().cpu().float() * 127.5 + 127.5).round().clamp(0, 255).byte())
        yield x


def _pictures(stacks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield the channels ``[B, 1, H, W]`` of stacks ``[N, 3, H, W]``, stack after stack."""
    for x in stacks:
        if x.ndim != 4 or x.shape[1] != _STACK:
            raise UsageError(f"Stacked pictures: a batch of shape {tuple(x.shape)} cannot be read; give [B, 3, H, W].")
        pictures = x.flatten(0, 1).unsqueeze(1)
        for first in range(0, len(pictures), _STACK_BATCH):
            yield pictures[first : first + _STACK_BATCH]
