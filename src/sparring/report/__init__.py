"""One self-contained HTML page about a run, for people: what was played, what came out, and how to do it again.

The page is written from the run directory alone, so it can be made at any time and of any run, a broken one included.
It holds plotly.min.js from the installed package and its pictures as data; its content security policy keeps it off the
network. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path

from sparring.report.page import render
from sparring.report.story import Story
from sparring.runs import RunDirectory, write_atomically

__all__ = ["write_report"]


def write_report(run: RunDirectory) -> Path:
    """Write ``report.html``: one file that needs no network, whatever state the run is in.

    Args:
        run: a run directory; samples, evaluations, checkpoints and clock may be missing.

    Returns:
        The file.

    Raises:
        UsageError: the directory has no readable ``config.json``.
        OSError: the report cannot be written.
    """
    story = Story(run, run.config())
    write_atomically(run.report_file, render(story).encode())
    return run.report_file
