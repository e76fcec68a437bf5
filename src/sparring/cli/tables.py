"""``sparring list`` and ``sparring explain``: the tables as text. Only that of the extractors imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from sparring.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from sparring.presets import Preset

TableName = Literal[
    "losses",
    "penalties",
    "stabilizers",
    "augmentations",
    "networks",
    "presets",
    "metrics",
    "families",
    "data",
    "extractors",
]


def _load(table: TableName) -> Mapping[str, Any]:
    """Import one table only, because presets and data bring pydantic and numpy, which a list of losses can spare."""
    match table:
        case "losses":
            from sparring.losses import LOSSES

            return LOSSES
        case "penalties":
            from sparring.penalties import PENALTIES

            return PENALTIES
        case "stabilizers":
            from sparring.stabilizers import STABILIZERS

            return STABILIZERS
        case "augmentations":
            from sparring.augment import AUGMENTATIONS

            return AUGMENTATIONS
        case "networks":
            from sparring.networks import NETWORKS

            return NETWORKS
        case "presets":
            from sparring.presets import PRESETS

            return PRESETS
        case "metrics":
            from sparring.metrics import METRICS

            return METRICS
        case "families":
            from sparring.metrics import FAMILIES

            return FAMILIES
        case "data":
            from sparring.data import SOURCES

            return SOURCES
        case "extractors":
            from sparring.metrics.extractors import EXTRACTORS

            return EXTRACTORS


_SINGULAR: dict[TableName, str] = {
    "losses": "loss",
    "penalties": "penalty",
    "stabilizers": "stabilizer",
    "augmentations": "augmentation",
    "networks": "network",
    "presets": "preset",
    "metrics": "metric",
    "families": "family of metrics",
    "data": "data set",
    "extractors": "feature extractor",  # last, because it alone brings torch
}
#: What `explain` prints of a row, in this order, where the row has it.
_EXPLAINED = ("formula", "paper", "when", "watch", "licence", "better", "unit", "family", "also", "resize", "sha256")


def list_table(table: TableName, /) -> int:
    """List the names that a flag takes.

    Args:
        table: losses, penalties, stabilizers, augmentations, networks, presets, metrics, families (of metrics), data or
            extractors.
    """
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column()
    for name, row in _load(table).items():
        shown.add_row(name, row.summary)
    Console(highlight=False).print(shown)
    return 0


def explain(name: str, /) -> int:
    """Explain a name: formula, paper, when to use it and what to watch.

    Args:
        name: Any name that sparring list shows.
    """
    from rich.console import Console

    light = {table: _load(table) for table in _SINGULAR if table != "extractors"}
    rows: list[tuple[TableName, Any]] = [(table, content[name]) for table, content in light.items() if name in content]
    if not rows:
        rows = [("extractors", _extractor(name, {key for content in light.values() for key in content}))]
    console = Console(highlight=False, soft_wrap=True)
    for table, row in rows:
        console.print(f"[bold]{name}[/bold]  ({_SINGULAR[table]})")
        console.print(row.summary, markup=False)
        present = {field.name for field in fields(row)}
        for attribute in _EXPLAINED:
            if attribute in present:
                console.print(f"{attribute:8} {_shown(getattr(row, attribute))}", markup=False)
        if table == "stabilizers":
            console.print(f"command  sparring train {row.example} --stabilizer {row.usage}", markup=False)
        if table == "presets":
            _explain_preset(console, row)
    return 0


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) or "–" if isinstance(value, tuple) else str(value)


def _extractor(name: str, others: set[str]) -> Any:
    extractors = _load("extractors")
    if name not in extractors:
        raise UsageError(unknown_name("explain", name, others | set(extractors)))
    return extractors[name]


def _explain_preset(console: Console, preset: Preset) -> None:
    """Print the command, and every setting that the recipe makes."""
    from sparring.settings import settings_made

    data = preset.suits[0] if preset.suits else "path/to/images"
    console.print(f"command  sparring train {data} --preset {preset.name}", markup=False)
    for flag, value in settings_made(preset.config(data)).items():
        console.print(f"  --{flag} {value}", markup=False)
