"""Cadence, non-finite gradients, full disks, signals and schedules."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import sparring
from sparring import checkpoint as checkpoint_module
from sparring.checkpoint import load_checkpoint
from sparring.errors import StorageError, TrainingDivergedError
from sparring.games import Batch, Payoff, Turn
from sparring.runs import Event, RunDirectory
from sparring.trainer import Trainer
from tests.tools import trainer_for


def kinds(run: RunDirectory, kind: str) -> list[int]:
    return [event["step"] for event in run.events(kind)]


def test_cadence_falls_on_multiples_and_on_the_last_step(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", log_every=3, sample_every=4, checkpoint_every=5)
    assert trainer.train()
    assert kinds(trainer.run, "log") == [3, 6, 8]
    assert kinds(trainer.run, "samples") == [0, 4, 8]
    assert [path.name for path in trainer.run.checkpoints()] == ["00000005", "00000008"]


def test_zero_switches_a_cadence_off(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", log_every=0, sample_every=0, checkpoint_every=0)
    trainer.train()
    assert kinds(trainer.run, "log") == []
    assert kinds(trainer.run, "samples") == [0]
    assert [path.name for path in trainer.run.checkpoints()] == ["00000008"]


def test_old_checkpoints_go_and_the_best_stays(tmp_path: Path) -> None:
    run = sparring.train(
        "ring",
        out=tmp_path,
        steps=40,
        eval_every=4,
        eval_share=1.0,
        eval_samples=100,
        checkpoint_every=4,
        keep=2,
        batch_size=16,
        threads=1,
        g={"lr": 0.05},
    ).directory
    best = min(run.events("eval"), key=lambda event: event["mode_gap"])["step"]
    kept = {int(path.name) for path in run.checkpoints()}
    assert kept == {36, 40, best}
    assert run.best() == run.checkpoint_dir(best)


def test_a_logged_row_is_the_mean_of_its_steps(tmp_path: Path) -> None:
    every = trainer_for(tmp_path / "a", "ring", log_every=1)
    fourth = trainer_for(tmp_path / "b", "ring", log_every=4)
    every.train()
    fourth.train()
    single = [event["D/loss"] for event in every.run.events("log")]
    assert [event["D/loss"] for event in fourth.run.events("log")] == pytest.approx(
        [np.mean(single[:4]), np.mean(single[4:])], rel=1e-5
    )


def test_the_rate_falls_linearly_to_zero_after_its_start_and_stays_there(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", decay_from=0.5, g={"lr": 1.0})
    seen = []
    for step in range(12):
        trainer.progress.step = step
        trainer._set_schedules()
        seen.append(trainer.players["G"].optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0])


def test_the_average_has_the_half_life_it_was_given(tmp_path: Path) -> None:
    """After half_life images the twin has moved half of the way, once the ramp-up is over."""
    trainer = trainer_for(tmp_path, "ring", g={"ema_half_life": 800})
    twin = {name: value.clone() for name, value in trainer.ema.network.state_dict().items()}
    target = {name: value + 1 for name, value in trainer.players["G"].network.state_dict().items()}
    trainer.players["G"].network.load_state_dict(target)
    for batch in range(100):
        trainer.ema.update(trainer.players["G"].network, 1_000_000 + 8 * batch, 8)
    for name, value in trainer.ema.network.state_dict().items():
        torch.testing.assert_close(value, (twin[name] + target[name]) / 2)


def test_real_batches_do_not_depend_on_the_number_of_D_steps_only_on_their_place(tmp_path: Path) -> None:
    one, two = trainer_for(tmp_path / "a", "ring"), trainer_for(tmp_path / "b", "ring", d={"steps": 2})
    assert torch.equal(one._real_batch(3)[0], two._real_batch(3)[0])
    seen: list[Tensor] = []
    original = two._real_batch
    two._real_batch = lambda number: seen.append(original(number)[0]) or original(number)  # type: ignore[method-assign]
    two.play_step()
    two.play_step()
    assert [torch.equal(batch, one._real_batch(index)[0]) for index, batch in enumerate(seen)] == [True] * 4


def test_a_penalty_of_almost_no_weight_changes_almost_nothing(tmp_path: Path) -> None:
    """Second derivatives of convolutions have strides of their own, which the fused Adam once read wrongly."""

    def weights_after_two_steps(name: str, penalty: tuple[str, ...]) -> list[Tensor]:
        settings = {"network": "dcgan", "latent_dim": 8, "batch_size": 8, "penalty": penalty}
        d = {"width": 8, "norm": "none", "lr": 1e-3}
        trainer = trainer_for(tmp_path / name, "digits", d=d, g={"width": 4, "norm": "none"}, **settings)
        trainer.play_step()
        trainer.play_step()
        return [value.detach().clone() for value in trainer.players["D"].network.parameters()]

    plain = weights_after_two_steps("plain", ())
    for name, penalty in (("r1", "r1:1e-12"), ("r2", "r2:1e-12"), ("gp", "wgan-gp:1e-12")):
        for weight, expected in zip(weights_after_two_steps(name, (penalty,)), plain, strict=True):
            # Adam turns a gradient of rounding noise into a full step, so a few weights may differ, not half of them.
            assert ((weight - expected).abs() > 1e-4).float().mean() < 0.05


# Non-finite gradients.


def poison(trainer: Trainer, steps: set[int], player: str) -> None:
    """Make a player's payoff infinite at some steps."""

    def spoil(turn: Turn) -> Turn:
        def play(batch: Batch) -> Payoff:
            payoff = turn.play(batch)
            if trainer.progress.step not in steps:
                return payoff
            return Payoff({name: term * math.inf for name, term in payoff.terms.items()}, payoff.signals)

        return replace(turn, play=play) if turn.player == player else turn

    turns = trainer.game.turns
    object.__setattr__(trainer.game, "turns", lambda clock: tuple(spoil(turn) for turn in turns(clock)))


def weights(trainer: Trainer, player: str) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.players[player].network.state_dict().items()}


@pytest.mark.parametrize("player", ["D", "G"])
def test_a_non_finite_gradient_skips_the_turn_and_changes_nothing(player: str, tmp_path: Path) -> None:
    trainer = trainer_for(
        tmp_path, "digits", network="case-study", g={"width": 4}, d={"width": 4}, latent_dim=8, steps=4
    )
    poison(trainer, {1}, player)
    trainer.play_step()
    before = weights(trainer, player)
    trainer.play_step()
    after = weights(trainer, player)
    assert all(torch.equal(before[name], after[name]) for name in before), "batch norm's statistics included"
    trainer.play_step()
    assert any(not torch.equal(after[name], value) for name, value in weights(trainer, player).items())
    assert [(event["step"], event["player"]) for event in trainer.run.events("skipped")] == [(1, player)]


def test_repeated_non_finite_gradients_stop_the_run_and_name_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", steps=100, checkpoint_every=5)
    poison(trainer, set(range(7, 100)), "G")
    with pytest.raises(TrainingDivergedError, match="00000015"):
        trainer.train()
    (*_, last) = trainer.run.checkpoints()
    for tensors in load_checkpoint(last).parts.values():
        assert all(bool(value.isfinite().all()) for value in tensors.values() if value.is_floating_point())
    assert kinds(trainer.run, "skipped") == list(range(7, 17))


def test_weights_that_are_not_finite_are_never_saved_over_good_ones(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", checkpoint_every=2)
    trainer.play_step()
    trainer.play_step()
    trainer._save()
    with torch.no_grad():
        next(iter(trainer.players["G"].network.parameters())).fill_(math.nan)
    trainer.progress.step = 4
    with pytest.raises(TrainingDivergedError, match=r"G 'layers.0.weight' is not finite.*00000002"):
        trainer._save()
    assert [path.name for path in trainer.run.checkpoints()] == ["00000002"]


def test_a_non_finite_number_is_null_in_the_log_with_a_flag(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring")
    trainer._emit({"event": "log", "step": 1, "D/loss": math.inf, "G/loss": 1.5})
    text = trainer.run.events_file.read_text()
    (row,) = [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in text.splitlines()
    ]
    assert row == {"event": "log", "step": 1, "D/loss": None, "G/loss": 1.5, "non_finite": ["D/loss"]}


# Full disks.


def full_disk(monkeypatch: pytest.MonkeyPatch, full: list[bool]) -> None:
    """Fail every durable write of a checkpoint while ``full[0]``."""
    original = checkpoint_module._write_durably

    def write(path: Path, content: bytes) -> None:
        if full[0]:
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path, content)

    monkeypatch.setattr(checkpoint_module, "_write_durably", write)


def test_training_survives_a_full_disk_that_is_freed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    trainer = trainer_for(tmp_path, "ring", (told.append,), checkpoint_every=2)
    full = [False]
    full_disk(monkeypatch, full)

    def watch(event: Event) -> None:
        if event["event"] == "step":
            full[0] = event["step"] in (3, 4)

    trainer.observers = (told.append, watch)
    assert trainer.train()
    assert [path.name for path in trainer.run.checkpoints()] == ["00000006", "00000008"]
    (warning,) = [event for event in told if event["event"] == "warning"]
    assert "no space left on device" in warning["text"]
    assert not list(trainer.run.checkpoints_dir.glob(".*")), "nothing half-written is left"


def test_a_full_disk_at_the_end_is_one_sentence_and_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_for(tmp_path, "ring", checkpoint_every=5)
    full = [False]
    full_disk(monkeypatch, full)
    trainer.observers = (lambda event: full.__setitem__(0, event["step"] > 5),)
    with pytest.raises(StorageError, match=r"no space left on device; free some space and run the same command again"):
        trainer.train()
    (kept,) = trainer.run.checkpoints()
    assert load_checkpoint(kept).state["step"] == 5


_LIMITED = """
import resource, signal, sys
from sparring.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails with EFBIG, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


def test_a_real_write_failure_exits_2_with_one_sentence(tmp_path: Path) -> None:
    """The kernel refuses the checkpoint (files over 60 kB), not a stand-in."""
    words = ["train", "ring", "--steps", "3", "--threads", "1", "--eval-every", "0", "--out", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", _LIMITED, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "cannot write the last checkpoint" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    again = sparring.train("ring", steps=3, threads=1, eval_every=0, out=tmp_path)
    assert again.finished
    assert again.path.name.startswith("00000-"), "the same run goes on"


# Signals.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_saves_and_resumes(number: int, code: int, tmp_path: Path) -> None:
    words = ["train", "ring", "--threads", "1", "--eval-every", "0", "--log-every", "1", "--checkpoint-every", "0"]
    command = [sys.executable, "-m", "sparring", *words, "--steps", "100000", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 90
        while (
            not list(tmp_path.glob("*/events.jsonl")) or "log" not in next(tmp_path.glob("*/events.jsonl")).read_text()
        ):
            assert time.monotonic() < deadline, (
                process.stderr.read() if process.stderr and process.poll() else "too slow"
            )
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "the same command goes on from there" in out
    (path,) = tmp_path.iterdir()
    (saved,) = RunDirectory(path).checkpoints()
    step = load_checkpoint(saved).state["step"]
    assert step >= 1
    run = sparring.train("ring", threads=1, eval_every=0, log_every=1, checkpoint_every=0, steps=step + 2, out=tmp_path)
    assert run.path == path
    assert kinds(run.directory, "log") == list(range(1, step + 3))


def test_two_trainers_cannot_share_a_run(tmp_path: Path) -> None:
    from sparring.runs import RunLock

    run = sparring.train("ring", steps=2, threads=1, eval_every=0, out=tmp_path).directory
    lock = RunLock(run)
    with pytest.raises(sparring.UsageError, match="trained by another process"):
        sparring.train("ring", steps=3, threads=1, eval_every=0, out=tmp_path)
    lock.release()
    assert sparring.train("ring", steps=3, threads=1, eval_every=0, out=tmp_path).finished


# Accumulation, clipping, periods, stopping.


@pytest.mark.parametrize("penalty", [(), ("r1:0.5", "r2:0.5")])
def test_accumulated_gradients_are_those_of_the_whole_batch(penalty: tuple[str, ...], tmp_path: Path) -> None:
    def gradient(name: str, **settings: int) -> Tensor:
        trainer = trainer_for(tmp_path / name, "ring", penalty=penalty, **settings)
        trainer.play_step()
        return torch.cat([parameter.grad.flatten() for parameter in trainer.players["D"].parameters])

    torch.testing.assert_close(gradient("whole"), gradient("pieces", accumulate=4), rtol=1e-4, atol=1e-6)


def test_a_long_gradient_is_scaled_to_the_limit_and_a_short_one_is_left(tmp_path: Path) -> None:
    def gradient(name: str, **settings: float) -> Tensor:
        trainer = trainer_for(tmp_path / name, "ring", d=settings)
        trainer.play_step()
        return torch.cat([parameter.grad.flatten() for parameter in trainer.players["D"].parameters])

    free = gradient("free")
    clipped = gradient("clipped", clip_grad=float(free.norm()) / 4)
    torch.testing.assert_close(clipped, free / 4)
    assert torch.equal(gradient("wide", clip_grad=float(free.norm()) * 4), free)


def test_alternating_periods_play_D_first_and_then_G_alone(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", alternate=3, d={"steps": 2}, steps=6)
    played = []
    original = trainer._play
    trainer._play = lambda turn, batch: played.append(turn.player) or original(turn, batch)  # type: ignore[method-assign]
    trainer.train()
    assert played == [*"DDDDDDGGG", *"DDDDDDGGG"]


def test_alternating_periods_see_the_same_batches_in_another_order(tmp_path: Path) -> None:
    def batches(name: str, period: int) -> list[Tensor]:
        trainer = trainer_for(tmp_path / name, "ring", alternate=period, steps=4)
        seen: list[Tensor] = []
        original = trainer._play

        def play(turn: Turn, batch: Batch) -> None:
            seen.extend([batch.x_real] if turn.player == "D" else [])
            original(turn, batch)

        trainer._play = play  # type: ignore[method-assign]
        trainer.train()
        return seen

    for a, b in zip(batches("a", 1), batches("b", 4), strict=True):
        assert torch.equal(a, b)


def test_burn_in_moves_rate_and_beta2(tmp_path: Path) -> None:
    burn = {"share": 0.5, "lr": 4.0, "beta2": 0.9}
    trainer = trainer_for(tmp_path, "ring", burn_in=burn, g={"lr": 1.0, "betas": (0.0, 0.99)}, steps=8)
    seen = []
    for step in range(0, 8, 2):
        trainer.progress.step = step
        trainer._set_schedules()
        group = trainer.players["G"].optimizer.param_groups[0]
        seen.append((group["lr"], group["betas"][1]))
    assert [rate for rate, _ in seen] == pytest.approx([4, 2.5, 1, 1])
    assert [beta for _, beta in seen] == pytest.approx([0.9, 0.945, 0.99, 0.99])


def test_burn_in_scales_the_penalty(tmp_path: Path) -> None:
    settings = {"penalty": ("r1:1",), "log_every": 1, "steps": 4, "g": {"lr": 1e-9}, "d": {"lr": 1e-9}}
    plain = trainer_for(tmp_path / "a", "ring", **settings)
    burnt = trainer_for(tmp_path / "b", "ring", burn_in={"share": 0.5, "penalty": 10.0}, **settings)
    plain.train()
    burnt.train()
    logged = zip(burnt.run.events("log"), plain.run.events("log"), strict=True)
    assert [b["D/r1"] / p["D/r1"] for b, p in logged] == pytest.approx([10, 5.5, 1, 1], rel=1e-4)


def test_patience_stops_the_run_and_the_same_command_does_not_go_on(tmp_path: Path) -> None:
    settings = {
        "steps": 60,
        "eval_every": 4,
        "eval_share": 1.0,
        "eval_samples": 50,
        "patience": 2,
        "batch_size": 4,
        "threads": 1,
    }
    settings["g"] = {"lr": 1e-12}  # nothing improves after the first evaluation but by chance
    run = sparring.train("ring", out=tmp_path, **settings)
    evaluations = run.directory.events("eval")
    best = min(range(len(evaluations)), key=lambda index: evaluations[index]["mode_gap"])
    assert run.finished
    assert len(evaluations) == best + 3
    again = sparring.train("ring", out=tmp_path, **settings)
    assert again.path == run.path
    assert again.directory.events("eval") == evaluations
    longer = sparring.train("ring", out=tmp_path, **settings | {"patience": 0})
    assert longer.path == run.path
    assert longer.directory.checkpoints()[-1].name == "00000060"


def test_equilibrium_counts_rows_in_a_row(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", equilibrium=2, log_every=1)
    for accuracy in (0.5, 0.8, 0.47, 0.54):
        trainer.gauges.read()
        trainer.gauges.add({"D/accuracy": accuracy})
        assert trainer.why_stopped is None
        trainer._log_row()
    assert trainer.why_stopped is not None
    assert "near ½ for 2 rows" in trainer.why_stopped


def test_a_loss_of_0_is_no_reason_to_stop(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, "ring", equilibrium=1, patience=1, eval_every=1, eval_share=1.0, log_every=1)
    trainer.gauges.add({"D/loss": 0.0, "D/accuracy": 1.0})
    trainer._log_row()
    assert trainer.why_stopped is None
