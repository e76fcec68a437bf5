"""What a training run will take on this machine: measured on a few of its steps, before it is started."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, lcm
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from sparring.config import TrainConfig
from sparring.fast import plain
from sparring.session import build_trainer, prepare
from sparring.trainer import EVALUATION_SEED, Trainer

_SECONDS = 6.0  # that are measured, at least
_SAMPLES = 500  # of an evaluation


@dataclass(frozen=True)
class Rehearsal:
    """What a run will take.

    Attributes:
        config: of the run.
        machine: what it computes on, and why.
        parameters: of each player.
        flops: floating-point operations of a step, per real image; two for a multiplication with addition.
        images_per_second: real images that G plays against, in training alone.
        steps: of the whole run.
        images: of the whole run.
        evaluation_seconds: that one evaluation takes; 0 where nothing is scored.
        seconds: of the whole run, with evaluations and sample grids.
        memory: peak of the process in bytes, or of the GPU.
    """

    config: TrainConfig
    machine: str
    parameters: dict[str, int]
    flops: float
    images_per_second: float
    steps: int
    images: int
    evaluation_seconds: float
    seconds: float
    memory: int


def rehearse(
    data: Any = None,
    *,
    preset: str | None = None,
    config: Mapping[str, Any] | None = None,
    seconds: float = _SECONDS,
    **settings: Any,
) -> Rehearsal:
    """Play some steps of a run, throw them away, and say what the whole will take.

    Nothing is written, and a run that exists already is neither read nor changed.

    Args:
        data: as `sparring.train` takes it.
        preset: likewise.
        config: likewise.
        seconds: how long to measure, at least.
        settings: likewise.

    Raises:
        UsageError: whatever `sparring.train` would refuse.
    """
    with TemporaryDirectory(prefix="sparring-") as out:
        plan = prepare(data, preset=preset, config=config, out=Path(out), resume="never", settings=settings)
        trainer = build_trainer(plan, ())
        return _measured(trainer, seconds)


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the floating-point operations of all products and convolutions that are computed inside.

    PyTorch's own counter attributes them to modules, which fails where a penalty takes gradients within a pass.

    Attributes:
        total: so far; two for a multiplication with addition.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute as usual, and count what PyTorch has a formula for."""
        found = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=found)
        return found


def _measured(trainer: Trainer, seconds: float) -> Rehearsal:
    config, period = trainer.config, _period(trainer.config)
    for _ in range(max(2, period)):  # the first ones build what later ones reuse
        trainer.play_step()
    with (
        plain(),
        FlopCounter() as counter,
    ):  # kernels in C are not seen, and changes of shape compute more than is needed
        for _ in range(period):
            trainer.play_step()
    steps, began = 0, time.perf_counter()
    while steps == 0 or time.perf_counter() - began < seconds:
        for _ in range(period):
            trainer.play_step()
        steps += period
    rate = steps * config.batch_size / (time.perf_counter() - began)
    evaluation, grid = _evaluation_seconds(trainer), _timed(trainer.draw_samples)
    training = trainer.total_steps * config.batch_size / rate
    return Rehearsal(
        config=config,
        machine=trainer.runtime.reason,
        parameters={name: sum(p.numel() for p in player.parameters) for name, player in trainer.players.items()},
        flops=counter.total / (period * config.batch_size),
        images_per_second=rate,
        steps=trainer.total_steps,
        images=trainer.total_steps * config.batch_size,
        evaluation_seconds=evaluation,
        seconds=training + _evaluations(trainer, training, evaluation) + _times(trainer, config.sample_every) * grid,
        memory=peak_memory(trainer.runtime.device),
    )


def _period(config: TrainConfig) -> int:
    """Return after how many steps the turns repeat: lazy penalties and alternation make them differ."""
    return lcm(ceil(config.penalty_every / config.d.steps), config.alternate)


def _evaluation_seconds(trainer: Trainer) -> float:
    """Return how long one evaluation takes; the reference is computed before, as a run does when it starts."""
    if trainer.judge is None:
        return 0.0
    count = min(_SAMPLES, trainer.judge.protocol.n_generated)
    judge = replace(trainer.judge, protocol=replace(trainer.judge.protocol, n_generated=count))

    def score() -> None:
        judge.score(lambda first, size: trainer.generate(EVALUATION_SEED, first, size))

    score()
    return _timed(score) * trainer.judge.protocol.n_generated / count


def _evaluations(trainer: Trainer, training: float, one: float) -> float:
    """Return the seconds of all evaluations: the planned ones, the floor's and the last, within their share of the time."""
    share = trainer.config.eval_share
    planned = _times(trainer, trainer.config.eval_every) * one
    allowed = training * share / (1 - share) if share < 1 else planned
    return min(planned, max(allowed, 2 * one)) + one


def _times(trainer: Trainer, every: int) -> int:
    return ceil(trainer.total_steps / every) if every else 0


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def peak_memory(device: torch.device) -> int:
    """Return the largest memory so far in bytes: of the GPU, or else of this process; 0 where it cannot be known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
