"""Names, events and the log that survives a full disk."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

import pytest

from sparring.errors import StorageError, UsageError
from sparring.evaluation import evaluate
from sparring.runs import (
    EventLog,
    RunDirectory,
    create_run,
    read_events,
    refuse_folder_of_runs,
    run_directories,
    to_json_line,
    write_atomically,
)


def test_runs_are_numbered_and_named(tmp_path: Path) -> None:
    names = [create_run(tmp_path, label, {}).name for label in ("digits-dcgan", "my photos/2024", "???")]
    assert names == ["00000-digits-dcgan", "00001-my-photos-2024", "00002-run"]
    (tmp_path / "00007-old").mkdir()
    (tmp_path / "notes").mkdir()
    assert create_run(tmp_path, "x", {}).name == "00008-x"
    assert [run.name[:5] for run in run_directories(tmp_path)] == ["00000", "00001", "00002", "00007", "00008"]


def test_a_run_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write a run directory"):
        create_run(tmp_path / "file" / "runs", "x", {})


def test_json_lines_are_strict() -> None:
    line = to_json_line({"event": "log", "a": math.nan, "b": -math.inf, "c": 1.5, "d": [1, 2]})
    assert line.endswith("\n")
    assert json.loads(line) == {"event": "log", "a": None, "b": None, "c": 1.5, "d": [1, 2], "non_finite": ["a", "b"]}


def test_a_line_that_was_cut_off_is_left_out_and_then_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event":"a"}\n{"event":"b"}\n{"eve')
    assert [event["event"] for event in read_events(path)] == ["a", "b"]
    EventLog(path).append({"event": "c"})
    assert path.read_text() == '{"event":"a"}\n{"event":"b"}\n{"event":"c"}\n'


def test_opening_at_an_offset_forgets_what_came_later(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append({"event": "a"})
    offset = log.offset
    log.append({"event": "b"})
    again = EventLog(log.path, offset)
    again.append({"event": "c"})
    assert [event["event"] for event in read_events(log.path)] == ["a", "c"]
    assert again.offset == log.path.stat().st_size


def test_a_log_on_a_full_disk_keeps_its_lines_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.append({"event": "a"})
    original = Path.open

    class Full:
        """Writes half of what it is given, then fails, as a full disk does."""

        def __init__(self, file: object) -> None:
            self.file = file

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *args: object) -> None:
            self.file.close()  # type: ignore[attr-defined]

        def truncate(self, size: int) -> None:
            self.file.truncate(size)  # type: ignore[attr-defined]

        def seek(self, place: int) -> None:
            self.file.seek(place)  # type: ignore[attr-defined]

        def write(self, content: bytes) -> int:
            self.file.write(content[:5])  # type: ignore[attr-defined]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *args, **options: Full(original(self, *args, **options)))
        log.append({"event": "b"})
        error = log.flush()
        assert error is not None
        assert error.errno == errno.ENOSPC
    assert [event["event"] for event in read_events(log.path)] == ["a"]
    log.append({"event": "c"})
    assert log.flush() is None
    assert [event["event"] for event in read_events(log.path)] == ["a", "b", "c"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_atomic_write_keeps_the_old_content_when_it_fails(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "best", b"old")

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="Input/output error"):
            write_atomically(tmp_path / "best", b"new")
    assert (tmp_path / "best").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a run directory: it has no config\.json"):
        RunDirectory(tmp_path).config()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        RunDirectory(tmp_path).config()


def test_the_best_checkpoint_is_none_when_it_is_gone(tmp_path: Path) -> None:
    run = create_run(tmp_path, "x", {})
    assert run.best() is None
    run.best_file.write_text("00000004\n")
    assert run.best() is None
    run.checkpoint_dir(4).mkdir()
    assert run.best() == run.checkpoint_dir(4)


def test_the_folder_of_all_runs_is_told_from_a_run_and_from_a_folder_of_classes(tmp_path: Path) -> None:
    for label in ("first", "second"):
        create_run(tmp_path / "runs", label, {})
    for refused in (lambda: RunDirectory(tmp_path / "runs").config(), lambda: evaluate(tmp_path / "runs", "digits")):
        with pytest.raises(UsageError, match=r"runs holds runs and is none; .* the newest is .*00001-second\."):
            refused()
    (tmp_path / "photos" / "00000-cat").mkdir(parents=True)
    refuse_folder_of_runs(tmp_path / "photos")
