"""``sparring list`` and ``sparring explain``: the tables as text. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from sparring.data import SOURCES
from sparring.errors import UsageError, unknown_name
from sparring.losses import LOSSES
from sparring.metrics import METRICS
from sparring.networks import NETWORKS
from sparring.penalties import PENALTIES
from sparring.presets import PRESETS

TableName = Literal["losses", "penalties", "networks", "presets", "metrics", "data"]

_TABLES: dict[TableName, Mapping[str, Any]] = {
    "losses": LOSSES,
    "penalties": PENALTIES,
    "networks": NETWORKS,
    "presets": PRESETS,
    "metrics": METRICS,
    "data": SOURCES,
}
_SINGULAR = {"losses": "loss", "penalties": "penalty", "networks": "network", "presets": "preset", "metrics": "metric", "data": "data set"}
#: What `explain` prints of a row, in this order, where the row has it.
_EXPLAINED = {"formula": "formula", "paper": "paper", "when": "when", "watch": "watch", "licence": "licence", "better": "better"}


def list_table(table: TableName, /) -> int:
    """List the names that a flag takes.

    Args:
        table: losses, penalties, networks, presets, metrics or data.
    """
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column()
    for name, row in _TABLES[table].items():
        shown.add_row(name, row.summary)
    Console(highlight=False).print(shown)
    return 0


def explain(name: str, /) -> int:
    """Explain a name: formula, paper, when to use it and what to watch.

    Args:
        name: Any name that sparring list shows.
    """
    rows = [(table, rows[name]) for table, rows in _TABLES.items() if name in rows]
    if not rows:
        raise UsageError(unknown_name("explain", name, [key for rows in _TABLES.values() for key in rows]))
    console = Console(highlight=False, soft_wrap=True)
    for table, row in rows:
        console.print(f"[bold]{name}[/bold]  ({_SINGULAR[table]})")
        console.print(row.summary, markup=False)
        present = {field.name for field in fields(row)}
        for attribute, title in _EXPLAINED.items():
            if attribute in present:
                console.print(f"{title:8} {getattr(row, attribute)}", markup=False)
        if table == "presets":
            _explain_preset(console, name)
    return 0


def _explain_preset(console: Console, name: str) -> None:
    """Print the command and every setting that is not the default of its field."""
    preset = PRESETS[name]
    data = preset.suits[0] if preset.suits else "path/to/images"
    config = preset.config(data)
    console.print(f"command  sparring train {data} --preset {name}", markup=False)
    for field in type(config).model_fields:
        value = getattr(config, field)
        if value is not None and field in config.model_fields_set - {"data", "preset"}:
            console.print(f"  {field.replace('_', '-'):18} {value}", markup=False)
