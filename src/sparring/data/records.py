"""The records that every source of data returns: samples, labels, and what could not be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, np.dtype[Any]]
"""A numpy array; its shape and dtype stand in the docstring of whoever takes or gives it."""

_CHUNK = 1 << 24  # bytes hashed at a time, so that a memory-mapped set is never read into memory as a whole


@dataclass(frozen=True)
class Problem:
    """A file that could not be used, and why.

    Attributes:
        path: the file, relative to the folder or archive; ``*.txt`` stands for all files of one kind.
        reason: what is wrong with it, in plain words.
    """

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Modes:
    """A mixture of equal, round Gaussians in the plane.

    Attributes:
        centres: float64 [K, 2], the means.
        sigma: the standard deviation of every mode, in both directions.
    """

    centres: Array
    sigma: float


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in memory (or memory-mapped): what a run trains on.

    Attributes:
        name: ``"digits"``, ``"mnist"``, ``"fashion-mnist"``, ``"stacked-mnist"``, ``"ring"``, ``"grid"``, or the folder's name.
        samples: uint8 [N, C, H, W] for images; float32 [N, 2] for points.
        labels: int64 [N] in 0 … num_classes - 1, or None.
        class_names: one name a class; empty when there are no labels.
        held_out: samples of the same kind that are never trained on, or None.
        judge: name of the feature extractor that knows this data (``"digits-v1"``, ``"clothes-v1"``), of the judge that
            looks at each channel with one (``"stacked-digits-v1"``), or None.
        modes: the true modes of ``"ring"`` and ``"grid"``, else None.
        sha256: of shape, samples and labels: what the run really trained on.
        problems: files that were left out, each with its reason.
        scale: what a unit of the networks is in units of the data: the largest coordinate of points, so that they train in
            [-1, 1] whatever they measure; 1 for images.
    """

    name: str
    samples: Array
    labels: Array | None
    class_names: tuple[str, ...]
    held_out: Data | None
    judge: str | None
    modes: Modes | None
    sha256: str
    problems: tuple[Problem, ...]
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) for images, (2,) for points."""
        return tuple(self.samples.shape[1:])

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 without labels."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Array) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the samples at ``indices`` as the networks take them.

        Args:
            indices: integers [B] in 0 … len - 1, repeats allowed.

        Returns:
            ``(x, y)``. ``x`` is float32 [B, C, H, W] in [-1, 1], exactly ``(u8 - 127.5) / 127.5``, or points [B, 2]
            divided by ``scale``; ``y`` is int64 [B], or None without labels. Both are fresh memory.
        """
        import torch

        # numpy, not torch: for a batch this small the hand-over to torch's threads costs more than the arithmetic
        x = np.asarray(self.samples.take(indices, axis=0))
        if x.dtype == np.uint8:
            x = np.subtract(x, np.float32(127.5), dtype=np.float32)
            np.divide(x, np.float32(127.5), out=x)
        elif self.scale != 1.0:
            x = np.divide(x, np.float32(self.scale))
        y = None if self.labels is None else torch.from_numpy(self.labels.take(indices))
        return torch.from_numpy(x), y


def fingerprint(samples: Array, labels: Array | None) -> str:
    """Return the sha256 (hex) over dtype, shape and bytes of samples and labels.

    Args:
        samples: [N, ...], any dtype; may be memory-mapped, it is read in pieces.
        labels: int64 [N] or None.
    """
    digest = hashlib.sha256()
    for array in (samples, labels):
        if array is None:
            digest.update(b"none;")
            continue
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        rows = max(1, _CHUNK // max(1, array.nbytes // max(1, len(array))))
        for start in range(0, len(array), rows):
            digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def make_data(
    name: str,
    samples: Array,
    labels: Array | None = None,
    class_names: tuple[str, ...] = (),
    *,
    held_out: Data | None = None,
    judge: str | None = None,
    modes: Modes | None = None,
    problems: tuple[Problem, ...] = (),
) -> Data:
    """Return the `Data` of these samples, with its fingerprint computed; see `Data` for the arguments."""
    assert samples.dtype == (np.uint8 if samples.ndim == 4 else np.float32)
    assert labels is None or (labels.dtype == np.int64 and labels.shape == samples.shape[:1])
    sha256 = fingerprint(samples, labels)
    largest = float(np.abs(samples).max()) if samples.ndim == 2 and len(samples) else 0.0
    return Data(name, samples, labels, class_names, held_out, judge, modes, sha256, problems, largest or 1.0)
