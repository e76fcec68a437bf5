"""Whole games on a ring of eight Gaussians, played by sparring's own trainer: for T6, T8 and T12.

The ring is that of the data set ``ring`` with wider Gaussians, σ = 0.05 in place of 0.01, so that a run of a thousand steps can
hit them. A mode counts as found when 1 of 100 samples lies within 3 σ of it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparring.config import TrainConfig
from sparring.data.records import Data, Modes, make_data
from sparring.data.synthetic import draw, ring
from sparring.experiments.toys import gather
from sparring.metrics.judge import build_judge
from sparring.metrics.modes import HIGH_QUALITY_SIGMAS
from sparring.runs import Event, RunDirectory, create_run
from sparring.runtime import Runtime
from sparring.settings import merge, validate
from sparring.trainer import EVALUATION_SEED, Trainer

Points: TypeAlias = npt.NDArray[np.float64]

_SIGMA = 0.05
_POINTS = 20_000
_SAMPLES = 2000
_FOUND = 0.01  # share of the samples that makes a mode found

_BASE: dict[str, Any] = {
    "data": "ring",
    "preset": "points",
    "network": "mlp",
    "log_every": 0,
    "sample_every": 0,
    "eval_every": 0,
    "eval_share": 1.0,
    "checkpoint_every": 0,
    "eval_samples": _SAMPLES,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "g": {"ema_half_life": 0},
}


@dataclass(frozen=True)
class Played:
    """A game that is over.

    Attributes:
        events: all that the trainer told, in order.
        points: samples of G at the end, ``[N, 2]``.
    """

    events: tuple[Event, ...]
    points: Points

    def column(self, event: str, name: str) -> tuple[float, ...]:
        """Return one number of every event of a kind: ``column("log", "D/loss")``."""
        return tuple(float(row[name]) for row in self.events if row["event"] == event)

    @property
    def loss_of_D(self) -> tuple[float, ...]:
        """D's adversarial loss at every row of the log, without its penalties."""
        has_penalty = any("D/adversarial" in row for row in self.events)
        return self.column("log", "D/adversarial" if has_penalty else "D/loss")


@cache
def wide_ring() -> Data:
    """Return the points that all games here are about."""
    modes = Modes(ring().centres, _SIGMA)
    return make_data("ring", draw(modes, _POINTS, 0, "train")[0], modes=modes)


def config_of(settings: dict[str, Any], seed: int) -> TrainConfig:
    """Return the config of a game: settings as the command line has them, on one thread and without files."""
    return validate(merge(merge(_BASE, settings), {"seed": seed}))


def play(settings: dict[str, Any], seed: int, *, apart: bool = False) -> Played:
    """Play a game to its end.

    Args:
        settings: of the config.
        seed: of everything random.
        apart: whether G's first samples are gathered in the middle of the ring, where there are no real ones.
    """
    config, data = config_of(settings, seed), wide_ring()
    judge = build_judge(data, config.eval_samples, EVALUATION_SEED, "raw") if config.eval_every else None
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), "experiment", config.model_dump(mode="json"))
        trainer = Trainer(config, data, judge, RunDirectory(run.path), Runtime.pick(config), (events.append,))
        if apart:
            for network in (trainer.players["G"].network, trainer.ema.network):
                gather(network, config.latent_dim, seed)
        trainer.train()
        points = trainer.generate(EVALUATION_SEED, 0, _SAMPLES).double().numpy()
    return Played(tuple(events), points)


def centres() -> Points:
    """Return the means of the eight modes, ``[8, 2]``."""
    return np.asarray(ring().centres, dtype=np.float64)


def modes_found(points: Points) -> int:
    """Return how many of the eight modes are found by these samples ``[N, 2]``."""
    nearest, good = _nearest(points)
    hits = np.bincount(nearest[good], minlength=len(centres()))
    return int((hits >= _FOUND * len(points)).sum())


def share_on_modes(points: Points) -> float:
    """Return the share of samples ``[N, 2]`` within 3 σ of a mode; real ones have 0.989."""
    return float(_nearest(points)[1].mean())


def _nearest(points: Points) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return which mode is nearest to each sample, and whether it lies within 3 σ of it, ``[N]`` both."""
    distance = np.linalg.norm(points[:, None] - centres()[None], axis=2)
    return distance.argmin(axis=1), distance.min(axis=1) <= HIGH_QUALITY_SIGMAS * _SIGMA
