"""A row of a benchmark keeps to its protocol, is the mean of its runs, and is not measured twice."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sparring import benchmarks
from sparring.benchmarks import BASELINES, PROTOCOLS, Result, recipe_names, rows, run_modes, settings_of
from sparring.cli import main
from sparring.errors import UsageError
from sparring.session import plan_config


@pytest.mark.parametrize(("data", "recipe"), [(data, name) for data in PROTOCOLS for name in recipe_names(data)])
def test_no_recipe_changes_what_the_protocol_fixes(data: str, recipe: str) -> None:
    preset, settings = settings_of(data, recipe, None)
    config = plan_config(data, preset, settings)
    assert config.eval_samples == {"ring": 2500, "grid": 2500, "stacked-mnist": 26_000}[data]
    assert config.eval_every > config.total_steps(100_000), "one evaluation, at the end"
    if data != "stacked-mnist":
        spec = config.network_spec((2,))
        assert (config.network, spec.g.width, spec.d.width, config.latent_dim) == ("maxout", 400, 200, 2)
        assert config.steps == PROTOCOLS[data].steps <= 10_000


def test_baselines_differ_from_the_plain_game_by_their_remedy_alone() -> None:
    plain = BASELINES["gan"]
    for name, recipe in BASELINES.items():
        changed = {key for key in recipe if recipe[key] != plain.get(key)}
        remedy = {"gan": set(), "gan-r1": {"penalty"}, "wgan-gp": {"loss", "penalty", "g", "d"}}
        assert changed == remedy.get(name, {"stabilizer"}), name
    critic = BASELINES["wgan-gp"]["d"]
    assert (critic["steps"], critic["betas"], critic["lr"]) == (5, (0.0, 0.9), 1e-4), "arXiv:1704.00028, algorithm 1"


RESULT = Result("gan", "ring", 0, 10, {"modes": 8.0, "high_quality": 0.5, "reverse_kl": 0.1}, "p", 2.0)


def test_a_row_is_mean_and_standard_error_of_its_runs() -> None:
    worse = replace(RESULT, seed=1, values={"modes": 4.0, "high_quality": 0.7, "reverse_kl": 0.3})
    (row,) = rows([RESULT, worse])
    assert row.means == pytest.approx({"modes": 6.0, "high_quality": 0.6, "reverse_kl": 0.2})
    assert row.errors == pytest.approx({"modes": 2.0, "high_quality": 0.1, "reverse_kl": 0.1})
    assert (row.seeds, row.complete, row.seconds) == (2, 1, 2.0)


def test_one_seed_has_no_error() -> None:
    (row,) = rows([RESULT])
    assert all(math.isnan(error) for error in row.errors.values())


def test_a_run_that_is_there_is_read_and_one_of_other_settings_is_not(tmp_path: Path) -> None:
    first = benchmarks._run_one("ring", "points", 0, tmp_path, 2, None)
    assert first.steps == 2
    assert first.protocol.startswith("mode_gap[n2500 ring")
    record = tmp_path / "ring" / "points" / "0" / "result.json"
    stored = json.loads(record.read_text())
    stored["result"]["values"]["modes"] = 7.0
    record.write_text(json.dumps(stored))
    assert benchmarks._run_one("ring", "points", 0, tmp_path, 2, None).values["modes"] == 7.0
    longer = benchmarks._run_one("ring", "points", 0, tmp_path, 3, None)
    assert longer.steps == 3


def test_unknown_names_have_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--presets: unknown name 'gam'; did you mean 'gan'"):
        run_modes("ring", ["gam"], 1, tmp_path)
    with pytest.raises(UsageError, match="--data: unknown name 'rink'; did you mean 'ring'"):
        run_modes("rink", ["gan"], 1, tmp_path)


@pytest.mark.parametrize("words", ["--seeds 0", "--steps 0", "--jobs 0"])
def test_a_count_too_small_is_one_sentence(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "modes", *words.split(), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"sparring: {words}: give 1 or more.\n"


def test_the_command_prints_a_table_with_its_protocol_and_writes_every_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "modes", "--presets", "points", "--seeds", "1", "--steps", "2", "--jobs", "1"]
    assert main([*words, "--out", str(tmp_path / "runs"), "--json-file", str(tmp_path / "a" / "modes.json")]) == 0
    out = capsys.readouterr().out
    assert "points" in out
    assert "protocol mode_gap[n2500 ring/modes@" in out
    written = json.loads((tmp_path / "a" / "modes.json").read_text())
    assert written["runs"][0]["values"]["modes"] <= 8
    assert written["settings"]["points"]["steps"] == 2
    assert written["command"] == "sparring bench modes --data ring --presets points --seeds 1 --steps 2"
    (tmp_path / "file").touch()
    assert main([*words, "--out", str(tmp_path / "runs"), "--json-file", str(tmp_path / "file" / "modes.json")]) == 2
    assert "sparring: cannot write the benchmark to" in capsys.readouterr().err


LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's list of processes")


def _begun(folder: Path, seeds: int) -> tuple[subprocess.Popen[str], int]:
    """Call the command, and return it and its only worker once the first run is under way."""
    words = ["bench", "modes", "--data", "ring", "--presets", "gan", "--jobs", "1", "--out", str(folder)]
    call = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where pytest is
    call += "from sparring.cli import main; sys.exit(main(sys.argv[1:]))"
    command = subprocess.Popen(
        [sys.executable, "-c", call, *words, "--seeds", str(seeds)], stderr=subprocess.PIPE, text=True
    )
    assert _soon(lambda: _told(folder, "start"))
    (worker,) = _children(command.pid)
    return command, worker


@LINUX
def test_runs_are_saved_and_end_when_the_command_is_killed(tmp_path: Path) -> None:
    """Without its command a run would go on for nobody; saved, it is taken up by the next call."""
    command, worker = _begun(tmp_path, seeds=1)
    command.kill()
    command.communicate()
    assert _soon(lambda: _told(tmp_path, "stop"))
    assert list(tmp_path.rglob("manifest.json"))
    assert _soon(lambda: not Path(f"/proc/{worker}").exists())


@LINUX
@pytest.mark.parametrize("how", ["Ctrl-C", "the worker is stopped"])
def test_no_other_run_begins_after_one_that_was_stopped(how: str, tmp_path: Path) -> None:
    command, worker = _begun(tmp_path, seeds=3)
    os.kill(command.pid if how == "Ctrl-C" else worker, signal.SIGINT)
    _, error = command.communicate(timeout=60)
    assert command.returncode == (130 if how == "Ctrl-C" else 2)
    assert how == "Ctrl-C" or "was stopped before its end; the same command goes on with it." in error
    assert list(tmp_path.rglob("manifest.json"))
    assert [folder.name for folder in (tmp_path / "ring" / "gan").iterdir()] == ["0"]


def _told(folder: Path, event: str) -> bool:
    return any(f'"event":"{event}"' in clock.read_text().replace(" ", "") for clock in folder.rglob("clock.jsonl"))


def _children(process: int) -> list[int]:
    """Return the processes of a pool that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[1]) == process and b"spawn_main" in stat.with_name("cmdline").read_bytes():
                found.append(int(stat.parent.name))
    return found


def _soon(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.1)
    return happened()
