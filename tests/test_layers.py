"""Who may import whom: the walk over all imports that keeps the house in order."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import sparring

ROOT = Path(sparring.__file__).parent

#: Modules by floor; a module imports from its own room and from lower floors, never upward.
FLOORS: list[set[str]] = [
    {"version", "errors", "_lazy", "tables", "fast"},
    {"losses", "turns", "randomness", "schedules", "theory", "runs", "data"},
    {"penalties", "augment", "networks", "stabilizers", "metrics"},
    {"ema", "config", "combinations", "settings", "pictures"},
    {"games", "presets", "checkpoint", "runtime", "optim", "players", "progress"},
    {"generator", "report", "tensorboard", "scores", "footprint", "teaching", "moves"},
    {"trainer"},
    {"session"},
    {"summary", "benchmarks", "experiments", "evaluation", "rehearsal"},
    {"comparison", "speed"},
    {"cli"},
]
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
STANDARD_LIBRARY_ONLY = {"runs", "errors", "version", "_lazy"}
FILES = sorted(
    path for path in ROOT.rglob("*.py") if path.name not in ("__main__.py",) and path != ROOT / "__init__.py"
)


def imports(path: Path) -> list[str]:
    """Return every module that a file imports, inside functions and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            found.append(node.module)
            if node.module == "sparring":
                found[-1:] = [f"sparring.{alias.name}" for alias in node.names]
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    here = room(path)
    assert here in FLOOR, f"give '{here}' a floor in FLOORS"
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "sparring":
            there = parts[1]
            assert there == here or FLOOR[there] < FLOOR[here] or (here, there) in ALLOWED, (
                f"{here} must not import {there}"
            )
        elif here in STANDARD_LIBRARY_ONLY:
            assert parts[0] in sys.stdlib_module_names, f"{here} may use the standard library only, not {module}"


#: Neighbours on one floor that may see each other.
ALLOWED: set[tuple[str, str]] = {
    ("config", "combinations"),
    ("combinations", "config"),
    ("settings", "config"),
    ("settings", "combinations"),
    ("players", "optim"),
    ("penalties", "augment"),
}
