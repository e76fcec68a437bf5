"""Experience replay: half of the fakes that D learns from are older ones, so that it does not forget them.

Shrivastava et al. 2017 (arXiv:1612.07828, §2.3): D sees b/2 fresh fakes and b/2 from a buffer of fixed size; after its step
b/2 fresh fakes replace random ones of the buffer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.stabilizers.hooks import Hooks, View
from sparring.turns import Batch


class Replay(Hooks):
    """A buffer of older fakes.

    D's fakes are always the fresh ones first, then the older ones; so what `remember` keeps is known by its place, however
    many pieces of a batch were played before, and after a turn that was skipped nothing is left over.
    """

    older: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        """Start with an empty buffer.

        Args:
            size: fakes that it can hold, at least 1.
            shape: of one sample.
        """
        super().__init__()
        self.shape = shape
        self.register_buffer("older", torch.zeros(size, *shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def fakes(self, x_fake: Tensor, batch: Batch) -> Tensor:
        """Return ``[B, *shape]``: all of ``x_fake`` while the buffer is empty, then its first half and ⌊B/2⌋ older ones."""
        count, half = int(self.count), len(x_fake) // 2
        if count == 0 or half == 0:
            return x_fake
        if half <= count:
            picked = torch.randperm(count, generator=batch.source)[:half]
        else:
            picked = torch.randint(count, (half,), generator=batch.source)
        return torch.cat((x_fake[: len(x_fake) - half], self.older[picked.to(self.older.device)].to(x_fake)))

    def remember(self, view: View) -> None:
        """Keep ⌊B/2⌋ of the fresh fakes that D has learnt from: in free slots first, then in place of random ones."""
        if view.player != "D":
            return
        x_fake = view.x_fake.detach().reshape(-1, *self.shape)
        size, count = len(self.older), int(self.count)
        taken = torch.randperm(count, generator=view.batch.source)
        slots = torch.cat((torch.arange(count, size), taken))[: len(x_fake) // 2]
        self.older[slots.to(self.older.device)] = x_fake[: len(slots)].to(self.older)
        self.count.fill_(min(size, count + len(slots)))
