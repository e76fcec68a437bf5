"""What a user can get wrong, each as one sentence that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """A mistake that the user can mend; the command line prints its sentence and exits with 2."""


class DataError(UsageError):
    """The data cannot be used as it is."""


class CheckpointError(UsageError):
    """A checkpoint is missing, damaged, or does not fit the networks."""


class StorageError(UsageError):
    """The run directory cannot be written: disk full, no permission, too large a file."""


class TrainingDivergedError(RuntimeError):
    """Training met non-finite gradients again and again; the sentence names the last good checkpoint."""


def unknown_name(what: str, name: str, choices: Iterable[str]) -> str:
    """Return the sentence for a name that no table holds.

    Args:
        what: what was asked for, as the user typed it: ``"--loss"``, ``"preset"``.
        name: the name that was given.
        choices: the names that exist.

    Returns:
        One sentence with the nearest match, if there is one, and all choices.
    """
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" did you mean '{near[0]}'?" if near else ""
    return f"{what}: unknown name '{name}';{hint} choose one of: {', '.join(known)}."
