"""Numbers, places and citations as people read them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from html import escape
from typing import TypeVar

from sparring.metrics import METRICS
from sparring.report.story import Grid, Story

#: The lectures' names for the stages of their case study, and the epoch at which each ends.
STAGES = (("initial chaos", 5.0), ("emerging structure", 15.0), ("refinement", 30.0), ("fine details", math.inf))

Number = float | None
_Item = TypeVar("_Item")

_TITLES = {
    "fd": "Fréchet distance",
    "class_kl": "Class divergence",
    "classes_present": "Classes present",
    "confidence": "Confidence of the judge",
    "modes": "Modes covered",
    "high_quality": "High quality",
    "reverse_kl": "Reverse KL",
    "mode_gap": "Mode gap",
}


def number(value: Number, digits: int = 3) -> str:
    """Write a number with as many significant digits as mean something, its minus sign as one."""
    if value is None or not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-4 <= abs(value) < 10**digits:
        places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
        return _minus(f"{value:.{max(0, places)}f}")
    return _minus(f"{value:,.0f}" if 1 <= abs(value) < 1e7 else f"{value:.{digits - 1}e}")


def _minus(number: str) -> str:
    return number.replace("-", "−")


def percent(value: Number) -> str:
    """Write a share of 0 to 1 in per cent."""
    return "not finite" if value is None else f"{100 * value:.1f} %"


def score(name: str, value: Number) -> str:
    """Write a metric's value in its own unit."""
    unit = METRICS[name].unit if name in METRICS else ""
    if value is not None and unit in ("classes", "modes"):
        return f"{value:.0f}"
    return percent(value) if unit in ("fraction", "probability") else number(value)


def title(metric: str) -> str:
    """Return a metric's name for people."""
    return _TITLES.get(metric, metric.replace("_", " "))


def duration(seconds: float) -> str:
    """Write a time in the unit that fits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{60 * hours + minutes} min" if hours < 2 else f"{hours} h {minutes:02d} min"


def stage(epoch: float) -> str:
    """Return the lectures' name for the stage that an epoch falls into."""
    return next(name for name, end in STAGES if epoch < end)


def place(story: Story, images: int) -> str:
    """Say where in the run something is: images and, where the data's size is known, epoch."""
    epoch = story.epoch(images)
    if epoch is None:
        return f"{images:,} images"
    return f"{images:,} images · epoch\u00a0{epoch:.{1 if epoch < 100 else 0}f}"


def linked(paper: str) -> str:
    """Escape a citation and link its arXiv id."""
    return re.sub(r"arXiv:([\d.]+\d)", r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', escape(paper))


def evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """Return at most that many items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def embedded(data: object) -> str:
    """Write JSON that may stand inside a script element: nothing in it can end the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def alt(story: Story, grid: Grid) -> str:
    """Say what a grid shows, for those who cannot see it."""
    what = "Generated points in orange over real ones in grey" if story.in_plane else "Grid of generated samples"
    return f"{what}, step {grid.step:,}"


def moments(story: Story, grid: Grid) -> list[str]:
    """Say when a grid was drawn: images, epoch and the lectures' stage, which points in the plane do not have."""
    if grid.images == 0:
        return ["before training"]
    epoch = story.epoch(grid.images)
    return [place(story, grid.images), *([] if story.in_plane or epoch is None else [stage(epoch)])]
