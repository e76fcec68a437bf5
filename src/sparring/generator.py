"""The trained generator as the user's object: load it, sample from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from sparring.checkpoint import check_fits, load_checkpoint
from sparring.config import TrainConfig
from sparring.errors import CheckpointError, UsageError
from sparring.networks import build_players
from sparring.pictures import to_images
from sparring.randomness import latents, randomness
from sparring.runs import RunDirectory
from sparring.runtime import pick_device
from sparring.settings import validate

_BATCH = 250


@torch.no_grad()
def generate(
    network: nn.Module,
    config: TrainConfig,
    seed: int,
    first: int,
    count: int,
    device: torch.device,
    scale: float = 1.0,
) -> Tensor:
    """Draw samples number ``first`` … ``first + count - 1`` of the endless list that a seed stands for.

    Args:
        network: G; must be in evaluation mode, so that a sample does not depend on its neighbours.
        config: the prior and the length of z are read.
        seed: which list.
        first: the first sample wanted.
        count: how many.
        device: where the network lives.
        scale: what a unit of the network is in units of the data.

    Returns:
        ``[count, *shape]`` float32 on the CPU, in units of the data.
    """
    assert not network.training
    batches = [
        network(latents(config.prior, config.latent_dim, seed, start, min(_BATCH, first + count - start)).to(device))
        for start in range(first, first + count, _BATCH)
    ]
    return torch.cat([batch.float().cpu() for batch in batches]) * scale


class Generator:
    """A trained generator.

    Attributes:
        network: the averaged generator, in evaluation mode.
        config: how it was trained.
        source: the checkpoint that it comes from.
        shape: shape of one sample, ``(C, H, W)`` or ``(2,)``.
        step: the step of training at which it was saved.
        data_sha256: hash of the data that it was trained on.
        device: where it computes.
    """

    def __init__(self, source: Path, device: str = "cpu") -> None:
        """Load a checkpoint.

        Args:
            source: a run directory (its best checkpoint is taken, or else its newest) or a checkpoint directory.
            device: where to put the network.

        Raises:
            UsageError: there is no such run or checkpoint, or it is damaged.
        """
        self.source = find_checkpoint(source)
        run = RunDirectory(self.source.parent.parent)
        self.config = stored_config(run)
        saved = load_checkpoint(self.source, {"G_ema"})
        self.shape: tuple[int, ...] = tuple(saved.state["shape"])
        self.step: int = saved.state["step"]
        self.data_sha256: str = saved.state["data_sha256"]
        self._scale: float = saved.state["scale"]
        network, *_ = build_players(self.config.network, self.config.network_spec(self.shape), randomness(0))
        check_fits("G_ema", saved.parts["G_ema"], network.state_dict())
        network.load_state_dict(saved.parts["G_ema"])
        self.device = pick_device(device)
        self.network = network.eval().requires_grad_(False).to(self.device)

    def sample(self, n: int = 64, seed: int = 0) -> Tensor:
        """Draw samples; the first of them are the same for every n.

        Args:
            n: how many.
            seed: which draw.

        Returns:
            ``[n, C, H, W]`` float32 in [-1, 1], or ``[n, 2]`` for points.

        Raises:
            UsageError: n is not positive.
        """
        _refuse_none(n)
        return generate(self.network, self.config, seed, 0, n, self.device, self._scale)

    def batches(self, n: int, seed: int = 0) -> Iterator[Tensor]:
        """Draw the samples of `sample` without holding all of them in memory.

        Args:
            n: how many.
            seed: which draw.

        Yields:
            ``[b, *shape]``, b at most 250.

        Raises:
            UsageError: n is not positive.
        """
        _refuse_none(n)
        for first in range(0, n, _BATCH):
            count = min(_BATCH, n - first)
            yield generate(self.network, self.config, seed, first, count, self.device, self._scale)

    def draw(self, seed: int, first: int, count: int) -> Tensor:
        """Return samples number ``first`` … ``first + count - 1`` of the endless list that a seed stands for.

        Returns:
            ``[count, *shape]`` float32 on the CPU.
        """
        return generate(self.network, self.config, seed, first, count, self.device, self._scale)

    def images(self, n: int = 64, seed: int = 0) -> list[Image.Image]:
        """Draw samples as pictures.

        Args:
            n: how many.
            seed: which draw.

        Raises:
            UsageError: the generator makes points, not images.
        """
        if len(self.shape) != 3:
            raise UsageError(f"{self.source} generates points in the plane, which are no images; use sample().")
        return to_images(self.sample(n, seed))

    @property
    def origin(self) -> str:
        """The run and the step, for the metadata of pictures; no path, because pictures are shared."""
        return f"{self.source.parent.parent.name} step {self.step}"

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.shape))
        return f"Generator({self.config.network}, {shape}, step {self.step}, {self.source})"


def _refuse_none(n: int) -> None:
    if n < 1:
        raise UsageError(f"-n: the number of samples must be positive, not {n}.")


def stored_config(run: RunDirectory) -> TrainConfig:
    """Return a run's config.

    Raises:
        UsageError: this is no run directory, or its config is of another version.
    """
    return validate(run.config())


def find_checkpoint(source: Path) -> Path:
    """Return the checkpoint that a path means.

    Args:
        source: a run directory (the best checkpoint, or else the newest) or a checkpoint directory.

    Raises:
        UsageError: there is none.
    """
    if (source / "manifest.json").is_file():
        return source.resolve()
    if not source.is_dir():
        raise UsageError(f"there is no run or checkpoint at {source}.")
    run = RunDirectory(source.resolve())
    run.config()
    checkpoints = run.checkpoints()
    if not checkpoints:
        raise CheckpointError(f"{source} has no checkpoint yet; train it further with the command that made it.")
    return run.best() or checkpoints[-1]
