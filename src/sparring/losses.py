"""Adversarial losses: logits in, one value per sample out.

Every loss is two pure functions, one for each player, and a row of `LOSSES`. Logits are larger for "more real" everywhere,
and sigmoid is never applied before a logarithm: ``log D = -softplus(-logit)`` and ``log(1 - D) = -softplus(logit)`` stay
finite at any logit. To add a loss, write its two functions and its row here; flags, validation, docs and tests follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparring._lazy import LazyModule
from sparring.tables import Method

if TYPE_CHECKING:
    import torch.nn.functional as F
    from torch import Tensor
else:
    F = LazyModule("torch.nn.functional")


@dataclass(frozen=True)
class Labels:
    """What D is told about real and fake samples; away from (1, 0) this is label smoothing (arXiv:1606.03498, §3.4)."""

    real: float = 1.0
    fake: float = 0.0


DiscriminatorLoss = Callable[["Tensor", "Tensor", Labels], "Tensor"]
GeneratorLoss = Callable[["Tensor", "Tensor"], "Tensor"]


def binary_cross_entropy(logits: Tensor, label: float) -> Tensor:
    """Return ``-label log σ(logit) - (1 - label) log(1 - σ(logit))``.

    Args:
        logits: ``[B]``, any real number.
        label: the target in [0, 1].

    Returns:
        ``[B]``, at least the entropy of the label.
    """
    return F.softplus(logits) - label * logits


def bce_discriminator(real_logits: Tensor, fake_logits: Tensor, labels: Labels) -> Tensor:
    """Return ``-log D(x) - log(1 - D(G(z)))``, with the labels in place of 1 and 0 (arXiv:1406.2661, eq. 1).

    Args:
        real_logits: ``[B]``.
        fake_logits: ``[B]``.
        labels: targets for real and fake.

    Returns:
        ``[B]``, non-negative.
    """
    return binary_cross_entropy(real_logits, labels.real) + binary_cross_entropy(fake_logits, labels.fake)


def saturating_generator(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return ``log(1 - D(G(z)))`` (arXiv:1406.2661, eq. 1); its gradient vanishes where D rejects the fakes.

    Args:
        fake_logits: ``[B]``.
        real_logits: ``[B]``, not used by this loss.

    Returns:
        ``[B]``, negative.
    """
    return -F.softplus(fake_logits)


def non_saturating_generator(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return ``-log D(G(z))``: the fakes labelled 1 (arXiv:1406.2661, §3).

    Args:
        fake_logits: ``[B]``.
        real_logits: ``[B]``, not used by this loss.

    Returns:
        ``[B]``, positive.
    """
    return F.softplus(-fake_logits)


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor, labels: Labels) -> Tensor:
    """Return ``½ (D(x) - 1)² + ½ D(G(z))²``, with the labels in place of 1 and 0 (arXiv:1611.04076, eq. 2).

    Args:
        real_logits: ``[B]``, D's output as it is, without sigmoid.
        fake_logits: ``[B]``.
        labels: targets for real and fake.

    Returns:
        ``[B]``, non-negative.
    """
    return 0.5 * (real_logits - labels.real).square() + 0.5 * (fake_logits - labels.fake).square()


def least_squares_generator(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return ``½ (D(G(z)) - 1)²`` (arXiv:1611.04076, eq. 2).

    Args:
        fake_logits: ``[B]``.
        real_logits: ``[B]``, not used by this loss.

    Returns:
        ``[B]``, non-negative.
    """
    return 0.5 * (fake_logits - 1.0).square()


def wasserstein_discriminator(real_logits: Tensor, fake_logits: Tensor, labels: Labels) -> Tensor:
    """Return ``D(G(z)) - D(x)``: the critic maximizes its opposite (arXiv:1701.07875, eq. 2).

    Args:
        real_logits: ``[B]``.
        fake_logits: ``[B]``.
        labels: not used: a critic has no labels.

    Returns:
        ``[B]``, any real number; minus its mean estimates the Wasserstein-1 distance times the critic's Lipschitz constant.
    """
    return fake_logits - real_logits


def critic_generator(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return ``-D(G(z))`` (arXiv:1701.07875, alg. 1; arXiv:1705.02894, eq. 3).

    Args:
        fake_logits: ``[B]``.
        real_logits: ``[B]``, not used by this loss.

    Returns:
        ``[B]``, any real number.
    """
    return -fake_logits


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor, labels: Labels) -> Tensor:
    """Return ``max(0, 1 - D(x)) + max(0, 1 + D(G(z)))`` (arXiv:1705.02894, eq. 3).

    Args:
        real_logits: ``[B]``.
        fake_logits: ``[B]``.
        labels: not used: the margins are fixed at ±1.

    Returns:
        ``[B]``, non-negative; 0 once both are outside the margin.
    """
    return F.relu(1.0 - real_logits) + F.relu(1.0 + fake_logits)


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor, labels: Labels) -> Tensor:
    """Return ``softplus(-(D(x) - D(G(z))))``: is the real one more real than its fake partner (arXiv:1807.00734, §4.2)?

    Args:
        real_logits: ``[B]``.
        fake_logits: ``[B]``, paired with the real ones by position.
        labels: not used: only the difference counts.

    Returns:
        ``[B]``, positive, unchanged when the same number is added to all logits.
    """
    return F.softplus(fake_logits - real_logits)


def relativistic_generator(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return ``softplus(-(D(G(z)) - D(x)))`` (arXiv:1807.00734, §4.2; arXiv:2501.05441, eq. 2).

    Args:
        fake_logits: ``[B]``.
        real_logits: ``[B]``, paired with the fake ones by position.

    Returns:
        ``[B]``, positive, unchanged when the same number is added to all logits.
    """
    return F.softplus(real_logits - fake_logits)


@dataclass(frozen=True, kw_only=True)
class Loss(Method):
    """A row of `LOSSES`: both players' losses and what a user needs to know of them.

    Attributes:
        discriminator: ``(real_logits [B], fake_logits [B], labels) -> [B]``, minimized by D.
        generator: ``(fake_logits [B], real_logits [B]) -> [B]``, minimized by G.
        probability: whether sigmoid(logit) is D's probability of "real", so that D(x) → ½ and V → -log 4 mean equilibrium.
        threshold: the output of D above which it takes a sample for real; None where only differences count, so that
            D is right about a pair when the real one scores higher.
        smoothable: whether the labels are targets that may be smoothed.
        paired: whether G's loss needs the logits of real samples.
        positive: whether both players' losses are never negative, so that their ratio tells who is ahead.
        lipschitz: whether the loss is meaningless without a bound on D's slope (weight clipping or a gradient penalty).
    """

    discriminator: DiscriminatorLoss
    generator: GeneratorLoss
    probability: bool = False
    threshold: float | None = 0.0
    smoothable: bool = False
    paired: bool = False
    positive: bool = False
    lipschitz: bool = False

    def accuracy(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Return how often D is right about each pair of a real and a fake sample.

        Args:
            real_logits: ``[B]``.
            fake_logits: ``[B]``.

        Returns:
            ``[B]``, each 0, ½ or 1.
        """
        if self.threshold is None:
            return (real_logits > fake_logits).float()
        return ((real_logits > self.threshold).float() + (fake_logits < self.threshold).float()) / 2


_GOODFELLOW = "Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661"

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss(
            name="saturating",
            summary="The minimax game as first written: G minimizes log(1 - D(G(z))).",
            paper=_GOODFELLOW,
            formula="L_D = -log D(x) - log(1 - D(G(z)))     L_G = log(1 - D(G(z)))",
            when="To see the theory at work, or why nobody trains with it: G's gradient vanishes while D wins.",
            watch="G's gradient norm. When it falls towards 0 early, D rejects everything and G learns nothing.",
            discriminator=bce_discriminator,
            generator=saturating_generator,
            probability=True,
            smoothable=True,
        ),
        Loss(
            name="non-saturating",
            summary="The classic in practice: G maximizes log D(G(z)), the fakes labelled as real.",
            paper=_GOODFELLOW,
            formula="L_D = -log D(x) - log(1 - D(G(z)))     L_G = -log D(G(z))",
            when="The default of the classic presets; with DCGAN networks and label smoothing it is a good first try.",
            watch="D(x) and D(G(z)) drifting to 1 and 0 means that D wins; the class histogram tells of mode collapse.",
            discriminator=bce_discriminator,
            generator=non_saturating_generator,
            positive=True,
            probability=True,
            smoothable=True,
        ),
        Loss(
            name="least-squares",
            summary="Squared error instead of cross-entropy (LSGAN); the gradient grows with the distance from the target.",
            paper="Mao et al. 2017, Least Squares Generative Adversarial Networks, arXiv:1611.04076",
            formula="L_D = ½ (D(x) - 1)² + ½ D(G(z))²     L_G = ½ (D(G(z)) - 1)²",
            when="When the classic loss saturates; D's output is a score without sigmoid.",
            watch="Both logits near ½ is the equilibrium here; logits far outside [0, 1] mean too high a learning rate.",
            discriminator=least_squares_discriminator,
            generator=least_squares_generator,
            positive=True,
            threshold=0.5,
            smoothable=True,
        ),
        Loss(
            name="wasserstein",
            summary="The critic estimates the earth mover's distance (WGAN); needs weight clipping or a gradient penalty.",
            paper="Arjovsky et al. 2017, Wasserstein GAN, arXiv:1701.07875",
            formula="L_D = D(G(z)) - D(x)     L_G = -D(G(z))     with |D|_Lipschitz ≤ 1",
            when="When supports hardly overlap, or when the loss should track quality; takes several critic steps per G step.",
            watch="-L_D, the estimated distance, should fall slowly; growing without end means that the slope is not bounded.",
            discriminator=wasserstein_discriminator,
            generator=critic_generator,
            threshold=None,
            lipschitz=True,
        ),
        Loss(
            name="hinge",
            summary="Margins of ±1 for D, a linear loss for G; standard in SAGAN and BigGAN.",
            paper="Lim and Ye 2017, Geometric GAN, arXiv:1705.02894",
            formula="L_D = max(0, 1 - D(x)) + max(0, 1 + D(G(z)))     L_G = -D(G(z))",
            when="With residual or attention networks and spectral norm or R1.",
            watch="L_D = 0 means that D is outside both margins and learns nothing; near 2 means that it cannot tell.",
            discriminator=hinge_discriminator,
            generator=critic_generator,
        ),
        Loss(
            name="relativistic",
            summary="Each fake is compared with a real partner (RpGAN); with R1 + R2 the modern default.",
            paper="Jolicoeur-Martineau 2018, The relativistic discriminator, arXiv:1807.00734; "
            "Huang et al. 2025 (R3GAN), arXiv:2501.05441",
            formula="L_D = softplus(-(D(x) - D(G(z))))     L_G = softplus(-(D(G(z)) - D(x)))",
            when="With penalties r1 and r2: the most robust choice against mode dropping.",
            watch="L_D near log 2 = 0.693 means that real and fake are told apart by chance only.",
            discriminator=relativistic_discriminator,
            generator=relativistic_generator,
            positive=True,
            threshold=None,
            paired=True,
        ),
    )
}
