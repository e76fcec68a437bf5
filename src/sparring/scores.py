"""Scores that were measured of a run, and the file that keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparring.errors import UsageError
from sparring.metrics import METRICS
from sparring.metrics.estimate import Estimate
from sparring.metrics.protocol import Protocol
from sparring.runs import Event, RunDirectory, storage_error, write_atomically


@dataclass(frozen=True)
class Score:
    """One number that was measured of a run.

    Attributes:
        metric: a key of `METRICS`.
        value: the number with its interval.
        protocol: how it was measured.
        step: of the checkpoint; None for samples that are not a run's.
    """

    metric: str
    value: Estimate
    protocol: Protocol
    step: int | None

    def as_json(self) -> dict[str, Any]:
        """Return it as strict JSON: what is not finite is None."""
        value, low, high = (finite(number) for number in (float(self.value), self.value.low, self.value.high))
        return {
            "metric": self.metric,
            "value": value,
            "low": low,
            "high": high,
            "interval": self.value.interval,
            "step": self.step,
            "protocol": self.protocol.short(),
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Score:
        """Read what `as_json` wrote."""
        value, low, high = (math.nan if row[name] is None else row[name] for name in ("value", "low", "high"))
        protocol = Protocol.parse(row["protocol"])
        return cls(row["metric"], Estimate(value, low, high, row["interval"]), protocol, row["step"])


def store_scores(run: RunDirectory, scores: Sequence[Score]) -> None:
    """Keep scores with their run; one of the same metric, protocol and step is replaced.

    Raises:
        StorageError: they cannot be written; what was there stands.
    """
    new = {(score.metric, score.protocol, score.step): score for score in scores}
    kept = [score for score in stored_scores(run) if (score.metric, score.protocol, score.step) not in new]
    rows = [score.as_json() for score in (*kept, *scores)]
    try:
        write_atomically(run.scores_file, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise storage_error("the scores", run.scores_file, error) from None


def stored_scores(run: RunDirectory) -> list[Score]:
    """Return the scores of ``sparring evaluate``, oldest first.

    Raises:
        UsageError: the file is damaged.
    """
    if not run.scores_file.exists():
        return []
    try:
        return [Score.from_json(row) for row in json.loads(run.scores_file.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{run.scores_file} is damaged; remove it and run sparring evaluate again.") from None


def scores_of(run: RunDirectory) -> list[Score]:
    """Return all scores of a run's best state: those of ``sparring evaluate``, newest first, then those of its training."""
    best = run.best()
    row = next((row for row in run.events("eval") if best is not None and row["step"] == int(best.name)), None)
    return [*reversed(stored_scores(run)), *(_scores_of_event(row) if row else ())]


def _scores_of_event(row: Event) -> list[Score]:
    protocol = Protocol.parse(str(row["protocol"]))
    ends = row.get("intervals", {})
    return [
        Score(name, Estimate(row[name], *ends.get(name, ())), protocol.of(name), row["step"])
        for name in METRICS
        if row.get(name) is not None
    ]


def finite(number: float) -> float | None:
    """Return a number, or None in place of what strict JSON cannot hold."""
    return float(number) if math.isfinite(number) else None
