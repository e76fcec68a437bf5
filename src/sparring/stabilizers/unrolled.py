"""Unrolled GANs: G plays against the D of a few steps later (Metz et al. 2017, arXiv:1611.02163, eq. 9-12)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparring.stabilizers.hooks import Hooks
from sparring.turns import Batch, Critic


class Unrolled(Hooks):
    """G's turn against ``θ_D^K``, which D would reach in K steps of its own optimizer on this batch (eq. 9).

    The fakes in these steps are G's own, so the gradient of G's loss holds, beside the usual term, what G's move changes in
    D's answer (eq. 12). D's loss on the way is the adversarial one alone. What a normalization or a spectral norm remembers
    stays as it is on the way: the directions of its singular vectors, stale by K steps, make an error of second order only.

    Attributes:
        steps: K; with 0 this is the plain game.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.looks_ahead = steps > 0

    def future(self, D: nn.Module, loss_of: Callable[[Critic], Tensor], batch: Batch) -> Critic:
        """Return D after K steps, as a function of the fakes; D itself, its buffers and its optimizer stay as they are.

        Args:
            D: the discriminator as it is.
            loss_of: a critic -> D's mean loss on this batch, ``[]``, attached to the fakes and so to G.
            batch: its ``ahead`` gives D's optimizer as a function.
        """
        assert batch.ahead is not None, "nobody steps here, so there is no future to look at"
        descend = batch.ahead("D")
        # The networks write to buffers in training mode; D keeps its own.
        buffers = {name: buffer.clone() for name, buffer in D.named_buffers()}
        names = [name for name, _ in D.named_parameters()]
        parameters: list[Tensor] = [parameter.detach().requires_grad_() for parameter in D.parameters()]

        def critic(parameters: list[Tensor]) -> Critic:
            weights = dict(zip(names, parameters, strict=True))
            return lambda x: functional_call(D, (weights, buffers), (x,))

        for _ in range(self.steps):
            loss = loss_of(critic(parameters))
            gradients = torch.autograd.grad(loss, parameters, create_graph=True)
            parameters = descend(parameters, list(gradients))
        return critic(parameters)
