"""What README and docs say can be done: commands parse, examples run, links lead somewhere, every name has its place."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import sparring
from sparring.augment import AUGMENTATIONS
from sparring.benchmarks import recipe_names
from sparring.cli import app, main
from sparring.config import TrainConfig
from sparring.data import SOURCES
from sparring.experiments import CLAIMS
from sparring.losses import LOSSES
from sparring.metrics import METRICS
from sparring.metrics.extractors import EXTRACTORS
from sparring.networks import NETWORKS, refuse_latent_dim, refuse_unfit
from sparring.penalties import PENALTIES
from sparring.presets import PRESETS
from sparring.session import plan_config
from sparring.settings import merge
from sparring.speed.contenders import CONTENDERS
from sparring.stabilizers import STABILIZERS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHAPES: dict[str, tuple[int, ...]] = dict.fromkeys(("digits", "mnist", "fashion-mnist"), (1, 28, 28))
SHAPES |= {"stacked-mnist": (3, 28, 28), "ring": (2,), "grid": (2,)}

#: Every id of the lectures: section letter and how many there are.
LECTURE_IDS = [
    f"{section}{number}"
    for section, count in {"G": 14, "L": 8, "S": 8, "N": 11, "A": 13, "M": 6, "T": 12}.items()
    for number in range(1, count + 1)
]

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in _FENCE.findall(page.read_text()) if kind == language]


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def commands(page: Path) -> Iterator[str]:
    """Yield every ``sparring …`` of a page: the lines of console blocks, and code within text."""
    for block in blocks(page, "console"):
        for line in block.splitlines():
            assert line.startswith("$ "), f"{page.name}: {line}"
            if line.startswith("$ sparring"):
                yield line[2:]
    yield from re.findall(r"`(sparring [^`]+)`", prose(page))


def every_command() -> list[Any]:
    found = dict.fromkeys((page, command) for page in PAGES for command in commands(page))
    return [pytest.param(page, command.split()[1:], id=f"{page.stem}:{command}") for page, command in found]


def parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the verb's function and its arguments, without calling it."""
    function, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    return function.__name__, dict(bound.arguments)


def settings_file(page: Path, path: Path) -> dict[str, Any]:
    """Return the settings of a file that the page shows, headed by its name; a run's own config names its preset."""
    if path.name == "config.json":
        return {"data": "digits"}
    (shown,) = [block for block in blocks(page, "toml") if block.startswith(f"# {path}\n")]
    return tomllib.loads(shown)


@pytest.mark.parametrize(("page", "words"), every_command())
def test_commands_are_commands(page: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if len(words) == 1:  # a verb by its name only
        assert words[0] in app or words[0].startswith("--")
        return
    verb, arguments = parse(words)
    if verb == "train":
        check_training(page, arguments)
    elif verb in ("list_table", "explain") or (verb == "info" and not arguments["what"].startswith("runs/")):
        assert main(words) == 0, capsys.readouterr().err
    elif verb == "modes":
        data = arguments.get("data", "ring")
        assert set(arguments.get("presets") or ()) <= {*recipe_names(data), *PRESETS}
    elif verb == "speed":
        assert set(arguments.get("contenders") or ()) <= {*CONTENDERS}
    elif verb == "theory":
        assert arguments["claim"] in {*CLAIMS, "all"}
    else:
        assert verb in ("sample", "info", "report", "evaluate", "compare")


def check_training(page: Path, arguments: dict[str, Any]) -> None:
    """Resolve a training command to its complete config, which is where contradictions come out."""
    settings = arguments.get("settings")
    overrides = {} if settings is None else settings.model_dump(exclude_unset=True, exclude_none=True)
    if "config" in arguments:
        overrides = merge(settings_file(page, arguments["config"]), overrides)
    data = arguments.get("data", overrides.get("data"))
    config = plan_config(data, arguments.get("preset"), overrides)
    assert data in SOURCES or data.startswith("path/to/") or Path(data).suffix in (".zip", ".npy", ".csv")
    shape = SHAPES.get(data, (3, 64, 64))
    refuse_unfit(config.network, shape)
    refuse_latent_dim(config.network, shape, config.latent_dim)


def test_commands_are_found_at_all() -> None:
    assert len(every_command()) > 60
    assert {param.values[1][0] for param in every_command()} >= {
        "train",
        "sample",
        "list",
        "explain",
        "info",
        "report",
        "bench",
        "theory",
    }


def test_a_wrong_command_would_be_noticed() -> None:
    with pytest.raises(sparring.UsageError, match="no labels to smooth"):
        check_training(PAGES[0], parse(["train", "digits", "--loss", "hinge", "--real-label", "0.9"])[1])
    with pytest.raises(sparring.UsageError, match="unknown name 'hing'"):
        check_training(PAGES[0], parse(["train", "digits", "--loss", "hing"])[1])


#: Runs each example as a script of its own in a folder of its own, its training cut to two steps.
_DRIVER = """
import json, os, pathlib, sys
import torch
import sparring
import sparring.session

torch.set_num_threads(1)
real_train = sparring.session.train

def short_train(*args, **settings):
    settings.pop("epochs", None)
    return real_train(*args, **settings | dict(steps=2, threads=1, eval_samples=20, device="cpu"))

sparring.train = short_train
for name, example in json.load(sys.stdin).items():
    folder = pathlib.Path(name)
    folder.mkdir()
    os.chdir(folder)
    try:
        exec(compile(example, name, "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        assert not end.code, f"{name} ended with {end.code}"
    os.chdir("..")
"""


def run_examples(examples: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all of them in one process, because importing torch takes longer than most examples."""
    command = [sys.executable, "-W", "error", "-c", _DRIVER]
    words = json.dumps(examples)
    return subprocess.run(command, input=words, cwd=folder, capture_output=True, text=True, check=False)


def test_python_examples_run(tmp_path: Path) -> None:
    examples = {f"{page.stem}-{n}": code for page in PAGES for n, code in enumerate(blocks(page, "python"), 1)}
    assert {name.split("-")[0] for name in examples} >= {"README", "index", "train", "data", "extend"}
    done = run_examples(examples, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == set(examples)
    assert list(tmp_path.glob("extend-1/runs/*/report.html"))


def test_a_broken_example_would_be_noticed(tmp_path: Path) -> None:
    done = run_examples({"broken": "import sparring\nsparring.no_such_name"}, tmp_path)
    assert done.returncode == 1
    assert "no_such_name" in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for target in targets:
        if not target.startswith(("http", "#")) and not target.startswith("docs/_static/"):
            assert (page.parent / target.split("#")[0]).is_file(), target


def test_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_make_knows_its_targets() -> None:
    if not (ROOT / "Makefile").exists():
        pytest.skip("there is no Makefile beside this copy of the tests")
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = {name for page in PAGES for name in re.findall(r"(?:^\$ |`)make ([\w-]+)", page.read_text(), re.MULTILINE)}
    assert {"demo", "test"} <= asked
    assert asked <= set(rules)


# The lectures.


def lecture_rows() -> dict[str, list[str]]:
    """Return id -> cells of its row."""
    lines = (ROOT / "docs" / "lectures.md").read_text().splitlines()
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("| ")]
    found = [row for row in rows if re.fullmatch(r"[A-Z]\d+", row[0])]
    assert all(len(row) == 6 for row in found)
    assert not [id for id, count in Counter(row[0] for row in found).items() if count > 1]
    return {row[0]: row for row in found}


def test_every_id_of_the_lectures_has_one_row() -> None:
    assert list(lecture_rows()) == LECTURE_IDS


@pytest.mark.parametrize("id", LECTURE_IDS)
def test_lecture_rows_name_what_exists(id: str) -> None:
    _, _, state, command, modules, tests = lecture_rows()[id]
    assert state.startswith(("works", "partly", "not yet"))
    if not state.startswith("not yet"):
        assert "–" not in (command, modules, tests), "what works has a command, a module and a test"
    for module in re.findall(r"`([^`]+)`", modules):
        assert find_spec(module) is not None, module
    for path in re.findall(r"`([^`]+)`", tests):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_of_the_project_exist(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|tools|docs)/[\w./-]+)`", prose(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


# The built pages.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the documentation; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    sphinx = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "-d", str(out / "trees")]
    done = subprocess.run([*sphinx, str(ROOT / "docs"), str(out / "html")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "html"


def test_the_site_builds_without_warnings_and_has_every_page(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
    assert not [page for page in site.glob("*.html") if "generated:" in page.read_text()]


def test_every_name_of_every_table_is_in_the_reference(site: Path) -> None:
    reference = (site / "reference.html").read_text()
    shown = set(re.findall(r'<span class="pre">([^<]+)</span>', reference))
    for table in (LOSSES, NETWORKS, PRESETS, METRICS, SOURCES):
        assert set(table) <= shown
    assert {f"{name}:weight" for name in PENALTIES} <= shown
    for anchor in (
        *LOSSES,
        *PENALTIES,
        *STABILIZERS,
        *AUGMENTATIONS,
        *NETWORKS,
        *(f"preset-{name}" for name in PRESETS),
    ):
        assert f'id="{anchor}"' in reference, anchor


def test_flags_shown_for_a_preset_are_as_typed(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "reference.html").read_text()))
    shown = re.findall(r"\$ (sparring train \S+ --preset (\S+))\s+It sets:\s+((?:--[^\n]+\n)+)", text)
    assert [name for _, name, _ in shown] == list(PRESETS)
    for command, name, flags in shown:
        _, arguments = parse([*command.split()[1:], *flags.split()])
        given = arguments["settings"].model_dump(exclude_unset=True, exclude_none=True)
        assert plan_config(arguments["data"], name, given) == plan_config(arguments["data"], name, {})


def test_every_flag_and_public_name_is_in_the_reference(site: Path) -> None:
    reference = (site / "reference.html").read_text()
    for field in TrainConfig.model_fields.keys() - {"data", "preset", "g", "d", "burn_in"}:
        assert f'<span class="pre">--{field.replace("_", "-")}</span>' in reference, field
    for flag in ("--g.ema-half-life", "--d.weight-clip"):
        assert f'<span class="pre">{flag}</span>' in reference
    for name in sparring.__all__:
        assert f'id="sparring.{name}"' in reference or f'<span class="pre">sparring.{name}</span>' in reference, name


def test_every_extractor_is_stated_with_its_sha256(site: Path) -> None:
    page = (site / "measure.html").read_text()
    for name, extractor in EXTRACTORS.items():
        assert name in page
        assert extractor.sha256 in page
        assert extractor.accuracy is None or f"{extractor.accuracy:.2%}" in page
