"""Either the old checkpoint or the new one, whole; foreign and damaged files are refused with a sentence."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sparring import checkpoint as module
from sparring.checkpoint import (
    Checkpoint,
    check_fits,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    prune,
    quarantine,
    save_checkpoint,
    sweep,
)
from sparring.errors import CheckpointError


def example(value: float) -> Checkpoint:
    return Checkpoint(
        {"G": {"weight": torch.full((2, 3), value), "count": torch.tensor(7)}, "D": {"bias": torch.zeros(4)}},
        {"step": int(value)},
    )


def test_round_trip(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "00000001", example(1))
    loaded = load_checkpoint(tmp_path / "00000001")
    assert loaded.state == {"step": 1}
    assert loaded.parts.keys() == {"G", "D"}
    assert torch.equal(loaded.parts["G"]["weight"], torch.ones(2, 3))
    assert loaded.parts["G"]["count"].dtype == torch.int64
    assert load_checkpoint(tmp_path / "00000001", {"D"}).parts.keys() == {"D"}


@pytest.mark.parametrize("replace", [False, True], ids=["new", "replacing"])
@pytest.mark.parametrize("call", ["fsync", "mkdir", "rename", "open"])
def test_every_failure_leaves_the_old_state_whole(
    call: str, replace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail the n-th call for every n until the save goes through."""
    target = tmp_path / "00000002"
    save_checkpoint(tmp_path / "00000001", example(1))
    if replace:
        save_checkpoint(target, example(5))
    owner: object = os if call in ("fsync", "rename") else Path
    original: Callable[..., object] = getattr(owner, call)
    for fail_at in range(1, 60):
        calls = 0

        def failing(*args: object, _fail_at: int = fail_at, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == _fail_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, call, failing)
            try:
                save_checkpoint(target, example(2))
                failed = False
            except OSError:
                failed = True
        assert load_checkpoint(tmp_path / "00000001").state == {"step": 1}
        if not failed:
            break
        if target.exists():
            assert load_checkpoint(target).state["step"] in ({5, 2} if replace else {2})
        else:
            assert not replace, "what was there before stands"
    else:
        pytest.fail("the save never went through")
    assert fail_at > 1
    assert load_checkpoint(target).state == {"step": 2}
    assert not list(tmp_path.glob(".*.tmp"))


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "00000001", example(1))
    (tmp_path / ".00000002.123.tmp").mkdir()
    (tmp_path / ".00000000.123.old").mkdir()
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


@pytest.mark.parametrize("place", range(0, 300, 17))
def test_any_changed_byte_is_noticed(place: int, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "00000001", example(1))
    for path in sorted((tmp_path / "00000001").glob("*.safetensors")):
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 0x40
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(tmp_path / "00000001")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("{", "not JSON"),
        ("[]", "lacks its files"),
        ('{"files": {}, "state": 3}', "lacks its files"),
        ('{"files": {"../x": {"sha256": ""}}, "state": {}, "format": 2}', "lacks its files"),
        ('{"files": {"G.safetensors": {}}, "state": {}, "format": 2}', "lacks its files"),
        ('{"files": {}, "state": {}, "format": 99}', "reads format 2"),
        ('{"files": {"G.safetensors": {"sha256": "00"}}, "state": {}, "format": 2}', "cannot be read"),
    ],
)
def test_odd_manifests_are_refused(manifest: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(tmp_path)


def test_a_safetensors_file_that_lies_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "1", example(1))
    bad = (10**6).to_bytes(8, "little") + b"{}"
    (tmp_path / "1" / "G.safetensors").write_bytes(bad)
    manifest = json.loads((tmp_path / "1" / "manifest.json").read_text())
    manifest["files"]["G.safetensors"]["sha256"] = module.hashlib.sha256(bad).hexdigest()
    (tmp_path / "1" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"G\.safetensors is damaged"):
        load_checkpoint(tmp_path / "1")


def test_missing_folder_and_missing_part(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "nothing")
    save_checkpoint(tmp_path / "1", example(1))
    with pytest.raises(CheckpointError, match="no part 'G_ema'"):
        load_checkpoint(tmp_path / "1", {"G_ema"})


def test_non_finite_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="G 'w' is not finite"):
        save_checkpoint(tmp_path / "1", Checkpoint({"G": {"w": torch.tensor([1.0, torch.nan])}}))
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"bias": torch.zeros(3)}, "lacks 'weight'"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "x": torch.zeros(1)}, "has 'x'"),
        ({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, r"'weight' is \(3, 4\)"),
        ({"weight": torch.zeros(3, 2).half(), "bias": torch.zeros(3)}, "float16"),
    ],
)
def test_what_does_not_fit_the_network_is_named(tensors: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        check_fits("G", tensors, nn.Linear(2, 3).state_dict())


def test_optimizer_state_goes_through_and_bad_state_is_refused() -> None:
    def trained() -> tuple[nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = nn.Linear(2, 3)
        return layer, torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)

    layer, optimizer = trained()
    for _ in range(3):
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    flat = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
    assert flat.keys() == {f"{index}.{key}" for index in (0, 1) for key in ("step", "exp_avg", "exp_avg_sq")}
    twin, other = trained()
    twin.load_state_dict(layer.state_dict())
    load_optimizer_tensors(other, flat)
    for network, player in ((layer, optimizer), (twin, other)):
        player.zero_grad()
        network(torch.ones(1, 2)).sum().backward()
        player.step()
    assert torch.equal(layer.weight, twin.weight)
    with pytest.raises(CheckpointError, match="fits no parameter"):
        load_optimizer_tensors(other, {"0.exp_avg": torch.zeros(5)})
    with pytest.raises(CheckpointError, match="fits no parameter"):
        load_optimizer_tensors(other, {"9.exp_avg": torch.zeros(2)})


def test_prune_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    paths = [tmp_path / f"{step:08d}" for step in range(1, 6)]
    for path in paths:
        save_checkpoint(path, example(1))
    prune(paths, 2, paths[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000002", "00000004", "00000005"]


def test_quarantine_moves_it_out_of_the_way(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "00000001", example(1))
    quarantine(tmp_path / "00000001")
    assert [path.name for path in tmp_path.iterdir()] == ["00000001.damaged"]
