"""Which files of a folder or archive are images, and what becomes of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from sparring.data.records import Problem

SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif")
)
MAX_BYTES = 256 << 20
"""A larger image file is left out: 64 million pixels fit in this even when not compressed."""

_SYSTEM = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


@dataclass(frozen=True)
class Entry:
    """A file that may be an image.

    Attributes:
        name: path relative to the root, parts separated by ``/``, always printable.
        size: bytes.
        stamp: changes when the content changes: time of modification in ns, or a checksum.
        place: where to read it: a path, or the index of an archive's member.
    """

    name: str
    size: int
    stamp: int
    place: str | int


@dataclass(frozen=True)
class Listing:
    """What a folder or archive holds.

    Attributes:
        entries: the files that may be images, sorted by name.
        problems: what was left out, each with its reason; files that are no images are counted by kind.
        left_out: how many files that is.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    left_out: int


class Store(Protocol):
    """A folder or an archive."""

    def listing(self) -> Listing:
        """Return what it holds."""
        ...

    def open(self, entry: Entry) -> BinaryIO:
        """Open one file for reading; seekable. Safe to call from several threads.

        Raises:
            OSError: it cannot be read.
            OddImageError: it is not honest about its size.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def sort_out(found: Iterable[Entry], problems: Iterable[Problem]) -> Listing:
    """Separate images from other files.

    A file counts as an image by its suffix, or when it has none; its content decides later. Hidden files and the
    droppings of operating systems (Thumbs.db, desktop.ini, __MACOSX) are passed over in silence.

    Args:
        found: all files.
        problems: what could not even be listed.
    """
    entries, bad, others = [], list(problems), Counter[str]()
    for entry in sorted(found, key=lambda entry: entry.name):
        suffix = PurePosixPath(entry.name.lower()).suffix
        if is_dropping(entry.name):
            continue
        if suffix and suffix not in SUFFIXES:
            others[suffix] += 1
        elif entry.size == 0:
            bad.append(Problem(entry.name, "empty file"))
        elif entry.size > MAX_BYTES:
            bad.append(Problem(entry.name, f"larger than {MAX_BYTES >> 20} MiB"))
        else:
            entries.append(entry)
    left_out = len(bad) + sum(others.values())
    bad += [Problem(f"*{suffix}", f"{_files(count)} of a kind that is not read") for suffix, count in others.items()]
    return Listing(tuple(entries), tuple(sorted(bad, key=lambda problem: problem.path)), left_out)


def is_dropping(name: str) -> bool:
    """Return whether a file is hidden, in a hidden folder, or one that an operating system left there."""
    return any(part.startswith(".") or part in _SYSTEM for part in name.lower().split("/"))


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
