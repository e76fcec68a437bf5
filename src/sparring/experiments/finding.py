"""What an experiment returns: whether the claim holds, the numbers that say so, and what to draw."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Cell: TypeAlias = str | int | float | None
"""What stands in a table: a name or a number; None where there is nothing to measure."""


@dataclass(frozen=True)
class Curve:
    """One series of a `Panel`.

    Attributes:
        name: in the legend; empty leaves it out.
        x: where.
        y: the values, as many as ``x``; None leaves a gap.
        mark: a line, a dashed line, single dots, or bars side by side with those of the other curves.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    mark: Literal["line", "dashes", "dots", "bars"] = "line"


@dataclass(frozen=True)
class Panel:
    """One chart with axes.

    Attributes:
        title: over it.
        x_label: under the horizontal axis.
        y_label: over the vertical axis.
        curves: what is drawn.
        log_x: whether the horizontal axis is logarithmic.
        log_y: whether the vertical axis is logarithmic; values that are not positive leave a gap.
        x_names: words in place of the numbers 0, 1, 2 … on the horizontal axis.
        square: whether a unit is as long on both axes, as for points in the plane.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False
    x_names: tuple[str, ...] = ()
    square: bool = False


@dataclass(frozen=True)
class Heat:
    """A matrix as a grey picture.

    Attributes:
        title: over it.
        values: rows from the top, all of one length; the smallest is black and the largest white, equal ones are grey.
    """

    title: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Finding:
    """The answer of an experiment.

    Attributes:
        id: of the claim.
        holds: whether the numbers bear the claim out.
        sentence: whether it holds and why, in plain words.
        columns: heads of the table.
        rows: its rows, as many cells as there are columns.
        plot: charts and pictures, drawn side by side.
    """

    id: str
    holds: bool
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    plot: tuple[Panel | Heat, ...]

    def numbers(self) -> dict[str, Any]:
        """Return everything but the drawing, as strict JSON knows it: what is not finite is None."""
        found = {name: value for name, value in asdict(self).items() if name != "plot"}
        return found | {"rows": [[_finite(cell) for cell in row] for row in self.rows]}


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
