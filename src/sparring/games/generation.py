"""The game of Goodfellow et al. (arXiv:1406.2661, alg. 1): D learns to tell real from fake, G to fool it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from sparring.augment import augmented
from sparring.config import TrainConfig
from sparring.games import Batch, Clock, Game, Payoff, Turn
from sparring.losses import LOSSES, Labels, Loss
from sparring.penalties import PENALTIES, Judged
from sparring.schedules import burn_in
from sparring.stabilizers import STABILIZERS
from sparring.stabilizers.hooks import Hooks, Setup, View
from sparring.stabilizers.packing import pack, unpack
from sparring.theory import value_function
from sparring.turns import Critic


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
        hooks: tuple[Hooks, ...] = (),
        packing: int = 1,
        together: bool = False,
    ) -> None:
        self.G, self.D = G, D
        self.loss, self.labels, self.penalties = loss, labels, penalties
        self.augmentations, self.hooks, self.packing, self.together = augmentations, hooks, packing, together

    def discriminator_turn(self, batch: Batch, gain: float = 0.0) -> Payoff:
        """D sees a real and a fake batch: ``x ~ p_data``, ``G(z)`` with z ~ p_z, and G held still.

        Args:
            batch: what the turn is played with.
            gain: factor of the penalties in this turn; 0 leaves them out.
        """
        with torch.no_grad():
            x_fake = self.G(batch.z)
        for hook in self.hooks:
            x_fake = hook.fakes(x_fake, batch)
        x_real, x_fake = pack(batch.x_real, self.packing), pack(x_fake, self.packing)
        if gain:
            x_real, x_fake = x_real.detach().requires_grad_(), x_fake.float().requires_grad_()
        look = self._look(batch)
        D = _looking(self.D, look)
        real_logits, fake_logits = self._judge(D, x_real, x_fake)
        terms = {"adversarial": self.loss.discriminator(real_logits, fake_logits, self.labels)}
        if gain:
            judged = Judged(D, x_real, x_fake, real_logits, fake_logits, batch.source, self.together)
            for name, weight in self.penalties.items():
                terms[name] = weight * gain * PENALTIES[name].function(judged)
        view = View("D", batch, look, x_real, x_fake, real_logits, fake_logits)
        return self._payoff(view, terms, self._gauges(real_logits.detach(), fake_logits.detach()))

    def generator_turn(self, batch: Batch) -> Payoff:
        """G tries to fool D with fresh noise, and D held still."""
        look = self._look(batch)
        z, weights = self._latents(batch)
        x_real, x_fake = pack(batch.x_real, self.packing), pack(self.G(z), self.packing)
        D = _looking(self._opponent(look, x_real, x_fake, batch), look)
        if self.together and self._judges_real:
            real_logits, fake_logits = self._judge(D, x_real, x_fake)
        else:
            fake_logits, real_logits = D(x_fake).float(), None
            if self._judges_real:
                real_logits = self._judge_real(D, x_real)
        view = View("G", batch, look, x_real, x_fake, real_logits, fake_logits)
        losses, gauge = self._generator_loss(fake_logits, real_logits, batch), fake_logits.detach()
        if weights is not None:
            losses, gauge = weights * losses, weights * gauge
        return self._payoff(view, {"adversarial": losses}, {"fake_logits": gauge})

    def _latents(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return what G's turn is played with and what each counts, None where all count alike."""
        found = [drawn for hook in self.hooks if (drawn := hook.latents(self.G, batch)) is not None]
        return found[0] if found else (batch.z, None)

    def _look(self, batch: Batch) -> Critic:
        """Return what D is shown: samples augmented and blurred one by one, then packed again."""

        def look(x: Tensor) -> Tensor:
            x = augmented(unpack(x, self.packing), self.augmentations, batch.source)
            for hook in self.hooks:
                x = hook.look(x, batch)
            return pack(x, self.packing)

        return look

    def _judge(self, D: Critic, x_real: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of real and fake, from two passes of D or from one over both."""
        if not self.together:
            return D(x_real).float(), D(x_fake).float()
        logits = D(torch.cat((x_real, x_fake.to(x_real.dtype)))).float()
        return logits[: len(x_real)], logits[len(x_real) :]

    def _judge_real(self, D: Critic, x_real: Tensor) -> Tensor:
        """Return the logits of real samples in G's turn; they depend on G only where G looks ahead."""
        with contextlib.nullcontext() if self._looks_ahead else torch.no_grad():
            return D(x_real).float()

    def _opponent(self, look: Critic, x_real: Tensor, x_fake: Tensor, batch: Batch) -> Critic:
        """Return the D that G plays against: as it is, or as it will be."""

        def loss_of(critic: Critic) -> Tensor:
            real_logits, fake_logits = self._judge(_looking(critic, look), x_real, x_fake)
            return self.loss.discriminator(real_logits, fake_logits, self.labels).mean()

        opponent: Critic = self.D
        for hook in self.hooks:
            opponent = hook.future(self.D, loss_of, batch) if hook.looks_ahead else opponent
        return opponent

    def _generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None, batch: Batch) -> Tensor:
        partners = fake_logits.detach() if real_logits is None else real_logits
        for hook in self.hooks:
            chosen = hook.chosen(fake_logits, batch)
            if chosen is not None:
                fake_logits, partners = fake_logits[chosen], partners[chosen]
        return self.loss.generator(fake_logits, partners)

    @property
    def _judges_real(self) -> bool:
        return self.loss.paired or any(hook.needs_real for hook in self.hooks)

    @property
    def _looks_ahead(self) -> bool:
        return any(hook.looks_ahead for hook in self.hooks)

    def _payoff(self, view: View, terms: dict[str, Tensor], signals: dict[str, Tensor]) -> Payoff:
        for hook in self.hooks:
            terms |= hook.terms(view)
        return Payoff(terms, signals, partial(self._remember, view))

    def _remember(self, view: View) -> None:
        for hook in self.hooks:
            hook.remember(view)

    def _gauges(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """Return what tells how far the game is from its equilibrium; probabilities only where sigmoid gives one."""
        gauges = {
            "real_logits": real_logits,
            "fake_logits": fake_logits,
            "accuracy": self.loss.accuracy(real_logits, fake_logits),
        }
        if self.loss.probability:
            gauges["real_prob"] = real_logits.sigmoid()
            gauges["fake_prob"] = fake_logits.sigmoid()
            gauges["value"] = value_function(real_logits, fake_logits)
        return gauges


def _looking(D: Critic, look: Critic) -> Critic:
    return lambda x: D(look(x))


def clip_weights(limit: float, D: nn.Module) -> None:
    """Clip every weight of D to [-limit, limit] (arXiv:1701.07875, alg. 1, line 7)."""
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.clamp_(-limit, limit)


def generation_game(G: nn.Module, D: nn.Module, config: TrainConfig, shape: tuple[int, ...]) -> Game:
    """Set up the game that a config describes.

    Args:
        G: ``z [B, latent_dim] -> x [B, *shape]``.
        D: ``x -> logits [B]``; its input is a pack of samples where packing is on.
        config: everything about the game is read.
        shape: of one sample.

    Returns:
        k turns of D, then one of G, as the schedule has it.
    """
    loss = LOSSES[config.loss]
    setup = Setup({"G": G, "D": D}, loss, config.labels, shape)
    memory = nn.ModuleDict(_at_work(config, setup))
    hooks = tuple(memory.values())
    play = GenerationTurns(
        *(G, D, loss, config.labels, config.penalty_weights(shape), config.augment),
        *(hooks, config.packing, config.judges_together),  # type: ignore[arg-type]
    )
    clip = config.d.weight_clip
    return Game(
        players={"G": G, "D": D},
        turns=lambda clock: _turns(play, config, clock),
        after_turn={} if clip is None else {"D": partial(clip_weights, clip)},
        memory=memory,
        real_batches=config.d.steps,
        advice="lower --g.lr and --d.lr, or add --penalty r1:1",
    )


def _at_work(config: TrainConfig, setup: Setup) -> dict[str, nn.Module]:
    """Build the stabilizers that take part in the turns, in the order of their table."""
    chosen = config.stabilizers
    return {
        name: row.build(chosen[name], setup).to(setup.device)
        for name, row in STABILIZERS.items()
        if name in chosen and row.build is not None
    }


def _turns(play: GenerationTurns, config: TrainConfig, clock: Clock) -> tuple[Turn, ...]:
    """Return the turns of one step."""
    turns = []
    for index in range(_turns_of_D(play.hooks, config, clock)):
        gain = _penalty_gain(config, clock, index)
        play_it = partial(play.discriminator_turn, gain=gain)
        turns.append(Turn("D", play_it, exact=gain > 0, constants=(gain,), fresh=True))
    exact = any(hook.looks_ahead for hook in play.hooks)
    draws = max((hook.draws for hook in play.hooks), default=1)
    return (*turns, Turn("G", play.generator_turn, exact, draws=draws))


def _turns_of_D(hooks: tuple[Hooks, ...], config: TrainConfig, clock: Clock) -> int:
    """Return how many turns D plays in this step: k, or those of a whole period at its start."""
    period = config.alternate
    planned = config.d.steps * period if clock.step % period == 0 else 0
    for hook in hooks:
        planned = hook.turns_of_D(planned, clock)
    return planned


def _penalty_gain(config: TrainConfig, clock: Clock, index: int) -> float:
    """Return the factor of the penalties: in every n-th turn of D n times as much (arXiv:1912.04958, appendix B)."""
    every = config.penalty_every
    if not config.penalties or (clock.step * config.d.steps + index) % every:
        return 0.0
    return every * burn_in(config.burn_in.penalty, 1.0, clock.progress, config.burn_in.share)
