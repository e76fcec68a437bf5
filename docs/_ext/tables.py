"""Writes the tables of `reference.md` and `measure.md` from the package itself, each time the pages are built.

A page asks for one with a line of its own, ``<!-- generated: losses -->``. What stands there afterwards is MyST; no file is
written. A name that the package gains is therefore in the documentation at the next build.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from io import StringIO
from typing import Any, get_args, get_origin

from docutils import nodes
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx

import sparring
from sparring.augment import AUGMENTATIONS
from sparring.config import TrainConfig
from sparring.data import SOURCES
from sparring.losses import LOSSES
from sparring.metrics import FAMILIES, METRICS
from sparring.metrics.extractors import EXTRACTORS
from sparring.networks import NETWORKS
from sparring.penalties import PENALTIES
from sparring.presets import PRESETS
from sparring.settings import settings_made
from sparring.stabilizers import STABILIZERS

_MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
_HELP_WIDTH = 92


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a MyST table; a bar inside a cell is escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines) + "\n"


def linked(paper: str | None) -> str:
    """Return a citation whose arXiv ids are links."""
    return re.sub(r"arXiv:([\d.]+\d)", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper or "sparring’s own")


def losses() -> str:
    parts = [table(("`--loss`", "what"), [(f"`{name}`", loss.summary) for name, loss in LOSSES.items()])]
    for name, loss in LOSSES.items():
        facts = [
            "labels can be smoothed" if loss.smoothable else "has no labels to smooth",
            "sigmoid(logit) is a probability" if loss.probability else "D’s output is a score, not a probability",
        ]
        facts += ["needs real samples in G’s turn"] if loss.paired else []
        facts += ["needs a bound on D’s slope"] if loss.lipschitz else []
        parts.append(_entry(name, loss, "; ".join(facts)))
    return "\n".join(parts)


def penalties() -> str:
    parts = [table(("`--penalty`", "what"), [(f"`{name}:weight`", row.summary) for name, row in PENALTIES.items()])]
    for name, row in PENALTIES.items():
        facts = ["bounds D’s slope, as the wasserstein loss needs"] if row.bounds_slope else []
        facts += ["not with batch normalization in D"] if row.per_sample_gradient else []
        parts.append(_entry(name, row, "; ".join(facts)))
    return "\n".join(parts)


def stabilizers() -> str:
    rows = [(f"`{row.usage}`", row.summary) for row in STABILIZERS.values()]
    parts = [table(("`--stabilizer`, with its defaults", "what"), rows)]
    for name, row in STABILIZERS.items():
        takes = [f"{s.name} {s.least:g} … {s.most:g}{', whole' if s.whole else ''}" for s in row.settings]
        parts.append(_entry(name, row, "takes " + "; ".join(takes) if takes else ""))
    return "\n".join(parts)


def augmentations() -> str:
    parts = [table(("`--augment`", "what"), [(f"`{name}`", row.summary) for name, row in AUGMENTATIONS.items()])]
    return "\n".join([*parts, *(_entry(name, row, "") for name, row in AUGMENTATIONS.items())])


def networks() -> str:
    rows = [
        (
            f"`{name}`",
            row.summary,
            f"{row.g_width} / {row.d_width or '–'}",
            row.g_norm,
            row.d_norm if row.d_width else "–",
        )
        for name, row in NETWORKS.items()
    ]
    parts = [table(("`--network`", "what", "width of G / D", "norm of G", "norm of D"), rows)]
    return "\n".join([*parts, *(_entry(name, row, "") for name, row in NETWORKS.items())])


def _entry(name: str, row: Any, facts: str) -> str:
    text = f"### {name}\n\n```text\n{row.formula}\n```\n\n*When:* {row.when} *Watch:* {row.watch}"
    return f"{text}{f' *Facts:* {facts}.' if facts else ''} *Paper:* {linked(row.paper)}.\n"


def presets() -> str:
    rows = [
        (f"`{name}`", row.summary, ", ".join(f"`{data}`" for data in row.suits) or "–") for name, row in PRESETS.items()
    ]
    parts = [table(("`--preset`", "what", "chosen for"), rows)]
    for name, row in PRESETS.items():
        data = row.suits[0] if row.suits else "path/to/images"
        config = row.config(data)
        made = "\n".join(f"--{flag} {value}" for flag, value in settings_made(config).items())
        text = f"{row.when} Paper: {linked(row.paper)}."
        parts.append(
            f"### preset {name}\n\n{text}\n\n```console\n$ sparring train {data} --preset {name}\n```\n\n"
            f"It sets:\n\n```text\n{made}\n```\n"
        )
    return "\n".join(parts)


def metrics() -> str:
    rows = [
        (f"`{name}`", f"`{row.family}`", row.summary, row.better, row.unit, linked(row.paper))
        for name, row in METRICS.items()
    ]
    return table(("metric", "`--metrics`", "what", "better", "unit", "paper"), rows)


def families() -> str:
    rows = [
        (f"`{name}`", ", ".join(f"`{other}`" for other in row.also) or "–", row.summary, row.needs)
        for name, row in FAMILIES.items()
    ]
    return table(("`--metrics`", "also", "what", "needs"), rows)


def data() -> str:
    return table(
        ("data", "what", "licence"), [(f"`{name}`", row.summary, row.licence) for name, row in SOURCES.items()]
    )


def extractors() -> str:
    rows = [
        (f"`{name}`", row.summary, str(row.feature_dim), _percent(row.accuracy), linked(row.paper), f"`{row.sha256}`")
        for name, row in EXTRACTORS.items()
    ]
    head = ("extractor", "what", "features", "accuracy on the 10,000 test images", "paper", "sha256 of its weights")
    return table(head, rows)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def flags() -> str:
    rows = [
        (f"`--{flag}`", _kind(annotation), _default(default), description)
        for flag, annotation, default, description in _flags(TrainConfig, "")
    ]
    return table(("flag", "takes", "default", "what"), rows)


def _flags(model: type[BaseModel], prefix: str) -> Iterable[tuple[str, Any, Any, str]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            yield from _flags(kind, f"{prefix}{name}.")
        elif prefix or name not in ("data", "preset"):  # these two have their own place in the command
            yield f"{prefix}{name}".replace("_", "-"), kind, field.default, field.description or ""


def _kind(annotation: Any) -> str:
    """Return a type as a user types it."""
    args = [arg for arg in get_args(annotation) if arg is not type(None)]
    if get_origin(annotation) is tuple:
        return "name:weight" if Ellipsis in args else " ".join(_kind(arg) for arg in args)
    if not args:
        return {"bool": "on or off", "int": "whole number", "float": "number", "str": "text", "Path": "folder"}[
            annotation.__name__
        ]
    if all(inspect.isclass(arg) or get_args(arg) for arg in args):
        return " or ".join(_kind(arg) for arg in args)
    return ", ".join(f"`{arg}`" for arg in args)


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return "unset"
    return "none" if value == () else f"`{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def commands() -> str:
    """Return the help of every verb but train, whose flags have a table."""
    from rich.console import Console

    from sparring.cli import app

    parts = []
    for verb in (
        "sample",
        "evaluate",
        "compare",
        "list",
        "explain",
        "info",
        "report",
        "bench modes",
        "bench speed",
        "theory",
    ):
        text = StringIO()
        app.help_print(verb.split(), console=Console(file=text, width=_HELP_WIDTH))
        parts.append(f"### sparring {verb}\n\n```text\n{text.getvalue().strip()}\n```\n")
    return "\n".join(parts)


_TABLE_OF = {"LOSSES": "losses", "PENALTIES": "penalties", "NETWORKS": "networks", "PRESETS": "presets"}
_TABLE_OF |= {"STABILIZERS": "stabilizers", "METRICS": "metrics", "AUGMENTATIONS": "augmentations"}


def api() -> str:
    """Return one directive for each public name."""
    tables, parts = [], []
    for name in sparring.__all__:
        thing = getattr(sparring, name)
        if isinstance(thing, dict):
            kind = type(next(iter(thing.values()))).__name__
            tables.append((f"`sparring.{name}`", f"name → `{kind}`", f"[{_TABLE_OF[name]}](#{_TABLE_OF[name]})"))
        elif inspect.isclass(thing):
            bare = f"{name}()" if issubclass(thing, BaseModel) else name  # its flags have a table
            members = "" if issubclass(thing, BaseModel) else "\n   :members:"
            parts.append(f"```{{eval-rst}}\n.. autoclass:: sparring.{bare}{members}\n```\n")
        elif inspect.isfunction(thing):
            parts.append(f"```{{eval-rst}}\n.. autofunction:: sparring.{name}\n```\n")
        else:
            tables.append((f"`sparring.{name}`", "text", "the installed version"))
    return table(("name", "is", "content"), tables) + "\n" + "\n".join(parts)


GENERATED: dict[str, Callable[[], str]] = {
    "losses": losses,
    "penalties": penalties,
    "stabilizers": stabilizers,
    "augmentations": augmentations,
    "networks": networks,
    "presets": presets,
    "metrics": metrics,
    "families": families,
    "data": data,
    "extractors": extractors,
    "flags": flags,
    "commands": commands,
    "api": api,
}


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the tables that a page asks for in place of its marks."""
    source[0] = _MARK.sub(lambda mark: GENERATED[mark[1]](), source[0])


def code_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """Show what stands in single backticks in a docstring as code; the package writes no other roles."""
    return [nodes.literal(rawtext, text)], []


def keep_sentence(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Undo what napoleon makes of a property's sentence with a colon in it: a type and a description."""
    types = [line.removeprefix(":type: ") for line in lines if line.startswith(":type: ")]
    if what == "property" and types:
        rest = " ".join(line for line in lines if not line.startswith(":type: ")).strip()
        lines[:] = [f"{types[0]}: {rest}", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx."""
    app.add_role("any_name", code_role)
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", keep_sentence, priority=900)  # after napoleon
    return {"parallel_read_safe": True}
