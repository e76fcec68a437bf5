"""Charts: scales, ticks, and that something is drawn where it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring.experiments.finding import Curve, Heat, Panel
from sparring.experiments.plot import _COLOURS, _DRAWABLE, Axis, _font, draw, save


def drawn(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the places of a colour, rows and columns, ``[N, 2]``."""
    return np.argwhere((np.asarray(picture) == colour).all(2))


def panel(*curves: Curve, **more: object) -> Panel:
    return Panel("title", "x", "y", curves, **more)  # type: ignore[arg-type]


def test_linear_and_logarithmic_axes() -> None:
    axis = Axis(0.0, 10.0, 100.0, 300.0)
    assert [axis.at(value) for value in (0.0, 5.0, 10.0)] == [100.0, 200.0, 300.0]
    log = Axis(0.01, 100.0, 400.0, 0.0, log=True)
    assert log.at(1.0) == pytest.approx(200.0)
    assert log.at(0.1) == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0.0, 1.0, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-8.2, 4.2, False, [-8, -6, -4, -2, 0, 2, 4]),
        (1e-6, 1.0, True, [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (1.5, 80.0, True, [2, 5, 10, 20, 50]),
        (1e-16, 1.0, True, [1e-16, 1e-13, 1e-10, 1e-7, 1e-4, 1e-1]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, log: bool, ticks: list[float]) -> None:
    assert Axis(low, high, 0.0, 1.0, log).ticks == pytest.approx(ticks)


def test_a_rising_line_rises_and_a_gap_is_a_gap() -> None:
    x = tuple(float(i) for i in range(11))
    rising = draw([panel(Curve("", x, x))], "rise")
    places = drawn(rising, _COLOURS[0])
    left, right = places[places[:, 1].argmin()], places[places[:, 1].argmax()]
    assert left[0] > right[0] + 100, "rows count downward"
    broken = draw([panel(Curve("", x, tuple(None if 3 < i < 8 else i for i in x)))], "gap")
    assert 0 < len(drawn(broken, _COLOURS[0])) < 0.7 * len(places)


def test_what_is_not_positive_is_left_out_of_a_logarithmic_chart() -> None:
    picture = draw([panel(Curve("", (1.0, 2.0, 3.0), (0.0, -1.0, 5.0)), log_y=True)], "log")
    assert len(drawn(picture, _COLOURS[0]))


@pytest.mark.parametrize("mark", ["line", "dashes", "dots", "bars"])
def test_every_mark_is_drawn_in_its_colour_and_in_the_legend(mark: str) -> None:
    curves = tuple(Curve(f"curve {i}", (0.0, 1.0, 2.0), (1.0, 2.0, 1.0 + i), mark) for i in range(3))  # type: ignore[arg-type]
    picture = draw([panel(*curves, x_names=("a", "b", "c"))], "marks")
    for colour in _COLOURS[:3]:
        rows = drawn(picture, colour)[:, 0]
        assert len(rows) > 20
        assert rows.max() - rows.min() > 100, "one in the legend, the others below"


def test_bars_are_as_high_as_their_values() -> None:
    picture = draw([panel(Curve("", (0.0, 1.0), (2.0, 4.0), "bars"), x_names=("a", "b"))], "bars")
    places = drawn(picture, _COLOURS[0])
    middle = (places[:, 1].min() + places[:, 1].max()) / 2
    low, high = (np.ptp(places[side][:, 0]) for side in (places[:, 1] < middle, places[:, 1] > middle))
    assert high == pytest.approx(2 * low, rel=0.02)


def test_a_heat_picture_keeps_its_pattern_and_a_flat_one_is_grey() -> None:
    board = draw([Heat("board", ((0.0, 1.0), (1.0, 0.0)))], "board")
    flat = draw([Heat("flat", ((3.0, 3.0 + 1e-12), (3.0, 3.0)))], "flat")
    assert len(drawn(board, (0, 0, 0))) == len(drawn(board, (255, 255, 255))[:0]) + len(drawn(board, (0, 0, 0))) > 1000
    assert len(drawn(flat, (128, 128, 128))) > 1000
    assert not len(drawn(flat, (0, 0, 0)))


@pytest.mark.parametrize(("parts", "size"), [(1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (4, (2, 2)), (5, (3, 2))])
def test_parts_stand_side_by_side(parts: int, size: tuple[int, int]) -> None:
    picture = draw([panel(Curve("", (0.0, 1.0), (0.0, 1.0)))] * parts, "parts")
    assert picture.size == (size[0] * 920, 80 + size[1] * 720)


def test_same_unit_on_both_axes() -> None:
    x = tuple(np.cos(np.linspace(0, 2 * np.pi, 100)))
    y = tuple(np.sin(np.linspace(0, 2 * np.pi, 100)))
    places = drawn(draw([panel(Curve("", x, y), square=True)], "circle"), _COLOURS[0])
    height, width = np.ptp(places, axis=0)
    assert width == pytest.approx(height, abs=4)


def test_signs_that_the_font_lacks_are_replaced() -> None:
    missing = bytes(_font(26).getmask("\uffff"))
    assert bytes(_font(26).getmask("−")) == missing, "else the table of replacements is not needed"
    for sign in "−×½":
        assert all(bytes(_font(26).getmask(letter)) != missing for letter in sign.translate(_DRAWABLE))


def test_a_saved_picture_says_what_made_it(tmp_path: Path) -> None:
    save(
        draw([panel(Curve("", (0.0, 1.0), (0.0, 1.0)))], "t"),
        tmp_path / "new" / "T1.png",
        "sparring theory T1 --seed 0",
    )
    with Image.open(tmp_path / "new" / "T1.png") as picture:
        assert picture.text["Comment"] == "sparring theory T1 --seed 0"
