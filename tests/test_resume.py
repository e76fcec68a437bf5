"""Resuming is equal to the bit: weights, optimizers, average, events and pictures, after a kill at any moment."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import sparring
from sparring.checkpoint import load_checkpoint, save_checkpoint
from sparring.data import open_data
from sparring.losses import LOSSES
from sparring.metrics.judge import build_judge
from sparring.networks import NETWORKS
from sparring.runs import Event, RunDirectory
from sparring.stabilizers import STABILIZERS
from tests.stabilizers.settings import trial
from tests.tools import LIKELIHOOD, LOSS_SETTINGS

STEPS, KILLED_AT = 30, 12

SETTINGS: dict[str, Any] = {
    "network": "dcgan",
    "steps": STEPS,
    "batch_size": 4,
    "latent_dim": 8,
    "g": {"width": 4},
    "d": {"width": 4},
    "log_every": 4,
    "sample_every": 10,
    "eval_every": 10,
    "eval_samples": 20,
    "eval_share": 1.0,  # none is left out, however slow the machine is
    "checkpoint_every": 5,
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
}


def settings_for(loss: str) -> dict[str, Any]:
    special = LOSS_SETTINGS.get(loss, {})
    merged = SETTINGS | {"loss": loss, "real_label": 0.9 if LOSSES[loss].smoothable else 1.0} | special
    merged["d"] = SETTINGS["d"] | special.get("d", {})
    return merged


def train(out: str, settings: dict[str, Any], kill_at: int | None = None) -> None:
    """Train in a process of its own, and kill that process like a power cut right after a step, before its log."""
    torch.set_num_threads(1)

    def watch(event: Event) -> None:
        if kill_at is not None and event["event"] == "step" and event["step"] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sparring.train("digits", preset="dcgan32", out=out, observers=(watch,), **settings)


def run_process(out: Path, settings: dict[str, Any], kill_at: int | None = None) -> int:
    process = multiprocessing.get_context("fork").Process(target=train, args=(str(out), settings, kill_at))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def fingerprint(out: Path) -> dict[str, str]:
    """Return a hash of everything that the seed decides."""
    (run,) = [RunDirectory(path) for path in out.iterdir()]
    files = [run.events_file, *sorted((run.path / "samples").glob("*"))]
    hashes = {str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    for path in run.checkpoints():
        for part, tensors in load_checkpoint(path).parts.items():
            for name, value in tensors.items():
                content = value.contiguous().view(torch.uint8) if value.dim() else value.reshape(1).view(torch.uint8)
                hashes[f"{path.name}/{part}/{name}"] = hashlib.sha256(content.numpy().tobytes()).hexdigest()
    hashes["best"] = run.best_file.read_text() if run.best_file.exists() else ""
    return hashes


@pytest.fixture(scope="module", autouse=True)
def _warm_parent() -> None:
    """Compute the judge's reference here once, and let torch import what its first optimizer needs, for all children."""
    build_judge(open_data("digits"), 20, 0)
    torch.optim.Adam([torch.zeros(1)])


# Fork starts a child in milliseconds instead of importing torch anew; the parent computes on one thread, as forking needs.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("loss", LOSSES)
def test_killed_and_resumed_equals_straight_through(loss: str, tmp_path: Path) -> None:
    settings = settings_for(loss)
    assert run_process(tmp_path / "straight", settings) == 0
    assert run_process(tmp_path / "killed", settings, KILLED_AT + 1) == -signal.SIGKILL
    (run,) = (tmp_path / "killed").iterdir()
    steps_logged = [json.loads(line)["step"] for line in (run / "events.jsonl").read_text().splitlines()]
    assert max(steps_logged) == KILLED_AT, "the log is ahead of the last checkpoint, which is at step 10"
    assert run_process(tmp_path / "killed", settings) == 0
    straight, resumed = fingerprint(tmp_path / "straight"), fingerprint(tmp_path / "killed")
    assert straight == resumed
    assert len(straight) > 60


#: A short run that is killed at step 8, after the checkpoint of step 5.
SHORT: dict[str, Any] = {"steps": 12, "resolution": 28, "log_every": 3, "eval_every": 0, "sample_every": 0}

#: Rows that remember something from turn to turn.
REMEMBERING = {"replay", "lecam", "historical-averaging", "balance-loss", "balance-accuracy"}


def settings_with(stabilizer: str) -> dict[str, Any]:
    special = trial(stabilizer)
    return settings_for("non-saturating") | SHORT | special | {"d": SETTINGS["d"] | special.get("d", {})}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("stabilizer", STABILIZERS)
def test_every_stabilizer_is_resumed_to_the_bit(stabilizer: str, tmp_path: Path) -> None:
    settings = settings_with(stabilizer)
    assert run_process(tmp_path / "straight", settings) == 0
    assert run_process(tmp_path / "killed", settings, 9) == -signal.SIGKILL
    assert run_process(tmp_path / "killed", settings) == 0
    straight = fingerprint(tmp_path / "straight")
    assert straight == fingerprint(tmp_path / "killed")
    assert any("/memory/" in key for key in straight) == (stabilizer in REMEMBERING)
    assert any(key.startswith("00000012/D_optimizer/") for key in straight)


@pytest.mark.parametrize("stabilizer", sorted(REMEMBERING))
def test_a_stabilizer_without_its_memory_is_another_run(stabilizer: str, tmp_path: Path) -> None:
    """The comparison above can fail: what a stabilizer remembers decides the future."""
    settings = settings_with(stabilizer)
    train(str(tmp_path / "straight"), settings)
    train(str(tmp_path / "forgets"), settings | {"steps": 10})
    (run,) = [RunDirectory(path) for path in (tmp_path / "forgets").iterdir()]
    checkpoint = load_checkpoint(run.checkpoint_dir(10))
    for value in checkpoint.parts["memory"].values():
        value.zero_()
    save_checkpoint(run.checkpoint_dir(10), checkpoint)
    train(str(tmp_path / "forgets"), settings)
    straight, forgets = fingerprint(tmp_path / "straight"), fingerprint(tmp_path / "forgets")
    changed = {key.rpartition("/")[0] for key in straight.keys() & forgets.keys() if straight[key] != forgets[key]}
    assert changed >= {"00000010/memory", "00000012/G"}
    assert not changed & {"00000010/G", "00000010/D"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("network", LIKELIHOOD)
def test_a_network_that_plays_alone_is_resumed_to_the_bit(network: str, tmp_path: Path) -> None:
    row = NETWORKS[network]
    settings = {name: value for name, value in (SETTINGS | SHORT).items() if name != "d"}
    settings |= {"network": network, "prior": row.prior, "resolution": 8, "sample_every": 5}
    settings |= {} if row.latent_dim is None else {"latent_dim": row.latent_dim((1, 8, 8))}
    assert run_process(tmp_path / "straight", settings) == 0
    assert run_process(tmp_path / "killed", settings, 9) == -signal.SIGKILL
    assert run_process(tmp_path / "killed", settings) == 0
    straight = fingerprint(tmp_path / "straight")
    assert straight == fingerprint(tmp_path / "killed")
    parts = {key.split("/")[1] for key in straight if key.startswith("00000012/")}
    assert parts == {"G", "G_ema", "G_optimizer"}


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    """The comparison above can fail."""
    train(str(tmp_path / "a"), settings_for("hinge"))
    train(str(tmp_path / "b"), settings_for("hinge") | {"seed": 1})
    a, b = fingerprint(tmp_path / "a"), fingerprint(tmp_path / "b")
    assert sum(a[key] != b[key] for key in a if key in b) > len(a) / 2


def straight_run(out: Path, **settings: Any) -> sparring.Run:
    return sparring.train("digits", preset="dcgan32", out=out, **(settings_for("non-saturating") | settings))


def test_the_same_command_after_the_end_trains_nothing(tmp_path: Path) -> None:
    straight_run(tmp_path)
    before = fingerprint(tmp_path)
    run = straight_run(tmp_path)
    assert run.finished
    assert fingerprint(tmp_path) == before


def test_a_longer_run_goes_on_and_never_starts_anew(tmp_path: Path) -> None:
    first = straight_run(tmp_path)
    longer = straight_run(tmp_path, steps=35)
    assert longer.path == first.path
    assert longer.directory.checkpoints()[-1].name == "00000035"
    assert longer.directory.config()["steps"] == 35


def test_resume_never_starts_another_run(tmp_path: Path) -> None:
    first = straight_run(tmp_path, steps=5)
    second = straight_run(tmp_path, steps=5, resume="never")
    assert first.path != second.path
    assert (tmp_path / second.path.name).name.startswith("00001-")


def test_other_settings_start_another_run(tmp_path: Path) -> None:
    first = straight_run(tmp_path, steps=5)
    second = straight_run(tmp_path, steps=5, loss="hinge", real_label=1.0)
    assert first.path != second.path


def test_resume_path_continues_that_run_with_its_own_settings(tmp_path: Path) -> None:
    first = straight_run(tmp_path, steps=5)
    straight_run(tmp_path, steps=5, seed=1)
    run = sparring.train(resume=first.path, steps=10, out=tmp_path)
    assert run.path == first.path
    assert run.directory.checkpoints()[-1].name == "00000010"


def test_resume_path_refuses_other_settings_and_names_the_flag(tmp_path: Path) -> None:
    first = straight_run(tmp_path, steps=5)
    with pytest.raises(sparring.UsageError, match=r"--loss hinge is not what the run was started with"):
        sparring.train(resume=first.path, loss="hinge", real_label=1.0)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path: Path) -> None:
    straight_run(tmp_path / "a")
    straight_run(tmp_path / "b")
    (run,) = [RunDirectory(path) for path in (tmp_path / "b").iterdir()]
    weights = run.checkpoints()[-1] / "G.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    straight_run(tmp_path / "b")
    assert (run.checkpoints_dir / "00000030.damaged").is_dir()
    shutil.rmtree(run.checkpoints_dir / "00000030.damaged")
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")


def test_changed_data_are_refused(tmp_path: Path) -> None:
    images = torch.zeros(20, 1, 28, 28, dtype=torch.uint8)
    settings = settings_for("non-saturating") | {"steps": 5, "preset": "dcgan32"}
    sparring.train(images, out=tmp_path, **settings)
    with pytest.raises(sparring.UsageError, match="has changed since it was trained"):
        sparring.train(images + 1, out=tmp_path, **settings)


def test_a_run_killed_before_its_first_checkpoint_starts_over_in_place(tmp_path: Path) -> None:
    settings = settings_for("non-saturating")
    assert run_process(tmp_path / "straight", settings) == 0
    assert run_process(tmp_path / "killed", settings, 3) == -signal.SIGKILL
    assert run_process(tmp_path / "killed", settings) == 0
    assert fingerprint(tmp_path / "straight") == fingerprint(tmp_path / "killed")
