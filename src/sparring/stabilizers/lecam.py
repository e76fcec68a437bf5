"""LeCam regularization: D's logits are held near running means of its logits on the other side.

Tseng et al. 2021 (arXiv:2104.03310, §3). It keeps D from growing ever surer on a small data set; with the wasserstein loss
and a D at its optimum, G then minimizes the LeCam divergence, ½ Σ (p_data - p_g)² / (p_data + p_g) up to a factor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.stabilizers.hooks import Hooks, View
from sparring.stabilizers.running import RunningMean


class LeCam(Hooks):
    """Adds ``λ [ (D(x) - α_F)² + (D(G(z)) - α_R)² ]`` to D's loss.

    The anchors α_R and α_F are moving averages of D's mean logit on real and on fake samples. As in the authors' code an
    anchor takes in the current batch before it is used, and is corrected for its start, so that the first anchors are the
    first batch's means. That code also cuts both differences off at 0, which the paper's equation does not.
    """

    def __init__(self, weight: float, decay: float) -> None:
        """Start without anchors.

        Args:
            weight: λ.
            decay: γ of the moving averages.
        """
        super().__init__()
        self.weight = weight
        self.anchors = RunningMean(2, decay)

    def terms(self, view: View) -> dict[str, Tensor]:
        """Return the term ``lecam``, ``[B]``, in D's turn; no gradient flows through the anchors."""
        if view.player != "D":
            return {}
        assert view.real_logits is not None
        alpha_real, alpha_fake = self.anchors.after(_mean_logits(view)).unbind()
        distance = (view.real_logits - alpha_fake).square() + (view.fake_logits - alpha_real).square()
        return {"lecam": self.weight * distance}

    def remember(self, view: View) -> None:
        """Move the anchors, after D's turn."""
        if view.player == "D":
            self.anchors.add(_mean_logits(view))


def _mean_logits(view: View) -> Tensor:
    assert view.real_logits is not None
    return torch.stack((view.real_logits.detach().mean(), view.fake_logits.detach().mean()))
