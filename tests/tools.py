"""What several tests need: small configs, and trainers without the rest."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparring.combinations import without_opponent
from sparring.config import TrainConfig
from sparring.data import Data, open_data
from sparring.networks import NETWORKS
from sparring.runs import RunDirectory, create_run
from sparring.runtime import Runtime
from sparring.settings import merge, validate
from sparring.trainer import Observer, Trainer

#: Settings without which a loss makes no sense.
LOSS_SETTINGS: dict[str, dict[str, Any]] = {"wasserstein": {"penalty": ("wgan-gp:10",), "d": {"norm": "none"}}}

#: Networks by the game that they play.
ADVERSARIAL = [name for name, row in NETWORKS.items() if row.plays == "adversarial"]
LIKELIHOOD = [name for name, row in NETWORKS.items() if row.plays == "likelihood"]

_SMALL: dict[str, Any] = {
    "preset": "points",
    "network": "mlp",
    "latent_dim": 2,
    "steps": 8,
    "batch_size": 8,
    "eval_every": 0,
    "sample_every": 0,
    "checkpoint_every": 0,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "g": {"width": 8},
    "d": {"width": 8},
}


def small_config(data: str, **settings: Any) -> TrainConfig:
    """Return a config of a run that takes milliseconds; a network that plays alone gets the z it needs for 28×28 images."""
    small = {"data": data} | _SMALL
    row = NETWORKS[settings.get("network", small["network"])]
    if row.name in LIKELIHOOD:
        latent_dim = small["latent_dim"] if row.latent_dim is None else row.latent_dim((1, 28, 28))
        small = without_opponent(small) | {"prior": row.prior, "latent_dim": latent_dim}
    return validate(merge(small, settings))


@cache
def small_data(name: str) -> Data:
    return open_data(name)


def awake(network: nn.Module) -> nn.Module:
    """Give weights to layers that begin at 0, so that a residual network is more than its skips; return it."""
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return network


def trainer_for(out: Path, data: str, observers: tuple[Observer, ...] = (), **settings: Any) -> Trainer:
    """Return a trainer at step 0 that writes under ``out`` and judges nothing."""
    config = small_config(data, **settings)
    run = create_run(out, "test", config.model_dump(mode="json"))
    return Trainer(config, small_data(data), None, RunDirectory(run.path), Runtime.pick(config), observers)
