"""What G is taught by: the slope of its loss where D rejects it (T1), and while D is trained to its optimum (T5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sparring.experiments.finding import Curve, Finding, Panel
from sparring.experiments.toys import gather, gradient_norm, lessons, players, ring_points
from sparring.losses import LOSSES
from sparring.randomness import randomness

_CLASSIC = ("saturating", "non-saturating")
_LEVELS = (4.0, 2.0, 0.0, -2.0, -4.0, -8.0, -12.0, -16.0)


def slope(loss: str, logit: float) -> float:
    """Return the size of the derivative of G's loss by one logit, as autograd takes it."""
    f = torch.tensor([logit], dtype=torch.float64, requires_grad=True)
    (derivative,) = torch.autograd.grad(LOSSES[loss].generator(f, f.detach()).sum(), f)
    return abs(float(derivative))


def saturation(seed: int = 0) -> Finding:
    """T1: shift D's output until it rejects every fake, and take the gradient of G (arXiv:1406.2661, §3)."""
    G, D = players(seed, 2)
    z = torch.randn(512, 2, generator=randomness(seed, "z"))
    rows: list[tuple[float, ...]] = []
    for level in _LEVELS:
        logits = D(G(z))
        logits = logits - logits.mean().detach() + level
        norms = (gradient_norm(LOSSES[loss].generator(logits, logits.detach()), G) for loss in _CLASSIC)
        rows.append((level, 1 / (1 + math.exp(-level)), *(slope(loss, level) for loss in _CLASSIC), *norms))
    even, rejected = rows[_LEVELS.index(0.0)], rows[-1]
    fall, rise = rejected[4] / even[4], rejected[5] / even[5]
    holds = fall < 1e-3 and rise > 1
    return Finding(
        "T1",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: where D gives the fakes {rejected[1]:.0e}, the saturating loss leaves G "
        f"{fall:.0e} of the gradient that it had at D(G(z)) = ½, because its slope is D(G(z)) itself; the non-saturating "
        f"loss, whose slope is 1 − D(G(z)), leaves {rise:.1f} times as much.",
        ("logit", "D(G(z))", "slope saturating", "slope non-saturating", "‖∇G‖ saturating", "‖∇G‖ non-saturating"),
        tuple(rows),
        (_slopes(), _norms(rows)),
    )


def _slopes() -> Panel:
    logits = tuple(level / 4 for level in range(-32, 17))
    probability = tuple(1 / (1 + math.exp(-f)) for f in logits)
    return Panel(
        "Slope of G's loss by the logit f of G(z)",
        "f, D's logit of G(z)",
        "size of the slope",
        (
            Curve("sigmoid(f)", logits, probability),
            Curve("1 − sigmoid(f)", logits, tuple(1 - p for p in probability)),
            *(
                Curve(f"{loss}, autograd", logits[::4], tuple(slope(loss, f) for f in logits[::4]), "dots")
                for loss in _CLASSIC
            ),
        ),
    )


def _norms(rows: list[tuple[float, ...]]) -> Panel:
    logits = tuple(row[0] for row in rows)
    curves = (Curve(loss, logits, tuple(row[4 + i] for row in rows)) for i, loss in enumerate(_CLASSIC))
    return Panel(
        "Gradient of G, through D", "mean logit of G(z)", "norm over all weights of G", tuple(curves), log_y=True
    )


_MARKS = (0, 1, 3, 10, 30, 100, 300, 600)
_BATCHES = 16
_GAMES: dict[str, tuple[str, dict[str, float]]] = {
    "saturating": ("saturating", {}),
    "non-saturating": ("non-saturating", {}),
    "Wasserstein": ("wasserstein", {"wgan-gp": 10.0}),
}

Measured = dict[str, list[tuple[float, float]]]
"""A game -> at every mark, the norm of G's mean gradient and how far that of one batch lies from it."""


def stalling(seed: int = 0, marks: tuple[int, ...] = _MARKS) -> Finding:
    """T5: train D alone against a fixed G and watch the gradient that G would get (arXiv:1701.04862, fig. 2 and 3).

    Args:
        seed: of everything.
        marks: after how many steps of D to look.
    """
    found = {game: _watched(loss, penalties, seed, marks) for game, (loss, penalties) in _GAMES.items()}
    left = {game: norms[-1][0] / norms[0][0] for game, norms in found.items()}
    unsteady = found["non-saturating"][-1][1] / found["non-saturating"][0][1]
    holds = left["saturating"] < 0.05 and left["Wasserstein"] > 0.1
    sentence = (
        f"{'Holds' if holds else 'Does not hold'}: after {marks[-1]} steps of D alone the saturating loss has "
        f"{left['saturating']:.1%} of its first gradient left and the Wasserstein critic {left['Wasserstein']:.0%}. The "
        f"non-saturating gradient does not vanish, but it is {left['non-saturating']:.1f} times as long as at first and "
        f"differs {unsteady:.0f} times as much from batch to batch, so it is no cure."
    )
    columns = (
        *("steps of D", *(f"‖∇G‖ {game}" for game in _GAMES)),
        *("deviation non-saturating", "deviation Wasserstein"),
    )
    rows = tuple(
        (
            mark,
            *(found[game][i][0] for game in _GAMES),
            *(found[game][i][1] for game in ("non-saturating", "Wasserstein")),
        )
        for i, mark in enumerate(marks)
    )
    return Finding("T5", holds, sentence, columns, rows, (_by_steps(found, marks, 0), _by_steps(found, marks, 1)))


def _by_steps(found: Measured, marks: tuple[int, ...], which: int) -> Panel:
    title = ("Gradient of G while D is trained alone", "How far one batch's gradient lies from the mean")[which]
    x = tuple(float(max(mark, 0.5)) for mark in marks)  # 0 has no place on a logarithmic axis
    curves = tuple(Curve(game, x, tuple(norms[which] for norms in found[game])) for game in found)
    return Panel(title, "steps of D (the first point is the untrained D)", "norm", curves, log_x=True, log_y=True)


def _watched(loss: str, penalties: dict[str, float], seed: int, marks: tuple[int, ...]) -> list[tuple[float, float]]:
    """Return the norm and the deviation of G's gradient at every mark of D's training."""
    G, D = players(seed, 2, width=64)
    gather(G, 2, seed)

    def draw(source: torch.Generator) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return ring_points(128, source), G(torch.randn(128, 2, generator=source))

    steps = lessons(D, LOSSES[loss], draw, marks[-1], source=randomness(seed, "T5"), lr=2e-3, penalties=penalties)
    return [_gradient_of_G(G, D, loss, seed) for step in steps if step in marks]


def _gradient_of_G(G: nn.Module, D: nn.Module, loss: str, seed: int) -> tuple[float, float]:
    """Return the norm of G's gradient, averaged over batches, and the mean distance of a batch's from the average."""
    source = randomness(seed, "gradient of G")
    gradients = []
    for _ in range(_BATCHES):
        logits = D(G(torch.randn(128, 2, generator=source)))
        value = LOSSES[loss].generator(logits, logits.detach()).mean()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, list(G.parameters()))]))
    each = torch.stack(gradients)
    return float(each.mean(0).norm()), float((each - each.mean(0)).norm(dim=1).mean())
