"""The players' optimizers: built from the config, and as functions that autograd can see through."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.config import PlayerConfig
from sparring.turns import Descent


def build_optimizer(parameters: list[Tensor], config: PlayerConfig) -> torch.optim.Optimizer:
    """Return a player's optimizer.

    Args:
        parameters: what it moves.
        config: optimizer, learning rate and betas are read.
    """
    if config.optimizer == "adam":
        if parameters[0].is_cuda:  # a rate that lies there too can change under a recording of steps
            lr = torch.tensor(config.lr, device=parameters[0].device)
            return torch.optim.Adam(parameters, lr=lr, betas=config.betas, fused=True, capturable=True)
        return torch.optim.Adam(parameters, lr=config.lr, betas=config.betas, fused=True)
    return torch.optim.RMSprop(parameters, lr=config.lr, alpha=config.betas[1])


def set_schedule(optimizer: torch.optim.Optimizer, lr: float, beta2: float) -> None:
    """Give an optimizer its learning rate and β2 of this step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
        if "betas" in group:
            group["betas"] = (group["betas"][0], beta2)
        else:
            group["alpha"] = beta2


def step_unless(lost: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Make a step, or none if ``lost``: then parameters and moments stay equal to the bit.

    Args:
        lost: ``[]``, bool. The fused Adam of processors and CUDA reads it where it lies; for others the host waits.
        optimizer: as `build_optimizer` makes it.
    """
    if isinstance(optimizer, torch.optim.Adam) and lost.device.type in ("cpu", "cuda"):
        optimizer.found_inf = lost.float()  # type: ignore[attr-defined]  # what a gradient scaler tells a fused step
        optimizer.step()
    elif not lost:
        optimizer.step()


def laid_out_like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return the gradient with its parameter's strides.

    The second derivative of a convolution comes out with its axes in another order in memory, and the fused Adam of
    torch 2.13 reads memory as it lies: without this it would move the wrong weights.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def differentiable(optimizer: torch.optim.Optimizer) -> Descent:
    """Return the optimizer as a function, from a copy of its state, which every call moves on.

    Args:
        optimizer: `torch.optim.Adam` or `torch.optim.RMSprop` as `build_optimizer` makes it; it is left as it is.

    Returns:
        ``(parameters, gradients) -> parameters``, differentiable in both.
    """
    group = optimizer.param_groups[0]
    return _Adam(optimizer) if "betas" in group else _RMSprop(optimizer)


def _moments(optimizer: torch.optim.Optimizer, name: str) -> list[Tensor]:
    """Return one moment of every parameter, zeros where the optimizer has not stepped yet."""
    parameters = optimizer.param_groups[0]["params"]
    return [optimizer.state[p][name].clone() if p in optimizer.state else torch.zeros_like(p) for p in parameters]


class _Adam:
    """Adam (arXiv:1412.6980, alg. 1)."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        group = optimizer.param_groups[0]
        self.lr, self.epsilon, (self.beta1, self.beta2) = group["lr"], group["eps"], group["betas"]
        self.m, self.v = _moments(optimizer, "exp_avg"), _moments(optimizer, "exp_avg_sq")
        steps = [float(state["step"]) for state in optimizer.state.values()]
        self.t = int(steps[0]) if steps else 0

    def __call__(self, parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        self.t += 1
        self.m = [self.beta1 * m + (1 - self.beta1) * g for m, g in zip(self.m, gradients, strict=True)]
        self.v = [self.beta2 * v + (1 - self.beta2) * g * g for v, g in zip(self.v, gradients, strict=True)]
        rate, correction = self.lr / (1 - self.beta1**self.t), 1 - self.beta2**self.t
        return [
            p - rate * m / (_root(v / correction) + self.epsilon)
            for p, m, v in zip(parameters, self.m, self.v, strict=True)
        ]


class _RMSprop:
    """RMSprop as in torch: ε is added after the root."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        group = optimizer.param_groups[0]
        self.lr, self.epsilon, self.alpha = group["lr"], group["eps"], group["alpha"]
        self.v = _moments(optimizer, "square_avg")

    def __call__(self, parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        self.v = [self.alpha * v + (1 - self.alpha) * g * g for v, g in zip(self.v, gradients, strict=True)]
        return [
            p - self.lr * g / (_root(v) + self.epsilon) for p, g, v in zip(parameters, gradients, self.v, strict=True)
        ]


def _root(v: Tensor) -> Tensor:
    """Return √v, with derivative 0 where v is below the smallest normal number: at 0 the root has none."""
    return v.clamp_min(torch.finfo(v.dtype).tiny).sqrt()
