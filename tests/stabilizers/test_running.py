"""A running mean weighs its values as Adam's corrected moments do."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sparring.stabilizers.running import RunningMean

VALUES = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)) + 3


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_it_is_the_weighted_mean_of_all_values(decay: float) -> None:
    means = RunningMean(2, decay)
    for t in range(len(VALUES)):
        weights = torch.tensor([decay ** (t - i) for i in range(t + 1)])
        expected = (weights[:, None] * VALUES[: t + 1]).sum(0) / weights.sum()
        assert_close(means.after(VALUES[t]), expected)
        means.add(VALUES[t])
        assert_close(means.mean, expected)
        assert_close(torch.tensor(means.read()), expected)


def test_the_first_value_counts_as_it_is() -> None:
    means = RunningMean(2, 0.99)
    assert means.read() is None
    means.add(VALUES[0])
    assert torch.equal(means.mean, VALUES[0])


def test_looking_ahead_changes_nothing() -> None:
    means = RunningMean(2, 0.9)
    means.add(VALUES[0])
    before = {name: value.clone() for name, value in means.state_dict().items()}
    means.after(VALUES[1])
    assert all(torch.equal(before[name], value) for name, value in means.state_dict().items())


def test_no_gradient_goes_through_the_past() -> None:
    value = VALUES[0].clone().requires_grad_()
    means = RunningMean(2, 0.9)
    assert not means.after(value).requires_grad
    means.add(value)
    assert not means.mean.requires_grad
