"""From what people type to a complete config: a preset, a file and flags are laid over each other and checked.

Messages name the flag, the value and what to do instead.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from sparring.combinations import without_opponent
from sparring.config import LENGTHS, NONE, TrainConfig
from sparring.errors import UsageError, unknown_name
from sparring.losses import LOSSES, Labels
from sparring.networks import NETWORKS

_REPEATED = ("penalty", "augment", "stabilizer", "eval_metrics")
_NESTED = ("g", "d", "burn_in")


#: As a batch size: the recipe's own, in as many pieces as memory asks for.
AUTO = "auto"
_WIDER: dict[str, Any] = {"batch_size": int | Literal["auto"]}


def _partial(model: type[BaseModel], leave_out: frozenset[str] = frozenset()) -> type[BaseModel]:
    """Return the model with every field optional: what a user may set on top of a preset."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name in leave_out:
            continue
        kind = _WIDER.get(name, field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = _partial(kind)
        fields[name] = (kind | None if kind is not None else None, Field(None, description=field.description))
    return create_model(f"{model.__name__}Overrides", __config__=ConfigDict(extra="forbid"), **fields)


#: The flags of ``sparring train`` beside data and preset: `TrainConfig` with every field optional.
TrainOverrides = _partial(TrainConfig, leave_out=frozenset({"data", "preset"}))


def resolve(base: TrainConfig, overrides: Mapping[str, Any]) -> TrainConfig:
    """Put settings made by hand on top of a preset.

    Args:
        base: the complete config of a preset.
        overrides: field -> value; nested mappings for ``g`` and ``d``. A length replaces the preset's length.

    Returns:
        The checked config.

    Raises:
        UsageError: a value is out of range or contradicts another; the sentence names the flag.
    """
    values = base.model_dump()
    if overrides.get("batch_size") == AUTO:  # the pieces follow from data and machine
        overrides = {name: value for name, value in overrides.items() if name != "batch_size"}
    network = NETWORKS.get(str(overrides.get("network", base.network)))
    if network is not None and "D" not in network.players:
        values = without_opponent(values)  # the preset's own; what is given by hand is refused
    if any(overrides.get(name) is not None for name in LENGTHS):
        values.update(dict.fromkeys(LENGTHS))
    loss = LOSSES.get(str(overrides.get("loss")))
    if loss is not None and not loss.smoothable and "real_label" in values:
        # The preset smoothed the labels of its own loss; the one chosen by hand has none.
        values |= {"real_label": Labels.real, "fake_label": Labels.fake}
    if overrides.get("penalty") in NONE and "penalty_every" in values:
        values["penalty_every"] = 1  # how often the preset computes the penalties that are taken away here
    return validate(merge(values, overrides))


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings on top of others; the players' settings are merged one by one.

    Args:
        below: field -> value; nested mappings for ``g`` and ``d``.
        above: the same, stronger.
    """
    both = dict(below)
    for key, value in above.items():
        inner = both.get(key)
        both[key] = merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return both


def validate(values: Mapping[str, Any]) -> TrainConfig:
    """Build a config from plain values.

    Args:
        values: field -> value.

    Raises:
        UsageError: the sentence names the flag, the value and what is wrong with it.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(describe(error)) from None


def describe(error: ValidationError) -> str:
    """Say in one sentence what pydantic found first: the flag, the value and what is wrong with it."""
    first = error.errors()[0]
    problem = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return unknown_name("config", ".".join(map(str, first["loc"])), _dotted(TrainConfig))
    if not [part for part in first["loc"] if part not in _NESTED]:
        return f"{problem}."
    names = [
        str(part) for part in first["loc"] if part in _SETTINGS
    ]  # the rest names places in lists and kinds of a union
    flag = "--" + ".".join(names).replace("_", "-")
    given = first["input"]
    shown = " ".join(map(str, given)) if isinstance(given, tuple | list) else given
    return f"{flag} {shown}: {problem[0].lower()}{problem[1:]}".removesuffix(".") + "."


def differences(config: TrainConfig, base: TrainConfig) -> list[str]:
    """Return the flags that turn one config into another, as they are typed.

    Args:
        config: where to get.
        base: where to start, for example a preset's config.

    Returns:
        One string a flag: ``"--loss hinge"``, ``"--g.lr 0.0001"``.
    """
    before = _typed(base, None)
    return [
        f"--{name.replace('_', '-')}" + (f"={value.lower()}" if value in ("True", "False") else f" {value}")
        for name, value in _flat(config).items()
        if value != before.get(name) and value is not None
    ]


def settings_made(config: TrainConfig) -> dict[str, str]:
    """Return flag -> value, as typed, of every setting that a recipe makes and does not leave to its default."""
    made = {name for name in config.model_fields_set if name not in ("data", "preset")}
    made |= {f"{part}.{name}" for part in _NESTED for name in getattr(config, part).model_fields_set}
    values = _flat(config)
    return {name.replace("_", "-"): value for name, value in values.items() if name in made and value is not None}


def _dotted(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the names of all fields, those of the players as ``g.lr``."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += _dotted(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


_SETTINGS = {name for dotted in _dotted(TrainConfig) for name in dotted.split(".")}


def _flat(config: TrainConfig) -> dict[str, str | None]:
    """Return flag -> value as typed, None where unset; a flag that is repeated holds its repetition."""
    return _typed(config, config.model_dump())


def _typed(model: BaseModel, written: Mapping[str, Any] | None, prefix: str = "") -> dict[str, str | None]:
    """Return what `_flat` does, of the settings that are written, or of all."""
    values: dict[str, str | None] = {}
    for name in type(model).model_fields if written is None else written:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            values |= _typed(value, written and written[name], f"{prefix}{name}.")
        elif not prefix and name in _REPEATED:
            values[name] = f" --{name.replace('_', '-')} ".join(value) or "none"
        elif isinstance(value, tuple):
            values[prefix + name] = " ".join(map(str, value))
        else:
            values[prefix + name] = None if value is None else str(value)
    return values


def read_config_file(path: Path) -> dict[str, Any]:
    """Read settings from a TOML or JSON file, a run's ``config.json`` included.

    Args:
        path: the file.

    Returns:
        field -> value.

    Raises:
        UsageError: the file is missing or cannot be parsed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"--config: cannot read {path}: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"--config: {path} is not valid {path.suffix.removeprefix('.').upper()}: {error}.") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config: {path} must hold a table of settings, not a {type(values).__name__}.")
    return {key: value for key, value in values.items() if value is not None}
