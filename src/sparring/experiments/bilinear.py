"""The smallest game, ``min_x max_y x y``: its equilibrium is (0, 0), and whether it is reached depends on who moves how (T11).

It is the Dirac-GAN of arXiv:1801.04406, §2, near its equilibrium: x is the place of the fakes, y the slope of D. Every rule of
play below is a matrix, so its factor a step is known: the largest size of an eigenvalue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparring.experiments.finding import Curve, Finding, Panel

Array = npt.NDArray[np.float64]

_START = (1.0, 0.0)
_PENALTY = 0.5  # γ of the penalty on y, which is what R1 is to the slope of D


@dataclass(frozen=True)
class Rule:
    """A way to play.

    Attributes:
        name: of it.
        matrix: ``[2, 2]``: (x, y) before a step -> after it.
        averaged: whether what counts is the mean of all places so far.
    """

    name: str
    matrix: Array
    averaged: bool = False

    @property
    def factor(self) -> float:
        """By how much a step multiplies the distance in the long run: the spectral radius."""
        return float(np.abs(np.linalg.eigvals(self.matrix)).max())


def rules(lr: float) -> tuple[Rule, ...]:
    """Return the ways to play with this learning rate η."""
    still = np.eye(2)
    field = np.array([[0.0, -1.0], [1.0, 0.0]])  # x goes down its gradient y, y up its gradient x
    simultaneous = still + lr * field
    x_moves, y_moves = np.array([[1.0, -lr], [0.0, 1.0]]), np.array([[1.0, 0.0], [lr, 1.0]])
    damped = still + lr * (field - np.diag([0.0, _PENALTY]))
    return (
        Rule("simultaneous", simultaneous),
        Rule("alternating", y_moves @ x_moves),
        Rule("alternating, averaged", y_moves @ x_moves, averaged=True),
        Rule("simultaneous, penalty on y", damped),
        Rule("extragradient", still + lr * field @ simultaneous),
    )


def simultaneous_factor(lr: float) -> float:
    """Return ``√(1 + η²)``: simultaneous steps always move away."""
    return math.sqrt(1 + lr**2)


def extragradient_factor(lr: float) -> float:
    """Return ``√(1 - η² + η⁴)``, below 1 for 0 < η < 1 (Korpelevich 1976; for GANs arXiv:1802.10551, §3.2)."""
    return math.sqrt(1 - lr**2 + lr**4)


def invariant(place: Array, lr: float) -> Array:
    """Return ``x² + y² − η x y``, which alternating steps never change: they walk an ellipse for ever.

    Args:
        place: ``[..., 2]``.
        lr: η.
    """
    x, y = place[..., 0], place[..., 1]
    return np.asarray(x * x + y * y - lr * x * y)


def play(rule: Rule, steps: int) -> Array:
    """Return the places from the start on, ``[steps + 1, 2]``."""
    places = [np.array(_START)]
    for _ in range(steps):
        places.append(rule.matrix @ places[-1])
    path = np.stack(places)
    return np.cumsum(path, 0) / np.arange(1, steps + 2)[:, None] if rule.averaged else path


def cycling(seed: int = 0, steps: int = 500, lr: float = 0.1) -> Finding:
    """T11: play the bilinear game in five ways (arXiv:1801.04406, §2; arXiv:1802.10551, §3).

    Args:
        seed: not used: nothing is random.
        steps: how many.
        lr: η.
    """
    ways = rules(lr)
    paths = {rule.name: play(rule, steps) for rule in ways}
    distances = {name: np.linalg.norm(path, axis=1) for name, path in paths.items()}
    drift = float(np.ptp(invariant(paths["alternating"], lr)))
    rows = tuple(
        (rule.name, _factor(rule), _measured(rule, distances[rule.name]), *_ends(distances[rule.name])) for rule in ways
    )
    last = {name: float(distance[-1]) for name, distance in distances.items()}
    holds = (
        last["simultaneous"] > 2
        and drift < 1e-9
        and max(last[name] for name in ("simultaneous, penalty on y", "extragradient")) < 0.1
        and last["alternating, averaged"] < 0.1
    )
    return Finding(
        "T11",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: in {steps} steps of {lr:g} simultaneous play spirals outwards by √(1 + η²) a "
        f"step, to a distance of {last['simultaneous']:.1f}; alternating play walks an ellipse on which x² + y² − η x y changes "
        f"by {drift:.0e}; the mean of its places ({last['alternating, averaged']:.3f}), a penalty "
        f"({last['simultaneous, penalty on y']:.0e}) and extragradient ({last['extragradient']:.3f}) come to rest at 0.",
        ("play", "factor a step", "measured", "distance at first", "half-way", "at the end"),
        rows,
        (
            Panel(
                "Where the two players go",
                "x, the player who minimizes x y",
                "y, the player who maximizes it",
                tuple(_walk(name, path[: min(steps, 150) + 1]) for name, path in paths.items()),
                square=True,
            ),
            Panel(
                "Distance from the equilibrium",
                "step",
                "distance",
                tuple(_against_steps(name, distance) for name, distance in distances.items()),
                log_y=True,
            ),
        ),
    )


def _factor(rule: Rule) -> float | None:
    """Return the factor of a rule; a mean shrinks as 1 / steps and has none."""
    return None if rule.averaged else rule.factor


def _measured(rule: Rule, distance: Array) -> float | None:
    """Return the factor a step over the second half, by the best line through the logarithm of the distance."""
    half = distance[len(distance) // 2 :]
    return None if rule.averaged else float(np.exp(np.polyfit(np.arange(len(half)), np.log(half), 1)[0]))


def _ends(distance: Array) -> tuple[float, float, float]:
    return float(distance[0]), float(distance[len(distance) // 2]), float(distance[-1])


def _walk(name: str, path: Array) -> Curve:
    return Curve(name, tuple(map(float, path[:, 0])), tuple(map(float, path[:, 1])))


def _against_steps(name: str, distance: Array) -> Curve:
    return Curve(name, tuple(map(float, range(len(distance)))), tuple(map(float, distance)))
