"""What synthetic images with labels of their own teach a classifier of real ones: alone, and beside few real images."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sparring.data import Data
from sparring.errors import UsageError
from sparring.metrics.classification import LabelledImages, augmentation_gain, classification_accuracy
from sparring.metrics.estimate import Estimate
from sparring.metrics.protocol import SHORT_HASH, Protocol
from sparring.metrics.references import batches

FAMILIES = ("cas", "gain")


def teach(
    family: str,
    made: tuple[Tensor, npt.NDArray[np.int64], tuple[str, ...]],
    real: tuple[Data, ...],
    test: tuple[Data, ...],
) -> list[tuple[str, Estimate, Protocol]]:
    """Return the scores of a family in `FAMILIES`.

    Args:
        family: ``"cas"`` or ``"gain"``.
        made: synthetic images ``[N, C, H, W]`` in [-1, 1], their labels ``[N]``, and the names of the classes.
        real: parts of the real images: few, beside which the synthetic ones are tried.
        test: parts of one labelled set that no generator has seen; if none, ``"cas"`` takes what is held out of the real ones.

    Returns:
        Name, value and protocol of each.

    Raises:
        UsageError: labels are missing, or classes or shapes do not fit together.
    """
    kept = real[0].held_out
    parts, part = (test, "test") if test else ((kept,), "held-out") if kept else (real, "train")
    shown, names = parts[0].name, parts[0].class_names
    x, labels, classes = made
    exam = _labelled(parts, names, shown)
    synthetic = LabelledImages(x, _in_terms_of(names, classes, labels, "the synthetic images", shown))
    digest = _digest(*parts)
    protocol = Protocol(
        metric=family,
        version=1,
        extractor=None,
        weights_sha256=None,
        resize=None,
        n_generated=len(x),
        n_reference=len(exam.y),
        reference=shown,
        split=part,
        data_sha256=digest,
        latent_seed=0,
        weights="files",
    )
    if family == "cas":
        return [("cas", classification_accuracy(synthetic, exam), protocol)]
    if not test:  # what is held out of these may be what a generator of one class was trained on
        raise UsageError("--metrics gain: name labelled images that no generator has seen, to test on (--test).")
    few = _labelled(real, names, shown)
    found = augmentation_gain(few, synthetic, exam)
    beside = f"{real[0].name} tested on {shown}"
    protocol = replace(protocol, reference=beside, data_sha256=_digest(*real, *parts), n_reference=len(few.y))
    values = {"augmentation_gain": found.gain, "accuracy_real": found.real, "accuracy_both": found.both}
    return [(name, value, protocol.of(name)) for name, value in values.items()]


def _digest(*parts: Data) -> str:
    """Return the first digits of the hash of some data."""
    hashes = [part.sha256 for part in parts]
    whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    return whole[:SHORT_HASH]


def _labelled(parts: tuple[Data, ...], names: tuple[str, ...], shown: str) -> LabelledImages:
    """Return images with their labels as places among the names."""
    x, y = [], []
    for data in parts:
        if data.labels is None:
            raise UsageError(
                f"--metrics {'|'.join(FAMILIES)}: {data.name} has no labels; a folder needs a subfolder for each class."
            )
        x += list(batches(data))
        y.append(_in_terms_of(names, data.class_names, data.labels.astype(np.int64), data.name, shown))
    return LabelledImages(torch.cat(x), torch.cat(y))


def _in_terms_of(
    names: tuple[str, ...], classes: tuple[str, ...], labels: npt.NDArray[np.int64], whose: str, shown: str
) -> Tensor:
    """Return labels as places among the names of the classes tested on."""
    unknown = sorted({classes[label] for label in np.unique(labels)} - set(names))
    if unknown:
        raise UsageError(
            f"--metrics {'|'.join(FAMILIES)}: {whose} have a class '{unknown[0]}', and {shown} has only {', '.join(names)}; give "
            "the folders of the classes the same names."
        )
    places = np.array([names.index(name) if name in names else -1 for name in classes], dtype=np.int64)
    return torch.from_numpy(places[labels])
