from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from sparring.data.sampler import batch_indices, order


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
@pytest.mark.parametrize("epoch", [0, 1, 12345])
def test_every_epoch_is_a_permutation(n, epoch):
    assert sorted(order(3, epoch, n)) == list(range(n))


def test_epochs_and_seeds_differ_and_repeat():
    first = order(0, 0, 1000)
    assert (first == order(0, 0, 1000)).all()
    assert (first != order(0, 1, 1000)).mean() > 0.9
    assert (first != order(1, 0, 1000)).mean() > 0.9


def test_no_epoch_comes_twice():
    assert len({order(0, epoch, 50).tobytes() for epoch in range(200)}) == 200


def test_the_order_is_frozen():
    """Runs of an older version resume only while this stays; a change must be meant, and said in the changelog."""
    code = "from sparring.data.sampler import order; print(order(7, 2, 10).tolist())"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == str(order(7, 2, 10).tolist()) == "[8, 9, 0, 7, 3, 1, 2, 4, 5, 6]"


@pytest.mark.parametrize("size", [1, 3, 10, 17, 64])
def test_batches_of_any_size_read_the_same_stream(size):
    n = 10
    stream = np.concatenate([order(5, epoch, n) for epoch in range(20)])
    batches = [batch_indices(5, first, size, n) for first in range(0, 128, size)]
    joined = np.concatenate(batches)
    assert (joined == stream[: len(joined)]).all()
    assert all(batch.shape == (size,) and batch.dtype == np.int64 for batch in batches)


def test_a_batch_may_start_anywhere_and_exceed_the_data():
    stream = np.concatenate([order(1, epoch, 3) for epoch in range(10)])
    assert (batch_indices(1, 4, 11, 3) == stream[4:15]).all()
    assert batch_indices(1, 4, 0, 3).shape == (0,)


def test_a_batch_is_the_callers_own():
    batch = batch_indices(0, 0, 5, 10)
    before = batch.copy()
    batch[:] = -1
    assert (batch_indices(0, 0, 5, 10) == before).all()
    with pytest.raises(ValueError, match="read-only"):
        order(0, 0, 10)[0] = 1


def test_numpy_integers_are_the_same_as_python_s():
    assert (batch_indices(np.int64(2), np.int64(7), np.int64(4), np.int64(5)) == batch_indices(2, 7, 4, 5)).all()
