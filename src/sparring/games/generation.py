"""The game of Goodfellow et al. (arXiv:1406.2661, alg. 1): D learns to tell real from fake, G to fool it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sparring.augment import augmented
from sparring.config import TrainConfig
from sparring.games import Batch, Game, Payoff, Turn
from sparring.losses import LOSSES, Labels, Loss
from sparring.penalties import PENALTIES, Judged
from sparring.theory import value_function


class GenerationTurns:
    """Both turns of the game, as pseudo-code that runs."""

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        loss: Loss,
        labels: Labels,
        penalties: Mapping[str, float],
        augmentations: tuple[str, ...] = (),
    ) -> None:
        self.G, self.D = G, D
        self.loss, self.labels, self.penalties = loss, labels, penalties
        self.augmentations = augmentations

    def discriminator_turn(self, batch: Batch) -> Payoff:
        """D sees a real and a fake batch: ``x ~ p_data``, ``G(z)`` with z ~ p_z, and G held still."""
        D = augmented(self.D, self.augmentations, batch.source)
        with torch.no_grad():
            x_fake = self.G(batch.z)
        x_real = batch.x_real
        if self.penalties:
            x_real, x_fake = x_real.detach().requires_grad_(), x_fake.float().requires_grad_()
        real_logits, fake_logits = D(x_real).float(), D(x_fake).float()
        terms = {"adversarial": self.loss.discriminator(real_logits, fake_logits, self.labels)}
        uniform = torch.rand(len(x_real), generator=batch.source).to(x_real.device)
        judged = Judged(D, x_real, x_fake, real_logits, fake_logits, uniform)
        for name, weight in self.penalties.items():
            terms[name] = weight * PENALTIES[name].function(judged)
        return Payoff(terms, self._gauges(real_logits.detach(), fake_logits.detach()))

    def generator_turn(self, batch: Batch) -> Payoff:
        """G tries to fool D with fresh noise, and D held still."""
        D = augmented(self.D, self.augmentations, batch.source)
        fake_logits = D(self.G(batch.z)).float()
        real_logits = fake_logits.detach()
        if self.loss.paired:
            with torch.no_grad():
                real_logits = D(batch.x_real).float()
        return Payoff(
            {"adversarial": self.loss.generator(fake_logits, real_logits)}, {"fake_logits": fake_logits.detach()}
        )

    def _gauges(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """Return what tells how far the game is from its equilibrium; probabilities only where sigmoid gives one."""
        border = self.loss.threshold
        if border is None:
            accuracy = (real_logits > fake_logits).float()
        else:
            accuracy = ((real_logits > border).float() + (fake_logits < border).float()) / 2
        gauges = {"real_logits": real_logits, "fake_logits": fake_logits, "accuracy": accuracy}
        if self.loss.probability:
            gauges["real_prob"] = real_logits.sigmoid()
            gauges["fake_prob"] = fake_logits.sigmoid()
            gauges["value"] = value_function(real_logits, fake_logits)
        return gauges


def clip_weights(limit: float, D: nn.Module) -> None:
    """Clip every weight of D to [-limit, limit] (arXiv:1701.07875, alg. 1, line 7)."""
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.clamp_(-limit, limit)


def generation_game(G: nn.Module, D: nn.Module, config: TrainConfig) -> Game:
    """Set up the game that a config describes.

    Args:
        G: ``z [B, latent_dim] -> x [B, *shape]``.
        D: ``x [B, *shape] -> logits [B]``.
        config: loss, labels, penalties, D's steps and weight clipping are read.

    Returns:
        k turns of D, then one of G.
    """
    play = GenerationTurns(G, D, LOSSES[config.loss], config.labels, config.penalties, config.augment)
    d_turn = Turn("D", play.discriminator_turn, exact=bool(config.penalties))
    clip = config.d.weight_clip
    return Game(
        players={"G": G, "D": D},
        turns=(*[d_turn] * config.d.steps, Turn("G", play.generator_turn)),
        after_turn={} if clip is None else {"D": partial(clip_weights, clip)},
    )
