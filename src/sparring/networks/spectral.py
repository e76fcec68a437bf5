"""Spectral normalization: every weight of D divided by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).

``W_SN = W / σ(W)`` (eq. 8), with σ from one step of power iteration in each forward pass (alg. 1). A convolution counts as the
matrix ``[out, in * height * width]``, as in the paper.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import spectral_norm

from sparring.networks.minibatch import MinibatchDiscrimination


def normalize_spectra(D: nn.Module, randomness: torch.Generator) -> None:
    """Put spectral normalization on every dense layer, convolution and minibatch tensor, in place.

    Args:
        D: the network, with its weights drawn.
        randomness: what the first singular vectors are drawn from.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=randomness))
    layers = list(D.modules())  # before it grows
    # The library draws from torch's global generator: it gets a seed of ours for as long, and its own state back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for layer in layers:
            if isinstance(layer, nn.Linear | _ConvNd):
                spectral_norm(layer)
            elif isinstance(layer, MinibatchDiscrimination):
                spectral_norm(layer, "T")
