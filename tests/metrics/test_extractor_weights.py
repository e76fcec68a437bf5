"""Weights are found, downloaded and checked; nothing but the right file is ever read."""

from __future__ import annotations

import hashlib
import io
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from sparring.errors import CheckpointError
from sparring.metrics import extractors
from sparring.metrics.extractors import EXTRACTORS, Extractor, WeightsFile, load_extractor, weights_at_hand
from sparring.metrics.extractors.weights import build_network, cache_root, find_weights

CONTENT = b"what the authors published"


class Server:
    """Serves one file on this machine and counts how often it is asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.asked = 0

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                there = self.path == "/weights.pth"
                self.send_response(200 if there else 404)
                self.end_headers()
                self.wfile.write(server.content if there else b"")

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    made = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), made.handler()) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield made, f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("SPARRING_WEIGHTS", raising=False)


def downloaded(url: str, content: bytes = CONTENT) -> Extractor:
    weights = WeightsFile("weights.pth", url=url)
    return replace(EXTRACTORS["inception"], weights=weights, sha256=hashlib.sha256(content).hexdigest())


def test_a_download_is_checked_kept_and_not_repeated(server: tuple[Server, str], tmp_path: Path) -> None:
    made, address = server
    extractor = downloaded(f"{address}/weights.pth")
    assert find_weights(extractor) == CONTENT
    assert find_weights(extractor) == CONTENT
    assert made.asked == 1
    assert [path.name for path in (tmp_path / "cache" / "weights").iterdir()] == ["weights.pth"]


def test_a_wrong_download_is_refused_and_leaves_nothing(server: tuple[Server, str], tmp_path: Path) -> None:
    made, address = server
    made.content = CONTENT[:-1]
    with pytest.raises(CheckpointError, match="does not give the published file"):
        find_weights(downloaded(f"{address}/weights.pth"))
    assert list((tmp_path / "cache" / "weights").iterdir()) == []


def test_a_file_that_is_not_there_gets_one_sentence(server: tuple[Server, str]) -> None:
    _, address = server
    with pytest.raises(
        CheckpointError, match=r"could not be downloaded \(HTTPError\): connect to the internet, or get "
    ):
        find_weights(downloaded(f"{address}/gone.pth"))


def test_no_connection_gets_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"\(ConnectionError\): connect .* SPARRING_WEIGHTS names\.$"):
        find_weights(downloaded("http://127.0.0.1:1/weights.pth"))


@pytest.mark.parametrize("folder", ["wish", "cache/weights", "hub/hub/checkpoints"])
def test_files_on_disk_are_taken_first(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARRING_WEIGHTS", str(tmp_path / "wish"))
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "weights.pth").write_bytes(CONTENT)
    assert find_weights(downloaded("http://127.0.0.1:1/weights.pth")) == CONTENT


def test_a_damaged_file_on_disk_is_passed_over(server: tuple[Server, str], tmp_path: Path) -> None:
    _, address = server
    kept = tmp_path / "cache" / "weights" / "weights.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"cut off")
    assert find_weights(downloaded(f"{address}/weights.pth")) == CONTENT
    assert kept.read_bytes() == CONTENT


def test_a_named_file_or_folder_is_the_only_one_looked_at(tmp_path: Path) -> None:
    extractor = downloaded("http://127.0.0.1:1/weights.pth")
    (tmp_path / "weights.pth").write_bytes(CONTENT)
    assert find_weights(extractor, tmp_path) == find_weights(extractor, str(tmp_path / "weights.pth")) == CONTENT
    (tmp_path / "weights.pth").write_bytes(b"another")
    with pytest.raises(CheckpointError, match=r"weights.pth\) have sha256 .{8}… instead of "):
        find_weights(extractor, tmp_path)
    with pytest.raises(CheckpointError, match=r"cannot be read: .* give the file itself or leave it out"):
        find_weights(extractor, tmp_path / "none.pth")


def test_no_code_in_a_file_is_run_even_with_the_right_hash(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    content = pickle.dumps({"fc.weight": Trap()}, protocol=2)
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="do not fit its network"):
        build_network(downloaded("", content), tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("state", [{"fc.weight": torch.zeros(3)}, {}, [1, 2], "text"])
def test_weights_that_do_not_fit_are_refused(state: object, tmp_path: Path) -> None:
    written = io.BytesIO()
    torch.save(state, written)
    (tmp_path / "weights.pth").write_bytes(written.getvalue())
    with pytest.raises(CheckpointError, match="weights of inception do not fit its network"):
        build_network(downloaded("", written.getvalue()), tmp_path)


def test_changed_or_missing_weights_of_the_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = EXTRACTORS["digits-v1"]
    assert real.weights is not None
    missing = replace(real, weights=replace(real.weights, name="none.safetensors"))
    other = replace(real, network=EXTRACTORS["inception"].network)
    for changed, complaint in (
        (replace(real, sha256="0" * 64), "instead of 00000000…; reinstall sparring"),
        (missing, "cannot be read: .*; reinstall sparring"),
        (other, "do not fit its network"),
    ):
        monkeypatch.setitem(extractors.EXTRACTORS, "digits-v1", changed)
        with pytest.raises(CheckpointError, match=complaint):
            load_extractor("digits-v1")


def test_weights_at_hand_need_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = EXTRACTORS["efficientnet-lite1"]
    assert real.weights is not None
    absent = replace(real, weights=replace(real.weights, package="a_package_that_nobody_has"))
    monkeypatch.setitem(extractors.EXTRACTORS, "efficientnet-lite1", absent)
    assert weights_at_hand("digits-v1")
    assert not weights_at_hand("efficientnet-lite1")
    assert not weights_at_hand("inception")
    (tmp_path / "cache" / "weights").mkdir(parents=True)
    (tmp_path / "cache" / "weights" / "pt_inception-2015-12-05-6726825d.pth").touch()
    assert weights_at_hand("inception")


def test_the_caches_are_where_they_are_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_root(tmp_path / "given") == tmp_path / "given"
    assert cache_root() == tmp_path / "cache"
    monkeypatch.delenv("SPARRING_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "sparring"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "sparring"
