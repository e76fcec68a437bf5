"""Train the small classifiers whose features sparring judges generators in, or re-measure the shipped ones.

    python tools/train_classifier.py digits  --data-root ../shared/data
    python tools/train_classifier.py clothes --data-root ../shared/data
    python tools/train_classifier.py --check digits --data-root ../shared/data

Training takes about six minutes on two cores with bf16 matrix units. The data root holds ``mnist/`` and
``fashion-mnist/`` with the four idx.gz files each. The test images are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import math
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from sparring.metrics.extractors import EXTRACTORS, load_extractor
from sparring.metrics.extractors.classifier import Classifier

WEIGHTS = Path(__file__).resolve().parents[1] / "src" / "sparring" / "metrics" / "weights"
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """What differs between the two classifiers."""

    folder: str  # under the data root
    data: str  # its name in the weights' metadata
    version: str  # of the weights file
    epochs: int
    degrees: float  # largest rotation
    shift: float  # largest shift, in pixels
    scale: float  # largest change of size, as a fraction
    flip: bool  # mirror left and right
    erase: bool  # blank a random square, so that no single detail decides


RECIPES = {
    "digits": Recipe("mnist", "MNIST", "digits-v1", 12, 10.0, 2.0, 0.1, False, False),
    "clothes": Recipe("fashion-mnist", "Fashion-MNIST", "clothes-v1", 14, 4.0, 2.0, 0.06, True, True),
}


def read_idx(path: Path) -> np.ndarray:
    """Return the uint8 array of an idx.gz file."""
    with gzip.open(path, "rb") as file:
        content = file.read()
    dims = content[3]
    shape = struct.unpack(f">{dims}I", content[4 : 4 + 4 * dims])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dims).reshape(shape)


def load(data_root: Path, folder: str, prefix: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x [N, 1, 28, 28]`` in [-1, 1] and ``y [N]`` of one split (``"train"`` or ``"t10k"``)."""
    images = read_idx(data_root / folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(data_root / folder / f"{prefix}-labels-idx1-ubyte.gz")
    x = (torch.from_numpy(images.astype(np.float32)) - 127.5) / 127.5
    return x[:, None], torch.from_numpy(labels.astype(np.int64))


def augment(x: torch.Tensor, recipe: Recipe, rng: torch.Generator) -> torch.Tensor:
    """Return the batch with each image rotated, shifted, scaled, mirrored and erased at random, black outside."""
    size = len(x)

    def uniform(limit: float) -> torch.Tensor:
        return (torch.rand(size, generator=rng) * 2 - 1) * limit

    angle, zoom = uniform(math.radians(recipe.degrees)), 1 + uniform(recipe.scale)
    mirror = torch.where(torch.rand(size, generator=rng) < 0.5, -1.0, 1.0) if recipe.flip else torch.ones(size)
    unit = 2 * recipe.shift / 28  # affine_grid measures from -1 to 1
    rows = [zoom * angle.cos() * mirror, -zoom * angle.sin(), uniform(unit)]
    rows += [zoom * angle.sin() * mirror, zoom * angle.cos(), uniform(unit)]
    theta = torch.stack(rows, dim=1).view(size, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    warped = F.grid_sample(x + 1, grid, align_corners=False) - 1
    return erase(warped, rng) if recipe.erase else warped


def erase(x: torch.Tensor, rng: torch.Generator, side: int = 8) -> torch.Tensor:
    """Return the batch with one black square of ``side`` pixels in half of its images."""
    corner = torch.randint(0, 28 - side + 1, (2, len(x), 1), generator=rng)
    along = torch.arange(28)
    rows, columns = ((along >= corner) & (along < corner + side)).unbind(0)
    chosen = torch.rand(len(x), 1, 1, generator=rng) < 0.5
    return x.masked_fill((rows[:, :, None] & columns[:, None, :] & chosen)[:, None], -1.0)


def fit(x: torch.Tensor, y: torch.Tensor, recipe: Recipe, seed: int, batch: int = 250) -> Classifier:
    """Return a classifier trained with AdamW on a one-cycle schedule that ends at zero."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    net = Classifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    steps = len(x) // batch
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=recipe.epochs * steps, pct_start=0.2)
    started = time.perf_counter()
    for epoch in range(recipe.epochs):
        order, total = torch.randperm(len(x), generator=rng), torch.zeros(())
        for chosen in order[: steps * batch].split(batch):
            warped = augment(x[chosen], recipe, rng)
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(net(warped)[1].float(), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
            total += loss.detach()
        spent = time.perf_counter() - started
        print(f"epoch {epoch + 1:2d}/{recipe.epochs}  loss {total.item() / steps:.4f}  {spent:.0f} s", flush=True)
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the fraction of images whose largest logit is the label's."""
    found = torch.cat([net(part)[1].argmax(dim=1) for part in x.split(250)])
    return float((found == y).double().mean())


def train(name: str, data_root: Path, seed: int, threads: int) -> None:
    """Train one classifier, write its weights and print accuracy, size and sha256."""
    recipe = RECIPES[name]
    net = fit(*load(data_root, recipe.folder, "train"), recipe, seed)
    score = accuracy(net, *load(data_root, recipe.folder, "t10k"))
    command = f"python tools/train_classifier.py {name} --data-root DATA --seed {seed} --threads {threads}"
    metadata = {"data": f"{recipe.data}, 60,000 training images", "accuracy": f"{score:.4f}", "command": command}
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    path = WEIGHTS / f"{recipe.version}.safetensors"
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path, metadata)
    content = path.read_bytes()
    assert len(content) <= MAX_BYTES, f"{path} has {len(content)} bytes"
    print(f"{path.name}: test accuracy {score:.2%}, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def check(name: str, data_root: Path) -> None:
    """Print the test accuracy of the shipped weights beside the one that the table states."""
    extractor = EXTRACTORS[RECIPES[name].version]
    score = accuracy(load_extractor(extractor.name).net, *load(data_root, RECIPES[name].folder, "t10k"))
    print(f"{extractor.name}: test accuracy {score:.2%}, stated {extractor.accuracy:.2%}, sha256 {extractor.sha256}")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--check", action="store_true", help="only re-measure the shipped weights")
    parser.add_argument("--data-root", type=Path, required=True, help="the folder with mnist/ and fashion-mnist/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.check:
        check(args.name, args.data_root)
    else:
        train(args.name, args.data_root, args.seed, args.threads)


if __name__ == "__main__":
    main(sys.argv[1:])
