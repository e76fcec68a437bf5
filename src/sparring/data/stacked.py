"""Stacked MNIST: three random digits as red, green and blue, 1000 known modes (VEEGAN, arXiv:1705.07761).

The setting is that of VEEGAN and PacGAN (arXiv:1712.04086, section 4.2): 128,000 triples of all 70,000 digits.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from sparring.data.idx import open_idx
from sparring.data.records import Array, Data, make_data

TRIPLES = 128_000
CLASS_NAMES = tuple(f"{number:03}" for number in range(1000))
JUDGE = "stacked-digits-v1"


def draw(digits: int, count: int, seed: int) -> Array:
    """Draw triples of digits; a pure function of its arguments.

    Args:
        digits: how many digits there are to draw from.
        count: how many triples.
        seed: any integer.

    Returns:
        int64 [count, 3] in 0 … digits - 1, independent and uniform.
    """
    digest = hashlib.sha256(f"{seed}/triples/train".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    return generator.integers(digits, size=(count, 3))


def open_stacked(data_root: str | Path | None, seed: int) -> Data:
    """Return 128,000 triples of MNIST's digits, stacked as channels: uint8 [128000, 3, 28, 28], fixed by ``seed``.

    The label of the digits a, b, c is 100 a + 10 b + c, the mode that the triple shows. Training and test digits are
    drawn from alike, so nothing is held out: the score needs no real images, only the digits' classes.

    Args:
        data_root: where MNIST is looked for first; see `sparring.data.idx.open_idx`.
        seed: of the draw.

    Raises:
        UsageError: ``data_root`` names no folder.
        DataError: MNIST is nowhere to be found and cannot be downloaded.
    """
    train = open_idx("mnist", data_root)
    parts = [train] if train.held_out is None else [train, train.held_out]
    images = np.concatenate([part.samples[:, 0] for part in parts])
    classes = np.concatenate([part.labels for part in parts if part.labels is not None])
    triples = draw(len(images), TRIPLES, seed)
    samples = np.take(images, triples, axis=0)  # written once, where it stays: 300 MB
    labels = classes[triples] @ np.array([100, 10, 1])
    return make_data("stacked-mnist", samples, labels, CLASS_NAMES, judge=JUDGE)
