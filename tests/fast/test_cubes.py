"""Sums over all pairs without their matrix: float64's, of rows that fill no block and of more than one superblock."""

from __future__ import annotations

import pytest
import torch

from sparring.fast import plain
from sparring.fast.compiled import library
from sparring.fast.cubes import can_cube, sum_of_cubes

pytestmark = pytest.mark.skipif(
    library(torch.bfloat16) is None, reason="needs a processor with matrix units, and a C compiler"
)


def rows(count: int, features: int, seed: int) -> torch.Tensor:
    return (0.1 + torch.randn(count, features, generator=torch.Generator().manual_seed(seed))).bfloat16()


@pytest.mark.parametrize(("n", "m", "features"), [(1, 1, 32), (70, 33, 64), (1100, 2100, 96)])
def test_pairs_of_two_sets(n: int, m: int, features: int) -> None:
    a, b = rows(n, features, 1), rows(m, features, 2)
    assert sum_of_cubes(a, b) == pytest.approx(float((a.double() @ b.double().T).pow(3).sum()), rel=1e-5)


@pytest.mark.parametrize(("n", "features"), [(2, 32), (70, 64), (2100, 96)])
def test_pairs_of_two_different_rows_of_one_set(n: int, features: int) -> None:
    a = rows(n, features, 3)
    products = (a.double() @ a.double().T).fill_diagonal_(0)
    assert sum_of_cubes(a, None) == pytest.approx(float(products.pow(3).sum()), rel=1e-5)


def test_the_sum_does_not_depend_on_the_threads() -> None:
    a, threads, found = rows(2100, 64, 4), torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(sum_of_cubes(a, None))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_what_fills_no_block_is_left_to_torch() -> None:
    assert can_cube(64)
    assert not can_cube(65)
    with plain():
        assert not can_cube(64)
