from __future__ import annotations

import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from sparring.data.images import (
    MAX_PIXELS,
    Header,
    OddImageError,
    Plan,
    check_wishes,
    decode,
    luma,
    peek,
    quiet,
)

WHITE = (255, 255, 255)


def plan(side: int, channels: int = 3, fit: str = "crop", background=WHITE, **ranges: float) -> Plan:
    return Plan(side, channels, fit, background, **ranges)


def saved(image: Image.Image, kind: str = "PNG", **options) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def chw(array: np.ndarray) -> np.ndarray:
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_an_image_of_the_right_size_is_untouched(kind):
    pixels = noise(8, 8)
    file = saved(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {}))
    result = decode(file, plan(8))
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert (result == chw(pixels)).all()


def test_a_hidden_colour_never_shows():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 0] = 255  # red, under alpha 0
    pixels[:, 2:, 3] = 255
    result = decode(saved(Image.fromarray(pixels)), plan(4, background=(0, 0, 255)))
    assert (result[:, :, :2] == np.array([0, 0, 255])[:, None, None]).all()
    assert (result[:, :, 2:] == np.array([255, 0, 0])[:, None, None]).all()


def test_a_hidden_colour_does_not_bleed_when_resized():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 1] = 255  # green everywhere, visible nowhere but in a white half
    pixels[:, 32:] = 255
    result = decode(saved(Image.fromarray(pixels)), plan(8))
    assert (result == 255).all()


def test_half_transparent_is_mixed():
    pixels = np.full((2, 2, 4), (255, 0, 0, 128), np.uint8)
    result = decode(saved(Image.fromarray(pixels)), plan(2, background=(0, 0, 255)))
    assert np.abs(result[:, 0, 0].astype(int) - (128, 0, 127)).max() <= 1


def palette_image(transparency: int | bytes | None) -> io.BytesIO:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    return saved(image, **({} if transparency is None else {"transparency": transparency}))


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_with_transparency(transparency):
    result = decode(palette_image(transparency), plan(2, fit="stretch", background=(0, 0, 255)))
    assert np.array_equal(result[:, 0, 0], [0, 0, 255])
    assert np.array_equal(result[:, 0, 1], [0, 255, 0])
    opaque = decode(palette_image(None), plan(2, fit="stretch", background=(0, 0, 255)))
    assert np.array_equal(opaque[:, 0, 0], [255, 0, 0])


def test_grey_with_alpha_is_laid_on_a_coloured_ground():
    image = Image.merge("LA", [Image.new("L", (2, 2), 200), Image.new("L", (2, 2), 0)])
    assert peek(saved(image)).grey
    assert np.array_equal(decode(saved(image), plan(2, background=(0, 0, 255)))[:, 0, 0], [0, 0, 255])
    assert decode(saved(image), plan(2, 1, background=(0, 0, 255)))[0, 0, 0] == luma((0, 0, 255))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_transparent_colour_key(mode):
    image = Image.new(mode, (1, 1), 7 if mode == "L" else (7, 7, 7))
    file = saved(image, transparency=7 if mode == "L" else (7, 7, 7))
    assert (decode(file, plan(1)) == 255).all()


def test_one_bit():
    image = Image.new("1", (2, 2))
    image.putpixel((0, 0), 1)
    assert np.array_equal(decode(saved(image), plan(2, 1))[0], [[255, 0], [0, 0]])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.array([[0, 255, 256, 300], [4000, 30000, 65000, 65535]] * 2, np.uint16)
    file = saved(Image.fromarray(values), kind)
    assert peek(file) == Header((4, 4), True)
    file.seek(0)
    result = decode(file, plan(4, 1))[0].astype(int)
    assert np.abs(result - values / 257).max() <= 0.5
    assert len(set(result.ravel())) == 6


def test_sixteen_bits_big_endian():
    values = np.array([[0, 1, 256, 65535]] * 4, ">u2")
    image = Image.frombytes("I;16B", (4, 4), values.tobytes())
    assert np.array_equal(decode(saved(image, "TIFF"), plan(4, 1))[0, 0], [0, 0, 1, 255])


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_images_of_unknown_range_take_the_data_set_s(dtype):
    values = np.array([[-1000, 0], [1000, 3000]], dtype)
    file = saved(Image.fromarray(values), "TIFF")
    header = peek(file)
    assert (header.low, header.high, header.grey) == (-1000, 3000, True)
    file.seek(0)
    own = decode(file, plan(2, 1, low=-1000, high=3000))
    assert np.array_equal(own[0], [[0, 64], [128, 255]])
    file.seek(0)
    within = decode(file, plan(2, 1, low=-1000, high=7000))  # another image of the set is brighter
    assert within.max() == 128


def test_a_constant_float_image_is_black_not_a_crash():
    file = saved(Image.fromarray(np.full((2, 2), 3.5, np.float32)), "TIFF")
    assert (decode(file, plan(2, 3, low=3.5, high=3.5)) == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    file = saved(Image.fromarray(np.array([[0, value]], np.float32)), "TIFF")
    with pytest.raises(OddImageError, match="not finite"):
        peek(file)


def test_cmyk():
    result = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), plan(8))
    assert np.abs(result[:, 4, 4].astype(int) - (255, 0, 0)).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    from PIL import ImageOps

    pixels = noise(6, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(Image.fromarray(pixels), exif=exif)
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))  # Pillow's own way, as the judge
    file.seek(0)
    turned = (6, 4) if orientation < 5 else (4, 6)
    assert expected.shape[:2] == turned
    middle = expected[1:5] if orientation < 5 else expected[:, 1:5]
    assert (decode(file, plan(4)) == chw(middle)).all()


@pytest.mark.parametrize("damage", [b"\x00" * 20, b"II*\x00\xff\xff\xff\xff", b""])
def test_damaged_metadata_do_not_cost_the_picture(damage):
    pixels = noise(4, 4)
    assert (decode(saved(Image.fromarray(pixels), exif=b"Exif\x00\x00" + damage), plan(4)) == chw(pixels)).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_counts(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    file = saved(
        frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    assert np.array_equal(decode(file, plan(4))[:, 1, 1], [255, 0, 0])


def test_crop_keeps_the_centre():
    pixels = noise(8, 14)
    assert (decode(saved(Image.fromarray(pixels)), plan(8)) == chw(pixels[:, 3:11])).all()


def test_pad_keeps_everything():
    pixels = noise(4, 8)
    result = decode(saved(Image.fromarray(pixels)), plan(8, fit="pad", background=(1, 2, 3)))
    assert (result[:, 2:6] == chw(pixels)).all()
    assert (result[:, [0, 1, 6, 7]] == np.array([1, 2, 3])[:, None, None]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pad_of_grey_uses_the_grey_of_the_background(dtype):
    result = decode(saved(Image.fromarray(np.zeros((4, 8), dtype))), plan(8, 1, "pad", (255, 0, 0)))
    assert (result[0, 0] == luma((255, 0, 0))).all()
    assert (result[0, 4] == 0).all()


def test_stretch_changes_the_aspect():
    quarters = np.array([[0, 255], [255, 0]], np.uint8).repeat(32, axis=0).repeat(64, axis=1)
    result = decode(saved(Image.fromarray(quarters)), plan(8, 1, "stretch"))[0]
    assert np.abs(result[:3, :3].astype(int)).max() < 20  # Lanczos rings a little
    assert np.abs(result[:3, 5:].astype(int) - 255).max() < 20
    assert np.abs(result[5:, 5:].astype(int)).max() < 20


def test_colours_that_cannot_be_converted_are_a_reason(monkeypatch):
    def convert(self, mode):
        raise ValueError(f"conversion from {self.mode} to {mode} not supported")

    file = saved(Image.new("LAB", (4, 4)), "TIFF")
    monkeypatch.setattr(Image.Image, "convert", convert)  # which kinds Pillow can convert depends on its version
    with pytest.raises(OddImageError, match="colours of the kind LAB cannot be made RGB"):
        decode(file, plan(4))


def test_our_own_mistakes_are_not_called_damage(monkeypatch):
    monkeypatch.setattr("sparring.data.images.fit_square", lambda image, plan: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        decode(saved(Image.new("RGB", (4, 4))), plan(4))


def test_shrinking_is_antialiased():
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    result = decode(saved(Image.fromarray(checks)), plan(8, 1))
    assert np.abs(result.astype(int) - 127).max() <= 4  # nearest or plain bicubic give stripes


def test_enlarging_a_step_by_bicubic():
    step = np.repeat(np.array([[50, 200]], np.uint8), 2, axis=0)
    result = decode(saved(Image.fromarray(step)), plan(8, 1))[0]
    expected = Image.fromarray(step).resize((8, 8), Image.Resampling.BICUBIC)
    assert (result == np.asarray(expected)).all()


def test_deep_images_are_resized_before_they_are_rounded():
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (256, 1))
    deep = decode(saved(Image.fromarray(ramp)), plan(16, 1))[0, 8].astype(int)
    assert np.abs(deep - (np.arange(16) * 16 + 7.5)).max() <= 1.5


def test_one_pixel_becomes_a_flat_square():
    result = decode(saved(Image.new("RGB", (1, 1), (9, 8, 7))), plan(16))
    assert (result == np.array([9, 8, 7])[:, None, None]).all()


def test_a_line_cannot_be_cropped_but_padded():
    file = saved(Image.new("RGB", (20000, 1), "red"))
    with pytest.raises(OddImageError, match="20000×1 is too long to be cropped to a square; --fit pad"):
        decode(file, plan(8))
    file.seek(0)
    result = decode(file, plan(8, fit="pad"))
    assert (result[1] == 0).all(axis=1).sum() == 1


def bomb_png(width: int, height: int) -> bytes:
    """A PNG that declares a size and has next to no content."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (10_000, 10_000), (100_000, 100_000)])
def test_bombs_are_refused_by_their_header(width, height, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("a bomb was decoded"))
    with quiet(), pytest.raises(OddImageError, match="million pixels"):
        peek(io.BytesIO(bomb_png(width, height)))
    assert width * height > MAX_PIXELS


@pytest.mark.parametrize(
    "content",
    [b"hello", b"%!PS-Adobe-3.0\n", b"P6 1 1 255\nabc", b"\x89PNG\r\n\x1a\n", b"<svg></svg>", b"8BPS\x00\x01"],
)
def test_other_formats_are_refused(content):
    with pytest.raises(OddImageError, match="not an image in one of the formats PNG, JPEG"):
        decode(io.BytesIO(content), plan(4))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("BMP", {}), ("GIF", {}),
     ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)  # fmt: skip
def test_a_cut_off_file_is_refused_or_complete(kind, options):
    """Never half a picture: what is taken from a file without its last bytes equals the whole."""
    content = saved(Image.fromarray(noise(24, 24)), kind, **options).getvalue()
    whole = decode(io.BytesIO(content), plan(24))
    refused = 0
    for end in [*range(0, len(content), 41), *range(len(content) - 30, len(content))]:
        try:
            assert (decode(io.BytesIO(content[:end]), plan(24)) == whole).all()
        except OddImageError:
            refused += 1
    assert refused > len(content) // 41 - 2


def test_mutants_are_read_or_refused():
    """1,000 seeded mutants; anything but an array or an `OddImageError` fails."""
    image = Image.fromarray(noise(16, 16))
    originals = [saved(image, kind).getvalue() for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF")]
    dice = random.Random(0)
    refused = 0
    with quiet():
        for _ in range(1000):
            mutant = bytearray(dice.choice(originals))
            for _ in range(dice.randint(1, 5)):
                mutant[dice.randrange(len(mutant))] = dice.randrange(256)
            try:
                peek(io.BytesIO(mutant))
                assert decode(io.BytesIO(mutant), plan(16)).shape == (3, 16, 16)
            except OddImageError:
                refused += 1
    assert 100 < refused < 900


def test_reasons_do_not_depend_on_addresses_in_memory():
    reasons = set()
    for _ in range(3):
        with pytest.raises(OddImageError) as caught:
            decode(io.BytesIO(b"no image at all"), plan(4))
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def test_quiet_gives_warnings_back():
    with quiet():
        warnings.warn("unheard", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


@pytest.mark.parametrize(("colour", "rgb"), [("white", WHITE), ("#102030", (16, 32, 48)), ("#fff", WHITE)])
def test_background_colours(colour, rgb):
    assert check_wishes(None, None, "pad", colour).background == rgb
