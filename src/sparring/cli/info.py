"""``sparring info``: the players side by side."""

from __future__ import annotations

from pathlib import Path


def info(
    what: str,
    /,
    *,
    shape: tuple[int, int, int] | None = None,
) -> int:
    """Show the players side by side: layers, output shapes, parameters and FLOPs of one sample.

    Args:
        what: A run directory, a checkpoint, a preset, or a network.
        shape: Samples as C H W, for a preset or network; its own data set's if left out.
    """
    from rich.columns import Columns
    from rich.console import Console

    from sparring.summary import players_of_name, players_of_run, summary_table

    on_disk = Path(what)
    title, players = players_of_run(on_disk) if on_disk.exists() else players_of_name(what, shape)
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or pipe has no width of its own; both tables fit into this
        console = Console(highlight=False, width=120)
    console.print(title)
    console.print(Columns([summary_table(name, player) for name, player in players.items()], padding=(0, 4)))
    return 0
