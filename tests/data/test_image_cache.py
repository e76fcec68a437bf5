from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring.data import cache, folder, open_data


@pytest.fixture
def pictures(tmp_path) -> Path:
    root = tmp_path / "pictures"
    for number in range(60):
        path = root / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 6), (number, 0, 0)).save(path)
    (root / "a" / "bad.png").write_bytes(b"bad")
    return root


@pytest.fixture
def place(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decodings(monkeypatch):
    """Count how often a whole folder is decoded."""
    calls = []
    read_images = folder.read_images

    def count(*args):
        calls.append(1)
        return read_images(*args)

    monkeypatch.setattr(folder, "read_images", count)
    return calls


def same(a, b) -> bool:
    """Return whether two data sets are equal in everything."""
    parts = [(data.sha256, data.held_out.sha256, data.class_names, data.problems) for data in (a, b)]
    return parts[0] == parts[1] and bool((a.samples == b.samples).all() and (a.labels == b.labels).all())


def files(place: Path) -> list[str]:
    return sorted(path.suffix for path in place.iterdir())


def test_decoded_once_then_mapped(pictures, place, decodings):
    first = open_data(pictures, cache_dir=place)
    again = open_data(pictures, cache_dir=place)
    assert len(decodings) == 1
    assert same(first, again)
    assert isinstance(again.samples, np.memmap)
    assert files(place) == [".json", ".npy", ".npy"]
    assert again.batch(np.arange(4))[0].shape == (4, 3, 6, 6)
    with pytest.raises(ValueError, match="read-only"):
        again.samples[0] = 0


@pytest.mark.parametrize("change", ["touch", "rewrite", "add", "remove", "rename", "option"])
def test_any_change_is_noticed_and_the_old_entry_goes(pictures, place, decodings, change):
    open_data(pictures, cache_dir=place)
    target = pictures / "a" / "00.png"
    options = {}
    if change == "touch":
        os.utime(target, ns=(0, target.stat().st_mtime_ns + 1))
    elif change == "rewrite":
        Image.new("RGB", (6, 6), (0, 255, 7)).save(target)
    elif change == "add":
        Image.new("RGB", (6, 6)).save(pictures / "a" / "new.png")
    elif change == "remove":
        target.unlink()
    elif change == "rename":
        target.rename(target.with_name("renamed.png"))
    else:
        options = {"resolution": 12}
    changed = open_data(pictures, cache_dir=place, **options)
    assert len(decodings) == 2
    assert len(changed) + len(changed.held_out) == {"add": 61, "remove": 59}.get(change, 60)
    entries = 2 if change == "option" else 1  # both options may be asked for again, the old folder may not
    assert len(files(place)) == 3 * entries


def test_two_folders_of_the_same_names_sizes_and_times_are_told_apart(tmp_path, place):
    for root, level in (("x", 1), ("y", 2)):
        (tmp_path / root).mkdir()
        for name in "ab":
            path = tmp_path / root / f"{name}.bmp"
            Image.new("RGB", (6, 6), (level, 0, 0)).save(path)
            os.utime(path, ns=(0, 10**18))
    levels = [open_data(tmp_path / root, cache_dir=place).samples[0, 0, 0, 0] for root in "xyxy"]
    assert levels == [1, 2, 1, 2]


def damage_data(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize(
    "damage",
    [
        damage_data,
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr': '|O'"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"parts": {"train": 3}}'),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["bit", "cut", "empty", "object", "list", "other", "gone", "folder"],
)
def test_a_damaged_entry_is_made_anew(pictures, place, decodings, suffix, damage):
    first = open_data(pictures, cache_dir=place)
    kept = first.samples.copy(), first.sha256
    damage(sorted(path for path in place.iterdir() if path.suffix == suffix)[-1])
    again = open_data(pictures, cache_dir=place)
    assert len(decodings) >= 2
    assert again.sha256 == kept[1]
    assert (again.samples == kept[0]).all()


def test_a_cache_that_cannot_be_made_is_done_without(pictures, tmp_path, decodings):
    (tmp_path / "file").write_text("in the way")
    data = open_data(pictures, cache_dir=tmp_path / "file" / "cache")
    assert (len(data), len(data.held_out)) == (54, 6)
    assert not isinstance(data.samples, np.memmap)
    assert len(decodings) == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not hold for root")
def test_a_cache_that_may_not_be_written_is_done_without(pictures, place):
    place.mkdir(mode=0o500)
    assert len(open_data(pictures, cache_dir=place)) == 54


@pytest.mark.parametrize("after", [0, 3, 53])
def test_a_full_disk_costs_nothing_but_the_cache(pictures, place, monkeypatch, after):
    append = cache.ArrayFile.append

    def fail(self, image):
        if self._count == after:
            raise cache.CacheError("No space left on device")
        append(self, image)

    whole = open_data(pictures, cache_dir=place)
    kept = whole.sha256
    for path in place.iterdir():
        path.unlink()
    monkeypatch.setattr(cache.ArrayFile, "append", fail)
    data = open_data(pictures, cache_dir=place)
    assert data.sha256 == kept
    assert files(place) == []  # no half-written file stays


def test_the_manifest_that_cannot_be_written(pictures, place, monkeypatch):
    def fail(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", fail)
    assert len(open_data(pictures, cache_dir=place)) == 54


def test_a_cache_with_grey_images_is_one_channel(tmp_path, place):
    (tmp_path / "x").mkdir()
    for level in (1, 2):
        Image.new("RGB", (6, 6), (level,) * 3).save(tmp_path / "x" / f"{level}.png")
    first = open_data(tmp_path / "x", cache_dir=place)
    again = open_data(tmp_path / "x", cache_dir=place)
    assert first.shape == again.shape == (1, 6, 6)
    assert files(place) == [".json", ".npy"]


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache.cache_folder(None) == tmp_path / "named"
    monkeypatch.delenv("SPARRING_CACHE")
    assert cache.cache_folder(None) == tmp_path / "xdg" / "sparring" / "images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder(None) == Path.home() / ".cache" / "sparring" / "images"


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 1, 1), (10**6, 3, 1024, 1024)])
def test_the_header_is_numpys(shape, tmp_path):
    header = cache.npy_header(shape)
    assert len(header) == 128
    with (tmp_path / "x.npy").open("wb") as file:
        file.write(header)
        file.truncate(128 + min(int(np.prod(shape)), 1000))
    with (tmp_path / "x.npy").open("rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == (shape, False, np.dtype(np.uint8))
        assert file.tell() == 128


def test_other_files_in_the_cache_are_left_alone_and_abandoned_ones_are_not(pictures, place):
    place.mkdir()
    (place / "notes.json").write_text(json.dumps({"root": "elsewhere"}))
    (place / ".old.part").write_bytes(b"x")
    (place / ".new.part").write_bytes(b"x")
    os.utime(place / ".old.part", (0, 0))
    open_data(pictures, cache_dir=place)
    assert (place / "notes.json").exists()
    assert (place / ".new.part").exists()  # may be another process's
    assert not (place / ".old.part").exists()
