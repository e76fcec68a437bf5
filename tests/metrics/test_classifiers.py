from __future__ import annotations

import gzip
import hashlib
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sparring.data import open_data
from sparring.metrics.extractors import EXTRACTORS, extract, load_extractor
from sparring.metrics.extractors.classifier import Classifier

DATA = Path(os.environ.get("SPARRING_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
FOLDERS = {"digits-v1": "mnist", "clothes-v1": "fashion-mnist"}
prepare = load_extractor("digits-v1").prepare
names = pytest.mark.parametrize("name", sorted(FOLDERS))


def _images(n: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _test_set(name: str) -> tuple[torch.Tensor, np.ndarray]:
    folder = DATA / FOLDERS[name]
    if not folder.is_dir():
        pytest.skip(f"the full data set is not at {folder}")
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"t10k-{part}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for part, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return torch.from_numpy(images.reshape(-1, 1, 28, 28) / np.float32(127.5) - 1), labels


@names
def test_weights_are_the_ones_of_the_table_and_small(name: str) -> None:
    file = EXTRACTORS[name].weights
    assert file is not None
    path = Path(str(files("sparring.metrics") / "weights" / file.name))
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == EXTRACTORS[name].sha256
    assert len(content) <= 1_000_000
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert set(metadata) == {"data", "accuracy", "command"}
    assert float(metadata["accuracy"]) == EXTRACTORS[name].accuracy


@names
def test_accuracy_is_the_one_of_the_table(name: str) -> None:
    x, y = _test_set(name)
    right = float((extract(name, x.split(250)).labels == y).mean())
    assert right == pytest.approx(EXTRACTORS[name].accuracy, abs=2e-4)  # other processors may round a picture over
    assert right >= {"digits-v1": 0.99, "clothes-v1": 0.925}[name]


def test_shipped_digits_are_recognised() -> None:
    held_out = open_data("digits").held_out
    assert held_out is not None
    found = extract("digits-v1", [held_out.batch(np.arange(500))[0]])
    assert (found.labels == held_out.labels[:500]).mean() >= 0.985
    assert found.labels.dtype == np.int64


@names
def test_loaded_classifier_is_frozen_and_cached(name: str) -> None:
    assert load_extractor(name) is load_extractor(name)
    net = load_extractor(name).net
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    found, logits = net(_images(3))
    assert found.shape == (3, EXTRACTORS[name].feature_dim)
    assert logits.shape == (3, len(EXTRACTORS[name].class_names))


def test_features_are_taken_before_the_relu() -> None:
    net = load_extractor("digits-v1").net
    assert isinstance(net, Classifier)
    found, logits = net(_images())
    assert (found < 0).any()
    torch.testing.assert_close(logits, net.head(found.clamp(min=0)))


@pytest.mark.parametrize("size", [1, 5, 12])
def test_features_do_not_depend_on_the_batch_size(size: int) -> None:
    x = _images()
    whole, cut = extract("digits-v1", [x]), extract("digits-v1", x.split(size))
    np.testing.assert_allclose(cut.features, whole.features, atol=2e-4)
    np.testing.assert_allclose(cut.probabilities, whole.probabilities, atol=1e-4)
    np.testing.assert_allclose(whole.probabilities.sum(axis=1), 1.0, rtol=1e-12)


def test_extracting_leaves_global_state_alone_and_ignores_autocast() -> None:
    x, before = _images(), torch.get_rng_state()
    plain = extract("digits-v1", [x]).features
    net = load_extractor("digits-v1").net
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    with torch.autocast("cpu", torch.bfloat16):
        inside = extract("digits-v1", [x]).features
        assert torch.is_autocast_enabled("cpu")
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(inside, plain)
    assert all(torch.equal(value, buffers[name]) for name, value in net.named_buffers())


def test_prepare_rounds_to_the_levels_of_a_picture_and_clips() -> None:
    levels = torch.arange(256, dtype=torch.float32)
    exact = torch.cat([levels, levels.new_full((28 * 28 - 256,), 7)]).view(1, 1, 28, 28)
    x = exact / 127.5 - 1
    torch.testing.assert_close(prepare(x), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(prepare(x + 0.4 / 127.5), x, atol=1e-6, rtol=0)
    assert prepare(torch.full((1, 1, 28, 28), 9.0)).max() == 1
    assert prepare(torch.full((1, 1, 28, 28), -9.0, dtype=torch.bfloat16)).min() == -1


def test_prepare_turns_colour_into_luma() -> None:
    red = torch.full((1, 3, 28, 28), -1.0)
    red[:, 0] = 1.0
    assert prepare(red).mean().item() == pytest.approx(0.299 - 0.587 - 0.114, abs=1e-5)
    grey = _images(2)
    torch.testing.assert_close(prepare(grey.expand(-1, 3, -1, -1)), prepare(grey), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(56, 56), (14, 14), (40, 31)])
def test_prepare_resizes_without_changing_flat_images(size: tuple[int, int]) -> None:
    flat = prepare(torch.full((2, 1, *size), 51 / 127.5 - 1))
    assert flat.shape == (2, 1, 28, 28)
    torch.testing.assert_close(flat, torch.full_like(flat, 51 / 127.5 - 1), atol=1e-5, rtol=0)


def test_prepare_antialiases_when_it_shrinks() -> None:
    stripes = torch.ones(1, 1, 84, 84)
    stripes[..., ::3] = -1.0  # one dark column in three: a third of the light is gone everywhere
    inner = prepare(stripes)[..., 2:-2]
    assert abs(inner.mean().item() - 1 / 3) < 0.01
    assert inner.std() < 0.2  # picking single columns would keep them at 1 and -1


def test_classifier_output_follows_its_arguments() -> None:
    found, logits = Classifier(num_classes=3, feature_dim=7).eval()(_images(2))
    assert (found.shape, logits.shape) == ((2, 7), (2, 3))
