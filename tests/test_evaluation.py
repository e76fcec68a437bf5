"""Measuring runs and folders: what is asked for is measured, against the right data, with its protocol."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sparring
from sparring.cli import main
from sparring.data import open_data
from sparring.errors import UsageError
from sparring.evaluation import evaluate
from sparring.pictures import to_images
from sparring.runs import RunDirectory
from sparring.scores import stored_scores

SMALL = {
    "steps": 2,
    "batch_size": 8,
    "threads": 1,
    "eval_every": 0,
    "sample_every": 0,
    "resolution": 32,
    "device": "cpu",
}


def write_images(folder: Path, x: torch.Tensor) -> Path:
    folder.mkdir(parents=True)
    for index, picture in enumerate(to_images(x)):
        picture.save(folder / f"{index:04}.png")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of 60 digits each: two of different ones, and one that copies the first."""
    base, data = tmp_path_factory.mktemp("digits"), open_data("digits")
    first, second = (data.batch(np.arange(start, start + 60))[0] for start in (0, 60))
    noise = 0.02 * torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    parts = {"first": first, "second": second, "copies": first + noise, "few": first[:20]}
    return {name: write_images(base / name, x) for name, x in parts.items()}


@pytest.fixture(scope="module")
def run(digits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    preset = {"preset": "dcgan32", "g": {"width": 4}, "d": {"width": 4}, "precision": "fp32"}
    return sparring.train(str(digits["first"]), out=tmp_path_factory.mktemp("runs"), **SMALL, **preset).path


def values(found: sparring.Evaluation) -> dict[str, float]:
    return {score.metric: float(score.value) for score in found.scores}


def test_a_folder_against_itself_is_nearly_perfect(digits: dict[str, Path]) -> None:
    found = values(evaluate(digits["first"], digits["first"], features="digits-v1"))
    assert found["fd"] < 1
    assert min(found["precision"], found["recall"], found["coverage"]) > 0.9
    assert found["copies"] > 0.8  # 54 of 60: the rest was held out


def test_copies_are_caught_and_fresh_images_are_not(digits: dict[str, Path]) -> None:
    copies = evaluate(digits["copies"], digits["first"], metrics=["memorization"], features="digits-v1")
    fresh = evaluate(digits["second"], digits["first"], metrics=["memorization"], features="digits-v1")
    assert copies.copying is not None
    assert fresh.copying is not None
    assert (copies.copying.verdict, fresh.copying.verdict) == ("copies", "no copying found")
    assert values(copies)["copies"] > 0.5 > 0.1 > values(fresh)["copies"]
    assert copies.pairs.size == fresh.pairs.size


def test_the_protocol_says_what_was_compared(digits: dict[str, Path]) -> None:
    (score,) = evaluate(digits["second"], digits["first"], metrics=["fid"], features="digits-v1", n=40).scores
    assert score.protocol.short().startswith("fd[digits-v1@0d86a89f u8-luma-bilinear-antialias-28 n40/54 first/train@")
    assert score.protocol.short().endswith(" seed1 files]")
    assert score.value.low <= score.value <= score.value.high


def test_a_run_is_measured_against_its_own_data_and_the_same_every_time(run: Path) -> None:
    found = [evaluate(run, metrics=["fd", "kd"], features="digits-v1", n=50) for _ in range(2)]
    assert found[0].as_json() == found[1].as_json()
    assert {score.step for score in found[0].scores} == {2}
    assert "seed1 ema" in found[0].scores[0].protocol.short()
    other = evaluate(run, metrics=["fd"], features="digits-v1", n=50, seed=2)
    assert "seed2 ema" in other.scores[0].protocol.short()
    assert not torch.equal(other.subject.sample(0, 4), found[0].subject.sample(0, 4))


def test_what_needs_a_generator_gets_it(run: Path) -> None:
    found = evaluate(run, metrics=["path"], features="digits-v1", n=20)
    assert set(values(found)) == {"path_length"}
    assert values(found)["path_length"] > 0


def test_the_discriminator_is_asked_about_what_it_has_not_seen(tmp_path: Path) -> None:
    path = sparring.train("digits", out=tmp_path, preset="dcgan32", g={"width": 4}, d={"width": 4}, **SMALL).path
    (score,) = evaluate(path, metrics=["gap"], n=20).scores
    assert score.metric == "discriminator_gap"
    assert score.protocol.n_reference == 2000


def test_points_are_measured_in_the_plane(tmp_path: Path) -> None:
    found = values(evaluate("ring", "ring", metrics=["modes", "fd"], n=2000))
    assert found["modes"] == 8
    assert found["high_quality"] > 0.97
    assert found["fd"] < 1e-3


def test_a_module_of_ones_own_makes_the_features(digits: dict[str, Path]) -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3)).repeat(1, 2) * torch.tensor([1.0, 2.0])

    found = evaluate(digits["second"], digits["first"], metrics=["fd"], features=Mean())
    assert found.scores[0].protocol.extractor == "Mean"
    assert values(found)["fd"] >= 0


WRONG = [
    (["evaluate", "no/such"], "there is no run, folder or zip at no/such"),
    (["evaluate", "{first}"], "--against: say what first shall be measured against"),
    (["evaluate", "{first}", "--against", "ring"], "--against ring: it holds points, but first holds images"),
    (["evaluate", "{first}", "--against", "{second}", "-n", "99"], "-n 99: first holds 60 samples only"),
    (["evaluate", "{first}", "--against", "{second}", "--metrics", "fidd"], "--metrics: unknown name 'fidd'"),
    (["evaluate", "{first}", "--against", "{second}", "--features", "vgg"], "unknown name 'vgg'"),
    (
        ["evaluate", "{first}", "--against", "{second}", "--features", "digits-v1", "--metrics", "ppl"],
        "--metrics path: it needs",
    ),
    (
        ["evaluate", "{first}", "--against", "{few}", "--split", "held-out", "--features", "digits-v1"],
        "--split held-out: nothing of few is held out",
    ),
    (
        ["evaluate", "ring", "--against", "ring", "--metrics", "spread"],
        "--metrics spread: it cannot be measured of ring",
    ),
    (
        ["evaluate", "ring", "--against", "ring", "--metrics", "gap"],
        "--metrics gap: it needs a run",
    ),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_input_is_one_sentence(
    words: list[str], said: str, digits: dict[str, Path], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(**digits, run=run) for word in words]
    assert main(given) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_data_that_changed_since_training_are_not_measured_against(
    run: Path, digits: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"data": str(digits["second"])}))
    with pytest.raises(UsageError, match="has changed; name the data"):
        evaluate(moved, features="digits-v1")


def test_the_command_keeps_scores_and_draws_pairs_and_compare_reads_them(
    run: Path, digits: dict[str, Path], in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(run),
        "--features",
        "digits-v1",
        "-n",
        "40",
        "--metrics",
        "fd,memorization",
        "--json",
        "a.json",
    ]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "protocol [digits-v1@0d86a89f" in told
    assert "verdict  no copying found" in told
    assert (run / "copies.png").is_file()
    written = json.loads(Path("a.json").read_text())
    assert [row["metric"] for row in written["scores"]] == ["fd", "copies", "pixel_copies", "copying_z"]
    kept = {
        (score.metric, score.protocol.n_generated): float(score.value) for score in stored_scores(RunDirectory(run))
    }
    assert all(kept[row["metric"], 40] == row["value"] for row in written["scores"])
    assert main(["compare", str(run), str(run), "--json", "b.json"]) == 0
    assert "protocol fd[digits-v1" in capsys.readouterr().out
    assert Path("compare.png").is_file()
    (first, second) = json.loads(Path("b.json").read_text())
    assert first == second
    assert not math.isnan(first["scores"][0]["value"])


@pytest.mark.slow
@pytest.mark.parametrize(("known", "verdict"), [("few", "copies"), ("digits", "no copying found")])
def test_a_run_that_memorizes_is_caught_and_one_that_does_not_is_not(
    known: str, verdict: str, digits: dict[str, Path], tmp_path: Path
) -> None:
    """The same recipe for as long: on twenty digits it learns them by heart, on all of them it does not."""
    recipe = {"preset": "dcgan32", "batch_size": 16, "steps": 3000, "augment": (), "eval_every": 0, "sample_every": 0}
    run = sparring.train(str(digits.get(known, known)), out=tmp_path, threads=1, **recipe)
    found = evaluate(run.path, metrics=("memorization",), features="digits-v1", n=500)
    assert found.copying is not None
    assert found.copying.verdict == verdict
