"""The command line as a user meets it: words in, sentences and exit codes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparring import load, open_data
from sparring.augment import AUGMENTATIONS
from sparring.cli import main
from sparring.cli.console import console_observer
from sparring.losses import LOSSES
from sparring.networks import NETWORKS
from sparring.penalties import PENALTIES
from sparring.presets import PRESETS
from sparring.stabilizers import STABILIZERS

QUICK = [
    "--steps",
    "6",
    "--threads",
    "1",
    "--eval-every",
    "3",
    "--eval-share",
    "1",
    "--eval-samples",
    "50",
    "--log-every",
    "1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    words = ["train", "digits", *QUICK, "--batch-size", "8", "--g.width", "4", "--d.width", "4", "--out", str(out)]
    assert main(words) == 0
    (path,) = out.iterdir()
    return path


WRONG = [
    (["train", "digits", "--loss", "hing"], "--loss hing: unknown name 'hing'; did you mean 'hinge'?"),
    (["train", "digits", "--g.lr", "-1"], "--g.lr -1.0: input should be greater than 0"),
    (["train", "digits", "--los", "hinge"], "Did you mean --loss?"),
    (["train", "no/such/folder"], "'no/such/folder' is neither a data set nor an existing folder or file"),
    (["train", "digits", "--steps", "abc"], "--steps abc: input should be a valid integer"),
    (["train", "digits", "--fit", "x"], "--fit x: input should be 'crop', 'pad' or 'stretch'"),
    (["train", "digits", "--g.norm", "spectral"], "--g.norm spectral: input should be"),
    (["train", "digits", "--channels", "2"], "--channels 2: choose 1 for grey or 3 for colour"),
    (["train", "ring", "--augment", "translation"], "points cannot be augmented"),
    (["train", "digits", "--data", "ring"], "Unknown option: --data"),
    (["train", "digits", "--augment", "flip"], "--augment flip: unknown name 'flip'"),
    (["train"], "say what to train on"),
    (["train", "digits", "--preset", "dcgn"], "did you mean 'dcgan'?"),
    (["train", "digits", "--steps", "5", "--epochs", "5"], "one of --steps, --epochs and --images"),
    (["train", "ring", "--network", "dcgan"], "'dcgan' cannot make samples of shape 2"),
    (["train", "digits", "--resolution", "36", "--network", "case-study"], "it makes 28×28 images"),
    (["train", "digits", "--device", "tpu"], "--device"),
    (["train", "digits", "--resume", "no/run"], "is not a run directory"),
    (["sample", "no/run"], "there is no run or checkpoint at no/run"),
    (["report", "no/run"], "is not a run directory"),
    (["explain", "hing"], "did you mean 'hinge'?"),
    (["info", "dcgn"], "did you mean 'dcgan'?"),
    (["list", "loses"], "losses"),
    (["trian", "digits"], "train"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_input_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("sparring: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert list(in_tmp.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["list", "losses"], ["list", "presets"], ["explain", "r1"]]
)
def test_words_and_tables_need_no_torch(words: list[str]) -> None:
    code = f"import sys; from sparring.cli import main; main({words!r}); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) > 200


def test_import_needs_no_torch_and_names_resolve() -> None:
    code = "import sparring, sys; assert 'torch' not in sys.modules; [getattr(sparring, n) for n in sparring.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("losses", LOSSES),
        ("penalties", PENALTIES),
        ("stabilizers", STABILIZERS),
        ("augmentations", AUGMENTATIONS),
        ("networks", NETWORKS),
        ("presets", PRESETS),
    ],
)
def test_list_shows_every_row_and_explain_knows_it(
    table: str, names: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", table]) == 0
    shown = capsys.readouterr().out
    for name in names:
        assert name in shown
        assert main(["explain", name]) == 0
        explained = capsys.readouterr().out
        assert "arXiv" in explained
        assert "when" in explained


def test_train_says_where_everything_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "train",
                "digits",
                *QUICK,
                "--batch-size",
                "8",
                "--g.width",
                "4",
                "--d.width",
                "4",
                "--out",
                str(run.parent),
            ]
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "resumes at step 6 of 6" in out
    assert "complete already" in out
    assert "report.html" in out
    assert (run / "report.html").exists()
    assert "FD" in out
    assert list((run / "tensorboard").iterdir())


def test_sample_writes_a_grid_or_a_folder(run: Path, in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "-n", "9", "--out", "grid.png"]) == 0
    with Image.open("grid.png") as grid:
        assert grid.size == (3 * 34 + 2, 3 * 34 + 2)
    assert main(["sample", str(run), "-n", "5", "--seed", "2", "--out", "many"]) == 0
    assert sorted(path.name for path in Path("many").iterdir()) == [f"{index:06d}.png" for index in range(5)]
    assert capsys.readouterr().out == "grid.png\nmany\n"
    for words in (["-n", "0"], ["-n", "0", "--out", "none"], ["--out", "grid.jpg"], ["--device", "nowhere"]):
        assert main(["sample", str(run), *words]) == 2


def test_sample_writes_an_array_that_is_data_again(run: Path, in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(run), "-n", "5", "--out", "new/made.npy"]) == 0
    pictures = load(run).images(5)
    assert np.array_equal(open_data("new/made.npy").samples[:, 0], np.stack([np.asarray(each) for each in pictures]))
    assert main(["sample", str(run), "--out", "made.csv"]) == 2
    assert (
        "generates images; give a .png file for one picture, a .npy file for an array, or a folder"
        in capsys.readouterr().err
    )


def test_points_go_from_a_table_into_a_table(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = 1e3 * np.random.default_rng(0).normal(size=(64, 2))
    np.savetxt("mine.csv", points, delimiter=",")
    size = ["--g.width", "4", "--d.width", "4", "--batch-size", "8", "--steps", "2"]
    assert main(["train", "mine.csv", *size]) == 0
    run = Path("runs/00000-mine-points")
    assert main(["sample", str(run), "-n", "300", "--out", "made.csv"]) == 0
    assert main(["sample", str(run), "-n", "300", "--out", "made.npy"]) == 0
    assert Path("made.csv").read_text().startswith("x,y\n")
    samples = load(run).sample(300).numpy()
    assert np.array_equal(open_data("made.csv").samples, samples)
    assert np.array_equal(open_data("made.npy").samples, samples)
    assert main(["sample", str(run), "--out", "many"]) == 2
    assert (
        "generates points; give a .png file for one picture, a .npy file for an array, or a .csv"
        in capsys.readouterr().err
    )
    assert main(["evaluate", "made.csv", "--against", "mine.csv"]) == 0


def test_info_shows_both_players(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "mnist-dcgan"]) == 0
    out = capsys.readouterr().out
    assert "840,001" in out
    assert "212,993" in out
    assert "Generator G" in out
    assert "Discriminator D" in out
    assert main(["info", str(run)]) == 0
    assert "images seen" in capsys.readouterr().out
    assert main(["info", "dcgan32"]) == 0
    assert "1×32×32" in capsys.readouterr().out
    assert main(["info", "dcgan32", "--shape", "3", "48", "48"]) == 0
    assert "3×48×48" in capsys.readouterr().out
    assert main(["info", "dcgan", "--shape", "1", "32", "32"]) == 0
    assert "1×32×32" in capsys.readouterr().out
    assert main(["info", "case-study"]) == 0, "a network, at its own size"
    assert "840,001" in capsys.readouterr().out


def test_a_config_file_reproduces_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", str(run / "config.json"), "--out", str(tmp_path)]) == 0
    (again,) = tmp_path.iterdir()
    assert (again / "events.jsonl").read_bytes() == (run / "events.jsonl").read_bytes()
    assert main(["train", "--config", "missing.toml"]) == 2
    assert "--config: cannot read missing.toml" in capsys.readouterr().err


def test_flags_on_top_of_a_preset(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "train digits --preset mnist-dcgan --loss hinge --penalty r1:0.1 --g.lr 1e-4 --steps 2 --seed 3 --out runs/"
    assert main([*words.split(), "--threads", "1", "--eval-every", "0", "--batch-size", "4"]) == 0
    config = json.loads(Path("runs/00000-digits-mnist-dcgan/config.json").read_text())
    assert (config["loss"], config["penalty"], config["g"]["lr"], config["seed"]) == ("hinge", ["r1:0.1"], 1e-4, 3)
    assert (config["network"], config["real_label"]) == ("case-study", 1.0)


def test_own_images_from_a_folder(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(6):
        Image.new("RGB", (20 + index, 30), (40 * index, 0, 99)).save(f"{index}.png")
    Path("notes.txt").write_text("not an image")
    Path("broken.png").write_bytes(b"\x89PNG nothing")
    words = [
        "--steps",
        "2",
        "--batch-size",
        "4",
        "--resolution",
        "16",
        "--channels",
        "3",
        "--g.width",
        "4",
        "--d.width",
        "4",
        "--threads",
        "1",
    ]
    assert main(["train", ".", *words, "--out", "runs"]) == 0
    out = capsys.readouterr().out
    assert "6 samples of 3×16×16" in out
    assert "2 files left out:" in out
    assert "1 thread\n" in out or "1 thread," in out
    assert "broken.png" in out
    assert "no extractor knows this data" in out
    (path,) = Path("runs").iterdir()
    assert main(["sample", str(path), "-n", "2", "--out", "s.png"]) == 0


@pytest.mark.parametrize(
    ("value", "shown"), [(23.456, "FD 23.46"), (0.1, "FD 0.10"), (0.00234, "FD 0.0023"), (0.0, "FD 0")]
)
def test_a_small_distance_is_not_shown_as_none(value: float, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    console_observer()({"event": "eval", "step": 1, "fd": value})
    assert shown in capsys.readouterr().out
