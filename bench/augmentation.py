"""Whether synthetic digits help a classifier that has few real ones: a GAN a class, trained on those few alone.

    python bench/augmentation.py [--each 20] [--images 20000] [--made 200] [--preset dcgan32] [--threads 2]

Writes so many real digits of each class into folders, trains one GAN on each folder, draws samples into folders of the same
names, and measures ``--metrics gain``: the accuracy on the 2,000 held-out digits of classifiers that saw both, less that of
classifiers that saw the real ones. Prints the scores and writes ``bench/results/augmentation/digits-<each>.json`` with a grid of
samples. Finished runs are kept under ``--out`` and not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import sparring
from sparring.data import open_data
from sparring.evaluation import evaluate
from sparring.pictures import image_grid, save_png, to_images

RESULTS = Path(__file__).parent / "results" / "augmentation"


def main() -> None:
    options = parse()
    few, made, shown = options.out / f"few-{options.each}", options.out / f"made-{options.each}", []
    for digit in range(10):
        folder = write_real(few / str(digit), digit, options.each)
        run = sparring.train(
            str(folder),
            preset=options.preset,
            out=options.out / "runs" / f"{options.each}-{digit}",
            images=options.images,
            threads=options.threads,
            eval_every=0,
            sample_every=0,
        )
        x = torch.cat(list(run.generator().batches(options.made)))
        shown.append(x[:10])
        write(made / str(digit), x)
        print(f"{digit}: {run.path}", flush=True)
    found = evaluate(made, few, metrics=["gain", "cas"], test="digits")
    RESULTS.mkdir(parents=True, exist_ok=True)
    save_png(
        image_grid(torch.cat(shown)), RESULTS / f"digits-{options.each}.png", f"{options.each} real digits a class"
    )
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    report = {"benchmark": "augmentation", "settings": settings} | found.as_json()
    (RESULTS / f"digits-{options.each}.json").write_text(json.dumps(report, indent=1) + "\n")
    for score in found.scores:
        print(f"{score.metric:20} {float(score.value):7.3f}  ({score.value.low:.3f} … {score.value.high:.3f})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=20, help="real digits of each class")
    parser.add_argument("--images", type=int, default=20_000, help="real images that each GAN sees")
    parser.add_argument("--made", type=int, default=200, help="samples drawn of each")
    parser.add_argument("--preset", default="dcgan32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/augmentation"))
    return parser.parse_args()


def write_real(folder: Path, digit: int, count: int) -> Path:
    """Write the first training digits of a class into a folder."""
    data = open_data("digits")
    assert data.labels is not None
    return write(folder, data.batch(np.nonzero(data.labels == digit)[0][:count])[0])


def write(folder: Path, x: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(to_images(x)):
        picture.save(folder / f"{index:04}.png")
    return folder


if __name__ == "__main__":
    main()
