"""Differentiable augmentation: D judges changed copies of real and fake alike, so that it cannot learn few images by heart.

Because G's samples go through the same changes and gradients flow back through them, G learns the distribution of the data and
not that of the changes (Zhao et al. 2020, arXiv:2006.10738). To add an augmentation, write its function and its row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparring._lazy import LazyModule
from sparring.tables import Method

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import Tensor
else:
    torch = LazyModule("torch")
    F = LazyModule("torch.nn.functional")

#: The published policy moves by up to an eighth of the side and covers a square of half the side.
_SHIFT = 0.125
_HOLE = 0.5

AugmentationFunction = Callable[["Tensor", "torch.Generator"], "Tensor"]


def _uniform(x: Tensor, source: torch.Generator, *shape: int) -> Tensor:
    """Draw one random tensor a sample, ``[B, *shape]`` in [0, 1), where x lives."""
    return torch.rand(len(x), *shape, generator=source).to(x.device)


def translation(x: Tensor, source: torch.Generator) -> Tensor:
    """Move every sample by up to an eighth of its side in each direction; what comes in is mid-grey, 0.

    Args:
        x: ``[B, C, H, W]`` in [-1, 1].
        source: the randomness.

    Returns:
        ``[B, C, H, W]``, differentiable in x.
    """
    _, _, height, width = x.shape
    reach = (round(_SHIFT * height), round(_SHIFT * width))
    moves = [(_uniform(x, source, 1) * (2 * most + 1)).long() for most in reach]
    rows = torch.arange(height, device=x.device) + moves[0]
    columns = torch.arange(width, device=x.device) + moves[1]
    padded = F.pad(x, (reach[1], reach[1], reach[0], reach[0]))
    samples = torch.arange(len(x), device=x.device)
    # Indexing by (sample, row, column) puts the channels last.
    return padded.permute(0, 2, 3, 1)[samples[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, source: torch.Generator) -> Tensor:
    """Cover a square of half the side of every sample, anywhere, with mid-grey, 0.

    Args:
        x: ``[B, C, H, W]`` in [-1, 1].
        source: the randomness.

    Returns:
        ``[B, C, H, W]``, differentiable in x.
    """
    inside = []
    for side in x.shape[2:]:
        centre = (_uniform(x, source, 1) * (side + 1)).floor()
        inside.append((torch.arange(side, device=x.device) - centre + _HOLE * side / 2).div(_HOLE * side).floor() == 0)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return x.masked_fill(hole, 0.0)


def color(x: Tensor, source: torch.Generator) -> Tensor:
    """Change brightness, saturation and contrast of every sample.

    Args:
        x: ``[B, C, H, W]`` in [-1, 1].
        source: the randomness.

    Returns:
        ``[B, C, H, W]``, differentiable in x; may leave [-1, 1].
    """
    brightness, saturation, contrast = (_uniform(x, source, 1, 1, 1) for _ in range(3))
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * saturation) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


@dataclass(frozen=True, kw_only=True)
class Augmentation(Method):
    """A row of `AUGMENTATIONS`.

    Attributes:
        function: ``(x [B, C, H, W], source) -> [B, C, H, W]``.
    """

    function: AugmentationFunction


_ZHAO = "Zhao et al. 2020, Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738"

AUGMENTATIONS: dict[str, Augmentation] = {
    row.name: row
    for row in (
        Augmentation(
            name="translation",
            summary="Moves samples by up to an eighth of their side.",
            paper=_ZHAO,
            formula="x(i, j) → x(i + a, j + b),  a, b ~ U{-s/8, …, s/8}",
            when="With fewer than some tens of thousands of images: D(x) → 1 and accuracy → 100 % are the sign.",
            watch="D's accuracy should fall from 100 %; samples that are off-centre mean that it leaks.",
            function=translation,
        ),
        Augmentation(
            name="cutout",
            summary="Covers a square of half the side.",
            paper=_ZHAO,
            formula="x(i, j) → 0 inside a square of side s/2 at a random place",
            when="With very few images, beside translation.",
            watch="Grey squares in the samples mean that it leaks: leave it out.",
            function=cutout,
        ),
        Augmentation(
            name="color",
            summary="Changes brightness, saturation and contrast.",
            paper=_ZHAO,
            formula="brightness + U(-½, ½), saturation · U(0, 2), contrast · U(½, 3/2)",
            when="With very few colour photographs, beside translation.",
            watch="Washed-out samples mean that it leaks: leave it out.",
            function=color,
        ),
    )
}


def augmented(x: Tensor, names: tuple[str, ...], source: torch.Generator) -> Tensor:
    """Return augmented samples.

    Args:
        x: ``[B, C, H, W]`` in [-1, 1].
        names: keys of `AUGMENTATIONS`, applied in this order; none leaves x as it is.
        source: the randomness; every call draws anew.

    Returns:
        ``[B, C, H, W]``, differentiable in x.
    """
    for name in names:
        x = AUGMENTATIONS[name].function(x, source)
    return x
