"""Each player is pulled to the arithmetic mean of its own past, which turns circles into a way inwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sparring.checkpoint import load_checkpoint
from sparring.stabilizers.historical_averaging import HistoricalAveraging
from tests.stabilizers.toys import Shift, Slope, view, weights_after
from tests.tools import trainer_for


class Pair(nn.Module):
    """Two parameters of different shapes, one of them under a name with a dot."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.inner = nn.ParameterDict({"a": torch.randn(2, 3, generator=source)})
        self.b = nn.Parameter(torch.randn(4, generator=source))

    def move(self, seed: int) -> None:
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=source))


def term_of(hook: HistoricalAveraging, player: str, count: int = 4) -> Tensor:
    (name,) = found = hook.terms(view(player, torch.zeros(count), torch.zeros(count)))
    assert name == "historical_averaging"
    return found[name]


def remember(hook: HistoricalAveraging, player: str) -> None:
    hook.remember(view(player, torch.zeros(4), torch.zeros(4)))


@pytest.mark.parametrize("count", [1, 64])
@pytest.mark.parametrize("player", ["G", "D"])
def test_the_mean_is_the_arithmetic_one_and_the_gradient_points_away_from_it(player: str, count: int) -> None:
    players = {"G": Pair(0), "D": Pair(1)}
    hook, past = HistoricalAveraging(0.3, players), []
    mine = players[player]
    for turn in range(5):
        mine.move(10 + turn)
        remember(hook, player)
        past.append([value.detach().clone() for value in mine.parameters()])
    mine.move(20)
    means = [torch.stack(values).mean(0) for values in zip(*past, strict=True)]
    away = [now.detach() - mean for now, mean in zip(mine.parameters(), means, strict=True)]
    term = term_of(hook, player, count)
    assert_close(term, torch.full((count,), 0.3 * float(sum(part.square().sum() for part in away))))
    assert_close(torch.autograd.grad(term.mean(), list(mine.parameters())), tuple(2 * 0.3 * part for part in away))


def test_without_a_past_there_is_no_pull() -> None:
    hook = HistoricalAveraging(0.3, players := {"G": Pair(0), "D": Pair(1)})
    term = term_of(hook, "D")
    assert torch.equal(term, torch.zeros(4))
    slopes = torch.autograd.grad(term.mean(), list(players["D"].parameters()))
    assert all(torch.equal(slope, torch.zeros_like(slope)) for slope in slopes)


def test_the_first_turn_s_parameters_are_the_whole_past_of_the_second() -> None:
    hook = HistoricalAveraging(1.0, players := {"G": Pair(0), "D": Pair(1)})
    players["D"].move(5)
    remember(hook, "D")
    assert torch.equal(term_of(hook, "D"), torch.zeros(4)), "where the network began is no part of the mean"


def test_each_player_has_a_past_of_its_own() -> None:
    hook = HistoricalAveraging(1.0, players := {"G": Pair(0), "D": Pair(1)})
    before = {name: value.clone() for name, value in hook.state_dict().items()}
    players["D"].move(5)
    remember(hook, "D")
    changed = {name for name, value in hook.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"D_turns", "D_mean_0", "D_mean_1"}


def test_terms_change_nothing_that_is_remembered() -> None:
    hook = HistoricalAveraging(1.0, players := {"G": Pair(0), "D": Pair(1)})
    before = {name: value.clone() for name, value in hook.state_dict().items()}
    players["G"].move(5)
    assert term_of(hook, "G").mean() > 0
    assert_close(hook.state_dict(), before, rtol=0, atol=0)
    assert not any(value.requires_grad for value in hook.state_dict().values())


def distance_from_the_equilibrium(weight: float, turns: int = 200) -> float:
    """Play V = x y, x down and y up by turns of rate 0.1, from (1, 1); its equilibrium is (0, 0)."""
    players = {name: nn.Linear(1, 1, bias=False) for name in ("G", "D")}
    x, y = (players[name].weight for name in ("G", "D"))
    with torch.no_grad():
        x.fill_(1.0)
        y.fill_(1.0)
    hook = HistoricalAveraging(weight, players)
    for _ in range(turns):
        for player, mine, other, sign in (("G", x, y, 1.0), ("D", y, x, -1.0)):
            loss = sign * (mine * other.detach()).sum()
            loss = loss + (term_of(hook, player).mean() if weight else 0.0)
            (slope,) = torch.autograd.grad(loss, mine)
            with torch.no_grad():
                mine.sub_(0.1 * slope)
            remember(hook, player)
    return float(torch.hypot(x.detach(), y.detach()))


def test_two_players_that_circle_without_it_settle_with_it() -> None:
    assert distance_from_the_equilibrium(0.0) > 1.0
    assert distance_from_the_equilibrium(0.1) < 0.05


def test_no_weight_is_the_plain_game_to_the_bit(tmp_path: Path) -> None:
    plain = weights_after(tmp_path / "plain")
    none = weights_after(tmp_path / "none", stabilizer=("historical-averaging:0",))
    some = weights_after(tmp_path / "some", stabilizer=("historical-averaging:1",))
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    assert any(not torch.equal(plain[name], some[name]) for name in plain)
    assert HistoricalAveraging(0.0, {"G": Shift(), "D": Slope()}).state_dict() == {}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_a_run_remembers_is_the_mean_over_its_turns(accumulate: int, tmp_path: Path) -> None:
    """However many pieces a batch is played in, the mean is over the parameters after the turns; checkpoints hold it."""
    trainer = trainer_for(
        tmp_path, "ring", stabilizer=("historical-averaging:0.1",), accumulate=accumulate, d={"steps": 2}
    )
    past: dict[str, list[Tensor]] = {"G": [], "D": []}
    after = dict(trainer.game.after_turn)

    def note(player: str) -> None:
        first = next(trainer.players[player].network.parameters())
        trainer.game.after_turn[player] = lambda network: past[player].append(first.detach().clone())

    note("G")
    note("D")
    assert not after
    for _ in range(3):
        trainer.play_step()
    memory = trainer.game.memory.state_dict()
    for player, turns in (("G", 3), ("D", 6)):
        assert len(past[player]) == turns
        assert_close(memory[f"historical-averaging.{player}_mean_0"], torch.stack(past[player]).mean(0))
    trainer._save()
    (saved,) = trainer.run.checkpoints()
    stored = load_checkpoint(saved).parts["memory"]
    assert all(torch.equal(stored[name], value) for name, value in memory.items())
