"""Speed of measuring: sparring's metrics beside the formulas of pytorch-fid, torch-fidelity and prdc in float64.

    python bench/metrics.py [--samples 50000] [--dim 2048] [--rounds 3] [--pair-samples 50000] [--pair-rounds 1]

Prints a table and writes JSON (by default into ``bench/results/metrics/``). The features are made up: rectified correlated
Gaussians of a decaying spectrum, float32, as the features of Inception are rectified and correlated.

The baselines are written here from the published formulas, with numpy and scipy in float64, since sklearn and the packages
themselves are no dependencies: ``np.cov`` and ``scipy.linalg.sqrtm`` as in pytorch-fid; ``(x·y / F + 1)^3`` of 100 subsets of
1,000, and of all pairs, as in torch-fidelity; ``|x|^2 + |y|^2 - 2 x·y`` as in sklearn's ``pairwise_distances`` with prdc's
partition and strict comparison, all in row blocks that fit into memory. Ours and theirs take turns; times are medians.

What grows with the square of the samples takes the baselines minutes: it is compared ``--pair-rounds`` times, or at fewer
``--pair-samples``. Then ours is measured at ``--samples`` too, and a baseline's time there is never claimed, only what the square
of the counts would make of it, marked so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results" / "metrics"
BLOCK = 2000  # rows of a baseline's float64 distances
K = 5


def main() -> None:
    options = parse()
    pin_threads(options.threads)
    x, y = features(options.samples, options.dim, seed=1), features(options.samples, options.dim, seed=2) * 1.02
    few = min(options.pair_samples, options.samples)
    wanted = [match for match in matches(x, y, few) if options.only in ("all", match.name.split(",")[0])]
    warm_up(x, y)
    rows = [
        compare(match, options.rounds if match.name.startswith("frechet") else options.pair_rounds) for match in wanted
    ]
    report = facts(options) | {"pair_samples": few, "rows": rows}
    path = options.json_file or RESULTS / f"n{options.samples}-f{options.dim}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print_table(rows)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=50_000, help="of each of the two sets")
    parser.add_argument("--dim", type=int, default=2048, help="features")
    parser.add_argument("--pair-samples", type=int, default=50_000, help="where both sides compute all pairs")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument(
        "--pair-rounds", type=int, default=1, help="the same for what grows with the square of the samples"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="all", choices=["all", "frechet", "kernel", "manifold"])
    parser.add_argument("--json-file", type=Path)
    return parser.parse_args()


def pin_threads(threads: int) -> None:
    """Start again with the number of threads in the environment, where numpy looks for it when it is imported."""
    wanted = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def features(samples: int, dim: int, seed: int) -> Any:
    """Return float32 ``[N, F]``: rectified Gaussians whose covariance has the spectrum 1, 1/2, 1/3 … in a random basis."""
    import torch

    world, own = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dim, dim, generator=world))[0] * torch.arange(1, dim + 1).rsqrt()
    middle = 0.5 * torch.randn(dim, generator=world)
    return torch.relu(torch.randn(samples, dim, generator=own) @ basis.T * 20 + middle)


class Match(NamedTuple):
    """Two ways to one number.

    Attributes:
        name: of the metric and the setting.
        samples: of each set, where both are measured.
        ours: returns the number, or several.
        theirs: likewise.
        ours_in_full: ours for all samples, where theirs would take too long; None where both did.
        full: samples of each set then.
        apart: relative difference up to which the numbers agree: counts are equal, and the kernel distance, whose smaller terms
            are products of eight bits, may differ by a thousandth of its interval.
    """

    name: str
    samples: int
    ours: Callable[[], list[float]]
    theirs: Callable[[], list[float]]
    ours_in_full: Callable[[], list[float]] | None
    full: int
    apart: float


def matches(x: Any, y: Any, few: int) -> list[Match]:
    """Return what is compared: generated x with real y."""
    from sparring.metrics.frechet import Reference, frechet_distance
    from sparring.metrics.kernel import kernel_distance

    samples = len(x)
    wide_x, wide_y = x.double().numpy(), y.double().numpy()
    reference, statistics = Reference.of(y), gaussian(wide_y)
    a, b, wide_a, wide_b = x[:few], y[:few], wide_x[:few], wide_y[:few]
    full = None if few == samples else samples
    return [
        Match(
            "frechet, both sets", samples,
            lambda: [frechet_distance(x, y, interval=False)],
            lambda: [frechet_by_sqrtm(gaussian(wide_x), gaussian(wide_y))],
            lambda: [frechet_distance(x, y)], samples, 1e-6,
        ),
        Match(
            "frechet, reference at hand", samples,
            lambda: [reference.distance(x, interval=False)],
            lambda: [frechet_by_sqrtm(gaussian(wide_x), statistics)],
            None, samples, 1e-6,
        ),
        Match(
            "kernel, 100 subsets of 1,000", few,
            lambda: [kernel_distance(a, b, subsets=100)],
            lambda: [kernel_by_subsets(wide_a, wide_b)],
            None, few, 2e-5,
        ),
        Match(
            "kernel, all pairs", few,
            lambda: [kernel_distance(a, b)],
            lambda: [kernel_by_blocks(wide_a, wide_b)],
            full and (lambda: [kernel_distance(x, y)]), samples, 2e-5,
        ),
        Match(
            "manifold, all four", few,
            lambda: ours_of_manifold(b, a),
            lambda: prdc(wide_b, wide_a),
            full and (lambda: ours_of_manifold(y, x)), samples, 1e-12,
        ),
    ]  # fmt: skip


def ours_of_manifold(real: Any, fake: Any) -> list[float]:
    """Return the four scores at prdc's one k; without ties its strict comparison and ours are the same."""
    from sparring.metrics.manifold import manifold_scores

    found = manifold_scores(real, fake, K, precision_k=K)
    return [found.precision, found.recall, found.density, found.coverage]


def gaussian(x: Any) -> tuple[Any, Any]:
    import numpy as np

    return np.mean(x, axis=0), np.cov(x, rowvar=False)


def frechet_by_sqrtm(a: tuple[Any, Any], b: tuple[Any, Any]) -> float:
    """Return the distance as pytorch-fid takes it: by scipy's square root of the product of the covariances."""
    import numpy as np
    import scipy.linalg

    root = scipy.linalg.sqrtm(a[1].dot(b[1]))
    step = a[0] - b[0]
    return float(step.dot(step) + np.trace(a[1]) + np.trace(b[1]) - 2 * np.trace(root.real))


def kernel_by_subsets(x: Any, y: Any) -> float:
    """Return the mean of 100 subsets of 1,000, drawn as sparring draws them so that the two numbers can be compared."""
    import numpy as np

    rng, found = np.random.default_rng(0), []
    for _ in range(100):
        a, b = (each[rng.choice(len(each), min(1000, len(each)), replace=False)] for each in (x, y))
        found.append(kernel_by_blocks(a, b))
    return float(np.mean(found))


def kernel_by_blocks(x: Any, y: Any) -> float:
    """Return the unbiased estimate of all pairs."""
    n, m = len(x), len(y)
    return (
        kernel_sum(x, x, diagonal=False) / (n * (n - 1))
        + kernel_sum(y, y, diagonal=False) / (m * (m - 1))
        - 2 * kernel_sum(x, y, diagonal=True) / (n * m)
    )


def kernel_sum(x: Any, y: Any, diagonal: bool) -> float:
    total = 0.0
    for first in range(0, len(x), BLOCK):
        kernel = (x[first : first + BLOCK] @ y.T / x.shape[1] + 1) ** 3
        total += kernel.sum() - (0 if diagonal else kernel.diagonal(first).sum())
    return total


def distances(x: Any, y: Any, first: int) -> Any:
    """Return a row block of Euclidean distances by sklearn's formula in float64."""
    import numpy as np

    block = x[first : first + BLOCK]
    found = -2 * (block @ y.T)
    found += np.einsum("ij,ij->i", block, block)[:, None]
    found += np.einsum("ij,ij->i", y, y)
    np.maximum(found, 0, out=found)
    if x is y:
        found[np.arange(len(block)), np.arange(first, first + len(block))] = 0
    return np.sqrt(found, out=found)


def prdc(real: Any, fake: Any) -> list[float]:
    """Return precision, recall, density and coverage by prdc's formulas, a row block at a time."""
    import numpy as np

    reach_real, reach_fake = radii(real), radii(fake)
    precise, counts = np.zeros(len(fake), bool), np.zeros(len(fake))
    recalled, covered = [], []
    for first in range(0, len(real), BLOCK):
        found = distances(real, fake, first)
        own = reach_real[first : first + BLOCK]
        inside = found < own[:, None]
        precise |= inside.any(axis=0)
        counts += inside.sum(axis=0)
        recalled.append((found < reach_fake).any(axis=1))
        covered.append(found.min(axis=1) < own)
    return [
        float(each)
        for each in (precise.mean(), np.concatenate(recalled).mean(), counts.mean() / K, np.concatenate(covered).mean())
    ]


def radii(x: Any) -> Any:
    import numpy as np

    found = []
    for first in range(0, len(x), BLOCK):
        block = distances(x, x, first)
        nearest = np.argpartition(block, K + 1, axis=-1)[..., : K + 1]
        found.append(np.take_along_axis(block, nearest, axis=-1).max(axis=-1))
    return np.concatenate(found)


def warm_up(x: Any, y: Any) -> None:
    """Run everything once on few samples, so that no first call is timed."""
    for match in matches(x[:300], y[:300], 300)[-2:]:
        match.ours(), match.theirs()


def compare(match: Match, rounds: int) -> dict[str, Any]:
    """Let both take turns and return the times and how far the numbers agree."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        ours, taken = timed(match.ours)
        times["ours"].append(taken)
        theirs, taken = timed(match.theirs)
        times["theirs"].append(taken)
        print(f"{match.name}: ours {times['ours'][-1]:.1f} s, theirs {times['theirs'][-1]:.1f} s", flush=True)
    apart = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    row = {
        "name": match.name,
        "samples": match.samples,
        "seconds": times,
        "ratio": median(times["theirs"]) / median(times["ours"]),
        "values": [float(value) for value in ours],
        "relative_difference": float(apart),
        "agree": bool(apart <= match.apart),
    }
    return row | in_full(match, row)


def in_full(match: Match, row: dict[str, Any]) -> dict[str, Any]:
    """Return ours at all samples, and what the square of the counts makes of the baseline's time."""
    if match.ours_in_full is None:
        return {}
    values, taken = timed(match.ours_in_full)
    print(f"{match.name}: ours in full {taken:.1f} s", flush=True)
    found = {"samples": match.full, "seconds": taken, "values": [float(value) for value in values]}
    if match.full == match.samples:
        return {"with_interval": found}
    scaled = median(row["seconds"]["theirs"]) * (match.full / match.samples) ** 2
    return {"in_full": found, "baseline_extrapolated_not_measured": {"seconds": scaled, "ratio": scaled / taken}}


def timed(call: Callable[[], list[float]]) -> tuple[list[float], float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """Return what a number needs beside it."""
    import numpy as np
    import scipy
    import torch

    import sparring
    from sparring.metrics.screening import product_dtype

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "benchmark": "speed of measuring",
        "command": f"python bench/metrics.py --samples {options.samples} --dim {options.dim} --pair-samples "
        f"{options.pair_samples} --rounds {options.rounds} --pair-rounds {options.pair_rounds} --threads {options.threads}",
        "features": "relu(Gaussian of spectrum 1/n in a random basis), float32; seeds 1 (generated) and 2 (real, times 1.02)",
        "baselines": "numpy and scipy, float64: pytorch-fid's formula; torch-fidelity's kernel; prdc's with sklearn's distances",
        "threads": options.threads,
        "load_before": os.getloadavg()[0],
        "versions": {
            "sparring": sparring.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "python": platform.python_version(),
        },
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "matrix_units": str(product_dtype("cpu")).removeprefix("torch."),
        },
        "commit": commit.stdout.strip(),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the medians, their ratio and whether the numbers agree."""
    print(f"\n{'':30} {'samples':>8} {'ours':>8} {'theirs':>8} {'ratio':>6}  agree to")
    for row in rows:
        ours, theirs = (median(row["seconds"][side]) for side in ("ours", "theirs"))
        agree = f"{row['relative_difference']:.1e}{'' if row['agree'] else '  NO'}"
        print(f"{row['name']:30} {row['samples']:8} {ours:7.1f}s {theirs:7.1f}s {row['ratio']:5.1f}x  {agree}")
        for note in ("in_full", "with_interval"):
            if note in row:
                print(f"{'  ours, ' + note.replace('_', ' '):30} {row[note]['samples']:8} {row[note]['seconds']:7.1f}s")


if __name__ == "__main__":
    main()
