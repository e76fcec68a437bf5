from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sparring.errors import UsageError
from sparring.metrics.manifold import ManifoldScores, manifold_scores
from sparring.metrics.screening import Screen

RNG = np.random.default_rng(0)
GAUSSIAN = RNG.standard_normal((400, 12))
OTHER = RNG.standard_normal((300, 12))
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(-1)


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distances to the k-th nearest other sample."""
    squared = _squared(x, x)
    np.fill_diagonal(squared, np.inf)
    return np.sort(squared, axis=1)[:, k - 1]


def _naive(
    real: np.ndarray, fake: np.ndarray, k: int = 5, precision_k: int = 3, closed: Compare = np.less_equal
) -> tuple[float, float, float, float]:
    """The published formulas on the whole matrices."""
    squared = _squared(real, fake)
    narrow, wide, of_fake = _radii(real, precision_k), _radii(real, k), _radii(fake, precision_k)
    inside = squared < wide[:, None]
    return (
        closed(squared, narrow[:, None]).any(0).mean(),
        closed(squared, of_fake).any(1).mean(),
        inside.sum() / (k * len(fake)),
        inside.any(1).mean(),
    )


def _values(scores: ManifoldScores) -> tuple[float, float, float, float]:
    return scores.precision, scores.recall, scores.density, scores.coverage


SETS = {
    "alike": (GAUSSIAN, OTHER),
    "float32": (GAUSSIAN.astype(np.float32), OTHER.astype(np.float32)),
    "two dtypes": (GAUSSIAN.astype(np.float32), OTHER),
    "collapse": (GAUSSIAN, GAUSSIAN[:1] + 1e-3 * OTHER),
    "one point": (GAUSSIAN, np.repeat(GAUSSIAN[:1], 300, axis=0)),
    "copies": (GAUSSIAN, GAUSSIAN[:300]),
    "grid, ties everywhere": (RNG.integers(0, 3, (400, 5)), RNG.integers(0, 3, (300, 5))),
    "noise": (GAUSSIAN, 20 * OTHER),
    "tight clusters": tuple(np.repeat(GAUSSIAN[:5], n, axis=0) + 1e-5 * x for n, x in ((80, GAUSSIAN), (60, OTHER))),
    "the mean": (RNG.standard_normal((200, 300)), 1e-2 * RNG.standard_normal((100, 300))),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("k", "precision_k", "tile"), [(5, 3, 4096), (2, 4, 4096), (5, 3, 96)])
def test_equals_the_formulas_on_whole_matrices(name: str, k: int, precision_k: int, tile: int) -> None:
    real, fake = SETS[name]
    found = _values(manifold_scores(real, fake, k, precision_k=precision_k, tile=tile))
    assert found == pytest.approx(_naive(real, fake, k, precision_k), rel=1e-13, abs=0)


@pytest.mark.parametrize("name", ["alike", "collapse", "noise"])
def test_equals_prdc_where_nothing_ties(name: str) -> None:
    """The package prdc takes one k for all and the strict comparison for all."""
    real, fake = SETS[name]
    expected = _naive(real, fake, 5, 5, closed=np.less)
    assert _values(manifold_scores(real, fake, 5, precision_k=5)) == pytest.approx(expected, rel=1e-13)


def test_a_sample_on_the_surface_is_inside_for_precision_and_outside_for_coverage() -> None:
    real = np.arange(6.0)[:, None]  # all distances to the nearest are 1
    on_the_surface = np.array([[-1.0], [-1.0], [-1.0]])
    scores = manifold_scores(real, on_the_surface, 1, precision_k=1)
    assert (scores.precision, scores.density, scores.coverage) == (1.0, 0.0, 0.0)
    assert scores.recall == 0.0  # the generated balls have radius 0
    scores = manifold_scores(real, on_the_surface + 1e-9, 1, precision_k=1)
    assert (scores.precision, scores.density, scores.coverage) == (1.0, 1.0, 1 / 6)
    assert manifold_scores(real, on_the_surface - 1e-9, 1, precision_k=1).precision == 0.0


def test_a_collapse_is_precise_and_recalls_nothing() -> None:
    scores = manifold_scores(GAUSSIAN, GAUSSIAN[:1] + 1e-3 * OTHER)
    assert scores.precision == 1.0
    assert scores.recall < 0.02
    assert scores.coverage < 0.1


def test_invented_noise_is_not_precise() -> None:
    scores = manifold_scores(GAUSSIAN, np.concatenate([OTHER[:150], 10 + OTHER[:150]]))
    assert 0.3 < scores.precision <= 0.5
    assert scores.density < 0.7
    assert scores.recall > 0.7


def test_equal_distributions_score_near_1_and_missing_modes_are_not_covered() -> None:
    rng = np.random.default_rng(1)
    real, fake = rng.standard_normal((2, 2000, 2))
    scores = manifold_scores(real, fake)
    assert scores.density == pytest.approx(1, abs=0.1)
    assert scores.coverage == pytest.approx(1 - 0.5**5, abs=0.02)  # arXiv:2002.09797, section 3: 1 - 2^-k, about
    assert manifold_scores(real, fake[fake[:, 0] > 0]).coverage == pytest.approx(0.5, abs=0.05)


def test_counts_do_not_depend_on_the_order_and_swap_with_the_sets() -> None:
    shuffled = manifold_scores(GAUSSIAN[::-1], OTHER[RNG.permutation(300)])
    assert _values(shuffled) == _values(manifold_scores(GAUSSIAN, OTHER))
    assert manifold_scores(OTHER, GAUSSIAN).precision == shuffled.recall


def test_what_eight_bits_leave_open_is_counted_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    wide_tile = Screen.wide_tile
    monkeypatch.setattr(Screen, "wide_tile", lambda self, *place: asked.append(place) or wide_tile(self, *place))
    manifold_scores(*SETS["alike"])
    usual = len(asked)
    manifold_scores(*SETS["tight clusters"])
    assert len(asked) > usual


def test_intervals_are_wilsons_and_the_standard_error() -> None:
    scores = manifold_scores(GAUSSIAN, OTHER)
    p = float(scores.precision)
    assert scores.precision.interval == scores.recall.interval == scores.coverage.interval == "Wilson"
    assert scores.precision.high - scores.precision.low == pytest.approx(
        2 * 1.96 * np.sqrt(p * (1 - p) / 300), rel=0.05
    )
    assert scores.density.interval == "standard error"
    inside = _squared(GAUSSIAN, OTHER) < _radii(GAUSSIAN, 5)[:, None]
    expected = 1.96 * (inside.sum(0) / 5).std() / np.sqrt(300)
    assert scores.density.high - scores.density == pytest.approx(expected, rel=1e-3)
    collapsed = manifold_scores(GAUSSIAN, np.repeat(GAUSSIAN[:1], 300, axis=0)).precision
    assert collapsed == collapsed.high == 1.0
    assert 0.98 < collapsed.low < 1.0


@pytest.mark.parametrize(
    ("real", "fake", "k", "words"),
    [
        (GAUSSIAN[:5], OTHER, 5, "5 real and 300 generated samples with k 5 and 3"),
        (GAUSSIAN, OTHER[:3], 5, "400 real and 3 generated"),
        (GAUSSIAN, OTHER, 0, "k >= 1"),
        (GAUSSIAN, OTHER[:, :3], 5, "of 12 and of 3 features"),
        (GAUSSIAN, np.full((9, 12), np.inf), 5, "infinite"),
        (GAUSSIAN, OTHER[0], 5, r"\[N, F\]"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(real: np.ndarray, fake: np.ndarray, k: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        manifold_scores(real, fake, k)


@pytest.mark.gpu
def test_a_gpu_counts_the_same() -> None:
    real, fake = (torch.from_numpy(each).float() for each in (GAUSSIAN, OTHER))
    assert manifold_scores(real.cuda(), fake.cuda()) == manifold_scores(real, fake)
