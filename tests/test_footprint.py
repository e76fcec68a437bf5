"""How much a turn keeps, by hand; and batches in pieces that fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sparring
from sparring import footprint
from sparring.cli import main
from sparring.config import TrainConfig
from sparring.data import open_data
from sparring.errors import UsageError
from sparring.footprint import in_pieces, memory_of, turn_bytes
from sparring.runtime import Runtime
from sparring.session import plan_config

RING = {"precision": "fp32", "device": "cpu", "threads": 1, "batch_size": 48}
FLOAT = 4


def config_of(**settings: Any) -> TrainConfig:
    return plan_config("ring", "minimax", RING | settings)


def kept(config: TrainConfig) -> float:
    return turn_bytes(config, open_data("ring"), Runtime.pick(config))


def test_what_a_turn_keeps_by_hand() -> None:
    """In D's turn, of a real and a fake sample: two coordinates, what goes into each slope and comes out, and a logit."""
    width = 1000
    assert kept(config_of(g={"width": width}, d={"width": width})) == FLOAT * 2 * (2 + 3 * 2 * width + 1)


def test_a_penalty_keeps_more() -> None:
    assert kept(config_of(penalty=("r1:1",))) > 1.2 * kept(config_of())


def pieces(monkeypatch: pytest.MonkeyPatch, share: float, **settings: Any) -> int:
    """Return how many pieces there are where memory holds this share of the turn."""
    config = config_of(**settings)
    whole = footprint._BACKWARD * kept(config) * config.batch_size / footprint._SHARE
    monkeypatch.setattr(footprint, "memory_of", lambda device: int(share * whole))
    fitting = in_pieces(config, open_data("ring"), Runtime.pick(config))
    assert fitting.batch_size == config.batch_size
    return fitting.accumulate


@pytest.mark.parametrize(("share", "count"), [(1.01, 1), (0.99, 2), (0.35, 3), (0.3, 4), (0.045, 24)])
def test_as_few_pieces_as_fit(monkeypatch: pytest.MonkeyPatch, share: float, count: int) -> None:
    assert pieces(monkeypatch, share) == count


def test_a_piece_splits_into_packs_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """In thirds 16 remain, which is no multiple of 3; in quarters 12."""
    assert pieces(monkeypatch, 0.35, stabilizer=("packing:3",)) == 4


def test_too_little_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"a sample takes .* GiB in a turn, and cpu has"):
        pieces(monkeypatch, 0.01)


def test_unknown_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "memory_of", lambda device: None)
    with pytest.raises(UsageError, match="give --accumulate"):
        in_pieces(config_of(), open_data("ring"), Runtime.pick(config_of()))


def test_the_processor_has_memory_and_nothing_else_is_asked() -> None:
    found = memory_of(torch.device("cpu"))
    assert found is None or found > 2**28
    assert memory_of(torch.device("meta")) is None


def test_a_network_that_plays_alone_is_split_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "memory_of", lambda device: 10**11)
    config = plan_config("digits", "vae", {})
    assert in_pieces(config, open_data("digits"), Runtime.pick(config)) == config


def test_the_command_takes_it_and_the_run_remembers_the_pieces(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(footprint, "in_pieces", in_pieces)
    monkeypatch.setattr(footprint, "_SHARE", 1e-6)
    monkeypatch.setattr(footprint, "memory_of", lambda device: 10**11)
    words = ["train", "ring", "--preset", "minimax", "--steps", "3", "--eval-every", "0", "--out", str(tmp_path)]
    assert main([*words, "--batch-size", "auto"]) == 0
    config = json.loads((tmp_path / "00000-ring-minimax" / "config.json").read_text())
    assert config["batch_size"] == 128
    assert config["accumulate"] > 1
    assert f"a batch in {config['accumulate']} pieces" in capsys.readouterr().out
    assert main([*words, "--batch-size", "auto", "--accumulate", "2"]) == 2
    assert "give one of them" in capsys.readouterr().err
    again = sparring.train("ring", preset="minimax", batch_size="auto", steps=4, eval_every=0, out=tmp_path)
    assert again.path.name == "00000-ring-minimax"
