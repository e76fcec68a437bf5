"""Measuring generators: what each number is, whose idea it was and which way is better.

```python
from sparring.metrics import frechet_distance

distance = frechet_distance(features_a, features_b)  # an Estimate: a float with .low and .high
```

The tables are free of torch so that help texts can read them; functions are imported when they are first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from sparring.errors import unknown_name

if TYPE_CHECKING:
    from sparring.metrics.estimate import Estimate as Estimate
    from sparring.metrics.frechet import frechet_distance as frechet_distance
    from sparring.metrics.frechet import intra_class_frechet as intra_class_frechet
    from sparring.metrics.inception_score import inception_score as inception_score
    from sparring.metrics.kernel import kernel_distance as kernel_distance
    from sparring.metrics.manifold import manifold_scores as manifold_scores
    from sparring.metrics.memorization import memorization as memorization
    from sparring.metrics.path_length import path_length as path_length
    from sparring.metrics.spread import feature_spread as feature_spread
    from sparring.metrics.spread import mean_ms_ssim as mean_ms_ssim

Need = Literal["extractor", "classes", "modes", "images", "generator", "discriminator", "labels"]


@dataclass(frozen=True)
class Metric:
    """One number that can be measured of a generator.

    Attributes:
        name: its key in `METRICS` and in a judge's values.
        family: the key in `FAMILIES` by which it is asked for.
        summary: one line for people.
        paper: where it comes from, ``"arXiv:…"``, or None when it is sparring's own or folklore.
        better: which way is better, or ``"zero"`` where both are worse.
        unit: of the number.
    """

    name: str
    family: str
    summary: str
    paper: str | None
    better: Literal["lower", "higher", "zero"]
    unit: str


@dataclass(frozen=True)
class Family:
    """Metrics that are computed together and asked for by one name.

    Attributes:
        name: its key in `FAMILIES`, and what ``--metrics`` takes.
        summary: one line for people.
        needs: what must be at hand beside samples.
        also: other names for it.
    """

    name: str
    summary: str
    needs: Need
    also: tuple[str, ...] = ()


_ALL_FAMILIES = (
    Family("fd", "Fréchet distance of features", "extractor", ("fid",)),
    Family("kd", "kernel distance of features", "extractor", ("kid",)),
    Family("prdc", "precision, recall, density and coverage", "extractor"),
    Family("is", "inception score", "classes"),
    Family("modes", "which classes, Gaussians or triples of digits occur, and how evenly", "modes"),
    Family("intra", "Fréchet distance within each class", "classes"),
    Family("spread", "how different samples are from each other", "images", ("ms-ssim",)),
    Family("memorization", "are samples copies of training data?", "extractor"),
    Family("path", "perceptual path length", "generator", ("ppl",)),
    Family("gap", "does D know the training data by heart?", "discriminator"),
    Family("cas", "classification accuracy score: train on synthetic images, test on real ones", "classes"),
    Family("gain", "do synthetic images with labels help a classifier that has few real ones?", "labels"),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL_FAMILIES}
"""Every family of metrics by name."""


def family_of(word: str) -> str:
    """Return the key of `FAMILIES` that a user's word stands for: ``"fid"`` is ``"fd"``.

    Raises:
        ValueError: it stands for none; the sentence lists them.
    """
    for family in FAMILIES.values():
        if word in (family.name, *family.also):
            return family.name
    names = [name for family in FAMILIES.values() for name in (family.name, *family.also)]
    raise ValueError(unknown_name("", word, names).removeprefix(": "))


_ALL = (
    Metric(
        name="fd",
        family="fd",
        summary="Fréchet distance between Gaussians fitted to features of generated and real images; FID with Inception",
        paper="arXiv:1706.08500",
        better="lower",
        unit="squared feature units",
    ),
    Metric(
        name="kd",
        family="kd",
        summary="squared MMD with a cubic kernel between features of generated and real images; KID with Inception",
        paper="arXiv:1801.01401",
        better="lower",
        unit="kernel units",
    ),
    Metric(
        name="precision",
        family="prdc",
        summary="fraction of generated samples inside the manifold of the real ones",
        paper="arXiv:1904.06991",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="recall",
        family="prdc",
        summary="fraction of real samples inside the manifold of the generated ones",
        paper="arXiv:1904.06991",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="density",
        family="prdc",
        summary="how many neighbourhoods of real samples hold a generated one, on average; 1 for equal distributions",
        paper="arXiv:2002.09797",
        better="higher",
        unit="neighbourhoods",
    ),
    Metric(
        name="coverage",
        family="prdc",
        summary="fraction of real samples with a generated one in their neighbourhood",
        paper="arXiv:2002.09797",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="inception_score",
        family="is",
        summary="exp of the mean KL between the class probabilities of a sample and of all; blind to real data",
        paper="arXiv:1606.03498",
        better="higher",
        unit="classes",
    ),
    Metric(
        name="class_kl",
        family="modes",
        summary="KL(generated ‖ training) over the classes that the extractor recognises",
        paper="arXiv:1611.02163",
        better="lower",
        unit="nats",
    ),
    Metric(
        name="classes_present",
        family="modes",
        summary="number of classes with at least one generated image",
        paper="arXiv:1611.02163",
        better="higher",
        unit="classes",
    ),
    Metric(
        name="confidence",
        family="modes",
        summary="mean probability of the class that the extractor recognises; low for pictures between classes",
        paper=None,
        better="higher",
        unit="probability",
    ),
    Metric(
        name="modes",
        family="modes",
        summary="number of modes with at least one sample: within 3 sigma of the mean, or showing the triple of digits",
        paper="arXiv:1712.04086",
        better="higher",
        unit="modes",
    ),
    Metric(
        name="high_quality",
        family="modes",
        summary="fraction of samples within 3 sigma of their nearest mean; real data scores 0.989",
        paper="arXiv:1712.04086",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="reverse_kl",
        family="modes",
        summary="KL(generated ‖ uniform) over the modes, each sample counted at its nearest mean or its triple of digits",
        paper="arXiv:1712.04086",
        better="lower",
        unit="nats",
    ),
    Metric(
        name="mode_gap",
        family="modes",
        summary="reverse_kl plus the fraction of samples that miss every mode: the one number to rank generators by",
        paper=None,
        better="lower",
        unit="nats + fraction",
    ),
    Metric(
        name="intra_fd",
        family="intra",
        summary="mean over the classes of the Fréchet distance within the class",
        paper="arXiv:1802.05637",
        better="lower",
        unit="squared feature units",
    ),
    Metric(
        name="ms_ssim",
        family="spread",
        summary="mean multi-scale structural similarity of pairs of samples; compare it with that of real images",
        paper="arXiv:1610.09585",
        better="lower",
        unit="similarity",
    ),
    Metric(
        name="feature_spread",
        family="spread",
        summary="mean distance between the features of two samples, as a fraction of that of real images",
        paper=None,
        better="higher",
        unit="fraction of real",
    ),
    Metric(
        name="copies",
        family="memorization",
        summary="fraction of samples that are copies of a training image, by their features",
        paper="arXiv:2310.02664",
        better="lower",
        unit="fraction",
    ),
    Metric(
        name="pixel_copies",
        family="memorization",
        summary="fraction of samples that are copies of a training image, by the pixels of both at 16×16",
        paper="arXiv:2310.02664",
        better="lower",
        unit="fraction",
    ),
    Metric(
        name="copying_z",
        family="memorization",
        summary="are samples nearer to the training data than held-out images are? z-score: below -3 copies, above 3 too far",
        paper="arXiv:2004.05675",
        better="zero",
        unit="standard errors",
    ),
    Metric(
        name="path_length",
        family="path",
        summary="how far features move per step through the latent space, squared",
        paper="arXiv:1812.04948",
        better="lower",
        unit="squared feature units",
    ),
    Metric(
        name="discriminator_gap",
        family="gap",
        summary="how far D takes held-out images for fakes: 0 as real as the training data, 1 as fake as the fakes",
        paper="arXiv:2006.06676",
        better="lower",
        unit="fraction",
    ),
    Metric(
        name="cas",
        family="cas",
        summary="accuracy on real images of a classifier trained on generated images only",
        paper="arXiv:1905.10887",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="augmentation_gain",
        family="gain",
        summary="what synthetic images add to the accuracy of a classifier that has few real ones",
        paper="arXiv:1905.10887",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="accuracy_real",
        family="gain",
        summary="accuracy on other real images of a classifier trained on few real images alone",
        paper="arXiv:1905.10887",
        better="higher",
        unit="fraction",
    ),
    Metric(
        name="accuracy_both",
        family="gain",
        summary="accuracy on other real images of a classifier trained on few real and on synthetic images",
        paper="arXiv:1905.10887",
        better="higher",
        unit="fraction",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name."""

_HOME = {
    "Estimate": "estimate",
    "frechet_distance": "frechet",
    "intra_class_frechet": "frechet",
    "inception_score": "inception_score",
    "kernel_distance": "kernel",
    "manifold_scores": "manifold",
    "memorization": "memorization",
    "path_length": "path_length",
    "feature_spread": "spread",
    "mean_ms_ssim": "spread",
}

__all__ = ["FAMILIES", "METRICS", "Family", "Metric", "family_of", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"sparring.metrics.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sparring.metrics' has no attribute '{name}'")
