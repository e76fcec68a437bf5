"""T9: how evenly upsampling layers write."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sparring.experiments.checkerboard import contrast_of_taps, nyquist, overlap, resized, transposed, uneven


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (3, 3), (4, 3)])
def test_overlap_is_what_a_transposed_convolution_of_ones_counts(kernel: int, stride: int) -> None:
    counted = F.conv_transpose1d(torch.ones(1, 1, 20), torch.ones(1, 1, kernel), stride=stride)[0, 0]
    middle = counted[8 * stride : 8 * stride + stride]
    assert tuple(map(int, middle)) == overlap(kernel, stride)
    assert (len(set(overlap(kernel, stride))) == 1) == (kernel % stride == 0)


def test_nyquist_share_in_closed_form() -> None:
    even, odd = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = ((even + odd) % 2).double()
    assert nyquist(torch.ones(8, 8)) == 0.0
    assert nyquist(2 * board - 1) == pytest.approx(1.0)
    assert nyquist(board) == pytest.approx(0.5), "half of its power is its mean"


def test_taps_of_1_and_2_leave_19_percent_at_period_2() -> None:
    """Along a side 1, 2, 1, 2 … has 0.5² of 0.5² + 1.5² = 10 % there, and the square 1 − 0.9²."""
    rows = {row[0]: row for row in uneven(0, draws=200).rows}
    assert rows["transposed 3×3"][2] == pytest.approx(0.19)
    assert rows["transposed 5×5"][2] == pytest.approx(1 - (1 - 0.25 / 6.5) ** 2)
    assert rows["transposed 4×4"][2] == pytest.approx(0.0, abs=1e-12)


def test_resize_and_convolution_is_even_for_any_weights() -> None:
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=source)
    constant = torch.ones(1, 4, 12, 12)
    assert nyquist(resized(constant, weight)) < 1e-10
    assert nyquist(transposed(constant, weight)) > 0.1


def test_untrained_layers_are_as_uneven_as_their_overlap() -> None:
    finding = uneven(0)
    assert finding.holds, finding.sentence
    contrasts = {row[0]: row[3] for row in finding.rows}
    assert contrast_of_taps(3) == pytest.approx((4 - 1) / (4 + 1))
    assert contrasts["transposed 3×3"] == pytest.approx(0.6, abs=0.1)
    assert contrasts["transposed 4×4"] == pytest.approx(0.0, abs=0.1)
    assert not uneven(0, draws=1).holds, "one untrained layer is too few to see its overlap"
