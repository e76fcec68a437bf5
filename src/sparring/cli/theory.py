"""``sparring theory``: the lectures' claims, run as experiments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparring.errors import UsageError, unknown_name
from sparring.experiments import CLAIMS, Claim, Finding

if TYPE_CHECKING:
    from rich.console import Console


def theory(
    claim: str | None = None,
    /,
    *,
    out: Path = Path("theory"),
    seed: int = 0,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Run the experiments behind the lectures' claims, or list them.

    Each prints its numbers, says whether the claim holds, and draws them. All take seconds but T6, which takes minutes.

    Args:
        claim: T1 … T12, or all; nothing lists them.
        out: The folder for the pictures, one a claim.
        seed: Of everything random.
        as_json: Print the numbers as JSON, one line a claim, and nothing else.
    """
    if claim is None:
        _list_claims(as_json)
        return 0
    chosen = _chosen(claim)
    import torch

    torch.set_num_threads(1)  # the networks are so small that threads would only wait for each other
    findings = [_run(row, seed, out, as_json) for row in chosen]
    return 0 if all(finding.holds for finding in findings) else 1


def _chosen(claim: str) -> list[Claim]:
    if claim.lower() == "all":
        return list(CLAIMS.values())
    if claim.upper() not in CLAIMS:
        raise UsageError(unknown_name("theory", claim, ["all", *CLAIMS]))
    return [CLAIMS[claim.upper()]]


def _list_claims(as_json: bool) -> None:
    from rich.table import Table

    if as_json:
        for row in CLAIMS.values():
            print(json.dumps({"id": row.id, "claim": row.claim, "paper": row.paper}, ensure_ascii=False))
        return
    shown = Table(box=None, pad_edge=False, show_header=False)
    shown.add_column(no_wrap=True, style="bold")
    shown.add_column()
    for row in CLAIMS.values():
        shown.add_row(row.id, row.claim)
    _console().print(shown)


def _run(claim: Claim, seed: int, out: Path, as_json: bool) -> Finding:
    """Run one experiment, print its numbers and save its picture."""
    from sparring.experiments.plot import draw, save
    from sparring.runs import storage_error

    console = _console()
    if not as_json:  # first what is done, because some take their time
        console.print(f"[bold]{claim.id}[/bold]  {claim.claim}")
        console.print(f"{claim.experiment}\n")
    finding = claim.run(seed)
    path = out / f"{claim.id}.png"
    try:
        save(draw(finding.plot, f"{claim.id}: {claim.claim}"), path, f"sparring theory {claim.id} --seed {seed}")
    except OSError as error:
        raise storage_error("the picture", path, error) from None
    if as_json:
        print(json.dumps(finding.numbers() | {"picture": str(path)}, ensure_ascii=False), flush=True)
    else:
        _print(console, claim, finding, path)
    return finding


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    # A file or pipe has no width of its own.
    return console if console.is_terminal else Console(highlight=False, width=120)


def _print(console: Console, claim: Claim, finding: Finding, path: Path) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(finding.columns):
        table.add_column(column, justify="right" if number else "left")
    for row in finding.rows:
        table.add_row(*map(_cell, row))
    console.print(table)
    console.print(f"\n{finding.sentence}", markup=False)
    console.print(f"paper    {claim.paper}", markup=False)
    console.print(f"picture  {path}\n", markup=False, soft_wrap=True)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
