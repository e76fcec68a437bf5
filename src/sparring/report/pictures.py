"""Sample grids as data URIs, within what one page may weigh."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from statistics import fmean

from sparring.report import wording
from sparring.report.story import Grid, png_size

_MOST_BYTES = 5_000_000  # of all sample grids together
_LARGE = 400_000  # bytes; a larger grid is stored smaller, as JPEG
_SIDE = 1024  # pixels of a grid stored smaller


def _picture(path: Path) -> tuple[str, bytes]:
    """Return a grid's media type and bytes, made smaller where it would weigh the page down."""
    content = path.read_bytes()
    if len(content) <= _LARGE:
        return "image/png", content
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        smaller = picture.convert("RGB")
    smaller.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    note = b"synthetic: made by a generative network"
    smaller.save(buffer, "JPEG", quality=82, optimize=True, comment=note)
    return "image/jpeg", buffer.getvalue()


def data_uri(path: Path) -> str | None:
    """Return a picture as a data URI; None when it cannot be read."""
    try:
        kind, content = _picture(path)
    except (OSError, SyntaxError, ValueError):
        return None
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def affordable(grids: list[Grid]) -> list[Grid]:
    """Return as many grids, evenly spaced, as the page may carry."""
    weights = [min(grid.path.stat().st_size, _LARGE) for grid in grids]
    if not grids or sum(weights) <= _MOST_BYTES:
        return grids
    return wording.evenly(grids, max(2, int(_MOST_BYTES / fmean(weights))))


def image_tag(grid: Grid, uri: str | None, alt: str, attributes: str = "") -> str:
    """Return the element that shows a grid.

    Args:
        grid: the grid, for its size.
        uri: the picture; None for one that a script sets.
        alt: what it shows.
        attributes: more of the element's attributes.
    """
    width, height = png_size(grid.path) or (0, 0)
    # Small pictures are enlarged pixel by pixel, so that one sees what G made and not what the browser smoothed.
    pixels = ' class="pixels"' if max(width, height) < 500 else ""
    source = "" if uri is None else f' src="{uri}"'
    return f'<img{pixels}{source} width="{width}" height="{height}" alt="{escape(alt)}"{attributes}>'
