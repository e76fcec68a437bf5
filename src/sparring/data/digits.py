"""The 12,000 MNIST digits that ship with sparring, so that a first run needs no download."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from sparring.data.records import Data, make_data

DIGIT_NAMES = tuple("0123456789")


def open_digits() -> Data:
    """Return 10,000 training digits from MNIST's training set; held out are 2,000 from its test set.

    Images are uint8 [N, 1, 28, 28]. `embedded/README.md` says how they were drawn, and their licence.
    """
    with (
        (files("sparring.data") / "embedded" / "digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        parts = {
            part: (arrays[f"{part}_images"][:, None], arrays[f"{part}_labels"].astype(np.int64))
            for part in ("train", "test")
        }
    held_out = make_data("digits", *parts["test"], DIGIT_NAMES, judge="digits-v1")
    return make_data("digits", *parts["train"], DIGIT_NAMES, judge="digits-v1", held_out=held_out)
