from __future__ import annotations

import numpy as np
import pytest

from sparring.data import open_data
from sparring.data.synthetic import draw, grid, ring


def test_ring_has_eight_different_modes_on_the_unit_circle():
    centres = ring().centres
    assert centres.shape == (8, 2)
    assert np.allclose(np.linalg.norm(centres, axis=1), 1)
    assert np.allclose(centres[0], [1, 0])
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)[~np.eye(8, dtype=bool)]
    assert np.isclose(gaps.min(), 2 * np.sin(np.pi / 8))  # 0 if an end point were counted twice


def test_grid_is_five_by_five():
    modes = grid()
    assert {tuple(centre) for centre in modes.centres} == {(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}
    assert modes.sigma == 0.05


@pytest.mark.parametrize(("name", "count", "sigma"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_points_follow_the_mixture(name, count, sigma):
    data = open_data(name)
    assert data.samples.shape == (100_000, 2)
    assert data.samples.dtype == np.float32
    assert data.held_out.samples.shape == (10_000, 2)
    assert data.labels is None
    assert data.num_classes == 0
    assert data.modes.sigma == sigma
    distance = np.linalg.norm(data.samples[:, None] - data.modes.centres, axis=2)
    nearest = distance.argmin(axis=1)
    share = np.bincount(nearest, minlength=count) / len(data)
    assert len(share) == count
    assert np.abs(share * count - 1).max() < 0.08  # 5 standard errors of a share of 1/25
    residual = data.samples - data.modes.centres[nearest]
    assert np.abs(residual.std(axis=0) / sigma - 1).max() < 0.02
    assert np.abs(residual.mean(axis=0)).max() < 0.02 * sigma
    assert abs((distance.min(axis=1) < 3 * sigma).mean() - (1 - np.exp(-4.5))) < 0.002


def test_points_are_fixed_by_the_seed():
    first, again, other = open_data("ring"), open_data("ring"), open_data("ring", seed=1)
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256
    assert not np.isin(first.held_out.samples[:, 0], first.samples[:, 0]).all()


def test_a_draw_tells_the_mode_it_came_from():
    points, labels = draw(grid(), 1000, 0, "test")
    assert (np.abs(points - grid().centres[labels]) < 6 * 0.05).all()
    assert (points != draw(grid(), 1000, 0, "another")[0]).all()
