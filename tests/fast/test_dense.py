"""Dense layers whose units choose: values and derivatives of both orders as float64 has them, on layers that fill no block."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from sparring.fast import dense, plain
from sparring.fast.compiled import library
from sparring.networks.layers import Layers, Maxout

pytestmark = pytest.mark.skipif(
    library(torch.bfloat16) is None, reason="needs a processor with bfloat16 units, and a C compiler"
)

Layer = Callable[[Tensor, Tensor, Tensor], Tensor]

#: name: pieces, ours, torch's
LAYERS: dict[str, tuple[int, Layer, Layer]] = {
    "maxout": (
        3,
        lambda x, w, b: dense.maxout(x, w, b, 3),
        lambda x, w, b: F.linear(x, w, b).view(len(x), 3, -1).amax(1),
    ),
    "relu": (1, dense.relu, lambda x, w, b: F.linear(x, w, b).relu()),
    "linear": (1, dense.linear, F.linear),
}


def given(batch: int, inputs: int, units: int, pieces: int) -> tuple[Tensor, ...]:
    source = torch.Generator().manual_seed(7)
    shapes = (batch, inputs), (pieces * units, inputs), (pieces * units,)
    scales = 1.0, inputs**-0.5, 1.0
    return tuple((c * torch.randn(n, generator=source)).requires_grad_() for n, c in zip(shapes, scales, strict=True))


def wave(like: Tensor) -> Tensor:
    """Fixed numbers to weight a tensor's entries with."""
    return torch.arange(like.numel()).double().add(1).mul(0.7).sin().view_as(like).to(like.dtype)


def derivatives(layer: Layer, x: Tensor, w: Tensor, b: Tensor) -> list[Tensor]:
    """Values, gradients, gradients that can be differentiated, and second derivatives of a sum of those."""
    y = layer(x, w, b)
    straight = torch.autograd.grad(layer(x, w, b), (x, w, b), wave(y))
    first = torch.autograd.grad(y, (x, w, b), wave(y) * y.sin(), create_graph=True)
    second = torch.autograd.grad(sum((wave(g) * g).sum() for g in first), (x, w, b))  # type: ignore[arg-type]
    return [y.detach(), *straight, *(g.detach() for g in first), *second]


def error(found: Tensor, true: Tensor) -> float:
    return float((found.detach().double() - true.detach()).norm() / true.detach().norm())


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sizes", [(64, 96, 64), (37, 45, 50), (16, 2, 33), (70, 70, 1)])
def test_in_two_parts_all_derivatives_are_float64s_to_four_digits(name: str, sizes: tuple[int, int, int]) -> None:
    pieces, ours, theirs = LAYERS[name]
    tensors = given(*sizes, pieces)
    true = derivatives(theirs, *(t.detach().double().requires_grad_() for t in tensors))
    with dense.in_parts(2):
        found = derivatives(ours, *tensors)
    assert max(map(error, found, true)) < 1e-4


@pytest.mark.parametrize("name", LAYERS)
def test_in_one_part_numbers_are_those_of_rounded_factors(name: str) -> None:
    pieces, ours, theirs = LAYERS[name]
    x, w, b = given(48, 64, 40, pieces)
    with dense.in_parts(1):
        y = ours(x, w, b)
    rounded = theirs(x.bfloat16().double(), w.bfloat16().double(), b.double())
    assert y.dtype is torch.float32
    assert error(y, rounded) < 1e-6
    (slopes,) = torch.autograd.grad(y, w, torch.ones_like(y))
    kept = [t.bfloat16().double().requires_grad_() for t in (x, w)]
    (true,) = torch.autograd.grad(theirs(*kept, b.double()), kept[1], torch.ones_like(y).double())
    assert error(slopes, true) < 1e-6


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # torch's own, at its first dual number
@pytest.mark.parametrize("name", LAYERS)
def test_forward_derivatives_by_the_inputs(name: str) -> None:
    pieces, ours, theirs = LAYERS[name]
    x, w, b = (t.detach() for t in given(48, 64, 40, pieces))
    moved = wave(x)
    with dense.in_parts(2), forward_ad.dual_level():
        found = forward_ad.unpack_dual(ours(forward_ad.make_dual(x, moved), w, b)).tangent
    true = torch.func.jvp(lambda x: theirs(x, w.double(), b.double()), (x.double(),), (moved.double(),))[1]
    assert found is not None
    assert error(found, true) < 1e-4


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("sizes", [(64, 2, 50), (33, 8, 40), (21, 3, 16), (40, 12, 50), (19, 50, 9)])
def test_thin_layers_lose_nothing_in_bfloat16(name: str, sizes: tuple[int, int, int]) -> None:
    pieces, ours, theirs = LAYERS[name]
    tensors = given(*sizes, pieces)
    true = derivatives(theirs, *(t.detach().double().requires_grad_() for t in tensors))
    with dense.in_parts(1):
        found = derivatives(ours, *tensors)
    assert max(map(error, found, true)) < (4e-6 if sizes[1] <= 8 else 1e-4)


@pytest.mark.parametrize("units", [1, 2, 8])
def test_points_and_logits_are_float32s(units: int) -> None:
    tensors = given(37, 70, units, 1)
    true = derivatives(F.linear, *(t.detach().double().requires_grad_() for t in tensors))
    with dense.in_parts(1):
        found = derivatives(dense.linear, *tensors)
    assert max(map(error, found, true)) < 4e-6


def test_a_layer_without_biases() -> None:
    x, w, _ = given(40, 33, 20, 3)
    with dense.in_parts(2):
        y = dense.maxout(x, w, None, 3)
    assert error(y, F.linear(x.double(), w.double()).view(40, 3, -1).amax(1)) < 1e-5
    (found,) = torch.autograd.grad(y.sum(), w)
    assert found.shape == w.shape


def test_the_first_of_equal_pieces_gets_the_gradient_and_zero_is_not_positive() -> None:
    x = torch.zeros(16, 4)
    w, b = torch.zeros(6, 4, requires_grad=True), torch.zeros(6, requires_grad=True)
    with dense.in_parts(2):
        (slopes,) = torch.autograd.grad(dense.maxout(x, w, b, 3).sum(), b)
        (none,) = torch.autograd.grad(dense.relu(x, w, b).sum(), b)
    assert slopes.tolist() == [16.0, 16.0, 0.0, 0.0, 0.0, 0.0]
    assert none.tolist() == [0.0] * 6


@pytest.mark.parametrize("row", range(3))
def test_what_is_not_a_number_is_seen(row: int) -> None:
    x, w, b = (t.detach() for t in given(16, 8, 1, 3))
    w[row, 0] = torch.nan
    with dense.in_parts(2):
        assert dense.maxout(x, w, b, 3).isnan().all()
        assert dense.relu(x, w, b)[:, row].isnan().all()


@pytest.mark.parametrize(
    ("name", "sizes"), [("maxout", (130, 70, 40)), ("maxout", (130, 2, 40)), ("linear", (130, 70, 2))]
)
def test_numbers_do_not_depend_on_the_threads(name: str, sizes: tuple[int, int, int]) -> None:
    tensors, threads, found = given(*sizes, LAYERS[name][0]), torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            with dense.in_parts(2):
                found.append(derivatives(LAYERS[name][1], *tensors))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_torch_computes_unless_products_may_be_rounded() -> None:
    x, w, _ = given(64, 40, 40, 1)
    assert not dense.fits(x, w)
    with dense.in_parts(2):
        assert dense.fits(x, w)
        assert not dense.fits(x[:8], w)
        assert not dense.fits(x.double(), w.double())
        with plain():
            assert not dense.fits(x, w)
    with dense.in_parts(1):
        assert dense.fits(x, w)


@pytest.mark.parametrize("activation", [nn.ReLU(), Maxout(4), nn.Tanh()])
@pytest.mark.parametrize("between", [[], [nn.Identity()], [nn.BatchNorm1d(60)]])
def test_layers_take_the_activation_that_comes_next(activation: nn.Module, between: list[nn.Module]) -> None:
    layers = Layers(nn.Linear(30, 60), *between, activation, nn.Linear(15 if isinstance(activation, Maxout) else 60, 5))
    x = torch.randn(32, 30, generator=torch.Generator().manual_seed(0))
    with dense.in_parts(2):
        fast, seen = layers(x), []
        handle = activation.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        watched = layers(x)
        handle.remove()
    torch.testing.assert_close(fast, layers(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(watched, fast, rtol=1e-4, atol=1e-4)
    assert len(seen) == 1
