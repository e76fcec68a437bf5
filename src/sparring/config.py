"""The one source of flags, files and checks: frozen models that describe a training run completely.

How values of a preset, a file and the command line become such a model is told in `sparring.settings`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from sparring.augment import AUGMENTATIONS
from sparring.combinations import contradictions, without_opponent
from sparring.errors import unknown_name
from sparring.losses import LOSSES, Labels
from sparring.metrics import METRICS, family_of
from sparring.networks import NETWORKS, NetworkSpec, PlayerSpec
from sparring.penalties import auto_weight, parse_penalty
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
    latents: Literal["independent", "spread"] = Field(
        "independent", description="the z of a batch: drawn independently, or spread evenly over the prior"
    )
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
    batch_size: int = Field(
        64,
        ge=2,
        description="real images in a turn of D, and fakes of either; auto = the recipe's, in pieces that fit into memory",
    )
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
    eval_metrics: tuple[str, ...] = Field(
        (),
        description="families of metrics, separated by commas (sparring list families); the usual ones of the data if unset",
    )
    eval_features: str | None = Field(
        None, description="feature extractor (sparring list extractors); the one that knows the data if unset"
    )
    eval_share: float = Field(
        0.1, gt=0, le=1, description="largest share of the time that evaluations take; more are skipped, never the last"
    )
    best_by: str | None = Field(
        None, description="metric that the best checkpoint is chosen by, and --patience looks at"
    )
    patience: int = Field(0, ge=0, description="stop after this many evaluations without a better score; 0 = never")
    equilibrium: int = Field(
        0, ge=0, description="stop after this many rows of the log with D's accuracy within 0.05 of ½; 0 = never"
    )

    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 or mps")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="arithmetic of the networks")
    kernels: Literal["fast", "plain"] = Field(
        "fast", description="sparring's own and CUDA graphs, or PyTorch as it comes"
    )
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

    @field_validator("penalty", "augment", "stabilizer", "eval_metrics", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, given: Any) -> Any:
        return () if given in NONE else (given,) if isinstance(given, str) else given

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

    @field_validator("eval_metrics")
    @classmethod
    def _families_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(family_of(name) for word in names for name in word.split(",")))

    @field_validator("best_by")
    @classmethod
    def _metric_exists(cls, name: str | None) -> str | None:
        return None if name is None else _known(name, METRICS)

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

    @model_serializer(mode="wrap")
    def _what_is_at_work(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write no setting of a player that does not play: nobody shall read it as if it did something."""
        values: dict[str, Any] = write(self)
        return values if "D" in self.players else without_opponent(values)

    @property
    def players(self) -> dict[str, PlayerConfig]:
        """The settings of those who play, by name."""
        settings: dict[str, PlayerConfig] = {"G": self.g, "D": self.d}
        return {name: settings[name] for name in NETWORKS[self.network].players}

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
#: What takes all of a preset's penalties, augmentations or stabilizers away.
NONE: tuple[Any, ...] = ("none", ("none",), ["none"], (), [])
_NOT_IDENTITY = {
    *("log_every", "sample_every", "eval_every", "checkpoint_every", "keep", "patience", "equilibrium"),
    *("eval_samples", "eval_metrics", "eval_features", "eval_share", "best_by"),
    *("device", "threads", "kernels", "data_root"),
}


def _known(name: str, table: Mapping[str, object]) -> str:
    if name not in table:
        raise ValueError(unknown_name("", name, table).removeprefix(": "))
    return name
