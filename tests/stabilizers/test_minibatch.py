"""What D reads of a batch: known answers, how they depend on the batch, and that D starts without them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing import assert_close

from sparring.networks import NetworkSpec, PlayerSpec, build_players
from sparring.networks.layers import Logit, draw_weights
from sparring.networks.minibatch import MinibatchDiscrimination, MinibatchStddev
from tests.tools import ADVERSARIAL, small_config


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=source(seed), dtype=torch.float64)


def kernels(in_features: int = 6, count: int = 3, dims: int = 2) -> MinibatchDiscrimination:
    layer = MinibatchDiscrimination(in_features, count, dims).double()
    layer.draw_weights(source(1))
    return layer


# Minibatch discrimination.


def by_hand(layer: MinibatchDiscrimination, features: Tensor, dims: int) -> Tensor:
    """The paper's formulas, sample by sample and kernel by kernel."""
    M = (features @ layer.T.detach()).reshape(len(features), -1, dims)
    rows = [
        [
            sum(math.exp(-float((M[i, b] - M[j, b]).abs().sum())) for j in range(len(M)) if j != i)
            for b in range(M.shape[1])
        ]
        for i in range(len(M))
    ]
    return torch.tensor(rows, dtype=torch.float64)


def test_discrimination_is_the_papers_formula() -> None:
    layer, features = kernels(), normal(5, 6)
    assert_close(layer(features), by_hand(layer, features, 2))


def test_discrimination_of_three_points_on_a_line() -> None:
    layer = MinibatchDiscrimination(1, 1, 1)
    nn.init.ones_(layer.T)
    features = torch.tensor([[0.0], [math.log(2)], [math.log(8)]])  # distances log 2, log 4, log 8
    assert_close(layer(features), torch.tensor([[1 / 2 + 1 / 8], [1 / 2 + 1 / 4], [1 / 4 + 1 / 8]]))


def test_a_sample_alone_is_near_nobody_and_equal_samples_are_all_near() -> None:
    layer = kernels()
    assert torch.equal(layer(normal(1, 6)), torch.zeros(1, 3, dtype=torch.float64))
    same = normal(1, 6).repeat(7, 1).requires_grad_()
    assert_close(layer(same), torch.full((7, 3), 6.0, dtype=torch.float64))
    (slope,) = torch.autograd.grad(layer(same).sum(), same)
    assert torch.equal(slope, torch.zeros_like(slope))


def test_it_is_a_sum_over_the_batch() -> None:
    """Twice the batch: every sample meets the others twice, and its own copy at distance 0."""
    layer, features = kernels(), normal(5, 6)
    assert_close(layer(features.repeat(2, 1))[:5], 2 * layer(features) + 1)


def test_it_does_not_depend_on_the_order() -> None:
    layer, features, order = kernels(), normal(5, 6), torch.tensor([3, 1, 4, 0, 2])
    assert_close(layer(features[order]), layer(features)[order])


def test_to_move_apart_is_to_be_less_near() -> None:
    layer = MinibatchDiscrimination(1, 1, 1)
    nn.init.ones_(layer.T)
    features = torch.tensor([[0.0], [1.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(layer(features)[0].sum(), features)
    assert_close(slope, torch.tensor([[1.0], [-1.0]]) * math.exp(-1))


def test_discrimination_differentiates_twice() -> None:
    layer, features = kernels(), normal(4, 6).requires_grad_()
    assert gradcheck(layer, (features,))
    assert gradgradcheck(layer, (features,))
    (slope,) = torch.autograd.grad(layer(features).sum(), layer.T)
    assert slope.abs().sum() > 0


def test_the_columns_of_T_have_length_1() -> None:
    layer = MinibatchDiscrimination(400, 50, 5)
    layer.draw_weights(source(2))
    assert_close(layer.T.norm(dim=0).mean(), torch.tensor(1.0), atol=0.02, rtol=0)
    again = MinibatchDiscrimination(400, 50, 5)
    draw_weights(again, source(2), PlayerSpec(8, "none"), std=0.02)
    assert torch.equal(layer.T, again.T)


# Minibatch standard deviation.


def test_deviation_is_the_mean_over_features_of_that_of_neighbours() -> None:
    features = normal(6, 5)
    expected = [features[first : first + 3].std(0, correction=0).mean() for first in (0, 0, 0, 3, 3, 3)]
    assert_close(MinibatchStddev(3)(features), torch.stack(expected)[:, None], atol=1e-7, rtol=1e-7)


def test_deviation_of_plus_and_minus_a() -> None:
    features = torch.tensor([[2.0, -1.0], [-2.0, 1.0]])
    assert_close(MinibatchStddev(2)(features), torch.full((2, 1), 1.5))


def test_equal_samples_have_a_finite_gradient_twice() -> None:
    features = normal(1, 5).repeat(4, 1).requires_grad_()
    deviation = MinibatchStddev(4)(features)
    assert_close(deviation, torch.full((4, 1), 1e-4, dtype=torch.float64))
    (slope,) = torch.autograd.grad(deviation.sum(), features, create_graph=True)
    assert torch.equal(slope, torch.zeros_like(slope))
    (second,) = torch.autograd.grad(slope.square().sum() + slope.sum(), features)
    assert second.isfinite().all()


def test_deviation_differentiates_twice() -> None:
    features = normal(4, 3).requires_grad_()
    assert gradcheck(MinibatchStddev(2), (features,))
    assert gradgradcheck(MinibatchStddev(2), (features,))


def test_a_larger_spread_is_a_larger_deviation() -> None:
    features = normal(4, 5)
    layer = MinibatchStddev(4)
    assert_close(layer(3 * features + 1), 3 * layer(features), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(("count", "size"), [(8, 4), (6, 3), (7, 1), (4, 4), (2, 2), (1, 1), (10, 2), (9, 3)])
def test_a_batch_that_does_not_split_takes_smaller_groups(count: int, size: int) -> None:
    features = normal(count, 5)
    assert_close(MinibatchStddev(4)(features), MinibatchStddev(size)(features))
    groups = [features[first : first + size] for first in range(0, count, size)]
    expected = torch.cat([MinibatchStddev(size)(group) for group in groups])
    assert_close(MinibatchStddev(4)(features), expected)


def test_one_pass_over_real_and_fake_mixes_no_groups() -> None:
    real, fake, layer = normal(8, 5), normal(8, 5, seed=1), MinibatchStddev(4)
    assert torch.equal(layer(torch.cat((real, fake))), torch.cat((layer(real), layer(fake))))


# In D.

VIEWS = [
    {"kernels": 3, "kernel_dims": 2},
    {"stddev_group": 4},
    {"kernels": 3, "kernel_dims": 2, "stddev_group": 4},
]


@pytest.mark.parametrize("views", VIEWS, ids=str)
def test_the_logit_reads_features_and_views(views: dict[str, int]) -> None:
    logit = Logit(6, PlayerSpec(1, "none", **views)).double()
    features = normal(8, 6)
    parts = [features]
    for module in logit.modules():
        if isinstance(module, MinibatchDiscrimination):
            nn.init.normal_(module.T, generator=source())
        if isinstance(module, MinibatchDiscrimination | MinibatchStddev):
            parts.append(module(features))
    both = torch.cat(parts, 1)
    assert both.shape[1] == 6 + views.get("kernels", 0) + ("stddev_group" in views)
    assert_close(logit(features), both @ logit.dense.weight[0] + logit.dense.bias)


@pytest.mark.parametrize("views", VIEWS, ids=str)
@pytest.mark.parametrize("network", ADVERSARIAL)
def test_D_starts_without_the_batch_and_learns_to_read_it(network: str, views: dict[str, int]) -> None:
    spec = NetworkSpec((1, 28, 28), 4, PlayerSpec(8, "none"), PlayerSpec(8, "none", **views))
    D = build_players(network, spec, source())[1].double()
    x = normal(8, 1, 28, 28)
    alone = torch.cat([D(sample[None]) for sample in x])
    assert_close(D(x), alone)
    (slope,) = torch.autograd.grad(D(x).sum(), D.logit.dense.weight)
    assert bool((slope[:, D.logit.in_features :] > 0).all())
    with torch.no_grad():
        D.logit.dense.weight += 1.0
    assert (D(x) - torch.cat([D(sample[None]) for sample in x])).abs().min() > 1e-3


def test_without_a_view_D_has_nothing_more() -> None:
    plain = Logit(6, PlayerSpec(1, "none"))
    assert plain.state_dict().keys() == {"dense.weight", "dense.bias"}
    assert plain.dense.in_features == 6


def test_the_flags_ask_for_them() -> None:
    def player(*stabilizer: str) -> PlayerSpec:
        return small_config("ring", stabilizer=stabilizer).network_spec((2,)).d

    plain, kernels, groups = player(), player("minibatch-discrimination:7:3"), player("minibatch-stddev:2")
    assert (plain.kernels, plain.stddev_group) == (0, 0)
    assert (kernels.kernels, kernels.kernel_dims, kernels.stddev_group) == (7, 3, 0)
    assert (groups.kernels, groups.stddev_group) == (0, 2)
    assert (player("minibatch-discrimination").kernels, player("minibatch-discrimination").kernel_dims) == (50, 5)
    assert player("minibatch-stddev").stddev_group == 4
