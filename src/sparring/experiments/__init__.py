"""The lectures' claims about adversarial training, each as an experiment that can turn out wrong.

To add one, write its function in a file of this package and its row of `CLAIMS` here. The files are imported when an experiment
runs, so that listing the claims does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparring._lazy import LazyModule
from sparring.experiments.finding import Finding

if TYPE_CHECKING:
    from sparring.experiments import (
        bilinear,
        checkerboard,
        collapse,
        distances,
        gradients,
        losses,
        normalization,
        optimum,
    )
else:
    bilinear = LazyModule("sparring.experiments.bilinear")
    checkerboard = LazyModule("sparring.experiments.checkerboard")
    collapse = LazyModule("sparring.experiments.collapse")
    distances = LazyModule("sparring.experiments.distances")
    gradients = LazyModule("sparring.experiments.gradients")
    losses = LazyModule("sparring.experiments.losses")
    normalization = LazyModule("sparring.experiments.normalization")
    optimum = LazyModule("sparring.experiments.optimum")

__all__ = ["CLAIMS", "Claim", "Finding"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A row of `CLAIMS`.

    Attributes:
        id: as the lectures' list has it.
        claim: what is claimed, in one line.
        experiment: what is done to find out, in one line.
        lecture: where the lectures say so, in their words or nearly.
        paper: where it comes from, with its arXiv id.
        run: a seed -> what was found.
    """

    id: str
    claim: str
    experiment: str
    lecture: str
    paper: str
    run: Callable[[int], Finding]


_GOODFELLOW = "Goodfellow et al. 2014, Generative Adversarial Networks, arXiv:1406.2661"

CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim(
            id="T1",
            claim="The saturating loss has a vanishing gradient where D rejects the fakes; the non-saturating has not.",
            experiment="D's output is lowered until it rejects every fake; the gradient of G is taken for both losses.",
            lecture="The original minimax loss can cause vanishing gradients when D is too good early on.",
            paper=f"{_GOODFELLOW}, §3",
            run=lambda seed: gradients.saturation(seed),
        ),
        Claim(
            id="T2",
            claim="On disjoint supports the JS divergence is flat (log 2); the Wasserstein distance falls with the shift.",
            experiment="Two parallel lines are moved apart; a D and a critic are trained at each distance.",
            lecture="The Wasserstein GAN uses a different metric (Earth Mover's distance).",
            paper="Arjovsky et al. 2017, Wasserstein GAN, arXiv:1701.07875, example 1",
            run=lambda seed: distances.shifted(seed),
        ),
        Claim(
            id="T3",
            claim="For a fixed G, a trained D approaches D* = p_data / (p_data + p_g).",
            experiment="D is trained between two known Gaussians and compared with D* on a grid.",
            lecture="For a given generator strategy, the optimal discriminator outputs p_data / (p_data + p_g).",
            paper=f"{_GOODFELLOW}, proposition 1",
            run=lambda seed: optimum.approach(seed),
        ),
        Claim(
            id="T4",
            claim="At p_g = p_data, V = −log 4 and D = ½.",
            experiment="V of the best and of a trained D, for two Gaussians that move together.",
            lecture="GANs converge when the generator's distribution matches the real data distribution: D(x) = 0.5 for all x.",
            paper=f"{_GOODFELLOW}, theorem 1",
            run=lambda seed: optimum.equilibrium(seed),
        ),
        Claim(
            id="T5",
            claim="A discriminator trained to optimality stalls a classic G, and not a Wasserstein one.",
            experiment="D is trained alone, and the gradient that G would get is watched for three losses.",
            lecture="If the discriminator is perfect, gradients vanish: the generator cannot learn.",
            paper="Arjovsky and Bottou 2017, Towards Principled Methods for Training GANs, arXiv:1701.04862, fig. 2 and 3",
            run=lambda seed: gradients.stalling(seed),
        ),
        Claim(
            id="T6",
            claim="The plain game loses modes of a ring; minibatch discrimination, unrolling, packing, R1 + R2 restore them.",
            experiment="The same game on the ring with each remedy alone, five seeds each; takes some minutes.",
            lecture="Mode collapse: G finds a few outputs that reliably fool D and repeats them.",
            paper="Metz et al. 2017, Unrolled GANs, arXiv:1611.02163; Salimans et al. 2016, arXiv:1606.03498; "
            "Lin et al. 2018, PacGAN, arXiv:1712.04086; Mescheder et al. 2018, arXiv:1801.04406",
            run=lambda seed: collapse.remedies(seed),
        ),
        Claim(
            id="T7",
            claim="Label smoothing bounds D's confidence.",
            experiment="D is trained with four pairs of labels on data that never overlap.",
            lecture="Label smoothing prevents the discriminator from becoming too confident.",
            paper="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498, §3.4",
            run=lambda seed: optimum.smoothing(seed),
        ),
        Claim(
            id="T8",
            claim="GAN losses do not track sample quality.",
            experiment="Losses and the score of the samples are recorded over short runs, and their ranks are correlated.",
            lecture="GAN losses do not directly correlate with sample quality.",
            paper="Arjovsky et al. 2017, Wasserstein GAN, arXiv:1701.07875, §4.2",
            run=lambda seed: losses.tracking(seed),
        ),
        Claim(
            id="T9",
            claim="Transposed convolution with an ill-chosen kernel shows checkerboards; resize + convolution does not.",
            experiment="A constant is sent through one upsampling layer, and its power at period 2 is measured.",
            lecture="The generator is made of transposed convolutions.",
            paper="Odena et al. 2016, Deconvolution and Checkerboard Artifacts, Distill, doi:10.23915/distill.00003",
            run=lambda seed: checkerboard.uneven(seed),
        ),
        Claim(
            id="T10",
            claim="Batch norm's running averages make single-image generation equal to batched generation.",
            experiment="The same z is generated alone and among others, in training and in evaluation mode.",
            lecture="Calculate batch statistics during training and use running averages during inference.",
            paper="Ioffe and Szegedy 2015, Batch Normalization, arXiv:1502.03167, alg. 2",
            run=lambda seed: normalization.company(seed),
        ),
        Claim(
            id="T11",
            claim="The equilibrium is not always reached: gradient steps cycle; averaging or a penalty converges.",
            experiment="The game min max x y is played by five rules whose factor a step is known.",
            lecture="The minimax game does not always lead to a stable equilibrium, sometimes resulting in cyclical behaviour.",
            paper="Mescheder et al. 2018, Which Training Methods for GANs do actually Converge?, arXiv:1801.04406, §2; "
            "Gidel et al. 2019, arXiv:1802.10551",
            run=lambda seed: bilinear.cycling(seed),
        ),
        Claim(
            id="T12",
            claim="D's loss 0 is a failing game, not an equilibrium.",
            experiment="A game in which D learns far faster than G beside a healthy one: loss, gradient of G and score.",
            lecture="When the discriminator becomes too effective too quickly, it stalls the generator's learning.",
            paper="Arjovsky and Bottou 2017, arXiv:1701.04862, theorem 2.4",
            run=lambda seed: losses.won_by_D(seed),
        ),
    )
}
