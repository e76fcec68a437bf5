"""Sums over all pairs without their matrix, and screens: float64's, of rows that fill no block and of more than one square."""

from __future__ import annotations

import pytest
import torch

from sparring.fast import plain
from sparring.fast.compiled import available
from sparring.fast.pairs import GROUP, Subset, can_cube, can_measure, packed, screen, squared, sum_of_cubes

pytestmark = pytest.mark.skipif(
    not available(torch.bfloat16, "cubes"), reason="needs a processor with matrix units, and a C compiler"
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


@pytest.mark.parametrize(("n", "m", "features"), [(1, 1, 3), (70, 45, 64), (33, 1100, 70), (1050, 31, 32)])
@pytest.mark.parametrize("no_diagonal", [False, True])
def test_a_screen_holds_all_products_and_the_smallest_of_each_group(
    n: int, m: int, features: int, no_diagonal: bool
) -> None:
    a, b, padded = rows(n, features, 5), rows(m, features, 6), -(-n // GROUP) * GROUP
    values, minima = torch.empty(padded, m).bfloat16(), torch.empty(padded // GROUP, m).bfloat16()
    screen(packed(a, right=False), packed(b, right=True), values, minima, n, no_diagonal=no_diagonal)
    products = torch.full((padded, m), torch.inf)
    products[:n] = a.float() @ b.float().T
    if no_diagonal:
        products.fill_diagonal_(torch.inf)
    torch.testing.assert_close(values.float(), products, rtol=0.005, atol=1e-3)
    assert torch.equal(minima, values.view(-1, GROUP, m).amin(1))


def some_of(count: int, features: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, rows of them, and a centre."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(300, features, generator=source) * 0.2 + 0.5
    return x, torch.randperm(300, generator=source)[:count], torch.full((features,), 0.4).bfloat16().float()


@pytest.mark.parametrize("count", [1, 33, 230])
def test_a_subset_is_centred_summed_and_packed(count: int) -> None:
    x, rows, centre = some_of(count, 96, 8)
    found = Subset.of(x, rows, centre, 0.5)
    u, c = (x[rows] - centre).double(), centre.double()
    p = ((c @ c) / 2 + u @ c) / 96 + 0.5
    torch.testing.assert_close(found.p, p, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.own, u.square().sum(1) / 96, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.moments, torch.stack([p**0, p, p**2]) @ u, rtol=1e-5, atol=1e-4)
    rounded = (u / 2).bfloat16()
    assert torch.equal(found.left, packed(rounded, right=False))
    assert torch.equal(found.right, packed(rounded, right=True))


@pytest.mark.parametrize(("n", "m"), [(40, 250), (290, 33)])
def test_higher_orders_of_a_cubic_kernel(n: int, m: int) -> None:
    a, b = (Subset.of(*some_of(count, 64, seed), 1.0) for count, seed in ((n, 9), (m, 10)))
    for left, right in ((a, b), (a, a)):
        x, y = (some_of(len(each.p), 64, 9 if each is a else 10) for each in (left, right))
        u, v = ((each[0][each[1]] - each[2]).bfloat16().double() for each in (x, y))
        g, t = u @ v.T / 64, left.p[:, None] + right.p
        terms = 3 * t * g**2 + g**3
        if left is right:
            terms.fill_diagonal_(0)
        assert left.higher_orders(right) == pytest.approx(float(terms.sum()), rel=1e-5)


def test_squared_distances_are_float64s_and_equal_both_ways() -> None:
    x, y = rows(40, 48, 11).float() + 1e3, rows(30, 48, 12).float() + 1e3
    i, j = (each.flatten() for each in torch.meshgrid(torch.arange(40), torch.arange(30), indexing="ij"))
    assert can_measure(x)
    found = squared(x, y, i, j)
    torch.testing.assert_close(found, (x[i].double() - y[j].double()).square().sum(1), rtol=1e-14, atol=0)
    assert torch.equal(found, squared(y, x, j, i))
    assert squared(x, x, i[:5], i[:5]).tolist() == [0.0] * 5
    assert not can_measure(x[:, :47])
    assert not can_measure(x.double())
