"""Architectures: one a file, its G and D together; this table names them.

To add one, write ``networks/<name>.py`` with a ``Generator`` and a ``Discriminator`` that take a `NetworkSpec` and a
``torch.Generator`` for their first weights, and add its row here. The rows import their file at the first build only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparring.errors import UsageError
from sparring.networks.spec import NetworkSpec, PlayerSpec, doublings
from sparring.tables import Method

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["NETWORKS", "Network", "NetworkSpec", "PlayerSpec", "build_players", "refuse_unfit"]

Players = tuple["nn.Module", "nn.Module"]


def _build_mlp(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks import mlp

    return mlp.Generator(spec, randomness), mlp.Discriminator(spec, randomness)


def _build_maxout(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks import maxout

    return maxout.Generator(spec, randomness), maxout.Discriminator(spec, randomness)


def _build_case_study(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks import case_study

    return case_study.Generator(spec, randomness), case_study.Discriminator(spec, randomness)


def _build_dcgan(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks import dcgan

    return dcgan.Generator(spec, randomness), dcgan.Discriminator(spec, randomness)


def _fits_anything(shape: tuple[int, ...]) -> str | None:
    return None


def _fits_28(shape: tuple[int, ...]) -> str | None:
    return (
        None
        if shape[1:] == (28, 28)
        else "it makes 28×28 images; take another network, or resize them with --resolution 28"
    )


def _fits_doublings(shape: tuple[int, ...]) -> str | None:
    if len(shape) != 3 or shape[1] != shape[2]:
        return "it makes square images; take the network mlp"
    return (
        None if doublings(shape[1]) else "it needs a side of 4…7 times a power of two, such as 32 or 64 (--resolution)"
    )


@dataclass(frozen=True, kw_only=True)
class Network(Method):
    """A row of `NETWORKS`.

    Attributes:
        g_width: width of G where the config names none.
        d_width: width of D where the config names none.
        g_norm: normalization of G where the config names none.
        d_norm: normalization of D where the config names none.
        unfit: shape of a sample -> None, or why the network cannot make it and what to do.
        build: ``(spec, randomness) -> (G, D)``.
    """

    g_width: int
    d_width: int
    g_norm: str
    d_norm: str
    unfit: Callable[[tuple[int, ...]], str | None]
    build: Callable[[NetworkSpec, torch.Generator], Players]


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(
            name="mlp",
            summary="Fully connected, three hidden layers in each player.",
            paper="Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661, §5",
            formula="z → width → width → width → sample;  sample → width → width → width → logit",
            when="For points in the plane, and to see what convolutions are good for.",
            watch="On images: speckles, because no layer knows which pixels are neighbours.",
            g_width=256,
            d_width=256,
            g_norm="none",
            d_norm="none",
            unfit=_fits_anything,
            build=_build_mlp,
        ),
        Network(
            name="maxout",
            summary="Fully connected: four hidden layers in G, three of maxout units in D.",
            paper="Goodfellow et al. 2013, Maxout Networks, arXiv:1302.4389; as in Srivastava et al. 2017, arXiv:1705.07761, "
            "and Lin et al. 2018, arXiv:1712.04086",
            formula="z → 400 → 400 → 400 → 400 → sample;  sample → 3 × max of 5 pieces, 200 units → logit",
            when="To count modes on points as the papers on mode collapse do; they set --g.norm batch.",
            watch="Modes found. D has five times the weights of an mlp of its width, so a step takes longer.",
            g_width=400,
            d_width=200,
            g_norm="none",
            d_norm="none",
            unfit=_fits_anything,
            build=_build_maxout,
        ),
        Network(
            name="case-study",
            summary="The lectures' MNIST case study, layer for layer (width 64).",
            paper="The lectures' case study; after Radford et al. 2015, arXiv:1511.06434",
            formula="z → 7×7×2w → 14×14×w → 28×28×C;  28×28×C → 14×14×w → 7×7×2w → logit  (5×5 kernels)",
            when="For 28×28 images.",
            watch="D wins early on small sets; label smoothing 0.9 is part of the recipe.",
            g_width=64,
            d_width=64,
            g_norm="batch",
            d_norm="batch",
            unfit=_fits_28,
            build=_build_case_study,
        ),
        Network(
            name="dcgan",
            summary="Strided and transposed 4×4 convolutions at any side of 4…7 times a power of two.",
            paper="Radford et al. 2015, Unsupervised Representation Learning with DCGANs, arXiv:1511.06434",
            formula="z → 4×4×8w → 8×8×4w → 16×16×2w → 32×32×w → 64×64×C, and its mirror  (at 64×64)",
            when="For images of your own up to 128×128.",
            watch="With --d.norm batch keep gradient penalties off; with --d.norm none or layer they are welcome.",
            g_width=64,
            d_width=64,
            g_norm="batch",
            d_norm="batch",
            unfit=_fits_doublings,
            build=_build_dcgan,
        ),
    )
}


def build_players(name: str, spec: NetworkSpec, randomness: torch.Generator) -> Players:
    """Build both players with fresh weights.

    Args:
        name: a key of `NETWORKS`.
        spec: shapes and sizes.
        randomness: the source of the first weights: the same state gives the same networks.

    Returns:
        ``(G, D)``, in training mode, on the CPU, float32.

    Raises:
        UsageError: the network cannot make samples of this shape.
    """
    refuse_unfit(name, spec.shape)
    assert spec.d.norm != "virtual", "D gets no reference batch"
    G, D = NETWORKS[name].build(spec, randomness)
    if spec.d.spectral:
        from sparring.networks.spectral import normalize_spectra

        normalize_spectra(D, randomness)
    if spec.g.norm == "virtual":
        from sparring.networks.virtual import with_reference

        G = with_reference(G, spec, randomness)
    return G, D


def refuse_unfit(name: str, shape: tuple[int, ...]) -> None:
    """Check that a network can make samples of a shape.

    Args:
        name: a key of `NETWORKS`.
        shape: shape of one sample.

    Raises:
        UsageError: it cannot; the sentence says what to do.
    """
    reason = NETWORKS[name].unfit(shape)
    if reason is not None:
        raise UsageError(f"--network: '{name}' cannot make samples of shape {'×'.join(map(str, shape))}: {reason}.")
