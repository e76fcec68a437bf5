"""The judge of a run: scores a generator again and again, always in the same way, so that numbers compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.features import EXTRACTORS, RESIZE, Classifier, Extractor, Features, extract, load_extractor
from sparring.metrics.frechet import Moments, frechet_from_moments
from sparring.metrics.modes import class_histogram, class_kl, mode_report
from sparring.metrics.protocol import SHORT_HASH, Protocol

if TYPE_CHECKING:
    from sparring.data import Data, Modes

Sampler = Callable[[int, int], torch.Tensor]
"""``sample(first_index, count) -> x [count, ...]``: that part of one fixed, endless generated set."""

MAX_BATCH = 250

STACKED: dict[str, str] = {"stacked-digits-v1": "digits-v1"}
"""Judges of images with a picture in each channel, and the extractor that looks at every channel alone."""

_STACK = 3  # pictures in a stack
_STACK_BATCH = 128  # pictures classified at a time: the activations of 3 · 250 leave the cache and cost twice the time


class _NotFiniteError(Exception):
    """A generated sample holds NaN or infinity."""


@dataclass(frozen=True)
class Scores:
    """What a judge found.

    Attributes:
        values: metric name (a key of ``METRICS``) to number; all NaN when the generator made something not finite.
        histogram: samples (of stacked digits, channels) per recognised class, or samples per mode; None when the values
            are NaN.
        protocol: how it was measured, in one line; numbers with different lines must not be compared.
    """

    values: dict[str, float]
    histogram: tuple[int, ...] | None
    protocol: str


@dataclass(frozen=True, eq=False)
class Judge(ABC):
    """Scores a generator on one data set, always in the same way.

    Attributes:
        name: what it judges by: the extractor's name, that of a row of `STACKED`, or ``"modes"``.
        primary: the value, lower is better, that the best checkpoint is chosen by: ``"fd"``, ``"reverse_kl"`` or
            ``"mode_gap"``.
        metrics: keys of the values it returns.
        protocol: of the primary value.
    """

    name: str
    primary: str
    metrics: tuple[str, ...]
    protocol: Protocol

    def score(self, sample: Sampler) -> Scores:
        """Return the scores of a generated set.

        Args:
            sample: ``sample(first_index, count)`` returns samples number first_index to first_index + count - 1 of a
                set that never changes for the same generator: images ``[count, C, H, W]`` in [-1, 1] or points
                ``[count, 2]``, on any device. It is called in order, for at most 250 at a time.

        Raises:
            UsageError: when the samples have a shape that cannot be judged.
        """
        try:
            values, histogram = self._measure(_drawn(sample, self.protocol.n_generated))
        except _NotFiniteError:
            return Scores(dict.fromkeys(self.metrics, float("nan")), None, self.protocol.short())
        return Scores(values, histogram, self.protocol.short())

    @abstractmethod
    def _measure(self, drawn: Iterator[torch.Tensor]) -> tuple[dict[str, float], tuple[int, ...]]:
        """Return the values and the histogram of samples that come in batches."""


@dataclass(frozen=True, eq=False)
class ImageJudge(Judge):
    """Judges images by the features and classes of a classifier.

    Attributes:
        net: the classifier.
        reference: moments of the reference images' features.
        class_frequencies: of the training images ``[K]``.
    """

    net: Classifier
    reference: Moments
    class_frequencies: npt.NDArray[np.float64]

    def _measure(self, drawn: Iterator[torch.Tensor]) -> tuple[dict[str, float], tuple[int, ...]]:
        found = extract(self.net, drawn)
        moments, real = _moments(found), self.reference
        histogram = class_histogram(found.labels, len(self.class_frequencies))
        distance = frechet_from_moments(moments.mean, moments.covariance(), real.mean, real.covariance())
        values = {
            "fd": distance,
            "class_kl": class_kl(histogram, self.class_frequencies),
            "classes_present": float((histogram > 0).sum()),
            "confidence": float(found.probabilities.max(axis=1).mean()),
        }
        return values, tuple(int(count) for count in histogram)


@dataclass(frozen=True, eq=False)
class StackedJudge(Judge):
    """Judges stacks of three pictures by the K³ combinations of their classes, all equally likely.

    Each channel counts as the class that the classifier finds most probable in it, with no threshold (PacGAN,
    arXiv:1712.04086, section 4.2, after VEEGAN, arXiv:1705.07761). The reverse KL orders generators even while modes are
    missing: covering m modes evenly costs ln(K³/m). It does not see whether the pictures are any good.

    Of n samples over M modes even a perfect generator scores about (M - 1) / 2n: 0.019 for 26,000 over 1000.

    Attributes:
        net: the classifier of one channel.
        classes: K.
    """

    net: Classifier
    classes: int

    def _measure(self, drawn: Iterator[torch.Tensor]) -> tuple[dict[str, float], tuple[int, ...]]:
        per_channel = extract(self.net, _pictures(drawn)).labels.reshape(-1, _STACK)
        numbers = per_channel @ self.classes ** np.arange(_STACK)[::-1]  # the first channel is the first digit
        histogram = class_histogram(numbers, self.classes**_STACK)
        values = {
            "reverse_kl": class_kl(histogram, np.ones(len(histogram))),
            "modes": float((histogram > 0).sum()),
        }
        return values, tuple(int(count) for count in class_histogram(per_channel, self.classes))


@dataclass(frozen=True, eq=False)
class PointJudge(Judge):
    """Judges points in the plane by the known modes of their mixture.

    The primary value is ``mode_gap`` = reverse KL + fraction of samples that miss every mode. The reverse KL alone
    would call a blob between all modes perfect, the missing fraction alone a collapse onto one of them.

    Attributes:
        modes: the mixture.
    """

    modes: Modes

    def _measure(self, drawn: Iterator[torch.Tensor]) -> tuple[dict[str, float], tuple[int, ...]]:
        report = mode_report(torch.cat(list(drawn)).to("cpu", torch.float64).numpy(), self.modes)
        values = {
            "mode_gap": report.reverse_kl + (1 - report.high_quality),
            "modes": float(report.modes),
            "high_quality": report.high_quality,
            "reverse_kl": report.reverse_kl,
        }
        return values, report.histogram


def build_judge(data: Data, n_samples: int, seed: int, weights: str = "ema") -> Judge | None:
    """Return the judge of a run, with the features of the real images computed once.

    The reference of the Fréchet distance is ``data.held_out``, or the training images where nothing is held out (the
    protocol says which); that of the class divergence is the frequency of the training labels, or uniform without them.

    Args:
        data: what the run trains on.
        n_samples: number of generated samples to score, >= 2.
        seed: of the latents that the trainer will draw; only stated in the protocol.
        weights: whose samples will be scored, ``"ema"`` or ``"raw"``; only stated in the protocol.

    Returns:
        The judge, or None when no extractor knows the data and it has no known modes.

    Raises:
        UsageError: when n_samples is below 2, or the data names an extractor that does not exist.
        CheckpointError: when the extractor's weights are damaged.
    """
    if n_samples < 2:
        raise UsageError(f"Scoring needs at least 2 generated samples, but {n_samples} were asked for; ask for more.")
    if data.modes is not None:
        return _point_judge(data, data.modes, n_samples, seed, weights)
    if data.judge in STACKED:
        return _stacked_judge(data, data.judge, n_samples, seed, weights)
    if data.judge is not None:
        return _image_judge(data, data.judge, n_samples, seed, weights)
    return None


def floor(data: Data, judge: Judge) -> Scores:
    """Return the score that a perfect generator would get: real training samples, judged like generated ones.

    As many training samples are drawn without replacement as the judge scores (all of them, if there are fewer; the
    protocol states the number), by the judge's own seed.

    Args:
        data: what the judge was built for.
        judge: from `build_judge`.

    Raises:
        UsageError: when nothing is held out, so that training images would be compared with themselves.
    """
    protocol = judge.protocol
    if protocol.split == "train":
        raise UsageError(f"The floor of '{data.name}' cannot be measured: nothing is held out; hold out some images.")
    count = min(protocol.n_generated, len(data))
    chosen = np.random.default_rng(protocol.latent_seed).permutation(len(data))[:count]
    real = replace(judge, protocol=replace(protocol, n_generated=count, weights="real"))
    return real.score(lambda first, size: data.batch(chosen[first : first + size])[0] * data.scale)


def _point_judge(data: Data, modes: Modes, n_samples: int, seed: int, weights: str) -> PointJudge:
    protocol = Protocol(
        metric="mode_gap",
        version=1,
        extractor=None,
        weights_sha256=None,
        resize=None,
        n_generated=n_samples,
        n_reference=0,
        reference=data.name,
        split="modes",
        data_sha256=data.sha256[:SHORT_HASH],
        latent_seed=seed,
        weights=weights,
    )
    metrics = ("mode_gap", "modes", "high_quality", "reverse_kl")
    return PointJudge("modes", "mode_gap", metrics, protocol, modes)


def _image_judge(data: Data, name: str, n_samples: int, seed: int, weights: str) -> ImageJudge:
    net = load_extractor(name)
    extractor = EXTRACTORS[name]
    held_out = data.held_out if data.held_out is not None else data
    reference = _reference(net, name, held_out)
    protocol = Protocol(
        metric="fd",
        version=1,
        extractor=name,
        weights_sha256=extractor.sha256[:SHORT_HASH],
        resize=RESIZE,
        n_generated=n_samples,
        n_reference=reference.count,
        reference=data.name,
        split="train" if held_out is data else "held-out",
        data_sha256=held_out.sha256[:SHORT_HASH],
        latent_seed=seed,
        weights=weights,
    )
    metrics = ("fd", "class_kl", "classes_present", "confidence")
    return ImageJudge(name, "fd", metrics, protocol, net, reference, _class_frequencies(data, extractor))


def _stacked_judge(data: Data, name: str, n_samples: int, seed: int, weights: str) -> StackedJudge:
    extractor = EXTRACTORS[STACKED[name]]
    protocol = Protocol(
        metric="reverse_kl",
        version=1,
        extractor=extractor.name,
        weights_sha256=extractor.sha256[:SHORT_HASH],
        resize=f"per-channel-{RESIZE}",
        n_generated=n_samples,
        n_reference=0,
        reference=data.name,
        split="modes",
        data_sha256=data.sha256[:SHORT_HASH],
        latent_seed=seed,
        weights=weights,
    )
    net = load_extractor(extractor.name)
    return StackedJudge(name, "reverse_kl", ("reverse_kl", "modes"), protocol, net, len(extractor.class_names))


def _class_frequencies(data: Data, extractor: Extractor) -> npt.NDArray[np.float64]:
    """Return the training labels' frequencies ``[K]``, or uniform ones where there are no labels."""
    classes = len(extractor.class_names)
    if data.labels is None:
        return np.full(classes, 1 / classes)
    return class_histogram(data.labels, classes) / len(data)


_REFERENCES: dict[tuple[str, str], Moments] = {}  # (extractor, data) -> moments: they are the same for every run


def _reference(net: Classifier, extractor: str, data: Data) -> Moments:
    """Return the moments of real images' features, computed once in a process."""
    key = (extractor, data.sha256)
    if key not in _REFERENCES:
        _REFERENCES[key] = _moments(extract(net, _real(data)))
    return _REFERENCES[key]


def _moments(found: Features) -> Moments:
    moments = Moments(found.features.shape[1])
    moments.update(found.features)
    return moments


def _real(data: Data) -> Iterator[torch.Tensor]:
    for first in range(0, len(data), MAX_BATCH):
        yield data.batch(np.arange(first, min(first + MAX_BATCH, len(data))))[0]


def _pictures(stacks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield the channels ``[B, 1, H, W]`` of stacks ``[N, 3, H, W]``, stack after stack."""
    for x in stacks:
        if x.ndim != 4 or x.shape[1] != _STACK:
            raise UsageError(f"Stacked pictures: a batch of shape {tuple(x.shape)} cannot be read; give [B, 3, H, W].")
        pictures = x.flatten(0, 1).unsqueeze(1)
        for first in range(0, len(pictures), _STACK_BATCH):
            yield pictures[first : first + _STACK_BATCH]


def _drawn(sample: Sampler, count: int) -> Iterator[torch.Tensor]:
    """Yield the generated set in order, at most `MAX_BATCH` samples at a time; raise at one that is not finite."""
    for first in range(0, count, MAX_BATCH):
        size = min(MAX_BATCH, count - first)
        x = sample(first, size).detach()
        assert len(x) == size, f"asked for {size} samples, got {len(x)}"
        if not torch.isfinite(x).all():
            raise _NotFiniteError
        yield x
