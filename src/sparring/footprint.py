"""How much memory a turn takes, known before it is played, and in how many pieces a batch has to be played to fit."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from sparring.config import TrainConfig
from sparring.data import Data
from sparring.errors import UsageError
from sparring.games.table import build_game
from sparring.networks import named_players
from sparring.optim import differentiable
from sparring.players import Player
from sparring.randomness import draw_prior, randomness
from sparring.runtime import Runtime
from sparring.settings import resolve
from sparring.turns import Batch, Clock

#: A backward pass needs gradients, and convolutions need room to work in, beside what the forward pass saved.
_BACKWARD = 3.0
#: Share of the memory that a turn may take; the rest is for data, optimizers, evaluations and others.
_SHARE = 0.5
_GIB = 2**30


def memory_of(device: torch.device) -> int | None:
    """Return the bytes that a device has, or that this process may use of them; None where that cannot be known.

    Args:
        device: a GPU or the processor.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if device.type != "cpu" or "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    text = limit.read_text().strip() if limit.is_file() else "max"
    return total if text == "max" else min(total, int(text))


def turn_bytes(config: TrainConfig, data: Data, runtime: Runtime) -> float:
    """Return the bytes that a turn keeps for its gradients, per real sample; the largest of a step's turns counts.

    Args:
        config: what is trained; a batch is as small as it allows.
        data: real samples.
        runtime: where and how it computes.
    """
    quantum = config.packing * int(config.stabilizers.get("minibatch-stddev", {}).get("group", 1))
    few, more = 2 * quantum, 4 * quantum
    return (_largest_turn(config, data, runtime, more) - _largest_turn(config, data, runtime, few)) / (more - few)


def in_pieces(config: TrainConfig, data: Data, runtime: Runtime) -> TrainConfig:
    """Return the config with its batch in as few pieces as fit into memory.

    Args:
        config: the recipe; its batch stays as it is.
        data: real samples.
        runtime: where and how it computes.

    Raises:
        UsageError: the memory is unknown, or too small for the smallest piece.
    """
    memory = memory_of(runtime.device)
    if memory is None:
        raise UsageError(f"--batch-size auto: {runtime.device} does not say how much memory it has; give --accumulate.")
    each = _BACKWARD * turn_bytes(config, data, runtime)
    for count in range(1, config.batch_size + 1):
        if config.batch_size % count or each * config.batch_size / count > _SHARE * memory:
            continue
        try:
            return resolve(config, {"accumulate": count})
        except UsageError:  # a piece that does not split into packs or groups
            continue
    raise UsageError(
        f"--batch-size auto: a sample takes {each / _GIB:.2g} GiB in a turn, and {runtime.device} has {memory / _GIB:.2g} GiB; "
        "give a lower --resolution, or --g.width and --d.width."
    )


def _largest_turn(config: TrainConfig, data: Data, runtime: Runtime, count: int) -> int:
    """Play every turn of a step with so many samples, and return the most bytes that one of them keeps."""
    config = config.model_copy(update={"batch_size": count, "accumulate": 1})
    networks = named_players(config.network, config.network_spec(data.shape), randomness(config.seed, "weights"))
    for network in networks.values():
        network.to(runtime.device)
    players = {name: Player(network, config.players[name]) for name, network in networks.items()}
    game, source = build_game(networks, config, data.shape), randomness(config.seed, "footprint")
    x, y = data.batch(np.arange(count) % len(data))
    x, y = x.to(runtime.device), None if y is None else y.to(runtime.device)
    weights = [parameter for player in players.values() for parameter in player.parameters]
    found = []
    for turn in game.turns(Clock()):
        z = draw_prior(config.prior, turn.draws * count, config.latent_dim, source).to(runtime.device)
        batch = Batch(x, y, z, source, Clock(), lambda name: differentiable(players[name].optimizer))
        with runtime.arithmetic(exact=turn.exact), _Saved(weights) as saved:
            turn.play(batch)
        found.append(saved.bytes)
    return max(found)


@dataclass
class _Saved:
    """Counts what autograd keeps for backward passes inside, each piece of memory once, weights not at all.

    Attributes:
        weights: what is there anyway.
        held: where each piece of memory is -> its bytes.
    """

    weights: list[Tensor]
    held: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = {_place(weight) for weight in self.weights}
        self._kept: list[Tensor] = []  # so that no place is used twice
        self._hooks = saved_tensors_hooks(self._keep, lambda tensor: tensor)

    @property
    def bytes(self) -> int:
        """What was kept."""
        return sum(self.held.values())

    def _keep(self, tensor: Tensor) -> Tensor:
        if _place(tensor) not in self._known:
            self.held[_place(tensor)] = tensor.untyped_storage().nbytes()
            self._kept.append(tensor.detach())
        return tensor

    def __enter__(self) -> _Saved:
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, error, trace)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
