from __future__ import annotations

import numpy as np
import torch

from sparring.pictures import pairs_grid


def test_each_sample_stands_above_its_partner() -> None:
    ours, theirs = (torch.arange(3).reshape(3, 1, 1, 1).expand(3, 1, 4, 4) / 10 - shift for shift in (0.0, 0.5))
    pixels = np.asarray(pairs_grid(ours, theirs, columns=2))
    assert pixels.shape == (4 * (4 + 2) + 2, 2 * (4 + 2) + 2), "two rows of two pairs, 2 pixels around each tile"
    tiles = pixels[2:, 2:].reshape(4, 6, 2, 6)[:, :4, :, :4]
    assert (tiles == tiles[:, :1, :, :1]).all()
    levels = tiles[:, 0, :, 0] / 127.5 - 1
    np.testing.assert_allclose(levels, [[0, 0.1], [-0.5, -0.4], [0.2, -1], [-0.3, -1]], atol=0.01)
