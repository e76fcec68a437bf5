"""Virtual batch norm is the paper's formula and knows no neighbours; batch norm's momentum is what was asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.testing import assert_close

import sparring
from sparring.ema import Ema
from sparring.generator import generate
from sparring.networks import NetworkSpec, PlayerSpec, build_players
from sparring.networks.layers import normalization
from sparring.networks.virtual import REFERENCE, VirtualBatchNorm
from sparring.randomness import randomness
from tests.tools import ADVERSARIAL, awake, small_config, trainer_for

SHAPES = [(3,), (3, 2, 4)]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=source(seed), dtype=torch.float64)


def build_G(network: str, norm: str = "virtual", prior: str = "normal", seed: int = 0) -> nn.Module:
    spec = NetworkSpec((1, 28, 28), 4, PlayerSpec(4, norm), PlayerSpec(4, "none"), prior=prior)
    return awake(build_players(network, spec, source(seed))[0])


# The layer.


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_papers_formula(shape: tuple[int, ...]) -> None:
    layer, x = VirtualBatchNorm(3, reference=5).double(), 2 * normal(9, *shape) + 1
    space = tuple(range(2, x.dim()))
    reference, samples = x[:5], x[5:]
    mean, square = reference.mean((0, *space)), reference.square().mean((0, *space))
    own_mean = samples.mean(space) if space else samples
    own_square = samples.square().mean(space) if space else samples.square()
    both_mean, both_square = (5 * mean + own_mean) / 6, (5 * square + own_square) / 6

    def normalized(x: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        scale = (square - mean.square() + 1e-5).sqrt()
        shape = (*mean.shape, *[1] * len(space))
        return (x - mean.reshape(shape)) / scale.reshape(shape)

    expected = torch.cat((normalized(reference, mean, square), normalized(samples, both_mean, both_square)))
    assert_close(layer(x), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_reference_is_normalized_as_batch_norm_would(shape: tuple[int, ...]) -> None:
    layer, x = VirtualBatchNorm(3, reference=5).double(), 2 * normal(9, *shape) + 1
    batch_norm = nn.BatchNorm1d(3) if len(shape) == 1 else nn.BatchNorm2d(3)
    assert_close(layer(x)[:5], batch_norm.double()(x[:5]))


def test_scale_and_shift_come_last() -> None:
    layer, x = VirtualBatchNorm(3, reference=5).double(), normal(9, 3, 2, 4)
    plain = layer(x)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0, 4.0]))
        layer.bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    assert_close(layer(x), plain * layer.weight[:, None, None] + layer.bias[:, None, None])


def test_gradients_flow_through_the_reference_too() -> None:
    layer, x = VirtualBatchNorm(2, reference=3).double(), normal(5, 2, 2).requires_grad_()
    assert gradcheck(layer, (x,))
    (slope,) = torch.autograd.grad(layer(x)[3:].square().sum(), x)
    assert slope[:3].abs().min() > 0


def test_it_loses_no_digits_far_from_zero() -> None:
    """A mean of squares less a squared mean would: both are 10⁸ here, and float32 has seven digits."""
    x = 1e4 + normal(70, 3, 4, 4)
    layer = VirtualBatchNorm(3)
    x = x.float()
    assert_close(layer(x).double(), layer.double()(x.double()), atol=2e-3, rtol=0)


def test_bfloat16_comes_back_as_it_came() -> None:
    layer, x = VirtualBatchNorm(3), normal(70, 3, 4, 4).bfloat16()
    assert layer(x).dtype == torch.bfloat16
    assert_close(layer(x), layer(x.float()).bfloat16())


# The generator.


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("network", ADVERSARIAL)
def test_a_sample_does_not_depend_on_its_neighbours(network: str, training: bool) -> None:
    z = torch.randn(6, 4, generator=source(1))
    other = torch.cat((z[:1], 10 * torch.randn(2, 4, generator=source(2))))
    G = build_G(network).train(training)
    x = G(z)
    assert x.shape == (6, 1, 28, 28)
    for count in (1, 3):
        assert_close(G(z[:count]), x[:count], atol=1e-5, rtol=1e-5)
    assert_close(G(other)[0], x[0], atol=1e-5, rtol=1e-5)
    assert (x[0] - x[1]).abs().max() > 1e-4
    assert (G(z + 1)[0] - x[0]).abs().max() > 1e-4, "the sample is that of z, not of the reference"
    mixing = build_G(network, "batch").train()
    assert (mixing(z)[0] - mixing(other)[0]).abs().max() > 1e-4


@pytest.mark.parametrize("network", ADVERSARIAL)
def test_training_and_evaluation_are_the_same(network: str) -> None:
    G, z = build_G(network), torch.randn(3, 4, generator=source(1))
    before = {name: value.clone() for name, value in G.state_dict().items()}
    assert torch.equal(G.train()(z), G.eval()(z))
    assert all(torch.equal(before[name], value) for name, value in G.state_dict().items())


@pytest.mark.parametrize("network", ADVERSARIAL)
def test_the_reference_is_drawn_after_all_weights(network: str) -> None:
    virtual, layer = build_G(network).state_dict(), build_G(network, "layer").state_dict()
    ours = {name.removeprefix("network."): value for name, value in virtual.items()}
    for name, weight in layer.items():
        assert torch.equal(ours[name], weight), name
    assert not torch.equal(ours["reference"], build_G(network, seed=1).state_dict()["reference"])
    assert torch.equal(ours["reference"], build_G(network).state_dict()["reference"])


def test_the_reference_comes_from_the_prior() -> None:
    for prior, most in (("normal", 4.5), ("uniform", 1.0)):
        reference = build_G("mlp", prior=prior).get_buffer("reference")
        assert reference.shape == (REFERENCE, 4)
        assert most / 2 < reference.abs().max() <= most


@pytest.mark.parametrize("half_life", [0, 1, 100, 10_000])
def test_the_averaged_twin_keeps_the_reference_to_the_bit(half_life: int) -> None:
    G = build_G("mlp")
    ema, reference = Ema(G, half_life), G.get_buffer("reference").clone()
    for step in range(1, 5):
        with torch.no_grad():
            for parameter in G.parameters():
                parameter.add_(0.1)
        ema.update(G, 1000 * step, 64)
        assert torch.equal(ema.network.get_buffer("reference"), reference)
    first = "network.layers.0.weight"
    assert not torch.equal(ema.network.get_parameter(first), build_G("mlp").get_parameter(first))


def test_turns_train_G_and_leave_the_reference(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", g={"norm": "virtual"})
    G = trainer.players["G"].network
    before = {name: value.clone() for name, value in G.state_dict().items()}
    for _ in range(3):
        trainer.play_step()
    moved = {name for name, value in G.state_dict().items() if not torch.equal(before[name], value)}
    # a bias before a normalization that takes the mean out has no gradient but rounding
    assert "reference" not in moved
    assert {name for name in before if name.endswith("weight")} <= moved


def test_one_sample_alone_equals_itself_in_a_batch_after_training(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", g={"norm": "virtual"}, steps=3)
    trainer.train()
    run = trainer.run
    gan = sparring.load(run.path)
    together = gan.sample(20)
    scale = together.abs().max()
    for index in (0, 7, 19):
        alone = generate(gan.network, gan.config, 0, index, 1, torch.device("cpu"), gan._scale)
        assert_close(alone[0] / scale, together[index] / scale, atol=1e-5, rtol=1e-5)


def test_D_gets_no_reference() -> None:
    spec = NetworkSpec((2,), 2, PlayerSpec(4, "none"), PlayerSpec(4, "virtual"))
    with pytest.raises(AssertionError, match="D gets no reference batch"):
        build_players("mlp", spec, randomness(0))


# The momentum of batch norm.


@pytest.mark.parametrize("flat", [True, False])
def test_keras_momentum_of_0_8_is_0_2_here(flat: bool) -> None:
    """Keras: running ← 0.8 running + 0.2 batch, from mean 0 and variance 1."""
    norm = normalization(PlayerSpec(4, "batch", momentum=1 - 0.8), 3, flat=flat).double()
    x = normal(8, 3) * 2 + 1 if flat else normal(8, 3, 2, 2) * 2 + 1
    norm(x)
    values = x.transpose(0, 1).flatten(1)
    assert_close(norm.running_mean, 0.2 * values.mean(1))
    assert_close(norm.running_var, 0.8 + 0.2 * values.var(1))


def test_the_flag_is_each_players_own() -> None:
    settings = {"g": {"norm": "batch", "norm_momentum": 0.2}, "d": {"norm": "batch", "norm_momentum": 0.3}}
    players = build_players("mlp", small_config("ring", **settings).network_spec((2,)), source())
    for player, momentum in zip(players, (0.2, 0.3), strict=True):
        assert {module.momentum for module in player.modules() if isinstance(module, nn.BatchNorm1d)} == {momentum}
