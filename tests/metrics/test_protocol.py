from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from sparring.metrics.protocol import Protocol

FD = Protocol(
    metric="fd",
    version=1,
    extractor="digits-v1",
    weights_sha256="ab12cd34",
    resize="u8",
    n_generated=2000,
    n_reference=2000,
    reference="digits",
    split="held-out",
    data_sha256="77aa88bb",
    latent_seed=0,
    weights="ema",
)


def test_short_says_it_in_one_line() -> None:
    assert FD.short() == "fd[digits-v1@ab12cd34 n2000/2000 digits/held-out@77aa88bb seed0 ema]"
    assert "v2" in replace(FD, version=2).short()


def test_short_leaves_out_what_points_do_not_have() -> None:
    ring = replace(
        FD, metric="mode_gap", extractor=None, weights_sha256=None, n_reference=0, reference="ring", split="modes"
    )
    assert ring.short() == "mode_gap[n2000 ring/modes@77aa88bb seed0 ema]"


@pytest.mark.parametrize("name", [field.name for field in fields(Protocol)])
def test_numbers_compare_only_when_every_field_is_equal(name: str) -> None:
    value = getattr(FD, name)
    other = replace(FD, **{name: value + 1 if isinstance(value, int) else value + "x"})
    assert other != FD
    assert replace(other, **{name: value}) == FD


def test_as_dict_goes_through_json() -> None:
    assert Protocol(**json.loads(json.dumps(FD.as_dict()))) == FD
