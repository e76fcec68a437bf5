"""Shapes, reproducibility and the case study layer for layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparring.errors import UsageError
from sparring.networks import NETWORKS, NetworkSpec, PlayerSpec, build_players
from sparring.networks.spec import doublings
from sparring.summary import summarize

SHAPES = [(2,), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 96, 96)]


def spec(shape: tuple[int, ...], width: int = 8, norm: str = "batch", latent_dim: int = 100) -> NetworkSpec:
    return NetworkSpec(shape, latent_dim, PlayerSpec(width, norm), PlayerSpec(width, norm))


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_ranges_and_gradients(name: str, norm: str, shape: tuple[int, ...]) -> None:
    if NETWORKS[name].unfit(shape):
        with pytest.raises(UsageError, match="--network"):
            build_players(name, spec(shape), source())
        return
    G, D = build_players(name, spec(shape, norm=norm), source())
    x = G(torch.randn(3, 100, generator=source()))
    logits = D(x)
    assert x.shape == (3, *shape)
    assert logits.shape == (3,)
    if len(shape) == 3:
        assert x.abs().max() <= 1
    gradients = torch.autograd.grad(logits.sum(), list(G.parameters()) + list(D.parameters()))
    # a bias that a normalization takes out again has no gradient; everything else must have one
    assert sum(bool(gradient.abs().sum() > 0) for gradient in gradients) >= 0.7 * len(gradients)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_depend_on_the_generator_alone(name: str) -> None:
    torch.manual_seed(1)
    first = build_players(name, spec((1, 28, 28)), source(5))
    torch.manual_seed(2)
    again = build_players(name, spec((1, 28, 28)), source(5))
    other = build_players(name, spec((1, 28, 28)), source(6))
    for player in (0, 1):
        states = [players[player].state_dict() for players in (first, again, other)]
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_case_study_layer_for_layer() -> None:
    """LECTURES N2, with the parameter counts worked out by hand."""
    G, D = build_players("case-study", spec((1, 28, 28), width=64), source())
    g_rows = [(row.name, row.shape, row.parameters) for row in summarize(G, torch.zeros(1, 100))]
    assert g_rows == [
        ("Linear", (6272,), 100 * 6272 + 6272),
        ("Reshape", (128, 7, 7), 0),
        ("ConvTranspose2d", (64, 14, 14), 128 * 64 * 25),
        ("BatchNorm2d", (64, 14, 14), 128),
        ("ReLU", (64, 14, 14), 0),
        ("ConvTranspose2d", (1, 28, 28), 64 * 25 + 1),
        ("Tanh", (1, 28, 28), 0),
    ]
    d_rows = [(row.name, row.shape, row.parameters) for row in summarize(D, torch.zeros(1, 1, 28, 28))]
    assert d_rows == [
        ("Conv2d", (64, 14, 14), 25 * 64 + 64),
        ("LeakyReLU", (64, 14, 14), 0),
        ("Conv2d", (128, 7, 7), 64 * 128 * 25),
        ("BatchNorm2d", (128, 7, 7), 256),
        ("LeakyReLU", (128, 7, 7), 0),
        ("Flatten", (6272,), 0),
        ("Linear", (1,), 6273),
    ]
    slopes = {module.negative_slope for module in D.modules() if isinstance(module, nn.LeakyReLU)}
    assert slopes == {0.2}


def test_dcgan_at_64_is_the_pattern_of_the_paper() -> None:
    G, D = build_players("dcgan", spec((3, 64, 64), width=64), source())
    maps = [row.shape for row in summarize(G, torch.zeros(1, 100)) if row.name in ("Reshape", "ConvTranspose2d")]
    assert maps == [(512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (3, 64, 64)]
    mirror = [row.shape for row in summarize(D, torch.zeros(1, 3, 64, 64)) if row.name == "Conv2d"]
    assert mirror == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    kinds = [row.name for row in summarize(D, torch.zeros(1, 3, 64, 64))]
    assert kinds[:3] == ["Conv2d", "LeakyReLU", "Conv2d"], "no batch norm at D's input"
    assert [row.name for row in summarize(G, torch.zeros(1, 100))][-2:] == ["ConvTranspose2d", "Tanh"]


def test_convolution_flops_are_counted_two_a_multiplication() -> None:
    _, D = build_players("case-study", spec((1, 28, 28), width=64), source())
    rows = summarize(D, torch.zeros(1, 1, 28, 28))
    assert rows[0].flops == 2 * 25 * 64 * 14 * 14
    assert rows[2].flops == 2 * 25 * 64 * 128 * 7 * 7


@pytest.mark.parametrize(
    ("side", "split"),
    [
        (8, (4, 1)),
        (28, (7, 2)),
        (32, (4, 3)),
        (40, (5, 3)),
        (64, (4, 4)),
        (1024, (4, 8)),
        (7, None),
        (30, None),
        (27, None),
    ],
)
def test_doublings(side: int, split: tuple[int, int] | None) -> None:
    assert doublings(side) == split
    if split:
        assert split[0] * 2 ** split[1] == side


@pytest.mark.parametrize("name", NETWORKS)
def test_normalization_is_what_was_asked(name: str) -> None:
    for norm, kind in (("batch", nn.modules.batchnorm._BatchNorm), ("layer", nn.GroupNorm | nn.LayerNorm)):
        for player in build_players(name, spec((1, 28, 28), norm=norm), source()):
            assert any(isinstance(module, kind) for module in player.modules())
    for player in build_players(name, spec((1, 28, 28), norm="none"), source()):
        assert not any(
            isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm)
            for module in player.modules()
        )
