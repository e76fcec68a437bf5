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
    dry_run: bool = False,
    settings: Annotated[TrainOverrides, Parameter(name="*")] | None = None,  # type: ignore[valid-type]
) -> int:
    """Train a GAN; the same command again goes on with a run that was interrupted.

    What a flag leaves out is set by the preset, and the preset is chosen by the data (sparring list presets).

    Args:
        data: A data set (sparring list data), a folder or zip of images, an array (.npy) or points (.csv).
        preset: The recipe that every other setting starts from.
        config: Settings from a TOML or JSON file, for example a run's config.json; flags go on top.
        out: The folder of all runs.
        resume: auto goes on with the newest run of the same settings; never starts a new one; a path goes on with that
            run or checkpoint.
        dry_run: Play a few steps, write nothing, and say what the run will take on this machine.
        settings: Everything else; see below.
    """
    from sparring import session
    from sparring.cli.console import console_observer

    from_file = read_config_file(config) if config is not None else {}
    flags: dict[str, Any] = {} if settings is None else settings.model_dump(exclude_unset=True, exclude_none=True)
    if dry_run:
        return _rehearse(data, preset, merge(from_file, flags))
    observer = console_observer()
    with observer:
        run = session.train(
            data, preset=preset, config=merge(from_file, flags), out=out, resume=resume, observers=(observer,)
        )
    observer.conclude(run)
    return 0 if run.interrupted_by is None else 128 + run.interrupted_by


def _rehearse(data: str | None, preset: str | None, settings: dict[str, Any]) -> int:
    from rich.console import Console

    from sparring.rehearsal import rehearse

    found = rehearse(data, preset=preset, config=settings)
    say = Console(highlight=False, soft_wrap=True).print
    players = ", ".join(f"{name} {count:,}" for name, count in found.parameters.items())
    say(f"machine {found.machine}")
    say(f"players {players} parameters; {found.flops / 1e9:.3g} GFLOP a real image, all turns of a step included")
    say(f"speed   {found.images_per_second:.0f} images/s, {found.images_per_second * found.flops / 1e9:.0f} GFLOP/s")
    say(f"length  {found.steps:,} steps, {found.images:,} images: {_clock(found.seconds)} with evaluations")
    if found.evaluation_seconds:
        say(f"scoring {found.evaluation_seconds:.1f} s an evaluation of {found.config.eval_samples:,} samples")
    if found.memory:
        say(f"memory  {found.memory / 2**20:,.0f} MiB at most")
    say("nothing was written")
    return 0


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
