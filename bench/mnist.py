"""Quality on MNIST: sparring's full-MNIST preset beside the textbook loop, for the same number of images.

    python bench/mnist.py --data-root DATA [--images 600000] [--threads 1] [--only sparring|textbook]

Prints one table and writes ``bench/results/mnist/``: the run's config and curve, a sample grid of each, and the scores. Both are
scored in the same way: Fréchet distance and class KL of 10,000 samples on digits-v1 features against the 10,000 test
images; the floor is 10,000 training images in their place. Each loop can be run alone; the table holds what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import sparring
from sparring.data import Data, open_data
from sparring.metrics.judge import Judge, build_judge, floor
from sparring.pictures import image_grid, save_png
from sparring.trainer import EVALUATION_SEED
from textbook import train as train_textbook

RESULTS = Path(__file__).parent / "results" / "mnist"
SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds MNIST")
    parser.add_argument("--images", type=int, default=600_000, help="real images that each loop plays against")
    parser.add_argument("--penalty", default="r1:0.05", help="the preset's own, or none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["sparring", "textbook"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    RESULTS.mkdir(parents=True, exist_ok=True)
    data = open_data("mnist", data_root=options.data_root)
    judge = build_judge(data, SAMPLES, EVALUATION_SEED)
    assert judge is not None
    write("floor", {"scores": floor(data, judge).values, "protocol": floor(data, judge).protocol})
    if options.only != "textbook":
        write("sparring", run_sparring(options, judge))
    if options.only != "sparring":
        write("textbook", run_textbook(options, data, judge))
    print_table()


def run_sparring(options: argparse.Namespace, judge: Judge) -> dict[str, Any]:
    """Train with the preset, score the best checkpoint, keep config, curve and grid."""
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        run = sparring.train(
            "mnist",
            data_root=options.data_root,
            images=options.images,
            penalty=options.penalty,
            threads=options.threads,
            seed=options.seed,
            out=out,
        )
        seconds = time.perf_counter() - began
        gan = run.generator()
        config = run.directory.config() | {"data_root": None}
        (RESULTS / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        shutil.copy(run.directory.events_file, RESULTS / "events.jsonl")
        save_png(image_grid(gan.sample(100, seed=options.seed)), RESULTS / "sparring.png", f"step {gan.step}")
        batches = gan.batches(SAMPLES, EVALUATION_SEED)
        scores = judge.score(lambda first, count: next(batches))
        step, total = gan.step, run.directory.events("log")[-1]["step"]
    return facts(options) | {
        "scores": scores.values,
        "protocol": scores.protocol,
        "seconds": seconds,
        "images": total * config["batch_size"],
        "best_step": step,
    }


def run_textbook(options: argparse.Namespace, data: Data, judge: Judge) -> dict[str, Any]:
    """Train the textbook loop for as many images, score its last state."""
    images, _ = data.batch(torch.arange(len(data)).numpy())
    steps = round(options.images / 128)
    began = time.perf_counter()
    netG = train_textbook(images, steps, 128, options.seed)
    seconds = time.perf_counter() - began
    torch.manual_seed(EVALUATION_SEED)
    with torch.no_grad():
        scores = judge.score(lambda first, count: netG(torch.randn(count, 100)))
        torch.manual_seed(options.seed)
        save_png(image_grid(netG(torch.randn(100, 100))), RESULTS / "textbook.png", f"textbook loop, step {steps}")
    return facts(options) | {
        "scores": scores.values,
        "protocol": scores.protocol,
        "seconds": seconds,
        "images": steps * 128,
    }


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a number needs beside it."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "command": f"python bench/mnist.py --data-root DATA --images {options.images} --penalty {options.penalty} "
        f"--threads {options.threads}",
        "seed": options.seed,
        "versions": {"sparring": sparring.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": options.threads},
        "commit": commit.stdout.strip(),
    }


def write(name: str, result: dict[str, Any]) -> None:
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")


def print_table() -> None:
    """Print the results that are there."""
    print(f"{'':10} {'FD':>7} {'class KL':>9} {'classes':>8} {'images':>9} {'seconds':>8}")
    for name in ("floor", "textbook", "sparring"):
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            scores = result["scores"]
            rest = f"{result.get('images', ''):>9} {result.get('seconds', 0):>8.0f}" if "images" in result else ""
            print(f"{name:10} {scores['fd']:7.3f} {scores['class_kl']:9.5f} {scores['classes_present']:8.0f} {rest}")


if __name__ == "__main__":
    main()
