"""Charts as PNG, by Pillow alone: axes, ticks, labels, a legend, several series, logarithmic scales."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from sparring.experiments.finding import Curve, Heat, Panel
from sparring.version import __version__

_SCALE = 2  # pixels a unit: drawn for screens of twice the density
_WIDTH, _HEIGHT = 460 * _SCALE, 360 * _SCALE  # of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 64 * _SCALE, 16 * _SCALE, 52 * _SCALE, 46 * _SCALE
_LEGEND_LINE = 17 * _SCALE
_TEXT, _SMALL = 13 * _SCALE, 11 * _SCALE
_INK, _GREY, _PALE = (40, 44, 52), (110, 116, 126), (232, 234, 238)

#: Told apart by people who see red and green alike, too (after Okabe and Ito).
_COLOURS = ((0, 96, 168), (214, 94, 0), (0, 145, 110), (196, 110, 160), (120, 120, 130), (226, 160, 0), (86, 170, 222))

#: Signs that Pillow's own font lacks; it has no Greek either.
_DRAWABLE = str.maketrans({"−": "-", "×": "x", "½": "1/2"})

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels.

    Attributes:
        low: the smallest value shown.
        high: the largest, above ``low``.
        start: pixel of ``low``.
        end: pixel of ``high``.
        log: whether decades are equally long.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, v = (math.log10(w) if self.log else w for w in (self.low, self.high, value))
        return self.start + (v - low) / (high - low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Values worth a number: at most seven, each 1, 2 or 5 times a power of ten, or decades on a logarithmic axis."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first < 2:
                finer = (10.0**exponent * factor for exponent in range(first - 1, last + 1) for factor in (1, 2, 5))
                return [value for value in finer if self.low <= value <= self.high]
            every = max(1, math.ceil((last - first) / 6))
            return [10.0**exponent for exponent in range(first, last + 1, every)]
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / 5))
        step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 7)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def draw(plot: Sequence[Panel | Heat], title: str) -> Image.Image:
    """Draw charts and pictures side by side under one title.

    Args:
        plot: at least one.
        title: over all of them.

    Returns:
        An RGB picture on white, at twice the density of a screen.
    """
    columns = 2 if len(plot) == 4 else min(len(plot), 3)
    rows = math.ceil(len(plot) / columns)
    head = 40 * _SCALE
    picture = Image.new("RGB", (columns * _WIDTH, head + rows * _HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    _words(pen, (16 * _SCALE, 14 * _SCALE), title, _fitting(title, picture.width - 32 * _SCALE), _INK)
    for index, part in enumerate(plot):
        drawn = _panel(part) if isinstance(part, Panel) else _heat(part)
        picture.paste(drawn, (index % columns * _WIDTH, head + index // columns * _HEIGHT))
    return picture


def _fitting(text: str, width: int) -> int:
    """Return the largest size, up to a heading's, at which a text is no wider than this."""
    size = 16 * _SCALE
    while size > 8 * _SCALE and _font(size).getlength(text) > width:
        size -= 1
    return size


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _words(
    pen: ImageDraw.ImageDraw, where: Point, text: str, size: int, colour: tuple[int, int, int], anchor: str = "la"
) -> None:
    pen.text(where, text.translate(_DRAWABLE), font=_font(size), fill=colour, anchor=anchor)


def _panel(panel: Panel) -> Image.Image:
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    _words(pen, (_LEFT, 6 * _SCALE), panel.title, min(_TEXT, _fitting(panel.title, _WIDTH - _LEFT)), _INK)
    _words(pen, (_LEFT, 26 * _SCALE), panel.y_label, _SMALL, _GREY)
    _words(pen, ((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8 * _SCALE), panel.x_label, _SMALL, _GREY, "ms")
    x, y = _axes(panel)
    _frame(pen, panel, x, y)
    bars = [curve for curve in panel.curves if curve.mark == "bars"]
    for index, curve in enumerate(panel.curves):
        colour = _COLOURS[index % len(_COLOURS)]
        if curve.mark == "bars":
            _bars(pen, curve, (bars.index(curve), len(bars)), x, y, colour)
        else:
            _series(pen, curve, x, y, colour)
    _legend(pen, panel.curves)
    return picture


def _axes(panel: Panel) -> tuple[Axis, Axis]:
    """Return the axes that show every point of a panel, with some air around them."""
    points = [point for curve in panel.curves for point in _points(curve, panel)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    has_bars = any(curve.mark == "bars" for curve in panel.curves)
    x_range = (-0.6, len(panel.x_names) - 0.4) if panel.x_names else _range(xs, panel.log_x, air=0.02)
    y_range = _range([*ys, 0.0] if has_bars and not panel.log_y else ys, panel.log_y, air=0.06)
    top = _TOP + _LEGEND_LINE * len(_legend_lines(panel.curves))
    x_pixels, y_pixels = (_LEFT, _WIDTH - _RIGHT), (_HEIGHT - _BOTTOM, top)
    if panel.square:
        x_range, y_range = _same_unit(x_range, y_range, x_pixels[1] - x_pixels[0], y_pixels[0] - y_pixels[1])
    return Axis(*x_range, *x_pixels, panel.log_x), Axis(*y_range, *y_pixels, panel.log_y)


def _range(values: Sequence[float], log: bool, air: float) -> tuple[float, float]:
    """Return the smallest and largest value shown; equal values get a range around them."""
    low, high = min(values, default=1.0), max(values, default=1.0)
    if log:
        room = max((high / low) ** air, 1.15)
        return low / room, high * room
    if low == high:
        room = max(abs(high), 1.0) * 0.1
        return low - room, high + room
    room = (high - low) * air
    return (low - room if low != 0 else 0.0), (high + room if high != 0 else 0.0)


def _same_unit(x: Point, y: Point, width: float, height: float) -> tuple[Point, Point]:
    """Widen one range so that a unit takes as many pixels on both axes."""
    unit = max((x[1] - x[0]) / width, (y[1] - y[0]) / height)
    middle_x, middle_y = sum(x) / 2, sum(y) / 2
    half_x, half_y = unit * width / 2, unit * height / 2
    return (middle_x - half_x, middle_x + half_x), (middle_y - half_y, middle_y + half_y)


def _points(curve: Curve, panel: Panel) -> Iterator[Point]:
    """Yield the points that can be drawn."""
    for x, y in zip(curve.x, curve.y, strict=True):
        if y is not None and math.isfinite(y) and (y > 0 or not panel.log_y) and (x > 0 or not panel.log_x):
            yield x, y


def _frame(pen: ImageDraw.ImageDraw, panel: Panel, x: Axis, y: Axis) -> None:
    """Draw grid lines, axes and their numbers."""
    for value in y.ticks:
        pen.line((x.start, y.at(value), x.end, y.at(value)), fill=_PALE, width=_SCALE)
        _words(pen, (x.start - 6 * _SCALE, y.at(value)), _number(value), _SMALL, _GREY, "rm")
    names = dict(enumerate(panel.x_names)) if panel.x_names else {tick: _number(tick) for tick in x.ticks}
    for place, name in names.items():
        if not panel.x_names:
            pen.line((x.at(place), y.start, x.at(place), y.end), fill=_PALE, width=_SCALE)
        _words(pen, (x.at(place), y.start + 5 * _SCALE), name, _SMALL, _GREY, "ma")
    pen.line((x.start, y.end, x.start, y.start), fill=_GREY, width=_SCALE)
    pen.line((x.start, y.start, x.end, y.start), fill=_GREY, width=_SCALE)


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        mantissa, power = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(power)}"
    return f"{value:g}"


def _series(pen: ImageDraw.ImageDraw, curve: Curve, x: Axis, y: Axis, colour: tuple[int, int, int]) -> None:
    for run in _runs(curve, x, y):
        if curve.mark == "dots":
            for point in run:
                _dot(pen, point, 3.2 * _SCALE if len(curve.x) <= 100 else 1.2 * _SCALE, colour)
        elif curve.mark == "dashes":
            for start, end in _dashes(run):
                pen.line((*start, *end), fill=colour, width=2 * _SCALE)
        elif len(run) == 1:
            _dot(pen, run[0], 2.0 * _SCALE, colour)
        else:
            pen.line(run, fill=colour, width=2 * _SCALE, joint="curve")


def _runs(curve: Curve, x: Axis, y: Axis) -> Iterator[list[Point]]:
    """Yield the pixels of a curve, split where it has gaps."""
    run: list[Point] = []
    for u, v in zip(curve.x, curve.y, strict=True):
        if v is None or not math.isfinite(v) or (y.log and v <= 0) or (x.log and u <= 0):
            if run:
                yield run
            run = []
        else:
            run.append((x.at(u), y.at(v)))
    if run:
        yield run


def _dashes(run: list[Point], length: float = 6.0 * _SCALE) -> Iterator[tuple[Point, Point]]:
    """Cut a line into dashes with gaps as long as they are."""
    walked = 0.0
    for (ax, ay), (bx, by) in pairwise(run):
        total, done = math.hypot(bx - ax, by - ay), 0.0
        while done < total:
            piece = min(length - walked % length, total - done)
            if walked // length % 2 == 0:
                ends = [(ax + (bx - ax) * d / total, ay + (by - ay) * d / total) for d in (done, done + piece)]
                yield ends[0], ends[1]
            walked, done = walked + piece, done + piece


def _dot(pen: ImageDraw.ImageDraw, where: Point, radius: float, colour: tuple[int, int, int]) -> None:
    u, v = where
    pen.ellipse((u - radius, v - radius, u + radius, v + radius), fill=colour)


def _bars(
    pen: ImageDraw.ImageDraw, curve: Curve, place: tuple[int, int], x: Axis, y: Axis, colour: tuple[int, int, int]
) -> None:
    """Draw bars from 0 (or from the bottom of a logarithmic axis), side by side with those of the other curves."""
    index, count = place
    width = 0.8 / count
    foot = y.start if y.log else y.at(0.0)
    for u, v in zip(curve.x, curve.y, strict=True):
        if v is not None and math.isfinite(v) and (v > 0 or not y.log):
            left, right = (x.at(u - 0.4 + width * k) for k in (index + 0.06, index + 0.94))
            pen.rectangle((left, min(y.at(v), foot), right, max(y.at(v), foot)), fill=colour)


def _legend_lines(curves: Sequence[Curve]) -> list[list[tuple[Curve, float]]]:
    """Return the lines that the names fill, each curve with its place on the line; one curve needs no legend."""
    lines: list[list[tuple[Curve, float]]] = []
    room, used = _WIDTH - _LEFT - _RIGHT, math.inf
    for curve in curves if len(curves) > 1 else ():
        if not curve.name:
            continue
        wide = 30 * _SCALE + _font(_SMALL).getlength(curve.name.translate(_DRAWABLE))
        if used + wide > room:
            lines.append([])
            used = 0.0
        lines[-1].append((curve, used))
        used += wide
    return lines


def _legend(pen: ImageDraw.ImageDraw, curves: Sequence[Curve]) -> None:
    for number, line in enumerate(_legend_lines(curves)):
        v = _TOP - 4 * _SCALE + number * _LEGEND_LINE
        for curve, offset in line:
            colour = _COLOURS[curves.index(curve) % len(_COLOURS)]
            _sample(pen, curve, (_LEFT + offset, v), colour)
            _words(pen, (_LEFT + offset + 20 * _SCALE, v), curve.name, _SMALL, _INK, "lm")


def _sample(pen: ImageDraw.ImageDraw, curve: Curve, where: Point, colour: tuple[int, int, int]) -> None:
    """Draw a curve's mark as the legend shows it."""
    u, v = where
    match curve.mark:
        case "line":
            pen.line((u, v, u + 15 * _SCALE, v), fill=colour, width=2 * _SCALE)
        case "dashes":
            for start in (0, 10):
                pen.line((u + start * _SCALE, v, u + (start + 5) * _SCALE, v), fill=colour, width=2 * _SCALE)
        case "dots":
            _dot(pen, (u + 8 * _SCALE, v), 3.2 * _SCALE, colour)
        case "bars":
            pen.rectangle((u + 3 * _SCALE, v - 5 * _SCALE, u + 13 * _SCALE, v + 5 * _SCALE), fill=colour)


def _heat(heat: Heat) -> Image.Image:
    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    _words(pen, (_LEFT / 2, 6 * _SCALE), heat.title, min(_TEXT, _fitting(heat.title, _WIDTH - _LEFT)), _INK)
    flat = [value for row in heat.values for value in row]
    low, high = min(flat), max(flat)
    # Rounding errors are not a pattern: what differs by less is drawn as equal.
    equal = high - low <= 1e-6 * max(abs(low), abs(high))
    grey = Image.new("L", (len(heat.values[0]), len(heat.values)))
    grey.putdata([128 if equal else round(255 * (value - low) / (high - low)) for value in flat])
    side = min(_WIDTH - _LEFT, _HEIGHT - _TOP)
    scale = max(1, side // max(grey.size))
    tile = grey.resize((grey.width * scale, grey.height * scale), Image.Resampling.NEAREST)
    picture.paste(tile.convert("RGB"), (_LEFT // 2, 30 * _SCALE))
    pen.rectangle((_LEFT // 2 - 1, 30 * _SCALE - 1, _LEFT // 2 + tile.width, 30 * _SCALE + tile.height), outline=_GREY)
    return picture


def save(picture: Image.Image, path: Path, origin: str) -> None:
    """Write a picture as PNG with a note of what made it; the folder is made when missing.

    Args:
        picture: from `draw`.
        path: where.
        origin: the command that draws it again.

    Raises:
        OSError: it cannot be written.
    """
    note = PngInfo()
    note.add_text("Software", f"sparring {__version__}")
    note.add_text("Comment", origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "PNG", pnginfo=note)
