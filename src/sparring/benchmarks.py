"""Benchmarks under locked protocols: which modes does a recipe find, over several seeds, beside baselines rerun in the same way?

The ring, the grid and stacked MNIST are PacGAN's and VEEGAN's (arXiv:1712.04086, §4; arXiv:1705.07761, §4): data, networks' size
and score are fixed here; loss, penalty, stabilizers, optimizer and batch are the recipe's own.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sparring.errors import UsageError, unknown_name
from sparring.presets import PRESETS
from sparring.report.story import Story
from sparring.runs import write_atomically
from sparring.runtime import cores
from sparring.session import train
from sparring.settings import merge
from sparring.version import __version__

Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class ModesProtocol:
    """What may not differ between two rows of a table.

    Attributes:
        data: the data set.
        modes: how many modes it has.
        fixed: settings that no recipe may change.
        steps: length of every run, unless ``--steps`` says otherwise.
        ours: the recipe of sparring.
        published: recipe -> what its paper reports, with other optimizers and lengths.
    """

    data: str
    modes: int
    fixed: Overrides
    steps: int
    ours: str
    published: Mapping[str, str]


_PLANE: dict[str, Any] = {"network": "maxout", "latent_dim": 2, "prior": "normal", "eval_samples": 2500}
_PLANE |= {"g": {"width": 400}, "d": {"width": 200}}

PROTOCOLS: dict[str, ModesProtocol] = {
    protocol.data: protocol
    for protocol in (
        ModesProtocol(
            data="ring",
            modes=8,
            fixed=_PLANE,
            steps=10_000,
            ours="points",
            published={
                "gan": "6.3 ± 0.5 / 98.2 % / 0.45",
                "pacgan2": "7.9 ± 0.1",
                "pacgan4": "7.8 ± 0.1 / 95.9 % / 0.07",
            },
        ),
        ModesProtocol(
            data="grid",
            modes=25,
            fixed=_PLANE,
            steps=10_000,
            ours="points",
            published={"gan": "17.3 ± 0.8 / 94.8 % / 0.70", "pacgan4": "24.8 ± 0.2 / 93.6 % / 0.04"},
        ),
        ModesProtocol(
            data="stacked-mnist",
            modes=1000,
            fixed={"eval_samples": 26_000},
            steps=0,
            ours="stacked-mnist",
            published={"dcgan": "99 / 3.40", "wgan-gp": "959 / 0.73", "modern": "1000 / 0.029"},
        ),
    )
}

_AS_PACGAN = {
    "loss": "non-saturating",
    "penalty": (),
    "penalty_every": 1,
    "burn_in": {"share": 0.0, "penalty": 1.0},
    "stabilizer": (),
    "latents": "independent",
    "batch_size": 100,
    "decay_from": 1.0,
    "g": {"lr": 1e-4, "betas": (0.8, 0.999), "norm": "batch", "ema_half_life": 0, "init_std": 0.02},
    "d": {"lr": 1e-4, "betas": (0.8, 0.999), "steps": 1, "init_std": 0.02},
}

#: Baselines in the plane: the plain game with PacGAN's optimizer, and one remedy at a time on top of it.
BASELINES: dict[str, Overrides] = {
    "gan": _AS_PACGAN,
    "minibatch-discrimination": merge(_AS_PACGAN, {"stabilizer": ("minibatch-discrimination:16:4",)}),
    "unrolled": merge(_AS_PACGAN, {"stabilizer": ("unrolled:5",)}),
    "pacgan2": merge(_AS_PACGAN, {"stabilizer": ("packing:2",)}),
    "pacgan4": merge(_AS_PACGAN, {"stabilizer": ("packing:4",)}),
    # with its paper's optimizer (arXiv:1704.00028, algorithm 1)
    "wgan-gp": merge(
        _AS_PACGAN,
        {
            "loss": "wasserstein",
            "penalty": ("wgan-gp:10",),
            "g": {"betas": (0.0, 0.9)},
            "d": {"betas": (0.0, 0.9), "steps": 5},
        },
    ),
    "gan-r1": merge(_AS_PACGAN, {"penalty": ("r1:0.01",)}),
}


@dataclass(frozen=True)
class Result:
    """One run of a recipe.

    Attributes:
        recipe: its name.
        data: the data set.
        seed: of the run.
        steps: its length.
        values: metric -> value at the last step.
        protocol: how they were measured.
        seconds: wall time of the run, others running beside it.
    """

    recipe: str
    data: str
    seed: int
    steps: int
    values: Mapping[str, float]
    protocol: str
    seconds: float


def recipe_names(data: str) -> list[str]:
    """Return what ``--presets`` takes for a data set beside presets: ours first, then the baselines."""
    return [PROTOCOLS[data].ours, *(BASELINES if data != "stacked-mnist" else ())]


def run_modes(
    data: str,
    recipes: Iterable[str],
    seeds: int,
    out: Path,
    steps: int | None = None,
    jobs: int | None = None,
    data_root: Path | None = None,
    tell: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Train every recipe with every seed; runs that are already in ``out`` are read and not repeated.

    Args:
        data: a key of `PROTOCOLS`.
        recipes: names from `recipe_names`, or any preset.
        seeds: seeds 0 … seeds - 1.
        out: folder of the runs.
        steps: length of every run; the protocol's own if None.
        jobs: runs at a time, one thread each; as many as there are cores if None.
        data_root: folder that holds data sets already downloaded.
        tell: called with every result as it comes.

    Returns:
        The results, in the order of recipes and seeds.

    Raises:
        UsageError: a name is unknown.
    """
    if data not in PROTOCOLS:
        raise UsageError(unknown_name("--data", data, PROTOCOLS))
    names = list(recipes)
    for name in names:
        if name not in recipe_names(data) and name not in PRESETS:
            raise UsageError(unknown_name("--presets", name, {*recipe_names(data), *PRESETS}))
    wanted = [(name, seed) for name in names for seed in range(seeds)]
    found: dict[tuple[str, int], Result] = {}
    jobs = min(jobs or cores(), len(wanted))
    # Each run has a process of its own, because torch keeps one number of threads a process.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin_worker) as pool:
        futures = {
            pool.submit(_run_one, data, name, seed, out, steps, data_root): (name, seed) for name, seed in wanted
        }
        try:
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                tell(found[futures[future]])
        except BaseException:  # Ctrl-C too: the runs under way are saved, and no other begins
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    return [found[key] for key in wanted]


def settings_of(data: str, recipe: str, steps: int | None) -> tuple[str, dict[str, Any]]:
    """Return the preset and the settings on top of it that a recipe stands for.

    Args:
        data: a key of `PROTOCOLS`.
        recipe: a name from `recipe_names`, or any preset.
        steps: length of the run; the protocol's own, or else the preset's, if None.
    """
    protocol = PROTOCOLS[data]
    baseline = BASELINES.get(recipe) if data != "stacked-mnist" else None
    preset = recipe if baseline is None else protocol.ours
    settings = merge(baseline or {}, protocol.fixed)
    length = steps or protocol.steps
    if length:
        settings["steps"] = length
    # One evaluation, at the end: a best checkpoint chosen by the score itself would flatter every recipe.
    return preset, settings | {"eval_every": 10**9, "sample_every": 0, "checkpoint_every": 1000, "threads": 1}


_STOPPED = threading.Event()
"""Set in a worker whose run was stopped: it begins no other."""


def _begin_worker() -> None:
    """Let a worker be stopped by its command alone, once, and by the command's death: nobody would wait for it then."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    if hasattr(os, "setsid"):
        os.setsid()  # a terminal's Ctrl-C is for the command

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _run_one(data: str, recipe: str, seed: int, out: Path, steps: int | None, data_root: Path | None) -> Result:
    folder = out / data / recipe / str(seed)
    if _STOPPED.is_set():
        raise UsageError(f"{folder} was not begun.")
    record = folder / "result.json"
    preset, settings = settings_of(data, recipe, steps)
    asked = {"settings": json.loads(json.dumps(settings)), "version": __version__}
    if record.is_file():
        stored = json.loads(record.read_text())
        if stored["asked"] == asked:
            return Result(**stored["result"])
    run = train(data, preset=preset, out=folder, seed=seed, data_root=data_root, **settings)
    if not run.finished:
        _STOPPED.set()
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)  # nobody takes what a worker returns
        raise UsageError(f"{run.path} was stopped before its end; the same command goes on with it.")
    event = run.directory.events("eval")[-1]
    values = {name: value for name, value in event.items() if isinstance(value, float) and name != "epoch"}
    result = Result(
        recipe, data, seed, event["step"], values, event["protocol"], round(Story(run.directory, {}).seconds, 1)
    )
    write_atomically(record, (json.dumps({"asked": asked, "result": asdict(result)}, indent=1) + "\n").encode())
    return result


@dataclass(frozen=True)
class Row:
    """A recipe over its seeds.

    Attributes:
        recipe: its name.
        seeds: how many.
        means: metric -> mean.
        errors: metric -> standard error of the mean, NaN for one seed.
        complete: seeds that found every mode.
        seconds: mean wall time of a run.
    """

    recipe: str
    seeds: int
    means: Mapping[str, float]
    errors: Mapping[str, float]
    complete: int
    seconds: float


def rows(results: Iterable[Result]) -> list[Row]:
    """Return one row a recipe, in the order in which recipes appear."""
    by_recipe: dict[str, list[Result]] = {}
    for result in results:
        by_recipe.setdefault(result.recipe, []).append(result)
    return [_row(name, runs) for name, runs in by_recipe.items()]


def _row(recipe: str, runs: list[Result]) -> Row:
    metrics = runs[0].values.keys()
    means = {name: sum(run.values[name] for run in runs) / len(runs) for name in metrics}
    complete = sum(run.values["modes"] == PROTOCOLS[run.data].modes for run in runs)
    seconds = sum(run.seconds for run in runs) / len(runs)
    errors = {name: _standard_error([run.values[name] for run in runs]) for name in metrics}
    return Row(recipe, len(runs), means, errors, complete, seconds)


def _standard_error(values: list[float]) -> float:
    n = len(values)
    if n < 2:
        return math.nan
    mean = sum(values) / n
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)


def as_json(data: str, command: str, results: list[Result]) -> dict[str, Any]:
    """Return everything that a committed table needs: protocol, machine, versions and every run.

    Args:
        data: the data set.
        command: what reprints it.
        results: all runs.
    """
    protocol = PROTOCOLS[data]
    return {
        "benchmark": f"modes of {data}",
        "command": command,
        "protocol": sorted({result.protocol for result in results}),
        "fixed": dict(protocol.fixed),
        "settings": {result.recipe: settings_of(data, result.recipe, result.steps)[1] for result in results},
        "published": dict(protocol.published),
        "versions": {"sparring": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads_per_run": 1},
        "runs": [asdict(result) for result in results],
    }
