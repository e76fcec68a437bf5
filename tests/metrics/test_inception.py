"""Inception-v3 of the FID: the same network as torch-fidelity's, which is TensorFlow's to the bit.

The comparison itself needs torch-fidelity (its Inception is plain PyTorch; nothing else of it is imported):

    pip install --no-deps --target OTHER torch-fidelity
    PYTHONPATH=OTHER pytest tests/metrics/test_inception.py

Measured with torch-fidelity 0.4.0 and torch 2.13 on a CPU, same random weights, two 41x57 pictures resized by each side's
own code: largest difference of the 2048 features and of the 1008 logits 0.0 in torch's usual memory layout, and 1.2e-5
in the faster layout that `prepare` chooses, at features of standard deviation 4.8. The numbers below are torch-fidelity's.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tests.metrics.made_weights import made_pictures, made_state

from sparring.errors import CheckpointError
from sparring.metrics import extractors
from sparring.metrics.extractors import EXTRACTORS, LoadedExtractor, extract, load_extractor
from sparring.metrics.extractors.inception import Inception, _average


def bare() -> Inception:
    """Return the network without weights."""
    with torch.device("meta"):
        return Inception()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made weights as the published file is: a state dict written by ``torch.save``."""
    path = tmp_path_factory.mktemp("weights") / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(made_state(bare()), path)
    return path


@pytest.fixture
def made(file: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedExtractor:
    """The extractor with the made weights, loaded as the published ones are."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(extractors.EXTRACTORS, "inception", replace(EXTRACTORS["inception"], sha256=sha256))
    return load_extractor("inception", file)


def torch_fidelity() -> ModuleType:
    """Return torch-fidelity's Inception without the package around it, which needs torchvision."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torch-fidelity is not installed")
    package = ModuleType("torch_fidelity")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault("torch_fidelity", package)
    return importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")


def test_it_is_torch_fidelity_s(made: LoadedExtractor, file: Path) -> None:
    outputs = ["2048", "logits_unbiased", "logits"]
    theirs = torch_fidelity().FeatureExtractorInceptionV3("other", outputs, feature_extractor_weights_path=file)
    x = made_pictures(2, 3, 41, 57)
    expected, expected_logits, biased = theirs((x * 127.5 + 127.5).round().to(torch.uint8))
    features, logits = made.forward(made.prepare(x).contiguous())
    assert torch.equal(features, expected)
    assert torch.equal(logits, expected_logits)
    assert isinstance(made.net, Inception)
    torch.testing.assert_close(logits + made.net.fc.bias, biased)


def test_the_numbers_of_torch_fidelity_come_out(made: LoadedExtractor) -> None:
    features, logits = made.forward(made.prepare(made_pictures(2, 3, 41, 57)))
    assert logits is not None
    assert (features.shape, logits.shape) == ((2, 2048), (2, 1008))
    expected = [[0.800962, 1.689873, 0.0], [0.814224, 1.558097, 0.0]]
    torch.testing.assert_close(features[:, :3], torch.tensor(expected), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.mean(dim=1), torch.tensor([3.322759, 3.384480]), rtol=1e-4, atol=0)
    torch.testing.assert_close(features.std(dim=1), torch.tensor([4.842955, 4.936286]), rtol=1e-4, atol=0)
    expected = [[-7.809271, -2.553618, 5.077170], [-7.842124, -2.806867, 5.215075]]
    torch.testing.assert_close(logits[:, :3], torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_its_tensors_are_those_of_the_published_file() -> None:
    net = bare()
    state = net.state_dict()
    assert len(state) == 566
    assert sum(parameter.numel() for parameter in net.parameters()) == 23_850_960  # of 1000 classes: 23,834,568
    assert state["Conv2d_1a_3x3.conv.weight"].shape == (32, 3, 3, 3)
    assert state["Mixed_5b.branch1x1.bn.running_mean"].shape == (64,)
    assert state["Mixed_6e.branch7x7dbl_5.conv.weight"].shape == (192, 192, 1, 7)
    assert state["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert state["fc.weight"].shape == (1008, 2048)


def test_the_record_names_the_published_file() -> None:
    """Its sha256 starts with the digits in its name; the rest is as several projects state it that have the file."""
    record = EXTRACTORS["inception"]
    assert record.weights is not None
    assert record.weights.url is not None
    assert record.weights.url.endswith("/" + record.weights.name)
    assert record.weights.name == f"pt_inception-2015-12-05-{record.sha256[:8]}.pth"


def test_average_pools_leave_the_padding_out_of_the_average() -> None:
    assert torch.equal(_average(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_only_the_last_block_pools_by_maximum() -> None:
    net = bare()
    assert (net.Mixed_7b.by_maximum, net.Mixed_7c.by_maximum) == (False, True)


def test_levels_become_what_the_graph_makes_of_them() -> None:
    levels = torch.tensor([0.0, 128.0, 255.0]).view(3, 1, 1, 1)
    prepared = bare().prepare((levels / 127.5 - 1).expand(3, 1, 8, 5))
    assert prepared.shape == (3, 3, 299, 299)
    assert prepared.amin(dim=(1, 2, 3)).tolist() == prepared.amax(dim=(1, 2, 3)).tolist() == [-1.0, 0.0, 127 / 128]


def test_grey_is_three_equal_channels() -> None:
    net, grey = bare(), made_pictures(1, 1, 20, 30)
    assert torch.equal(net.prepare(grey), net.prepare(grey.expand(-1, 3, -1, -1)))


def test_features_do_not_depend_on_the_batch_size(made: LoadedExtractor) -> None:
    x = made_pictures(3, 3, 16, 16)
    whole, cut = extract(made, [x]), extract(made, x.split(1))
    np.testing.assert_allclose(cut.features, whole.features, atol=2e-4)
    assert whole.probabilities is not None
    np.testing.assert_allclose(cut.probabilities, whole.probabilities, atol=1e-4)


def test_the_published_name_with_another_content_is_refused(file: Path) -> None:
    with pytest.raises(CheckpointError, match=r"have sha256 .{8}… instead of 6726825d…; give the file itself"):
        load_extractor("inception", file)


@pytest.mark.gpu
def test_a_gpu_finds_the_same_features(made: LoadedExtractor) -> None:
    x = made_pictures(2, 3, 41, 57)
    np.testing.assert_allclose(extract(made, [x], "cuda").features, extract(made, [x]).features, atol=2e-3)
    assert made.device.type == next(made.net.parameters()).device.type == "cpu"
