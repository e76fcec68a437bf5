"""Memory that is kept between steps: a benefit where the C library can be told so, and nothing elsewhere."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from sparring.fast.memory import keep_freed_memory

#: Frees and asks again for activations too large for the library's heap, which ends at 32 MiB a block; prints the new pages.
_STEPS = """
import resource, sys, torch
from sparring.fast.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    maps = [torch.ones(2**23 + 2**12) for _ in range(2)]
    maps.append(maps[0] * maps[1])
for _ in range(10):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(mode: str) -> int:
    words = [sys.executable, "-c", _STEPS, mode]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs GNU's C library")
def test_a_step_asks_for_no_new_pages() -> None:
    assert new_pages("keep") < new_pages("leave") / 2


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
