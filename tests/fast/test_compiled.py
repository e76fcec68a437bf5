"""Compiled where they run: kept for the next time, and one reason where they cannot be."""

from __future__ import annotations

import dataclasses
import shutil
import stat
from pathlib import Path

import pytest
import torch

from sparring.fast import compiled
from sparring.fast.compiled import library
from sparring.metrics.screening import product_dtype

TILES = torch.bfloat16
UNITS = compiled._UNITS[TILES]
UNIT = next((unit for unit in UNITS if unit.there()), UNITS[0])
HAS_UNITS = library(TILES) is not None
needs_units = pytest.mark.skipif(not HAS_UNITS, reason="needs a processor with bfloat16 units, and a C compiler")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the kernels an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setitem(compiled._UNITS, TILES, (dataclasses.replace(UNIT, there=lambda: True),))
    return tmp_path / "cache" / "sparring" / "kernels"


def reason() -> str:
    found, why = compiled._found.__wrapped__(TILES)
    assert found is None
    return str(why)


def test_without_units_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiled._UNITS, TILES, tuple(dataclasses.replace(unit, there=lambda: False) for unit in UNITS))
    assert reason() == "the processor has no matrix units (AMX) or vectors of bfloat16 (AVX-512)"


def test_the_best_unit_that_is_there_and_works_is_used(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system keeps the matrix units to itself, or the compiler does not know them, vectors compute."""
    there = tuple(dataclasses.replace(unit, there=lambda: True) for unit in UNITS)
    monkeypatch.setitem(compiled._UNITS, TILES, there)
    broken: list[str] = []

    def ready(unit: compiled._Unit, dtype: torch.dtype) -> str:
        if unit.name in broken:
            raise compiled._UnavailableError(f"{unit.name} are broken")
        return unit.name

    monkeypatch.setattr(compiled, "_ready", ready)
    assert compiled._found.__wrapped__(TILES) == (UNITS[0].name, "")
    broken.append(UNITS[0].name)
    assert compiled._found.__wrapped__(TILES) == (UNITS[1].name, "")
    broken.append(UNITS[1].name)
    assert reason() == f"{UNITS[0].name} are broken"


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_are_used_wherever_there_is_a_unit_and_a_compiler(dtype: torch.dtype) -> None:
    """Kernels that give wrong numbers are set aside in silence, and tests of them are left out: so one has to look."""
    if any(unit.there() for unit in compiled._UNITS[dtype]):
        assert library(dtype) is not None, compiled.why_not(dtype)
    else:
        assert "the processor has no" in compiled.why_not(dtype)


@pytest.mark.parametrize(
    ("tiles", "vectors", "units"), [(True, True, "matrix units"), (False, True, "vectors"), (False, False, None)]
)
def test_matrix_units_come_before_vectors(
    tiles: bool, vectors: bool, units: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_has_tiles", lambda: tiles)
    monkeypatch.setattr(compiled, "_has_bfloat16_vectors", lambda: vectors)
    assert compiled.bfloat16_units() == units
    product_dtype.cache_clear()
    try:
        assert product_dtype("cpu") == (torch.bfloat16 if tiles else torch.float32), "vectors measure no faster"
    finally:
        product_dtype.cache_clear()


@needs_units
def test_every_unit_is_compiled_for(fresh: Path) -> None:
    """They are compiled wherever there is a compiler that knows them, and run where the processor has them."""
    for unit in UNITS:
        found = compiled.Library(compiled._kept(unit), unit)
        assert not unit.there() or (found.allowed() and compiled._multiplies(found, TILES))


def test_without_a_compiler_torch_computes(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -q")
    assert reason() == "there is no C compiler 'no-such-compiler'"


def test_a_compiler_that_fails_is_quoted(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "cc"
    script.write_text("#!/bin/sh\necho it is monday >&2\nexit 1\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(script))
    assert reason() == f"the C compiler '{script}' cannot make them: it is monday"
    assert not list(fresh.iterdir()), "nothing half made is left behind"


@needs_units
def test_they_are_found_from_within_autocast() -> None:
    """A program of the user's own may ask for them first where products are bfloat16 already."""
    with torch.autocast("cpu", torch.bfloat16):
        found, why = compiled._found.__wrapped__(TILES)
    assert found is not None, why


@needs_units
def test_they_are_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled._kept(UNIT)
    assert first.parent == fresh
    monkeypatch.setattr(compiled, "_compile", lambda *_: pytest.fail("compiled twice"))
    assert compiled._kept(UNIT) == first
    assert compiled.Library(first, UNIT).allowed()


@needs_units
def test_a_cache_that_cannot_be_written_has_a_stand_in(fresh: Path, tmp_path: Path) -> None:
    fresh.parent.mkdir(parents=True)
    fresh.write_text("in the way")
    assert compiled._kept(UNIT).is_relative_to(tmp_path / "temporary")


@needs_units
def test_a_folder_that_others_can_write_is_not_trusted(fresh: Path, tmp_path: Path) -> None:
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    assert compiled._kept(UNIT).is_relative_to(tmp_path / "temporary")
    assert not list(fresh.iterdir())


@needs_units
def test_a_damaged_library_is_not_used(fresh: Path) -> None:
    path = compiled._kept(UNIT)
    path.unlink()
    path.write_bytes(b"not a library")
    assert "does not load" in reason()


@needs_units
def test_wrong_numbers_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = compiled.Library.call

    def wrong(self: compiled.Library, name: str, *arguments: object) -> None:
        compute(self, name, *arguments)
        target = arguments[3]
        assert isinstance(target, torch.Tensor)
        target[5, 7] += 1

    monkeypatch.setattr(compiled.Library, "call", wrong)
    assert reason() == "they do not compute here what PyTorch does"
