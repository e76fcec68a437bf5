"""The Fréchet distance between two sets of features, each taken for a Gaussian (arXiv:1706.08500, eq. 6).

Everything is computed in float64 on the CPU: the distance is a small difference of large traces.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sparring.errors import UsageError

Array = npt.NDArray[np.float64]


class Moments:
    """Mean and covariance of features that arrive in batches.

    Each batch is centred on its own mean and merged by the pairwise update of Chan, Golub and LeVeque (1983), so a
    large common offset costs no digits and the batch size changes only the last one.

    Args:
        dim: F, the number of features.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean: Array = np.zeros(dim)
        self._scatter: Array = np.zeros((dim, dim))

    def update(self, batch: npt.ArrayLike) -> None:
        """Take in more samples.

        Args:
            batch: features ``[B, F]``, any B, 0 included.

        Raises:
            UsageError: when the batch is not ``[B, F]`` or holds NaN or infinity.
        """
        features = _checked(batch, len(self.mean))
        if not len(features):
            return
        mean = features.mean(axis=0)
        centred = features - mean
        self._merge(len(features), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Take in all samples that another accumulator has seen, leaving that one as it is.

        Raises:
            UsageError: when the other one counts another number of features.
        """
        if other.mean.shape != self.mean.shape:
            raise UsageError(
                f"Moments of {len(self.mean)} and of {len(other.mean)} features cannot be merged; "
                "use the same feature extractor for both."
            )
        self._merge(other.count, other.mean, other._scatter)

    def covariance(self) -> Array:
        """Return the unbiased covariance ``[F, F]`` (divided by the count less one).

        Raises:
            UsageError: when fewer than two samples were taken in.
        """
        if self.count < 2:
            raise UsageError(f"A covariance needs at least 2 samples, but there are {self.count}; give more samples.")
        return self._scatter / (self.count - 1)

    def _merge(self, count: int, mean: Array, scatter: Array) -> None:
        total = self.count + count
        if not total:
            return
        step = mean - self.mean
        self._scatter = self._scatter + scatter + np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total


def frechet_distance(features_a: npt.ArrayLike, features_b: npt.ArrayLike) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to two sets of features (arXiv:1706.08500, eq. 6).

    The estimate is biased upwards by the finite number of samples (arXiv:1911.07023): compare only numbers that were
    measured with the same counts.

    Args:
        features_a: ``[N, F]``, N >= 2.
        features_b: ``[M, F]``, M >= 2.

    Returns:
        The distance, >= 0; 0 when means and covariances are equal.

    Raises:
        UsageError: when a set is not two-dimensional, has fewer than two samples, holds NaN or infinity, or when the
            two have different numbers of features.
    """
    a, b = _checked(features_a), _checked(features_b)
    moments_a, moments_b = Moments(a.shape[1]), Moments(b.shape[1])
    moments_a.update(a)
    moments_b.update(b)
    return frechet_from_moments(moments_a.mean, moments_a.covariance(), moments_b.mean, moments_b.covariance())


def frechet_from_moments(
    mean_a: npt.ArrayLike, cov_a: npt.ArrayLike, mean_b: npt.ArrayLike, cov_b: npt.ArrayLike
) -> float:
    """Return ``|m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2))`` (arXiv:1706.08500, eq. 6).

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
    m_a, m_b = _as_float64(mean_a), _as_float64(mean_b)
    s_a, s_b = _as_float64(cov_a), _as_float64(cov_b)
    square = (len(m_a), len(m_a)) if m_a.ndim == 1 else None
    if m_a.shape != m_b.shape or s_a.shape != square or s_b.shape != square:
        raise UsageError(
            f"Fréchet distance: means {m_a.shape} and {m_b.shape} with covariances {s_a.shape} and {s_b.shape} do not "
            "fit together; give means [F] and covariances [F, F] from the same feature extractor."
        )
    distance = np.sum((m_a - m_b) ** 2) + np.trace(s_a) + np.trace(s_b) - 2 * _trace_of_root(s_a, s_b)
    return max(float(distance), 0.0)


def _trace_of_root(cov_a: Array, cov_b: Array) -> float:
    """Return ``Tr (S_a S_b)^(1/2)``.

    With ``S_a = A A^T`` and ``S_b = B B^T`` the eigenvalues of ``S_a S_b`` are those of the symmetric ``A^T S_b A`` =
    ``(A^T B)(A^T B)^T``, so the trace of the root is the sum of the singular values of ``A^T B``. Taking them, instead
    of roots of eigenvalues of the product, keeps rounding at 1e-16 where the root would raise it to 1e-8.
    """
    return float(np.linalg.svd(_root(cov_a).T @ _root(cov_b), compute_uv=False).sum())


def _root(cov: Array) -> Array:
    """Return ``A [F, rank]`` with ``A A^T`` = cov; directions of no, or tiny negative, variance are dropped."""
    values, vectors = np.linalg.eigh(cov)
    kept = values > values[-1] * len(cov) * np.finfo(np.float64).eps
    root: Array = vectors[:, kept] * np.sqrt(values[kept])
    return root


def _checked(features: npt.ArrayLike, dim: int | None = None) -> Array:
    """Return the features in float64, or say what is wrong with them."""
    array = _as_float64(features)
    if array.ndim != 2 or (dim is not None and array.shape[1] != dim):
        wanted = "[N, F]" if dim is None else f"[N, {dim}]"
        raise UsageError(f"Features have shape {array.shape} where {wanted} is needed; give one row per sample.")
    return array


def _as_float64(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise UsageError(
            f"{bad} of {array.size} values are NaN or infinite; look at the generated samples before measuring them."
        )
    return array
