"""The scatter by kernels: torch's of the same rounded numbers, of samples that fill no cell and of more than one slab."""

from __future__ import annotations

import pytest
import torch

from sparring.fast import plain
from sparring.fast.compiled import available
from sparring.fast.scatter import can_scatter, column_summary, scatter

pytestmark = pytest.mark.skipif(
    not available(torch.bfloat16, "scatter"), reason="needs a processor with matrix units, and a C compiler"
)

STEPS = 3000.0


def samples(count: int, features: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(count)
    return torch.randn(count, features, generator=source).clamp(-5, 5) + torch.linspace(-3, 3, features)


@pytest.mark.parametrize(("count", "features"), [(1, 32), (70, 96), (2049, 160), (4200, 32)])
@pytest.mark.parametrize("weighted", [False, True])
def test_scatter_is_that_of_numbers_rounded_to_steps(count: int, features: int, weighted: bool) -> None:
    x, centre = samples(count, features), torch.linspace(-3.1, 3, features).double()
    middle = (centre.float() * STEPS).round() / STEPS
    roots = torch.linspace(0.1, 1, count).sqrt() if weighted else None
    steps = torch.full((features,), STEPS)
    total, trace = scatter(x, roots, middle, steps, centre, float(count if roots is None else roots.square().sum()))
    w = torch.ones(count).double() if roots is None else roots.double()
    moved = (x - middle) * w.float()[:, None]
    rounded = (moved * STEPS).round().double() / STEPS
    away = w[:, None] * (middle.double() - centre)
    true = rounded.T @ rounded + moved.double().T @ away + away.T @ moved.double() + away.T @ away
    torch.testing.assert_close(trace, moved.double().square().sum(0), rtol=1e-6, atol=1e-9)
    true.diagonal().copy_(trace + 2 * (moved.double() * away).sum(0) + away.square().sum(0))
    assert torch.equal(total, total.T)
    torch.testing.assert_close(total, true, rtol=1e-6, atol=1e-6 * count**0.5)


def test_columns() -> None:
    x = samples(2100, 48)
    sums, low, high = column_summary(x)
    torch.testing.assert_close(sums, x.double().sum(0), rtol=1e-12, atol=1e-9)
    assert torch.equal(low, x.amin(0))
    assert torch.equal(high, x.amax(0))


def test_numbers_do_not_depend_on_the_threads() -> None:
    x, threads, found = samples(2100, 96), torch.get_num_threads(), []
    centre = x.double().mean(0)
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            total, trace = scatter(x, None, centre.float(), torch.full((96,), STEPS), centre, 2100.0)
            found.append((total, trace, column_summary(x)[0]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_what_fills_no_block_is_left_to_torch() -> None:
    x = samples(40, 64)
    assert can_scatter(x)
    assert not can_scatter(x[:, :63])
    assert not can_scatter(x.double())
    with plain():
        assert not can_scatter(x)
