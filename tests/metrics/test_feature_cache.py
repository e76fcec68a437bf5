"""Features of real images are computed once and come back equal to the bit; damage costs time, never a number."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sparring.metrics.extractors import cache, extract, extractor_from_module, load_extractor
from sparring.metrics.extractors.cache import cached_features, entry_key
from sparring.metrics.extractors.record import Features

COUNT = 6


class Images:
    """Six images that know how often they were drawn."""

    def __init__(self, seed: int = 0) -> None:
        self.x = torch.rand(COUNT, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        self.drawn = 0

    def __call__(self) -> Iterator[torch.Tensor]:
        self.drawn += 1
        return iter(self.x.split(4))


def features(images: Images, folder: Path, split: str = "held-out", name: str = "digits-v1") -> Features:
    return cached_features(name, images, data_sha256="ab" * 32, split=split, count=COUNT, cache_dir=folder)


def entries(folder: Path) -> list[Path]:
    return sorted((folder / "features").glob("*.safetensors"))


def test_the_second_time_nothing_is_drawn_or_computed(tmp_path: Path) -> None:
    images, calls = Images(), 0

    def count(module: nn.Module, args: object) -> None:
        nonlocal calls
        calls += 1

    handle = load_extractor("digits-v1").net.register_forward_pre_hook(count)
    try:
        first, second = features(images, tmp_path), features(images, tmp_path)
    finally:
        handle.remove()
    assert (images.drawn, calls) == (1, 2)  # two batches, once
    plain = extract("digits-v1", images())
    for found in (first, second):
        np.testing.assert_array_equal(found.features, plain.features)
        np.testing.assert_array_equal(found.probabilities, plain.probabilities)
    assert len(entries(tmp_path)) == 1
    assert [path for path in (tmp_path / "features").iterdir() if path.suffix != ".safetensors"] == []


def test_other_images_splits_and_extractors_have_entries_of_their_own(tmp_path: Path) -> None:
    features(Images(), tmp_path)
    features(Images(), tmp_path, split="train")
    features(Images(), tmp_path, name="clothes-v1")
    assert len(entries(tmp_path)) == 3


def test_everything_that_decides_the_features_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_extractor("digits-v1")
    record = loaded.record
    keys = [
        entry_key(loaded, "aa", "train", 5),
        entry_key(loaded, "ab", "train", 5),
        entry_key(loaded, "aa", "held-out", 5),
        entry_key(loaded, "aa", "train", 6),
        entry_key(replace(loaded, record=replace(record, sha256="0" * 64)), "aa", "train", 5),
        entry_key(replace(loaded, record=replace(record, resize="u8-other-28")), "aa", "train", 5),
        entry_key(replace(loaded, record=replace(record, name="digits-v2")), "aa", "train", 5),
        entry_key(replace(loaded, device=torch.device("cuda")), "aa", "train", 5),
    ]
    assert entry_key(loaded, "aa", "train", 5) == keys[0]
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    keys.append(entry_key(loaded, "aa", "train", 5))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("where", [0, 100, -1])
def test_a_damaged_entry_is_computed_again_and_rewritten(where: int, tmp_path: Path) -> None:
    images = Images()
    whole = features(images, tmp_path)
    (entry,) = entries(tmp_path)
    content = bytearray(entry.read_bytes())
    content[where] ^= 0xFF
    entry.write_bytes(content)
    np.testing.assert_array_equal(features(images, tmp_path).features, whole.features)
    np.testing.assert_array_equal(features(images, tmp_path).features, whole.features)
    assert images.drawn == 2


@pytest.mark.parametrize("length", [0, 7, 500])
def test_a_cut_off_entry_is_computed_again(length: int, tmp_path: Path) -> None:
    images = Images()
    whole = features(images, tmp_path)
    (entry,) = entries(tmp_path)
    entry.write_bytes(entry.read_bytes()[:length])
    np.testing.assert_array_equal(features(images, tmp_path).features, whole.features)
    assert images.drawn == 2


def test_a_cache_that_cannot_be_written_is_only_slow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, images = tmp_path / "file", Images()
    folder.write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        features(images, folder)
        features(images, folder)
    assert images.drawn == 2
    assert "cannot be kept" in caplog.text


def test_a_module_is_run_every_time(tmp_path: Path) -> None:
    """Two modules without weights have one hash; their features must not be mistaken for each other."""
    for module, width in ((nn.Flatten(), 784), (nn.Sequential(nn.MaxPool2d(28), nn.Flatten()), 1)):
        loaded, images = extractor_from_module(module, name="mine"), Images()
        found = cached_features(loaded, images, data_sha256="ab", split="train", count=COUNT, cache_dir=tmp_path)
        assert found.features.shape == (COUNT, width)
        assert images.drawn == 1
    assert entries(tmp_path) == []


def test_the_cache_stays_below_its_limit_and_keeps_what_was_used_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Images()
    features(images, tmp_path, "a")
    (first,) = entries(tmp_path)
    monkeypatch.setattr(cache, "MAX_BYTES", int(2.5 * first.stat().st_size))
    features(images, tmp_path, "b")
    second = next(path for path in entries(tmp_path) if path != first)
    for age, path in ((30, first), (20, second)):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    features(images, tmp_path, "a")  # read again: the other one is now the older
    features(images, tmp_path, "c")
    assert first in entries(tmp_path)
    assert second not in entries(tmp_path)
    assert len(entries(tmp_path)) == 2


def test_a_single_entry_above_the_limit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_BYTES", 1)
    images = Images()
    features(images, tmp_path)
    features(images, tmp_path)
    assert images.drawn == 1


def test_what_a_killed_run_left_is_removed_in_time(tmp_path: Path) -> None:
    features(Images(), tmp_path, "a")
    old, new = (tmp_path / "features" / f".{name}.part" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    features(Images(), tmp_path, "b")
    assert (old.exists(), new.exists()) == (False, True)
