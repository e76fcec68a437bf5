"""Two supports that never meet: what the Jensen-Shannon divergence and the Wasserstein distance say of their shift (T2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sparring.experiments.finding import Curve, Finding, Panel
from sparring.experiments.toys import players, taught
from sparring.losses import LOSSES
from sparring.randomness import randomness
from sparring.theory import EQUILIBRIUM_VALUE, value_function

_SHIFTS = (0.25, 0.5, 1.0, 2.0, 3.0)
_BATCH = 64
_PENALTY = 10.0


def shifted(seed: int = 0, steps: int = 250, shifts: tuple[float, ...] = _SHIFTS) -> Finding:
    """T2: two parallel lines, {0} × [0, 1] and {θ} × [0, 1], and trained critics of both kinds (arXiv:1701.07875, example 1).

    Args:
        seed: of the critics' first weights and of the samples.
        steps: of each critic at each shift.
        shifts: θ, all positive.
    """
    rows = tuple(
        (shift, math.log(2), shift, *_classic(seed, steps, shift), *_lipschitz(seed, steps, shift)) for shift in shifts
    )
    js, js_slope, w, w_slope = (tuple(row[i] for row in rows) for i in (3, 4, 5, 6))
    flat = min(js) > 0.95 * math.log(2) and max(map(abs, js_slope)) < 0.05
    linear = all(abs(found - soft_slope(shift)) < 0.05 for found, shift in zip(w_slope, shifts, strict=True))
    holds = flat and linear
    return Finding(
        "T2",
        holds,
        f"{'Holds' if holds else 'Does not hold'}: at every shift θ the divergence is log 2 = 0.693 (trained D: {min(js):.3f} to "
        f"{max(js):.3f}) and its slope by θ is at most {max(map(abs, js_slope)):.3f}; the Wasserstein distance is θ itself, and "
        f"the critic's slope of {min(w_slope):.2f} to {max(w_slope):.2f} (1 + θ/20, because the penalty is soft) leads G home.",
        ("shift θ", "JS", "W₁", "JS by D", "slope by D", "W₁ by critic", "slope by critic"),
        rows,
        (_distances(shifts, js, w), _slopes(shifts, js_slope, w_slope)),
    )  # fmt: skip


def soft_slope(shift: float) -> float:
    """Return the critic's slope at its optimum, 1 + θ / 2λ: the penalty λ (s - 1)² is soft, so a slope s ≠ 1 pays off.

    The critic maximizes s θ − λ (s − 1)² (arXiv:1704.00028, eq. 3, between two lines that lie θ apart).
    """
    return 1 + shift / (2 * _PENALTY)


def _line(at: float, source: torch.Generator, count: int = _BATCH) -> Tensor:
    """Draw points of {at} × [0, 1], ``[count, 2]``."""
    return torch.stack((torch.full((count,), at), torch.rand(count, generator=source)), dim=1)


def _classic(seed: int, steps: int, shift: float) -> tuple[float, float]:
    """Return the divergence that a trained D sees, (V + log 4) / 2, and its slope by the shift."""
    D, source = players(seed, 2)[1], randomness(seed, "T2")
    taught(D, LOSSES["saturating"], lambda s: (_line(0.0, s), _line(shift, s)), steps, source=source, lr=1e-2)
    x_real, x_fake = _line(0.0, source, 1024), _line(shift, source, 1024).requires_grad_()
    divergence = (value_function(D(x_real), D(x_fake)).mean() - EQUILIBRIUM_VALUE) / 2
    (slope,) = torch.autograd.grad(divergence, x_fake)
    return float(divergence.detach()), float(slope[:, 0].sum())


def _lipschitz(seed: int, steps: int, shift: float) -> tuple[float, float]:
    """Return the distance that a critic of slope 1 sees, E[f(x)] − E[f(G(z))], and its slope by the shift."""
    D, source = players(seed, 2)[1], randomness(seed, "T2")
    loss, penalty = LOSSES["wasserstein"], {"wgan-gp": _PENALTY}
    taught(D, loss, lambda s: (_line(0.0, s), _line(shift, s)), steps, source=source, lr=1e-2, penalties=penalty)
    x_real, x_fake = _line(0.0, source, 1024), _line(shift, source, 1024).requires_grad_()
    distance = (D(x_real) - D(x_fake)).mean()
    (slope,) = torch.autograd.grad(distance, x_fake)
    return float(distance.detach()), float(slope[:, 0].sum())


def _distances(shifts: tuple[float, ...], js: tuple[float, ...], w: tuple[float, ...]) -> Panel:
    ends = (0.0, shifts[-1])
    return Panel(
        "How far apart are two lines?",
        "shift",
        "divergence in nats, distance in units of the shift",
        (
            Curve("JS = log 2", ends, (math.log(2),) * 2),
            Curve("Wasserstein = the shift", ends, ends),
            Curve("JS by a trained D", shifts, js, "dots"),
            Curve("Wasserstein by a trained critic", shifts, w, "dots"),
        ),
    )


def _slopes(shifts: tuple[float, ...], js: tuple[float, ...], w: tuple[float, ...]) -> Panel:
    curves = (Curve("through the trained D", shifts, js), Curve("through the trained critic", shifts, w))
    return Panel("What G is told to change", "shift", "slope of the estimate by the shift", curves)
