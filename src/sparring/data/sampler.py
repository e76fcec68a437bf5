"""The order of the data: a pure function of (seed, position), so that resuming needs nothing remembered."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from sparring.data.records import Array


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> Array:
    digest = hashlib.sha256(f"{seed}/order/{epoch}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    permutation = generator.permutation(n)
    permutation.setflags(write=False)  # the cached array is shared by all callers
    return permutation


def order(seed: int, epoch: int, n: int) -> Array:
    """Return the order in which epoch number ``epoch`` visits ``n`` samples.

    Args:
        seed: the run's seed, any integer.
        epoch: which pass over the data, from 0.
        n: how many samples there are, at least 1.

    Returns:
        int64 [n], read-only: a permutation of 0 … n - 1.
    """
    assert n >= 1
    assert epoch >= 0
    return _order(int(seed), int(epoch), int(n))


def batch_indices(seed: int, first: int, count: int, n: int) -> Array:
    """Return positions ``first`` … ``first + count - 1`` of the endless stream of shuffled epochs.

    The stream is the concatenation of ``order(seed, 0, n)``, ``order(seed, 1, n)`` …, so batches of any size read
    the same stream and a batch may span several epochs.

    Args:
        seed: the run's seed.
        first: the stream position of the batch's first sample: how many were seen before.
        count: the batch size; may exceed ``n``.
        n: how many samples there are.

    Returns:
        int64 [count], each in 0 … n - 1.
    """
    assert first >= 0
    assert count >= 0
    parts: list[Array] = [np.empty(0, np.int64)]
    while count > 0:
        epoch, offset = divmod(first, n)
        part = order(seed, epoch, n)[offset : offset + count]
        parts.append(part)
        first, count = first + len(part), count - len(part)
    return np.concatenate(parts)
