"""The optimizers as functions: the same steps as torch's own, with the right derivative, and nothing changed on the way."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sparring.config import PlayerConfig
from sparring.optim import build_optimizer, differentiable, laid_out_like, set_schedule

KINDS = {
    "adam": {"betas": (0.5, 0.9)},
    "adam-without-momentum": {"betas": (0.0, 0.99)},
    "rmsprop": {"betas": (0.0, 0.9)},
}
ALL = pytest.mark.parametrize("kind", KINDS)


def randomness(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    source = randomness(seed)
    return [torch.randn(*shape, generator=source, dtype=dtype) for shape in ((2, 3), (4,))]


def optimizer_at_work(
    kind: str, steps: int, dtype: torch.dtype = torch.float64
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Return an optimizer that has made some steps, with what it moves."""
    parameters = [value.requires_grad_() for value in draw(0, dtype)]
    config = PlayerConfig(lr=0.01, optimizer="rmsprop" if kind == "rmsprop" else "adam", **KINDS[kind])
    optimizer = build_optimizer(parameters, config)
    for step in range(steps):
        torch_step(optimizer, parameters, draw(10 + step, dtype))
    return optimizer, parameters


def torch_step(optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: list[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return copy.deepcopy(optimizer.state_dict())


@ALL
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_the_same_steps_as_torch(kind: str, before: int, dtype: torch.dtype, tolerance: float) -> None:
    optimizer, parameters = optimizer_at_work(kind, before, dtype)
    descend, ahead = differentiable(optimizer), [value.detach().clone() for value in parameters]
    for step in range(4):
        gradients = draw(20 + step, dtype)
        ahead = descend(ahead, gradients)
        torch_step(optimizer, parameters, gradients)
        assert_close(ahead, [value.detach() for value in parameters], rtol=tolerance, atol=tolerance)


@ALL
def test_it_follows_the_schedule(kind: str) -> None:
    optimizer, parameters = optimizer_at_work(kind, 3)
    set_schedule(optimizer, lr=0.5, beta2=0.3)
    ahead = differentiable(optimizer)([value.detach().clone() for value in parameters], draw(20))
    torch_step(optimizer, parameters, draw(20))
    assert_close(ahead, [value.detach() for value in parameters], rtol=1e-13, atol=1e-13)


@ALL
@pytest.mark.parametrize("before", [0, 3])
def test_its_derivative_is_that_of_finite_differences(kind: str, before: int) -> None:
    """Two steps, so that the second one's moments depend on the first one's gradients."""
    optimizer, parameters = optimizer_at_work(kind, before)
    values = [value.detach().clone().requires_grad_() for value in parameters]
    slopes = [value.requires_grad_() for value in (*draw(20), *draw(21))]

    def two_steps(*given: Tensor) -> tuple[Tensor, ...]:
        descend = differentiable(optimizer)
        return tuple(descend(descend(list(given[:2]), list(given[2:4])), list(given[4:])))

    assert torch.autograd.gradcheck(two_steps, (*values, *slopes))


@ALL
def test_it_leaves_the_optimizer_equal_to_the_bit_and_starts_from_it_again(kind: str) -> None:
    optimizer, parameters = optimizer_at_work(kind, 3)
    before, weights = state_of(optimizer), [value.detach().clone() for value in parameters]
    first = differentiable(optimizer)(parameters, draw(20))
    descend = differentiable(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(first, descend(parameters, draw(20)), strict=True))
    assert_close(state_of(optimizer), before, rtol=0, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(parameters, weights, strict=True))


@ALL
def test_gradients_of_zero_from_the_start_give_finite_derivatives(kind: str) -> None:
    optimizer, parameters = optimizer_at_work(kind, 0, torch.float32)
    descend = differentiable(optimizer)
    for size in (0.0, 1e-30, 1e-20, 1e-8, 1.0):
        slopes = [torch.full_like(value, size).requires_grad_() for value in parameters]
        ahead = descend([value.detach() for value in parameters], slopes)
        derivatives = torch.autograd.grad(torch.stack([value.sum() for value in ahead]).sum(), slopes)
        assert all(bool(derivative.isfinite().all()) for derivative in derivatives)


def test_layout_is_the_parameter_s_and_values_are_the_gradient_s() -> None:
    parameter, gradient = torch.zeros(2, 3, 4), torch.randn(4, 3, 2, generator=randomness(0)).permute(2, 1, 0)
    laid_out = laid_out_like(gradient, parameter)
    assert laid_out.stride() == parameter.stride() != gradient.stride()
    assert torch.equal(laid_out, gradient)
    assert laid_out_like(laid_out, parameter) is laid_out
