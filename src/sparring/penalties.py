"""Penalties on D: each the paper's term at coefficient 1, one value per sample.

The weight in the config (``--penalty r1:0.1``) is the paper's coefficient. Every norm is taken per sample, over all of its
pixels, never over the batch. To add a penalty, write its function and its row of `PENALTIES` here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sparring._lazy import LazyModule
from sparring.augment import translation
from sparring.errors import unknown_name
from sparring.tables import Method

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sparring.turns import Critic
else:
    torch = LazyModule("torch")


@dataclass(eq=False)
class Judged:
    """A batch that D has judged, as a penalty sees it.

    Attributes:
        critic: D as a function, ``[B, ...] -> [B]``.
        x_real: ``[B, ...]``, requires a gradient.
        x_fake: ``[B, ...]``, detached from G, requires a gradient.
        real_logits: ``critic(x_real)``, ``[B]``, attached to ``x_real``.
        fake_logits: ``critic(x_fake)``, ``[B]``, attached to ``x_fake``.
        source: the randomness, for penalties at random places.
        together: whether one pass of D judged both, so that one backward pass gives both gradients.
    """

    critic: Critic
    x_real: Tensor
    x_fake: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    source: torch.Generator
    together: bool = False

    @cached_property
    def real_gradient(self) -> Tensor:
        """``∇_x D`` at the real samples, ``[B, ...]``, differentiable once more."""
        return self._gradients[0] if self.together else _gradient(self.real_logits, self.x_real)

    @cached_property
    def fake_gradient(self) -> Tensor:
        """``∇_x D`` at the fake samples, ``[B, ...]``, differentiable once more."""
        return self._gradients[1] if self.together else _gradient(self.fake_logits, self.x_fake)

    @cached_property
    def _gradients(self) -> tuple[Tensor, Tensor]:
        both = self.real_logits.sum() + self.fake_logits.sum()
        real, fake = torch.autograd.grad(both, (self.x_real, self.x_fake), create_graph=True)
        return real, fake

    def draw(self, like: Tensor) -> Tensor:
        """Draw one number a sample from U(0, 1), ``[B, 1, ...]`` with as many dimensions as ``like [B, ...]``."""
        shape = (len(like), *[1] * (like.dim() - 1))
        return torch.rand(shape, generator=self.source, dtype=like.dtype).to(like.device)


def squared_gradient_norm(logits: Tensor, x: Tensor) -> Tensor:
    """Return ``‖∇_x D(x)‖²`` of each sample, differentiable once more.

    Args:
        logits: ``[B]``, computed from ``x``.
        x: ``[B, ...]``, requires a gradient.

    Returns:
        ``[B]``, non-negative.
    """
    return _squared_norm(_gradient(logits, x))


def _gradient(logits: Tensor, x: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient


def _squared_norm(gradient: Tensor) -> Tensor:
    return gradient.flatten(1).square().sum(1)


def r1(judged: Judged) -> Tensor:
    """Return ``½ ‖∇ D(x)‖²`` at real samples (arXiv:1801.04406, eq. 9).

    Args:
        judged: the batch.

    Returns:
        ``[B]``, non-negative; ½ for a linear critic with a unit weight vector.
    """
    return 0.5 * _squared_norm(judged.real_gradient)


def r2(judged: Judged) -> Tensor:
    """Return ``½ ‖∇ D(G(z))‖²`` at generated samples (arXiv:1801.04406, eq. 9; arXiv:2501.05441, eq. 3).

    Args:
        judged: the batch.

    Returns:
        ``[B]``, non-negative; ½ for a linear critic with a unit weight vector.
    """
    return 0.5 * _squared_norm(judged.fake_gradient)


def wgan_gp(judged: Judged) -> Tensor:
    """Return ``(‖∇ D(x̂)‖ - 1)²`` at random points x̂ between real and fake (arXiv:1704.00028, eq. 3).

    Args:
        judged: the batch.

    Returns:
        ``[B]``, non-negative; 0 for a linear critic with a unit weight vector.
    """
    x_real, x_fake = judged.x_real.detach(), judged.x_fake.detach()
    return _slope_off_one(judged.critic, torch.lerp(x_real, x_fake, judged.draw(x_real)))


def dragan(judged: Judged) -> Tensor:
    """Return ``(‖∇ D(x̂)‖ - 1)²`` at random points x̂ near real samples (arXiv:1705.07215).

    The paper writes x̂ = x + δ with Gaussian δ; its authors' code, which this follows, draws δ = ½ α s u: s the standard
    deviation of all numbers of the real batch together, u ~ U(0, 1) anew for every pixel, α ~ U(0, 1) for every sample.

    Args:
        judged: the batch.

    Returns:
        ``[B]``, non-negative; 0 for a linear critic with a unit weight vector.
    """
    x_real = judged.x_real.detach()
    reach = judged.draw(x_real)
    u = torch.rand(x_real.shape, generator=judged.source, dtype=x_real.dtype).to(x_real.device)
    return _slope_off_one(judged.critic, x_real + 0.5 * reach * x_real.std(correction=0) * u)


def _slope_off_one(critic: Critic, x: Tensor) -> Tensor:
    """Return ``(‖∇ D(x)‖ - 1)²``, ``[B]``."""
    x = x.requires_grad_()
    squared = squared_gradient_norm(critic(x), x)
    # The root of exactly 0 has no derivative; the smallest normal number keeps it finite and changes no other value.
    return (squared.clamp_min(torch.finfo(squared.dtype).tiny).sqrt() - 1.0).square()


def consistency(judged: Judged) -> Tensor:
    """Return ``(D(x) - D(T(x)))² + (D(G(z)) - D(T(G(z))))²``, T a random small shift (arXiv:2002.04724, alg. 1).

    T is the augmentation `translation` with a draw for every sample (a pack is shifted as one image). The papers mirror the
    images too; that is left out, because a mirrored letter or digit is another one. D's gradient flows through all four logits.

    Args:
        judged: the batch; images only, ``[B, C, H, W]``.

    Returns:
        ``[B]``, non-negative; 0 for a critic that shifts do not change.
    """
    real = judged.critic(translation(judged.x_real.detach(), judged.source))
    fake = judged.critic(translation(judged.x_fake.detach(), judged.source))
    return (judged.real_logits - real).square() + (judged.fake_logits - fake).square()


@dataclass(frozen=True, kw_only=True)
class Penalty(Method):
    """A row of `PENALTIES`.

    Attributes:
        function: ``Judged -> [B]``.
        bounds_slope: whether it bounds D's slope, as the Wasserstein loss needs.
        per_sample_gradient: whether it is wrong when D mixes the samples of a batch (batch normalization).
        usual: the weight to begin with; where it is ``auto``, a rule from resolution and batch is there (`auto_weight`).
        images_only: whether points in the plane cannot have it.
    """

    function: Callable[[Judged], Tensor]
    usual: str = "0.1"
    bounds_slope: bool = False
    per_sample_gradient: bool = False
    images_only: bool = False


_MESCHEDER = "Mescheder et al. 2018, Which Training Methods for GANs do actually Converge?, arXiv:1801.04406"

PENALTIES: dict[str, Penalty] = {
    penalty.name: penalty
    for penalty in (
        Penalty(
            name="r1",
            summary="Zero-centred gradient penalty on real samples.",
            paper=_MESCHEDER,
            formula="½ ‖∇_x D(x)‖²",
            when="With any loss whose D should go flat where the data lie; weights from 0.01 to 10 are usual.",
            watch="Too high: D(x) sticks to ½ and samples stay blurred. Too low: the gradient norm of D grows.",
            function=r1,
            usual="auto",
        ),
        Penalty(
            name="r2",
            summary="Zero-centred gradient penalty on generated samples.",
            paper=_MESCHEDER,
            formula="½ ‖∇_x D(G(z))‖²",
            when="Beside r1, with the relativistic loss: together they converge where r1 alone does not (arXiv:2501.05441).",
            watch="As r1.",
            function=r2,
            usual="auto",
        ),
        Penalty(
            name="wgan-gp",
            summary="Keeps the critic's slope at 1 between real and fake samples.",
            paper="Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv:1704.00028",
            formula="(‖∇_x̂ D(x̂)‖ - 1)²,  x̂ = (1 - u) x + u G(z),  u ~ U(0, 1)",
            when="With the wasserstein loss, weight 10, several critic steps and no batch normalization in D.",
            watch="The penalty should settle below 0.1; when it explodes, lower D's learning rate.",
            function=wgan_gp,
            usual="10",
            bounds_slope=True,
            per_sample_gradient=True,
        ),
        Penalty(
            name="dragan",
            summary="Keeps D's slope at 1 near real samples.",
            paper="Kodali et al. 2017, On Convergence and Stability of GANs, arXiv:1705.07215",
            formula="(‖∇_x̂ D(x̂)‖ - 1)²,  x̂ = x + ½ α s u,  s = std(batch),  α ~ U(0, 1),  u ~ U(0, 1)^pixels",
            when="With the non-saturating loss, weight 10, where D grows so sharp around the data that G learns nothing.",
            watch="It holds the slope near the data only, so the wasserstein loss, which needs the bound at the fakes too, "
            "is refused with it alone. Blurred samples call for a lower weight.",
            function=dragan,
            usual="10",
            per_sample_gradient=True,
        ),
        Penalty(
            name="consistency",
            summary="Makes D say the same of an image and of its copy shifted by a few pixels (bCR).",
            paper="Zhao et al. 2020, Improved Consistency Regularization for GANs, arXiv:2002.04724; "
            "Zhang et al. 2019 (CR-GAN), arXiv:1910.12027",
            formula="(D(x) - D(T(x)))² + (D(G(z)) - D(T(G(z))))²,  T = translation by up to s/8 pixels",
            when="With few images, weight 10, alone or beside r1; unlike --augment it leaves what D learns from as it is.",
            watch="Too high: D(x) and D(G(z)) stay together and samples blur. Mirroring, which the papers use too, is left out.",
            function=consistency,
            usual="10",
            images_only=True,
        ),
    )
}


#: γ of R1 and R2 a pixel and sample of the batch.
_AUTO = 0.006


def auto_weight(shape: tuple[int, ...], batch_size: int) -> float:
    """Return the weight of R1 and R2 that ``auto`` stands for: 0.006 H W / B.

    A picture of twice the side has four times the pixels, each with a quarter of the effect on D, so that ‖∇_x D‖² falls to a
    quarter and the weight must grow with H W to mean the same; a larger batch has less noise to hold down (the form is
    StyleGAN2's, arXiv:1912.04958). 0.006 gives 0.1 at 32×32 and batch 64, with which
    stacked MNIST finds its thousand modes.

    Args:
        shape: of one sample.
        batch_size: real samples in a turn.
    """
    pixels = shape[1] * shape[2] if len(shape) == 3 else 1
    return _AUTO * pixels / batch_size


def parse_penalty(spec: str) -> tuple[str, float | None]:
    """Split ``name:weight``.

    Args:
        spec: for example ``"r1:0.1"`` or ``"r1:auto"``.

    Returns:
        The penalty's name and its weight, None for ``auto``.

    Raises:
        ValueError: the name is unknown or the weight is not a positive number.
    """
    name, colon, number = spec.partition(":")
    if name not in PENALTIES:
        raise ValueError(unknown_name("", name, PENALTIES).removeprefix(": "))
    usual = PENALTIES[name].usual
    if number == usual == "auto":
        return name, None
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not colon or not 0 < weight < float("inf"):
        raise ValueError(f"'{spec}' needs a positive weight after a colon, as in {name}:{usual}")
    return name, weight
