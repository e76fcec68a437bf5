"""Mode collapse on the ring, and what mends it (T6): one plain game, and the same game with one remedy at a time."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from sparring.experiments.arena import Points, centres, modes_found, play, share_on_modes
from sparring.experiments.finding import Curve, Finding, Panel
from sparring.settings import merge

#: G moves twelve times as far a turn as D: it runs to whatever D likes best, and D comes after it too late. The rates fall to 0
#: over the second half, so that the end of a run is not a chance moment of a chase.
_PLAIN: dict[str, Any] = {
    "loss": "non-saturating",
    "latent_dim": 2,
    "batch_size": 64,
    "decay_from": 0.5,
    "g": {"width": 64, "lr": 3e-3, "betas": (0.5, 0.99)},
    "d": {"width": 64, "lr": 2.5e-4, "betas": (0.5, 0.99)},
}
#: Name -> what is added to the plain game.
REMEDIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "minibatch discrimination": {"stabilizer": ("minibatch-discrimination:4:4",)},
    "unrolling": {"stabilizer": ("unrolled:3",)},
    "packing": {"stabilizer": ("packing:2",)},
    "R1 + R2": {"penalty": ("r1:1", "r2:1")},
}
STEPS = 1200
_SEEDS = 5
_ENOUGH = 0.8  # share of the seeds in which a remedy must find more modes


def remedies(
    seed: int = 0, seeds: int = _SEEDS, steps: int = STEPS, games: tuple[str, ...] = tuple(REMEDIES)
) -> Finding:
    """T6: play the same game plain and with each remedy; networks, optimizers and steps are the same for all.

    Args:
        seed: which draw of seeds; 0 takes 0 … 4, 1 takes 5 … 9.
        seeds: games of each kind.
        steps: of each game.
        games: which of the remedies, the plain game first.
    """
    numbers = range(seed * seeds, (seed + 1) * seeds)
    samples = {name: [play(game(name, steps), number).points for number in numbers] for name in games}
    found = {name: [modes_found(points) for points in every] for name, every in samples.items()}
    shares = {name: fmean(map(share_on_modes, every)) for name, every in samples.items()}
    rows = tuple((name, *found[name], fmean(found[name]), shares[name], _better(found, name)) for name in games)
    mends = {name: _better(found, name) or 0 for name in games[1:]}
    holds = min(mends.values()) >= _ENOUGH * seeds and ("R1 + R2" not in games or min(found["R1 + R2"]) == 8)
    return Finding(
        "T6",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: of the 8 modes the plain game finds {_listed(found['plain'])}; "
        + "; ".join(f"{name} finds {_listed(found[name])}, more in {mends[name]} of {seeds}" for name in games[1:])
        + ".",
        ("game", *(f"seed {number}" for number in numbers), "mean", "share on a mode", "more than plain"),
        rows,
        (_bars(found), *(_scatter(name, samples[name][0], numbers[0]) for name in games)),
    )


def game(name: str, steps: int) -> dict[str, Any]:
    """Return the settings of the plain game (``"plain"``) or of that with a remedy."""
    return merge(_PLAIN, REMEDIES[name]) | {"steps": steps}


def _better(found: dict[str, list[int]], name: str) -> int | None:
    """Return in how many seeds a remedy finds more modes than the plain game of the same seed."""
    if name == "plain":
        return None
    return sum(mine > plain for mine, plain in zip(found[name], found["plain"], strict=True))


def _listed(counts: list[int]) -> str:
    return ", ".join(map(str, counts))


def _bars(found: dict[str, list[int]]) -> Panel:
    short = {"minibatch discrimination": "minibatch"}
    places = tuple(float(place) for place in range(len(found)))
    seeds = len(next(iter(found.values())))
    curves = (
        Curve(f"seed {i}" if seeds > 1 else "", places, tuple(float(counts[i]) for counts in found.values()), "bars")
        for i in range(seeds)
    )
    return Panel(
        "Modes found, of 8", "", "modes", tuple(curves), x_names=tuple(short.get(name, name) for name in found)
    )


def _scatter(name: str, points: Points, seed: int) -> Panel:
    """Draw samples of G over the centres of the modes."""
    near = points[(abs(points) < 2).all(axis=1)][:600]
    modes = centres()
    dots = (Curve("samples", tuple(map(float, near[:, 0])), tuple(map(float, near[:, 1])), "dots"),)
    aims = (Curve("modes", tuple(map(float, modes[:, 0])), tuple(map(float, modes[:, 1])), "dots"),)
    return Panel(f"{name}, seed {seed}", "", "", (*dots, *aims), square=True)
