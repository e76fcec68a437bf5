"""Features on disk: those of the same real images are computed once, by whichever run needs them first.

An entry is one safetensors file with the float32 features and logits; what is read back is equal to the bit. Files are
written beside and renamed, and hold the sha256 of their own tensors, so that a damaged or half-written one is the same as
none. Together they take at most `MAX_BYTES`; the ones unused for longest go first. Deleting any of them costs only time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sparring.metrics.extractors import load_extractor
from sparring.metrics.extractors.record import Features, LoadedExtractor
from sparring.metrics.extractors.run import features_of, raw_features
from sparring.metrics.extractors.weights import cache_root

LOG = logging.getLogger("sparring.metrics")

VERSION = 1
"""Part of every key: raise it when an extractor would give other features for the same weights and images."""

MAX_BYTES = 4 << 30
"""Of all entries together: six times 50,000 images in Inception's features, which take 611 MB."""

_ABANDONED_AFTER = 24 * 3600  # seconds without a write after which a half-written file has no owner any more


def cached_features(
    extractor: str | LoadedExtractor,
    batches: Callable[[], Iterable[torch.Tensor]],
    *,
    data_sha256: str,
    split: str,
    count: int,
    device: str | torch.device = "cpu",
    cache_dir: str | Path | None = None,
) -> Features:
    """Return the features of real images: from disk if they have been computed before, else from the extractor.

    A module of the user's is run every time: its hash tells its weights, but nothing tells its code.

    Args:
        extractor: a key of `EXTRACTORS` or a loaded extractor.
        batches: draws the images when they are needed; see `extract`.
        data_sha256: of the data that the images are part of, the whole hash.
        split: which part of it, and how chosen, such as ``"held-out"`` or ``"train, seed 3"``.
        count: number of images, N.
        device: where to compute. Devices round differently, so each kind has entries of its own.
        cache_dir: the folder of sparring's caches; None for SPARRING_CACHE, else the user's cache folder.

    Raises:
        UsageError: for an unknown name, for images that cannot be read, or when there are none.
        CheckpointError: when the extractor's weights are missing or damaged.
    """
    loaded = load_extractor(extractor).on(device)
    if loaded.record.weights is None:
        return features_of(*raw_features(loaded, batches()))
    path = cache_root(cache_dir) / "features" / f"{entry_key(loaded, data_sha256, split, count)}.safetensors"
    stored = load(path)
    if stored is None or len(stored[0]) != count:
        stored = raw_features(loaded, batches())
        assert len(stored[0]) == count, f"{count} images were announced, {len(stored[0])} came"
        store(path, *stored)
    return features_of(*stored)


def entry_key(extractor: LoadedExtractor, data_sha256: str, split: str, count: int) -> str:
    """Return the key (40 hexadecimal digits) of the features of these images: everything that decides them."""
    record = extractor.record
    facts = [VERSION, record.name, record.sha256, record.resize, extractor.device.type, data_sha256, split, count]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


def load(path: Path) -> tuple[torch.Tensor, torch.Tensor | None] | None:
    """Return the features ``[N, F]`` and logits ``[N, K]`` or None of an entry; None when there is none that is whole."""
    try:
        with safe_open(path, "pt") as file:
            features = file.get_tensor("features")
            logits = file.get_tensor("logits") if "logits" in file.keys() else None  # noqa: SIM118 - not a dict
            stated = (file.metadata() or {}).get("sha256")
    except (OSError, SafetensorError):
        return None
    if stated != _fingerprint(features, logits):
        LOG.warning("the cached features in %s are damaged; computing them again", path)
        return None
    with suppress(OSError):
        os.utime(path)  # used now
    return features, logits


def store(path: Path, features: torch.Tensor, logits: torch.Tensor | None) -> None:
    """Write an entry and make room for it; a cache that cannot be written is only slow, never an error."""
    tensors = {"features": features.contiguous()} | ({} if logits is None else {"logits": logits.contiguous()})
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part, {"sha256": _fingerprint(features, logits)})
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        LOG.warning("the features cannot be kept in %s (%s); they are computed again the next time", path.parent, error)
        with suppress(OSError):
            part.unlink(missing_ok=True)
    _make_room(path)


def _fingerprint(features: torch.Tensor, logits: torch.Tensor | None) -> str:
    digest = hashlib.sha256()
    for tensor in (features, *([] if logits is None else [logits])):
        digest.update(json.dumps([str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _make_room(newest: Path) -> None:
    """Remove the entries unused for longest until the rest fits, and what killed runs left half-written."""
    with suppress(OSError):
        for part in newest.parent.glob(".*.part"):
            if time.time() - part.stat().st_mtime > _ABANDONED_AFTER:
                part.unlink()
        entries = [(path, path.stat()) for path in newest.parent.glob("*.safetensors")]
        total = sum(stat.st_size for _, stat in entries)
        for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime_ns):
            if total <= MAX_BYTES or path == newest:
                break
            path.unlink()
            total -= stat.st_size
