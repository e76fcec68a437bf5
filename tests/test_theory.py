"""Known densities: closed forms against quadrature, and the theorems of arXiv:1406.2661 §4."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm, wasserstein_distance

from sparring.theory import (
    EQUILIBRIUM_VALUE,
    Gaussian,
    Uniform,
    expected_value,
    grid,
    jensen_shannon,
    kl,
    optimal_discriminator,
    optimal_logits,
    optimal_value,
    total_variation,
    wasserstein,
)

X, WEIGHTS = grid(-12.0, 12.0, 24_000)
SHIFTS = pytest.mark.parametrize("shift", [0.0, 0.3, 0.5, 1.0, 2.5])


def test_densities_are_those_of_scipy_and_sum_to_one() -> None:
    one, box = Gaussian(0.5, 2.0), Uniform(-1.0, 3.0)
    np.testing.assert_allclose(one.density(X), norm.pdf(X, 0.5, 2.0), atol=1e-12)
    np.testing.assert_allclose(one.below(X), norm.cdf(X, 0.5, 2.0), atol=1e-12)
    assert (box.density(X) * WEIGHTS).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(np.cumsum(box.density(X) * WEIGHTS), box.below(X + WEIGHTS / 2), atol=1e-9)


@pytest.mark.parametrize(("p", "q"), [(Gaussian(0, 1), Gaussian(1, 1)), (Gaussian(-1, 0.5), Gaussian(1, 2))])
def test_divergences_of_gaussians(p: Gaussian, q: Gaussian) -> None:
    assert kl(p.density(X), q.density(X), WEIGHTS) == pytest.approx(p.kl(q), rel=1e-9)
    assert p.kl(q) != pytest.approx(q.kl(p)) or p.std == q.std
    there, back = (
        jensen_shannon(*pair, WEIGHTS) for pair in ((p.density(X), q.density(X)), (q.density(X), p.density(X)))
    )
    assert there == pytest.approx(back)
    assert 0 < there < math.log(2)


@SHIFTS
def test_equal_gaussians_apart_by_a_shift(shift: float) -> None:
    p, q = Gaussian(0, 0.8), Gaussian(shift, 0.8)
    assert wasserstein(p.below(X), q.below(X), WEIGHTS) == pytest.approx(shift, abs=1e-6)
    known = math.erf(shift / (2 * math.sqrt(2) * 0.8))
    assert total_variation(p.density(X), q.density(X), WEIGHTS) == pytest.approx(known, abs=1e-6)


def test_wasserstein_is_that_of_scipy() -> None:
    p, q = Gaussian(0, 1), Uniform(-3, 1)
    known = wasserstein_distance(X, X, p.density(X), q.density(X))
    assert wasserstein(p.below(X), q.below(X), WEIGHTS) == pytest.approx(known, rel=1e-4)


@SHIFTS
def test_shifted_boxes_have_linear_divergences_until_they_part(shift: float) -> None:
    p, q = Uniform(0, 1), Uniform(shift, 1 + shift)
    apart = min(shift, 1.0)
    assert jensen_shannon(p.density(X), q.density(X), WEIGHTS) == pytest.approx(math.log(2) * apart, abs=1e-3)
    assert total_variation(p.density(X), q.density(X), WEIGHTS) == pytest.approx(apart, abs=1e-3)
    assert wasserstein(p.below(X), q.below(X), WEIGHTS) == pytest.approx(shift, abs=1e-3)
    assert math.isinf(kl(p.density(X), q.density(X), WEIGHTS)) == (shift > 0)


def test_two_points() -> None:
    ones = np.ones(2)
    apart, same = (np.array([1.0, 0.0]), np.array([0.0, 1.0])), (np.array([0.3, 0.7]),) * 2
    assert jensen_shannon(*apart, ones) == pytest.approx(math.log(2))
    assert optimal_value(*apart, ones) == 0.0
    assert jensen_shannon(*same, ones) == 0.0
    assert optimal_value(*same, ones) == pytest.approx(EQUILIBRIUM_VALUE)


@SHIFTS
def test_value_of_the_optimum_is_twice_js_above_minus_log_4(shift: float) -> None:
    """arXiv:1406.2661, theorem 1: one side by D*, the other by two Kullback-Leibler divergences."""
    p, q = Gaussian(0, 1).density(X), Gaussian(shift, 0.7).density(X)
    assert optimal_value(p, q, WEIGHTS) == pytest.approx(
        EQUILIBRIUM_VALUE + 2 * jensen_shannon(p, q, WEIGHTS), abs=1e-9
    )


def test_nobody_beats_the_optimum() -> None:
    p, q = Gaussian(0, 1).density(X), Gaussian(1, 0.7).density(X)
    best = optimal_value(p, q, WEIGHTS)
    for other in (0.9 * optimal_logits(p, q), optimal_logits(p, q) + 0.1, np.zeros_like(X), -X):
        assert expected_value(other, p, q, WEIGHTS) < best - 1e-5


def test_the_optimum_in_closed_form() -> None:
    p, q = Gaussian(0, 1).density(X), Gaussian(1, 0.7).density(X)
    best = optimal_discriminator(p, q)
    inside = (best > 1e-12) & (best < 1 - 1e-12)  # further out 1 - D* is beyond float64
    np.testing.assert_allclose(optimal_logits(p, q)[inside], np.log(best[inside] / (1 - best[inside])), atol=1e-3)
    np.testing.assert_array_equal(optimal_discriminator(p, p), np.full_like(p, 0.5))


def test_smoothed_labels_bound_the_optimum() -> None:
    """Every D of a grid of constants loses to (a p + b q) / (p + q), point by point."""
    p, q = np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0])
    best = optimal_discriminator(p, q, 0.9, 0.1)
    np.testing.assert_allclose(best, [0.9, 0.5, 0.1])
    d = np.linspace(0.001, 0.999, 999)[:, None]
    entropy = p * (0.9 * np.log(d) + 0.1 * np.log(1 - d)) + q * (0.1 * np.log(d) + 0.9 * np.log(1 - d))
    np.testing.assert_allclose(d[entropy.argmax(0), 0], best, atol=1e-9)


def test_import_needs_no_torch() -> None:
    code = "import sys, sparring.theory; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
