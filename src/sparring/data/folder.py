"""Any folder (searched through and through) or zip archive of images as one `Data`.

* **Size.** If all images have one same square size, that size; else 64 × 64, unless ``--resolution`` says otherwise.
* **Channels.** 1 if every image is grey in content, else 3, unless ``--channels`` says otherwise.
* **Labels.** The first-level subfolders, if every image lies in one and there are at least two.
* **Held out.** Of 50 images and more, the tenth (at most 2,000) whose names have the lowest sha256: always the same
  ones, and nearly the same when images are added.
* **Order.** By name. What cannot be used is listed in `Data.problems`, never fatal.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
import PIL

from sparring.data import cache
from sparring.data.archive import Archive
from sparring.data.images import (
    DEFAULT_SIDE,
    FORMATS,
    MAX_SIDE,
    Header,
    OddImageError,
    Plan,
    Wishes,
    decode,
    peek,
    quiet,
)
from sparring.data.listing import SUFFIXES, Entry, Listing, Store, is_dropping, sort_out
from sparring.data.records import Array, Data, Problem, make_data
from sparring.errors import DataError

T = TypeVar("T")

HELD_OUT_FROM = 50
MAX_HELD_OUT = 2000
MIN_IMAGES = 2
_THREADS = 2  # Pillow decodes outside the interpreter's lock; more threads only fight with the user's other work
_AT_A_TIME = 256


class Folder:
    """A folder of images with all its subfolders; links are followed, each folder is visited once.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def listing(self) -> Listing:
        """Return the images in it."""
        found: list[Entry] = []
        problems: list[Problem] = []
        folders, links = [self.path], list[Path]()
        visited: set[tuple[int, int]] = set()
        while folders or links:
            folder = folders.pop() if folders else links.pop()  # links last: a folder keeps its real name
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in visited:
                    problems.append(Problem(self._name(folder), "a link to a folder that is already read"))
                    continue
                visited.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as entries:
                    for path in self._sort(entries, found, problems):
                        (links if path.is_symlink() else folders).append(path)
            except OSError as error:
                problems.append(Problem(self._name(folder), f"cannot be listed: {error.strerror}"))
        return sort_out(found, problems)

    def _sort(self, entries: Iterable[os.DirEntry[str]], found: list[Entry], problems: list[Problem]) -> list[Path]:
        """Add the files of one folder to ``found``; return its subfolders, in a fixed order."""
        folders: list[Path] = []
        for entry in entries:
            if is_dropping(entry.name):
                continue
            path = Path(entry.path)
            try:
                status = entry.stat()
            except OSError as error:
                problems.append(Problem(self._name(path), f"cannot be read: {error.strerror}"))
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
                if path.suffix.lower() in SUFFIXES:
                    problems.append(Problem(self._name(path), "a folder with the name of an image"))
            elif stat.S_ISREG(status.st_mode):
                found.append(Entry(self._name(path), status.st_size, status.st_mtime_ns, entry.path))
            else:
                problems.append(Problem(self._name(path), "neither a file nor a folder"))
        return sorted(folders)

    def _name(self, path: Path) -> str:
        """Return the path relative to the root, with ``/`` and printable whatever bytes its name is made of."""
        relative = path.relative_to(self.path).as_posix()
        return os.fsencode(relative).decode("utf-8", "backslashreplace")

    def open(self, entry: Entry) -> BinaryIO:
        """Open one file; see `Store.open`."""
        assert isinstance(entry.place, str)  # a number would be taken for a file descriptor
        return open(entry.place, "rb")

    def close(self) -> None:
        """Nothing to close."""


def open_images(path: Path, wishes: Wishes, cache_dir: str | Path | None = None) -> Data:
    """Return the images of a folder or zip archive, from the cache if it is as it was.

    Args:
        path: an existing folder, or a ``.zip`` file.
        wishes: size, channels, fit, background.
        cache_dir: see `open_data`.

    Raises:
        DataError: fewer than two images can be read, or the archive is not an honest one.
    """
    store: Store = Folder(path) if path.is_dir() else Archive(path)
    with closing(store):
        listing = store.listing()
        if not listing.entries:
            raise _too_few(path, 0, listing.left_out, listing.problems)
        decoded = _cached(path, store, listing, wishes, cache.cache_folder(cache_dir))
    problems = tuple(sorted((*listing.problems, *decoded.problems), key=lambda problem: problem.path))
    if len(decoded.train.samples) < MIN_IMAGES:
        raise _too_few(path, len(decoded.train.samples), listing.left_out + len(decoded.problems), problems)
    name = path.resolve().stem if path.is_file() else path.resolve().name
    kept, classes = decoded.held_out, decoded.class_names
    held_out = make_data(name, kept.samples, kept.labels, classes) if kept else None
    return make_data(name, decoded.train.samples, decoded.train.labels, classes, held_out=held_out, problems=problems)


def _too_few(path: Path, readable: int, left_out: int, problems: tuple[Problem, ...]) -> DataError:
    holds = "holds no image that can be read" if readable == 0 else "holds one readable image"
    why = f"{left_out:,} left out, the first: {problems[0].path}: {problems[0].reason}" if problems else "it is empty"
    formats = ", ".join(FORMATS)
    return DataError(f"data: '{path}' {holds} ({why}); training needs at least {MIN_IMAGES}, in one of {formats}.")


def _cached(path: Path, store: Store, listing: Listing, wishes: Wishes, folder: Path) -> cache.Decoded:
    """Return the decoded images from the cache, else decode and cache them, else just decode them."""
    root, options = path.resolve(), f"{wishes} Pillow {PIL.__version__}"
    key = cache.cache_key(root, listing.entries, options)
    decoded = cache.load(folder, key)
    if decoded is not None:
        return decoded
    try:
        with cache.Scratch(folder, key) as scratch:
            decoded = read_images(store, listing.entries, wishes, scratch)
            cache.store(folder, key, root, options, decoded)
            return decoded
    except cache.CacheError:
        with cache.Scratch(None, key) as scratch:
            return read_images(store, listing.entries, wishes, scratch)


def read_images(store: Store, entries: Iterable[Entry], wishes: Wishes, scratch: cache.Scratch) -> cache.Decoded:
    """Decode all images: once over the headers to decide size and channels, once over the pixels.

    Args:
        store: where they are.
        entries: which they are, in order.
        wishes: size, channels, fit, background.
        scratch: where the pixels go.
    """
    problems: list[Problem] = []
    with quiet(), ThreadPoolExecutor(_THREADS) as pool:
        headers = dict(_each(pool, partial(_peek, store), entries, problems))
        plan = make_plan(headers.values(), wishes)
        kept_aside = choose_held_out(headers)
        names: dict[str, list[str]] = {"train": [], "held_out": []}
        sinks = {part: scratch.sink() for part in names}
        coloured = False
        for entry, image in _each(pool, partial(_decode, store, plan), headers, problems):
            part = "held_out" if entry in kept_aside else "train"
            names[part].append(entry.name)
            sinks[part].append(image)
            coloured = coloured or not is_grey(image)
    if wishes.channels is None and plan.channels == 3 and not coloured:
        sinks = {part: _one_channel(sink, scratch) for part, sink in sinks.items()}
    class_names = classes_of((*names["train"], *names["held_out"]))
    parts = {
        part: cache.Part(sinks[part].finish(scratch.target(part)), labels_of(names[part], class_names))
        for part in names
        if names[part] or part == "train"
    }
    return cache.Decoded(parts["train"], parts.get("held_out"), class_names, tuple(problems))


def _each(
    pool: ThreadPoolExecutor, read: Callable[[Entry], T], entries: Iterable[Entry], problems: list[Problem]
) -> Iterator[tuple[Entry, T]]:
    """Yield what ``read`` makes of each entry, in order; what cannot be read goes to ``problems``."""
    remaining = iter(entries)
    while group := list(islice(remaining, _AT_A_TIME)):  # in groups, so that finished images never pile up
        for entry, result in zip(group, pool.map(partial(_attempt, read), group), strict=True):
            if isinstance(result, Problem):
                problems.append(result)
            else:
                yield entry, result


def _attempt(read: Callable[[Entry], T], entry: Entry) -> T | Problem:
    try:
        return read(entry)
    except OddImageError as error:
        return Problem(entry.name, str(error))
    except OSError as error:
        return Problem(entry.name, f"cannot be read: {error.strerror}")


def _peek(store: Store, entry: Entry) -> Header:
    with store.open(entry) as file:
        return peek(file)


def _decode(store: Store, plan: Plan, entry: Entry) -> Array:
    with store.open(entry) as file:
        return decode(file, plan)


def _one_channel(sink: cache.Sink, scratch: cache.Scratch) -> cache.Sink:
    """Return a sink with the first channel of each image: all three are equal."""
    narrow = scratch.sink()
    for image in sink.finish():
        narrow.append(image[:1])
    return narrow


def make_plan(headers: Iterable[Header], wishes: Wishes) -> Plan:
    """Decide what is decoded to: the wishes, and where there are none, what the headers suggest."""
    headers = list(headers)
    sizes = {header.size for header in headers}
    width, height = next(iter(sizes)) if len(sizes) == 1 else (0, 0)
    own = width if width == height and 0 < width <= MAX_SIDE else DEFAULT_SIDE
    red, green, blue = wishes.background
    grey = all(header.grey for header in headers) and red == green == blue
    lows = [header.low for header in headers if header.low is not None]
    highs = [header.high for header in headers if header.high is not None]
    return Plan(
        side=wishes.resolution or own,
        channels=wishes.channels or (1 if grey else 3),
        fit=wishes.fit,
        background=wishes.background,
        low=min(lows, default=0.0),
        high=max(highs, default=1.0),
    )


def is_grey(image: Array) -> bool:
    """Return whether an image, uint8 [C, H, W], has no colour in it."""
    return len(image) == 1 or bool((image[0] == image[1]).all() and (image[1] == image[2]).all())


def choose_held_out(entries: Iterable[Entry]) -> set[Entry]:
    """Return the tenth (at most 2,000) of the images whose names have the lowest sha256; none of fewer than 50."""
    entries = sorted(entries, key=lambda entry: hashlib.sha256(entry.name.encode()).digest())
    if len(entries) < HELD_OUT_FROM:
        return set()
    return set(entries[: min(len(entries) // 10, MAX_HELD_OUT)])


def classes_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the first-level folders, sorted, if every name lies in one and there are at least two; else ()."""
    folders = {name.split("/")[0] if "/" in name else "" for name in names}
    return () if "" in folders or len(folders) < 2 else tuple(sorted(folders))


def labels_of(names: list[str], class_names: tuple[str, ...]) -> Array | None:
    """Return int64 [N], the place of each name's first-level folder in ``class_names``; None without classes."""
    if not class_names:
        return None
    places = {name: place for place, name in enumerate(class_names)}
    return np.array([places[name.split("/")[0]] for name in names], np.int64)
