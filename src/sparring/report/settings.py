"""The report's last section: the config, its mathematics, and how to play the same game again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from html import escape
from typing import Any

from pydantic import BaseModel

from sparring.config import LENGTHS, TrainConfig
from sparring.penalties import PENALTIES
from sparring.presets import PRESETS
from sparring.report import wording
from sparring.report.story import Story
from sparring.settings import differences
from sparring.stabilizers import STABILIZERS
from sparring.version import __version__


def settings(story: Story) -> str:
    """Return the content of the section, HTML."""
    return _again(story) + _mathematics(story) + _config_table(story) + _versions(story)


def _again(story: Story) -> str:
    """Return the commands that play the same game again."""
    by_file = f"sparring train --config {shlex.quote(story.run.config_file.as_posix())} --resume never"
    command = command_of(story.config) if story.config else None
    typed = "" if command is None else f"<p>As it would be typed:</p><pre>{_unbroken(command)}</pre>"
    return (
        f"<h3>To do it again</h3>{typed}<p>From the stored config, in a new run directory; on the same machine and "
        f"versions it is the same run to the bit:</p><pre>{_unbroken(by_file)}</pre>"
    )


def _unbroken(command: str) -> str:
    """Escape a command so that its lines break between words only, not after the hyphens of a flag."""
    return " ".join(f"<span>{escape(word)}</span>" for word in command.split(" "))


_SEVERAL_WORDS = ("--penalty", "--augment", "--stabilizer", "--g.betas", "--d.betas")


def command_of(config: TrainConfig) -> str | None:
    """Return the command that gives a config.

    Args:
        config: a complete config.

    Returns:
        The command, quoted for a shell; None when flags on top of the preset cannot say it.
    """
    if config.preset not in PRESETS:
        return None
    base = PRESETS[config.preset].config(config.data)
    before = _flat(base)
    if any(
        value is None and before.get(name) is not None for name, value in _flat(config).items() if name not in LENGTHS
    ):
        return None
    words = ["sparring", "train", config.data, "--preset", config.preset]
    for difference in differences(config, base):
        flag, _, value = difference.partition(" ")
        # Repeated flags and pairs hold several words, a switch none; any other value, a path with spaces say, is one.
        words += [flag, *value.split()] if flag in _SEVERAL_WORDS or not value else [flag, value]
    return shlex.join(words)


def _flat(values: BaseModel | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the config's values under dotted names, as JSON holds them."""
    if isinstance(values, BaseModel):
        values = values.model_dump(mode="json")
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _mathematics(story: Story) -> str:
    """Return loss and penalties with formula and paper; of a network that plays alone its own."""
    if story.network is not None and "D" not in story.players:
        row = story.network
        found = _formula(f"Network: {row.name}", row.summary, row.formula, row.paper)
    elif story.loss is None:
        found = f"<p>The loss “{escape(str(story.values.get('loss')))}” is not in this installation’s table.</p>"
    else:
        found = _formula(f"Loss: {story.loss.name}", story.loss.summary, story.loss.formula, story.loss.paper)
    for name, weight in (story.config.penalties if story.config else {}).items():
        penalty = PENALTIES[name]
        stated = "auto" if weight is None else f"{weight:g}"
        found += _formula(f"Penalty: {name}, weight {stated}", penalty.summary, penalty.formula, penalty.paper)
    for name, numbers in (story.config.stabilizers if story.config else {}).items():
        steady, given = STABILIZERS[name], ", ".join(f"{key} {value:g}" for key, value in numbers.items())
        title = f"Stabilizer: {name}" + (f", {given}" if given else "")
        found += _formula(title, steady.summary, steady.formula, steady.paper)
    return f'<div class="charts">{found}</div>'


def _formula(title: str, summary: str, formula: str, paper: str) -> str:
    lines = "\n".join(re.split(r"\s{3,}", formula))
    return (
        f'<article class="card"><h3>{escape(title)}</h3><p class="formula">{escape(lines)}</p>'
        f'<p class="caption">{escape(summary)} {wording.linked(paper)}.</p></article>'
    )


def _config_table(story: Story) -> str:
    values, base = _flat(story.values), {}
    preset = PRESETS.get(str(story.values.get("preset")))
    if preset is not None:
        base = _flat(preset.config(str(story.values.get("data"))))
    described = _descriptions(TrainConfig)
    rows = "".join(
        _config_row(name, value, base.get(name, value), described.get(name, "")) for name, value in values.items()
    )
    changed = sum(value != base.get(name, value) for name, value in values.items())
    words = (
        "Every value is the preset’s own."
        if not changed
        else f"{changed} values differ from the preset; they are marked."
    )
    words = words.replace("1 values differ from the preset; they are", "One value differs from the preset; it is")
    if not base:
        words = "This installation does not know the preset, so nothing can be compared with it."
    head = (
        '<thead><tr><th scope="col">setting</th><th scope="col">value</th><th scope="col">what it is</th></tr></thead>'
    )
    table = f'<table class="config">{head}<tbody>{rows}</tbody></table>'
    return f'<h3 class="apart">All settings</h3><p>{words}</p><div class="scroll">{table}</div>'


def _config_row(name: str, value: Any, preset: Any, description: str) -> str:
    changed = value != preset
    was = f' <span class="muted was">(preset: {escape(_setting(preset))})</span>' if changed else ""
    mark = ' class="changed"' if changed else ""
    cells = f"<td><code>{escape(_setting(value))}</code>{was}</td>"
    return f'<tr{mark}><th scope="row"><code>{escape(name)}</code></th>{cells}<td class="muted">{escape(description)}</td></tr>'


def _setting(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unset" if value is None else str(value)


def _descriptions(model: type[BaseModel], prefix: str = "") -> dict[str, str]:
    """Return what each setting is, under its dotted name."""
    words: dict[str, str] = {}
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            words |= _descriptions(info.annotation, f"{prefix}{name}.")
        else:
            words[prefix + name] = info.description or ""
    return words


def _versions(story: Story) -> str:
    facts = [
        ("sparring", f"{__version__} (wrote this report)"),
        *((name, text) for name, text in story.machine.items()),
    ]
    facts += [("seed", str(story.values.get("seed", "unknown")))]
    if story.manifest.get("data_sha256"):
        facts.append(("data sha256", str(story.manifest["data_sha256"])))
    protocols = dict.fromkeys(str(row["protocol"]) for row in story.evaluations if row.get("protocol"))
    facts += [("protocol", protocol) for protocol in protocols]
    body = "".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd><code>{escape(text)}</code></dd>" for name, text in facts
    )
    return f'<h3 class="apart">Versions and protocol</h3><dl class="facts">{body}</dl>'
