"""A network of the user's own as a feature extractor."""

from __future__ import annotations

import copy
import hashlib
import json

import torch
from torch import nn

from sparring.errors import UsageError
from sparring.metrics.extractors.record import Extractor, FeatureNetwork, LoadedExtractor
from sparring.metrics.extractors.resize import bilinear_antialias


class ModuleNetwork(FeatureNetwork):
    """A module that makes features of images, without classes.

    Args:
        module: maps ``[B, C, H, W]`` in [-1, 1] to ``[B, F]``.
        side: height and width that it takes, or None for any.
    """

    def __init__(self, module: nn.Module, side: int | None) -> None:
        super().__init__()
        self.module = module
        self.side = side

    def from_levels(self, levels: torch.Tensor) -> torch.Tensor:
        """Return images in [-1, 1], resized if a side is set."""
        x = levels / 127.5 - 1
        return x if self.side is None else bilinear_antialias(x, self.side)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the features ``[B, F]`` in float32, and no logits.

        Raises:
            UsageError: when the module returns something else.
        """
        found = self.module(x)
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(x):
            kind = f"shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else f"a {type(found).__name__}"
            raise UsageError(
                f"Feature extractor: the module returned {kind} for images of shape {tuple(x.shape)}; "
                "wrap it so that it returns one tensor [B, F]."
            )
        return found.float(), None


def extractor_from_module(module: nn.Module, name: str | None = None, side: int | None = None) -> LoadedExtractor:
    """Return a module of the user's as an extractor.

    Images come to it clipped and rounded to the 256 levels of a picture, in [-1, 1], with the channels that they have.
    It works on a copy in eval mode, so that the module may go on training and the features do not move.

    Args:
        module: maps ``[B, C, H, W]`` in [-1, 1] to features ``[B, F]``; all images are rows of their own.
        name: what protocols call it; None for the name of its class.
        side: height and width that images are resized to (bilinear with antialiasing), or None to leave them.

    Returns:
        The extractor, on the device of the module. Its sha256 is that of the tensors of its ``state_dict``, see
        `state_sha256`: it tells weights apart, not code.
    """
    tensors = [*module.parameters(), *module.buffers()]
    device = tensors[0].device if tensors else torch.device("cpu")
    net = ModuleNetwork(copy.deepcopy(module), side).eval().requires_grad_(False)
    record = Extractor(
        name=name or type(module).__name__,
        summary="a module of the user's",
        paper=None,
        weights=None,
        sha256=state_sha256(module),
        network=lambda: net,
        side=side,
        resize="u8" if side is None else f"u8-bilinear-antialias-{side}",
        feature_dim=None,
        num_classes=0,
    )
    return LoadedExtractor(record, net, device)


def state_sha256(module: nn.Module) -> str:
    """Return the sha256 (hexadecimal) of a module's state: name, dtype, shape and bytes of every tensor, in its order."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):  # modules may put other things into their state
            digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
