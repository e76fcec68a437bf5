from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from sparring.fast import plain
from sparring.metrics import screening
from sparring.metrics.samples import feature_tensor
from sparring.metrics.screening import Screen, squared_distances

RNG = np.random.default_rng(0)
SETS = {
    "gaussian": RNG.standard_normal((150, 40)),
    "float32": RNG.standard_normal((150, 40)).astype(np.float32),
    "far from 0": RNG.standard_normal((150, 40)) + 1e5,
    "heavy tails": RNG.standard_cauchy((150, 40)),
    "rectified": np.maximum(RNG.standard_normal((150, 40)), 0),
    "clusters": np.repeat(RNG.standard_normal((5, 40)), 30, axis=0) + 1e-6 * RNG.standard_normal((150, 40)),
    "tiny": (1e-30 * RNG.standard_normal((150, 40))).astype(np.float32),
    "huge": (1e30 * RNG.standard_normal((150, 40))).astype(np.float32),
    "one feature": RNG.standard_normal((150, 1)),
    "all alike": np.ones((150, 3)),
}


@pytest.fixture(params=["bf16", "bf16 by torch", "fp32"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.dtype]:
    """The dtype of the matrix product, whatever this processor has units for, by our kernels or torch's."""
    dtype = torch.float32 if request.param == "fp32" else torch.bfloat16
    monkeypatch.setattr(screening, "product_dtype", lambda device: dtype)
    with plain(request.param == "bf16 by torch"):
        yield dtype


def _all_pairs(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    i, j = torch.meshgrid(torch.arange(len(x)), torch.arange(len(y)), indexing="ij")
    return squared_distances(x, y, i.flatten(), j.flatten()).view(len(x), len(y))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("wide", [False, True])
def test_bounds_hold_for_every_pair(name: str, wide: bool, product: torch.dtype) -> None:
    x, y = feature_tensor(SETS[name][:70]), feature_tensor(SETS[name][70:])
    screen = Screen(x, y, tile=64)
    seen = torch.zeros(len(x), len(y))
    for row, column in screen.tiles():
        tile = screen.wide_tile(row, column) if wide else screen.tile(row, column)
        pairs = tile.within(None, torch.full((len(tile.y),), torch.inf, dtype=torch.float64))
        exact = squared_distances(x, y, pairs.i, pairs.j)
        assert (pairs.low <= exact).all()
        assert (exact <= pairs.high).all()
        seen[pairs.i, pairs.j] += 1
    assert (seen == 1).all()


def test_bounds_are_narrow(product: torch.dtype) -> None:
    x = feature_tensor(SETS["gaussian"])
    screen = Screen(x, x)
    eight_bits, wide = screen.tile(0, 0), screen.wide_tile(0, 0)
    everywhere = torch.full((len(x),), torch.inf, dtype=torch.float64)
    for tile, width in ((eight_bits, 0.05), (wide, 1e-8)):
        pairs = tile.within(None, everywhere)
        assert float(((pairs.high - pairs.low) / pairs.high).max()) < width


@pytest.mark.parametrize("name", SETS)
def test_every_pair_within_a_limit_is_found_and_few_others(name: str, product: torch.dtype) -> None:
    x, y = feature_tensor(SETS[name][:70]), feature_tensor(SETS[name][70:])
    exact = _all_pairs(x, y)
    of_rows, of_columns = exact.quantile(0.1, dim=1), exact.quantile(0.05, dim=0)
    screen = Screen(x, y)
    tile = screen.tile(0, 0)
    pairs = tile.within(of_rows[tile.x.rows], of_columns[tile.y.rows])
    found = torch.zeros(exact.shape, dtype=torch.bool)
    found[pairs.i, pairs.j] = True
    wanted = (exact <= of_rows[:, None]) | (exact <= of_columns)
    assert (found | ~wanted).all()
    if name in ("gaussian", "float32", "rectified"):
        assert int((found & ~wanted).sum()) < 0.25 * int(wanted.sum())


@pytest.mark.parametrize("k", [1, 3, 20, 70, 71])
def test_upper_bounds_hold_at_least_k_points(k: int, product: torch.dtype) -> None:
    x, y = feature_tensor(SETS["gaussian"][:70]), feature_tensor(SETS["gaussian"][70:])
    bounds = Screen(x, y).tile(0, 0)
    limits = torch.empty(len(y), dtype=torch.float64)
    limits[bounds.y.rows] = bounds.upper_bounds(k)
    assert ((_all_pairs(x, y) <= limits).sum(0) >= min(k, 70)).all()
    assert bool(limits.isinf().all()) == (k > 70)


def test_within_a_set_no_point_meets_itself_and_each_pair_is_seen_once() -> None:
    x = feature_tensor(SETS["gaussian"])
    screen = Screen(x, x, tile=64)
    seen = torch.zeros(len(x), len(x))
    for row, column in screen.tiles():
        tile = screen.tile(row, column)
        pairs = tile.within(None, torch.full((len(tile.y),), torch.inf, dtype=torch.float64))
        seen[pairs.i, pairs.j] += 1
        if row != column:
            seen[pairs.j, pairs.i] += 1
    assert torch.equal(seen, 1 - torch.eye(len(x)))


def test_squared_distances_are_exact_symmetric_and_do_not_depend_on_the_company(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = feature_tensor(RNG.integers(-50, 50, (60, 500)))
    i, j = (torch.from_numpy(RNG.integers(0, 60, 500)) for _ in "ij")
    expected = (x[i] - x[j]).square().sum(1)
    assert torch.equal(squared_distances(x, x, i, j), expected)
    y = feature_tensor(RNG.standard_normal((60, 500)).astype(np.float32))
    together = squared_distances(y, y, i, j)
    assert torch.equal(together, squared_distances(y, y, j, i))
    monkeypatch.setattr(screening, "CHUNK", 1500)
    assert torch.equal(together, squared_distances(y, y, i, j))
    assert (together[i == j] == 0).all()
    assert len(squared_distances(y, y, i[:0], j[:0])) == 0
