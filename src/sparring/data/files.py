"""Files that hold all samples at once: arrays (``.npy``), and points in the plane as text, two numbers a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sparring.data.arrays import open_array
from sparring.data.images import Wishes
from sparring.data.records import Array, Data
from sparring.errors import DataError

ARRAY = ".npy"
TABLES = (".csv", ".tsv", ".txt")

_BETWEEN = re.compile(r"\s*[,;\t]\s*|\s+")


def open_file(path: Path, wishes: Wishes) -> Data:
    """Return an array or a table of points as `Data`; see `sparring.data.open_data`.

    Raises:
        DataError: it cannot be read, or holds fewer than two samples.
        UsageError: an array is of a shape, type or range that cannot be understood.
    """
    try:
        array = _array(path) if path.suffix.lower() == ARRAY else _points(path)
    except OSError as error:
        raise DataError(f"data: '{path}' cannot be read: {error.strerror or error}.") from None
    return open_array(array, path.stem, wishes)


def _array(path: Path) -> Array:
    with path.open("rb") as file:
        try:
            # All of it, not mapped: a file that is written anew while it is mapped ends the process.
            return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, MemoryError) as error:
            raise DataError(f"data: '{path}' is not an array of numbers as numpy.save writes them: {error}.") from None


def _points(path: Path) -> Array:
    """Return float64 [N, 2] of lines with two numbers each; empty lines and those that begin with # are passed over."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"data: '{path}' is not text; a table of points has two numbers a line.") from None
    return np.array(list(_rows(path, text)), np.float64).reshape(-1, 2)


def _rows(path: Path, text: str) -> Iterator[tuple[float, float]]:
    head = True
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [field.strip('"') for field in _BETWEEN.split(line.strip())]
        names, head = head and not any(map(_is_number, fields)), False
        if names:
            continue
        if len(fields) != 2:
            raise DataError(
                f"data: '{path}', line {number}: {len(fields)} columns; a table of points has two, x and y."
            )
        if not all(map(_is_number, fields)):
            raise DataError(f"data: '{path}', line {number}: {line.strip()!r} is not two numbers.")
        yield float(fields[0]), float(fields[1])


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
