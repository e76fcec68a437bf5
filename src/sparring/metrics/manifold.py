"""Precision, recall, density and coverage: how much of the generated lies among the real, and the other way round.

Each set's manifold is the union of balls around its points, each as wide as the distance to the point's k-th nearest
neighbour in the same set, itself not counted (arXiv:1904.06991, eq. 1; arXiv:2002.09797, section 3).

Conventions:

- precision and recall: k = 3, and a point *on* a ball's surface is inside (``<=``), as arXiv:1904.06991 has it;
- density and coverage: k = 5, and a point on the surface is outside (``<``), as the authors' code, prdc, has it;
- duplicates are neighbours at distance 0, so a point with k duplicates has a ball of radius 0;
- distances are exact in float64, so that all four are counts without rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.estimate import Estimate, from_standard_error
from sparring.metrics.neighbours import OPEN, squared_nearest
from sparring.metrics.nonparametric import share
from sparring.metrics.samples import Distinct, feature_tensor, of_one_kind
from sparring.metrics.screening import TILE, Pairs, Screen, squared_distances

PRECISION_K = 3
"""Neighbours that set the radii of precision and recall, as in arXiv:1904.06991."""

DENSITY_K = 5
"""Neighbours that set the radii of density and coverage, as in arXiv:2002.09797."""


@dataclass(frozen=True)
class ManifoldScores:
    """The four scores, each with its 95 % interval.

    Attributes:
        precision: fraction of the generated samples inside the real manifold: is what is made real?
        recall: fraction of the real samples inside the generated manifold: is what is real made?
        density: mean number of real balls around a generated sample, divided by k; about 1 for equal distributions.
        coverage: fraction of the real balls with a generated sample inside.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def manifold_scores(
    real: FeatureArray, fake: FeatureArray, k: int = DENSITY_K, *, precision_k: int = PRECISION_K, tile: int = TILE
) -> ManifoldScores:
    """Return precision and recall (arXiv:1904.06991, eq. 2) with density and coverage (arXiv:2002.09797, section 3).

    All depend on the two counts: compare only numbers that were measured with the same ones. The intervals hold the
    balls fixed and count the samples in them: Wilson's for fractions, the standard error for density.

    Args:
        real: features ``[N, F]`` of real samples, more than k and precision_k; the work is done on their device.
        fake: features ``[M, F]`` of generated ones, more than precision_k.
        k: neighbours that set the radii of density and coverage.
        precision_k: neighbours that set the radii of precision and recall.
        tile: rows and columns of distances that are held at a time.

    Raises:
        UsageError: when a set is not ``[N, F]``, is not finite or is too small, or the two do not fit together.
    """
    x, y = of_one_kind(feature_tensor(real), feature_tensor(fake))
    least = max(k, precision_k)
    if min(k, precision_k) < 1 or len(x) <= least or len(y) <= precision_k:
        raise UsageError(
            f"Manifold scores of {len(x)} real and {len(y)} generated samples with k {k} and {precision_k}: give more than "
            "k samples of each, and k >= 1."
        )
    reach = squared_nearest(x, x, least, tile)[0]
    balls = _Balls(x, y, reach[:, precision_k - 1], reach[:, k - 1], squared_nearest(y, y, precision_k, tile)[0][:, -1])
    balls.count(tile)
    return balls.scores(k)


class _Balls:
    """Which samples lie in whose balls.

    Duplicates lie in the same balls and have balls of the same size, so each distinct point is looked at once.

    Args:
        real: ``[N, F]``.
        fake: ``[M, F]``.
        real_radii: squared radii of the real balls for precision, float64 ``[N]``.
        wide_radii: the same for density and coverage.
        fake_radii: squared radii of the generated balls for recall, float64 ``[M]``.
    """

    def __init__(
        self,
        real: torch.Tensor,
        fake: torch.Tensor,
        real_radii: torch.Tensor,
        wide_radii: torch.Tensor,
        fake_radii: torch.Tensor,
    ) -> None:
        self.real, self.fake = Distinct(real), Distinct(fake)
        self.real_radii, self.wide_radii = real_radii[self.real.first], wide_radii[self.real.first]
        self.fake_radii = fake_radii[self.fake.first]
        nothing = torch.zeros(len(self.real.rows), dtype=torch.int64, device=real.device)
        self.recalled, self.covered = nothing.bool(), nothing.bool()  # of each distinct real sample
        nothing = torch.zeros(len(self.fake.rows), dtype=torch.int64, device=real.device)
        self.precise, self.density = nothing.bool(), nothing  # of each distinct generated sample

    def count(self, tile: int) -> None:
        """Look at all pairs."""
        screen = Screen(self.real.rows, self.fake.rows, tile)
        limits = torch.maximum(self.real_radii, self.wide_radii)
        for row, column in screen.tiles():
            shown = screen.tile(row, column)
            pairs = shown.within(limits[shown.x.rows], self.fake_radii[shown.y.rows])
            if int(self._open(pairs).sum()) > OPEN * shown.values.numel():
                shown = screen.wide_tile(row, column)
                pairs = shown.within(limits[shown.x.rows], self.fake_radii[shown.y.rows])
            self._add(pairs)

    def _open(self, pairs: Pairs) -> torch.Tensor:
        """Say of which pairs the bounds do not tell whether they are inside, bool ``[n]``."""
        radii = (self.real_radii[pairs.i], self.wide_radii[pairs.i], self.fake_radii[pairs.j])
        return torch.stack([(pairs.low <= radius) & (radius <= pairs.high) for radius in radii]).any(0)

    def _add(self, pairs: Pairs) -> None:
        """Count the pairs of one tile, after measuring those that are open."""
        i, j, squared = pairs.i, pairs.j, pairs.high.clone()
        unknown = self._open(pairs).nonzero().flatten()
        squared[unknown] = squared_distances(self.real.rows, self.fake.rows, i[unknown], j[unknown])
        self.precise[j[squared <= self.real_radii[i]]] = True
        self.recalled[i[squared <= self.fake_radii[j]]] = True
        inside = squared < self.wide_radii[i]
        self.covered[i[inside]] = True
        self.density.index_add_(0, j[inside], self.real.counts[i[inside]])

    def scores(self, k: int) -> ManifoldScores:
        """Return the scores of what was counted, each distinct point as often as it occurs."""
        density = self.density[self.fake.group].double() / k
        error = float(density.std(correction=0)) / math.sqrt(len(density))
        return ManifoldScores(
            precision=share(self.precise[self.fake.group].cpu().numpy()),
            recall=share(self.recalled[self.real.group].cpu().numpy()),
            density=from_standard_error(float(density.mean()), error, "standard error", least=0.0),
            coverage=share(self.covered[self.real.group].cpu().numpy()),
        )
