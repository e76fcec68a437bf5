"""Networks that play alone: their likelihoods are probabilities, their samples are those of the model, their game is one turn."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence
from torch.testing import assert_close

import sparring
from sparring.cli.console import _players
from sparring.combinations import AGAINST_D
from sparring.config import DiscriminatorConfig, TrainConfig
from sparring.errors import TrainingDivergedError, UsageError
from sparring.games import Batch, Clock, Payoff, Turn
from sparring.games.likelihood import likelihood_game, likelihood_turn
from sparring.networks import NETWORKS, NetworkSpec, PlayerSpec, build_players
from sparring.networks.logistic import (
    LEVELS,
    Mixture,
    logistic_log_prob,
    logistic_mean,
    outputs_for,
    quantile,
    read_mixture,
)
from sparring.networks.pixelcnn import _COMPONENTS, PixelCNN
from sparring.networks.vae import VariationalAutoencoder, kl_from_prior, negative_elbo
from sparring.presets import PRESETS
from sparring.report.settings import command_of
from sparring.session import plan_config
from sparring.settings import differences, resolve, settings_made, validate
from sparring.summary import players_of_name
from tests.tools import LIKELIHOOD, trainer_for

X = (2 * torch.arange(LEVELS, dtype=torch.float64) / (LEVELS - 1)) - 1
"""Every level."""

#: Means inside, at and beyond the ends; scales from a tenth of a level to far wider than all of them.
LOGISTICS = list(itertools.product((-30.0, -1.0, -0.3, 0.0017, 1.0, 4.0), (-7.0, -4.0, -1.0, 0.0, 3.0)))


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, shape: tuple[int, ...], width: int = 4, latent_dim: int = 3) -> nn.Module:
    """Return a network in double precision, with every weight at work."""
    row = NETWORKS[name]
    dim = latent_dim if row.latent_dim is None else row.latent_dim(shape)
    (G,) = build_players(name, NetworkSpec(shape, dim, PlayerSpec(width, "none"), PlayerSpec(0, "none")), source())
    with torch.no_grad():
        for parameter in G.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=source(1)))
    return G.double().eval()


def levels(*shape: int, seed: int = 2) -> Tensor:
    return X[torch.randint(LEVELS, shape, generator=source(seed))]


# The discretized logistic.


@pytest.mark.parametrize(("mean", "log_scale"), LOGISTICS)
def test_the_probabilities_of_all_levels_add_up_to_1(mean: float, log_scale: float) -> None:
    log_prob = logistic_log_prob(X, torch.tensor(mean), torch.tensor(log_scale, dtype=torch.float64))
    assert_close(log_prob.exp().sum(), torch.tensor(1.0, dtype=torch.float64), atol=1e-12, rtol=0)
    assert bool(log_prob.isfinite().all())


@pytest.mark.parametrize(("mean", "log_scale"), [(-0.3, -4.0), (0.2, -1.0), (1.5, 0.0)])
def test_it_is_the_difference_of_the_cumulative_distribution(mean: float, log_scale: float) -> None:
    edges = (X[1:] + X[:-1]) / 2
    cumulative = stats.logistic.cdf(edges, loc=mean, scale=math.exp(log_scale))
    expected = torch.diff(torch.tensor([0.0, *cumulative, 1.0], dtype=torch.float64))
    ours = logistic_log_prob(X, torch.tensor(mean, dtype=torch.float64), torch.tensor(log_scale, dtype=torch.float64))
    assert_close(ours.exp(), expected, atol=1e-14, rtol=1e-9)


def test_single_precision_and_slopes_stay_finite_far_from_the_mean() -> None:
    mean = torch.tensor([-100.0, 0.0, 100.0]).requires_grad_()
    log_scale = torch.full((3,), -7.0).requires_grad_()
    log_prob = logistic_log_prob(X.float()[:, None], mean, log_scale)
    slopes = torch.autograd.grad(log_prob.sum(), [mean, log_scale])
    assert all(bool(value.isfinite().all()) for value in (log_prob, *slopes))


@pytest.mark.parametrize(("mean", "log_scale"), LOGISTICS)
def test_its_mean_is_that_of_its_levels(mean: float, log_scale: float) -> None:
    place, width = torch.tensor(mean, dtype=torch.float64), torch.tensor(log_scale, dtype=torch.float64)
    expected = (X * logistic_log_prob(X, place, width).exp()).sum()
    assert abs(float(logistic_mean(place, width) - expected)) < 1 / (LEVELS - 1)


def mixtures(count: int, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, means and log-scales ``[count, 3]``."""
    draw = torch.randn(3, count, 3, generator=source(seed), dtype=torch.float64)
    return draw[0].softmax(1), draw[1], 2 * draw[2] - 2


def test_the_quantile_is_the_first_level_that_reaches_u() -> None:
    weights, mean, log_scale = mixtures(500)
    u = torch.rand(500, generator=source(), dtype=torch.float64)
    probability = (weights[..., None] * logistic_log_prob(X, mean[..., None], log_scale[..., None]).exp()).sum(1)
    cumulative = probability.cumsum(1)
    found = quantile(u, weights, mean, log_scale)
    index = ((found + 1) * (LEVELS - 1) / 2).round().long()
    assert_close(X[index], found)
    assert bool((cumulative.gather(1, index[:, None])[:, 0] >= u - 1e-12).all())
    before = cumulative.gather(1, (index - 1).clamp_min(0)[:, None])[:, 0]
    assert bool(((before < u + 1e-12) | (index == 0)).all())
    assert len(index.unique()) > 100
    assert quantile(torch.zeros(500), *(part.float() for part in (weights, mean, log_scale))).eq(-1).all()


def three_channels(count: int) -> Mixture:
    outputs = torch.randn(count, outputs_for(2, 3), generator=source(), dtype=torch.float64)
    return read_mixture(2 * outputs, 2, 3)


def test_the_first_channels_have_the_probability_that_the_others_add_up_to() -> None:
    """p(c₁) = Σ p(c₁, c₂, c₃): in a pixel with the first channel given, all 65,536 values of the others."""
    pixel = three_channels(1)
    others = torch.cartesian_prod(X, X)
    for first in (-1.0, X[100].item(), 1.0):
        x = torch.cat((torch.full((len(others), 1), first, dtype=torch.float64), others), 1)
        whole = Mixture(*(part.expand(len(x), *part.shape[1:]) for part in pixel)).log_prob(x).exp().sum()
        of_each = logistic_log_prob(torch.tensor(first), pixel.mean[0, :, 0], pixel.log_scale[0, :, 0]).exp()
        assert_close(whole, (pixel.logits[0].softmax(0) * of_each).sum())


def test_a_channel_is_drawn_knowing_those_before_it() -> None:
    """The quantile of a channel is that of p(c₃ | c₁, c₂) by Bayes' rule, from the joint probabilities."""
    pixels, u = three_channels(50), torch.rand(50, 3, generator=source(1), dtype=torch.float64)
    drawn = pixels.quantile(u)
    for n in range(50):
        x = torch.cat((drawn[n, :2].expand(LEVELS, 2), X[:, None]), 1)
        one = Mixture(*(part[n : n + 1].expand(LEVELS, *part.shape[1:]) for part in pixels))
        cumulative = one.log_prob(x).softmax(0).cumsum(0)
        assert_close(drawn[n, 2], X[int((cumulative < u[n, 2]).sum())])


# PixelCNN.

TINY = [(1, 4, 5), (3, 3, 3)]


@pytest.mark.parametrize("shape", TINY, ids=str)
def test_no_pixel_sees_itself_or_a_later_one(shape: tuple[int, ...]) -> None:
    G, x = build("pixelcnn", shape, width=16), levels(1, *shape).requires_grad_()
    assert isinstance(G, PixelCNN)
    outputs = G.outputs(x).flatten(2)
    weights = torch.rand(outputs.shape[1], generator=source(), dtype=torch.float64)
    for pixel in range(shape[1] * shape[2]):
        (slope,) = torch.autograd.grad((weights * outputs[0, :, pixel]).sum(), x, retain_graph=True)
        seen = slope[0].flatten(1).abs()
        assert not seen[:, pixel:].any()
        assert bool((seen[:, :pixel] > 0).all()), "on an image this small every earlier pixel is within reach"


@torch.no_grad()
def probabilities(G: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """Return those of all 65,536 images of two pixels, ``[256, 256]``."""
    x = torch.cartesian_prod(X, X).float().reshape(-1, *shape)
    parts = [G.float().negative_log_likelihood(piece, source())["nll"] for piece in x.split(4096)]
    G.double()
    return (-2 * torch.cat(parts).double()).exp().reshape(LEVELS, LEVELS)


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 2, 1)], ids=str)
def test_the_probabilities_of_all_images_add_up_to_1(shape: tuple[int, ...]) -> None:
    of_each = probabilities(build("pixelcnn", shape), shape)
    assert_close(of_each.sum(), torch.tensor(1.0, dtype=torch.float64), atol=1e-5, rtol=0)
    assert of_each.max() < 0.5, "and not because one image has all of it"


def one_by_one(G: PixelCNN, z: Tensor) -> Tensor:
    """Return the samples as the definition has it: the whole network once for every pixel."""
    u, x = ((z + 1) / 2).reshape(-1, *G.shape), torch.zeros(len(z), *G.shape, dtype=z.dtype)
    for row, column in itertools.product(range(G.shape[1]), range(G.shape[2])):
        pixel = G.outputs(x)[:, :, row, column]
        x[:, :, row, column] = read_mixture(pixel, _COMPONENTS, G.shape[0]).quantile(u[:, :, row, column])
    return x


@pytest.mark.parametrize("shape", [(1, 9, 11), (3, 5, 4)], ids=str)
def test_sampling_equals_one_whole_pass_a_pixel_to_the_bit(shape: tuple[int, ...]) -> None:
    """The image is larger than the dilations, so that what is remembered is also forgotten."""
    G = build("pixelcnn", shape)
    z = 2 * torch.rand(6, math.prod(shape), generator=source(4), dtype=torch.float64) - 1
    with torch.no_grad():
        assert torch.equal(G(z), one_by_one(G, z))
    assert len(G(z).unique()) > 50


def test_samples_are_distributed_as_the_model_says() -> None:
    """With a grid of z in place of chance, so that frequencies are probabilities up to a step of the grid."""
    G, steps = build("pixelcnn", (1, 1, 2)), 120
    grid = (2 * torch.arange(steps, dtype=torch.float64) + 1) / steps - 1
    drawn = ((G(torch.cartesian_prod(grid, grid)).flatten(1) + 1) * (LEVELS - 1) / 2).round().long()
    expected = probabilities(G, (1, 1, 2)).cumsum(0).cumsum(1)
    found = torch.zeros(LEVELS, LEVELS, dtype=torch.float64)
    found.index_put_((drawn[:, 0], drawn[:, 1]), torch.tensor(1 / steps**2, dtype=torch.float64), accumulate=True)
    assert (found.cumsum(0).cumsum(1) - expected).abs().max() < 2 / steps
    independent = expected[:, -1:] * expected[-1:]
    assert (expected - independent).abs().max() > 4 / steps, "the second pixel depends on the first"


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_a_sample_is_a_function_of_its_own_z(name: str) -> None:
    G = build(name, (1, 8, 8)).float()
    z = 2 * torch.rand(5, 64 if name == "pixelcnn" else 3, generator=source()) - 1
    before = {key: value.clone() for key, value in G.state_dict().items()}
    x = G(z)
    assert x.shape == (5, 1, 8, 8)
    assert x.dtype == torch.float32
    assert x.abs().max() <= 1
    assert torch.equal(G(z), x)
    assert_close(G(z[3:4])[0], x[3])
    assert len({tuple(sample.flatten().tolist()) for sample in x}) == 5
    assert all(torch.equal(before[key], value) for key, value in G.state_dict().items())


# The variational autoencoder.


def test_the_kl_is_the_closed_form() -> None:
    mean, log_variance = torch.randn(2, 7, 4, generator=source(), dtype=torch.float64)
    q = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    assert_close(kl_from_prior(mean, log_variance), kl_divergence(q, prior))
    assert_close(kl_from_prior(torch.zeros(2, 3), torch.zeros(2, 3)), torch.zeros(2))


def test_the_bound_is_the_likelihood_less_the_kl_from_the_posterior() -> None:
    """x = W z + ε is Gaussian, and so is p(z|x): there the ELBO is log p(x) - KL(q ‖ p(z|x)), and log p(x) where q is it."""
    draws, noise = 40_000, 0.5
    W = torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.5, 0.0]], dtype=torch.float64)  # orthogonal: a diagonal posterior
    x = torch.tensor([0.7, -1.2, 0.4], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    log_p = MultivariateNormal(torch.zeros_like(x), W @ W.T + noise**2 * eye).log_prob(x)
    variance = 1 / (1 + (W.T @ W).diagonal() / noise**2)
    mean = variance * (W.T @ x) / noise**2

    def log_prob(z: Tensor) -> Tensor:
        return MultivariateNormal(z @ W.T, noise**2 * eye).log_prob(x)

    for shift, stretch in ((0.0, 1.0), (0.3, 1.0), (0.0, 2.5)):
        q_mean, q_log_variance = mean + shift, (stretch * variance).log()
        q = Independent(Normal(q_mean, (q_log_variance / 2).exp()), 1)
        gap = kl_divergence(q, Independent(Normal(mean, variance.sqrt()), 1))
        parts = negative_elbo(q_mean.expand(draws, 2), q_log_variance.expand(draws, 2), log_prob, source())
        bound = -(parts["reconstruction"] + parts["kl"])
        error = 4 * float(bound.std()) / math.sqrt(draws)
        assert abs(float(bound.mean() - (log_p - gap))) < error
        assert error < 0.05
        assert gap > 3 * error or (shift, stretch) == (0.0, 1.0)
        assert bound.mean() <= log_p + error


def test_its_parts_are_those_of_the_definition() -> None:
    G, x = build("vae", (3, 8, 8)), levels(5, 3, 8, 8)
    assert isinstance(G, VariationalAutoencoder)
    parts = G.negative_log_likelihood(x, source(9))
    mean, log_variance = G.encoder(x).chunk(2, 1)
    z = mean + torch.randn(5, 3, generator=source(9), dtype=torch.float64) * (log_variance / 2).exp()
    log_prob = logistic_log_prob(x, G.decoder(z), G.likelihood.log_scale).sum((1, 2, 3))
    assert_close(parts, {"reconstruction": -log_prob / 192, "kl": kl_from_prior(mean, log_variance) / 192})
    slopes = torch.autograd.grad(sum(part.sum() for part in parts.values()), list(G.parameters()))
    assert all(bool(slope.abs().sum() > 0) for slope in slopes)


def test_a_sample_is_the_mean_of_what_is_likely() -> None:
    G, z = build("vae", (1, 8, 8)), torch.randn(2, 3, generator=source(), dtype=torch.float64)
    with torch.no_grad():
        places = G.decoder(z)
        probabilities = logistic_log_prob(X, places[..., None], G.likelihood.log_scale[..., None]).exp()
        assert (G(z) - (X * probabilities).sum(-1)).abs().max() < 1 / (LEVELS - 1)


# The game.


def batch(shape: tuple[int, ...], latent_dim: int, seed: int = 0, z_seed: int = 1) -> Batch:
    x = levels(4, *shape).float()
    return Batch(x, None, torch.rand(4, latent_dim, generator=source(z_seed)), source(seed))


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_the_turn_is_the_likelihood_of_real_samples_alone(name: str) -> None:
    G, shape = build(name, (1, 8, 8)).float(), (1, 8, 8)
    payoff = likelihood_turn(G, batch(shape, 64))
    assert {term.shape for term in payoff.terms.values()} == {(4,)}
    total = sum(payoff.terms.values())
    assert_close(payoff.signals["bits_per_dim"], total.detach() / math.log(2))
    assert not payoff.signals["bits_per_dim"].requires_grad
    assert_close(likelihood_turn(G, batch(shape, 64, z_seed=2)).terms, payoff.terms)
    other = sum(likelihood_turn(G, batch(shape, 64, seed=5)).terms.values())
    assert bool((other == total).all()) == (name == "pixelcnn"), "the draw of q(z|x) is its only chance"


def test_a_step_is_one_turn_of_G_with_real_samples_of_its_own(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, "vae")
    assert set(trainer.players) == {"G"}
    (turn,) = trainer.game.turns(Clock())
    assert (turn.player, turn.fresh, turn.exact) == ("G", True, False)
    seen: list[int] = []
    original = trainer._real_batch
    trainer._real_batch = lambda number: seen.append(number) or original(number)  # type: ignore[method-assign]
    for _ in range(3):
        trainer.play_step()
    assert seen == [0, 1, 2]
    with pytest.raises(AssertionError):
        likelihood_game(nn.Linear(2, 2))


def small_trainer(out: Path, name: str, **settings: object) -> sparring.trainer.Trainer:
    """Return a trainer on digits at 28×28, whose samples nobody draws."""
    return trainer_for(out, "digits", network=name, **{"g": {"width": 4}, "batch_size": 4, **settings})


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_data_become_likelier(name: str, tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, name, g={"width": 8, "lr": 3e-3}, batch_size=8, steps=12)
    given = trainer._batch(trainer._real_batch(1000), 0)

    def nats() -> float:
        with torch.no_grad():
            parts = trainer.players["G"].network.negative_log_likelihood(given.x_real, source())
        return float(sum(parts.values()).mean())

    before = nats()
    for _ in range(12):
        trainer.play_step()
    assert nats() < 0.8 * before
    row = trainer.gauges.read()
    assert row["G/bits_per_dim"] == pytest.approx(row["G/loss"] / math.log(2), rel=1e-5)
    assert ("G/kl" in row) == (name == "vae")


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    def gradient(name: str, **settings: int) -> Tensor:
        trainer = small_trainer(tmp_path / name, "pixelcnn", **settings)
        trainer.play_step()
        return torch.cat([parameter.grad.flatten() for parameter in trainer.players["G"].parameters])

    assert_close(gradient("whole"), gradient("pieces", accumulate=2), rtol=1e-4, atol=1e-5)


def test_advice_names_no_player_who_does_not_play(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, "vae", steps=20)

    def spoilt(given: Batch) -> Payoff:
        (turn,) = turns(Clock())
        payoff = turn.play(given)
        return Payoff({name: term * math.inf for name, term in payoff.terms.items()}, payoff.signals)

    turns = trainer.game.turns
    object.__setattr__(trainer.game, "turns", lambda clock: (Turn("G", spoilt, fresh=True),))
    with pytest.raises(TrainingDivergedError, match=r"10 times in a row; .*lower --g\.lr, or give --g\.clip-grad 1"):
        trainer.train()
    assert trainer.progress.skipped_in_a_row == {"G": 10}


# Settings.

DEFAULTS = TrainConfig(data="digits", preset="dcgan", steps=1).model_dump()


@pytest.mark.parametrize("name", LIKELIHOOD)
@pytest.mark.parametrize("setting", [*AGAINST_D, "burn_in.penalty"])
def test_what_is_of_the_game_against_D_is_refused_whatever_its_value(setting: str, name: str) -> None:
    first, _, second = setting.partition(".")
    values = {first: {second: DEFAULTS[first][second]} if second else DEFAULTS[first]}
    if setting == "d":
        values = {"d": {"lr": DiscriminatorConfig().lr}}
        setting = "d.lr"
    with pytest.raises(UsageError) as caught:
        plan_config("digits", name, values)
    flag = "--" + setting.replace("_", "-")
    assert str(caught.value).startswith(f"{flag}: the network '{name}' learns from the likelihood")
    assert "leave it out" in str(caught.value)


REFUSED = [
    ("pixelcnn", {"prior": "normal"}, "--prior normal: .* give --prior uniform"),
    ("vae", {"prior": "uniform"}, "--prior uniform: .* give --prior normal"),
    ("pixelcnn", {"g": {"norm": "batch"}}, "--g.norm batch: .* give --g.norm none"),
    ("vae", {"g": {"norm": "virtual"}}, "--g.norm virtual: .* give --g.norm batch or layer or none"),
    ("dcgan32", {"network": "pixelcnn"}, "--prior normal: .* give --prior uniform"),
]


@pytest.mark.parametrize(("preset", "values", "words"), REFUSED)
def test_what_the_network_cannot_be_is_refused(preset: str, values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plan_config("digits", preset, values)


def test_a_wrong_length_of_z_is_refused_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--latent-dim 784: .* of a 1×16×16 sample; give --latent-dim 256"):
        sparring.train("digits", preset="pixelcnn", resolution=16, out=tmp_path)
    with pytest.raises(UsageError, match=r"a number for each of its 12288 values, and at most 4096"):
        sparring.train(torch.zeros(9, 3, 64, 64, dtype=torch.uint8), preset="pixelcnn", resolution=64, out=tmp_path)
    with pytest.raises(UsageError, match="images of 256 levels, not points"):
        sparring.train("ring", preset="pixelcnn", resolution=None, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_a_config_is_written_without_what_does_not_play(name: str) -> None:
    config = PRESETS[name].config("digits")
    written = json.loads(config.model_dump_json())
    assert not set(AGAINST_D) & written.keys()
    assert "penalty" not in written["burn_in"]
    assert validate(written) == config
    assert resolve(config, {"seed": 3}).seed == 3
    assert not [flag for flag in settings_made(config) if flag.startswith("d.") or flag == "loss"]
    assert validate(written).identity() == config.identity() != resolve(config, {"g": {"lr": 1.0}}).identity()


def test_a_network_that_plays_alone_takes_the_presets_game_away() -> None:
    modern = PRESETS["modern"].config("x")
    alone = resolve(modern, {"network": "vae"})
    assert differences(alone, modern) == ["--network vae"]
    assert command_of(alone) == "sparring train x --preset modern --network vae"
    back = resolve(PRESETS["vae"].config("x"), {"network": "dcgan", "loss": "hinge"})
    assert differences(back, PRESETS["vae"].config("x")) == ["--network dcgan", "--loss hinge"]
    assert set(back.players) == {"G", "D"}


# What a user sees.


@pytest.fixture(scope="module", params=LIKELIHOOD)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> sparring.Run:
    small = {"latent_dim": 64} if request.param == "pixelcnn" else {"latent_dim": 3}
    small |= {"resolution": 8, "g": {"width": 4}, "batch_size": 4, "steps": 6, "log_every": 2, "sample_every": 3}
    small |= {"eval_every": 0, "threads": 1, "device": "cpu", "precision": "fp32"}
    return sparring.train("digits", preset=request.param, out=tmp_path_factory.mktemp("runs"), **small)


def test_a_trained_one_is_sampled_as_any_generator(run: sparring.Run) -> None:
    gan = sparring.load(run.path)
    x = gan.sample(5, seed=3)
    assert x.shape == (5, 1, 8, 8)
    assert torch.equal(gan.sample(2, seed=3), x[:2])
    assert not torch.equal(gan.sample(5, seed=4), x)
    saved = {path.name for path in run.directory.checkpoints()[-1].iterdir()}
    assert "G_optimizer.safetensors" in saved
    assert not [name for name in saved if name.startswith("D")]


def test_its_report_has_no_second_player(run: sparring.Run) -> None:
    page = run.directory.report_file.read_text(encoding="utf-8")
    text, charts = page[: page.index("<script>")], page[page.index('id="charts">') :]
    assert '"id":"bits"' in charts
    assert '"id":"gradients"' in charts
    assert ('"id":"parts"' in charts) == ("vae" in run.path.name)
    for absent in ('"id":"losses"', '"id":"outputs"', '"id":"value"', '"id":"accuracy"'):
        assert absent not in charts
    assert "One player" in text
    assert "Two players" not in text
    assert f"Network: {'vae' if 'vae' in run.path.name else 'pixelcnn'}" in text
    assert "<code>d.lr</code>" not in text
    assert "<code>loss</code>" not in text
    assert "<code>burn_in.penalty</code>" not in text
    assert "upper bound" in text if "vae" in run.path.name else "exact" in text


def test_the_console_says_whether_it_is_a_bound() -> None:
    assert _players({"event": "log", "G/bits_per_dim": 1.234, "G/kl": 0.1}) == "bits/dim at most 1.23"
    assert _players({"event": "log", "G/bits_per_dim": 1.234}) == "bits/dim 1.23"


@pytest.mark.parametrize("name", LIKELIHOOD)
def test_the_summary_counts_every_parameter(name: str) -> None:
    config = PRESETS[name].config("digits")
    shape = (1, config.resolution, config.resolution)
    _, players = players_of_name(name, shape)
    (G,) = build_players(name, config.network_spec(shape), source())
    assert set(players) == {"G"}
    assert sum(row.parameters for row in players["G"]) == sum(parameter.numel() for parameter in G.parameters())
    assert sum(row.flops for row in players["G"]) > 1e6
