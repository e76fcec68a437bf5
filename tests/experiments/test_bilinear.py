"""T11: every rule of play is a matrix, so what it does is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparring.experiments.bilinear import cycling, extragradient_factor, invariant, play, rules, simultaneous_factor

RATES = pytest.mark.parametrize("lr", [0.01, 0.1, 0.5])


@RATES
def test_factors_in_closed_form(lr: float) -> None:
    simultaneous, alternating, _, damped, extra = rules(lr)
    assert simultaneous.factor == pytest.approx(simultaneous_factor(lr)) == pytest.approx(math.sqrt(1 + lr**2))
    assert alternating.factor == pytest.approx(1.0)
    assert extra.factor == pytest.approx(extragradient_factor(lr))
    assert damped.factor < 1 + 1e-9 < simultaneous.factor
    assert (damped.factor < 1 - 1e-9) == (lr < 0.5), "the penalty's weight must exceed the learning rate"


@RATES
def test_simultaneous_play_moves_away_by_the_same_factor_each_step(lr: float) -> None:
    distance = np.linalg.norm(play(rules(lr)[0], 50), axis=1)
    np.testing.assert_allclose(distance[1:] / distance[:-1], math.sqrt(1 + lr**2))


@RATES
def test_alternating_play_walks_an_ellipse(lr: float) -> None:
    path = play(rules(lr)[1], 2000)
    np.testing.assert_allclose(invariant(path, lr), 1.0, atol=1e-10)
    assert np.linalg.norm(path, axis=1).min() > 0.5


def test_rules_are_those_that_autograd_plays() -> None:
    """One step of each rule, by the gradients of x y and of the penalty ½ γ y²."""
    lr, gamma = 0.1, 0.5

    def slopes(x: float, y: float, penalty: float = 0.0) -> tuple[float, float]:
        place = torch.tensor([x, y], dtype=torch.float64, requires_grad=True)
        value = place[0] * place[1]
        (of_x, up) = torch.autograd.grad(value, place)[0].tolist()
        (pull,) = torch.autograd.grad(penalty / 2 * place[1] ** 2, place)[0][1:].tolist()
        return of_x, up - pull

    start = np.array([0.3, -0.7])
    x, y = map(float, start)
    dx, dy = slopes(x, y)
    moved = x - lr * dx
    half_x, half_y = slopes(x - lr * dx, y + lr * dy)
    expected = {
        "simultaneous": (x - lr * dx, y + lr * dy),
        "alternating": (moved, y + lr * slopes(moved, y)[1]),
        "simultaneous, penalty on y": (x - lr * dx, y + lr * slopes(x, y, gamma)[1]),
        "extragradient": (x - lr * half_x, y + lr * half_y),
    }
    for rule in rules(lr):
        if not rule.averaged:
            np.testing.assert_allclose(rule.matrix @ start, expected[rule.name])


def test_the_claim_holds_and_could_turn_out_wrong() -> None:
    finding = cycling()
    assert finding.holds, finding.sentence
    for _, factor, measured, *_ in finding.rows:
        assert measured == (None if factor is None else pytest.approx(factor, abs=1e-3))
    assert not cycling(steps=20).holds, "20 steps are too few to see it"
