"""What stands still while the other side plays, and what never moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparring.config import DiscriminatorConfig
from sparring.players import Player


def test_a_frozen_layer_is_not_moved_and_stays_frozen() -> None:
    network = nn.Sequential(nn.Linear(2, 3).requires_grad_(False), nn.Linear(3, 1))
    player = Player(network, DiscriminatorConfig())
    assert player.parameters == [*network[1].parameters()]
    with player.still():
        assert not any(parameter.requires_grad for parameter in network.parameters())
    assert [parameter.requires_grad for parameter in network.parameters()] == [False, False, True, True]


def test_a_player_that_stands_still_passes_gradients_on_without_taking_any() -> None:
    player = Player(nn.Linear(2, 1), DiscriminatorConfig())
    x = torch.ones(4, 2, requires_grad=True)
    with player.still():
        logits = player.network(x)
    (slope,) = torch.autograd.grad(logits.sum(), x, retain_graph=True)
    assert torch.equal(slope, player.network.weight.expand(4, 2))  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(logits.sum(), player.parameters)
