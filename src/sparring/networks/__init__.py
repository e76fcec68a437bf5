"""Architectures: one a file, its G and D together; this table names them.

To add one, write ``networks/<name>.py`` with a ``Generator`` and a ``Discriminator`` that take a `NetworkSpec` and a
``torch.Generator`` for their first weights, and add its row here. The rows import their file at the first build only.

A row whose network plays ``"likelihood"`` has a G alone, a `sparring.networks.likelihood.LikelihoodModel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sparring.errors import UsageError
from sparring.networks.spec import NetworkSpec, PlayerSpec, doublings
from sparring.tables import Method

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "NETWORKS",
    "PLAYERS",
    "Network",
    "NetworkSpec",
    "PlayerSpec",
    "build_players",
    "named_players",
    "refuse_latent_dim",
    "refuse_unfit",
]

Players = tuple["nn.Module", ...]

#: The players of each game, in the order in which a row builds them.
PLAYERS = {"adversarial": ("G", "D"), "likelihood": ("G",)}
_LONGEST_Z = 4096


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


def _build_r3gan(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks import r3gan

    return r3gan.Generator(spec, randomness), r3gan.Discriminator(spec, randomness)


def _build_vae(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks.vae import VariationalAutoencoder

    return (VariationalAutoencoder(spec, randomness),)


def _build_pixelcnn(spec: NetworkSpec, randomness: torch.Generator) -> Players:
    from sparring.networks.pixelcnn import PixelCNN

    return (PixelCNN(spec, randomness),)


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
        return "it makes square images; give --network mlp"
    return (
        None if doublings(shape[1]) else "it needs a side of 4…7 times a power of two, such as 32 or 64 (--resolution)"
    )


def _fits_pixel_by_pixel(shape: tuple[int, ...]) -> str | None:
    if len(shape) != 3:
        return "it makes images of 256 levels, not points; give --network mlp"
    values = math.prod(shape)
    if values > _LONGEST_Z:
        return f"z has a number for each of its {values} values, and at most {_LONGEST_Z}; make them smaller (--resolution 32)"
    return None


@dataclass(frozen=True, kw_only=True)
class Network(Method):
    """A row of `NETWORKS`.

    Attributes:
        plays: the game: ``"adversarial"`` of G and D, or ``"likelihood"`` of G alone.
        g_width: width of G where the config names none.
        d_width: width of D where the config names none; 0 where there is no D.
        g_norm: normalization of G where the config names none.
        d_norm: normalization of D where the config names none.
        g_norms: normalizations that G can have.
        prior: the only prior that z can have; None where any will do.
        latent_dim: shape of a sample -> the length of z; None where any length will do.
        unfit: shape of a sample -> None, or why the network cannot make it and what to do.
        build: ``(spec, randomness) -> (G, D)``, or ``(G,)`` where there is no D.
        fast: what `sparring.fast` computes of it on a processor: ``"convolutions"``, ``"dense"`` layers, or nothing.
    """

    plays: Literal["adversarial", "likelihood"] = "adversarial"
    g_width: int
    d_width: int = 0
    g_norm: str
    d_norm: str = "none"
    g_norms: tuple[str, ...] = ("batch", "layer", "virtual", "none")
    prior: str | None = None
    latent_dim: Callable[[tuple[int, ...]], int] | None = None
    unfit: Callable[[tuple[int, ...]], str | None]
    build: Callable[[NetworkSpec, torch.Generator], Players]
    fast: Literal["convolutions", "dense", ""] = ""

    @property
    def players(self) -> tuple[str, ...]:
        """The names of the players, in the order in which they are built."""
        return PLAYERS[self.plays]


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
            fast="dense",
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
            fast="convolutions",
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
            fast="convolutions",
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
        Network(
            name="r3gan",
            fast="convolutions",
            summary="Residual blocks of grouped convolutions, bilinear resampling, no normalization.",
            paper="Huang et al. 2025, The GAN is dead; long live the GAN! A Modern Baseline GAN, arXiv:2501.05441; "
            "first weights after Zhang et al. 2019 (Fixup), arXiv:1901.09321",
            formula="x + 1×1(LeakyReLU(3×3 in groups(LeakyReLU(1×1(x))))), two at every side;  z → 4×4 → 8×8 → … → image, and "
            "its mirror",
            when="For images of your own where there is a GPU: deeper than dcgan, and steady with r1 and r2 (--preset modern).",
            watch="The paper's CIFAR-10 has width 768. On a processor a step takes many times dcgan's, even at 64: grouped "
            "convolutions leave its units idle. Normalization and these first weights replace each other: keep --g.norm none.",
            g_width=64,
            d_width=64,
            g_norm="none",
            d_norm="none",
            unfit=_fits_doublings,
            build=_build_r3gan,
        ),
        Network(
            name="vae",
            fast="convolutions",
            summary="A variational autoencoder on DCGAN's convolutions: G alone, with an encoder, and no D.",
            paper="Kingma and Welling 2013, Auto-Encoding Variational Bayes, arXiv:1312.6114; "
            "the learnt scale as in Rybkin et al. 2020, arXiv:2006.13202",
            formula="-log p(x) ≤ E_q(z|x)[-log p(x|z)] + KL(q(z|x) ‖ N(0, I)),  p(x|z) = discretized logistic(decoder(z), s)",
            when="For contrast with a GAN on the same data: even training and no lost classes, but soft samples.",
            watch="Its bits per dimension are an upper bound: minus the evidence lower bound. A KL that falls to 0 means that z "
            "is not used. Samples are means of p(x|z), so they are smooth.",
            plays="likelihood",
            g_width=32,
            g_norm="batch",
            g_norms=("batch", "layer", "none"),
            prior="normal",
            unfit=_fits_doublings,
            build=_build_vae,
        ),
        Network(
            name="pixelcnn",
            summary="A fully visible belief network: each pixel from those before it. G alone, and no D.",
            paper="van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, arXiv:1606.05328; "
            "the mixtures as in Salimans et al. 2017 (PixelCNN++), arXiv:1701.05517",
            formula="p(x) = Π p(x_i | x_<i),  p(x_i | x_<i) = Σ_k π_k discretized logistic(μ_k, s_k),  "
            "x_i = F_i^-1((z_i + 1) / 2)",
            when="For contrast with a GAN on the same data: an exact likelihood, but samples drawn one pixel after another.",
            watch="Bits per dimension, which are exact. They say little about how samples look: strokes are sound long before "
            "shapes are.",
            plays="likelihood",
            g_width=32,
            g_norm="none",
            g_norms=("none",),
            prior="uniform",
            latent_dim=math.prod,
            unfit=_fits_pixel_by_pixel,
            build=_build_pixelcnn,
        ),
    )
}


def build_players(name: str, spec: NetworkSpec, randomness: torch.Generator) -> Players:
    """Build the players with fresh weights.

    Args:
        name: a key of `NETWORKS`.
        spec: shapes and sizes.
        randomness: the source of the first weights: the same state gives the same networks.

    Returns:
        ``(G, D)``, or ``(G,)`` where there is no D; in training mode, on the CPU, float32.

    Raises:
        UsageError: the network cannot make samples of this shape, or not from a z of this length.
    """
    return tuple(named_players(name, spec, randomness).values())


def named_players(name: str, spec: NetworkSpec, randomness: torch.Generator) -> dict[str, nn.Module]:
    """Build the players as `build_players` does, and return them by name, ``"G"`` first."""
    refuse_unfit(name, spec.shape)
    refuse_latent_dim(name, spec.shape, spec.latent_dim)
    assert spec.d.norm != "virtual", "D gets no reference batch"
    row = NETWORKS[name]
    players = dict(zip(row.players, row.build(spec, randomness), strict=True))
    if spec.d.spectral:
        from sparring.networks.spectral import normalize_spectra

        normalize_spectra(players["D"], randomness)
    if spec.g.norm == "virtual":
        from sparring.networks.virtual import with_reference

        players["G"] = with_reference(players["G"], spec, randomness)
    return players


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


def refuse_latent_dim(name: str, shape: tuple[int, ...], latent_dim: int) -> None:
    """Check that a network can make samples of a shape from a z of some length.

    Args:
        name: a key of `NETWORKS`.
        shape: shape of one sample.
        latent_dim: length of z.

    Raises:
        UsageError: the shape decides the length, and it is another one.
    """
    row = NETWORKS[name]
    if row.latent_dim is not None and row.latent_dim(shape) != latent_dim:
        raise UsageError(
            f"--latent-dim {latent_dim}: the network '{name}' has one number of z for each value of a "
            f"{'×'.join(map(str, shape))} sample; give --latent-dim {row.latent_dim(shape)}."
        )
