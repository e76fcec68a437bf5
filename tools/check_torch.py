"""Refuse to test with a torch other than the pinned one: ``python tools/check_torch.py constraints.txt``."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path


def main(constraints: str) -> int:
    pinned = re.search(r"^torch==(\S+)$", Path(constraints).read_text(), re.MULTILINE)
    if pinned is None:
        print(f"{constraints} does not pin torch", file=sys.stderr)
        return 1
    installed = version("torch").partition("+")[0]
    if installed != pinned[1]:
        print(
            f"torch {installed} is installed, {constraints} pins {pinned[1]}: run `make clean` first", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
