"""Running means without a pull towards where they start: the bias correction of Adam (arXiv:1412.6980, §3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RunningMean(nn.Module):
    """Exponential moving averages of a few numbers, as buffers.

    After t values v the mean is ``Σ decay^(t-i) v_i / Σ decay^(t-i)``: the first value as it is, then ever more of them.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, count: int, decay: float) -> None:
        """Start without a value.

        Args:
            count: how many numbers are averaged side by side.
            decay: share of the old mean in the new one once it has run long, from 0 to below 1.
        """
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("weight", torch.zeros(1))

    def after(self, values: Tensor) -> Tensor:
        """Return the means ``[count]`` as they will be with ``values [count]``, and keep them as they are."""
        return self._moved(values)[0]

    def add(self, values: Tensor) -> None:
        """Take ``values [count]`` into the means."""
        mean, weight = self._moved(values)
        self.mean.copy_(mean)
        self.weight.copy_(weight)

    def read(self) -> list[float] | None:
        """Return the means on the host, in one transfer; None before the first value."""
        weight, *means = torch.cat((self.weight, self.mean)).tolist()
        return means if weight else None

    def _moved(self, values: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.decay * self.weight + (1.0 - self.decay)
        return self.mean.lerp(values.detach(), (1.0 - self.decay) / weight), weight
