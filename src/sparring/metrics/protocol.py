"""What a number was measured with. Two numbers may be compared when their protocols are equal, and only then."""

from __future__ import annotations

from dataclasses import asdict, dataclass

SHORT_HASH = 8
"""Hexadecimal digits of a sha256 that are kept: enough to tell files apart, short enough to read."""


@dataclass(frozen=True)
class Protocol:
    """Everything that changes a score although the generator stays the same.

    Attributes:
        metric: name in ``METRICS``: ``"fd"``, ``"reverse_kl"``, ``"mode_gap"``.
        version: of sparring's way to compute it; raised when the same samples would get another number.
        extractor: name in ``EXTRACTORS``, or None where no features are used.
        weights_sha256: first digits of the extractor's weights file, or None.
        resize: how a picture becomes the extractor's input, or None.
        n_generated: number of generated samples.
        n_reference: number of real ones they are compared with, 0 where the modes are known.
        reference: name of the real data.
        split: which part of it: ``"held-out"``, ``"train"``, or ``"modes"`` for known modes.
        data_sha256: first digits of that part's hash.
        latent_seed: seed of the generated set.
        weights: whose samples: ``"ema"``, ``"raw"``, or ``"real"`` for the floor.
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
        """Return one line to stand beside the number: ``fd[digits-v1@ab12cd34 n2000/2000 … seed0 ema]``."""
        features = [f"{self.extractor}@{self.weights_sha256}"] if self.extractor else []
        real = f"{self.reference}/{self.split}@{self.data_sha256}"
        counts = f"n{self.n_generated}/{self.n_reference}" if self.n_reference else f"n{self.n_generated}"
        version = [f"v{self.version}"] if self.version > 1 else []
        parts = [*features, *version, counts, real, f"seed{self.latent_seed}", self.weights]
        return f"{self.metric}[{' '.join(parts)}]"

    def as_dict(self) -> dict[str, str | int | None]:
        """Return the fields, ready for JSON."""
        return asdict(self)
