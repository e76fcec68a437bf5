"""Balance by performance: who is behind trains more.

The lectures' rule: when D's loss is far below G's, train G more; when D is easily fooled, train D more. Goodfellow 2016
(arXiv:1701.00160, §4.4) discusses such rules and warns that they are heuristics: a strong D is also a good teacher.

How D does is measured in every turn of G, before G moves. So a D that sits out is measured all the same: G catches up with
it, and D plays again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.losses import Labels, Loss
from sparring.stabilizers.hooks import Hooks, View
from sparring.stabilizers.running import RunningMean
from sparring.turns import Clock

_DECAY = 0.9  # about the last ten turns of G


class _Balance(Hooks):
    """Keeps running means of D's performance and decides from them; subclasses say what is measured and who is behind."""

    needs_real = True

    def __init__(self, measures: int) -> None:
        super().__init__()
        self.means = RunningMean(measures, _DECAY)

    def measure(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return the measures of a batch, ``[measures]``, from its logits ``[B]``."""
        raise NotImplementedError

    def lead(self, means: list[float]) -> int:
        """Return 1 where D is far ahead, -1 where it is fooled, 0 in between."""
        raise NotImplementedError

    def remember(self, view: View) -> None:
        """Take the turn of G into the running means."""
        if view.player == "G":
            assert view.real_logits is not None, "needs_real"
            self.means.add(self.measure(view.real_logits.detach(), view.fake_logits.detach()))

    def turns_of_D(self, planned: int, clock: Clock) -> int:
        """Return 0 where D is far ahead, one more than planned where it is fooled, else what is planned."""
        means = self.means.read()
        lead = 0 if means is None else self.lead(means)
        return 0 if lead > 0 else planned - lead


class BalanceLoss(_Balance):
    """D sits out while ``L_D < ratio L_G`` and plays once more while ``L_D > L_G / ratio``."""

    def __init__(self, ratio: float, loss: Loss, labels: Labels) -> None:
        """Set the rule.

        Args:
            ratio: from 0, where nothing ever changes, to 1.
            loss: both players' losses, never negative.
            labels: D's targets.
        """
        super().__init__(2)
        self.ratio, self.loss, self.labels = ratio, loss, labels

    def measure(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return ``(L_D, L_G)``."""
        loss_of_D = self.loss.discriminator(real_logits, fake_logits, self.labels).mean()
        return torch.stack((loss_of_D, self.loss.generator(fake_logits, real_logits).mean()))

    def lead(self, means: list[float]) -> int:
        """Compare the losses."""
        loss_of_D, loss_of_G = means
        return int(loss_of_D < self.ratio * loss_of_G) - int(self.ratio * loss_of_D > loss_of_G)


class BalanceAccuracy(_Balance):
    """D sits out while its accuracy is above ``high`` and plays once more while it is below ``low``."""

    def __init__(self, low: float, high: float, loss: Loss) -> None:
        """Set the rule.

        Args:
            low: accuracy under which D is fooled, 0 … 1; 0 gives it no turn more.
            high: accuracy over which D is far ahead, 0 … 1; 1 takes no turn from it.
            loss: says when D is right.
        """
        super().__init__(1)
        self.low, self.high, self.loss = low, high, loss

    def measure(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return D's accuracy, ``[1]``."""
        return self.loss.accuracy(real_logits, fake_logits).mean().reshape(1)

    def lead(self, means: list[float]) -> int:
        """Compare the accuracy with its bounds."""
        (accuracy,) = means
        return int(accuracy > self.high) - int(accuracy < self.low)
