"""Samples as pictures; every picture says in its metadata that it is synthetic."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sparring.version import __version__

_GAP = 2  # pixels between the tiles of a grid
_PLOT_SIDE = 512


def to_uint8(x: Tensor) -> np.ndarray:
    """Map samples from [-1, 1] to bytes, the inverse of ``(pixel - 127.5) / 127.5``.

    Args:
        x: ``[B, C, H, W]``; values outside [-1, 1] are clipped.

    Returns:
        ``[B, H, W, C]`` uint8.
    """
    pixels: np.ndarray = (
        (x.detach().float().cpu() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    )
    return pixels


def to_images(x: Tensor) -> list[Image.Image]:
    """Turn samples ``[B, C, H, W]`` in [-1, 1] into pictures, grey for C = 1."""
    return [Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels) for pixels in to_uint8(x)]


def image_grid(x: Tensor, columns: int | None = None) -> Image.Image:
    """Lay samples out as a grid, row by row.

    Args:
        x: ``[B, C, H, W]`` in [-1, 1], C = 1 or 3.
        columns: tiles in a row; the nearest to a square if None.
    """
    tiles = to_images(x)
    columns = min(columns or math.ceil(math.sqrt(len(tiles))), len(tiles))
    width, height = tiles[0].width + _GAP, tiles[0].height + _GAP
    grid = Image.new(tiles[0].mode, (columns * width + _GAP, math.ceil(len(tiles) / columns) * height + _GAP))
    for index, tile in enumerate(tiles):
        grid.paste(tile, (_GAP + index % columns * width, _GAP + index // columns * height))
    return grid


def pairs_grid(ours: Tensor, theirs: Tensor, columns: int = 8) -> Image.Image:
    """Lay pairs out, each sample above its partner.

    Args:
        ours: ``[N, C, H, W]`` in [-1, 1], above.
        theirs: likewise, below.
        columns: pairs in a row.
    """
    rows = zip(torch.split(ours, columns), torch.split(theirs, columns), strict=True)
    blank = -torch.ones(columns, *ours.shape[1:])
    padded = (torch.cat((part, blank))[:columns] for row in rows for part in row)
    return image_grid(torch.cat(list(padded)), columns)


def scatter(points: Tensor, reference: np.ndarray) -> Image.Image:
    """Draw generated points over real ones.

    Args:
        points: ``[B, 2]``, generated, drawn in orange.
        reference: ``[N, 2]``, real, drawn in grey; they set the frame.
    """
    low, high = reference.min(0), reference.max(0)
    centre, half = (low + high) / 2, float((high - low).max()) * 0.6 + 1e-9
    picture = Image.new("RGB", (_PLOT_SIDE, _PLOT_SIDE), "white")
    draw = ImageDraw.Draw(picture)
    for cloud, colour in ((reference[:2000], (200, 205, 212)), (points.detach().cpu().numpy(), (222, 92, 24))):
        for x, y in (cloud - centre) / half * (_PLOT_SIDE / 2) + _PLOT_SIDE / 2:
            draw.ellipse((x - 2, _PLOT_SIDE - y - 2, x + 2, _PLOT_SIDE - y + 2), fill=colour)
    return picture


def to_png(picture: Image.Image, origin: str) -> bytes:
    """Encode a picture as PNG with a note of where it comes from.

    Args:
        picture: the picture.
        origin: the run or checkpoint that made it.
    """
    note = PngInfo()
    note.add_text("Software", f"sparring {__version__}")
    note.add_text("Source", "synthetic: made by a generative network")
    note.add_text("Comment", origin)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=note)
    return buffer.getvalue()


def save_png(picture: Image.Image, path: Path, origin: str) -> None:
    """Write a picture as PNG; the folder is made when missing.

    Args:
        picture: the picture.
        path: where.
        origin: the run or checkpoint that made it.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_png(picture, origin))
