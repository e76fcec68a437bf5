"""``sparring compare``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.table import Table

    from sparring.comparison import Comparison
    from sparring.metrics.estimate import Estimate


def compare(
    *runs: Path,
    metrics: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    out: Path = Path("compare.png"),
    json_file: Annotated[Path | None, Parameter(name=["--json", "--json-file"])] = None,
) -> int:
    """Compare runs by scores that were measured in the same way; refuse where they were not.

    The scores are those of sparring evaluate, or else those that training left at the best checkpoint.

    Args:
        runs: Two or more run directories.
        metrics: Which metrics (sparring list metrics); all that every run has if left out.
        out: A .png file for the charts.
        json_file: Where to write every number with its protocol.
    """
    from sparring import comparison
    from sparring.cli.console import wide_console
    from sparring.errors import UsageError
    from sparring.experiments.plot import draw, save
    from sparring.runs import storage_error

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: give a .png file for the charts.")
    found = comparison.compare(runs, tuple(metrics or ()))
    console = wide_console()
    console.print(_table(found))
    for metric in found.metrics:
        console.print(f"protocol {found.scores[0][metric].protocol.short()}", markup=False)
    try:
        save(draw(comparison.curves(found), "sparring compare"), out, "sparring compare")
        if json_file is not None:
            json_file.write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise storage_error("the comparison", Path(str(error.filename or out)), error) from None
    console.print(f"chart    {out}")
    return 0


def _table(found: Comparison) -> Table:
    from rich.table import Table

    from sparring.metrics import METRICS

    table = Table(title="95 % intervals; * is the best", box=None, pad_edge=False)
    table.add_column("run", no_wrap=True)
    for metric in found.metrics:
        table.add_column(f"{metric} ({METRICS[metric].better})", justify="right", no_wrap=True)
    for index, (run, scores) in enumerate(zip(found.runs, found.scores, strict=True)):
        marks = ("*" if found.best(metric) == index else "" for metric in found.metrics)
        table.add_row(
            run.name, *(with_interval(scores[m].value) + mark for m, mark in zip(found.metrics, marks, strict=True))
        )
    return table


def with_interval(value: Estimate) -> str:
    """Return ``12.3 (11.8 … 12.9)``, or the number alone where there is no interval."""
    if math.isnan(value.low):
        return f"{float(value):.4g}"
    return f"{float(value):.4g} ({value.low:.4g} … {value.high:.4g})"
