"""Feature matching: G imitates the mean of D's features over real samples (Salimans et al. 2016, arXiv:1606.03498, §3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.stabilizers.hooks import Hooks, View


class FeatureMatching(Hooks):
    """G's term ``weight ‖E f(x) - E f(G(z))‖²``, with f the features that D's last layer reads; E is the mean over the batch.

    In the paper it takes the place of G's loss; here it is added to it.

    Attributes:
        weight: factor of the term; 0 leaves it out.
        features: f, ``[B, *judged_shape] -> [B, F]``; D's own layers, held in a tuple so that they are no part of this module.
    """

    def __init__(self, weight: float, D: nn.Module) -> None:
        """Take D's features.

        Raises:
            UsageError: D is not made of two parts, features and a last layer.
        """
        super().__init__()
        features = getattr(D, "features", None)
        if not isinstance(features, nn.Module):
            raise UsageError(
                "--stabilizer feature-matching: this network's D has no 'features' to match; derive it from "
                "sparring.networks.layers.FeatureCritic, or leave the stabilizer out."
            )
        self.weight = weight
        self.features = (features,)

    def terms(self, view: View) -> dict[str, Tensor]:
        """Return G's term ``"feature_matching"``, ``[B]``: one value for the batch, the same for every sample."""
        if view.player != "G" or not self.weight:
            return {}
        with torch.no_grad():
            real = self._mean(view, view.x_real)
        distance = (real - self._mean(view, view.x_fake)).square().sum()
        return {"feature_matching": (self.weight * distance).expand(len(view.fake_logits))}

    def _mean(self, view: View, x: Tensor) -> Tensor:
        """Return ``E f(x)``, ``[F]``."""
        (features,) = self.features
        seen: Tensor = features(view.look(x))
        return seen.float().mean(0)
