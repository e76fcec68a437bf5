"""What the losses of a run tell of its samples: nothing steady (T8), and at 0 that the game is lost (T12)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from sparring.experiments.arena import Played, play
from sparring.experiments.finding import Cell, Curve, Finding, Panel
from sparring.metrics.nonparametric import rank_correlation
from sparring.settings import merge
from sparring.theory import EQUILIBRIUM_VALUE

_SIZE: dict[str, Any] = {"latent_dim": 2, "batch_size": 64, "g": {"width": 32}, "d": {"width": 32}}
_GAMES: dict[str, dict[str, Any]] = {
    "classic": {"loss": "non-saturating", "g": {"lr": 1e-3}, "d": {"lr": 1e-3}},
    "classic, R1": {"loss": "non-saturating", "penalty": ("r1:0.1",), "g": {"lr": 1e-3}, "d": {"lr": 1e-3}},
    "Wasserstein": {
        "loss": "wasserstein",
        "penalty": ("wgan-gp:1",),
        "g": {"lr": 1e-3, "betas": (0.0, 0.9)},
        "d": {"lr": 1e-3, "betas": (0.0, 0.9), "steps": 5},
    },
}
_ESTIMATE = "critic's estimate"


def tracking(seed: int = 0, steps: int = 1000, every: int = 20, names: tuple[str, ...] = tuple(_GAMES)) -> Finding:
    """T8: rank correlation of the losses with the score of the samples, over a run and over its halves.

    A loss that tracks quality falls when the score falls, in every game and at any time: all of its correlations are near 1.

    Args:
        seed: of the games.
        steps: of each.
        every: steps between two looks.
        names: of the games.
    """
    games = {name: play(_sized(_GAMES[name], steps, every), seed) for name in names}
    rows = tuple(row for name, game in games.items() for row in _correlations(name, game))
    classic = [rho for row in rows if row[1] != _ESTIMATE for rho in _numbers(row[2:5])]
    critic = [rho for row in rows if row[1] == _ESTIMATE for rho in _numbers(row[2:5])]
    holds = misleads(classic)
    aside = (
        f" The Wasserstein critic's estimate has {critic[0]:.2f} over the run, {critic[1]:.2f} and {critic[2]:.2f} in its halves."
        if critic
        else ""
    )
    return Finding(
        "T8",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: the rank correlations of the classic losses with the mode gap lie anywhere "
        f"from {min(classic):.2f} to {max(classic):.2f}, by game and by half of the run, so neither the height of a loss nor its "
        f"fall tells of quality.{aside}",
        ("game", "what is logged", "ρ, whole run", "first half", "second half", "first value", "last", "first gap", "last gap"),
        rows,
        tuple(_beside_the_score(name, game) for name, game in games.items()),
    )  # fmt: skip


def misleads(correlations: Sequence[float]) -> bool:
    """Return whether the losses fall with the score at one time and rise against it at another, clearly both times."""
    return min(correlations) < -0.5 and max(correlations) > 0.5


def _sized(game: dict[str, Any], steps: int, every: int) -> dict[str, Any]:
    return merge(_SIZE, game) | {"steps": steps, "log_every": every, "eval_every": every}


def _numbers(cells: tuple[Cell, ...]) -> list[float]:
    return [float(cell) for cell in cells if isinstance(cell, float)]


def _looked_at(name: str, game: Played) -> dict[str, tuple[float, ...]]:
    """Return what a user would look at: both losses, or minus the critic's, which estimates the distance W₁."""
    if name == "Wasserstein":
        return {_ESTIMATE: tuple(-value for value in game.loss_of_D)}
    return {"D's loss": game.loss_of_D, "G's loss": game.column("log", "G/loss")}


def _correlations(name: str, game: Played) -> tuple[tuple[Cell, ...], ...]:
    """Return a row for every loss of a game."""
    gap = game.column("eval", "mode_gap")
    half = len(gap) // 2
    rows: list[tuple[Cell, ...]] = []
    for words, loss in _looked_at(name, game).items():
        pairs = ((loss, gap), (loss[:half], gap[:half]), (loss[half:], gap[half:]))
        rows.append(
            (name, words, *(float(rank_correlation(*pair)) for pair in pairs), loss[0], loss[-1], gap[0], gap[-1])
        )
    return tuple(rows)


def _beside_the_score(name: str, game: Played) -> Panel:
    steps = game.column("log", "step")
    losses = (Curve(words, steps, loss) for words, loss in _looked_at(name, game).items())
    score = Curve("mode gap (lower is better)", game.column("eval", "step"), game.column("eval", "mode_gap"), "dashes")
    return Panel(name, "step", "loss and score", (score, *losses))


#: D learns a thousand times as fast as G, and plays five turns to each of G's.
_LOST: dict[str, Any] = {
    "loss": "saturating",
    "g": {"lr": 2e-6, "betas": (0.0, 0.99)},
    "d": {"lr": 2e-3, "betas": (0.0, 0.99), "steps": 5},
}
_HEALTHY: dict[str, Any] = {
    "loss": "non-saturating",
    "penalty": ("r1:0.05", "r2:0.05"),
    "g": {"lr": 2e-3, "betas": (0.0, 0.99)},
    "d": {"lr": 2e-3, "betas": (0.0, 0.99)},
}


def won_by_D(seed: int = 0, steps: int = 600, every: int = 20) -> Finding:
    """T12: a game that D wins beside a healthy one, from the same first weights (arXiv:1701.04862, theorem 2.4).

    G's first samples are gathered where no real ones are, so that D can tell all of them apart.

    Args:
        seed: of the games.
        steps: of each.
        every: steps between two looks; a row of the table has the medians over a fifth of them.
    """
    lost, healthy = (play(_sized(game, steps, every), seed, apart=True) for game in (_LOST, _HEALTHY))
    fifth = max(1, steps // every // 5)
    parts = range(0, steps // every, fifth)
    ends = (every * min(part + fifth, steps // every) for part in parts)
    gauges = ((*_gauges(lost, part, fifth), *_gauges(healthy, part, fifth)) for part in parts)
    rows = tuple((end, *both) for end, both in zip(ends, gauges, strict=True))
    first, last = rows[0], rows[-1]
    is_lost = last[1] < 0.01 and last[2] < 0.25 * last[5] and last[3] > 0.9 * first[3]
    is_healthy = last[4] > 1 and last[6] < 0.7 * first[6]
    holds = is_lost and is_healthy
    return Finding(
        "T12",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: where D learns a thousand times as fast as G, its loss falls to {last[1]:.0e} "
        f"and G's gradient to {last[2]:.0e}, while the mode gap stays at {last[3]:.2f}; in the healthy game D's loss stays "
        f"near log 4 = {-EQUILIBRIUM_VALUE:.2f} ({last[4]:.2f} at the end), G's gradient at {last[5]:.2f}, and the mode gap "
        f"falls to {last[6]:.2f}.",
        ("step", *(f"{game}: {what}" for game in ("D wins", "healthy") for what in ("D's loss", "‖∇G‖", "mode gap"))),
        rows,
        (
            _two_games("Loss of D", [game.loss_of_D for game in (lost, healthy)], every, level=True),
            _two_games(
                "Gradient norm of G", [game.column("log", "G/grad_norm") for game in (lost, healthy)], every, log=True
            ),
            _two_games(
                "Mode gap, lower is better", [game.column("eval", "mode_gap") for game in (lost, healthy)], every
            ),
        ),
    )


def _gauges(game: Played, first: int, count: int) -> tuple[float, float, float]:
    """Return the medians of D's loss, G's gradient and the score over a part of the rows: single batches differ much."""
    norms, gaps = game.column("log", "G/grad_norm"), game.column("eval", "mode_gap")
    loss, norm, gap = (median(series[first : first + count]) for series in (game.loss_of_D, norms, gaps))
    return loss, norm, gap


def _two_games(
    title: str, series: list[tuple[float, ...]], every: int, *, log: bool = False, level: bool = False
) -> Panel:
    steps = tuple(float(every * (i + 1)) for i in range(len(series[0])))
    curves = [Curve(name, steps, y) for name, y in zip(("D wins", "healthy"), series, strict=True)]
    if level:
        curves.append(Curve("log 4", (steps[0], steps[-1]), (-EQUILIBRIUM_VALUE,) * 2, "dashes"))
    return Panel(title, "step", "", tuple(curves), log_y=log)
