from __future__ import annotations

import math

import numpy as np
import pytest

from sparring.data import Modes
from sparring.errors import UsageError
from sparring.metrics.modes import class_histogram, class_kl, mode_report

ANGLES = 2 * np.pi * np.arange(8) / 8
RING = Modes(np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1), 0.01)


def _real(n: int, modes: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return RING.centres[rng.choice(modes, n)] + RING.sigma * rng.standard_normal((n, 2))


def test_real_data_scores_what_three_sigmas_hold() -> None:
    report = mode_report(_real(20_000, np.arange(8)), RING)
    expected = 1 - math.exp(-4.5)
    bound = 5 * math.sqrt(expected * (1 - expected) / 20_000)
    assert report.modes == 8
    assert abs(report.high_quality - expected) < bound
    assert 0 < report.reverse_kl < 0.002
    assert sum(report.histogram) == 20_000


def test_a_collapse_onto_one_mode_costs_ln_8() -> None:
    report = mode_report(_real(1000, np.array([3])), RING)
    assert report.modes == 1
    assert report.reverse_kl == pytest.approx(math.log(8))
    assert report.histogram == (0, 0, 0, 1000, 0, 0, 0, 0)


def test_half_of_the_modes_cost_ln_2() -> None:
    points = np.repeat(RING.centres[::2], 5, axis=0)
    report = mode_report(points, RING)
    assert (report.modes, report.high_quality) == (4, 1.0)
    assert report.reverse_kl == pytest.approx(math.log(2))


def test_samples_between_the_modes_count_for_the_divergence_but_not_as_modes() -> None:
    report = mode_report(RING.centres * 0.9, RING)
    assert (report.modes, report.high_quality, report.reverse_kl) == (0, 0.0, 0.0)


@pytest.mark.parametrize(("sigmas", "good"), [(2.999, 1.0), (3.001, 0.0)])
def test_the_border_of_high_quality_is_three_sigma(sigmas: float, good: float) -> None:
    assert mode_report(RING.centres + np.array([0.0, sigmas * RING.sigma]), RING).high_quality == good


def test_class_histogram_counts_absent_classes_as_zero() -> None:
    assert class_histogram([2, 0, 2], 4).tolist() == [1, 0, 2, 0]
    assert class_histogram([], 2).tolist() == [0, 0]


@pytest.mark.parametrize("labels", [[-1, 0], [0, 4]])
def test_labels_outside_the_classes_are_refused(labels: list[int]) -> None:
    with pytest.raises(UsageError, match="there are 4 classes"):
        class_histogram(labels, 4)


def test_class_kl_of_known_histograms() -> None:
    assert class_kl([5, 5], [300, 300]) == 0.0
    assert class_kl([1, 0, 0, 0], [1, 1, 1, 1]) == pytest.approx(math.log(4))
    assert class_kl([3, 1], [1, 1]) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert class_kl([1, 1], [3, 1]) != pytest.approx(class_kl([3, 1], [1, 1]))  # generated first


def test_class_kl_is_infinite_where_the_reference_has_none() -> None:
    assert class_kl([1, 1], [1, 0]) == math.inf
    assert class_kl([1, 0], [1, 0]) == 0.0


@pytest.mark.parametrize(
    ("p", "q"),
    [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([-1, 2], [1, 1]), ([math.nan, 1], [1, 1]), ([1, 1], [1, 1, 1]), ([], [])],
)
def test_class_kl_refuses_what_is_no_histogram(p: list[float], q: list[float]) -> None:
    with pytest.raises(UsageError, match="KL"):
        class_kl(p, q)


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.zeros((4, 3)), np.zeros(4), np.full((4, 2), np.nan)])
def test_mode_report_refuses_what_is_no_set_of_points(points: np.ndarray) -> None:
    with pytest.raises(UsageError, match="Mode score"):
        mode_report(points, RING)
