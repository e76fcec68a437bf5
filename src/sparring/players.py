"""A player: a network and the optimizer that moves it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm

from sparring.config import PlayerConfig
from sparring.optim import build_optimizer


@dataclass(frozen=True)
class Player:
    """A network with its optimizer, and what must not change while the other side plays."""

    network: nn.Module
    config: PlayerConfig
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        moved: list[Tensor] = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        object.__setattr__(self, "optimizer", build_optimizer(moved, self.config))

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that the optimizer moves: all that are not frozen."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Keep running statistics, power iterations and gradients from following batches that are not this player's turn."""
        norms = [module for module in self.network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        spectra = [module for module in self.network.modules() if isinstance(module, _SpectralNorm)]
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        for norm in norms:
            norm.track_running_stats = False
        for spectrum in spectra:
            spectrum.eval()
        try:
            yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)
            for norm in norms:
                norm.track_running_stats = True
            for spectrum in spectra:
                spectrum.train()
