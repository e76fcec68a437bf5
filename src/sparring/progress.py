"""Where a run stands, and the means that its log shows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType


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
    skipped_in_a_row: dict[str, int] = field(default_factory=dict)


class Gauges:
    """Sums the numbers that moves tell, and gives their means once a row of the log."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, numbers: Mapping[str, float]) -> None:
        """Add one number of each name."""
        for name, number in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + number
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the means since the last reading and start again."""
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means


class Stopwatch:
    """Measures what share of the time since the start something takes: everything done inside ``with stopwatch``."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._spent = 0.0
        self._longest = 0.0

    def __enter__(self) -> None:
        self._entered = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took = time.monotonic() - self._entered
        self._spent += took
        self._longest = max(self._longest, took)

    def has_room(self, share: float) -> bool:
        """Return whether another round, as long as the longest so far, would keep within a share of the time by its end."""
        after = time.monotonic() - self._start + self._longest
        return self._spent + self._longest <= share * after or self._spent == 0.0
