"""Measuring generators: what each number is, whose idea it was and which way is better.

The table is free of torch so that help texts and the studio can read it; the numbers themselves come from
`sparring.metrics.judge` (while training) and from `frechet`, `modes` and `features`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One number that can be measured of a generator.

    Attributes:
        name: its key in `METRICS` and in a judge's values.
        summary: one line for people.
        paper: where it comes from, ``"arXiv:…"``, or None when it is sparring's own or folklore.
        better: which way is better.
        needs: what the data must have: a feature extractor that knows it, or known modes: Gaussians, or triples of digits.
        unit: of the number.
    """

    name: str
    summary: str
    paper: str | None
    better: Literal["lower", "higher"]
    needs: Literal["extractor", "modes"]
    unit: str


_ALL = (
    Metric(
        name="fd",
        summary="Fréchet distance between Gaussians fitted to features of generated and held-out images",
        paper="arXiv:1706.08500",
        better="lower",
        needs="extractor",
        unit="squared feature units",
    ),
    Metric(
        name="class_kl",
        summary="KL(generated ‖ training) over the classes that the extractor recognises",
        paper="arXiv:1611.02163",
        better="lower",
        needs="extractor",
        unit="nats",
    ),
    Metric(
        name="classes_present",
        summary="number of classes with at least one generated image",
        paper="arXiv:1611.02163",
        better="higher",
        needs="extractor",
        unit="classes",
    ),
    Metric(
        name="confidence",
        summary="mean probability of the class that the extractor recognises; low for pictures between classes",
        paper=None,
        better="higher",
        needs="extractor",
        unit="probability",
    ),
    Metric(
        name="modes",
        summary="number of modes with at least one sample: within 3 sigma of the mean, or showing the triple of digits",
        paper="arXiv:1712.04086",
        better="higher",
        needs="modes",
        unit="modes",
    ),
    Metric(
        name="high_quality",
        summary="fraction of samples within 3 sigma of their nearest mean; real data scores 0.989",
        paper="arXiv:1712.04086",
        better="higher",
        needs="modes",
        unit="fraction",
    ),
    Metric(
        name="reverse_kl",
        summary="KL(generated ‖ uniform) over the modes, each sample counted at its nearest mean or its triple of digits",
        paper="arXiv:1712.04086",
        better="lower",
        needs="modes",
        unit="nats",
    ),
    Metric(
        name="mode_gap",
        summary="reverse_kl plus the fraction of samples that miss every mode: the one number to rank generators by",
        paper=None,
        better="lower",
        needs="modes",
        unit="nats + fraction",
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name."""

__all__ = ["METRICS", "Metric"]
