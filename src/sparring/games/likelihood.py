"""The game without an opponent: G alone makes the data likely, by -log p(x) or by an upper bound of it.

Maximum likelihood is what variational autoencoders and fully visible belief networks do (Goodfellow 2016, arXiv:1701.00160,
§2.3), and what the adversarial game does without.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from sparring.games import Batch, Game, Payoff, Turn
from sparring.networks.likelihood import LikelihoodModel


def likelihood_turn(G: LikelihoodModel, batch: Batch) -> Payoff:
    """G makes ``x ~ p_data`` likelier; z has no part in it.

    The terms are in nats per dimension; ``bits_per_dim`` is their sum in bits.
    """
    terms = G.negative_log_likelihood(batch.x_real, batch.source)
    nats = torch.stack([term.detach() for term in terms.values()]).sum(0)
    return Payoff(terms, {"bits_per_dim": nats / math.log(2)})


def likelihood_game(G: nn.Module) -> Game:
    """Set up the game of a single player.

    Args:
        G: a `LikelihoodModel`.

    Returns:
        One turn of G a step.
    """
    assert isinstance(G, LikelihoodModel), type(G).__name__
    turn = Turn("G", partial(likelihood_turn, G), fresh=True)
    return Game(
        players={"G": G},
        turns=lambda clock: (turn,),
        after_turn={},
        memory=nn.ModuleDict(),
        real_batches=1,
        advice="lower --g.lr, or give --g.clip-grad 1",
    )
