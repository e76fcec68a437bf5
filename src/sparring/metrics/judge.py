"""The judge of a run: scores a generator again and again, always in the same way, so that numbers compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sparring.data import Data
from sparring.errors import UsageError, unknown_name
from sparring.metrics import METRICS, family_of
from sparring.metrics.estimate import Estimate
from sparring.metrics.extractors import LoadedExtractor, load_extractor
from sparring.metrics.protocol import SHORT_HASH, Protocol
from sparring.metrics.references import MAX_BATCH, Drawn, ImageReference, PointReference, Reference, StackedReference

Sampler = Callable[[int, int], torch.Tensor]
"""``sample(first_index, count) -> x [count, ...]``: that part of one fixed, endless generated set."""

STACKED: dict[str, str] = {"stacked-digits-v1": "digits-v1"}
"""Judges of images with a picture in each channel, and the extractor that looks at every channel alone."""


_ENOUGH = 1000  # held-out samples that are worth comparing with


class _NotFiniteError(Exception):
    """A generated sample holds NaN or infinity."""


@dataclass(frozen=True)
class Scores:
    """What a judge found.

    Attributes:
        values: metric name (a key of ``METRICS``) to number with its interval; all NaN when the generator made something that
            is not finite.
        histogram: samples (of stacked digits, channels) per recognised class, or samples per mode; None where there are
            none, or when the values are NaN.
        protocol: how the primary value was measured; those of the others differ in the metric only.
    """

    values: dict[str, Estimate]
    histogram: tuple[int, ...] | None
    protocol: Protocol


@dataclass(frozen=True, eq=False)
class Judge:
    """Scores generators on one data set, always in the same way.

    Attributes:
        name: what it judges by: the extractor's name, that of a row of `STACKED`, or ``"modes"``.
        primary: the value that the best checkpoint is chosen by.
        families: what is measured, keys of `FAMILIES`.
        protocol: of the primary value.
        reference: the real data.
    """

    name: str
    primary: str
    families: tuple[str, ...]
    protocol: Protocol
    reference: Reference

    def score(self, sample: Sampler) -> Scores:
        """Return the scores of a generated set.

        Args:
            sample: ``sample(first_index, count)`` returns samples number first_index to first_index + count - 1 of a
                set that never changes for the same generator: images ``[count, C, H, W]`` in [-1, 1] or points
                ``[count, 2]``, on any device. It is called in order, for at most 250 at a time.

        Raises:
            UsageError: when the samples have a shape that cannot be judged.
        """
        return self.look(sample)[1]

    def look(self, sample: Sampler) -> tuple[Drawn | None, Scores]:
        """Return what was drawn beside its scores; None where a sample was not finite. See `score`."""
        try:
            drawn = self.reference.look(_drawn(sample, self.protocol.n_generated))
        except _NotFiniteError:
            return None, Scores({name: Estimate(float("nan")) for name in self.metrics}, None, self.protocol)
        found = {
            name: value for family in self.families for name, value in self.reference.measures[family].of(drawn).items()
        }
        values = {name: found[name] for name in METRICS if name in found}
        return drawn, Scores(values, self.reference.histogram(drawn), self.protocol)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys of the values it returns."""
        given = {name for family in self.families for name in self.reference.measures[family].gives}
        return tuple(name for name in METRICS if name in given)

    def better(self, score: float, best: float | None) -> bool:
        """Return whether a primary value is better than the best so far; what is not finite never is."""
        if best is None or not np.isfinite(score):
            return bool(np.isfinite(score))
        cost = {"lower": score - best, "higher": best - score, "zero": abs(score) - abs(best)}
        return cost[METRICS[self.primary].better] < 0


def build_judge(
    data: Data,
    n_samples: int,
    seed: int,
    weights: str = "ema",
    *,
    families: Sequence[str] | None = None,
    features: str | LoadedExtractor | None = None,
    primary: str | None = None,
    split: str | None = None,
) -> Judge | None:
    """Return the judge of a run; the features of the real images are computed once and cached.

    Generated samples are compared with ``data.held_out``, or with the training samples where too little is held out (the
    protocol says which). The reference of the class divergence is the frequency of the training labels, or uniform without
    them.

    Args:
        data: what the run trains on.
        n_samples: number of generated samples to score, >= 2.
        seed: of the latents that will be drawn; only stated in the protocol.
        weights: whose samples will be scored, ``"ema"``, ``"raw"`` or ``"files"``; only stated in the protocol.
        families: what to measure; what is usual for the data if None.
        features: the extractor; the one that knows the data if None.
        primary: the metric to choose the best checkpoint by; what is usual for the data if None.
        split: compare with ``"held-out"`` or ``"train"``; if None, with the test set of a named data set, or with what is
            held out of other data if these are 1000 or more: fewer say little of a distribution.

    Returns:
        The judge, or None when no extractor knows these images and none was named.

    Raises:
        UsageError: when n_samples is below 2, or a family, the extractor, the primary metric or the split does not exist or does
            not fit the data.
        CheckpointError: when the extractor's weights are damaged.
    """
    if n_samples < 2:
        raise UsageError(f"Scoring needs at least 2 generated samples, but {n_samples} were asked for; ask for more.")
    found = _reference(data, features, split)
    if found is None:
        return None
    name, reference, extractor = found
    chosen = _families(reference, families, data.name)
    usual = reference.primary
    if chosen and METRICS[usual].family not in chosen:
        usual = reference.measures[chosen[0]].gives[0]
    judge = Judge(name, primary or usual, chosen, _protocol(data, reference, extractor), reference)
    if primary is not None and primary not in judge.metrics:
        near = ", ".join(judge.metrics)
        raise UsageError(
            f"--best-by {primary}: it is not measured here; choose one of {near}, or add to --eval-metrics."
        )
    made = replace(judge.protocol, metric=judge.primary, n_generated=n_samples, latent_seed=seed, weights=weights)
    return replace(judge, protocol=made)


def _families(reference: Reference, asked: Sequence[str] | None, data: str) -> tuple[str, ...]:
    chosen = reference.usual if asked is None else tuple(dict.fromkeys(family_of(name) for name in asked))
    for name in chosen:
        if name not in reference.measures:
            known = ", ".join(reference.measures)
            raise UsageError(f"--metrics {name}: it cannot be measured of {data} here; choose from {known}.")
    return chosen


_SPLITS = ("held-out", "train")


def _reference(
    data: Data, features: str | LoadedExtractor | None, split: str | None
) -> tuple[str, Reference, LoadedExtractor | None] | None:
    """Return the name of the judge, its reference and its extractor."""
    if split not in (None, *_SPLITS):
        raise UsageError(unknown_name("--split", split, _SPLITS))
    if split == "held-out" and data.held_out is None:
        raise UsageError(f"--split held-out: nothing of {data.name} is held out; use --split train.")
    if split is not None and (len(data.shape) == 1 or (data.judge in STACKED and features is None)):
        raise UsageError(f"--split: only images are compared with one part of the data; leave it out for {data.name}.")
    if len(data.shape) == 1:
        if features is not None:
            raise UsageError("--features: points are their own features; leave it out.")
        return "modes" if data.modes is not None else "points", PointReference(data, data.modes), None
    if data.judge in STACKED and features is None:
        extractor = load_extractor(STACKED[data.judge])
        return data.judge, StackedReference(extractor), extractor
    chosen = features or data.judge
    if chosen is None:
        return None
    extractor = load_extractor(chosen)
    enough = data.held_out is not None and (data.judge is not None or len(data.held_out) >= _ENOUGH)
    part = split or ("held-out" if enough else "train")
    return extractor.record.name, ImageReference(data, extractor, part), extractor


def _protocol(data: Data, reference: Reference, extractor: LoadedExtractor | None) -> Protocol:
    """Return the protocol, but for what is drawn: how many samples, of which latents, from whom."""
    stacked = isinstance(reference, StackedReference)
    part = reference.split if isinstance(reference, ImageReference) else "modes" if reference.count == 0 else "train"
    real = data.held_out if part == "held-out" and data.held_out is not None else data
    name = digest = resize = None
    if extractor is not None:
        record = extractor.record
        name, digest, resize = record.name, record.sha256[:SHORT_HASH], ("per-channel-" * stacked) + record.resize
    return Protocol(
        metric=reference.primary,
        version=1,
        extractor=name,
        weights_sha256=digest,
        resize=resize,
        n_generated=0,
        n_reference=reference.count,
        reference=data.name,
        split=part,
        data_sha256=real.sha256[:SHORT_HASH],
        latent_seed=0,
        weights="",
    )


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


def _drawn(sample: Sampler, count: int) -> Iterator[torch.Tensor]:
    """Yield the generated set in order, at most `MAX_BATCH` samples at a time; raise at one that is not finite."""
    for first in range(0, count, MAX_BATCH):
        size = min(MAX_BATCH, count - first)
        x = sample(first, size).detach()
        assert len(x) == size, f"asked for {size} samples, got {len(x)}"
        if not torch.isfinite(x).all():
            raise _NotFiniteError
        yield x
