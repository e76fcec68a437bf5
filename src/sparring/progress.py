"""Where a run stands, and the means that its log shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Progress:
    """Where a run stands; part of every checkpoint."""

    step: int = 0
    images_seen: int = 0
    best_step: int | None = None
    best_score: float | None = None
    evaluations_since_best: int = 0
    rows_at_equilibrium: int = 0
    skipped: int = 0
    skipped_in_a_row: dict[str, int] = field(default_factory=lambda: {"D": 0, "G": 0})


class Gauges:
    """Sums signals where they are computed and reads them once a row of the log."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add a scalar."""
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the means since the last reading and start again."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means
