"""The race: contenders take turns, A B A B, each in a process of its own.

A machine that others use is slow for all of them at once, so the ratio of neighbours is what counts. A process of its own gives
each the threads and the memory that it would have alone.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch

from sparring.speed.contenders import CONTENDERS, PEAKS, Course, needed_flops
from sparring.speed.textbook import WIDTHS

_WARM_UP = 3


@dataclass(frozen=True)
class Race:
    """What was measured.

    Attributes:
        course: what everyone ran.
        steps: in a block.
        flops: floating-point operations that a step needs; two for a multiplication with addition.
        seconds: contender -> seconds a step, one for every block.
        precision: contender -> what it computed in.
        peaks: precision -> operations a second of the best product of matrices, one for every round.
    """

    course: Course
    steps: int
    flops: int
    seconds: Mapping[str, list[float]]
    precision: Mapping[str, str]
    peaks: Mapping[str, list[float]]

    def speedup(self, name: str) -> tuple[float, float, float]:
        """Return how many times as fast as the textbook loop: median, least and most over the rounds."""
        ratios = [ours / theirs for ours, theirs in zip(self.seconds["textbook"], self.seconds[name], strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)

    def step_seconds(self, name: str) -> float:
        """Return the median seconds of a step."""
        return statistics.median(self.seconds[name])

    def share_of_peak(self, name: str) -> float:
        """Return which share of the peak the needed operations reach, round by round, as a median."""
        peaks = self.peaks[self.precision[name]]
        return statistics.median(self.flops / took / peak for took, peak in zip(self.seconds[name], peaks, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Return every number, the derived ones with them."""
        return {
            "network": self.course.network,
            "batch_size": self.course.batch_size,
            "threads": self.course.threads,
            "device": str(self.course.device),
            "width": self.course.width or WIDTHS[self.course.network],
            "steps_of_a_block": self.steps,
            "flops_of_a_step": self.flops,
            "peak_flops_per_second": dict(self.peaks),
            "contenders": {
                name: {
                    "precision": self.precision[name],
                    "seconds_of_a_step": blocks,
                    "images_per_second": self.course.batch_size / self.step_seconds(name),
                    "speedup": dict(zip(("median", "least", "most"), self.speedup(name), strict=True)),
                    "share_of_peak": self.share_of_peak(name),
                }
                for name, blocks in self.seconds.items()
            },
        }


def race(
    names: Sequence[str],
    course: Course,
    rounds: int,
    steps: int,
    tell: Callable[[str], None] = lambda line: None,
) -> Race:
    """Let contenders take turns.

    Args:
        names: keys of `CONTENDERS`; the textbook loop runs in any case.
        course: what they run.
        rounds: turns of each.
        steps: of each in a turn.
        tell: called with a line now and then.
    """
    with ExitStack() as stack:
        tell("starting: every contender builds its networks and warms up")
        workers = {name: stack.enter_context(_worker(name, course)) for name in dict.fromkeys(("textbook", *names))}
        precision = {name: _ask(worker, _WARM_UP) for name, worker in workers.items()}  # one after the other
        # A product in a precision that the processor does not have could take minutes: only what somebody computes in.
        probes = {name: stack.enter_context(_worker(name, course)) for name in sorted({*precision.values()})}
        for probe in probes.values():
            _ask(probe, 1)
        seconds: dict[str, list[float]] = {name: [] for name in workers | probes}
        for index in range(rounds):
            for name, worker in (workers | probes).items():
                seconds[name].append(_ask(worker, steps))
            tell(f"round {index + 1} of {rounds}: {seconds['textbook'][-1] * 1e3:.0f} ms a step of the textbook loop")
    peaks = {name: [1.0 / took for took in seconds.pop(name)] for name in probes}
    return Race(course, steps, needed_flops(course), seconds, precision, peaks)


@contextmanager
def _worker(name: str, course: Course) -> Iterator[Connection]:
    context = multiprocessing.get_context(
        "spawn"
    )  # a process has one number of threads, set before its first operation
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(name, course, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def _work(name: str, course: Course, connection: Connection) -> None:
    """Build a contender and warm it up at the first message, run a block at every other, until the other end hangs up."""
    torch.set_num_threads(course.threads)
    count = _next(connection)
    if count is None:
        return
    with ExitStack() as stack:
        block, precision = (CONTENDERS | PEAKS)[name](course, stack)
        block(count)
        connection.send(precision)
        while (count := _next(connection)) is not None:
            began = time.perf_counter()
            timed = block(count)
            connection.send((time.perf_counter() - began) / count if timed is None else timed)


def _ask(worker: Connection, steps: int) -> Any:
    worker.send(steps)
    return worker.recv()


def _next(connection: Connection) -> int | None:
    try:
        return int(connection.recv())
    except EOFError:
        return None
