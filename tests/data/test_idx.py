from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import socket
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sparring.data import idx, open_data
from sparring.errors import DataError, UsageError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.astype(np.uint8).tobytes()


def small_set(seed: int) -> dict[str, bytes]:
    generator = np.random.default_rng(seed)
    return {
        "train-images-idx3-ubyte": idx_bytes(generator.integers(256, size=(6, 4, 4))),
        "train-labels-idx1-ubyte": idx_bytes(np.arange(6) % 10),
        "t10k-images-idx3-ubyte": idx_bytes(generator.integers(256, size=(3, 4, 4))),
        "t10k-labels-idx1-ubyte": idx_bytes(np.arange(3) + 7),
    }


def serve(folder: Path):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def contents() -> dict[str, bytes]:
    return small_set(0)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty user cache, no SPARRING_DATA, no proxy: nothing of the machine reaches the test."""
    monkeypatch.setattr(idx, "_user_cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("SPARRING_DATA", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "cache"


@pytest.fixture
def mnist(contents, cache, monkeypatch):
    """Return a function that puts a small set with these mirrors in the place of MNIST."""

    def put(*mirrors: str) -> None:
        four = tuple(
            idx.IdxFile(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in contents.items()
        )
        monkeypatch.setitem(idx.IDX_SETS, "mnist", replace(idx.IDX_SETS["mnist"], files=four, mirrors=mirrors))

    put("http://127.0.0.1:9/")  # nobody listens: what is not on disk is not found
    return put


@pytest.fixture
def mirror(tmp_path, contents):
    """A mirror with the right files; yields its folder and its address."""
    folder = tmp_path / "www"
    folder.mkdir()
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=12345))
    server = serve(folder)
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def place(root: Path, layout: str, contents: dict[str, bytes], zipped: bool) -> None:
    folder = root / layout
    folder.mkdir(parents=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("layout", ["mnist", ".", "MNIST/raw"])
@pytest.mark.parametrize("how", ["--data-root", "SPARRING_DATA"])
def test_files_on_disk_are_found(tmp_path, monkeypatch, contents, mnist, layout, zipped, how):
    root = tmp_path / "root"
    place(root, layout, contents, zipped)
    if how == "SPARRING_DATA":
        monkeypatch.setenv("SPARRING_DATA", str(root))
    data = open_data("mnist", data_root=root if how == "--data-root" else None)
    assert data.samples.shape == (6, 1, 4, 4)
    assert data.samples.tobytes() == contents["train-images-idx3-ubyte"][16:]
    assert data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.held_out.labels.tolist() == [7, 8, 9]
    assert data.judge == data.held_out.judge == "digits-v1"


def test_the_wrong_files_are_passed_over(tmp_path, contents, mnist):
    """Fashion-MNIST's files have the names of MNIST's: lying in the root itself, they must not be taken for it."""
    root = tmp_path / "root"
    place(root, "mnist", small_set(1), True)
    place(root, "MNIST/raw", contents, False)
    assert open_data("mnist", data_root=root).samples.tobytes() == contents["train-images-idx3-ubyte"][16:]


@pytest.mark.parametrize("how", ["--data-root", "SPARRING_DATA"])
def test_a_root_that_is_no_folder_is_refused(tmp_path, monkeypatch, mnist, how):
    nowhere = tmp_path / "nowhere"
    if how == "SPARRING_DATA":
        monkeypatch.setenv("SPARRING_DATA", str(nowhere))
    with pytest.raises(UsageError, match=f"{how}: .*nowhere' is not an existing folder"):
        open_data("mnist", data_root=nowhere if how == "--data-root" else None)


def test_download_once(mnist, mirror, cache, contents):
    folder, address = mirror
    mnist(address)
    first = open_data("mnist")
    assert first.samples.tobytes() == contents["train-images-idx3-ubyte"][16:]
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(f"{name}.gz" for name in contents)
    for path in folder.iterdir():
        path.unlink()
    assert open_data("mnist").sha256 == first.sha256


def test_a_missing_a_wrong_and_a_dead_mirror_are_passed_over(tmp_path, mnist, mirror):
    _, address = mirror
    wrong = tmp_path / "wrong"
    place(wrong, ".", small_set(1), True)
    server = serve(wrong)
    bad = f"http://127.0.0.1:{server.server_port}/"
    try:
        mnist(f"{address}missing/", bad, f"http://127.0.0.1:{closed_port()}/", address)
        assert len(open_data("mnist")) == 6
    finally:
        server.shutdown()
        server.server_close()


def test_when_nothing_helps_one_sentence_says_what_to_do(tmp_path, mnist, mirror, cache):
    folder, address = mirror
    wrong = next(path for path in folder.iterdir() if path.name.startswith("train-images"))
    wrong.write_bytes(gzip.compress(b"something else"))
    dead = f"http://127.0.0.1:{closed_port()}/"
    mnist(f"{address}missing/", address, dead)
    with pytest.raises(DataError) as caught:
        open_data("mnist", data_root=tmp_path)
    text = str(caught.value)
    assert text.startswith(f"data: 'mnist' is not in {tmp_path}, ")
    assert f"{address}missing/train-images-idx3-ubyte.gz: HTTP 404" in text
    assert f"{address}train-images-idx3-ubyte.gz: not the published file (wrong sha256)" in text
    assert f"{dead}train-images-idx3-ubyte.gz: no connection" in text
    assert "--data-root" in text
    assert "SPARRING_DATA" in text
    assert "\n" not in text
    assert list((cache / "mnist").iterdir()) == []  # nothing half-loaded stays


def test_a_file_that_never_ends_is_not_read_to_its_end(tmp_path, mnist):
    """A gzip bomb under the right name costs no more memory than the right file."""
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="could not be downloaded"):
        open_data("mnist", data_root=tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_damaged_file_in_the_cache_is_loaded_again(mnist, mirror, cache):
    mnist(mirror[1])
    first = open_data("mnist")
    path = cache / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert open_data("mnist").sha256 == first.sha256


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not hold for root")
def test_a_cache_that_cannot_be_written_is_named(mnist, mirror, cache):
    cache.mkdir(mode=0o500)
    mnist(mirror[1])
    with pytest.raises(DataError, match="Permission denied"):
        open_data("mnist")


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x08", b"\x00\x00\x08\x01\x00\x00", b"\x00\x00\x09\x01\x00\x00\x00\x01a", b"PNG" * 9]
)
def test_what_is_no_idx_file_is_refused(content):
    with pytest.raises(DataError, match="not an idx file"):
        idx.parse_idx(content)


def test_an_idx_file_of_the_wrong_length_is_refused():
    content = idx_bytes(np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"shape \(2, 3\) holds 5 values"):
        idx.parse_idx(content[:-1])
    with pytest.raises(DataError, match=r"shape \(2, 3\) holds 7 values"):
        idx.parse_idx(content + b"x")


def test_idx_values_are_in_order():
    array = np.arange(24).reshape(2, 3, 4)
    assert (idx.parse_idx(idx_bytes(array)) == array).all()


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="the whole data sets are not beside the repository")
@pytest.mark.parametrize(("name", "judge"), [("mnist", "digits-v1"), ("fashion-mnist", "clothes-v1")])
def test_the_real_sets(cache, name, judge):
    data = open_data(name, data_root=SHARED)
    assert data.samples.shape == (60_000, 1, 28, 28)
    assert len(data.held_out) == 10_000
    assert data.judge == judge
    assert data.num_classes == 10
    assert np.bincount(data.held_out.labels, minlength=10).min() > 800


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="the whole data sets are not beside the repository")
def test_the_embedded_digits_are_the_ones_their_indices_name(cache):
    from importlib.resources import files

    mnist = open_data("mnist", data_root=SHARED)
    with (files("sparring.data") / "embedded" / "digits.npz").open("rb") as file:
        arrays = dict(np.load(file, allow_pickle=False))
    for part, data in (("train", mnist), ("test", mnist.held_out)):
        indices = arrays[f"{part}_indices"]
        assert len(set(indices.tolist())) == len(indices)
        assert (data.samples[indices, 0] == arrays[f"{part}_images"]).all()
        assert (data.labels[indices] == arrays[f"{part}_labels"]).all()
