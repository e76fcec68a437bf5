"""What holds for every feature extractor, and for modules of the user's."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from sparring.errors import UsageError
from sparring.metrics.extractors import (
    EXTRACTORS,
    extract,
    extractor_from_module,
    load_extractor,
)
from sparring.metrics.extractors.module import state_sha256
from sparring.metrics.extractors.record import FeatureNetwork
from sparring.metrics.extractors.run import full_precision
from sparring.metrics.extractors.weights import build_network

names = pytest.mark.parametrize("name", list(EXTRACTORS))


class Means(nn.Module):
    """Features that can be worked out by hand: the mean of each channel, times a weight; noisy while training."""

    def __init__(self, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.weight * x.mean(dim=(2, 3)) + float(self.training)


def network(name: str) -> FeatureNetwork:
    with torch.device("meta"):
        return EXTRACTORS[name].network().eval()


@names
def test_the_table_says_what_the_network_does(name: str) -> None:
    record, net = EXTRACTORS[name], network(name)
    assert record.name == name
    assert re.fullmatch("[0-9a-f]{64}", record.sha256)
    assert record.weights is not None
    assert (record.weights.package is None) != (record.weights.url is None)
    assert record.resize.endswith(f"-{record.side}")
    prepared = net.prepare(torch.zeros(2, 3, 37, 50))
    assert prepared.shape[2:] == (record.side, record.side)
    features, logits = net(prepared.to("meta"))
    assert logits is not None
    assert (features.shape, logits.shape) == ((2, record.feature_dim), (2, record.num_classes))
    assert record.class_names == () or len(record.class_names) == record.num_classes


@names
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_counts_as_its_saved_picture(name: str, channels: int) -> None:
    """Rounding comes first: noise below half a level, values beyond the range and the dtype change nothing."""
    net, side = network(name), 21
    levels = torch.randint(0, 256, (2, channels, side, side + 9), generator=torch.Generator().manual_seed(0))
    x = levels / 127.5 - 1
    clean = net.prepare(x)
    assert clean.dtype == torch.float32
    assert torch.equal(net.prepare(x + 0.4 / 127.5), clean)
    assert torch.equal(net.prepare(x.double()), clean)
    black_and_white = torch.where(levels < 128, -1.0, 1.0)
    assert torch.equal(net.prepare(black_and_white * 7), net.prepare(black_and_white))


@names
def test_a_tensor_need_not_be_rounded(name: str) -> None:
    """A tiny step of an image is a tiny step of the input, for what measures slopes."""
    net = network(name)
    x = torch.full((1, 3, 5, 5), 0.1)
    moved = net.prepare(x + 1e-4, rounded=False) - net.prepare(x, rounded=False)
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-4), rtol=1e-2, atol=0)
    assert torch.equal(net.prepare(x + 1e-4), net.prepare(x))


def test_building_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    build_network(EXTRACTORS["digits-v1"])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(UsageError, match="no images"):
        extract("digits-v1", [])


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'digits-v1'"):
        load_extractor("digit-v1")


def test_reduced_precision_of_the_caller_is_ignored_and_kept() -> None:
    x, before = torch.linspace(-1, 1, 8 * 784).view(8, 1, 28, 28), torch.get_float32_matmul_precision()
    plain = extract("digits-v1", [x]).features
    try:
        torch.set_float32_matmul_precision("medium")
        np.testing.assert_array_equal(extract("digits-v1", [x]).features, plain)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_full_precision_is_restored_after_an_error() -> None:
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    inside = []

    def fail() -> None:
        with full_precision():
            inside.extend(setting.fp32_precision for setting in settings)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == ["ieee", "ieee"]
    assert [setting.fp32_precision for setting in settings] == before


def test_another_device_gets_a_copy() -> None:
    loaded = load_extractor("digits-v1")
    assert loaded.on("cpu") is loaded
    moved = loaded.on("meta")
    assert {p.device.type for p in moved.net.parameters()} == {"meta"}
    assert {p.device.type for p in loaded.net.parameters()} == {"cpu"}
    assert moved.record is loaded.record


def test_not_a_number_in_is_not_a_number_out() -> None:
    x = torch.zeros(2, 1, 28, 28)
    x[1, 0, 3, 3] = float("nan")
    found = extract("digits-v1", [x]).features
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).any()


# Modules of the user's.


def test_a_module_is_taken_where_a_name_is() -> None:
    x = torch.stack([torch.full((3, 4, 4), -1.0), torch.full((3, 4, 4), 1.0)])
    found = extract(Means(2.0), [x])
    np.testing.assert_array_equal(found.features, [[-2.0] * 3, [2.0] * 3])
    assert found.features.dtype == np.float64
    assert found.probabilities is None


def test_a_module_sees_the_levels_of_a_picture() -> None:
    x = torch.full((1, 1, 4, 4), 0.3)
    found = extract(Means(1.0), [x]).features
    assert found[0, 0] == pytest.approx(round(0.3 * 127.5 + 127.5) / 127.5 - 1, abs=1e-7)
    assert extract(Means(1.0), [x * 99]).features[0, 0] == 1


def test_a_module_is_left_as_it_is() -> None:
    module = Means().train()
    extract(module, [torch.zeros(2, 1, 4, 4)])
    assert module.training
    assert module.weight.requires_grad
    assert module.calls == 0


def test_a_loaded_module_does_not_move_when_the_module_is_trained() -> None:
    module = Means(2.0)
    loaded = extractor_from_module(module)
    with torch.no_grad():
        module.weight.fill_(5.0)
    np.testing.assert_allclose(extract(loaded, [torch.ones(1, 1, 4, 4)]).features, 2.0)
    assert load_extractor(loaded) is loaded
    assert load_extractor(module).record.sha256 != loaded.record.sha256


def test_a_module_gets_images_of_its_side() -> None:
    seen: list[tuple[int, ...]] = []

    class Nosy(Means):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return super().forward(x)

    extract(extractor_from_module(Nosy(), side=9), [torch.zeros(2, 3, 20, 31)])
    extract(Nosy(), [torch.zeros(2, 3, 20, 31)])
    assert seen == [(2, 3, 9, 9), (2, 3, 20, 31)]


def test_the_record_of_a_module_names_its_weights_and_resize() -> None:
    record = extractor_from_module(Means(), name="mine", side=64).record
    assert (record.name, record.resize, record.side) == ("mine", "u8-bilinear-antialias-64", 64)
    assert extractor_from_module(Means()).record.name == "Means"
    assert extractor_from_module(Means()).record.resize == "u8"
    assert record.sha256 == state_sha256(Means())


def test_the_hash_is_of_names_types_shapes_and_values() -> None:
    base = nn.Linear(2, 3)
    same = nn.Linear(2, 3)
    same.load_state_dict(base.state_dict())
    assert state_sha256(same) == state_sha256(base)
    with torch.no_grad():
        same.weight[0, 0] += 1e-6
    others = [same, nn.Sequential(base), nn.Linear(3, 2), nn.Flatten(), Means()]
    others.append(nn.Linear(2, 3).double())
    assert len({state_sha256(module) for module in [base, *others]}) == 1 + len(others)
    assert re.fullmatch("[0-9a-f]{64}", state_sha256(nn.Linear(2, 3).bfloat16()))


@pytest.mark.parametrize(
    ("module", "returned"),
    [
        (nn.Identity(), r"shape \(2, 1, 4, 4\)"),
        (nn.Flatten(0, 2), r"shape \(8, 4\)"),
        (nn.MaxPool2d(2, return_indices=True), "a tuple"),
    ],
)
def test_a_module_that_returns_no_features_is_refused(module: nn.Module, returned: str) -> None:
    with pytest.raises(UsageError, match=f"the module returned {returned} for images .* returns one tensor"):
        extract(module, [torch.zeros(2, 1, 4, 4)])
