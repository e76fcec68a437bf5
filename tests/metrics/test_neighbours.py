from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from sparring.errors import UsageError
from sparring.metrics import screening
from sparring.metrics.neighbours import nearest
from sparring.metrics.screening import Screen

RNG = np.random.default_rng(0)
GAUSSIAN = RNG.standard_normal((300, 20))


def _naive(queries: np.ndarray, points: np.ndarray, k: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """All distances at once, sorted with the lower index first among equals."""
    squared = ((queries[:, None].astype(np.float64) - points[None]) ** 2).sum(-1)
    if same:
        np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, order, axis=1)), order


SETS = {
    "float64": GAUSSIAN,
    "float32": GAUSSIAN.astype(np.float32),
    "integers": RNG.integers(0, 2000, (300, 3)),
    "far from 0": GAUSSIAN + 1e4,
    "grid": RNG.integers(0, 3, (300, 4)).astype(np.float64),  # duplicates and ties
    "line": RNG.integers(0, 9, (300, 1)).astype(np.float32),
    "corners": np.repeat(np.eye(60), 5, axis=0),  # all distances 0 or one number
    "3 points": GAUSSIAN[RNG.integers(0, 3, 300)],
    "1 point": GAUSSIAN[np.zeros(300, int)],
    "3 tight clusters": (GAUSSIAN[RNG.integers(0, 3, 300)] + 1e-3 * RNG.standard_normal((300, 20))).astype(np.float32),
    "tiny": GAUSSIAN * 1e-25,
    "huge": GAUSSIAN * 1e25,
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("k", "tile"), [(1, 4096), (5, 4096), (3, 48)])
def test_equals_sorting_all_distances(name: str, k: int, tile: int) -> None:
    points = SETS[name]
    for queries, same in ((points, True), (points[::2] * 1, False), (SETS["float64"][:50, :1] * points[:50], False)):
        found = nearest(queries, points, k, same=same, tile=tile)
        distances, indices = _naive(queries, points, k, same)
        np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
        np.testing.assert_array_equal(found.indices, indices)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_bits_of_the_screen_do_not_matter(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = nearest(GAUSSIAN, GAUSSIAN, 7, same=True)
    monkeypatch.setattr(screening, "product_dtype", lambda device: dtype)
    found = nearest(GAUSSIAN, GAUSSIAN, 7, same=True)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_equals_a_tree_on_many_points() -> None:
    points = RNG.standard_normal((6000, 5)).astype(np.float32)
    found = nearest(points[:500], points, 4)
    distances, indices = cKDTree(points.astype(np.float64)).query(points[:500], 4)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)


@pytest.mark.parametrize(("name", "expected"), [("float32", False), ("3 tight clusters", True)])
def test_only_what_eight_bits_leave_open_is_done_in_float64(
    name: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    wide_tile = Screen.wide_tile
    monkeypatch.setattr(Screen, "wide_tile", lambda self, *place: asked.append(place) or wide_tile(self, *place))
    points = np.concatenate([SETS[name]] * 4) + 1e-5 * RNG.standard_normal((1200, 20))
    found = nearest(points, points, 1, same=True)
    np.testing.assert_array_equal(found.indices, _naive(points, points, 1, same=True)[1])
    assert bool(asked) == expected


def test_a_duplicate_is_a_neighbour_at_0_and_the_point_itself_is_none() -> None:
    points = np.array([[0.0], [5.0], [0.0], [6.0]])
    found = nearest(points, points, 2, same=True)
    assert found.indices.tolist() == [[2, 1], [3, 0], [0, 1], [1, 0]]
    assert found.distances.tolist() == [[0, 5], [1, 5], [0, 5], [1, 6]]
    assert nearest(points, points, 1).indices.tolist() == [[0], [1], [0], [3]]


def test_of_equally_near_points_the_first_comes_first() -> None:
    found = nearest([[0.0, 0.0]], [[3, 4], [0, 5], [-5, 0], [4, 3], [1, 0]], 4)
    assert found.indices.tolist() == [[4, 0, 1, 2]]


def test_takes_tensors_of_few_bits_and_read_only_arrays() -> None:
    few_bits = torch.from_numpy(GAUSSIAN).bfloat16()
    np.testing.assert_array_equal(
        nearest(few_bits, few_bits, 2, same=True).indices,
        _naive(few_bits.double().numpy(), few_bits.double().numpy(), 2, True)[1],
    )
    frozen = GAUSSIAN.copy()
    frozen.setflags(write=False)
    assert nearest(frozen, frozen).distances.max() == 0


@pytest.mark.parametrize(
    ("queries", "points", "k", "same", "words"),
    [
        (np.zeros((3, 2)), np.zeros((3, 2)), 4, False, "3 possible neighbours, but k is 4"),
        (np.zeros((3, 2)), np.zeros((3, 2)), 3, True, "2 possible neighbours, but k is 3"),
        (np.zeros((3, 2)), np.zeros((3, 2)), 0, False, "k is 0"),
        (np.zeros((3, 2)), np.zeros((0, 2)), 1, True, "0 possible"),
        (np.zeros((3, 2)), np.zeros((3, 4)), 1, False, "of 2 and of 4 features"),
        (np.zeros(3), np.zeros((3, 1)), 1, False, r"\[N, F\]"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), 1, False, "6 of 6 values are NaN"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(
    queries: np.ndarray, points: np.ndarray, k: int, same: bool, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        nearest(queries, points, k, same=same)


def test_no_queries_have_no_neighbours() -> None:
    assert nearest(np.zeros((0, 2)), np.zeros((3, 2)), 2).indices.shape == (0, 2)


@pytest.mark.gpu
def test_a_gpu_finds_the_same() -> None:
    points = torch.from_numpy(SETS["float32"])
    found, expected = nearest(points.cuda(), points.cuda(), 5, same=True), nearest(points, points, 5, same=True)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-14)
