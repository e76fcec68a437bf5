"""Running an extractor over images: always in float32, whatever the caller has switched on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from sparring.errors import UsageError
from sparring.metrics.extractors.record import Features, LoadedExtractor


def raw_features(
    extractor: LoadedExtractor, batches: Iterable[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the float32 features ``[N, F]`` and logits ``[N, K]`` (None without classes) of all images, on the CPU.

    Raises:
        UsageError: for images that cannot be read, or when there are none.
    """
    features: list[torch.Tensor] = []
    logits: list[torch.Tensor] = []
    for x in batches:  # drawn outside of the modes, which are nobody's business but the extractor's
        with torch.inference_mode(), torch.autocast(extractor.device.type, enabled=False), full_precision():
            found, scores = extractor.forward(extractor.prepare(x))
        features.append(found.cpu())
        logits += [] if scores is None else [scores.cpu()]
    if not features:
        raise UsageError("Feature extractor: there are no images to measure; give at least one batch.")
    return torch.cat(features), torch.cat(logits) if logits else None


def features_of(features: torch.Tensor, logits: torch.Tensor | None) -> Features:
    """Return the float64 features and probabilities of `raw_features`."""
    probabilities = None if logits is None else logits.double().softmax(dim=1).numpy()
    return Features(features.double().numpy(), probabilities)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Compute products of float32 in float32 inside: no TF32 on a GPU, no bfloat16 on a CPU; restored afterwards."""
    backends: Any = torch.backends  # its stubs do not know all of these
    kinds = (backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv)
    before = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision
