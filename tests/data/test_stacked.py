from __future__ import annotations

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sparring.data import SOURCES, Data, idx, open_data, stacked
from sparring.data.stacked import TRIPLES, draw
from sparring.errors import DataError, UsageError

SHARED = Path(__file__).parents[3] / "shared" / "data"

LABELS = np.array([3, 1, 4, 1, 5, 9, 2, 6, 8])
DIGITS = np.random.default_rng(0).integers(256, size=(9, 4, 4), dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with six training and three test digits in the place of MNIST."""
    parts = (DIGITS[:6], LABELS[:6], DIGITS[6:], LABELS[6:])
    files = []
    for file, array in zip(idx.IDX_SETS["mnist"].files, parts, strict=True):
        content = idx_bytes(array)
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(content))
        files.append(idx.IdxFile(file.name, hashlib.sha256(content).hexdigest(), len(content)))
    monkeypatch.setitem(idx.IDX_SETS, "mnist", replace(idx.IDX_SETS["mnist"], files=tuple(files), mirrors=()))
    monkeypatch.setattr(idx, "_user_cache", lambda: tmp_path / "cache")
    return tmp_path


@pytest.fixture
def data(root: Path) -> Data:
    return open_data("stacked-mnist", data_root=root)


def which(pictures: np.ndarray) -> np.ndarray:
    """Return the number of the digit that each picture [..., 4, 4] is."""
    same = (pictures[..., None, :, :] == DIGITS).all(axis=(-1, -2))
    assert (same.sum(axis=-1) == 1).all()
    return same.argmax(axis=-1)


def test_triples_are_images_with_a_label_for_each_mode(data: Data) -> None:
    assert data.name == "stacked-mnist"
    assert data.samples.shape == (TRIPLES, 3, 4, 4) == (128_000, 3, 4, 4)
    assert data.samples.dtype == np.uint8
    assert data.samples.flags.c_contiguous
    assert data.labels is not None
    assert data.class_names[0] == "000"
    assert data.class_names[-1] == "999"
    assert data.class_names[int(data.labels[5])] == "".join(str(LABELS[digit]) for digit in which(data.samples[5]))
    assert (data.judge, data.held_out, data.modes) == ("stacked-digits-v1", None, None)


def test_the_label_reads_the_channels_from_first_to_last(data: Data) -> None:
    a, b, c = LABELS[which(data.samples[:5000])].T
    assert data.labels is not None
    assert (data.labels[:5000] == 100 * a + 10 * b + c).all()


def test_all_digits_training_and_test_are_drawn_alike_and_independently() -> None:
    triples = draw(9, TRIPLES, 0)
    assert triples.shape == (TRIPLES, 3)
    for channel in triples.T:
        share = np.bincount(channel, minlength=9) / TRIPLES
        assert np.abs(share - 1 / 9).max() < 5 * np.sqrt(1 / 9 * 8 / 9 / TRIPLES)
    together = np.bincount(triples @ np.array([81, 9, 1]), minlength=729) / TRIPLES
    assert np.abs(together - 1 / 729).max() < 5 * np.sqrt(1 / 729 / TRIPLES)


def test_test_digits_are_among_the_triples(data: Data) -> None:
    assert set(which(data.samples[:2000]).ravel().tolist()) == set(range(9))


def test_the_seed_and_nothing_else_decides(root: Path, data: Data) -> None:
    np.random.seed(7)  # the global state must not matter
    again = open_data("stacked-mnist", data_root=root)
    assert again.sha256 == data.sha256
    assert (again.samples == data.samples).all()
    other = SOURCES["stacked-mnist"].open(root, 1)
    assert other.sha256 != data.sha256
    assert other.sha256 == open_data("stacked-mnist", data_root=root, seed=1).sha256
    assert (other.samples == data.samples).all(axis=(1, 2, 3)).mean() < 0.01


def test_another_size_keeps_label_and_judge_and_does_not_mix_the_channels(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacked, "TRIPLES", 300)
    data = open_data("stacked-mnist", data_root=root)
    large = open_data("stacked-mnist", data_root=root, resolution=6)
    assert large.shape == (3, 6, 6)
    assert large.judge == "stacked-digits-v1"
    assert data.labels is not None
    assert (large.labels == data.labels).all()
    alone = open_data(data.samples[:50, 1], resolution=6)
    assert (large.samples[:50, 1] == alone.samples[:, 0]).all()


def test_grey_stacks_are_refused(root: Path) -> None:
    with pytest.raises(UsageError, match="--channels: each channel of 'stacked-mnist' is a digit of its own"):
        open_data("stacked-mnist", data_root=root, channels=1)
    assert open_data("stacked-mnist", data_root=root, channels=3).shape == (3, 4, 4)


def test_without_mnist_one_sentence_says_what_to_do(root: Path) -> None:
    (root / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"'mnist' is not in .* name it with --data-root"):
        open_data("stacked-mnist", data_root=root)


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="the whole data sets are not beside the repository")
def test_real_triples_show_what_their_labels_say() -> None:
    from sparring.metrics.extractors import extract

    data = open_data("stacked-mnist", data_root=SHARED)
    assert data.samples.shape == (128_000, 3, 28, 28)
    assert data.labels is not None
    assert np.bincount(data.labels, minlength=1000).min() > 0
    x, labels = data.batch(np.arange(400))
    found = extract("digits-v1", x.flatten(0, 1)[:, None].split(128)).labels.reshape(-1, 3)
    assert labels is not None
    assert (torch.from_numpy(found @ np.array([100, 10, 1])) == labels).double().mean() > 0.98
