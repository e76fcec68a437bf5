"""The textbook loop and sparring are the same maths; what the race tells follows from what it measured."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import ExitStack, nullcontext
from typing import Any

import pytest
import torch

from sparring.cli import main
from sparring.fast import convolution, is_plain, plain
from sparring.session import build_trainer
from sparring.speed import contenders
from sparring.speed.agreement import loss_curves
from sparring.speed.contenders import CONTENDERS, PEAKS, Course, needed_flops
from sparring.speed.race import Race, _ask, _work, race
from sparring.trainer import Trainer


@pytest.mark.parametrize("kernels", ["fast", "plain"])
def test_loss_curves_agree_with_the_textbook_loop_for_200_steps(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To rounding at first; then rounding grows as it does in any GAN, and the curves still lie on each other."""
    monkeypatch.setattr(convolution, "_SMALL", 0)  # small as they are, the fast kernels take them
    torch.manual_seed(0)
    with plain() if kernels == "plain" else nullcontext():
        ours, theirs = loss_curves(Course(batch_size=8, width=4), steps=200)
    assert (ours[:40] - theirs[:40]).abs().max() < 1e-5
    assert (ours - theirs).abs().max() < 0.05
    assert theirs.std(0).min() > 0.1, "nothing was learnt, so nothing was compared"


def test_loss_curves_of_dcgan_agree_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_SMALL", 0)
    monkeypatch.setattr(convolution, "_LARGE", 0)
    torch.manual_seed(0)
    ours, theirs = loss_curves(Course("dcgan-64", batch_size=4, width=4), steps=4)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_loss_curves_of_r3gan_agree_too() -> None:
    torch.manual_seed(0)
    ours, theirs = loss_curves(Course("r3gan-32", batch_size=4, width=32), steps=4)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert theirs.std(0).min() > 1e-4, "nothing moved, so nothing was compared"


def test_needed_operations_are_those_of_the_layers() -> None:
    """Per image, by hand: a turn of D has no gradient by x, a turn of G none by D's weights."""
    dense, outer, inner, head = 2 * 100 * 6272, 2 * 25 * 64 * 14 * 14, 2 * 25 * 64 * 128 * 7 * 7, 2 * 6272
    G, D = dense + inner + outer, outer + inner + head
    turn_of_D = G + 2 * D + 2 * (2 * head + 2 * inner + outer)
    turn_of_G = G + D + (head + inner + outer) + (2 * outer + 2 * inner + dense)
    assert needed_flops(Course(batch_size=4)) == 4 * (turn_of_D + turn_of_G)


def test_a_race_tells_ratios_of_neighbours_and_shares_of_the_peak() -> None:
    result = Race(
        course=Course(batch_size=10),
        steps=1,
        flops=600,
        seconds={"textbook": [4.0, 8.0, 6.0], "sparring": [2.0, 2.0, 2.0]},
        precision={"textbook": "fp32", "sparring": "bf16"},
        peaks={"fp32": [300.0, 150.0, 200.0], "bf16": [600.0, 600.0, 1200.0]},
    )
    assert result.speedup("sparring") == (3.0, 2.0, 4.0)
    assert result.share_of_peak("textbook") == pytest.approx(0.5)
    assert result.share_of_peak("sparring") == pytest.approx(0.5)
    told = result.as_json()["contenders"]["sparring"]
    assert told["images_per_second"] == 5.0
    assert told["speedup"] == {"median": 3.0, "least": 2.0, "most": 4.0}


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_takes_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Trainer] = []
    compiled: list[torch.nn.Module] = []

    def build(*how: Any) -> Trainer:
        built.append(build_trainer(*how))
        return built[-1]

    monkeypatch.setattr(contenders, "build_trainer", build)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))  # it would take a minute
    with ExitStack() as stack:
        block, precision = CONTENDERS[name](Course(batch_size=4), stack)
        kernels = {"sparring": ["fast"], "sparring-fp32": ["fast"], "sparring-plain": ["plain"]}
        assert [trainer.config.kernels for trainer in built] == kernels.get(name, [])
        assert len(compiled) == (2 if name == "compiled" else 0)
        assert block(2) is None
    assert precision in PEAKS
    assert not is_plain()


def test_a_worker_answers_until_the_other_end_hangs_up() -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = threading.Thread(target=_work, args=("textbook", Course(batch_size=4), theirs))
    worker.start()
    assert _ask(ours, 1) == "fp32"
    assert 0 < _ask(ours, 2) < 60
    ours.close()
    worker.join(60)
    assert not worker.is_alive()


@pytest.mark.slow
def test_a_race_in_processes() -> None:
    result = race(["sparring-fp32"], Course(batch_size=4), rounds=2, steps=1)
    assert [len(blocks) for blocks in result.seconds.values()] == [2, 2]
    assert set(result.peaks) == {"fp32"}


def test_an_unknown_contender_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed", "--contenders", "sparing"]) == 2
    assert "sparring" in capsys.readouterr().err


def test_what_cannot_be_compiled_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed", "--network", "r3gan-32", "--contenders", "sparring", "compiled"]) == 2
    assert "--contenders compiled: torch.compile differentiates once" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--rounds 0", "--steps 0", "--threads 0", "--batch-size 1"])
def test_a_count_too_small_is_one_sentence(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "speed", *words.split()]) == 2
    assert f"sparring: {words}: give" in capsys.readouterr().err
