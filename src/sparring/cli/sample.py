"""``sparring sample``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

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
        out: A .png file for one grid, a .npy file for one array, a .csv file for points, or else a folder for one image a
            sample.
        device: Where to compute.
    """
    from sparring.runs import storage_error
    from sparring.session import load

    generator = load(run, device)
    try:
        _writer(out, generator)(generator, n, seed, out)
    except OSError as error:
        raise storage_error("the samples", out, error) from None
    print(out)
    return 0


def _write_grid(generator: Generator, n: int, seed: int, out: Path) -> None:
    from sparring.pictures import image_grid, save_png, scatter

    x = generator.sample(n, seed)
    picture = image_grid(x) if x.dim() == 4 else scatter(x, x.numpy())
    save_png(picture, out, f"{generator.origin} seed {seed}")


def _write_array(generator: Generator, n: int, seed: int, out: Path) -> None:
    """Write images as uint8 [n, C, H, W], points as float32 [n, 2]: what an array may be to train on."""
    import numpy as np

    from sparring.pictures import to_uint8

    points = len(generator.shape) == 1
    parts = [x.numpy() if points else to_uint8(x).transpose(0, 3, 1, 2) for x in generator.batches(n, seed)]
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(out, np.concatenate(parts))


def _write_table(generator: Generator, n: int, seed: int, out: Path) -> None:
    """Write points, two numbers a line below their names; nine digits tell all float32 numbers apart."""
    lines = (f"{x:.9g},{y:.9g}" for batch in generator.batches(n, seed) for x, y in batch.tolist())
    text = "\n".join(["x,y", *lines, ""])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


def _write_folder(generator: Generator, n: int, seed: int, out: Path) -> None:
    from sparring.pictures import save_png, to_images

    index = 0
    for batch in generator.batches(n, seed):
        for picture in to_images(batch):
            save_png(picture, out / f"{index:06d}.png", f"{generator.origin} seed {seed} number {index}")
            index += 1


_BY_SUFFIX = {".png": _write_grid, ".npy": _write_array, ".csv": _write_table, "": _write_folder}


def _writer(out: Path, generator: Generator) -> Callable[[Generator, int, int, Path], None]:
    """Return what writes such samples as ``out`` says, or say in one sentence what it may say."""
    from sparring.errors import UsageError

    suffix, points = out.suffix.lower(), len(generator.shape) == 1
    if suffix not in _BY_SUFFIX or suffix == ("" if points else ".csv"):
        ways = "a .csv file for a table" if points else "a folder for one image a sample"
        made = "points" if points else "images"
        raise UsageError(
            f"--out {out}: {generator.source} generates {made}; give a .png file for one picture, a .npy file for an array, or "
            f"{ways}."
        )
    return _BY_SUFFIX[suffix]
