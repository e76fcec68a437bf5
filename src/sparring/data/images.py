"""One image file becomes one uint8 array: what every odd kind of image turns into is decided here.

* Only PNG, JPEG, WEBP, BMP, TIFF and GIF are opened; of an animation the first frame counts.
* EXIF orientation is applied. Colour profiles are not: values are taken as sRGB.
* Transparent pixels are laid on the background colour, so a colour hidden under alpha 0 never shows.
* 16-bit grey is scaled from 0 … 65535 to 0 … 255; 32-bit integer and float grey from the least to the greatest value
  of the whole data set. Nothing is clipped.
* Resizing: Lanczos with antialiasing when the image shrinks in either direction, bicubic when it only grows; an
  image of the right size is not touched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageColor, UnidentifiedImageError

from sparring.data.records import Array
from sparring.errors import UsageError, unknown_name

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 64_000_000
"""Checked against the header before anything is decoded, so that a decompression bomb stays packed."""
MAX_SIDE = 4096
MAX_ASPECT = 20
"""A centre crop of anything longer would keep less than a twentieth of it."""
DEFAULT_SIDE = 64
"""Side of the squares that images of several sizes become when ``--resolution`` does not say."""
FITS = ("crop", "pad", "stretch")

_UINT16 = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_UINT16, "I", "F")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the EXIF tag


class OddImageError(Exception):
    """An image that is left out; its text is the reason."""


@dataclass(frozen=True)
class Wishes:
    """What the user asked of the images, checked.

    Attributes:
        resolution: side of the square images in pixels, or None to let the data decide.
        channels: 1, 3, or None to let the data decide.
        fit: one of `FITS`.
        background: red, green, blue, each 0 … 255.
    """

    resolution: int | None
    channels: int | None
    fit: str
    background: tuple[int, int, int]


def check_wishes(resolution: int | None, channels: int | None, fit: str, background: str) -> Wishes:
    """Return the options of `open_data` as `Wishes`.

    Raises:
        UsageError: naming the flag, the value and the choices.
    """
    if resolution is not None and (type(resolution) is not int or not 1 <= resolution <= MAX_SIDE):
        raise UsageError(f"--resolution: {resolution!r} is not a whole number of pixels from 1 to {MAX_SIDE}.")
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels: {channels!r} is neither 1 (grey) nor 3 (colour).")
    if fit not in FITS:
        raise UsageError(unknown_name("--fit", str(fit), FITS))
    return Wishes(resolution, channels, fit, _colour(background))


def _colour(background: str) -> tuple[int, int, int]:
    with suppress(ValueError):
        colour = ImageColor.getrgb(background)
        if len(colour) == 3:
            return colour
    raise UsageError(f"--background: '{background}' is not an opaque colour; give a name such as white, or '#rrggbb'.")


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Attributes:
        size: width and height in pixels, as stored.
        grey: whether it can only hold greys.
        low: least value if its range is its own (32-bit integer or float grey), else None.
        high: greatest value, likewise.
    """

    size: tuple[int, int]
    grey: bool
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Plan:
    """How every image of one data set is decoded.

    Attributes:
        side: side of the square result.
        channels: 1 or 3.
        fit: one of `FITS`.
        background: red, green, blue, each 0 … 255.
        low: what 0 stands for in 32-bit integer and float images.
        high: what 255 stands for in them.
    """

    side: int
    channels: int
    fit: str
    background: tuple[int, int, int]
    low: float = 0.0
    high: float = 1.0


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about odd files while many are read: each file is used or listed, which says it all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Image.Image]:
    """Open an image of an allowed format and size; every failure, of any kind, becomes an `OddImageError`."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            _check_size(*image.size)
            yield image
    except OddImageError:
        raise
    except UnidentifiedImageError:
        raise OddImageError(f"not an image in one of the formats {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise OddImageError(f"more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except Exception as error:  # Pillow's decoders raise nine kinds of exceptions on damaged files
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise OddImageError(f"damaged: {text}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise OddImageError(f"{width}×{height} is more than {MAX_PIXELS // 1_000_000} million pixels")
    if width * height == 0:
        raise OddImageError("no pixels")


def peek(file: BinaryIO) -> Header:
    """Read an image's header; only images whose range is their own are decoded here.

    Raises:
        OddImageError: it cannot be read.
    """
    with _opened(file) as image:
        grey = image.mode in _GREY
        if not _has_own_range(image):
            return Header(image.size, grey)
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise OddImageError("holds values that are not finite")
        return Header(image.size, grey, float(values.min()), float(values.max()))


def _has_own_range(image: Image.Image) -> bool:
    return image.mode == "F" or (image.mode == "I" and image.format != "PNG")


def decode(file: BinaryIO, plan: Plan) -> Array:
    """Decode one image.

    Args:
        file: the image file, seekable.
        plan: what to make of it.

    Returns:
        uint8 [plan.channels, plan.side, plan.side].

    Raises:
        OddImageError: it cannot be read, or the crop would keep next to nothing of it.
    """
    with _opened(file) as image:
        image.load()
        turned = _turn(image)
    return to_array(turned, plan)  # outside: what fails from here on is our mistake, not a damaged file


def _turn(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata is no reason to lose the picture
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def to_array(image: Image.Image, plan: Plan) -> Array:
    """Return a loaded image of any mode as uint8 [C, side, side]; see `decode`."""
    square = fit_square(flatten(image, plan), plan)
    if square.mode == "F":
        square = Image.fromarray(np.rint(np.asarray(square)).clip(0, 255).astype(np.uint8))
    values = np.asarray(square.convert("L" if plan.channels == 1 else "RGB"))
    return np.ascontiguousarray(values.reshape(plan.side, plan.side, plan.channels).transpose(2, 0, 1))


def flatten(image: Image.Image, plan: Plan) -> Image.Image:
    """Return an opaque image of mode L, RGB or (values 0 … 255) F."""
    if image.mode in (*_UINT16, "I", "F"):
        low, high = (plan.low, plan.high) if _has_own_range(image) else (0.0, 65535.0)
        values = (np.asarray(image).astype(np.float64) - low) * (255 / (high - low) if high > low else 0.0)
        return Image.fromarray(values.astype(np.float32))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*plan.background, 255))
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    try:
        return image.convert("L" if image.mode in _GREY else "RGB")
    except ValueError:
        raise OddImageError(f"colours of the kind {image.mode} cannot be made RGB") from None


def fit_square(image: Image.Image, plan: Plan) -> Image.Image:
    """Return the image as a square of side ``plan.side``, its mode (L, RGB or F) unchanged."""
    width, height = image.size
    if (width, height) == (plan.side, plan.side):
        return image
    if plan.fit == "stretch":
        return _resize(image, (plan.side, plan.side), (0, 0, width, height))
    if plan.fit == "pad":
        return _pad(image, plan)
    short = min(width, height)
    if max(width, height) > MAX_ASPECT * short:
        raise OddImageError(f"{width}×{height} is too long to be cropped to a square; --fit pad would take it")
    left, top = (width - short) // 2, (height - short) // 2
    return _resize(image, (plan.side, plan.side), (left, top, left + short, top + short))


def _pad(image: Image.Image, plan: Plan) -> Image.Image:
    width, height = (max(1, round(length * plan.side / max(image.size))) for length in image.size)
    inner = _resize(image, (width, height), (0, 0, *image.size))
    if inner.mode == "RGB":
        square = Image.new("RGB", (plan.side, plan.side), plan.background)
    else:
        square = Image.new(inner.mode, (plan.side, plan.side), luma(plan.background))
    square.paste(inner, ((plan.side - width) // 2, (plan.side - height) // 2))
    return square


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    shrinks = box[2] - box[0] > size[0] or box[3] - box[1] > size[1]
    return image.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC, box=box)


def luma(colour: tuple[int, int, int]) -> int:
    """Return the grey (0 … 255) that Pillow gives this colour, by ITU-R 601-2."""
    return int(np.asarray(Image.new("RGB", (1, 1), colour).convert("L"))[0, 0])
