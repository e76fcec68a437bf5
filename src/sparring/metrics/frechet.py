"""The Fréchet distance between two sets of features, each taken for a Gaussian (arXiv:1706.08500, eq. 6).

The distance is a small difference of large traces, so everything is added up in float64, on the device of the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sparring.errors import UsageError
from sparring.metrics.arrays import FeatureArray
from sparring.metrics.estimate import Z95, Estimate, from_standard_error
from sparring.metrics.moments import Moments as Moments
from sparring.metrics.moments import contrasts, mean_of
from sparring.metrics.samples import check_finite, feature_tensor, of_one_kind, spans

JACKKNIFE = "infinitesimal jackknife"

EXACT = 1e-11
"""Rounding error, as a part of the two variances, up to which the trace of the root is taken from eigenvalues."""

ROWS = 2048
"""Generated samples by whose influence the standard error is judged, which is right to 2 % then."""


_BLOCK = 512
"""Columns of a triangular matrix that are multiplied at a time."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a set of features is to the Fréchet distance; made once, it measures any number of generated sets.

    Attributes:
        mean: float64 ``[F]``.
        root: float64 ``[F, r]``; times its transpose it is the covariance.
        variance: trace of the covariance.
        triangular: whether the root is zero above its diagonal.
    """

    mean: torch.Tensor
    root: torch.Tensor
    variance: float
    triangular: bool = False

    @classmethod
    def of(cls, features: FeatureArray) -> Reference:
        """Return the reference that features ``[N, F]`` make.

        Raises:
            UsageError: when they are not ``[N, F]``, N >= 2, or not finite.
        """
        found = feature_tensor(features)
        if 2 <= len(found) <= found.shape[1]:
            root = contrasts(found).T / math.sqrt(len(found) - 1)
            return cls(mean_of(found), root, float(root.square().sum()))
        moments = Moments(found.shape[1])
        moments.update(found)
        return cls.from_covariance(moments.centre, moments.spread())

    @classmethod
    def from_covariance(cls, mean: torch.Tensor, covariance: torch.Tensor) -> Reference:
        """Return the reference of a mean ``[F]`` and a covariance ``[F, F]``, which may be singular; float64 both."""
        root, failed = torch.linalg.cholesky_ex(covariance)
        pivots = root.diagonal().square()
        triangular = not failed and bool(pivots.min() >= pivots.max() * len(covariance) * 1e-13)
        return cls(mean, root if triangular else _root(covariance), float(covariance.trace()), triangular)

    def distance(self, features: FeatureArray, *, interval: bool = True) -> Estimate:
        """Return the squared Fréchet distance of generated features from this reference; see `frechet_distance`.

        Args:
            features: ``[N, F]``, N >= 2; brought to the reference's device.
            interval: whether to say how far to trust it, which costs eigenvectors.

        Raises:
            UsageError: when the features are not ``[N, F]``, are not finite, or are not as wide as the reference.
        """
        x = feature_tensor(features, len(self.mean)).to(self.mean.device)
        if len(x) < 2:
            raise UsageError(
                f"Fréchet distance: a covariance needs at least 2 samples, but there are {len(x)}; give more."
            )
        overlap = self._overlap_of_few(x) if len(x) <= x.shape[1] else self._overlap_of_many(x)
        if not interval:
            return self._sum(overlap, torch.linalg.eigvalsh(overlap.product))
        values, vectors = torch.linalg.eigh(overlap.product)
        return self._with_error(self._sum(overlap, values), x, overlap, values, vectors)

    def distance_of_gaussian(self, mean: torch.Tensor, covariance: torch.Tensor) -> Estimate:
        """Return the distance of a Gaussian by its mean ``[F]`` and covariance ``[F, F]``, float64 both, without an interval."""
        overlap = self._overlap_of_covariance(mean, covariance)
        return self._sum(overlap, torch.linalg.eigvalsh(overlap.product))

    def _overlap_of_many(self, x: torch.Tensor) -> _Overlap:
        moments = Moments(x.shape[1])
        moments.update(x)
        return self._overlap_of_covariance(moments.centre, moments.spread())

    def _overlap_of_covariance(self, mean: torch.Tensor, covariance: torch.Tensor) -> _Overlap:
        return _Overlap(
            mean,
            float(covariance.trace()),
            _between(self.root, covariance) if self.triangular else self.root.T @ covariance @ self.root,
            self.root,
            lambda: self.root.T @ _root(covariance),
        )

    def _overlap_of_few(self, x: torch.Tensor) -> _Overlap:
        """Return the overlap of at most as many samples as features, for which no ``[F, F]`` matrix is made."""
        spread = contrasts(x) / math.sqrt(len(x) - 1)
        cross = spread @ self.root
        mean, variance = mean_of(x), float(spread.square().sum())
        if len(cross) < cross.shape[1]:
            return _Overlap(mean, variance, cross @ cross.T, self.root @ cross.T, lambda: cross, scaled=True)
        return _Overlap(mean, variance, cross.T @ cross, self.root, lambda: cross)

    def _sum(self, overlap: _Overlap, values: torch.Tensor) -> Estimate:
        """Return ``|m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` (arXiv:1706.08500, eq. 6), given the eigenvalues."""
        variances = overlap.variance + self.variance
        step = float((overlap.mean - self.mean).square().sum())
        return Estimate(max(step + variances - 2 * overlap.trace_of_root(values, EXACT * variances), 0.0))

    def _with_error(
        self, value: Estimate, x: torch.Tensor, overlap: _Overlap, values: torch.Tensor, vectors: torch.Tensor
    ) -> Estimate:
        """Return the value with the interval of its influence function.

        With ``T = A (A^T S A)^(-1/2) A^T``, which transports the generated Gaussian to the reference's ``S_r = A A^T``, the
        distance changes by ``2 (m - m_r)·(x - m) + (x - m)^T (1 - T) (x - m)``, less its mean, per weight that a sample x
        gains. Where the covariance is singular, T is that on its range.
        """
        some = torch.linspace(0, len(x) - 1, min(len(x), ROWS), device=x.device).long()
        centred = x[some] - overlap.mean
        kept = values > values[-1:] * len(values) * torch.finfo(torch.float64).eps
        axes = overlap.axes @ (vectors[:, kept] * values[kept].pow(-0.75 if overlap.scaled else -0.25))
        moved = (centred @ axes).square().sum(1)
        influence = 2 * centred @ (overlap.mean - self.mean) + centred.square().sum(1) - moved
        return from_standard_error(value, float(influence.std()) / math.sqrt(len(x)), JACKKNIFE, least=0.0)


@dataclass(frozen=True, eq=False)
class _Overlap:
    """What generated samples and a reference ``A A^T`` have in common.

    Attributes:
        mean: of the samples ``[F]``.
        variance: trace of their covariance S.
        product: ``A^T S A``, of which the lower half is read, or with ``S = B B^T`` the smaller ``B^T A A^T B``, which has the
            same eigenvalues but zeros.
        axes: what brings the product's eigenvectors to ``[F, r]``: A, or ``A A^T B`` for the latter.
        cross: makes ``A^T B`` or its transpose, whose singular values are the roots of the eigenvalues.
        scaled: whether the product is the latter one.
    """

    mean: torch.Tensor
    variance: float
    product: torch.Tensor
    axes: torch.Tensor
    cross: Callable[[], torch.Tensor]
    scaled: bool = False

    def trace_of_root(self, values: torch.Tensor, allowed: float) -> float:
        """Return ``Tr (A A^T S)^(1/2)``, given the ascending eigenvalues of the product, which are those of ``A A^T S``.

        Where one is small, the root raises its rounding from 1e-16 to up to 1e-8 of the largest. If that may add up to more
        than is allowed, singular values are taken instead: their rounding stays at 1e-16, at ten times the cost.
        """
        rounding = torch.finfo(torch.float64).eps * values[-1:].clamp(min=1e-290)
        doubt = (rounding / (2 * torch.maximum(values, rounding).sqrt())).sum()
        roots = values.clamp(min=0).sqrt() if doubt <= allowed else torch.linalg.svdvals(self.cross())
        return float(roots.sum())


def frechet_distance(features_a: FeatureArray, features_b: FeatureArray, *, interval: bool = True) -> Estimate:
    """Return the squared Fréchet distance between Gaussians fitted to two sets of features (arXiv:1706.08500, eq. 6).

    It is biased upwards by the finite number of samples (arXiv:1911.07023): compare only numbers that were measured with
    the same counts. The interval is for other generated samples and the same reference. To measure many generated sets
    against one reference, make a `Reference` of it once.

    Args:
        features_a: of generated samples ``[N, F]``, N >= 2; the work is done on their device.
        features_b: of the reference ``[M, F]``, M >= 2.
        interval: whether to say how far to trust it, which costs eigenvectors.

    Returns:
        The distance, >= 0; 0 when means and covariances are equal.

    Raises:
        UsageError: when a set is not two-dimensional, has fewer than two samples, holds NaN or infinity, or when the
            two have different numbers of features.
    """
    a, b = of_one_kind(feature_tensor(features_a), feature_tensor(features_b))
    return Reference.of(b).distance(a, interval=interval)


def intra_class_frechet(
    features_a: FeatureArray, labels_a: FeatureArray, features_b: FeatureArray, labels_b: FeatureArray
) -> Estimate:
    """Return the mean over the classes of the Fréchet distance within the class, the intra-FID of arXiv:1802.05637.

    Args:
        features_a: of generated samples ``[N, F]``.
        labels_a: their classes, integers ``[N]``.
        features_b: of the reference ``[M, F]``.
        labels_b: their classes ``[M]``.

    Raises:
        UsageError: as `frechet_distance`, when labels do not fit to the features, or when a class of either side has fewer
            than two samples on one of them.
    """
    a, b = of_one_kind(feature_tensor(features_a), feature_tensor(features_b))
    of_a, of_b = _classes(labels_a, a), _classes(labels_b, b)
    found = []
    for label in sorted(set(of_a.tolist()) | set(of_b.tolist())):
        ours, theirs = a[of_a == label], b[of_b == label]
        if len(ours) < 2 or len(theirs) < 2:
            raise UsageError(
                f"Intra-class Fréchet distance: class {label} has {len(ours)} generated and {len(theirs)} reference samples; "
                "give at least 2 of each, or leave the class out on both sides."
            )
        found.append(frechet_distance(ours, theirs))
    error = math.sqrt(sum(((each.high - each) / Z95) ** 2 for each in found)) / len(found)
    return from_standard_error(sum(found) / len(found), error, JACKKNIFE, least=0.0)


def frechet_from_moments(
    mean_a: npt.ArrayLike, cov_a: npt.ArrayLike, mean_b: npt.ArrayLike, cov_b: npt.ArrayLike
) -> Estimate:
    """Return the Fréchet distance of two Gaussians by their moments (arXiv:1706.08500, eq. 6), without an interval.

    Args:
        mean_a: ``[F]``.
        cov_a: ``[F, F]``, symmetric, positive semidefinite; may be singular.
        mean_b: ``[F]``.
        cov_b: ``[F, F]``, likewise.

    Returns:
        The distance, >= 0.

    Raises:
        UsageError: when the shapes do not fit together or something is not finite.
    """
    m_a, s_a, m_b, s_b = (torch.from_numpy(np.array(each, dtype=np.float64)) for each in (mean_a, cov_a, mean_b, cov_b))
    square = (len(m_a), len(m_a)) if m_a.ndim == 1 else None
    if m_a.shape != m_b.shape or s_a.shape != square or s_b.shape != square:
        raise UsageError(
            f"Fréchet distance: means {tuple(m_a.shape)} and {tuple(m_b.shape)} with covariances {tuple(s_a.shape)} and "
            f"{tuple(s_b.shape)} do not fit together; give means [F] and covariances [F, F] from the same feature extractor."
        )
    for each in (m_a, s_a, m_b, s_b):
        check_finite(each)
    return Reference.from_covariance(m_b, s_b).distance_of_gaussian(m_a, s_a)


def _between(root: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Return the lower half of ``L^T S L``, L triangular, by blocks: without most products with zeros, or of the other half."""
    half, found = torch.empty_like(covariance), torch.zeros_like(covariance)
    for block in spans(len(root), _BLOCK):
        torch.mm(covariance[:, block.start :], root[block.start :, block], out=half[:, block])
    for block in spans(len(root), _BLOCK):
        torch.mm(root[block.start :, block].T, half[block.start :, : block.stop], out=found[block, : block.stop])
    return found


def _root(covariance: torch.Tensor) -> torch.Tensor:
    """Return ``A [F, rank]`` with ``A A^T`` = covariance; directions of no, or tiny negative, variance are dropped."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1:] * len(values) * torch.finfo(torch.float64).eps
    root: torch.Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def _classes(labels: FeatureArray, features: torch.Tensor) -> torch.Tensor:
    found = labels.detach() if isinstance(labels, torch.Tensor) else torch.from_numpy(np.array(labels))
    if found.shape != features.shape[:1] or found.is_floating_point():
        raise UsageError(
            f"Classes of shape {tuple(found.shape)} and type {found.dtype} do not fit to features {tuple(features.shape)}; give "
            "one integer per sample."
        )
    return found.to(features.device)
