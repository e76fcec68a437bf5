"""How each stabilizer is tried out: numbers that show it at work within a few steps, and what it needs beside it."""

from __future__ import annotations

from typing import Any

from sparring.stabilizers import STABILIZERS

#: Numbers other than the defaults.
_SPECS = {
    "replay": "replay:6",
    "unrolled": "unrolled:2",
    "top-k": "top-k:0.5:0.9",
    "balance-loss": "balance-loss:1",
    "balance-accuracy": "balance-accuracy:0.7:0.7",
    "minibatch-discrimination": "minibatch-discrimination:4:3",
}

#: Settings without which a row makes no sense: a penalty cannot be unrolled, batch norm undoes spectral norm and mixes latents.
_BESIDE: dict[str, dict[str, Any]] = {
    "unrolled": {"penalty": ()},
    "spectral-norm": {"d": {"norm": "none"}},
    "importance": {"g": {"norm": "none"}},
}


def trial(name: str) -> dict[str, Any]:
    """Return the settings with which a row of the table is tried out."""
    return {"stabilizer": (_SPECS.get(name, STABILIZERS[name].usage),)} | _BESIDE.get(name, {})
