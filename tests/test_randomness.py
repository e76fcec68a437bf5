"""Draws depend on their purpose and place alone, and spread draws are a scrambled Sobol sequence."""

from __future__ import annotations

import pytest
import torch

from sparring.randomness import derive_seed, draw_prior, latents, randomness, spread_prior


def test_latents_are_the_same_however_many_are_asked_for() -> None:
    whole = latents("normal", 3, seed=5, first=0, count=700)
    assert torch.equal(latents("normal", 3, seed=5, first=250, count=300), whole[250:550])


def test_a_spread_sequence_is_the_same_wherever_it_is_taken_up() -> None:
    whole = spread_prior("normal", 0, 1000, 5, seed=3)
    assert torch.equal(spread_prior("normal", 300, 128, 5, seed=3), whole[300:428])
    assert not torch.equal(spread_prior("normal", 300, 128, 5, seed=4), whole[300:428])


def test_a_spread_sequence_is_sobols() -> None:
    engine = torch.quasirandom.SobolEngine(4, scramble=True, seed=7)
    ours = (spread_prior("uniform", 0, 512, 4, seed=7) + 1) / 2
    torch.testing.assert_close(ours, engine.draw(512), rtol=0, atol=1e-6)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_each_z_has_the_priors_distribution(prior: str) -> None:
    """Over many sequences, the z at one place: no further from the prior than independent draws would be."""
    ours = torch.cat([spread_prior(prior, 77, 1, 2, seed=seed) for seed in range(2000)])
    theirs = draw_prior(prior, 100_000, 2, randomness("theirs"))
    levels = torch.linspace(0.05, 0.95, 19)
    for mine, other in zip(ours.T, theirs.T, strict=True):
        shares = (mine[:, None] < torch.quantile(other, levels)).float().mean(0)
        assert (shares - levels).abs().max() < 0.04


def test_means_over_a_batch_vary_less_than_independent_draws() -> None:
    """Of z_1 z_2 and of z_1²: the variance over batches, which for independent draws is 1/B and 2/B."""
    batches = torch.stack([spread_prior("normal", 128 * step, 128, 2, derive_seed(0, "a")) for step in range(200)])
    assert batches.prod(2).mean(1).var() < 0.1 / 128
    assert batches[..., 0].square().mean(1).var() < 0.1 * 2 / 128
