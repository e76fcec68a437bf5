"""Decoded images on disk: decoded once, memory-mapped from then on.

An entry is up to two ``.npy`` files (training, held out) and a JSON manifest that is written last and holds the
fingerprint of both. Every file is written beside and renamed, and the fingerprints are checked on the way back, so a
damaged or half-written entry is the same as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from sparring.data.listing import Entry
from sparring.data.records import Array, Problem, fingerprint

VERSION = 1
"""Part of every key: raise it when decoding changes."""

_HEADER_BYTES = 128
_ABANDONED_AFTER = 24 * 3600  # seconds without a write after which a half-written file has no owner any more


class CacheError(Exception):
    """The cache cannot be written; the data is kept in memory instead."""


@dataclass(frozen=True)
class Part:
    """Decoded images with their labels.

    Attributes:
        samples: uint8 [N, C, H, W].
        labels: int64 [N] or None.
    """

    samples: Array
    labels: Array | None


@dataclass(frozen=True)
class Decoded:
    """Everything that decoding a folder yields.

    Attributes:
        train: the training images.
        held_out: the images kept aside, or None.
        class_names: one name a class, empty without labels.
        problems: the images that turned out not to be usable.
    """

    train: Part
    held_out: Part | None
    class_names: tuple[str, ...]
    problems: tuple[Problem, ...]


def cache_folder(cache_dir: str | Path | None) -> Path:
    """Return where decoded images are kept: ``cache_dir``, else SPARRING_CACHE, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    if named := os.environ.get("SPARRING_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparring" / "images"


def cache_key(root: Path, entries: Iterable[Entry], options: str) -> str:
    """Return the key (hex) of a folder as it is now: change one file, or an option, and the key is another."""
    digest = hashlib.sha256(json.dumps([VERSION, str(root), options]).encode())
    for entry in entries:
        digest.update(json.dumps([entry.name, entry.size, entry.stamp]).encode())
    return digest.hexdigest()[:40]


class ArrayFile:
    """A ``.npy`` file of uint8 that grows image by image, so that a data set need never fit in memory.

    Args:
        path: where it is written; the caller renames it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shape: tuple[int, ...] = (0, 0, 0)
        self._count = 0
        try:
            self._file = path.open("wb")
            self._file.write(bytes(_HEADER_BYTES))
        except OSError as error:
            raise CacheError(str(error)) from error

    def append(self, image: Array) -> None:
        """Add one image, uint8 [C, H, W], the same shape every time."""
        assert self._count == 0 or image.shape == self._shape
        self._shape = image.shape
        try:
            self._file.write(np.ascontiguousarray(image).data)
        except OSError as error:
            raise CacheError(str(error)) from error
        self._count += 1

    def finish(self, target: Path | None = None) -> Array:
        """Write the header, now that the count is known, and return the array, memory-mapped read-only.

        Args:
            target: where the finished file is moved; None leaves it where it is.
        """
        try:
            self._file.seek(0)
            self._file.write(npy_header((self._count, *self._shape)))
            self._file.flush()
            os.fsync(self._file.fileno())
            self.close()
            if target is not None:
                os.replace(self.path, target)  # before it is mapped: Windows cannot rename a mapped file
        except OSError as error:
            raise CacheError(str(error)) from error
        return load_array(target or self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ArrayList:
    """The same in memory, for when the cache cannot be written."""

    def __init__(self) -> None:
        self._images: list[Array] = []

    def append(self, image: Array) -> None:
        """Add one image, uint8 [C, H, W]."""
        self._images.append(image)

    def finish(self, target: Path | None = None) -> Array:
        """Return uint8 [N, C, H, W]; ``target`` is of no use here."""
        samples = np.stack(self._images) if self._images else np.empty((0, 0, 0, 0), np.uint8)
        self._images.clear()
        return samples

    def close(self) -> None:
        """Nothing to close."""


Sink = ArrayFile | ArrayList


class Scratch:
    """Hands out sinks and removes what they wrote unless it became part of an entry.

    Args:
        folder: the cache's folder, or None to keep everything in memory.
        key: the entry that is being made.

    Raises:
        CacheError: the folder cannot be made.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder = folder
        self.key = key
        self._sinks: list[Sink] = []
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CacheError(str(error)) from error

    def sink(self) -> Sink:
        """Return a new, empty sink."""
        if self.folder is None:
            sink: Sink = ArrayList()
        else:
            sink = ArrayFile(self.folder / f".{uuid.uuid4().hex}.part")
        self._sinks.append(sink)
        return sink

    def target(self, part: str) -> Path | None:
        """Return where a finished part of the entry belongs."""
        return None if self.folder is None else array_path(self.folder, self.key, part)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sink in self._sinks:
            sink.close()
            if isinstance(sink, ArrayFile):
                _remove(sink.path)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Return the 128-byte header (format 1.0) of a C-ordered uint8 array; its length does not depend on the shape."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).ljust(_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def load_array(path: Path) -> Array:
    """Return an array of a ``.npy`` file, memory-mapped read-only (an empty one is loaded: it cannot be mapped)."""
    empty = path.stat().st_size <= _HEADER_BYTES
    array: Array = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
    return array


def array_path(folder: Path, key: str, part: str) -> Path:
    """Return the file of one part (``"train"``, ``"held_out"``) of an entry."""
    return folder / f"{key}-{part}.npy"


def load(folder: Path, key: str) -> Decoded | None:
    """Return the entry under ``key``, or None when there is none that is whole."""
    try:
        manifest = json.loads((folder / f"{key}.json").read_text("utf-8"))
        parts = {name: _load_part(array_path(folder, key, name), record) for name, record in manifest["parts"].items()}
        problems = tuple(Problem(**problem) for problem in manifest["problems"])
        return Decoded(parts["train"], parts.get("held_out"), tuple(manifest["class_names"]), problems)
    except Exception:  # whatever a damaged entry does, the answer is to decode again
        return None


def _load_part(path: Path, record: dict[str, object]) -> Part:
    labels = None if record["labels"] is None else np.array(record["labels"], np.int64)
    samples = load_array(path)
    if fingerprint(samples, labels) != record["sha256"]:
        raise ValueError("damaged")
    return Part(samples, labels)


def store(folder: Path, key: str, root: Path, options: str, decoded: Decoded) -> None:
    """Write the manifest that makes the finished arrays an entry, and drop what it replaces.

    Args:
        folder: the cache's folder.
        key: from `cache_key`.
        root: the folder or archive the images come from.
        options: what it was decoded with.
        decoded: what was decoded; its arrays already lie at their `array_path`.

    Raises:
        CacheError: it cannot be written.
    """
    parts = {"train": decoded.train} | ({"held_out": decoded.held_out} if decoded.held_out else {})
    manifest = {
        "version": VERSION,
        "root": str(root),
        "options": options,
        "parts": {name: _record(part) for name, part in parts.items()},
        "class_names": decoded.class_names,
        "problems": [{"path": problem.path, "reason": problem.reason} for problem in decoded.problems],
    }
    try:
        _write(folder / f"{key}.json", json.dumps(manifest))
    except OSError as error:
        raise CacheError(str(error)) from error
    _drop_older(folder, key, str(root), options)


def _record(part: Part) -> dict[str, object]:
    labels = None if part.labels is None else part.labels.tolist()
    return {"sha256": fingerprint(part.samples, part.labels), "labels": labels}


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        part.write_text(text, "utf-8")
        os.replace(part, path)
    finally:
        _remove(part)


def _drop_older(folder: Path, key: str, root: str, options: str) -> None:
    """Remove entries nobody can ask for again, because the folder changed, and what killed runs left half-written."""
    for path in folder.glob("*.json"):
        try:
            manifest = json.loads(path.read_text("utf-8"))
            stale = path.stem != key and (manifest["root"], manifest["options"]) == (root, options)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not ours, or being written
        if stale:
            for file in (path, *folder.glob(f"{path.stem}-*.npy")):
                _remove(file)
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED_AFTER:
                part.unlink()


def _remove(path: Path) -> None:
    with suppress(OSError):  # Windows keeps what another process has mapped; it goes the next time
        path.unlink(missing_ok=True)
