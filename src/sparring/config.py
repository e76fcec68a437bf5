"""The one source of flags, files and checks: frozen models that describe a training run completely.

Values that come from a preset, a file and the command line are merged with `resolve`, then checked across fields with
messages that name the flag, the value and what to do instead.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator

from sparring.augment import AUGMENTATIONS
from sparring.combinations import contradictions
from sparring.errors import UsageError, unknown_name
from sparring.losses import LOSSES, Labels
from sparring.networks import NETWORKS, NetworkSpec, PlayerSpec
from sparring.penalties import PENALTIES
from sparring.stabilizers import parse_stabilizer

NormKind = Literal["batch", "layer", "virtual", "none"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlayerConfig(_Frozen):
    """What both players have: a network's size and an optimizer."""

    lr: float = Field(2e-4, gt=0, description="learning rate")
    optimizer: Literal["adam", "rmsprop"] = Field("adam", description="optimizer; rmsprop is WGAN's (arXiv:1701.07875)")
    betas: tuple[float, float] = Field(
        (0.5, 0.999), description="Adam's β1 and β2; rmsprop smooths with β2 and needs β1 = 0"
    )
    width: int | None = Field(
        None, gt=0, description="channels next to the image, or hidden units; the network's own if unset"
    )
    norm: NormKind | None = Field(None, description="normalization; the network's own if unset; virtual is for G only")
    init_std: float | None = Field(
        None, gt=0, description="standard deviation of the first weights, N(0, std²); the network's own rule if unset"
    )
    norm_momentum: float = Field(
        0.1, gt=0, le=1, description="weight of the new batch in batch norm's running averages (Keras' 0.8 is 0.2 here)"
    )
    clip_grad: float | None = Field(None, gt=0, description="largest norm of a turn's gradient; longer ones are scaled")

    @field_validator("betas")
    @classmethod
    def _betas_in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("both must be at least 0 and below 1")
        return betas

    @model_validator(mode="after")
    def _rmsprop_has_no_momentum(self) -> PlayerConfig:
        if self.optimizer == "rmsprop" and self.betas[0] != 0:
            raise ValueError("optimizer rmsprop has no first moment: give --g.betas or --d.betas as 0 0.99")
        return self


class GeneratorConfig(PlayerConfig):
    """The generator's own settings."""

    ema_half_life: int = Field(
        5000,
        ge=0,
        description="half-life, in images seen, of the averaged copy of G that samples are drawn from; 0 = off",
    )


class DiscriminatorConfig(PlayerConfig):
    """The discriminator's own settings."""

    steps: int = Field(1, ge=1, le=100, description="turns of D before each turn of G (k)")
    weight_clip: float | None = Field(
        None, gt=0, description="clip D's weights to ± this after each of its turns (WGAN)"
    )
    mixed: bool = Field(False, description="judge real and fake in one mixed pass, so that batch norm sees both")


class BurnInConfig(_Frozen):
    """How a run begins: rates and penalties move along a cosine to their final values (arXiv:2501.05441)."""

    share: float = Field(0.0, ge=0, le=1, description="share of the run that the burn-in takes; 0 = none")
    lr: float = Field(1.0, gt=0, description="factor of both learning rates at the start of the burn-in")
    penalty: float = Field(1.0, gt=0, description="factor of the penalties at the start of the burn-in")
    beta2: float | None = Field(None, ge=0, lt=1, description="β2 at the start of the burn-in; the player's if unset")


class TrainConfig(_Frozen):
    """Everything that decides what a training run does."""

    data: str = Field(description="a data set's name, or a folder or zip of images")
    preset: str = Field(description="the recipe that gave every value not set by hand")
    data_root: Path | None = Field(None, description="folder that holds data sets already downloaded")
    resolution: int | None = Field(None, ge=4, le=1024, description="resize images to this side, in pixels")
    channels: int | None = Field(None, description="1 = grey, 3 = colour; found out from the images if unset")
    fit: Literal["crop", "pad", "stretch"] = Field("crop", description="how an image that is not square becomes square")
    background: str = Field("white", description="colour under transparent images: a name or #rrggbb")

    network: str = Field("dcgan", description="architecture of both players (sparring list networks)")
    latent_dim: int = Field(100, ge=1, le=4096, description="length of z")
    prior: Literal["normal", "uniform"] = Field("normal", description="z ~ N(0, I) or U(-1, 1)")
    loss: str = Field("non-saturating", description="adversarial loss (sparring list losses)")
    penalty: tuple[str, ...] = Field(
        (), description="name:weight or r1:auto, repeatable, or none (sparring list penalties)"
    )
    penalty_every: int = Field(
        1, ge=1, description="lazy penalties: in every n-th turn of D only, n times as strong (arXiv:1912.04958)"
    )
    stabilizer: tuple[str, ...] = Field(
        (), description="name or name:number, repeatable, or none (sparring list stabilizers)"
    )
    augment: tuple[str, ...] = Field(
        (), description="differentiable augmentation of what D sees, repeatable, or none (sparring list augmentations)"
    )
    real_label: float = Field(1.0, ge=0, le=1.2, description="D's target for real samples; below 1 = label smoothing")
    fake_label: float = Field(0.0, ge=-0.2, le=1, description="D's target for fakes; above 0 = two-sided smoothing")
    g: GeneratorConfig = Field(default_factory=GeneratorConfig, description="generator")
    d: DiscriminatorConfig = Field(default_factory=DiscriminatorConfig, description="discriminator")
    batch_size: int = Field(64, ge=2, description="real images in a turn of D, and fakes in a turn of either")
    accumulate: int = Field(1, ge=1, description="pieces that a batch is played in, one after another, to save memory")
    alternate: int = Field(
        1, ge=1, description="period in steps: D plays all turns of a period, then G all of its own; 1 = in turn"
    )
    decay_from: float = Field(
        1.0, ge=0, le=1, description="fraction of the run after which both learning rates fall to 0; 1 = never"
    )
    decay: Literal["linear", "cosine"] = Field("linear", description="how they fall")
    burn_in: BurnInConfig = Field(default_factory=BurnInConfig, description="burn-in")

    steps: int | None = Field(None, ge=1, description="length of the run in turns of G")
    epochs: float | None = Field(None, gt=0, description="length of the run in passes over the data")
    images: int | None = Field(None, ge=1, description="length of the run in real images that G has played against")
    log_every: int = Field(50, ge=0, description="steps between rows of the log; 0 = off")
    sample_every: int = Field(500, ge=0, description="steps between sample grids; 0 = off")
    eval_every: int = Field(1000, ge=0, description="steps between evaluations; 0 = off")
    checkpoint_every: int = Field(1000, ge=0, description="steps between checkpoints; 0 = only at the end")
    keep: int = Field(2, ge=1, description="newest checkpoints to keep, beside the best")
    eval_samples: int = Field(2000, ge=10, description="generated samples in an evaluation")
    patience: int = Field(0, ge=0, description="stop after this many evaluations without a better score; 0 = never")
    equilibrium: int = Field(
        0, ge=0, description="stop after this many rows of the log with D's accuracy within 0.05 of ½; 0 = never"
    )

    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="arithmetic of the networks")
    threads: int | None = Field(None, ge=1, description="processor threads; all cores if unset")

    @field_validator("network")
    @classmethod
    def _network_exists(cls, name: str) -> str:
        return _known(name, NETWORKS)

    @field_validator("loss")
    @classmethod
    def _loss_exists(cls, name: str) -> str:
        return _known(name, LOSSES)

    @field_validator("channels")
    @classmethod
    def _grey_or_colour(cls, channels: int | None) -> int | None:
        if channels not in (None, 1, 3):
            raise ValueError("choose 1 for grey or 3 for colour")
        return channels

    @field_validator("penalty", "augment", "stabilizer", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, given: Any) -> Any:
        return () if given in _NONE else (given,) if isinstance(given, str) else given

    @field_validator("penalty")
    @classmethod
    def _penalties_exist(cls, specs: tuple[str, ...]) -> tuple[str, ...]:
        names = [parse_penalty(spec)[0] for spec in specs]
        if len(set(names)) < len(names):
            raise ValueError(f"each penalty can be given once, not {', '.join(specs)}")
        return specs

    @field_validator("stabilizer")
    @classmethod
    def _stabilizers_exist(cls, specs: tuple[str, ...]) -> tuple[str, ...]:
        names = [parse_stabilizer(spec)[0] for spec in specs]
        if len(set(names)) < len(names):
            raise ValueError(f"each stabilizer can be given once, not {', '.join(specs)}")
        return specs

    @field_validator("augment")
    @classmethod
    def _augmentations_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _known(name, AUGMENTATIONS)
        if len(set(names)) < len(names):
            raise ValueError("each augmentation can be given once")
        return names

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"the length of a run is one of --steps, --epochs and --images, not {len(given)} of them")
        return self

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> TrainConfig:
        reason = next(contradictions(self), None)
        if reason is not None:
            raise ValueError(reason)
        return self

    @property
    def labels(self) -> Labels:
        """D's targets."""
        return Labels(self.real_label, self.fake_label)

    @property
    def penalties(self) -> dict[str, float | None]:
        """Weight of each penalty, by name; None where `penalty_weights` works it out."""
        return dict(parse_penalty(spec) for spec in self.penalty)

    def penalty_weights(self, shape: tuple[int, ...]) -> dict[str, float]:
        """Return the weight of each penalty for samples of this shape; ``auto`` follows `auto_weight`."""
        rule = auto_weight(shape, self.batch_size)
        return {name: rule if weight is None else weight for name, weight in self.penalties.items()}

    @property
    def stabilizers(self) -> dict[str, dict[str, float]]:
        """Numbers of each stabilizer, by name."""
        return dict(parse_stabilizer(spec) for spec in self.stabilizer)

    @property
    def packing(self) -> int:
        """Samples that D judges at a time."""
        return int(self.stabilizers.get("packing", {}).get("m", 1))

    @property
    def mixes_samples(self) -> bool:
        """Whether D's logit of a sample depends on the rest of its batch."""
        return self.d_norm == "batch" or any(name.startswith("minibatch-") for name in self.stabilizers)

    @property
    def judges_together(self) -> bool:
        """Whether one pass of D judges real and fake: when asked for, and where it is the same and saves time."""
        return self.d.mixed or (not self.mixes_samples and {"r1", "r2"} <= self.penalties.keys())

    @property
    def g_norm(self) -> str:
        """G's normalization: the one set, or the network's own."""
        return self.g.norm or NETWORKS[self.network].g_norm

    @property
    def d_norm(self) -> str:
        """D's normalization: the one set, or the network's own."""
        return self.d.norm or NETWORKS[self.network].d_norm

    def network_spec(self, shape: tuple[int, ...]) -> NetworkSpec:
        """Return what the networks must fit, for samples of this shape."""
        own, steady = NETWORKS[self.network], self.stabilizers
        kernels = steady.get("minibatch-discrimination", {})
        return NetworkSpec(
            shape=shape,
            latent_dim=self.latent_dim,
            prior=self.prior,
            packing=self.packing,
            g=PlayerSpec(self.g.width or own.g_width, self.g_norm, self.g.norm_momentum, self.g.init_std),
            d=PlayerSpec(
                width=self.d.width or own.d_width,
                norm=self.d_norm,
                momentum=self.d.norm_momentum,
                init_std=self.d.init_std,
                spectral="spectral-norm" in steady,
                stddev_group=int(steady.get("minibatch-stddev", {}).get("group", 0)),
                kernels=int(kernels.get("kernels", 0)),
                kernel_dims=int(kernels.get("dims", 0)),
            ),
        )

    def total_steps(self, dataset_size: int) -> int:
        """Return the length of the run in steps, for a data set of this size."""
        if self.steps is not None:
            return self.steps
        images = self.images if self.images is not None else (self.epochs or 0) * dataset_size
        return max(1, round(images / self.batch_size))

    def identity(self) -> str:
        """Return a hash of all that must be the same for a run to be resumed: not its length, cadence or machine."""
        fixed = self.model_dump(mode="json", exclude=set(LENGTHS) | _NOT_IDENTITY)
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


LENGTHS = ("steps", "epochs", "images")
_NONE: tuple[Any, ...] = ("none", ("none",), ["none"], (), [])
_REPEATED = ("penalty", "augment", "stabilizer")
_NESTED = ("g", "d", "burn_in")
_NOT_IDENTITY = {
    *("log_every", "sample_every", "eval_every", "checkpoint_every", "keep", "eval_samples", "patience", "equilibrium"),
    *("device", "threads", "data_root"),
}


def _known(name: str, table: Mapping[str, object]) -> str:
    if name not in table:
        raise ValueError(unknown_name("", name, table).removeprefix(": "))
    return name


#: γ of R1 and R2 a pixel and sample of the batch.
_AUTO = 0.006


def auto_weight(shape: tuple[int, ...], batch_size: int) -> float:
    """Return the weight of R1 and R2 that ``auto`` stands for: 0.006 H W / B.

    A picture of twice the side has four times the pixels, each with a quarter of the effect on D, so that ‖∇_x D‖² falls to a
    quarter and the weight must grow with H W to mean the same; a larger batch has less noise to hold down (the form is
    StyleGAN2's, arXiv:1912.04958). 0.006 gives 0.1 at 32×32 and batch 64, with which
    stacked MNIST finds its thousand modes.

    Args:
        shape: of one sample.
        batch_size: real samples in a turn.
    """
    pixels = shape[1] * shape[2] if len(shape) == 3 else 1
    return _AUTO * pixels / batch_size


def parse_penalty(spec: str) -> tuple[str, float | None]:
    """Split ``name:weight``.

    Args:
        spec: for example ``"r1:0.1"`` or ``"r1:auto"``.

    Returns:
        The penalty's name and its weight, None for ``auto``.

    Raises:
        ValueError: the name is unknown or the weight is not a positive number.
    """
    name, colon, number = spec.partition(":")
    _known(name, PENALTIES)
    if number == "auto" and PENALTIES[name].auto:
        return name, None
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not colon or not 0 < weight < float("inf"):
        raise ValueError(f"'{spec}' needs a positive weight after a colon, as in {name}:0.1")
    return name, weight


def _partial(model: type[BaseModel], leave_out: frozenset[str] = frozenset()) -> type[BaseModel]:
    """Return the model with every field optional: what a user may set on top of a preset."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name in leave_out:
            continue
        kind = field.annotation
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
    if any(overrides.get(name) is not None for name in LENGTHS):
        values.update(dict.fromkeys(LENGTHS))
    loss = LOSSES.get(str(overrides.get("loss")))
    if loss is not None and not loss.smoothable:
        # The preset smoothed the labels of its own loss; the one chosen by hand has none.
        values |= {"real_label": Labels.real, "fake_label": Labels.fake}
    if overrides.get("penalty") in _NONE:
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
    names = [str(part) for part in first["loc"] if isinstance(part, str)]
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
    return [
        f"--{name.replace('_', '-')}" + (f"={value.lower()}" if value in ("True", "False") else f" {value}")
        for name, value in _flat(config).items()
        if value != _flat(base)[name] and value is not None
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


def _flat(model: BaseModel, prefix: str = "") -> dict[str, str | None]:
    """Return flag -> value as typed, None where unset; a flag that is repeated holds its repetition."""
    values: dict[str, str | None] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            values |= _flat(value, f"{prefix}{name}.")
        elif not prefix and name in _REPEATED:
            values[name] = f" --{name} ".join(value) or "none"
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
