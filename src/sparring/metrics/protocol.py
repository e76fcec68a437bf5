"""What a number was measured with. Two numbers may be compared when their protocols are equal, and only then."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

SHORT_HASH = 8
"""Hexadecimal digits of a sha256 that are kept: enough to tell files apart, short enough to read."""

_LINE = re.compile(
    r"(?P<metric>\w+)\[(?:(?P<extractor>\S+)@(?P<weights_sha256>\w+) (?:(?!v\d+ |n\d+[/ ])(?P<resize>\S+) )?)?"
    r"(?:v(?P<version>\d+) )?"
    r"n(?P<n_generated>\d+)(?:/(?P<n_reference>\d+))? "
    r"(?P<reference>.+)/(?P<split>[\w-]+)@(?P<data_sha256>\w+) seed(?P<latent_seed>\d+) (?P<weights>\w+)\]"
)

#: How each field is called in the sentence that says what differs.
_WORDS = {
    "metric": "the metric",
    "version": "the version of the metric",
    "extractor": "the feature extractor",
    "weights_sha256": "the extractor's weights",
    "resize": "the way pictures are resized for the extractor",
    "n_generated": "the number of generated samples",
    "n_reference": "the number of real samples",
    "reference": "the real data",
    "split": "the part of the real data",
    "data_sha256": "the content of the real data",
    "latent_seed": "the seed of the latents",
    "weights": "whose samples were drawn",
}


@dataclass(frozen=True)
class Protocol:
    """Everything that changes a score although the generator stays the same.

    Transforms of the real data (cropping, resizing to the generator's side, mirroring) change its hash.

    Attributes:
        metric: name in ``METRICS``: ``"fd"``, ``"reverse_kl"``, ``"mode_gap"``.
        version: of sparring's way to compute it; raised when the same samples would get another number.
        extractor: name in ``EXTRACTORS``, or None where no features are used.
        weights_sha256: first digits of the extractor's weights file, or None.
        resize: how a picture becomes the extractor's input, one word, or None.
        n_generated: number of generated samples.
        n_reference: number of real ones they are compared with, 0 where the modes are known.
        reference: name of the real data.
        split: which part of it: ``"held-out"``, ``"train"``, or ``"modes"`` for known modes.
        data_sha256: first digits of that part's hash.
        latent_seed: seed of the generated set.
        weights: whose samples: ``"ema"``, ``"raw"``, ``"real"`` for the floor, or ``"files"`` for images on disk.
    """

    metric: str
    version: int
    extractor: str | None
    weights_sha256: str | None
    resize: str | None
    n_generated: int
    n_reference: int
    reference: str
    split: str
    data_sha256: str
    latent_seed: int
    weights: str

    def short(self) -> str:
        """Return one line to stand beside the number: ``fd[digits-v1@ab12cd34 u8-… n2000/2000 … ema]``."""
        features = [f"{self.extractor}@{self.weights_sha256} {self.resize}"] if self.extractor else []
        real = f"{self.reference}/{self.split}@{self.data_sha256}"
        counts = f"n{self.n_generated}/{self.n_reference}" if self.n_reference else f"n{self.n_generated}"
        version = [f"v{self.version}"] if self.version > 1 else []
        parts = [*features, *version, counts, real, f"seed{self.latent_seed}", self.weights]
        return f"{self.metric}[{' '.join(parts)}]"

    @classmethod
    def parse(cls, line: str) -> Protocol:
        """Read a line that `short` wrote.

        Raises:
            ValueError: it is no such line.
        """
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"'{line}' is not the line of a protocol")
        parts: dict[str, Any] = found.groupdict()
        numbers = {name: int(parts[name] or least) for name, least in _NUMBERS.items()}
        return cls(**parts | numbers)

    def of(self, metric: str, version: int = 1) -> Protocol:
        """Return the protocol of another metric of the same samples."""
        return replace(self, metric=metric, version=version)

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the fields, ready for JSON."""
        return asdict(self)


_NUMBERS = {"version": 1, "n_generated": 0, "n_reference": 0, "latent_seed": 0}


def difference(a: Protocol, b: Protocol) -> str | None:
    """Say what differs between two protocols first, or return None where numbers may be compared.

    Returns:
        ``"the number of generated samples is 2000 for one and 10000 for the other"``. Whose samples were drawn is no
        difference, save between files and latents: an averaged generator may be compared with one that is not.
    """
    for field in fields(Protocol):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if field.name == "weights" or ours == theirs:
            continue
        if field.name == "latent_seed" and "files" in (a.weights, b.weights):
            continue  # pictures on disk have no latents
        return f"{_WORDS[field.name]} is {ours} for one and {theirs} for the other"
    return None
