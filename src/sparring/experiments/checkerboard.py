"""Checkerboards: how evenly upsampling layers write their output (T9).

Odena et al. 2016, Deconvolution and Checkerboard Artifacts, Distill, doi 10.23915/distill.00003.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparring.experiments.finding import Curve, Finding, Heat, Panel
from sparring.randomness import randomness

_SIDE, _CHANNELS, _CROP = 12, 16, 8

Layer = Callable[[Tensor, Tensor], Tensor]
"""``x [B, C, H, W]`` and the kernel's weights ``[C, C', k, k]`` -> an output of twice the side, without its border."""


def transposed(x: Tensor, weight: Tensor) -> Tensor:
    """Return the transposed convolution of stride 2."""
    return _inside(F.conv_transpose2d(x, weight, stride=2))


def resized(x: Tensor, weight: Tensor, mode: str = "nearest") -> Tensor:
    """Return the convolution of the enlarged input: every output pixel is written by the whole kernel."""
    corners = None if mode == "nearest" else False
    return _inside(F.conv2d(F.interpolate(x, scale_factor=2, mode=mode, align_corners=corners), weight.transpose(0, 1)))


def _inside(y: Tensor) -> Tensor:
    """Return the middle, which the border does not reach, and which begins at an even pixel."""
    return y[..., _CROP : _CROP + 8, _CROP : _CROP + 8]


_LAYERS: dict[str, tuple[int, Layer]] = {
    **{f"transposed {k}×{k}": (k, transposed) for k in (2, 3, 4, 5, 6)},
    "nearest + 3×3": (3, resized),
    "bilinear + 3×3": (3, partial(resized, mode="bilinear")),
}


def overlap(kernel: int, stride: int = 2) -> tuple[int, ...]:
    """Return by how many taps of a transposed convolution each output pixel of a period is written, along one side.

    Pixel i gets the taps i, i + s, i + 2s … of the kernel, so all get the same number only if s divides k.

    Args:
        kernel: k, its side.
        stride: s.
    """
    return tuple(len(range(phase, kernel, stride)) for phase in range(stride))


def nyquist(y: Tensor) -> float:
    """Return the share of the power that lies at period 2 along a side: 0 for an even picture, 1 for a checkerboard on 0.

    Args:
        y: ``[..., H, W]``, H and W even.
    """
    power = torch.fft.fft2(y.double()).abs().square()
    middle = y.shape[-1] // 2
    return float(
        (power[..., middle, :].sum() + power[..., :, middle].sum() - power[..., middle, middle].sum()) / power.sum()
    )


def uneven(seed: int = 0, draws: int = 2000) -> Finding:
    """T9: send a constant through one upsampling layer, with equal weights and with untrained ones (doi 10.23915/distill.00003).

    Args:
        seed: of the untrained weights.
        draws: how many untrained layers to average over.
    """
    found = {name: _row(name, randomness(seed, "T9", name), draws) for name in _LAYERS}
    ill = min(found[f"transposed {k}×{k}"].equal for k in (3, 5))
    even = max(found[f"transposed {k}×{k}"].equal for k in (2, 4, 6))
    resize = max(max(row[2:]) for name, row in found.items() if _LAYERS[name][1] is not transposed)
    holds = ill > 0.01 and even < 1e-9 and resize < 1e-9 and _contrasts_fit(found)
    return Finding(
        "T9",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: a 3×3 kernel of stride 2 writes a pixel with 1, 2 or 4 taps, and a constant "
        f"comes out with {found['transposed 3×3'].equal:.0%} of its power at period 2; a 4×4 kernel writes each with 4 and stays "
        f"even for equal weights, but untrained ones still disturb it ({found['transposed 4×4'].untrained:.0%}); resize + "
        "convolution is even for any weights.",
        ("layer", "taps a pixel", "period 2, equal weights", "brightness contrast, untrained", "period 2, untrained"),
        tuple(found.values()),
        (_bars(found), _heat("transposed 3×3", seed), _heat("nearest + 3×3", seed)),
    )  # fmt: skip


class Row(NamedTuple):
    """What was found of a layer: its name, the taps a pixel, and three shares that are 0 where it writes evenly."""

    name: str
    taps: str
    equal: float
    contrast: float
    untrained: float


def _row(name: str, source: torch.Generator, draws: int) -> Row:
    kernel, layer = _LAYERS[name]
    constant = torch.ones(1, _CHANNELS, _SIDE, _SIDE, dtype=torch.float64)
    equal = layer(constant, torch.full((_CHANNELS, 1, kernel, kernel), 0.02, dtype=torch.float64))
    weights = torch.randn(_CHANNELS, draws, kernel, kernel, generator=source, dtype=torch.float64)
    untrained = layer(constant, 0.02 * weights)
    sides = overlap(kernel) if layer is transposed else (kernel,)
    taps = "/".join(str(count) for count in sorted({a * b for a in sides for b in sides}))
    return Row(name, taps, nyquist(equal), contrast(untrained), nyquist(untrained))


def contrast(y: Tensor) -> float:
    """Return (most − least) / (most + least) of the four phases' mean power over many layers, ``y [1, N, H, W]``.

    The output of untrained weights has a variance in proportion to the taps, so this is known: `contrast_of_taps`.
    """
    power = y.square().mean((0, 1))
    phases = torch.stack([power[a::2, b::2].mean() for a in (0, 1) for b in (0, 1)])
    return float((phases.max() - phases.min()) / (phases.max() + phases.min()))


def contrast_of_taps(kernel: int) -> float:
    """Return the contrast that a transposed convolution's overlap causes, (most − least) / (most + least)."""
    least, most = min(overlap(kernel)) ** 2, max(overlap(kernel)) ** 2
    return (most - least) / (most + least)


def _contrasts_fit(found: dict[str, Row]) -> bool:
    """Return whether the untrained layers are as uneven as their overlap says, up to the noise of the draws."""
    layers = ((row, *_LAYERS[row.name]) for row in found.values())
    return all(
        abs(row.contrast - contrast_of_taps(kernel)) < 0.1 for row, kernel, layer in layers if layer is transposed
    )


def _bars(found: dict[str, Row]) -> Panel:
    names = tuple(name.replace("transposed ", "").replace(" + 3×3", "") for name in found)
    places = tuple(float(place) for place in range(len(found)))
    equal = Curve("equal weights", places, tuple(row.equal for row in found.values()), "bars")
    untrained = Curve("untrained weights", places, tuple(row.untrained for row in found.values()), "bars")
    return Panel(
        "Power at period 2 of a constant, sent through", "", "share of all power", (equal, untrained), x_names=names
    )


def _heat(name: str, seed: int) -> Heat:
    """Return a constant after one layer with equal weights."""
    kernel, layer = _LAYERS[name]
    y = torch.ones(1, 1, _SIDE, _SIDE, dtype=torch.float64)
    weight = torch.ones(1, 1, kernel, kernel, dtype=torch.float64)
    rows = layer(y, weight)[0, 0]
    return Heat(f"{name}, a constant", tuple(tuple(map(float, row)) for row in rows))
