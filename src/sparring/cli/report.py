"""``sparring report``."""

from __future__ import annotations

from pathlib import Path


def report(run: Path, /) -> int:
    """Write a run's report again, also while it trains.

    Args:
        run: A run directory.
    """
    from sparring.report import write_report
    from sparring.runs import RunDirectory, storage_error

    directory = RunDirectory(run)
    directory.config()
    try:
        write_report(directory)
    except OSError as error:
        raise storage_error("the report", directory.report_file, error) from None
    print(directory.report_file)
    return 0
