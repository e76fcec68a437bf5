"""After power iteration every weight of D has the largest singular value 1, whatever the network and whoever moves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn.utils import parametrize
from torch.testing import assert_close

from sparring.games import Clock
from sparring.networks import NetworkSpec, PlayerSpec, build_players
from sparring.networks.layers import Logit
from sparring.networks.spectral import normalize_spectra
from tests.tools import ADVERSARIAL, small_config, trainer_for

SHAPE = (1, 28, 28)
POINT_NETWORKS = ["mlp", "maxout"]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(
    network: str, shape: tuple[int, ...] = SHAPE, seed: int = 0, views: bool = False, spectral: bool = True
) -> tuple[nn.Module, nn.Module]:
    d = PlayerSpec(8, "none", spectral=spectral, kernels=3 * views, kernel_dims=2, stddev_group=2 * views)
    return build_players(network, NetworkSpec(shape, 4, PlayerSpec(8, "none"), d), source(seed))


def weights(D: nn.Module) -> list[Tensor]:
    """Return the weights that D computes with, as matrices; to look at them must not turn the crank."""
    found = []
    D.eval()
    for module in D.modules():
        for name in ("weight", "T"):
            if isinstance(getattr(module, name, None), Tensor) and getattr(module, name).dim() > 1:
                weight = getattr(module, name).detach()
                if isinstance(module, nn.ConvTranspose2d):
                    weight = weight.transpose(0, 1)
                found.append(weight.flatten(1))
    D.train()
    return found


def vectors(D: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in D.named_buffers() if name.endswith(("_u", "_v"))}


@torch.no_grad()
def iterate(D: nn.Module, x: Tensor, times: int = 100) -> None:
    for _ in range(times):
        D(x)


def largest(D: nn.Module) -> Tensor:
    return torch.stack([torch.linalg.matrix_norm(weight, 2) for weight in weights(D)])


@pytest.mark.parametrize("network", ADVERSARIAL)
def test_the_largest_singular_value_of_every_weight_is_1_and_stays_so(network: str) -> None:
    plain, D = build(network, views=True, spectral=False)[1], build(network, views=True)[1]
    x = torch.randn(2, *SHAPE, generator=source())
    assert len(weights(D)) == len(weights(plain)) >= 4
    assert ((largest(plain) - 1).abs() > 0.05).sum() >= 3, "it is the norm that makes it so"
    iterate(D, x)
    assert_close(largest(D), torch.ones(len(weights(D))), atol=5e-3, rtol=0)
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=source(1)))
    iterate(D, x)
    assert_close(largest(D), torch.ones(len(weights(D))), atol=5e-3, rtol=0)


def test_a_matrix_with_known_singular_values() -> None:
    D = nn.Sequential(nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        D[0].weight.copy_(torch.diag(torch.tensor([3.0, 1.0, 0.5])))
    normalize_spectra(D, source())
    iterate(D, torch.zeros(1, 3))
    assert_close(weights(D)[0], torch.diag(torch.tensor([1.0, 1 / 3, 0.5 / 3])))


def test_it_goes_on_any_network_of_a_users_own() -> None:
    D = nn.Sequential(
        nn.Conv1d(1, 3, 3), nn.Flatten(), nn.Unflatten(1, (3, 2, 2)), nn.ConvTranspose2d(3, 5, 2), nn.Flatten()
    ).append(Logit(45, PlayerSpec(1, "none")))
    normalize_spectra(D, source())
    iterate(D, torch.zeros(2, 1, 6))
    assert [tuple(weight.shape) for weight in weights(D)] == [(3, 3), (5, 12), (1, 45)]
    assert_close(largest(D), torch.ones(3), atol=5e-3, rtol=0)


@pytest.mark.parametrize("network", POINT_NETWORKS)
def test_it_bounds_the_slope_of_D_by_1(network: str) -> None:
    """All activations are 1-Lipschitz, the maximum over pieces too, so D is; without the norm it is not."""
    x = torch.randn(500, 2, generator=source())
    for spectral in (True, False):
        D = build(network, (2,), spectral=spectral)[1]
        with torch.no_grad():
            for parameter in D.parameters():
                parameter.mul_(2)
        iterate(D, x)
        given = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(D(given).sum(), given)
        assert (slope.norm(dim=1).max() <= 1 + 1e-4) == spectral
        steepest = ((D(x) - D(x.flip(0))).abs() / (x - x.flip(0)).norm(dim=1).clamp_min(1e-9)).max()
        assert (steepest <= 1 + 1e-4) == spectral


def test_the_first_vectors_depend_on_the_generator_alone_and_leave_torchs_own_as_it_was() -> None:
    torch.manual_seed(1)
    build("case-study", spectral=False)
    after_plain = torch.get_rng_state()
    torch.manual_seed(1)
    first = vectors(build("case-study", seed=5)[1])
    assert torch.equal(torch.get_rng_state(), after_plain)
    torch.manual_seed(2)
    again, other = vectors(build("case-study", seed=5)[1]), vectors(build("case-study", seed=6)[1])
    assert len(first) == 2 * 3
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(not torch.equal(first[name], other[name]) for name in first if first[name].numel() > 1)


@pytest.mark.parametrize("network", ADVERSARIAL)
def test_the_weights_are_those_drawn_without_it(network: str) -> None:
    plain, spectral = build(network, views=True, spectral=False), build(network, views=True)
    for without, with_it in zip(plain, spectral, strict=True):
        weights = {
            name.replace("parametrizations.", "").replace(".original", ""): w for name, w in with_it.named_parameters()
        }
        assert weights.keys() == dict(without.named_parameters()).keys()
        for name, weight in without.named_parameters():
            if (
                network == "r3gan" and without is plain[1] and weight.ndim == 4
            ):  # a branch begins small, or at 0, without it
                matrix = torch.stack((weight.flatten(), weights[name].flatten()))
                assert torch.linalg.svdvals(matrix)[1] < 1e-4, "a multiple"
            else:
                assert torch.equal(weights[name], weight)


def test_only_a_turn_of_D_moves_the_vectors(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", stabilizer=("spectral-norm",), penalty=("r1:1",), loss="hinge")
    D = trainer.players["D"].network
    trainer.play_step()  # the first vectors have converged; now the weights have changed
    moved = {}
    for index, turn in enumerate(trainer.game.turns(Clock())):
        before = vectors(D)
        trainer._play(turn, trainer._batch(trainer._real_batch(1), index))
        moved[turn.player] = [name for name, old in before.items() if not torch.equal(old, vectors(D)[name])]
    assert moved["G"] == []
    # the left vector of the logit's single row is ±1 for good
    assert len(vectors(D)) == 8
    assert set(moved["D"]) == {name for name in vectors(D) if name != "logit.dense.parametrizations.weight.0._u"}


def test_r1_through_the_norm_has_the_right_gradient() -> None:
    """Penalties differentiate twice; σ = u·Wv is differentiated with u and v held (arXiv:1802.05957, eq. 10-12)."""
    D = build("mlp", (2,))[1].double().eval()
    names = [name for name, _ in D.named_parameters()]
    x = torch.randn(3, 2, dtype=torch.float64, generator=source(3), requires_grad=True)

    def r1(*parameters: Tensor) -> Tensor:
        logits = functional_call(D, dict(zip(names, parameters, strict=True)), (x,))
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return slope.square().sum() / 2

    assert gradcheck(r1, tuple(parameter.detach().requires_grad_() for parameter in D.parameters()), fast_mode=True)


def test_the_gradient_by_a_weight_does_not_change_its_length() -> None:
    """W and c W are the same function, so the gradient has no part along W (eq. 12)."""
    D = nn.Sequential(nn.Linear(4, 5, bias=False))
    normalize_spectra(D, source())
    x = torch.randn(7, 4, generator=source(1))
    iterate(D, x)
    W = D[0].parametrizations.weight.original
    (slope,) = torch.autograd.grad(D.eval()(x).square().sum(), W)
    assert slope.abs().max() > 0.1
    assert_close((slope * W).sum(), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_a_state_dict_holds_all_of_it() -> None:
    D, other = build("maxout", (2,), seed=0, views=True)[1], build("maxout", (2,), seed=1, views=True)[1]
    x = torch.randn(4, 2, generator=source())
    iterate(D, x, 3)
    assert not torch.equal(D.eval()(x), other.eval()(x))
    other.load_state_dict(D.state_dict())
    assert torch.equal(D(x), other(x))
    assert torch.equal(D.train()(x), other.train()(x))
    assert all(torch.equal(value, vectors(other)[name]) for name, value in vectors(D).items())


def test_D_as_a_function_of_its_weights() -> None:
    """Unrolling calls D with other weights, and with copies of the vectors, so that D's own stay."""
    D = build("mlp", (2,))[1]
    x = torch.randn(4, 2, generator=source())
    doubled = {name: 2 * parameter for name, parameter in D.named_parameters() if name.endswith("original")}
    before = vectors(D)
    copies = {name: buffer.clone() for name, buffer in D.named_buffers()}
    logits = functional_call(D, (doubled, copies), (x,))
    assert all(torch.equal(old, vectors(D)[name]) for name, old in before.items())
    assert any(not torch.equal(copies[name], old) for name, old in before.items())
    assert_close(logits, D(x))  # the scale of a weight means nothing


def test_autocast_leaves_the_vectors_in_float32() -> None:
    D = build("case-study")[1]
    with torch.autocast("cpu", torch.bfloat16):
        logits = D(torch.randn(2, *SHAPE, generator=source()))
    assert logits.isfinite().all()
    assert {vector.dtype for vector in vectors(D).values()} == {torch.float32}


def test_the_flag_asks_for_it() -> None:
    assert small_config("ring", stabilizer="spectral-norm", d={"norm": "none"}).network_spec((2,)).d.spectral
    assert not small_config("ring").network_spec((2,)).d.spectral
    G, D = build("mlp", (2,))
    assert not any(parametrize.is_parametrized(module) for module in G.modules())
    assert any(parametrize.is_parametrized(module) for module in D.modules())
