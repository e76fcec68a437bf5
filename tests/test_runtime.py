"""What a run picks to compute with, and that its networks then do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sparring import runtime
from sparring.config import TrainConfig
from sparring.fast.compiled import library
from sparring.networks import build_players
from sparring.presets import PRESETS
from sparring.randomness import randomness
from sparring.runtime import Runtime
from sparring.settings import resolve

needs_units = pytest.mark.skipif(library(torch.bfloat16) is None, reason="needs bfloat16 units, and a C compiler")


def points(**settings: str) -> TrainConfig:
    return resolve(PRESETS["points"].config("ring"), {"device": "cpu", "threads": 1} | settings)


@needs_units
def test_points_are_computed_in_bfloat16_by_kernels_that_keep_float32_between_layers() -> None:
    config = points()
    picked = Runtime.pick(config)
    assert picked.precision == "bf16"
    assert picked.compiled
    assert "fast kernels in C" in picked.reason
    _, critic = build_players("maxout", config.network_spec((2,)), randomness(0, "weights"))
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    true = critic(x)
    with picked.arithmetic(exact=False):
        rounded = critic(x)
    with picked.arithmetic(exact=True):
        exact = critic(x)
    assert rounded.dtype is exact.dtype is torch.float32
    small, large = ((each - true).norm() / true.norm() for each in (exact, rounded))
    assert small < 1e-4 < large < 0.02
    in_parts = runtime.bfloat16_units() == "matrix units"
    assert (small > 1e-7) == in_parts, "vectors take longer for two parts of bfloat16 than for float32"


@pytest.mark.parametrize("missing", ["kernels", "library"])
def test_points_stay_in_float32_where_bfloat16_would_round_them(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "bfloat16_units", lambda: "matrix units")
    if missing == "library":
        monkeypatch.setattr(runtime, "library", lambda dtype: None)
    picked = Runtime.pick(points(kernels="plain") if missing == "kernels" else points())
    assert (picked.precision, picked.compiled) == ("fp32", None)
    assert "points in bf16 are too coarse" in picked.reason
    assert "kernels" not in picked.reason


@pytest.mark.parametrize(
    ("units", "precision", "why"),
    [
        ("matrix units", "bf16", "the processor has bf16 matrix units"),
        ("vectors", "bf16", "the processor has bf16 vectors"),
        (None, "fp32", "no bf16 units"),
    ],
)
def test_what_the_processor_has_decides_the_precision_of_convolutions(
    units: str | None, precision: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "bfloat16_units", lambda: units)
    picked = Runtime.pick(resolve(PRESETS["dcgan32"].config("digits"), {"device": "cpu", "threads": 1}))
    assert picked.precision == precision
    assert f"({why})" in picked.reason


@needs_units
def test_a_run_remembers_which_units_its_numbers_are_of() -> None:
    """Matrix units and vectors add in another order, so going on with the other is not exact."""
    assert Runtime.pick(points()).fingerprint()["compiled"] in ("matrix units (AMX)", "vectors of bfloat16 (AVX-512)")


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_waiting_threads_give_way_before_torch_is_imported(given: dict[str, str], found: str) -> None:
    """OpenMP reads it when it is loaded, and what the user says about waiting stands."""
    words = "import sparring, sys, os; print('torch' in sys.modules, os.environ.get('GOMP_SPINCOUNT'))"
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", words], env=kept | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", found]
