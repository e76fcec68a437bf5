"""Recipes: each function returns a complete config, and its docstring has the command and the number to expect.

A preset bundles loss, penalties, schedule, optimizers and networks, because these only work together. To add one, write its
function and its row of `PRESETS` here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparring.config import BurnInConfig, DiscriminatorConfig, GeneratorConfig, TrainConfig


def dcgan32(data: str) -> TrainConfig:
    """A small DCGAN with lazy R1 at 32×32 that is done in minutes on two cores.

    ``sparring train digits`` takes two minutes on two cores with matrix units and reaches FD 3.4 and class KL 0.01 with seed 0,
    where real images score 0.4 and 0.005.
    """
    return TrainConfig(
        data=data,
        preset="dcgan32",
        resolution=32,
        network="dcgan",
        loss="non-saturating",
        penalty=("r1:0.05",),
        penalty_every=4,
        real_label=0.9,
        g=GeneratorConfig(lr=1e-3, width=32, ema_half_life=10_000),
        d=DiscriminatorConfig(lr=1e-3, width=32),
        batch_size=64,
        images=160_000,
        sample_every=250,
        eval_every=500,
        checkpoint_every=1000,
    )


def mnist_fast(data: str) -> TrainConfig:
    """The shortest way to good digits: `dcgan32` at twice its rates, which fall early, in a minute on two cores.

    ``sparring train mnist --preset mnist-fast`` reaches FD 6.8 to 8.0 and class KL 0.03 on two cores with matrix units, where the
    lectures' case study has 8.4 and 0.05 after 20 passes (``python bench/speed.py --lane C``).
    """
    return TrainConfig(
        data=data,
        preset="mnist-fast",
        resolution=32,
        network="dcgan",
        loss="non-saturating",
        penalty=("r1:0.05",),
        penalty_every=4,
        real_label=0.9,
        g=GeneratorConfig(lr=2e-3, width=32, ema_half_life=10_000),
        d=DiscriminatorConfig(lr=2e-3, width=32),
        batch_size=64,
        decay_from=0.3,
        images=64_000,
        sample_every=250,
        eval_every=250,
        eval_samples=10_000,
        checkpoint_every=1000,
    )


def mnist_dcgan(data: str) -> TrainConfig:
    """The lectures' MNIST case study: 28×28, label 0.9, Adam 2e-4 with β1 0.5, non-saturating loss.

    ``sparring train mnist --preset mnist-dcgan``
    """
    return TrainConfig(
        data=data,
        preset="mnist-dcgan",
        network="case-study",
        loss="non-saturating",
        real_label=0.9,
        g=GeneratorConfig(lr=2e-4, ema_half_life=20_000),
        d=DiscriminatorConfig(lr=2e-4),
        batch_size=128,
        epochs=30,
        sample_every=500,
        eval_every=500,
        checkpoint_every=1000,
    )


def dcgan(data: str) -> TrainConfig:
    """DCGAN as published (arXiv:1511.06434), for images of your own.

    ``sparring train path/to/images --preset dcgan``
    """
    return TrainConfig(
        data=data,
        preset="dcgan",
        network="dcgan",
        loss="non-saturating",
        real_label=0.9,
        g=GeneratorConfig(lr=2e-4, ema_half_life=10_000),
        d=DiscriminatorConfig(lr=2e-4),
        batch_size=64,
        steps=20_000,
    )


def modern(data: str) -> TrainConfig:
    """Relativistic loss with R1 + R2 on a D without normalization, with burn-in: the default for images of your own.

    ``sparring train path/to/images``. After R3GAN (arXiv:2501.05441), on DCGAN's networks; the penalties' weight follows from
    resolution and batch size (`sparring.penalties.auto_weight`) and is taken in every fourth turn of D.
    """
    return TrainConfig(
        data=data,
        preset="modern",
        network="dcgan",
        loss="relativistic",
        penalty=("r1:auto", "r2:auto"),
        penalty_every=4,
        g=GeneratorConfig(lr=1e-3, betas=(0.0, 0.99), width=64, ema_half_life=10_000),
        d=DiscriminatorConfig(lr=1e-3, betas=(0.0, 0.99), width=32, norm="none"),
        batch_size=64,
        burn_in=BurnInConfig(share=0.1, penalty=10.0, beta2=0.9),
        steps=10_000,
    )


def stacked_mnist(data: str) -> TrainConfig:
    """A thousand modes: relativistic loss, lazy R1 + R2, no normalization in D.

    ``sparring train stacked-mnist --data-root DATA`` takes a quarter of an hour on one thread with vectors of bfloat16 and finds
    1000 modes with reverse KL 0.051, where real triples score 0.024 (seed 0, 26,000 samples).
    """
    return TrainConfig(
        data=data,
        preset="stacked-mnist",
        resolution=32,
        network="dcgan",
        loss="relativistic",
        penalty=("r1:0.1", "r2:0.1"),
        penalty_every=16,
        g=GeneratorConfig(lr=1e-3, betas=(0.0, 0.99), width=64, ema_half_life=10_000),
        d=DiscriminatorConfig(lr=1e-3, betas=(0.0, 0.99), width=32, norm="none"),
        batch_size=64,
        images=480_000,
        sample_every=1250,
        eval_every=2500,
        eval_samples=26_000,
        checkpoint_every=1250,
    )


def minimax(data: str) -> TrainConfig:
    """The game of 2014 as first written: fully connected players and the saturating loss (arXiv:1406.2661).

    ``sparring train ring --preset minimax``
    """
    return TrainConfig(
        data=data,
        preset="minimax",
        network="mlp",
        latent_dim=16,
        loss="saturating",
        g=GeneratorConfig(lr=1e-3, ema_half_life=0),
        d=DiscriminatorConfig(lr=1e-3),
        batch_size=128,
        steps=5000,
    )


def points(data: str) -> TrainConfig:
    """All modes of a mixture in the plane: relativistic loss with lazy R1 + R2, spread latents drawn by importance.

    ``sparring train ring`` finds 8 modes with 99.4 % of the samples within 3 σ and reverse KL 0.001 (``sparring bench modes
    --data ring --presets points``, ten seeds), ``sparring train grid`` 25 with 98.5 % and 0.005 (``--data grid``).
    """
    return TrainConfig(
        data=data,
        preset="points",
        network="maxout",
        latent_dim=2,
        latents="spread",
        loss="relativistic",
        penalty=("r1:0.0015", "r2:0.0015"),
        penalty_every=16,
        stabilizer=("importance:4:0",),
        g=GeneratorConfig(lr=2e-3, betas=(0.0, 0.99), ema_half_life=40_000),
        # β2 of 0.99 forgets within a hundred steps, and D's slopes then jump a hundredfold every few hundred.
        d=DiscriminatorConfig(lr=1e-3, betas=(0.0, 0.999)),
        batch_size=128,
        burn_in=BurnInConfig(share=1.0, penalty=4.0),
        decay_from=0.0,
        steps=10_000,
    )


def wgan(data: str) -> TrainConfig:
    """The Wasserstein critic with clipped weights (arXiv:1701.07875, alg. 1).

    ``sparring train digits --preset wgan``
    """
    return TrainConfig(
        data=data,
        preset="wgan",
        network="dcgan",
        loss="wasserstein",
        g=GeneratorConfig(lr=5e-5, optimizer="rmsprop", betas=(0.0, 0.99), ema_half_life=10_000),
        d=DiscriminatorConfig(lr=5e-5, optimizer="rmsprop", betas=(0.0, 0.99), steps=5, weight_clip=0.01),
        batch_size=64,
        steps=20_000,
    )


def wgan_gp(data: str) -> TrainConfig:
    """The Wasserstein critic with a gradient penalty (arXiv:1704.00028, alg. 1).

    ``sparring train digits --preset wgan-gp``
    """
    return TrainConfig(
        data=data,
        preset="wgan-gp",
        network="dcgan",
        loss="wasserstein",
        penalty=("wgan-gp:10",),
        g=GeneratorConfig(lr=1e-4, betas=(0.0, 0.9), ema_half_life=10_000),
        d=DiscriminatorConfig(lr=1e-4, betas=(0.0, 0.9), norm="layer", steps=5),
        batch_size=64,
        steps=20_000,
    )


def lsgan(data: str) -> TrainConfig:
    """Least squares on DCGAN networks (arXiv:1611.04076).

    ``sparring train digits --preset lsgan``
    """
    return TrainConfig(
        data=data,
        preset="lsgan",
        network="dcgan",
        loss="least-squares",
        g=GeneratorConfig(lr=2e-4, ema_half_life=10_000),
        d=DiscriminatorConfig(lr=2e-4),
        batch_size=64,
        steps=20_000,
    )


def vae(data: str) -> TrainConfig:
    """A variational autoencoder (arXiv:1312.6114) on dcgan32's convolutions, for contrast.

    ``sparring train digits --preset vae`` takes two minutes on one thread with bf16 matrix units and reaches FD 22.8, class KL
    0.23 and at most 1.69 bits per dimension with seed 0: soft digits, of every class. z is short, so that the prior holds
    little that no digit was encoded to.
    """
    return TrainConfig(
        data=data,
        preset="vae",
        resolution=32,
        network="vae",
        latent_dim=16,
        g=GeneratorConfig(lr=1e-3, betas=(0.9, 0.999), width=32, ema_half_life=2000),
        batch_size=64,
        decay_from=0.5,
        images=100_000,
        sample_every=250,
        eval_every=500,
        checkpoint_every=1000,
    )


def pixelcnn(data: str) -> TrainConfig:
    """A Gated PixelCNN (arXiv:1606.05328) on 28×28 grey images, for contrast.

    ``sparring train digits --preset pixelcnn`` takes six minutes on one thread with bf16 matrix units, and one more to draw the
    2,000 samples that are scored at its end: FD 18.7, class KL 0.12 and 1.24 bits per dimension with seed 0. Its strokes are
    sharp, but not all of them make a digit.
    """
    return TrainConfig(
        data=data,
        preset="pixelcnn",
        resolution=28,
        network="pixelcnn",
        latent_dim=28 * 28,
        prior="uniform",
        g=GeneratorConfig(lr=2e-3, betas=(0.9, 0.999), width=32, ema_half_life=1000, clip_grad=1.0),
        batch_size=32,
        decay_from=0.0,
        decay="cosine",
        images=40_000,
        sample_every=250,
        eval_every=1250,
        checkpoint_every=250,
    )


@dataclass(frozen=True)
class Preset:
    """A row of `PRESETS`.

    Attributes:
        name: what ``--preset`` takes.
        summary: one line.
        paper: where the recipe comes from.
        when: when to use it.
        config: a data set's name -> the complete config.
        suits: data sets that take this recipe when ``--preset`` is not given.
    """

    name: str
    summary: str
    paper: str
    when: str
    config: Callable[[str], TrainConfig]
    suits: tuple[str, ...] = ()


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="dcgan32",
            summary="A small DCGAN with R1 at 32×32 that is done in minutes on a laptop.",
            paper="Radford et al. 2015, arXiv:1511.06434",
            when="For digits, clothes and other small images, and for a first look at your own.",
            config=dcgan32,
            suits=("digits", "mnist", "fashion-mnist"),
        ),
        Preset(
            name="mnist-fast",
            summary="Digits in a minute: a short dcgan32 at high rates that fall early.",
            paper="After Radford et al. 2015, arXiv:1511.06434; Mescheder et al. 2018, arXiv:1801.04406",
            when="To see a good result soon, on MNIST and what is like it; dcgan32 trains longer and gets further.",
            config=mnist_fast,
        ),
        Preset(
            name="mnist-dcgan",
            summary="The lectures' MNIST case study, layer for layer.",
            paper="The lectures' case study; after Radford et al. 2015, arXiv:1511.06434",
            when="For 28×28 images and to follow the lectures; three doublings instead of two (dcgan32) score better.",
            config=mnist_dcgan,
        ),
        Preset(
            name="dcgan",
            summary="DCGAN with label smoothing and an averaged generator.",
            paper="Radford et al. 2015, arXiv:1511.06434",
            when="For images of your own, as the classic to compare with.",
            config=dcgan,
        ),
        Preset(
            name="modern",
            summary="Relativistic loss, R1 + R2 with their weight worked out, burn-in, no normalization in D.",
            paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441",
            when="For images of your own: the default.",
            config=modern,
        ),
        Preset(
            name="stacked-mnist",
            summary="A thousand modes: three digits in the three channels.",
            paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441; the data after Srivastava et al. 2017, arXiv:1705.07761",
            when="For stacked MNIST, to show that no mode is lost.",
            config=stacked_mnist,
            suits=("stacked-mnist",),
        ),
        Preset(
            name="minimax",
            summary="The game of 2014 as first written, which drops modes.",
            paper="Goodfellow et al. 2014, arXiv:1406.2661",
            when="To see what the later recipes mend.",
            config=minimax,
        ),
        Preset(
            name="points",
            summary="Finds all modes of a mixture in the plane.",
            paper="Huang et al. 2025 (R3GAN), arXiv:2501.05441",
            when="For ring, grid and points of your own.",
            config=points,
            suits=("ring", "grid"),
        ),
        Preset(
            name="wgan",
            summary="Wasserstein critic with clipped weights, five critic steps.",
            paper="Arjovsky et al. 2017, arXiv:1701.07875",
            when="To compare with the gradient penalty; slow.",
            config=wgan,
        ),
        Preset(
            name="wgan-gp",
            summary="Wasserstein critic with gradient penalty, five critic steps.",
            paper="Gulrajani et al. 2017, arXiv:1704.00028",
            when="When the loss should track quality.",
            config=wgan_gp,
        ),
        Preset(
            name="lsgan",
            summary="Least squares on DCGAN networks.",
            paper="Mao et al. 2017, arXiv:1611.04076",
            when="When the classic loss saturates.",
            config=lsgan,
        ),
        Preset(
            name="vae",
            summary="A variational autoencoder: no opponent, an upper bound of the likelihood, soft samples.",
            paper="Kingma and Welling 2013, arXiv:1312.6114",
            when="For contrast: what the same data, metrics and convolutions give without a game.",
            config=vae,
        ),
        Preset(
            name="pixelcnn",
            summary="A fully visible belief network: no opponent, an exact likelihood, one pixel after another.",
            paper="van den Oord et al. 2016, arXiv:1606.05328",
            when="For contrast, on small grey images: what an exact likelihood buys, and what its samples cost.",
            config=pixelcnn,
        ),
    )
}

_FOR_OWN_IMAGES = "modern"
_FOR_OWN_POINTS = "points"


def preset_for(data: str, *, points_in_plane: bool = False) -> str:
    """Return the preset for a data set when none is named.

    Args:
        data: the data set's name, a path, or the name of an object.
        points_in_plane: whether the samples are points and not images.
    """
    for preset in PRESETS.values():
        if data in preset.suits:
            return preset.name
    return _FOR_OWN_POINTS if points_in_plane else _FOR_OWN_IMAGES
