from __future__ import annotations

import gzip
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from sparring.metrics.extractors import EXTRACTORS

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "train_classifier.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_classifier", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_classifier"] = module
    spec.loader.exec_module(module)
    return module


def _images(n: int) -> torch.Tensor:
    return torch.rand(n, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_every_shipped_extractor_has_a_recipe(tool: ModuleType) -> None:
    shipped = {name for name, row in EXTRACTORS.items() if row.weights and row.weights.package == "sparring"}
    assert {recipe.version for recipe in tool.RECIPES.values()} == shipped


def test_idx_files_are_read_in_their_shape(tool: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(6)])))
    np.testing.assert_array_equal(tool.read_idx(path), [[0, 1, 2], [3, 4, 5]])


def test_augmentation_of_nothing_is_nothing_and_mirrors_are_mirrors(tool: ModuleType) -> None:
    still = replace(tool.RECIPES["digits"], degrees=0.0, shift=0.0, scale=0.0)
    x = _images(40)
    torch.testing.assert_close(tool.augment(x, still, _rng()), x, atol=1e-4, rtol=0)
    flipped = tool.augment(x, replace(still, flip=True), _rng())
    same, mirrored = ((flipped - y).abs().amax(dim=(1, 2, 3)) < 1e-4 for y in (x, x.flip(3)))
    assert (same ^ mirrored).all()
    assert 5 < mirrored.sum() < 35


def test_a_shift_moves_the_image_by_at_most_its_limit(tool: ModuleType) -> None:
    recipe = replace(tool.RECIPES["digits"], degrees=0.0, scale=0.0)
    dot = torch.full((200, 1, 28, 28), -1.0)
    dot[:, :, 14, 14] = 1.0
    light = (tool.augment(dot, recipe, _rng()) + 1).sum(dim=(1, 2)) / 2  # [B, 28], over the columns
    moved = (light * torch.arange(28)).sum(dim=1) - 14
    assert 1.8 < moved.abs().max() <= 2.01


def test_erasing_blanks_one_square_in_about_half(tool: ModuleType) -> None:
    blank = (tool.erase(torch.ones(200, 1, 28, 28), _rng()) == -1).sum(dim=(1, 2, 3))
    assert set(blank.tolist()) == {0, 64}
    assert 70 < (blank == 64).sum() < 130


def test_training_is_fixed_by_its_seed(tool: ModuleType) -> None:
    x, y = _images(60), torch.arange(60) % 10
    recipe = replace(tool.RECIPES["clothes"], epochs=1)
    first, second, other = (tool.fit(x, y, recipe, seed, batch=30).head.weight for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
