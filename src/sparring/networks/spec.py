"""What an architecture is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlayerSpec:
    """One player's share of a `NetworkSpec`.

    Attributes:
        width: channels of the layer nearest to the image, or units of a hidden layer.
        norm: ``"batch"``, ``"layer"``, ``"virtual"`` (G only) or ``"none"``.
        momentum: weight of the new batch in batch norm's running averages (PyTorch's convention).
        init_std: standard deviation of the first weights; None is the network's own rule.
        spectral: whether every weight is divided by its largest singular value (D only).
        stddev_group: samples in a group of minibatch standard deviation, 0 without it (D only).
        kernels: kernels of minibatch discrimination, 0 without it (D only).
        kernel_dims: length of each kernel.
    """

    width: int
    norm: str
    momentum: float = 0.1
    init_std: float | None = None
    spectral: bool = False
    stddev_group: int = 0
    kernels: int = 0
    kernel_dims: int = 0


@dataclass(frozen=True)
class NetworkSpec:
    """What a pair of players must fit.

    Attributes:
        shape: shape of one sample: ``(C, H, W)`` for images, ``(2,)`` for points.
        latent_dim: length of z.
        g: the generator's size and normalization.
        d: the discriminator's size and normalization.
        prior: what z is drawn from, ``"normal"`` or ``"uniform"``.
        packing: samples that D judges at a time.
    """

    shape: tuple[int, ...]
    latent_dim: int
    g: PlayerSpec
    d: PlayerSpec
    prior: str = "normal"
    packing: int = 1

    @property
    def judged_shape(self) -> tuple[int, ...]:
        """Shape of what D judges: one sample, or a pack of them joined along the first dimension."""
        return (self.packing * self.shape[0], *self.shape[1:])


def doublings(side: int) -> tuple[int, int] | None:
    """Split a side into the smallest feature map and the number of doublings.

    Args:
        side: height and width of the image in pixels.

    Returns:
        ``(base, n)`` with ``side == base * 2**n``, base in 4…7 and n ≥ 1; None when the side is no such number.
    """
    base, n = side, 0
    while base > 7 and base % 2 == 0:
        base, n = base // 2, n + 1
    return (base, n) if 4 <= base <= 7 and n > 0 else None
