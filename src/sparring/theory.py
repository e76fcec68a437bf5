"""The value function of the game and what follows from it (arXiv:1406.2661, §4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sparring._lazy import LazyModule

if TYPE_CHECKING:
    import torch.nn.functional as F
    from torch import Tensor
else:
    F = LazyModule("torch.nn.functional")

#: V(D*, G) where the generated distribution equals that of the data (arXiv:1406.2661, theorem 1).
EQUILIBRIUM_VALUE = -math.log(4.0)


def value_function(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return ``log D(x) + log(1 - D(G(z)))``, whose mean is V(D, G) (arXiv:1406.2661, eq. 1).

    Args:
        real_logits: ``[B]``.
        fake_logits: ``[B]``.

    Returns:
        ``[B]``, negative; -log 4 where D says ½ to everything.
    """
    return F.logsigmoid(real_logits) + F.logsigmoid(-fake_logits)
