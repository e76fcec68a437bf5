"""Stabilizers: one idea a file, each switched on by ``--stabilizer name`` or ``--stabilizer name:number:number``.

To add one, write ``stabilizers/<name>.py`` with a class of `Hooks` and its row of `STABILIZERS` here; the file is imported at
the first use only. A row without ``build`` changes the networks instead (see `sparring.networks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparring.errors import unknown_name
from sparring.tables import Method

if TYPE_CHECKING:
    from sparring.stabilizers.hooks import Hooks, Setup

__all__ = ["STABILIZERS", "Setting", "Stabilizer", "parse_stabilizer"]


@dataclass(frozen=True)
class Setting:
    """One number of a stabilizer, given after its name and a colon.

    Attributes:
        name: what it is.
        default: its value where none is given.
        least: the smallest value allowed.
        most: the largest value allowed.
        whole: whether it must be a whole number.
    """

    name: str
    default: float
    least: float
    most: float
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Stabilizer(Method):
    """A row of `STABILIZERS`.

    Attributes:
        settings: its numbers, in the order in which they are given.
        build: numbers by name, and what it is built for -> the stabilizer at work; None where the networks carry it.
    """

    settings: tuple[Setting, ...] = ()
    build: Callable[[Mapping[str, float], Setup], Hooks] | None = None


_ROWS: tuple[Stabilizer, ...] = ()

STABILIZERS: dict[str, Stabilizer] = {row.name: row for row in _ROWS}


def parse_stabilizer(spec: str) -> tuple[str, dict[str, float]]:
    """Split ``name:number:number``.

    Args:
        spec: for example ``"unrolled:5"``.

    Returns:
        The stabilizer's name and its numbers by name, defaults included.

    Raises:
        ValueError: the name is unknown, or a number is missing, too many or out of range.
    """
    name, *given = spec.split(":")
    if name not in STABILIZERS:
        raise ValueError(unknown_name("", name, STABILIZERS).removeprefix(": "))
    settings = STABILIZERS[name].settings
    if len(given) > len(settings):
        takes = f"{name}:{':'.join(setting.name for setting in settings)}" if settings else "no number"
        raise ValueError(f"'{spec}' has too many numbers: it takes {takes}")
    numbers = {setting.name: setting.default for setting in settings}
    for setting, text in zip(settings, given, strict=False):
        numbers[setting.name] = _number(spec, setting, text)
    return name, numbers


def _number(spec: str, setting: Setting, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not setting.least <= value <= setting.most or (setting.whole and value != int(value)):
        kind = "a whole number" if setting.whole else "a number"
        raise ValueError(f"'{spec}': {setting.name} is {kind} from {setting.least:g} to {setting.most:g}, not '{text}'")
    return value
