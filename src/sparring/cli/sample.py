"""``sparring sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from sparring.generator import Generator


def sample(
    run: Path,
    /,
    *,
    n: Annotated[int, Parameter(name=["-n", "--number"])] = 64,
    seed: int = 0,
    out: Path = Path("samples.png"),
    device: str = "cpu",
) -> int:
    """Draw samples from a trained generator.

    The averaged generator of the best checkpoint is used, or of the newest where nothing was scored.

    Args:
        run: A run directory, or one of its checkpoints.
        n: How many samples.
        seed: Which draw; the first samples are the same for every -n.
        out: A .png file for one grid, or else a folder for one file a sample.
        device: Where to compute.
    """
    from sparring.runs import storage_error
    from sparring.session import load

    generator = load(run, device)
    try:
        if out.suffix.lower() == ".png":
            _write_grid(generator, n, seed, out)
        else:
            _write_folder(generator, n, seed, out)
    except OSError as error:
        raise storage_error("the samples", out, error) from None
    print(out)
    return 0


def _write_grid(generator: Generator, n: int, seed: int, out: Path) -> None:
    from sparring.pictures import image_grid, save_png, scatter

    x = generator.sample(n, seed)
    picture = image_grid(x) if x.dim() == 4 else scatter(x, x.numpy())
    save_png(picture, out, f"{generator.origin} seed {seed}")


def _write_folder(generator: Generator, n: int, seed: int, out: Path) -> None:
    """Write images one a file; points as one table."""
    from sparring.errors import UsageError
    from sparring.pictures import save_png, to_images

    if out.suffix:
        raise UsageError(f"--out {out}: give a .png file for one grid, or a folder for one file a sample.")
    if len(generator.shape) != 3:
        raise UsageError(
            f"--out {out}: {generator.source} generates points, which are drawn in one picture: give a .png file."
        )
    index = 0
    for batch in generator.batches(n, seed):
        for picture in to_images(batch):
            save_png(picture, out / f"{index:06d}.png", f"{generator.origin} seed {seed} number {index}")
            index += 1
