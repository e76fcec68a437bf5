"""Quality on MNIST or Fashion-MNIST: GANs beside the textbook loop, a VAE, an autoregressive network and real images.

    python bench/quality.py --data mnist --data-root DATA [--recipes gan vae …] [--images 100000] [--seeds 3] [--threads 2]

Every recipe sees the same number of real images, save that another may be given as ``name=images``. All are measured in the same
way: 10,000 samples against the 10,000 test images in the features of sparring's own classifier, precision and recall, density
and coverage, class KL, copies of training images; and the Fréchet distance from the training images, too (``fd_train``). Finished
runs are kept under ``--out`` and not repeated. Prints one table and writes ``bench/results/quality/<data>.json`` with a grid of
each recipe's first seed.

``textbook`` and ``case-study`` are one recipe from the same first weights, in PyTorch as tutorials write it and by sparring's
fast step: lane B of `bench/speed.py` compares their times, this their results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sparring
from sparring.data import open_data
from sparring.evaluation import evaluate
from sparring.pictures import image_grid, save_png
from sparring.session import build_trainer, prepare
from sparring.speed.agreement import copy_weights
from sparring.speed.textbook import TextbookLoop
from textbook import train as train_textbook

RESULTS = Path(__file__).parent / "results" / "quality"
METRICS = ("fd", "prdc", "modes", "memorization")
SHOWN = ("fd", "fd_train", "precision", "recall", "density", "coverage", "class_kl", "copies")
SAMPLES = 10_000
#: Recipe -> preset; the floor and the textbook loop have none.
PRESETS = {"gan": "dcgan32", "modern": "modern", "vae": "vae", "pixelcnn": "pixelcnn"}
RECIPES = ("floor", "textbook", "case-study", *PRESETS)


@dataclass(frozen=True)
class Plan:
    """One run."""

    data: str
    data_root: Path
    recipe: str
    images: int
    seed: int
    threads: int
    out: Path

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.out / self.data / f"{self.recipe}-{self.images}" / f"seed{self.seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=["mnist", "fashion-mnist"], default="mnist")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds the data")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), help=f"of {', '.join(RECIPES)}, or name=images")
    parser.add_argument("--images", type=int, default=100_000, help="real images that each recipe sees")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("bench-runs/quality"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for seed in range(options.seeds):
        for word in options.recipes:
            recipe, _, images = word.partition("=")
            if recipe not in RECIPES:
                parser.error(f"--recipes {word}: choose from {', '.join(RECIPES)}")
            size = int(images or options.images) if recipe != "floor" else 0
            do(Plan(options.data, options.data_root, recipe, size, seed, options.threads, options.out))
    results = collect(options.out / options.data)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{options.data}.json").write_text(json.dumps(summary(options, results), indent=1) + "\n")
    print_table(results)


def do(plan: Plan) -> None:
    """Train and measure, unless that was done."""
    done = plan.folder / "result.json"
    if done.exists():
        return
    plan.folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    x = {"floor": floor, "textbook": textbook, "case-study": case_study}.get(plan.recipe, trained)(plan)
    seconds = time.perf_counter() - began
    found = evaluate(x, plan.data, metrics=METRICS, n=SAMPLES, data_root=plan.data_root)
    of_training = evaluate(x, plan.data, metrics=("fd",), n=SAMPLES, split="train", data_root=plan.data_root)
    result = {"recipe": plan.recipe, "seed": plan.seed, "images": plan.images, "seconds": round(seconds, 1)}
    result |= {
        "scores": [score.as_json() for score in found.scores],
        "of_training": [score.as_json() | {"metric": "fd_train"} for score in of_training.scores],
        "verdict": found.copying and found.copying.verdict,
    }
    if plan.seed == 0:
        RESULTS.mkdir(parents=True, exist_ok=True)
        title = f"{plan.recipe}, {plan.images} images"
        save_png(image_grid(x[:100]), RESULTS / f"{plan.data}-{plan.recipe}.png", title)
    done.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{plan.recipe} seed {plan.seed}: " + "  ".join(f"{s.metric} {float(s.value):.4g}" for s in found.scores),
        flush=True,
    )


def trained(plan: Plan) -> Tensor:
    """Train a preset for the plan's number of images, and return samples."""
    settings: dict[str, Any] = {"images": plan.images, "seed": plan.seed, "threads": plan.threads}
    run = sparring.train(
        plan.data, preset=PRESETS[plan.recipe], data_root=plan.data_root, out=plan.folder / "runs", **settings
    )
    generator = sparring.Generator(run.path)
    return torch.cat([generator.draw(plan.seed, first, 250) for first in range(0, SAMPLES, 250)])


def textbook(plan: Plan) -> Tensor:
    """Train the textbook loop, and return samples of its last state."""
    data = open_data(plan.data, data_root=plan.data_root)
    G = train_textbook(data.batch(np.arange(len(data)))[0], round(plan.images / 128), 128, plan.seed)
    torch.manual_seed(plan.seed)
    with torch.no_grad():
        return torch.cat([G(torch.randn(250, 100)) for _ in range(SAMPLES // 250)])


def case_study(plan: Plan) -> Tensor:
    """Train the textbook's recipe from the textbook's first weights with sparring's step, and return samples."""
    torch.manual_seed(plan.seed)
    loop = TextbookLoop("case-study", 128)
    settings: dict[str, Any] = {"images": plan.images, "seed": plan.seed, "threads": plan.threads}
    settings |= {"data_root": plan.data_root, "eval_every": 0, "g": {"ema_half_life": 0}}
    out = plan.folder / "runs"
    made = prepare(plan.data, preset="mnist-dcgan", config=None, out=out, resume="never", settings=settings)
    trainer = build_trainer(made, ())
    copy_weights(loop, trainer)
    trainer.train()
    return torch.cat([trainer.generate(plan.seed, first, 250) for first in range(0, SAMPLES, 250)])


def floor(plan: Plan) -> Tensor:
    """Return training images in place of samples."""
    data = open_data(plan.data, data_root=plan.data_root)
    return data.batch(np.random.default_rng(plan.seed).permutation(len(data))[:SAMPLES])[0]


def collect(folder: Path) -> list[dict[str, Any]]:
    """Return all results that are there."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*/*/result.json"))]
    return sorted(results, key=lambda result: (RECIPES.index(result["recipe"]), result["images"], result["seed"]))


def of_metric(rows: list[dict[str, Any]], metric: str) -> list[float]:
    scores = [score for row in rows for score in row["scores"] + row["of_training"]]
    return [score["value"] for score in scores if score["metric"] == metric]


def groups(results: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the runs of each recipe and length."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault((result["recipe"], result["images"]), []).append(result)
    return found


def summary(options: argparse.Namespace, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return every number, with what it needs beside it."""
    words = " ".join(f"{recipe}={images}" if images else recipe for recipe, images in groups(results))
    seeds = 1 + max(result["seed"] for result in results)
    versions = {"sparring": sparring.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {
        "benchmark": f"quality on {options.data}",
        "command": f"python bench/quality.py --data {options.data} --data-root DATA --recipes {words} --seeds {seeds}",
        "versions": versions,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": options.threads},
        "runs": results,
    }


def print_table(results: list[dict[str, Any]]) -> None:
    """Print mean ± standard error over the seeds."""
    print(f"{'':12}{'images':>9}{'seeds':>6}{'s/run':>7}" + "".join(f"{name:>17}" for name in SHOWN))
    for (recipe, images), rows in groups(results).items():
        cells = "".join(f"{with_error(of_metric(rows, name)):>17}" for name in SHOWN)
        seconds = statistics.fmean(row["seconds"] for row in rows)
        print(f"{recipe:12}{images:>9}{len(rows):>6}{seconds:>7.0f}{cells}")


def with_error(values: list[float]) -> str:
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.3g}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.2g}"


if __name__ == "__main__":
    main()
