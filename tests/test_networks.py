"""Shapes, reproducibility and the case study layer for layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from sparring.errors import UsageError
from sparring.networks import NETWORKS, PLAYERS, NetworkSpec, PlayerSpec, build_players, named_players, r3gan
from sparring.networks.likelihood import LikelihoodModel
from sparring.networks.maxout import Maxout
from sparring.networks.spec import doublings
from sparring.networks.virtual import VirtualBatchNorm
from sparring.summary import summarize
from tests.tools import ADVERSARIAL, LIKELIHOOD, awake

SHAPES = [(2,), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 96, 96)]


def spec(shape: tuple[int, ...], width: int = 8, norm: str = "batch", latent_dim: int = 100) -> NetworkSpec:
    return NetworkSpec(shape, latent_dim, PlayerSpec(width, norm), PlayerSpec(width, norm))


def spec_for(name: str, shape: tuple[int, ...], width: int = 8, init_std: float | None = None) -> NetworkSpec:
    """Return what any network can be asked for, with z of a length that it takes."""
    row = NETWORKS[name]
    G, D = PlayerSpec(width, "none", init_std=init_std), PlayerSpec(width, "none", init_std=init_std and init_std / 3)
    return NetworkSpec(shape, 100 if row.latent_dim is None else row.latent_dim(shape), G, D)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_shapes_ranges_and_gradients(name: str, norm: str, shape: tuple[int, ...]) -> None:
    if NETWORKS[name].unfit(shape):
        with pytest.raises(UsageError, match="--network"):
            build_players(name, spec(shape), source())
        return
    G, D = (awake(player) for player in build_players(name, spec(shape, norm=norm), source()))
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


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LIKELIHOOD)
def test_likelihoods_have_a_value_for_each_sample_and_gradients(name: str, shape: tuple[int, ...]) -> None:
    if NETWORKS[name].unfit(shape):
        with pytest.raises(UsageError, match="--network"):
            build_players(name, spec_for(name, shape), source())
        return
    (G,) = build_players(name, spec_for(name, shape), source())
    x = torch.randint(256, (2, *shape), generator=source()) / 127.5 - 1
    parts = G.negative_log_likelihood(x, source())
    assert {part.shape for part in parts.values()} == {(2,)}
    gradients = torch.autograd.grad(sum(part.sum() for part in parts.values()), list(G.parameters()))
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_players_are_those_of_the_game(name: str) -> None:
    row = NETWORKS[name]
    players = named_players(name, spec_for(name, (1, 28, 28)), source())
    assert tuple(players) == row.players == PLAYERS[row.plays]
    assert isinstance(players["G"], LikelihoodModel) == (row.plays == "likelihood")


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_depend_on_the_generator_alone(name: str) -> None:
    torch.manual_seed(1)
    first = build_players(name, spec_for(name, (1, 28, 28)), source(5))
    torch.manual_seed(2)
    again = build_players(name, spec_for(name, (1, 28, 28)), source(5))
    other = build_players(name, spec_for(name, (1, 28, 28)), source(6))
    for player in range(len(first)):
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


def test_r3gan_with_768_channels_is_the_papers_for_cifar_10() -> None:
    """20.7 million parameters a player (arXiv:2501.05441, table 6), and the same maps down as up."""
    G, D = build_players("r3gan", spec((3, 32, 32), width=768, norm="none", latent_dim=64), torch.Generator())
    assert [sum(parameter.numel() for parameter in player.parameters()) // 10**5 for player in (G, D)] == [207, 206]
    small, critic = build_players("r3gan", spec((3, 64, 64), width=16, norm="none"), source())
    up = [row.shape for row in summarize(small, torch.zeros(1, 100)) if row.name == "Twice"]
    down = [row.shape for row in summarize(critic, torch.zeros(1, 3, 64, 64)) if row.name == "AvgPool2d"]
    assert up == [(16, 8, 8), (16, 16, 16), (16, 32, 32), (8, 64, 64)]
    assert down == [(8, 32, 32), (16, 16, 16), (16, 8, 8), (16, 4, 4)]
    grouped = [layer for layer in D.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert {layer.in_channels // layer.groups for layer in grouped} == {16}


def test_r3gan_begins_as_its_skips_whatever_its_depth() -> None:
    for player in build_players("r3gan", spec((1, 28, 28), width=32, norm="none"), source()):
        blocks = [module for module in player.modules() if isinstance(module, r3gan.Block)]
        assert len(blocks) == 6
        x = torch.randn(2, blocks[0].branch[0].in_channels, 7, 7, generator=source())
        for block in blocks:
            assert torch.equal(block(x), x)
            first, middle, _ = (layer.weight for layer in block.branch if isinstance(layer, nn.Conv2d))
            for weight in (first, middle):  # what keeps the second moment, times L^(-1/4)
                std = (2 / 1.04 / weight[0].numel()) ** 0.5 * 6**-0.25
                assert_close(weight.std(), torch.tensor(std), rtol=0.05, atol=0)


def test_r3gans_layers_are_the_convolutions_that_they_stand_for() -> None:
    x = torch.randn(2, 3, 4, 4, generator=source(), dtype=torch.float64, requires_grad=True)
    for layer in (r3gan.Pointwise(3, 5).double(), r3gan.ToMaps(3, 4).double()):
        expected = nn.functional.conv2d(x, layer.weight, layer.bias, groups=layer.groups)
        assert_close(layer(x), expected.view_as(layer(x)))
        assert gradgradcheck(lambda x, layer=layer: layer(x) ** 2, (x,))


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


def test_normalization_of_a_G_that_plays_alone_is_what_was_asked() -> None:
    for norm in NETWORKS["vae"].g_norms:
        (G,) = build_players("vae", spec((1, 28, 28), norm=norm), source())
        found = {type(module) for module in G.modules()} & {nn.BatchNorm2d, nn.GroupNorm}
        assert found == {"batch": {nn.BatchNorm2d}, "layer": {nn.GroupNorm}, "none": set()}[norm]


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_normalization_is_what_was_asked(name: str) -> None:
    for norm, kind in (("batch", nn.modules.batchnorm._BatchNorm), ("layer", nn.GroupNorm | nn.LayerNorm)):
        for player in build_players(name, spec((1, 28, 28), norm=norm), source()):
            assert any(isinstance(module, kind) for module in player.modules())
    G, _ = build_players(name, NetworkSpec((1, 28, 28), 4, PlayerSpec(8, "virtual"), PlayerSpec(8, "none")), source())
    assert any(isinstance(module, VirtualBatchNorm) for module in G.modules())
    for player in build_players(name, spec((1, 28, 28), norm="none"), source()):
        assert not any(
            isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm | VirtualBatchNorm)
            for module in player.modules()
        )


# Maxout.


def test_a_maxout_unit_is_the_largest_of_its_own_pieces() -> None:
    x = torch.tensor([[1.0, -3.0, 5.0, 0.0, -2.0, -1.0]])  # piece by piece, two units each
    assert torch.equal(Maxout(3)(x), torch.tensor([[5.0, 0.0]]))
    x.requires_grad_()
    (slope,) = torch.autograd.grad((Maxout(3)(x) * torch.tensor([2.0, 3.0])).sum(), x)
    assert torch.equal(slope, torch.tensor([[0.0, 0.0, 2.0, 3.0, 0.0, 0.0]]))


def test_maxout_is_torchs_own_maximum_with_its_derivatives() -> None:
    x = torch.randn(7, 15, generator=source(), dtype=torch.float64, requires_grad=True)
    pieces = x.view(7, 5, 3)
    ours, theirs = Maxout(5)(x), pieces.max(1).values
    assert torch.equal(ours, theirs)
    (a,), (b,) = (torch.autograd.grad((y**3).sum(), x, create_graph=True) for y in (ours, theirs))
    assert torch.equal(a, b)
    assert torch.equal(*(torch.autograd.grad(slope.square().sum(), x)[0] for slope in (a, b)))


def test_maxout_differentiates_twice() -> None:
    """In cubes of the units, so that the second derivative is not 0."""
    x = torch.randn(4, 10, generator=source(), dtype=torch.float64, requires_grad=True)

    def cubes(x: Tensor) -> Tensor:
        return Maxout(5)(x) ** 3

    assert gradcheck(cubes, (x,))
    assert gradgradcheck(cubes, (x,))


def test_r1_of_the_maxout_critic_is_exact() -> None:
    """Between its kinks D is linear: the slope at x, by hand from the pieces that win there."""
    given = NetworkSpec((2,), 2, PlayerSpec(4, "none"), PlayerSpec(3, "none"))
    D = build_players("maxout", given, source())[1].double()
    x = torch.randn(6, 2, generator=source(1), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    linear = [module for module in D.modules() if isinstance(module, nn.Linear)]
    expected, weights = [], [layer.weight.detach() for layer in linear]
    for point in x.detach():
        h, jacobian = point, torch.eye(2, dtype=torch.float64)
        for layer in linear[:-1]:
            pieces = layer(h).detach().view(5, 3)
            winners = pieces.argmax(0) * 3 + torch.arange(3)
            h, jacobian = pieces.amax(0), layer.weight.detach()[winners] @ jacobian
        expected.append((weights[-1] @ jacobian)[0])
    assert_close(slope, torch.stack(expected))
    by_weight = torch.autograd.grad(slope.square().sum() / 2, [layer.weight for layer in linear])
    # R1 is of second degree in each weight matrix, so by Euler ⟨W, ∂R1/∂W⟩ = 2 R1
    for layer, derivative in zip(linear, by_weight, strict=True):
        assert_close((layer.weight * derivative).sum(), slope.square().sum())


def test_maxout_units_start_as_large_as_what_they_read() -> None:
    D = build_players("maxout", NetworkSpec((2,), 2, PlayerSpec(8, "none"), PlayerSpec(2000, "none")), source())[1]
    x = torch.randn(100, 2, generator=source(1))
    features: Tensor = D.features(x)  # type: ignore[operator]
    assert_close(features.square().mean(), x.square().mean(), rtol=0.1, atol=0.0)


def test_maxout_units_start_with_edges_all_over_the_plane() -> None:
    """Without biases D(t x) = t D(x), and all edges meet in 0; the papers' own weights, which are small, have none."""
    at = torch.tensor([[1.0, 0.5], [-0.25, 1.0]])
    for init_std, rays_are_straight in ((None, False), (0.02, True)):
        given = NetworkSpec((2,), 2, PlayerSpec(8, "none"), PlayerSpec(50, "none", init_std=init_std))
        features = build_players("maxout", given, source())[1].features
        straight = torch.allclose(features(3 * at), 3 * features(at))  # type: ignore[operator]
        assert straight is rays_are_straight


@pytest.mark.parametrize(("init_std", "std"), [(None, 0.1 / 2**0.5), (0.02, 0.02)])
def test_maxout_G_starts_with_small_weights_on_z_unless_told_otherwise(init_std: float | None, std: float) -> None:
    """So that a step of a bias moves a bend of G far; the layers behind keep the second moment."""
    given = NetworkSpec((2,), 2, PlayerSpec(400, "none", init_std=init_std), PlayerSpec(8, "none"))
    G = build_players("maxout", given, source())[0]
    first, second, *_ = [module.weight for module in G.modules() if isinstance(module, nn.Linear)]
    assert_close(first.std(), torch.tensor(std), rtol=0.1, atol=0.0)
    assert_close(second.std(), torch.tensor(init_std or 400**-0.5), rtol=0.02, atol=0.0)


def test_maxout_players_are_those_of_the_papers_on_mode_collapse() -> None:
    row = NETWORKS["maxout"]
    given = NetworkSpec((2,), 2, PlayerSpec(row.g_width, "batch"), PlayerSpec(row.d_width, row.d_norm))
    G, D = build_players("maxout", given, source())
    sizes = [(module.in_features, module.out_features) for module in G.modules() if isinstance(module, nn.Linear)]
    assert sizes == [(2, 400), (400, 400), (400, 400), (400, 400), (400, 2)]
    assert sum(isinstance(module, nn.BatchNorm1d) for module in G.modules()) == 4
    assert not any(isinstance(module, nn.Tanh) for module in G.modules())
    rows = [(row.name, row.shape, row.parameters) for row in summarize(D, torch.zeros(1, 2))]
    assert [row for row in rows if row[0] in ("Linear", "Maxout")] == [
        ("Linear", (1000,), 2 * 1000 + 1000),
        ("Maxout", (200,), 0),
        ("Linear", (1000,), 200 * 1000 + 1000),
        ("Maxout", (200,), 0),
        ("Linear", (1000,), 200 * 1000 + 1000),
        ("Maxout", (200,), 0),
        ("Linear", (1,), 201),
    ]


def test_the_mlp_has_three_hidden_layers_as_ever() -> None:
    for player in build_players("mlp", spec((2,)), source()):
        assert sum(isinstance(module, nn.Linear) for module in player.modules()) == 4


@pytest.mark.parametrize("network", NETWORKS)
def test_first_weights_have_the_spread_that_was_asked_for(network: str) -> None:
    players = build_players(network, spec_for(network, (1, 28, 28), 64, init_std=0.3), source())
    for player, std in zip(players, (0.3, 0.1), strict=False):
        layers = [
            module for module in player.modules() if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        ]
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        assert_close(weights.std(), torch.tensor(std), rtol=0.03, atol=0)
