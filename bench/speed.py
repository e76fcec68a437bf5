"""Speed of a training step, in three lanes.

    python bench/speed.py --lane A [--network case-study|dcgan-64|r3gan-32] [--width 64] [--steps 200]
    python bench/speed.py --lane B [--network …] [--width 64] [--device cuda] [--rounds 7] [--steps 5]
    python bench/speed.py --lane C --preset NAME --data-root DATA --fd 8.43 --class-kl 0.0486 [--seeds 5]

* **A, same maths**: the same networks, weights, images and latents in float32: how far the loss curves are apart.
* **B, same recipe**: equal updates and images, any precision and layout: the time of a step beside the textbook loop's, A B A B.
  That quality is equal, too, is `bench/quality.py`'s to show: ``--recipes textbook case-study --seeds 5``.
* **C, time to quality**: any recipe; the clock runs from the start of the process to the first evaluation within both limits,
  those of the textbook's recipe after 20 epochs of MNIST (``bench/quality.py --recipes case-study --images 1200000 --seeds 1``).

Prints one table and writes ``bench/results/speed/<lane>-<what>.json`` with machine, versions and every number; ``what``
ends with ``-cuda`` on a GPU, with ``-vectors`` on a processor with AVX-512's bfloat16, with ``-float32`` on one without any.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import sparring.cli
from sparring.fast.compiled import bfloat16_units
from sparring.runs import run_directories
from sparring.runtime import pick_device
from sparring.speed.agreement import loss_curves
from sparring.speed.contenders import CONTENDERS, RECIPES, Course, why_not

RESULTS = Path(__file__).parent / "results" / "speed"
_EARLY = 50  # steps before rounding errors have grown
_POLL = 0.1  # seconds
#: What a processor multiplies bfloat16 with -> the end of its results' names.
_UNITS = {"matrix units": "", "vectors": "-vectors", None: "-float32"}


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    course = Course(options.network, options.batch_size, options.threads, pick_device(options.device), options.width)
    lanes = {"A": same_maths, "B": same_recipe, "C": time_to_quality}
    result = lanes[options.lane](options, course)
    name = options.preset if options.lane == "C" else options.network
    name += f"-{course.device.type}" if course.device.type != "cpu" else _UNITS[bfloat16_units()]
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{options.lane}-{name}.json"
    path.write_text(json.dumps(facts(options) | result, indent=1) + "\n")
    print(path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lane", choices="ABC", required=True)
    parser.add_argument("--network", choices=list(RECIPES), default="case-study", help="lanes A and B")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, help="channels of both players; as published if left out")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu", help="lane B")
    parser.add_argument("--steps", type=int, help="of lane A (200), or of a block of lane B")
    parser.add_argument("--rounds", type=int, default=7, help="lane B")
    parser.add_argument("--preset", help="lane C: the recipe")
    parser.add_argument("--data-root", type=Path, help="lane C: folder that holds MNIST")
    parser.add_argument("--fd", type=float, help="lane C: the Fréchet distance to reach")
    parser.add_argument("--class-kl", type=float, help="lane C: the class KL to reach")
    parser.add_argument("--seeds", type=int, default=5, help="lane C")
    options = parser.parse_args()
    if options.lane != "B" and options.device != "cpu":
        parser.error(
            "--device is lane B's; lane A compares float32 of a processor, lane C times a preset where it runs best"
        )
    if options.lane == "C" and None in (options.preset, options.data_root, options.fd, options.class_kl):
        parser.error("--lane C needs --preset, --data-root, --fd and --class-kl")
    return options


def same_maths(options: argparse.Namespace, course: Course) -> dict[str, Any]:
    """Lane A."""
    torch.manual_seed(0)
    ours, theirs = loss_curves(course, options.steps or 200)
    apart = (ours - theirs).abs().amax(1)
    early = float(apart[:_EARLY].max())
    print(f"losses apart by at most {early:.1e} in {_EARLY} steps, {float(apart.max()):.1e} in {len(apart)}")
    return {"apart_early": early, "apart": float(apart.max()), "sparring": ours.tolist(), "textbook": theirs.tolist()}


def same_recipe(options: argparse.Namespace, course: Course) -> dict[str, Any]:
    """Lane B: ``sparring bench speed``, all contenders that can."""
    words = ["--network", course.network, "--batch-size", str(course.batch_size), "--threads", str(course.threads)]
    words += ["--device", str(course.device), "--rounds", str(options.rounds)]
    words += ["--steps", str(options.steps)] if options.steps else []
    words += ["--width", str(options.width)] if options.width else []
    able = [name for name in CONTENDERS if why_not(name, course) is None]
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "race.json"
        if sparring.cli.main(["bench", "speed", "--contenders", *able, *words, "--json-file", str(found)]):
            raise SystemExit(1)
        race: dict[str, Any] = json.loads(found.read_text())
    return race


def time_to_quality(options: argparse.Namespace, course: Course) -> dict[str, Any]:
    """Lane C."""
    runs = [one_run(options, seed) for seed in range(options.seeds)]
    reached = [run["seconds"] if run["seconds"] is not None else float("inf") for run in runs]
    print(
        f"median of {len(runs)}: {statistics.median(reached):.1f} s to fd {options.fd} and class KL {options.class_kl}"
    )
    return {"fd": options.fd, "class_kl": options.class_kl, "median_seconds": statistics.median(reached), "runs": runs}


def one_run(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train in a process of its own until an evaluation is good enough, or to its end."""
    with tempfile.TemporaryDirectory() as out:
        words = [sys.executable, "-m", "sparring", "train", "mnist", "--preset", options.preset, "--resume", "never"]
        words += ["--data-root", str(options.data_root), "--seed", str(seed), "--threads", str(options.threads)]
        began = time.perf_counter()
        process = subprocess.Popen([*words, "--out", out], stdout=subprocess.DEVNULL)
        scores: list[dict[str, Any]] = []
        good = False
        while not good and process.poll() is None:
            time.sleep(_POLL)
            for event in evaluations(Path(out))[len(scores) :]:
                scores.append(event | {"seconds": round(time.perf_counter() - began, 1)})
                good = good or (event["fd"] <= options.fd and event["class_kl"] <= options.class_kl)
        process.terminate()
        process.wait()
    print(f"seed {seed}: {scores[-1] if scores else 'no evaluation'}")
    return {"seed": seed, "seconds": scores[-1]["seconds"] if good else None, "evaluations": scores}


def evaluations(out: Path) -> list[dict[str, Any]]:
    """Return step and scores of every evaluation so far."""
    runs = run_directories(out)
    events = runs[0].events("eval") if runs and runs[0].events_file.exists() else []
    return [{name: event[name] for name in ("step", "images", "fd", "class_kl")} for event in events]


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a number needs beside it."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    shown = {name: value for name, value in vars(options).items() if value is not None and name != "data_root"}
    return {
        "benchmark": f"speed, lane {options.lane}",
        "options": shown,
        "versions": {"sparring": sparring.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {"processor": processor(), "cores": os.cpu_count(), "threads": options.threads},
        "commit": commit.stdout.strip(),
    }


def processor() -> str:
    """Return the processor's name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return names[0].split(":")[1].strip() if names else platform.machine()


if __name__ == "__main__":
    main()
