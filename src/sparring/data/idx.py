"""MNIST and Fashion-MNIST: found on disk or downloaded, always checked against the sha256 of their content."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sparring.data.digits import DIGIT_NAMES
from sparring.data.records import Array, Data, make_data
from sparring.errors import DataError, UsageError

LOG = logging.getLogger("sparring.data")


@dataclass(frozen=True)
class IdxFile:
    """One file of a set, as its authors publish it.

    Attributes:
        name: the published name, without ``.gz``.
        sha256: of the *decompressed* content, because gzip headers differ between mirrors.
        size: bytes of the decompressed content.
    """

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class IdxSet:
    """A data set of four idx files.

    Attributes:
        files: training images, training labels, test images, test labels, in this order.
        mirrors: addresses of folders that hold the ``.gz`` files, tried in this order.
        folders: where the set lies below a data root, besides the root itself.
        class_names: the ten classes.
        judge: name of the feature extractor trained on it.
    """

    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]
    class_names: tuple[str, ...]
    judge: str


def _four(images: str, labels: str, test_images: str, test_labels: str) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    return (
        IdxFile("train-images-idx3-ubyte", images, 47_040_016),
        IdxFile("train-labels-idx1-ubyte", labels, 60_008),
        IdxFile("t10k-images-idx3-ubyte", test_images, 7_840_016),
        IdxFile("t10k-labels-idx1-ubyte", test_labels, 10_008),
    )


IDX_SETS: dict[str, IdxSet] = {
    "mnist": IdxSet(
        files=_four(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        folders=("mnist", "MNIST/raw"),
        class_names=DIGIT_NAMES,
        judge="digits-v1",
    ),
    "fashion-mnist": IdxSet(
        files=_four(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        mirrors=(
            "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        folders=("fashion-mnist", "FashionMNIST/raw"),
        class_names=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        judge="clothes-v1",
    ),
}  # fmt: skip
"""The sets by name. A plain table: tests put in sets of their own."""


def open_idx(name: str, data_root: str | Path | None = None) -> Data:
    """Return one of `IDX_SETS`: its training images, with the test images held out.

    Each file is looked for in ``data_root``, then in the folder named by the environment variable SPARRING_DATA,
    then in the user's cache; what is in none of them is downloaded into the cache. A folder may hold the files as
    ``<root>/<name>/*.gz``, ``<root>/*.gz``, in torchvision's layout, compressed or not.

    Args:
        name: ``"mnist"`` or ``"fashion-mnist"``.
        data_root: the folder given by ``--data-root``.

    Raises:
        UsageError: ``data_root`` or SPARRING_DATA names no folder.
        DataError: the files are nowhere to be found and cannot be downloaded.
    """
    idx_set = IDX_SETS[name]
    roots = _roots(data_root)
    train_images, train_labels, test_images, test_labels = (
        parse_idx(_content(name, idx_set, file, roots)) for file in idx_set.files
    )
    held_out = _part(name, idx_set, test_images, test_labels)
    return _part(name, idx_set, train_images, train_labels, held_out)


def _part(name: str, idx_set: IdxSet, images: Array, labels: Array, held_out: Data | None = None) -> Data:
    return make_data(
        name, images[:, None], labels.astype(np.int64), idx_set.class_names, judge=idx_set.judge, held_out=held_out
    )


def parse_idx(content: bytes) -> Array:
    """Return the array in an idx file of unsigned bytes.

    The format: two zero bytes, 8 for "unsigned byte", the number of axes, each length as a big-endian 32-bit
    integer, then the values.

    Raises:
        DataError: the content is no such file, or its length is wrong.
    """
    axes = content[3] if len(content) >= 4 and content[:3] == b"\x00\x00\x08" else 0
    start = 4 + 4 * axes
    if axes == 0 or len(content) < start:
        raise DataError("data: this is not an idx file of unsigned bytes.")
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    values = np.frombuffer(content, np.uint8, offset=start)
    if values.size != int(np.prod(shape, dtype=object)):
        raise DataError(f"data: an idx file of shape {shape} holds {values.size} values; it is cut off or too long.")
    return values.reshape(shape)


def _roots(data_root: str | Path | None) -> list[Path]:
    """Return the folders to look in, the user's wishes first."""
    wishes = {"--data-root": data_root, "SPARRING_DATA": os.environ.get("SPARRING_DATA")}
    roots = [(flag, Path(root).expanduser()) for flag, root in wishes.items() if root]
    for flag, root in roots:
        if not root.is_dir():
            raise UsageError(f"{flag}: '{root}' is not an existing folder; name the folder that holds the data sets.")
    return [root for _, root in roots]


def _user_cache() -> Path:
    import pooch

    return Path(pooch.os_cache("sparring"))


def _content(name: str, idx_set: IdxSet, file: IdxFile, roots: list[Path]) -> bytes:
    """Return the checked, decompressed content of one file, from disk if it is there, else from a mirror."""
    cache = _user_cache()
    folders = [folder for root in roots for folder in (*(root / sub for sub in idx_set.folders), root)]
    for folder in (*folders, cache / name):
        # "train-images.idx3-ubyte" is how some archives spell it
        for spelling in (f"{file.name}.gz", file.name, file.name.replace("-idx", ".idx")):
            content = _read(folder / spelling, file)
            if content is not None:
                return content
    return _download(name, idx_set, file, cache / name, roots)


def _read(path: Path, file: IdxFile) -> bytes | None:
    """Return the file's decompressed content if it is there, readable and the right one."""
    try:
        # one byte more than right shows a wrong file; no wrong file can fill the memory
        with path.open("rb") as raw, gzip.open(raw) if path.suffix == ".gz" else raw as stream:
            content = stream.read(file.size + 1)
    except (OSError, EOFError, zlib.error):
        return None
    if hashlib.sha256(content).hexdigest() != file.sha256:
        LOG.info("%s is not the published %s; looking further", path, file.name)
        return None
    return bytes(content)


def _download(name: str, idx_set: IdxSet, file: IdxFile, folder: Path, roots: list[Path]) -> bytes:
    """Fetch one file into the user's cache from the first mirror that gives the right content."""
    failures = []
    for mirror in idx_set.mirrors:
        url = f"{mirror}{file.name}.gz"
        LOG.info("downloading %s", url)
        try:
            content = _fetch(url, file, folder)
        except OSError as error:
            failures.append(f"{url}: {_reason(error)}")
            continue
        if content is not None:
            return content
        failures.append(f"{url}: not the published file (wrong sha256)")
    looked = ", ".join(str(root) for root in (*roots, folder))
    raise DataError(
        f"data: '{name}' is not in {looked} and could not be downloaded ({'; '.join(failures)}): connect to the "
        f"internet, or put {file.name}.gz and its three companions in a folder and name it with --data-root or "
        f"SPARRING_DATA."
    )


def _fetch(url: str, file: IdxFile, folder: Path) -> bytes | None:
    """Download ``url`` into ``folder`` (renamed there only when whole and right); None when it is the wrong file."""
    import pooch

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        part = Path(scratch) / f"{file.name}.gz"
        pooch.HTTPDownloader(timeout=30, progressbar=False)(url, str(part), None)
        content = _read(part, file)
        if content is not None:
            os.replace(part, folder / part.name)
    return content


def _reason(error: OSError) -> str:
    """Return a network error in a few words; the libraries' own texts nest three exceptions."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error) or type(error).__name__
