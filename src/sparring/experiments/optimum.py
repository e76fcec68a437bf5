"""The best D against a G that stands still, on densities that are known: T3, T4 and T7."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sparring.experiments.finding import Curve, Finding, Panel
from sparring.experiments.toys import lessons, players, taught
from sparring.losses import LOSSES, Labels
from sparring.randomness import randomness
from sparring.theory import (
    EQUILIBRIUM_VALUE,
    Gaussian,
    expected_value,
    grid,
    jensen_shannon,
    optimal_discriminator,
    optimal_value,
)

if TYPE_CHECKING:
    from sparring.theory import Array

_LOSS = LOSSES["non-saturating"]
_X, _WEIGHTS = grid(-9.0, 9.0, 1800)
_BATCH = 256
_SHOWN = 4.0  # charts show |x| up to this


class _Pair:
    """The data's density and that of a G which stands still."""

    def __init__(self, real: Gaussian, fake: Gaussian) -> None:
        self.real, self.fake = real, fake
        self.p, self.q = real.density(_X), fake.density(_X)

    def draw(self, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a real and a fake batch, ``[B, 1]`` each."""
        return tuple(g.mean + g.std * torch.randn(_BATCH, 1, generator=source) for g in (self.real, self.fake))  # type: ignore[return-value]


def _logits(D: nn.Module) -> Array:
    """Return D's logits on the grid, ``[N]``."""
    with torch.no_grad():
        logits: Array = D(torch.tensor(_X, dtype=torch.float32)[:, None]).double().numpy()
    return logits


def _probability(D: nn.Module) -> Array:
    return 1 / (1 + np.exp(-_logits(D)))


_MARKS = (0, 10, 30, 100, 300, 1000)


def approach(seed: int = 0, marks: tuple[int, ...] = _MARKS) -> Finding:
    """T3: a D in training against a G that stands still, beside D* = p / (p + q) (arXiv:1406.2661, proposition 1).

    Args:
        seed: of D's first weights and of the samples.
        marks: after how many steps of D to look.
    """
    pair = _Pair(Gaussian(-1.0, 1.0), Gaussian(1.0, 0.6))
    best, mixture = optimal_discriminator(pair.p, pair.q), (pair.p + pair.q) / 2 * _WEIGHTS
    D = players(seed, 1)[1]
    rows, curves = [], []
    for step in lessons(D, _LOSS, pair.draw, marks[-1], source=randomness(seed, "T3")):
        if step in marks:
            error = np.abs(_probability(D) - best)
            seen = mixture / _WEIGHTS > 0.01  # further out there are no samples to learn from
            rows.append((step, float((error * mixture).sum()), float(error[seen].max()), _value(D, pair)))
            curves.append(_curve(f"D after {step}", _probability(D)))
    known = optimal_value(pair.p, pair.q, _WEIGHTS)
    holds = rows[-1][1] < min(0.02, rows[0][1] / 10) and abs(rows[-1][3] - known) < 0.01
    return Finding(
        "T3",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: after {marks[-1]} steps D is off D* = p / (p + q) by {rows[-1][1]:.3f} on "
        f"average, after none by {rows[0][1]:.3f}, and V = {rows[-1][3]:.4f}, where no D can exceed {known:.4f}.",
        ("steps of D", "mean |D − D*|", "largest |D − D*|", "V(D)"),
        tuple(rows),
        (
            Panel("D(x)", "x", "probability of real", (_curve("D*", best, "dashes"), *curves[2::2])),
            Panel(
                "Distance from D*",
                "steps of D (the first point is the untrained D)",
                "mean and largest |D − D*|",
                tuple(
                    Curve(name, tuple(max(1.0, row[0]) for row in rows), tuple(row[i] for row in rows))
                    for i, name in ((1, "mean"), (2, "largest where there are samples"))
                ),
                log_x=True,
                log_y=True,
            ),
        ),
    )


def _value(D: nn.Module, pair: _Pair) -> float:
    return expected_value(_logits(D), pair.p, pair.q, _WEIGHTS)


def _curve(name: str, y: Array, mark: str = "line") -> Curve:
    shown = np.abs(_X) < _SHOWN
    return Curve(name, tuple(map(float, _X[shown][::5])), tuple(map(float, y[shown][::5])), mark)  # type: ignore[arg-type]


_SHIFTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)


def equilibrium(seed: int = 0, steps: int = 300, shifts: tuple[float, ...] = _SHIFTS) -> Finding:
    """T4: V of the best D for Gaussians that move together, down to p_g = p_data (arXiv:1406.2661, theorem 1).

    Args:
        seed: of D's first weights and of the samples.
        steps: of D against each G.
        shifts: how far N(shift, 1) lies from N(0, 1); the first must be 0.
    """
    pairs = [_Pair(Gaussian(0.0, 1.0), Gaussian(shift, 1.0)) for shift in shifts]
    Ds = [taught(players(seed, 1)[1], _LOSS, pair.draw, steps, source=randomness(seed, "T4")) for pair in pairs]
    rows = tuple(_level(pair, D) for pair, D in zip(pairs, Ds, strict=True))
    at_rest = float(np.abs(_probability(Ds[0]) - 0.5)[pairs[0].p > 0.02].max())
    holds = (
        all(abs(best - bound) < 1e-6 and trained < best + 1e-9 for _, _, best, bound, trained, _ in rows)
        and abs(rows[0][4] - EQUILIBRIUM_VALUE) < 0.01
        and at_rest < 0.1
    )
    return Finding(
        "T4",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: where both are N(0, 1) the trained D stays within {at_rest:.2f} of ½ and "
        f"V = {rows[0][4]:.4f}, against −log 4 = {EQUILIBRIUM_VALUE:.4f}; elsewhere the best V is −log 4 + 2 JS, and training "
        "comes close to it from below.",
        ("shift", "JS", "V(D*)", "−log 4 + 2 JS", "V(D) trained", "mean D(G(z))"),
        rows,
        (
            Panel(
                "Value of the game",
                "shift between the data and the samples",
                "V",
                (_exact_values(shifts[-1]), Curve("V of the trained D", shifts, tuple(row[4] for row in rows), "dots"),
                 Curve("−log 4", (0.0, shifts[-1]), (EQUILIBRIUM_VALUE,) * 2, "dashes")),
            ),
            Panel(
                "D(x) at p_g = p_data",
                "x",
                "probability of real",
                (_curve("trained D", _probability(Ds[0])), Curve("½", (-_SHOWN, _SHOWN), (0.5, 0.5), "dashes"),
                 _curve("density of the data", pairs[0].p)),
            ),
        ),
    )  # fmt: skip


def _level(pair: _Pair, D: nn.Module) -> tuple[float, ...]:
    js = jensen_shannon(pair.p, pair.q, _WEIGHTS)
    best = optimal_value(pair.p, pair.q, _WEIGHTS)
    fooled = float((_probability(D) * pair.q * _WEIGHTS).sum())
    return pair.fake.mean, js, best, EQUILIBRIUM_VALUE + 2 * js, _value(D, pair), fooled


def _exact_values(furthest: float) -> Curve:
    shifts = [furthest * i / 40 for i in range(41)]
    pairs = [_Pair(Gaussian(0.0, 1.0), Gaussian(shift, 1.0)) for shift in shifts]
    return Curve("V of the best D", tuple(shifts), tuple(optimal_value(pair.p, pair.q, _WEIGHTS) for pair in pairs))


_LABELS = ((1.0, 0.0), (0.9, 0.0), (0.9, 0.1), (0.7, 0.3))


def smoothing(seed: int = 0, steps: int = 400) -> Finding:
    """T7: teach D with smoothed labels where real and fake never overlap (arXiv:1606.03498, §3.4).

    Args:
        seed: of D's first weights and of the samples.
        steps: of D with each pair of labels.
    """
    pair = _Pair(Gaussian(-2.0, 0.3), Gaussian(2.0, 0.3))
    rows: list[tuple[float, ...]] = []
    curves = []
    for real, fake in _LABELS:
        D = players(seed, 1)[1]
        source = randomness(seed, "T7")
        taught(D, _LOSS, pair.draw, steps, source=source, labels=Labels(real, fake))
        rows.append((real, fake, *_confidence(D, pair, source), _largest_logit(real, fake)))
        curves.append(_curve(f"{real:g} / {fake:g}", _probability(D)))
    bounded = all(abs(row[2] - row[0]) < 0.02 and abs(row[3] - row[1]) < 0.02 for row in rows)
    hard, one_sided, two_sided, strong = rows
    holds = bounded and hard[4] > 1.5 * one_sided[4] and two_sided[3] > 10 * one_sided[3]
    return Finding(
        "T7",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: on data that never overlap D(x) goes to {hard[2]:.4f} with hard labels, but "
        f"to {one_sided[2]:.3f} with 0.9 and {strong[2]:.3f} with 0.7, as D* = (a p + b q) / (p + q) says. Only a label of the "
        f"fakes above 0 keeps the saturating slope of G alive: {two_sided[5]:.2f} with 0.1, {one_sided[5]:.4f} with 0.",
        ("real label", "fake label", "D(x)", "D(G(z))", "logit of x", "slope saturating", "slope non-saturating", "best logit"),
        tuple(rows),
        (Panel("D(x) by its labels, real / fake", "x (real at -2, fake at 2)", "probability of real", tuple(curves)),),
    )  # fmt: skip


def _confidence(D: nn.Module, pair: _Pair, source: torch.Generator) -> tuple[float, ...]:
    """Return D(x), D(G(z)), the logit of x, and G's mean slope by the logit, saturating and not."""
    with torch.no_grad():
        real_logits, fake_logits = (D(x) for x in pair.draw(source))
    fooled = float(fake_logits.sigmoid().mean())
    return float(real_logits.sigmoid().mean()), fooled, float(real_logits.mean()), fooled, 1 - fooled


def _largest_logit(real: float, fake: float) -> float:
    """Return the logit of a real sample at the optimum; without smoothing it grows for ever."""
    return math.inf if real == 1 else math.log(real / (1 - real))
