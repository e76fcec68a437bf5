"""The run directory: its names, its events, its reader and its writer. Standard library only.

```
runs/00007-digits-dcgan/
    config.json         the complete config
    events.jsonl        what the seed decides: logs, samples, evaluations; strict JSON, one object a line
    clock.jsonl         what the machine decides: when, how fast, which hardware
    samples/00000500.png
    checkpoints/00001000/
    best                the name of the best checkpoint
    scores.json         what ``sparring evaluate`` measured
    report.html
    tensorboard/
```
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.errors import StorageError, UsageError

_RUN_NAME = re.compile(r"^(\d{5})-.+")
_STEP_NAME = re.compile(r"^\d{8}$")

Event = dict[str, Any]


def to_json_line(event: Event) -> str:
    """Write an event as one line of strict JSON: a number that is not finite becomes null, named under ``"non_finite"``.

    Args:
        event: field -> value; numbers, strings, lists of numbers.

    Returns:
        The line, with its newline.
    """
    lost = [key for key, value in event.items() if isinstance(value, float) and not math.isfinite(value)]
    if lost:
        event = {key: None if key in lost else value for key, value in event.items()} | {"non_finite": lost}
    return json.dumps(event, allow_nan=False, separators=(",", ":"), ensure_ascii=False) + "\n"


def read_events(path: Path) -> Iterator[Event]:
    """Read a log line by line; a last line that was cut off is left out.

    Args:
        path: ``events.jsonl`` or ``clock.jsonl``; a missing file has no events.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old content or the new, never half of it, even after a power cut.

    Args:
        path: the file.
        content: its new content.

    Raises:
        OSError: it cannot be written; the old content stands.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable (a no-op where directories cannot be opened)."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def storage_error(what: str, path: Path, error: OSError) -> StorageError:
    """Return the sentence for a write that failed.

    Args:
        what: what was being written: "the checkpoint".
        path: where.
        error: what the system said.
    """
    advice = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
    reason = (error.strerror or str(error)).lower()
    return StorageError(f"cannot write {what} to {path}: {reason}; {advice} and run the same command again to go on.")


class EventLog:
    """An append-only file of JSON lines that survives a full disk: what could not be written is kept and tried again."""

    def __init__(self, path: Path, offset: int | None = None) -> None:
        """Open the log.

        Args:
            path: the file; made when missing.
            offset: bytes to keep; later lines are cut off, so that a resumed run does not log a step twice. None keeps
                all whole lines.
        """
        self.path = path
        self._pending: list[bytes] = []
        path.touch()
        with path.open("r+b") as file:
            if offset is None:
                content = file.read()
                offset = content.rfind(b"\n") + 1
            file.truncate(offset)
        self.offset = offset

    def append(self, event: Event) -> None:
        """Add one event; it is on disk when `flush` returns None."""
        self._pending.append(to_json_line(event).encode())
        self.flush()

    def flush(self) -> OSError | None:
        """Write what is pending.

        Returns:
            None, or the error that kept it from the disk; nothing is lost, the next call tries again.
        """
        if not self._pending:
            return None
        content = b"".join(self._pending)
        try:
            with self.path.open("r+b", buffering=0) as file:
                file.truncate(self.offset)  # a line cut off by an earlier failure goes
                file.seek(self.offset)
                if file.write(content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            return error
        self._pending.clear()
        self.offset += len(content)
        return None


@dataclass(frozen=True)
class RunDirectory:
    """Names inside a run directory."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.name

    @property
    def config_file(self) -> Path:
        """The complete config, JSON."""
        return self.path / "config.json"

    @property
    def events_file(self) -> Path:
        """What the seed decides, JSON lines."""
        return self.path / "events.jsonl"

    @property
    def clock_file(self) -> Path:
        """What the machine decides, JSON lines."""
        return self.path / "clock.jsonl"

    @property
    def report_file(self) -> Path:
        """The self-contained report."""
        return self.path / "report.html"

    @property
    def scores_file(self) -> Path:
        """What was measured after training, JSON."""
        return self.path / "scores.json"

    @property
    def checkpoints_dir(self) -> Path:
        """One directory a checkpoint, named by its step."""
        return self.path / "checkpoints"

    @property
    def best_file(self) -> Path:
        """Holds the name of the best checkpoint."""
        return self.path / "best"

    def sample_file(self, step: int) -> Path:
        """The sample grid of a step."""
        return self.path / "samples" / f"{step:08d}.png"

    def checkpoint_dir(self, step: int) -> Path:
        """The checkpoint of a step."""
        return self.checkpoints_dir / f"{step:08d}"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        if not self.checkpoints_dir.is_dir():
            return []
        return sorted(path for path in self.checkpoints_dir.iterdir() if _STEP_NAME.match(path.name))

    def best(self) -> Path | None:
        """Return the best checkpoint, or None before the first evaluation."""
        if not self.best_file.exists():
            return None
        path = self.checkpoints_dir / self.best_file.read_text(encoding="utf-8").strip()
        return path if path.is_dir() else None

    def events(self, kind: str | None = None) -> list[Event]:
        """Return the events, all of them or those of one kind: "log", "samples", "eval", "skipped"."""
        return [event for event in read_events(self.events_file) if kind in (None, event["event"])]

    def store_config(self, config: dict[str, Any]) -> None:
        """Write ``config.json``.

        Raises:
            StorageError: it cannot be written; the old one stands.
        """
        try:
            write_atomically(self.config_file, (json.dumps(config, indent=2) + "\n").encode())
        except OSError as error:
            raise storage_error("the config", self.config_file, error) from None

    def config(self) -> dict[str, Any]:
        """Return the stored config.

        Raises:
            UsageError: this is no run directory.
        """
        try:
            config = json.loads(self.config_file.read_text(encoding="utf-8"))
        except OSError:
            refuse_folder_of_runs(self.path)
            raise UsageError(f"{self.path} is not a run directory: it has no config.json.") from None
        except ValueError:
            raise UsageError(f"{self.config_file} is damaged: it is not JSON.") from None
        assert isinstance(config, dict)
        return config


def run_directories(out: Path) -> list[RunDirectory]:
    """Return the runs under a folder, oldest first."""
    if not out.is_dir():
        return []
    return [RunDirectory(path) for path in sorted(out.iterdir()) if _RUN_NAME.match(path.name) and path.is_dir()]


def refuse_folder_of_runs(path: Path) -> None:
    """Refuse the folder of all runs where one of them is meant, or images: it is full of grids of samples.

    Raises:
        UsageError: the folder holds runs.
    """
    if runs := [run for run in run_directories(path) if run.config_file.is_file()]:  # not a folder of classes
        raise UsageError(f"{path} holds runs and is none; name one of them, the newest is {runs[-1].path}.")


def create_run(out: Path, label: str, config: dict[str, Any]) -> RunDirectory:
    """Make the next run directory, ``00007-label``.

    Args:
        out: the folder of all runs; made when missing.
        label: what the run is about; letters, digits, dots and hyphens are kept.
        config: the complete config, stored as ``config.json``.

    Returns:
        The directory.

    Raises:
        StorageError: it cannot be written.
    """
    tidy = re.sub(r"[^A-Za-z0-9.]+", "-", label).strip("-.") or "run"
    try:
        out.mkdir(parents=True, exist_ok=True)
        number = max((int(run.name[:5]) for run in run_directories(out)), default=-1) + 1
        while True:
            run = RunDirectory(out / f"{number:05d}-{tidy}")
            try:
                run.path.mkdir()
                break
            except FileExistsError:  # another process was faster
                number += 1
        (run.path / "samples").mkdir()
        run.checkpoints_dir.mkdir()
    except OSError as error:
        raise storage_error("a run directory", out, error) from None
    run.store_config(config)
    return run


class RunLock:
    """Keeps two trainers out of one run directory; released when the process ends, however it ends."""

    def __init__(self, run: RunDirectory) -> None:
        """Take the lock.

        Raises:
            UsageError: another process trains in this directory.
        """
        self._file = (run.path / ".lock").open("a+")
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise UsageError(
                    f"{run.path} is being trained by another process; stop it, or use --resume never."
                ) from None

    def release(self) -> None:
        """Give the lock back."""
        self._file.close()
