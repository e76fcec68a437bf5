"""``sparring bench``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from rich.table import Table

    from sparring.benchmarks import Result, Row
    from sparring.speed.race import Race

bench = App(name="bench", help="Compare recipes under locked protocols.")


@bench.command
def modes(
    *,
    data: Literal["ring", "grid", "stacked-mnist"] = "ring",
    presets: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    seeds: int = 10,
    steps: int | None = None,
    jobs: int | None = None,
    data_root: Path | None = None,
    out: Path = Path("bench-runs"),
    json_file: Path | None = None,
) -> int:
    """Count the modes that each recipe finds (PacGAN's protocol, arXiv:1712.04086), over several seeds.

    A run that is already there is not repeated, so an interrupted benchmark goes on with the same command.

    Args:
        data: What to learn: 8 or 25 Gaussians in the plane, or 1000 triples of digits.
        presets: Recipes to compare, one or several: any preset or baseline; sparring's own and all baselines if left out.
        seeds: Runs of each recipe.
        steps: Length of every run in turns of G; the protocol's own if left out.
        jobs: Runs at a time, one thread each; as many as there are cores if left out.
        data_root: Folder that holds data sets already downloaded.
        out: Folder of all runs.
        json_file: Where to write every number, with protocol, settings and machine.
    """
    from sparring import benchmarks
    from sparring.cli.console import wide_console

    _check_counts(seeds=(seeds, 1), steps=(steps, 1), jobs=(jobs, 1))
    console = wide_console()
    names = presets or benchmarks.recipe_names(data)
    results = benchmarks.run_modes(
        data, names, seeds, out, steps, jobs, data_root, tell=lambda result: console.print(_line(result))
    )
    console.print(_table(data, benchmarks.rows(results)))
    for protocol in sorted({result.protocol for result in results}):
        console.print(f"protocol {protocol}", markup=False, soft_wrap=True)
    if json_file is not None:
        _write(benchmarks.as_json(data, _command(data, presets, seeds, steps), results), json_file)
    return 0


def _check_counts(**counts: tuple[int | None, int]) -> None:
    """Refuse a count, given with the least that makes sense, that is below it."""
    from sparring.errors import UsageError

    for name, (count, least) in counts.items():
        if count is not None and count < least:
            raise UsageError(f"--{name.replace('_', '-')} {count}: give {least} or more.")


def _write(result: dict[str, Any], path: Path) -> None:
    from sparring.runs import storage_error

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise storage_error("the benchmark", path, error) from None


def _command(data: str, presets: list[str] | None, seeds: int, steps: int | None) -> str:
    words = ["sparring bench modes", f"--data {data}", *(f"--presets {name}" for name in presets or ())]
    return " ".join([*words, f"--seeds {seeds}", *([f"--steps {steps}"] if steps else [])])


def _line(result: Result) -> str:
    shown = "  ".join(f"{name} {value:.4g}" for name, value in result.values.items())
    return f"{result.recipe} seed {result.seed}: {shown}  ({result.steps} steps, {result.seconds:.0f} s)"


def _table(data: str, rows: list[Row]) -> Table:
    from rich.table import Table

    from sparring.benchmarks import PROTOCOLS

    protocol = PROTOCOLS[data]
    with_quality = "high_quality" in rows[0].means
    table = Table(title=f"{data}: mean ± standard error", box=None, pad_edge=False)
    quality = ["high quality"] if with_quality else []
    for title in ("recipe", f"modes of {protocol.modes}", "all found", *quality, "reverse KL", "s/run", "published"):
        words = title in ("recipe", "published")
        table.add_column(title, justify="left" if words else "right", no_wrap=title == "recipe")
    for row in rows:
        cells = [row.recipe, _cell(row, "modes", 1, 1), f"{row.complete}/{row.seeds}"]
        cells += [_cell(row, "high_quality", 100, 1) + " %"] if with_quality else []
        cells += [_cell(row, "reverse_kl", 1, 4), f"{row.seconds:.0f}", protocol.published.get(row.recipe, "")]
        table.add_row(*cells)
    return table


def _cell(row: Row, metric: str, unit: float, digits: int) -> str:
    mean, error = row.means[metric] * unit, row.errors[metric] * unit
    return f"{mean:.{digits}f}" + ("" if math.isnan(error) else f" ± {error:.{digits}f}")


_STEPS = {"case-study": 5, "dcgan-64": 1, "r3gan-32": 1}  # of a block, so that all blocks take less than a minute
_ON_A_GPU = 50  # times as many


@bench.command
def speed(
    *,
    network: Literal["case-study", "dcgan-64", "r3gan-32"] = "case-study",
    contenders: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    batch_size: int = 128,
    width: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    rounds: int = 5,
    steps: int | None = None,
    json_file: Path | None = None,
) -> int:
    """Compare a training step with the textbook loop's on this machine, in less than a minute.

    Both train the same networks with the same recipe on random images and take turns. Shown are the ratio and the share of the
    machine's peak, the fastest product of matrices that PyTorch can do here.

    Args:
        network: The lectures' case study at 28×28, DCGAN at 64×64, or R3GAN at 32×32, which is one for a GPU unless it is
            made narrow.
        contenders: Of sparring, sparring-fp32, sparring-plain (PyTorch's own kernels), shipped (the textbook loop as
            tutorials ship it) and compiled (the textbook loop in bfloat16 through torch.compile, which takes minutes
            to begin with), one or several.
        batch_size: Real images in a step.
        width: Channels of both players; as published if left out: 64, R3GAN's 768.
        threads: Processor threads; as many as there are cores if left out.
        device: cpu, cuda or cuda:1: where both train.
        rounds: Turns of each.
        steps: Steps in a turn.
        json_file: Where to write every number.
    """
    from sparring.cli.console import wide_console
    from sparring.errors import UsageError, unknown_name
    from sparring.runtime import cores, pick_device
    from sparring.speed.contenders import CONTENDERS, Course, why_not
    from sparring.speed.race import race

    names = contenders or ["sparring"]
    for name in names:
        if name not in CONTENDERS:
            raise UsageError(unknown_name("--contenders", name, CONTENDERS))
    _check_counts(
        rounds=(rounds, 1), steps=(steps, 1), threads=(threads, 1), batch_size=(batch_size, 2), width=(width, 1)
    )
    console = wide_console()
    course = Course(network, batch_size, threads or cores(), pick_device(device), width)
    for name in names:
        if reason := why_not(name, course):
            raise UsageError(f"--contenders {name}: {reason}; leave it out with --network {network}.")
    per_turn = _STEPS[network] * (1 if course.device.type == "cpu" else _ON_A_GPU)
    result = race(names, course, rounds, steps or per_turn, tell=console.print)
    console.print(_speed_table(result))
    console.print(_peak_line(result), markup=False, soft_wrap=True)
    if json_file is not None:
        _write(result.as_json(), json_file)
    return 0


def _speed_table(race: Race) -> Table:
    from rich.table import Table

    course = race.course
    rounds = len(race.seconds["textbook"])
    where = f"{course.threads} threads" if course.device.type == "cpu" else str(course.device)
    title = f"{course.network}, batch {course.batch_size}, {where}: median over {rounds} rounds"
    table = Table(title=title, box=None, pad_edge=False)
    for column in ("loop", "ms a step", "images/s", "times as fast", "of the peak"):
        table.add_column(column, justify="left" if column == "loop" else "right")
    for name in race.seconds:
        seconds, (median, least, most) = race.step_seconds(name), race.speedup(name)
        ratio = "" if name == "textbook" else f"{median:.2f} ({least:.2f} to {most:.2f})"
        share = f"{race.share_of_peak(name):.0%} of {race.precision[name]}"
        table.add_row(name, f"{seconds * 1e3:.1f}", f"{course.batch_size / seconds:.0f}", ratio, share)
    return table


def _peak_line(race: Race) -> str:
    peaks = ", ".join(f"{name} {max(found) / 1e12:.2f}" for name, found in race.peaks.items())
    return f"a step needs {race.flops / 1e9:.1f} GFLOP; peak in TFLOP/s: {peaks}"
