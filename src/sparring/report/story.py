"""A run as its directory tells it: every part read once, and none of them taken for granted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from sparring.config import TrainConfig
from sparring.errors import UsageError
from sparring.losses import LOSSES, Loss
from sparring.networks import NETWORKS, PLAYERS, Network
from sparring.runs import Event, RunDirectory, read_events
from sparring.settings import validate


@dataclass(frozen=True)
class Grid:
    """A sample grid on disk."""

    step: int
    images: int
    path: Path


@dataclass(frozen=True)
class Story:
    """A run as its directory tells it; every part is read once, and may be missing."""

    run: RunDirectory
    values: dict[str, Any]

    @cached_property
    def config(self) -> TrainConfig | None:
        """The checked config; None when this version of sparring cannot read it."""
        try:
            return validate(self.values)
        except UsageError:
            return None

    @cached_property
    def loss(self) -> Loss | None:
        """The row of `LOSSES`; None for a loss that is not in this process's table, and where nobody plays against D."""
        return LOSSES.get(str(self.values.get("loss")))

    @cached_property
    def network(self) -> Network | None:
        """The row of `NETWORKS`; None for a network that is not in this process's table."""
        return NETWORKS.get(str(self.values.get("network")))

    @cached_property
    def players(self) -> tuple[str, ...]:
        """The names of those who play."""
        return PLAYERS["adversarial"] if self.network is None else self.network.players

    @cached_property
    def events(self) -> list[Event]:
        """What the seed decided."""
        return _readable(self.run.events_file)

    @cached_property
    def clock(self) -> list[Event]:
        """What the machine decided."""
        return _readable(self.run.clock_file)

    @cached_property
    def sessions(self) -> list[list[Event]]:
        """The clock's events, divided where the run was taken up again."""
        starts = [index for index, event in enumerate(self.clock) if event["event"] == "start"]
        return [self.clock[first:end] for first, end in pairwise([*starts, len(self.clock)])]

    @property
    def seconds(self) -> float:
        """How long the run has taken, all sessions together."""
        return float(sum(session[-1]["time"] - session[0]["time"] for session in self.sessions))

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The newest readable checkpoint's state."""
        for path in reversed(self.run.checkpoints()):
            try:
                return dict(json.loads((path / "manifest.json").read_text(encoding="utf-8"))["state"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return {}

    def kind(self, name: str) -> list[Event]:
        """Return the events of one kind."""
        return [event for event in self.events if event["event"] == name]

    @cached_property
    def logs(self) -> list[Event]:
        """The rows of the log."""
        return self.kind("log")

    @cached_property
    def evaluations(self) -> list[Event]:
        """The evaluations, by step."""
        return self.kind("eval")

    @cached_property
    def floor(self) -> Event:
        """The scores of real data; empty when they were not measured."""
        return next(iter(self.kind("floor")), {})

    @cached_property
    def grids(self) -> list[Grid]:
        """The sample grids that can be shown, in the order of their steps."""
        found = (
            Grid(event["step"], event.get("images") or 0, self.run.sample_file(event["step"]))
            for event in self.kind("samples")
        )
        return sorted((grid for grid in found if png_size(grid.path)), key=lambda grid: grid.step)

    @cached_property
    def step(self) -> int:
        """The last step that left a trace."""
        last_session = self.sessions[-1] if self.sessions else []
        return max((int(event.get("step") or 0) for event in (*self.events, *last_session)), default=0)

    @cached_property
    def dataset_size(self) -> int | None:
        """The number of training samples, from images seen and epochs."""
        for row in (*self.logs, *self.evaluations):
            if row.get("epoch") and row.get("images"):
                return round(float(row["images"]) / float(row["epoch"]))
        return None

    @cached_property
    def total_steps(self) -> int | None:
        """The length of the run; None when it cannot be known."""
        if "total_steps" in self.manifest:
            return int(self.manifest["total_steps"])
        if self.config is None or (self.config.epochs is not None and self.dataset_size is None):
            return None
        return self.config.total_steps(self.dataset_size or 0)

    @cached_property
    def divergence(self) -> str | None:
        """Why the last session gave up, or None if it did not."""
        last = self.sessions[-1] if self.sessions else []
        return next((str(event.get("reason")) for event in last if event["event"] == "diverged"), None)

    @cached_property
    def left_out(self) -> list[str]:
        """Files of the data that could not be used, each with its reason."""
        return [str(problem) for problem in (self.sessions[-1][0].get("left_out") or ())] if self.sessions else []

    @cached_property
    def stopped(self) -> bool:
        """Whether the last session said that it stops."""
        return bool(self.sessions) and any(event["event"] == "stop" for event in self.sessions[-1])

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all numbers measured, the one that chooses the best checkpoint first."""
        other = {"event", "step", "images", "epoch", "histogram", "protocol", "intervals", "non_finite"}
        return list(dict.fromkeys(name for row in self.evaluations for name in row if name not in other))

    @cached_property
    def best(self) -> Event | None:
        """The evaluation of the best checkpoint."""
        path = self.run.best()
        step = int(path.name) if path and path.name.isdigit() else -1
        return next((row for row in self.evaluations if row["step"] == step), None)

    @cached_property
    def class_names(self) -> list[str]:
        """Names of the classes, or modes, that the histograms count."""
        count = max((len(row.get("histogram") or ()) for row in self.evaluations), default=0)
        if self._has_centres:
            return [f"mode {index + 1}" for index in range(count)]
        names = _names_of_judge(str(self.evaluations[-1].get("protocol"))) if self.evaluations else ()
        return list(names) if len(names) == count else [f"class {index}" for index in range(count)]

    @cached_property
    def in_plane(self) -> bool:
        """Whether the samples are points in the plane."""
        return len(self.manifest.get("shape", (0, 0, 0))) == 1 or self._has_centres

    @cached_property
    def stacked(self) -> bool:
        """Whether every channel of a sample is a picture of its own, so that the histograms count channels."""
        return "modes" in self.metrics and not self._has_centres

    @cached_property
    def mode_count(self) -> int:
        """How many modes, or classes, a perfect generator covers; 0 where it is not known."""
        if not self.stacked:
            return len(self.class_names)
        channels: int = self.manifest.get("shape", (3,))[0]
        return int(len(self.class_names) ** channels)

    @cached_property
    def _has_centres(self) -> bool:
        """Whether the modes are Gaussians in the plane."""
        return "mode_gap" in self.metrics

    @cached_property
    def machine(self) -> dict[str, str]:
        """The last session's machine, in words; empty when the clock has nothing of it."""
        start = self.sessions[-1][0] if self.sessions else {}
        machine = start.get("machine")
        if not isinstance(machine, Mapping):
            return {}
        words = {str(name): str(value) for name, value in machine.items() if name not in ("torch", "threads")}
        threads = machine.get("threads")
        if threads:
            words["threads"] = f"{threads} thread" + ("" if threads == 1 else "s")
        return words | {"torch": f"torch {machine.get('torch', 'unknown')}"}

    def epoch(self, images: int) -> float | None:
        """Return the passes over the data after that many images."""
        return images / self.dataset_size if self.dataset_size else None


def _readable(path: Path) -> list[Event]:
    """Return the events up to the first line that is damaged."""
    events: list[Event] = []
    try:
        for event in read_events(path):
            if isinstance(event, dict) and "event" in event:
                events.append(event)
    except (OSError, ValueError):
        events.append({"event": "warning", "text": f"{path.name} is damaged after {len(events)} lines"})
    return events


def _names_of_judge(protocol: str) -> tuple[str, ...]:
    """Return the class names of the extractor that a protocol names: ``fd[digits-v1@…``."""
    from sparring.data.idx import IDX_SETS

    judge = re.match(r"\w+\[([^@\s]+)@", protocol)
    return next((known.class_names for known in IDX_SETS.values() if judge and known.judge == judge[1]), ())


def png_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of a PNG in pixels; None when it is missing or not whole enough to tell."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
