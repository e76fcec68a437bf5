"""Images in a zip archive, read in place: nothing is ever written to disk, and no member is believed about its size."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from sparring.data.images import OddImageError
from sparring.data.listing import Entry, Listing, is_dropping, sort_out
from sparring.data.records import Problem
from sparring.errors import DataError

MAX_MEMBERS = 1_000_000
MAX_TOTAL = 64 << 30
"""Bytes of all members together, unpacked."""
MAX_RATIO = 100
"""How much a member above `RATIO_FROM` may shrink; real images hardly shrink at all."""
RATIO_FROM = 1 << 20
_PIECE = 1 << 16


class Archive:
    """A zip archive of images.

    Args:
        path: the ``.zip`` file.

    Raises:
        DataError: it is no zip file, or its directory describes something no honest archive holds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise DataError(f"data: '{path}' cannot be read as a zip archive ({error}).") from error
        self._members = self._zip.infolist()

    def listing(self) -> Listing:
        """Return the images in it, names made safe; one folder that holds everything is not part of the names.

        Raises:
            DataError: too many members, too many bytes, or members that overlap.
        """
        self._check_directory()
        found, problems, seen = [], [], set[str]()
        for place, member in enumerate(self._members):
            name = safe_name(member.filename)
            if member.is_dir() or is_dropping(name):
                continue
            reason = "the same name twice" if name in seen else _oddity(member)
            seen.add(name)
            if reason:
                problems.append(Problem(name, reason))
            else:
                found.append(Entry(name, member.file_size, member.CRC, place))
        return sort_out(_without_common_folder(found), problems)

    def open(self, entry: Entry) -> BinaryIO:
        """Unpack one member into memory, counting the bytes as they come; see `Store.open`."""
        assert isinstance(entry.place, int)
        member = self._members[entry.place]
        content = bytearray()
        limit = max(RATIO_FROM, MAX_RATIO * member.compress_size)
        try:
            with self._zip.open(member) as stream:
                while piece := stream.read(_PIECE):
                    content += piece
                    if len(content) > min(limit, member.file_size):
                        raise OddImageError("unpacks to more than it declares, or far more than an image would")
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
            raise OddImageError(f"damaged in the archive: {error}") from error
        return io.BytesIO(content)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def _check_directory(self) -> None:
        if len(self._members) > MAX_MEMBERS:
            raise DataError(
                f"data: '{self.path}' has {len(self._members):,} members, more than {MAX_MEMBERS:,}; split it."
            )
        total = sum(member.file_size for member in self._members)
        if total > MAX_TOTAL:
            raise DataError(
                f"data: '{self.path}' would unpack to {total / 2**30:.0f} GiB, more than {MAX_TOTAL >> 30}; split it."
            )
        end = 0
        for member in sorted(self._members, key=lambda member: member.header_offset):
            if member.header_offset < end:
                raise DataError(
                    f"data: the members of '{self.path}' overlap, as in a zip bomb; pack the images anew to use them."
                )
            end = member.header_offset + member.compress_size


def safe_name(name: str) -> str:
    r"""Return a member's name as a relative path with ``/``: no root, no drive, no ``..``, printable.

    >>> safe_name("..\\..\\C:\\x/./y.png")
    'x/y.png'
    """
    parts = name.replace("\\", "/").split("/")
    kept = [part for part in parts if part not in ("", ".", "..") and not part.endswith(":")]
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in "/".join(kept))


def _oddity(member: zipfile.ZipInfo) -> str | None:
    """Return why a member cannot be used, as far as the directory tells."""
    if member.flag_bits & 1:
        return "encrypted"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link"
    if member.file_size > RATIO_FROM and member.file_size > MAX_RATIO * member.compress_size:
        return f"unpacks to more than {MAX_RATIO} times its size"
    return None


def _without_common_folder(entries: list[Entry]) -> list[Entry]:
    folders = {entry.name.split("/")[0] if "/" in entry.name else "" for entry in entries}
    if len(folders) != 1 or "" in folders:
        return entries
    cut = len(folders.pop()) + 1
    return [Entry(entry.name[cut:], entry.size, entry.stamp, entry.place) for entry in entries]
