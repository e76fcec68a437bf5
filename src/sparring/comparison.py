"""Runs beside each other: their scores, where these were measured in the same way, and one sentence where they were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.errors import UsageError, unknown_name
from sparring.experiments.finding import Curve, Panel
from sparring.metrics import METRICS
from sparring.metrics.protocol import difference
from sparring.runs import RunDirectory
from sparring.scores import Score, finite, scores_of


@dataclass(frozen=True)
class Comparison:
    """Runs that may be compared.

    Attributes:
        runs: their directories.
        metrics: columns, in the order of `METRICS`.
        scores: one mapping a run, metric -> score; all scores of a metric have one protocol.
    """

    runs: tuple[RunDirectory, ...]
    metrics: tuple[str, ...]
    scores: tuple[dict[str, Score], ...]

    def best(self, metric: str) -> int:
        """Return which run has the best score."""
        values = [float(scores[metric].value) for scores in self.scores]
        cost = {"lower": values, "higher": [-value for value in values], "zero": [abs(value) for value in values]}
        return min(range(len(values)), key=lambda index: cost[METRICS[metric].better][index])

    def as_json(self) -> list[dict[str, Any]]:
        """Return one record a run."""
        return [
            {"run": run.path.as_posix(), "scores": [scores[metric].as_json() for metric in self.metrics]}
            for run, scores in zip(self.runs, self.scores, strict=True)
        ]


def compare(paths: Sequence[Path], metrics: Sequence[str] = ()) -> Comparison:
    """Put the scores of runs beside each other.

    Args:
        paths: at least two run directories.
        metrics: which; all that every run has if empty.

    Raises:
        UsageError: there are fewer than two runs, a metric is unknown or was not measured of every run, or two runs were
            measured differently; the sentence says what differs.
    """
    if len(paths) < 2:
        raise UsageError(f"compare: name two or more run directories, not {len(paths)}.")
    for name in metrics:
        if name not in METRICS:
            raise UsageError(unknown_name("--metrics", name, METRICS))
    runs = tuple(RunDirectory(path.resolve()) for path in paths)
    found = [_scores_or_complain(run) for run in runs]
    common = [name for name in METRICS if all(any(score.metric == name for score in scores) for scores in found)]
    for name in metrics or ():
        if name not in common:
            raise UsageError(_not_measured(name, runs, found))
    if not common:
        raise UsageError("compare: no metric was measured of every run; measure each with sparring evaluate RUN.")
    chosen = tuple(name for name in common if not metrics or name in metrics)
    columns = {name: _same_protocol(name, runs, found) for name in chosen}
    rows = tuple({name: columns[name][index] for name in chosen} for index in range(len(runs)))
    return Comparison(runs, chosen, rows)


def _scores_or_complain(run: RunDirectory) -> list[Score]:
    run.config()
    scores = scores_of(run)
    if not scores:
        raise UsageError(f"compare: {run.path} has no scores yet; measure it with sparring evaluate {run.path}.")
    return scores


def _not_measured(name: str, runs: Sequence[RunDirectory], found: Sequence[list[Score]]) -> str:
    missing = next(run for run, scores in zip(runs, found, strict=True) if all(s.metric != name for s in scores))
    family = METRICS[name].family
    return f"--metrics {name}: not measured of {missing.path}; run sparring evaluate {missing.path} --metrics {family}."


def _same_protocol(name: str, runs: Sequence[RunDirectory], found: Sequence[list[Score]]) -> list[Score]:
    """Return one score a run, all measured in the same way, or say what differs."""
    candidates = [[score for score in scores if score.metric == name] for scores in found]
    for first in candidates[0]:
        match = [_like(first, scores) for scores in candidates]
        if all(match):
            return [score for score in match if score is not None]
    odd = next(i for i in range(len(runs)) if _like(candidates[0][0], candidates[i]) is None)
    said = difference(candidates[0][0].protocol, candidates[odd][0].protocol)
    raise UsageError(
        f"compare: {name} of {runs[0].name} and of {runs[odd].name} were measured differently: {said}; "
        "measure both in the same way with sparring evaluate, then compare again."
    )


def _like(first: Score, scores: Sequence[Score]) -> Score | None:
    return next((score for score in scores if difference(first.protocol, score.protocol) is None), None)


def curves(comparison: Comparison) -> list[Panel]:
    """Return a chart a metric: its course while training where that was measured, the intervals at the end otherwise."""
    return [_panel(comparison, name) for name in comparison.metrics]


def _panel(comparison: Comparison, metric: str) -> Panel:
    rows = [[row for row in run.events("eval") if row.get(metric) is not None] for run in comparison.runs]
    unit = f"{METRICS[metric].unit}, {METRICS[metric].better} is better"
    if all(len(course) > 1 for course in rows):
        lines = [
            Curve(run.name, tuple(row["images"] for row in course), tuple(row[metric] for row in course))
            for run, course in zip(comparison.runs, rows, strict=True)
        ]
        return Panel(metric, "images seen", unit, tuple(lines), log_y=_spans_decades(lines))
    places = tuple(float(index) for index in range(len(comparison.runs)))
    values = [scores[metric].value for scores in comparison.scores]
    dots = Curve("value", places, tuple(finite(value) for value in values), "dots")
    ends = [
        Curve("", (place, place), (finite(value.low), finite(value.high)), "line")
        for place, value in zip(places, values, strict=True)
    ]
    return Panel(metric, "", unit, (dots, *ends), x_names=tuple(run.name for run in comparison.runs))


def _spans_decades(lines: Sequence[Curve]) -> bool:
    values = [value for line in lines for value in line.y if value is not None]
    return min(values) > 0 and max(values) > 30 * min(values)
