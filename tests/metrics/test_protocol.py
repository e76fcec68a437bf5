from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from sparring.metrics.protocol import Protocol, difference

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
    assert FD.short() == "fd[digits-v1@ab12cd34 u8 n2000/2000 digits/held-out@77aa88bb seed0 ema]"
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


RING = replace(
    FD,
    metric="mode_gap",
    extractor=None,
    weights_sha256=None,
    resize=None,
    n_reference=0,
    reference="my ring/a",
    split="modes",
)


@pytest.mark.parametrize(
    "protocol", [FD, RING, FD.of("kd", 3), replace(FD, reference="my photos/of cats", weights="files")]
)
def test_a_line_can_be_read_back(protocol: Protocol) -> None:
    assert Protocol.parse(protocol.short()) == protocol


def test_a_line_of_before_resizing_was_part_of_it_can_be_read() -> None:
    line = "fd[digits-v1@0d86a89f n2000/2000 digits/held-out@c189659a seed1 ema]"
    assert Protocol.parse(line).resize is None
    assert Protocol.parse(line).n_reference == 2000


def test_what_is_no_line_is_refused() -> None:
    with pytest.raises(ValueError, match="not the line"):
        Protocol.parse("FID 12.3")


@pytest.mark.parametrize("name", [field.name for field in fields(Protocol)])
def test_the_first_difference_is_named(name: str) -> None:
    value = getattr(FD, name)
    other = replace(FD, **{name: value + 1 if isinstance(value, int) else value + "x"})
    said = difference(FD, other)
    if name == "weights":
        assert said is None  # an averaged generator may be compared with one that is not
    else:
        assert said is not None
        assert f"is {value} for one and {getattr(other, name)} for the other" in said
    assert difference(FD, FD) is None


def test_pictures_on_disk_have_no_latents() -> None:
    files = replace(FD, weights="files", latent_seed=9)
    assert difference(FD, files) is None
    assert difference(FD, replace(files, n_generated=5)) is not None
