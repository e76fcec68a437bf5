"""``sparring train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sparring.settings import TrainOverrides, merge, read_config_file


def train(
    data: Annotated[str | None, Parameter(name="data")] = None,
    /,
    *,
    preset: str | None = None,
    config: Path | None = None,
    out: Path = Path("runs"),
    resume: str = "auto",
    settings: Annotated[TrainOverrides, Parameter(name="*")] | None = None,  # type: ignore[valid-type]
) -> int:
    """Train a GAN; the same command again goes on with a run that was interrupted.

    What a flag leaves out is set by the preset, and the preset is chosen by the data (sparring list presets).

    Args:
        data: A data set (sparring list data), a folder or a zip of images.
        preset: The recipe that every other setting starts from.
        config: Settings from a TOML or JSON file, for example a run's config.json; flags go on top.
        out: The folder of all runs.
        resume: auto goes on with the newest run of the same settings; never starts a new one; a path goes on with that
            run or checkpoint.
        settings: Everything else; see below.
    """
    from sparring import session
    from sparring.cli.console import console_observer

    from_file = read_config_file(config) if config is not None else {}
    flags: dict[str, Any] = {} if settings is None else settings.model_dump(exclude_unset=True, exclude_none=True)
    observer = console_observer()
    with observer:
        run = session.train(
            data, preset=preset, config=merge(from_file, flags), out=out, resume=resume, observers=(observer,)
        )
    observer.conclude(run)
    return 0 if run.interrupted_by is None else 128 + run.interrupted_by
