"""Checkpoints: everything that decides the future, written beside, fsynced, then renamed; never a pickle.

A checkpoint is a directory of safetensors files and a ``manifest.json`` with the sha256 of each. A crash at any moment
leaves either the old checkpoints or the new one, whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from sparring.errors import CheckpointError
from sparring.runs import sync_directory

FORMAT = 2

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """What is in a checkpoint.

    Attributes:
        parts: file name without suffix -> its tensors: ``G``, ``D``, ``G_ema``, ``G_optimizer``, ``D_optimizer`` and
            ``gauges``, the sums of the log's unfinished row.
        state: JSON-able rest: step, images seen, best score, log offset, data hash, machine.
    """

    parts: dict[str, Tensors]
    state: dict[str, Any] = field(default_factory=dict)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """Return an optimizer's state, flat: ``"3.exp_avg"`` is the third parameter's first moment.

    Learning rates and betas are not in it: they come from the config.
    """
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put a flat state back into an optimizer built over the same parameters.

    Raises:
        CheckpointError: a moment's shape is not its parameter's.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters) or not _is_state_of(value, parameters[int(index)]):
            raise CheckpointError(f"the checkpoint's optimizer state '{name}' fits no parameter of the network.")
        # Moments lie in memory like their parameters: the fused Adam reads both as they lie.
        like = parameters[int(index)]
        state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(value) if value.dim() else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _is_state_of(value: Tensor, parameter: Tensor) -> bool:
    return value.dim() == 0 or value.shape == parameter.shape


def check_fits(part: str, tensors: Mapping[str, Tensor], built: Mapping[str, Tensor]) -> None:
    """Compare names, shapes and dtypes with the network that was built from the config.

    Args:
        part: the player's name, for the sentence.
        tensors: what the file holds.
        built: the ``state_dict`` of the network.

    Raises:
        CheckpointError: they differ; the sentence names the first difference.
    """
    missing, extra = sorted(built.keys() - tensors.keys()), sorted(tensors.keys() - built.keys())
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"has '{extra[0]}', which the network lacks"
        raise CheckpointError(f"the checkpoint does not fit {part}: it {what}; use the config it was made with.")
    for name, value in tensors.items():
        if value.shape != built[name].shape or value.dtype != built[name].dtype:
            found, wanted = (f"{tuple(t.shape)} {t.dtype}" for t in (value, built[name]))
            raise CheckpointError(
                f"the checkpoint does not fit {part}: '{name}' is {found}, the network needs {wanted}."
            )


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that it is there as a whole or not at all.

    Args:
        directory: where; its name is the step. A checkpoint already there is replaced.
        checkpoint: the content; every tensor but the gauges must be finite.

    Raises:
        OSError: it could not be written; what was there before stands.
        ValueError: a tensor is not finite.
    """
    for part, tensors in checkpoint.parts.items():
        for name, value in tensors.items():
            if part != "gauges" and value.is_floating_point() and not bool(value.isfinite().all()):
                raise ValueError(f"{part} '{name}' is not finite")
    beside = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir(parents=True)
        files = {}
        for part, tensors in checkpoint.parts.items():
            content = save_tensors({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
            _write_durably(beside / f"{part}.safetensors", content)
            files[f"{part}.safetensors"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        manifest = {"format": FORMAT, "files": files, "state": checkpoint.state}
        _write_durably(beside / "manifest.json", (json.dumps(manifest, indent=1, allow_nan=False) + "\n").encode())
        sync_directory(beside)
        _put_in_place(beside, directory)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _put_in_place(beside: Path, directory: Path) -> None:
    """Give a finished checkpoint its name; one already there goes only when the new one stands."""
    old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    if directory.exists():
        os.rename(directory, old)
    try:
        os.rename(beside, directory)
    except OSError:
        if old.exists():
            os.rename(old, directory)
        raise
    shutil.rmtree(old, ignore_errors=True)
    sync_directory(directory.parent)


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(directory: Path, parts: set[str] | None = None) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        directory: where it is.
        parts: which files to read; None reads all.

    Returns:
        The content, on the CPU.

    Raises:
        CheckpointError: it is missing, damaged or of an unknown format; the sentence says which.
    """
    manifest = _read_manifest(directory)
    loaded = {}
    for name, entry in manifest["files"].items():
        part = name.removesuffix(".safetensors")
        if parts is None or part in parts:
            loaded[part] = _read_part(directory / name, entry["sha256"])
    absent = (parts or set()) - loaded.keys()
    if absent:
        raise CheckpointError(f"checkpoint {directory} has no part '{sorted(absent)[0]}'.")
    return Checkpoint(loaded, manifest["state"])


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise CheckpointError(f"{directory} is not a checkpoint: it has no manifest.json.") from None
    except ValueError:
        raise CheckpointError(f"checkpoint {directory} is damaged: manifest.json is not JSON.") from None
    well_formed = (
        isinstance(manifest, dict)
        and isinstance(manifest.get("state"), dict)
        and isinstance(manifest.get("files"), dict)
        and all(
            isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and name == Path(name).name
            for name, entry in manifest["files"].items()
        )
    )
    if not well_formed:
        raise CheckpointError(f"checkpoint {directory} is damaged: manifest.json lacks its files or its state.")
    checked: dict[str, Any] = manifest
    if checked.get("format") != FORMAT:
        raise CheckpointError(
            f"checkpoint {directory} has format {checked.get('format')}; this version of sparring reads format {FORMAT}."
        )
    return checked


def _read_part(path: Path, sha256: str) -> Tensors:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint file {path} cannot be read: {error.strerror}.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointError(
            f"checkpoint file {path} is damaged: its sha256 is not the manifest's; use an older checkpoint."
        )
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint file {path} is damaged: {error}.") from None


def prune(directories: list[Path], keep: int, spare: Path | None) -> None:
    """Delete all but the newest checkpoints.

    Args:
        directories: the checkpoints, oldest first.
        keep: how many of the newest stay.
        spare: one more that stays: the best.
    """
    for directory in directories[:-keep]:
        if spare is None or directory.name != spare.name:
            # Renamed first, so that a crash while deleting never leaves half a checkpoint under a valid name.
            doomed = directory.with_name(f".{directory.name}.{os.getpid()}.old")
            os.rename(directory, doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def sweep(checkpoints_dir: Path) -> None:
    """Remove what a killed process left half-written or half-deleted."""
    for path in checkpoints_dir.glob(".*"):
        if path.suffix in (".tmp", ".old"):
            shutil.rmtree(path, ignore_errors=True)


def quarantine(directory: Path) -> None:
    """Set a damaged checkpoint aside under a name that no run looks for."""
    aside = directory.with_name(f"{directory.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(directory, aside)
