"""Data: named sets, folders and archives of images, arrays and data set objects, all as one `Data`.

The import is light on purpose: every source lives in a module of its own that `open_data` imports when asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparring.data.records import Data, Modes, Problem
from sparring.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sparring.data.images import Wishes

__all__ = ["SOURCES", "Data", "Modes", "Problem", "Source", "open_data"]


@dataclass(frozen=True)
class Source:
    """A named data set.

    Attributes:
        name: the key in `SOURCES`, and what ``--data`` takes.
        summary: what it is, in one line.
        licence: under which terms the data may be used.
        open: ``open(data_root, seed) -> Data``.
    """

    name: str
    summary: str
    licence: str
    open: Callable[[str | Path | None, int], Data]


def _open_digits(data_root: str | Path | None, seed: int) -> Data:
    from sparring.data.digits import open_digits

    return open_digits()


def _open_mnist(data_root: str | Path | None, seed: int) -> Data:
    from sparring.data.idx import open_idx

    return open_idx("mnist", data_root)


def _open_fashion_mnist(data_root: str | Path | None, seed: int) -> Data:
    from sparring.data.idx import open_idx

    return open_idx("fashion-mnist", data_root)


def _open_stacked_mnist(data_root: str | Path | None, seed: int) -> Data:
    from sparring.data.stacked import open_stacked

    return open_stacked(data_root, seed)


def _open_ring(data_root: str | Path | None, seed: int) -> Data:
    from sparring.data.synthetic import open_points, ring

    return open_points("ring", ring(), seed)


def _open_grid(data_root: str | Path | None, seed: int) -> Data:
    from sparring.data.synthetic import grid, open_points

    return open_points("grid", grid(), seed)


_MNIST_LICENCE = "CC BY-SA 3.0, Yann LeCun, Corinna Cortes, Christopher Burges"

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "digits", "12,000 handwritten digits from MNIST, 28×28 grey, shipped inside", _MNIST_LICENCE, _open_digits
        ),
        Source("mnist", "MNIST, 70,000 handwritten digits, 28×28 grey", _MNIST_LICENCE, _open_mnist),
        Source("fashion-mnist", "70,000 pictures of clothes, 28×28 grey", "MIT, Zalando SE", _open_fashion_mnist),
        Source(
            "stacked-mnist",
            "128,000 triples of MNIST digits, 28×28 RGB: 1000 modes",
            _MNIST_LICENCE,
            _open_stacked_mnist,
        ),
        Source("ring", "points in the plane: 8 Gaussians on the unit circle", "Apache-2.0", _open_ring),
        Source("grid", "points in the plane: 25 Gaussians on a 5×5 grid", "Apache-2.0", _open_grid),
    )
}
"""The data sets that `open_data` and ``--data`` know by name."""


def open_data(
    source: str | Path | np.ndarray[Any, Any] | torch.Tensor | torch.utils.data.Dataset[Any],
    *,
    data_root: str | Path | None = None,
    resolution: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
    background: str = "white",
    cache_dir: str | Path | None = None,
    seed: int = 0,
) -> Data:
    """Open any source of data.

    Args:
        source: a name in `SOURCES` (a folder that has such a name is ``./digits``); the path of a folder or ``.zip``
            of images, of an array (``.npy``) or of a text (``.csv``, ``.tsv``, ``.txt``) with two numbers a line, points
            in the plane; an array or tensor, uint8 [N, C, H, W], [N, H, W, C] or [N, H, W] in 0 … 255, float of the same
            shapes in [-1, 1], or [N, 2] (points in the plane); or a map-style ``torch.utils.data.Dataset`` whose items
            are an image (PIL, tensor, array) or ``(image, label)``.
        data_root: folder in which ``"mnist"`` (for ``"stacked-mnist"``, too) and ``"fashion-mnist"`` are looked for first
            (``--data-root``).
        resolution: side of the square images in pixels (``--resolution``). None keeps the images' size; a folder
            of images of several sizes, or not square, then gets 64.
        channels: 1 or 3 (``--channels``). None keeps the channels; a folder gets 1 if every image is grey, else 3.
        fit: what becomes of images that are not square (``--fit``): ``"crop"`` keeps the centre, ``"pad"`` adds
            bars of the background, ``"stretch"`` changes the aspect. Only matters with a size to be made.
        background: colour on which transparent images are laid, a name or ``#rrggbb`` (``--background``).
        cache_dir: where decoded folders are kept; default SPARRING_CACHE, else the user's cache folder.
        seed: fixes the points of ``"ring"`` and ``"grid"`` and the triples of ``"stacked-mnist"``; the other sources do
            not depend on it.

    Returns:
        The data. Files that could not be used are listed in ``problems``, never fatal.

    Raises:
        UsageError: an option or the source's name is wrong.
        DataError: the source holds nothing that can be trained on.
    """
    from sparring.data.images import check_wishes

    wishes = check_wishes(resolution, channels, fit, background)
    if isinstance(source, str) and source in SOURCES:
        from sparring.data.arrays import reshape

        return reshape(SOURCES[source].open(data_root, seed), wishes)
    if isinstance(source, str | Path):
        return _open_path(source, wishes, cache_dir)
    from sparring.data.arrays import open_object

    return open_object(source, wishes)


def _open_path(source: str | Path, wishes: Wishes, cache_dir: str | Path | None) -> Data:
    """Open a folder or a file, or say in one sentence what ``source`` is not."""
    path = Path(source).expanduser()
    suffix = path.suffix.lower()
    if path.is_dir() or (path.is_file() and suffix == ".zip"):
        from sparring.data.folder import open_images

        return open_images(path, wishes, cache_dir)
    if path.is_file():
        from sparring.data.files import ARRAY, TABLES, open_file

        if suffix in (ARRAY, *TABLES):
            return open_file(path, wishes)
        raise UsageError(
            f"data: '{source}' is a file, but neither a .zip of images nor an array ({ARRAY}) nor a table of points "
            f"({', '.join(TABLES)}); images are given by their folder."
        )
    known = ", ".join(SOURCES)
    near = get_close_matches(str(source), SOURCES, n=1, cutoff=0.5)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    raise UsageError(
        f"data: '{source}' is neither a data set{hint} nor an existing folder or file; the data sets are {known}."
    )
