"""Normalization and activation in one: torch's own two in a row, their gradients, and gradients of gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sparring.fast import leaky, plain
from sparring.fast.compiled import library
from sparring.networks.layers import Layers

pytestmark = pytest.mark.skipif(
    library(torch.bfloat16) is None, reason="needs a processor with bfloat16 units, and a C compiler"
)
HALF, SINGLE = torch.bfloat16, torch.float32

SHAPES = [(16, 64, 14, 14), (33, 128, 7, 7), (3, 48, 5, 6)]


def maps(*shape: int, seed: int = 1, mean: float = 3.0, dtype: torch.dtype = HALF) -> Tensor:
    x = mean + 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(channels: int) -> nn.BatchNorm2d:
    source, norm = torch.Generator().manual_seed(7), nn.BatchNorm2d(channels, momentum=0.3)
    nn.init.uniform_(norm.weight, 0.5, 1.5, generator=source)
    nn.init.normal_(norm.bias, generator=source)
    return norm


def distance(ours: Tensor, truth: Tensor) -> float:
    assert ours.shape == truth.shape
    ours, truth = ours.detach().double(), truth.detach().double()
    return float((ours - truth).norm() / truth.norm())


@pytest.mark.parametrize(("dtype", "most"), [(HALF, 2e-3), (SINGLE, 1e-6)], ids=["bf16", "fp32"])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_equals_float64(shape: tuple[int, int, int, int], slope: float, dtype: torch.dtype, most: float) -> None:
    norm = norm_of(shape[1])
    twin = copy.deepcopy(norm).double()
    x, dy = maps(*shape, dtype=dtype).requires_grad_(), maps(*shape, seed=2, mean=0.0, dtype=dtype)
    exact = x.detach().double().requires_grad_()
    assert leaky.fits_norm(x, norm)
    y, truth = leaky.leaky_batch_norm(x, norm, slope), nn.functional.leaky_relu(twin(exact), slope)
    assert distance(y, truth) < most
    ours = torch.autograd.grad(y, (x, norm.weight, norm.bias), dy)
    theirs = torch.autograd.grad(truth, (exact, twin.weight, twin.bias), dy.double())
    for mine, other, limit in zip(ours, theirs, (most, 1e-5, 1e-5), strict=True):
        assert distance(mine, other) < limit
    assert distance(norm.running_mean, twin.running_mean) < 1e-6
    assert distance(norm.running_var, twin.running_var) < 1e-6
    assert norm.num_batches_tracked == 1


def test_a_small_variance_beside_a_large_mean_is_not_lost() -> None:
    x = (1024 + 4 * torch.randint(-1, 2, (64, 16, 8, 8))).bfloat16().contiguous(memory_format=torch.channels_last)
    norm = nn.BatchNorm2d(16)
    y = leaky.leaky_batch_norm(x, norm, 1.0)
    assert distance(y, nn.BatchNorm2d(16).double()(x.double())) < 3e-3


def test_statistics_that_are_not_tracked_do_not_move() -> None:
    norm = norm_of(64)
    norm.track_running_stats = False
    leaky.leaky_batch_norm(maps(*SHAPES[0]), norm, 0.2)
    assert torch.equal(norm.running_mean, torch.zeros(64))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("dtype", [HALF, SINGLE], ids=["bf16", "fp32"])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_an_activation_overwrites_and_its_gradient_is_torchs(slope: float, dtype: torch.dtype) -> None:
    x, dy = maps(8, 32, 4, 4, mean=0.0, dtype=dtype).requires_grad_(), maps(8, 32, 4, 4, seed=3, dtype=dtype)
    given = x + 0.0
    assert leaky.fits(given)
    y, truth = leaky.leaky_relu(given, slope), nn.functional.leaky_relu(x, slope)
    assert y.data_ptr() == given.data_ptr()
    assert torch.equal(y, truth)
    assert torch.equal(torch.autograd.grad(y, x, dy)[0], torch.autograd.grad(truth, x, dy)[0])


def test_a_gradient_of_a_gradient_is_torchs() -> None:
    shape = SHAPES[2]
    found = []
    for ours in (True, False):
        norm, x = norm_of(shape[1]), maps(*shape).requires_grad_()
        if ours:
            y = leaky.leaky_relu(leaky.leaky_batch_norm(x, norm, 0.5) + 0.1, 0.2)
        else:
            y = nn.functional.leaky_relu(nn.functional.leaky_relu(norm(x.float()), 0.5) + 0.1, 0.2)
        (slope,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.float().square().sum(), (x, norm.weight)))
    for mine, other in zip(*found, strict=True):
        assert distance(mine, other) < 0.02


def network() -> Layers:
    torch.manual_seed(3)
    return Layers(
        nn.Conv2d(32, 32, 3), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(32, 64, 3), norm_of(64), nn.ReLU(inplace=True)
    )


def test_layers_are_the_same_network_and_plain_brings_torch_back() -> None:
    x, layers = maps(4, 32, 8, 8, mean=0.0), network()
    twin = nn.Sequential(*copy.deepcopy(layers))
    with torch.autocast("cpu", torch.bfloat16):
        fused = layers(x)
        with plain():
            assert torch.equal(copy.deepcopy(layers).train()(x), twin(x))
    assert distance(fused, twin(x.float())) < 0.01
    assert distance(network()(x.float()), twin(x.float())) < 1e-6


def test_a_layer_that_is_watched_is_called() -> None:
    layers, seen = network(), []
    for layer in layers:
        layer.register_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    with torch.autocast("cpu", torch.bfloat16):
        layers(maps(4, 32, 8, 8, mean=0.0))
    assert seen == ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm2d", "ReLU"]


def test_what_does_not_fit_is_left_to_torch() -> None:
    norm = norm_of(64)
    x = maps(*SHAPES[0])
    assert not leaky.fits_norm(x.double(), norm)
    assert not leaky.fits_norm(x, norm.eval())
    assert not leaky.fits_norm(maps(4, 40, 3, 3), norm_of(40)), "40 channels fill no lanes"
    assert not leaky.fits(x[:, :, ::2])
    with plain():
        assert not leaky.fits(x)
