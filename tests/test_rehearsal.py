"""The dry run: what a run will take, measured on a few of its steps, and nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sparring
from sparring.cli import main
from sparring.config import TrainConfig
from sparring.rehearsal import FlopCounter, _period, peak_memory, rehearse
from tests.tools import small_config

QUICK: dict[str, Any] = {
    "steps": 40,
    "batch_size": 8,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "seconds": 0.05,
}


def test_products_are_counted_forward_and_backward_and_twice() -> None:
    layer, x = nn.Linear(30, 20, bias=False), torch.randn(10, 30, requires_grad=True)
    once = 2 * 10 * 30 * 20
    with FlopCounter() as counter:
        y = layer(x)
    assert counter.total == once
    with FlopCounter() as counter:
        torch.autograd.grad(y.sum(), (x, layer.weight))
    assert counter.total == 2 * once
    critic = nn.Sequential(nn.Linear(30, 20, bias=False), nn.Tanh(), nn.Linear(20, 1, bias=False))
    with FlopCounter() as counter:
        (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        torch.autograd.grad(slope.square().sum(), list(critic.parameters()))
    assert counter.total > 4 * once


def test_convolutions_are_counted() -> None:
    with FlopCounter() as counter:
        nn.functional.conv2d(torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3), padding=1)
    assert counter.total == 2 * 2 * 5 * 8 * 8 * 3 * 9


def test_operations_are_those_of_the_networks_whatever_computes_them(in_tmp: Path) -> None:
    settings = QUICK | {"batch_size": 16, "g": {"width": 32}, "d": {"width": 32}}
    found = [rehearse("digits", preset="mnist-dcgan", kernels=kernels, **settings) for kernels in ("fast", "plain")]
    assert found[0].flops == found[1].flops > 1e7


def test_a_dry_run_measures_and_writes_nothing(in_tmp: Path) -> None:
    found = rehearse("ring", network="mlp", g={"width": 16}, d={"width": 16}, **QUICK)
    run = sparring.train(
        "ring",
        network="mlp",
        g={"width": 16},
        d={"width": 16},
        **{k: v for k, v in QUICK.items() if k != "seconds"},
        eval_every=0,
    )
    assert found.steps == 40
    assert found.images == 320
    weights = sum(p.numel() for p in run.generator().network.parameters())
    assert found.parameters["G"] == weights
    assert found.images_per_second > 0
    assert found.seconds >= found.images / found.images_per_second
    assert found.evaluation_seconds > 0
    assert [path.name for path in in_tmp.iterdir()] == ["runs"]


def test_longer_runs_take_longer() -> None:
    short, long = (rehearse("ring", **QUICK | {"steps": steps, "eval_every": 0}) for steps in (40, 4000))
    assert long.images == 100 * short.images
    assert long.seconds > 10 * short.seconds


@pytest.mark.parametrize(
    ("settings", "period"),
    [
        ({}, 1),
        ({"penalty": ("r1:1",), "penalty_every": 4}, 4),
        ({"penalty": ("r1:1",), "penalty_every": 4, "d": {"steps": 2}}, 2),
        ({"alternate": 6}, 6),
    ],
)
def test_the_period_holds_every_kind_of_turn(settings: dict[str, Any], period: int) -> None:
    config: TrainConfig = small_config("ring", **settings)
    assert _period(config) == period


def test_the_command_says_it_in_plain_words(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "ring", "--steps", "20", "--threads", "1", "--g.width", "8", "--d.width", "8", "--dry-run"]
    assert main(words) == 0
    told = capsys.readouterr().out
    for part in (
        "players G",
        "parameters",
        "GFLOP a real image",
        "images/s",
        "20 steps",
        "MiB at most",
        "nothing was written",
    ):
        assert part in told
    assert list(in_tmp.iterdir()) == []


def test_wrong_settings_are_refused_as_by_training(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ring", "--network", "dcgan", "--dry-run"]) == 2
    assert "'dcgan' cannot make samples of shape 2" in capsys.readouterr().err
    assert list(in_tmp.iterdir()) == []


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory(torch.device("cpu"))
    held = torch.ones(64 << 20)
    assert peak_memory(torch.device("cpu")) >= max(before, held.nbytes)
