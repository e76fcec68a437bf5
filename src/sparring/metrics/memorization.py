"""Does a generator hand out its training samples? Nearest training neighbours in feature space tell.

A copy is a sample that lies less than a third as far from one training sample as from any other (the rule of Yoon et al., 2023,
as used in arXiv:2310.02664). Unlike an absolute distance it needs no unit, and unlike authenticity (arXiv:2102.08921), which a
quarter to two thirds of all fresh samples lack, it is hardly ever met by chance where data has many dimensions: in d of them by
a share of 3^-d. In the plane that is a ninth, so the share is told beside that of real samples: each among the others.

Some copies among many fresh samples leave the share near that of chance. So each ratio is told with the number of fresh samples
that would have one as small: ratios to the power of the data's own dimension are uniform (Facco et al., 2017).

With held-out data the distances themselves are compared, too (arXiv:2004.05675): that finds a generator that keeps nearer to
its training samples than fresh data does, though none of its samples may be a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sparring.metrics.arrays import FeatureArray, as_features
from sparring.metrics.estimate import Estimate
from sparring.metrics.neighbours import Neighbours, nearest
from sparring.metrics.nonparametric import mann_whitney, share, wilson

COPY_RATIO = 1 / 3
"""Distances of a copy to the nearest and second nearest training sample have a ratio below this."""

CLEAR = 3.0
"""Standard errors that a verdict asks for: 1 in 1,000 honest generators passes them by chance."""

RARE = 0.001
"""Expected number of fresh samples as near to a training sample below which a sample counts as its copy, whatever the share."""

SINGLE = 0.05
"""Up to this share copies count as single ones, unless they are more than real samples would have."""

WORST = 64
"""Pairs that are kept."""

Verdict = Literal["copies", "single copies", "no copying found"]
Array = npt.NDArray[np.float64]


class Pair(NamedTuple):
    """A generated sample and the training sample nearest to it.

    Attributes:
        generated: index of the one.
        training: index of the other.
        distance: between their features.
        ratio: of that distance to the one from the second nearest training sample, 0 to 1.
        chance: how many of the samples would have so small a ratio if all were fresh, about; 1 and more is no sign of anything.
    """

    generated: int
    training: int
    distance: float
    ratio: float
    chance: float


@dataclass(frozen=True)
class Memorization:
    """What the nearest training neighbours of generated samples tell.

    Attributes:
        copied: share of generated samples that are copies, 0 to 1.
        copied_real: the same share among training samples, each looked at as if it were new: what chance, or duplicates in the
            training set, make of the rule.
        authentic: share of generated samples that lie farther from their nearest training sample than that one lies from its own
            nearest (arXiv:2102.08921); 0.3 to 0.8 for fresh samples, near 0 for copies.
        farther: probability that a generated sample lies farther from the training set than a held-out one
            (arXiv:2004.05675); 0.5 for fresh samples, 0 for copies. None without held-out data.
        z: the Mann-Whitney z-score of the same; below -3 copies, above 3 underfits. None without held-out data.
        pairs: the generated samples most like copies, with the nearest training sample, the worst first.
        verdict: ``"copies"`` where copied is clearly above copied_real or what chance could make of the data's dimension, or z at
            most -3; else ``"single copies"`` where the worst
            pair is one and its chance below 0.001.
    """

    copied: Estimate
    copied_real: Estimate
    authentic: Estimate
    farther: Estimate | None
    z: float | None
    pairs: tuple[Pair, ...]
    verdict: Verdict


def memorization(
    generated: FeatureArray, training: FeatureArray, held_out: FeatureArray | None = None, *, worst: int = WORST
) -> Memorization:
    """Look for copies of training samples among generated ones.

    All training samples must be given, not a part of them: the one that was copied may be elsewhere. Near duplicates in the
    training set hide the copies of each other from ``copied`` (both are near), not from ``farther``. The time is that of
    (N + M + H) M distances.

    Args:
        generated: features ``[N, F]``, N >= 2.
        training: of all images that the generator was trained on ``[M, F]``, M >= 3.
        held_out: of real images that it was not trained on ``[H, F]``, H >= 2, drawn as the training images were.
        worst: pairs to keep, at most.

    Raises:
        UsageError: when a set is too small, not ``[N, F]``, or holds NaN or infinity.
    """
    points = as_features(training, "training samples", least=3)
    queries = as_features(generated, "generated samples", least=2, dim=points.shape[1])
    found, among = nearest(queries, points, 2), nearest(points, points, 2, same=True)
    distances, ratios, real_ratios = found.distances[:, 0], _ratios(found), _ratios(among)
    z, farther = None, None
    if held_out is not None:
        fresh = as_features(held_out, "held-out samples", least=2, dim=points.shape[1])
        test = mann_whitney(distances, nearest(fresh, points).distances[:, 0])
        z, farther = test.z, test.larger
    pairs = _worst_pairs(found, ratios, _dimension(real_ratios, 2.0), worst)
    return Memorization(
        copied=share(ratios < COPY_RATIO),
        copied_real=share(real_ratios < COPY_RATIO),
        authentic=share(distances >= among.distances[found.indices[:, 0], 0]),
        farther=farther,
        z=z,
        pairs=pairs,
        verdict=_verdict(z, ratios, real_ratios, pairs),
    )


def _ratios(found: Neighbours) -> Array:
    """Return nearest over second nearest distance, ``[N]``; 0 at a training sample, be it there once or more often."""
    first, second = found.distances.T
    ratios: Array = np.divide(first, second, out=np.zeros_like(first), where=first > 0)
    return ratios


def _dimension(real_ratios: Array, errors: float) -> float:
    """Return the dimension of the data by its ratios ``[M]`` (Facco et al., 2017), so many standard errors on the safe side.

    Duplicates, whose ratio is 0, say nothing of it.
    """
    ratios = real_ratios[real_ratios > 0]
    spread = -float(np.log(ratios).sum())
    return max(1 - errors / np.sqrt(len(ratios)), 0.0) * len(ratios) / spread if spread > 0 else 0.0


def _worst_pairs(found: Neighbours, ratios: Array, dimension: float, count: int) -> tuple[Pair, ...]:
    distances = found.distances[:, 0]
    chances = len(ratios) * ratios**dimension
    order = np.lexsort((distances, ratios))[:count]
    return tuple(
        Pair(int(i), int(found.indices[i, 0]), float(distances[i]), float(ratios[i]), float(chances[i])) for i in order
    )


def _verdict(z: float | None, ratios: Array, real_ratios: Array, pairs: tuple[Pair, ...]) -> Verdict:
    copies, real = ratios < COPY_RATIO, real_ratios < COPY_RATIO
    nearer = z is not None and z <= -CLEAR
    if nearer or _clearly_more(copies, real) or _beyond_chance(copies, real, real_ratios):
        return "copies"
    rare = any(pair.ratio < COPY_RATIO and pair.chance < RARE for pair in pairs)
    return "single copies" if rare else "no copying found"


def _clearly_more(copies: npt.NDArray[np.bool_], real: npt.NDArray[np.bool_]) -> bool:
    """Return whether one share of hits exceeds the other beyond doubt (Newcombe, 1998, method 10).

    Real samples count half: of two that are near to each other both are hits, so they are no independent trials.
    """
    p, q = float(copies.mean()), float(real.mean())
    low, _ = wilson(p, len(copies), CLEAR)
    _, high = wilson(q, len(real) / 2, CLEAR)
    return p - q > math.hypot(p - low, high - q)


def _beyond_chance(copies: npt.NDArray[np.bool_], real: npt.NDArray[np.bool_], real_ratios: Array) -> bool:
    """Return whether copies are more than any dimension that the data may have could explain.

    Few training samples say little by their own share of hits, but all of their ratios tell the dimension d, and by it the share
    3^-d that chance makes; d is taken three standard errors low.
    """
    low, _ = wilson(float(copies.mean()), len(copies), CLEAR)
    chance = COPY_RATIO ** _dimension(real_ratios, CLEAR)
    return bool(low > max(chance, float(real.mean()), SINGLE))
