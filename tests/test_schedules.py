"""What changes in the course of a run has the values that its papers and its flags say."""

from __future__ import annotations

import math

import pytest

from sparring.schedules import annealed, burn_in, decay


def test_linear_decay() -> None:
    assert [decay(done, 0.5) for done in (0.0, 0.5, 0.625, 0.75, 1.0)] == [1, 1, 0.75, 0.5, 0]


def test_cosine_decay_has_the_same_ends_and_middle_and_is_flat_at_both_ends() -> None:
    assert [decay(done, 0.5, "cosine") for done in (0.5, 0.75, 1.0)] == pytest.approx([1, 0.5, 0])
    assert decay(0.51, 0.5, "cosine") > decay(0.51, 0.5)
    assert decay(0.99, 0.5, "cosine") < decay(0.99, 0.5)


def test_no_decay_stays_at_1_to_the_last_step() -> None:
    assert decay(0.999, 1.0) == decay(1.0, 1.0) == decay(0.5, 1.0, "cosine") == 1.0


def test_burn_in_moves_from_first_to_final_along_a_cosine() -> None:
    values = [burn_in(10.0, 1.0, done, 0.2) for done in (0.0, 0.05, 0.1, 0.15, 0.2, 0.9)]
    assert values == pytest.approx([10, 1 + 4.5 * (1 + math.sqrt(0.5)), 5.5, 1 + 4.5 * (1 - math.sqrt(0.5)), 1, 1])


def test_no_burn_in_is_the_final_value_from_the_start() -> None:
    assert burn_in(10.0, 1.0, 0.0, 0.0) == 1.0


def test_annealing_reaches_exactly_0_and_stays_there() -> None:
    assert [annealed(0.4, done, 0.5) for done in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.4, 0.2, 0, 0, 0]
