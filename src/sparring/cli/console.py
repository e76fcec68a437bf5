"""What a training run shows in a terminal, and in a log file when there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sparring.runs import Event

if TYPE_CHECKING:
    from sparring.session import Run

_PLAIN_INTERVAL = 5.0  # seconds between plain lines
_PROBLEMS_SHOWN = 5


class ConsoleObserver:
    """Prints events: a progress bar on a terminal, plain lines otherwise."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[players]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=None, rate="", players="")
        self._total = 0
        self._began = (time.monotonic(), 0, 0)  # when, at which image and step
        self._last_line = 0.0
        self._already_done = False

    def __enter__(self) -> ConsoleObserver:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        shows = {
            "start": self._start,
            "step": self._step,
            "log": self._log,
            "eval": self._eval,
            "floor": self._floor,
            "skipped": self._skipped,
            "warning": self._warning,
        }
        if event["event"] in shows:
            shows[event["event"]](event)

    def conclude(self, run: Run) -> None:
        """Say where everything is, and what to do next."""
        say = self._console.print
        best = run.directory.best()
        samples = sorted((run.path / "samples").glob("*.png"))
        of_best = [path for path in samples if best is not None and path.stem == best.name]
        if run.interrupted_by is not None:
            say(f"stopped and saved at {run.directory.checkpoints()[-1]}; the same command goes on from there.")
        elif self._already_done:
            say("this run was complete already: a longer --steps trains it further, --resume never starts a new one.")
        scores = run.scores()
        if scores is not None:
            say(f"best    {best}  ({_scores(scores)})")
        if samples:
            say(f"picture {(of_best or samples)[-1]}")
        say(f"report  {run.directory.report_file}")
        say(f"next    sparring sample {run.path} --out grid.png")

    def _start(self, event: Event) -> None:
        self._total = event["total_steps"]
        self._already_done = event["step"] >= self._total
        self._began = (time.monotonic(), 0, event["step"])
        self._bar.update(self._task, total=self._total, completed=event["step"])
        self._console.print(f"run     {event['run']}")
        self._console.print(f"data    {event['data']}")
        self._console.print(f"machine {event['machine']}")
        if event["step"]:
            exactly = "" if event["exact"] else "; the machine or its settings differ, so not equal to the bit"
            self._console.print(f"resumes at step {event['step']} of {self._total}{exactly}")
        if event["judge"] is None:
            self._console.print(
                "scores  none: no extractor knows this data, so the newest checkpoint counts as the best (--eval-features)"
            )
        for caution in event["cautions"]:
            self._console.print(f"note    {caution}")
        self._list_problems(event["left_out"])

    def _list_problems(self, problems: list[str]) -> None:
        if problems:
            self._console.print(f"{len(problems)} file{'s' if len(problems) > 1 else ''} left out:")
            for problem in problems[:_PROBLEMS_SHOWN]:
                self._console.print(f"  {problem}")
            if len(problems) > _PROBLEMS_SHOWN:
                self._console.print(f"  … and {len(problems) - _PROBLEMS_SHOWN} more")

    def _step(self, event: Event) -> None:
        if self._began[1] == 0:  # the first step warms up; rates count from its end
            self._began = (time.monotonic(), event["images"], event["step"])
        self._bar.update(self._task, completed=event["step"], rate=self._rate(event["images"]))

    def _rate(self, images: int) -> str:
        when, image, _ = self._began
        seconds = time.monotonic() - when
        return f"{(images - image) / seconds:.0f} images/s" if images > image and seconds > 0 else ""

    def _log(self, event: Event) -> None:
        self._bar.update(self._task, players=_players(event))
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= _PLAIN_INTERVAL:
            self._last_line = now
            rate = self._rate(event["images"])
            left = self._time_left(event["step"])
            self._console.print(f"step {event['step']}/{self._total}  {rate}  {left}  {_players(event)}")

    def _time_left(self, step: int) -> str:
        when, _, began = self._began
        if step <= began:
            return ""
        seconds = (time.monotonic() - when) / (step - began) * (self._total - step)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"

    def _eval(self, event: Event) -> None:
        self._console.print(f"step {event['step']}/{self._total}  {_scores(event)}")

    def _floor(self, event: Event) -> None:
        self._console.print(f"floor   real images score {_scores(event)}")

    def _skipped(self, event: Event) -> None:
        self._console.print(f"step {event['step']}: turn of {event['player']} skipped: {event['reason']}")

    def _warning(self, event: Event) -> None:
        self._console.print(f"warning: {event['text']}")


def _fd(value: float) -> str:
    return f"FD {value:.2f}" if value >= 0.1 else f"FD {value:.2g}"  # of points it is small


_SCORES: dict[str, Callable[[float], str]] = {
    "fd": _fd,
    "class_kl": "class KL {:.4f}".format,
    "classes_present": "{:.0f} classes".format,
    "mode_gap": "mode gap {:.3f}".format,
    "modes": "{:.0f} modes".format,
    "high_quality": "{:.1%} high quality".format,
    "reverse_kl": "reverse KL {:.4f}".format,
}


def _scores(event: Event) -> str:
    return "  ".join(text(event[name]) for name, text in _SCORES.items() if event.get(name) is not None)


def _players(event: Event) -> str:
    """Return D(x) and D(G(z)) where they are probabilities, the mean logits otherwise; without D how likely the data are."""
    if "G/bits_per_dim" in event:
        name = "bits/dim at most" if "G/kl" in event else "bits/dim"  # with a KL it is a bound
        pairs: tuple[tuple[str, float | None], ...] = ((name, event["G/bits_per_dim"]),)
    elif "D/real_prob" in event:
        pairs = (("D(x)", event["D/real_prob"]), ("D(G(z))", event["D/fake_prob"]))
    else:
        pairs = (("logit of x", event.get("D/real_logits")), ("of G(z)", event.get("D/fake_logits")))
    return "  ".join(f"{name} {value:.2f}" for name, value in pairs if value is not None)


def wide_console() -> Console:
    """Return this process's standard output for tables: in a file or pipe, which have no width, nothing is cut off."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=160)


def console_observer() -> ConsoleObserver:
    """Return the observer for this process's standard output."""
    return ConsoleObserver(Console(file=sys.stdout, highlight=False, soft_wrap=True))
