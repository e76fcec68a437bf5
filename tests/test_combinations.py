"""What does not go together is refused with its reason; what is doubtful is said; the rest passes."""

from __future__ import annotations

from typing import Any

import pytest

from sparring.combinations import cautions, contradictions
from sparring.config import TrainConfig
from sparring.errors import UsageError
from sparring.penalties import auto_weight
from sparring.presets import PRESETS
from sparring.settings import resolve
from tests.tools import small_config

#: settings -> a piece of the sentence that refuses them
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"loss": "wasserstein"}, "needs a bound on D's slope"),
    (
        {"loss": "wasserstein", "stabilizer": ("spectral-norm",), "d": {"norm": "batch"}},
        "needs a bound on D's slope",
    ),
    ({"penalty": ("wgan-gp:10",), "d": {"weight_clip": 0.01}}, "both bound D's slope; give one of them"),
    ({"stabilizer": ("spectral-norm",), "d": {"weight_clip": 0.01}}, "clipping them means nothing"),
    ({"penalty": ("wgan-gp:10",), "d": {"norm": "batch"}}, "which batch normalization in D mixes"),
    ({"d": {"norm": "virtual"}}, "only G has it"),
    ({"g": {"norm_momentum": 0.2}}, "there is no batch normalization in G (its norm is none)"),
    ({"stabilizer": ("unrolled:5",), "penalty": ("r1:1",)}, "takes third derivatives"),
    ({"stabilizer": ("unrolled:5",), "d": {"weight_clip": 0.1}}, "the unrolled steps are not clipped"),
    ({"stabilizer": ("balance-loss", "balance-accuracy")}, "both decide when D plays"),
    ({"stabilizer": ("balance-accuracy",), "alternate": 4}, "both decide when D plays"),
    ({"stabilizer": ("balance-loss",), "loss": "hinge"}, "can be negative"),
    ({"stabilizer": ("balance-loss",), "loss": "saturating"}, "can be negative"),
    ({"batch_size": 10, "accumulate": 4}, "must be a multiple of --accumulate 4"),
    ({"batch_size": 10, "stabilizer": ("packing:4",)}, "give a --batch-size that is a multiple of 4"),
    ({"batch_size": 4, "stabilizer": ("packing:4",)}, "at least two packs"),
    ({"batch_size": 16, "accumulate": 2, "stabilizer": ("packing:3",)}, "a multiple of 6"),
    ({"batch_size": 6, "stabilizer": ("minibatch-stddev:4",)}, "does not split into groups of 4"),
    ({"penalty_every": 4}, "there is no penalty"),
    ({"decay": "cosine"}, "the rate never falls"),
    ({"patience": 3, "eval_every": 0}, "--patience counts evaluations"),
    ({"equilibrium": 3, "log_every": 0}, "--equilibrium counts rows"),
    ({"penalty": ("wgan-gp:auto",)}, "needs a positive weight"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED, ids=[str(settings) for settings, _ in REFUSED])
def test_refused_with_its_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        small_config("ring", **{"loss": "non-saturating", "penalty": (), **settings})
    assert words in str(caught.value)
    assert "--" in str(caught.value), "the sentence names a flag"


#: settings that differ from a refused one by what the sentence asks for
ACCEPTED: list[dict[str, Any]] = [
    {"loss": "wasserstein", "stabilizer": ("spectral-norm",)},
    {"loss": "wasserstein", "d": {"weight_clip": 0.01}},
    {"penalty": ("wgan-gp:10",), "d": {"norm": "layer"}},
    {"g": {"norm": "virtual"}},
    {"g": {"norm": "batch", "norm_momentum": 0.2}},
    {"stabilizer": ("unrolled:0",), "penalty": ("r1:1",)},
    {"stabilizer": ("balance-loss",), "loss": "relativistic"},
    {"batch_size": 12, "accumulate": 2, "stabilizer": ("packing:3",)},
    {"batch_size": 8, "stabilizer": ("minibatch-stddev:4",)},
    {"penalty_every": 4, "penalty": ("r1:1",)},
    {"decay": "cosine", "decay_from": 0.5},
]


@pytest.mark.parametrize("settings", ACCEPTED, ids=str)
def test_accepted(settings: dict[str, Any]) -> None:
    config = small_config("ring", **{"loss": "non-saturating", "penalty": (), **settings})
    assert list(contradictions(config)) == []


DOUBTFUL: list[tuple[dict[str, Any], str]] = [
    ({"stabilizer": ("spectral-norm",), "d": {"norm": "batch"}}, "spectral norm under batch normalization"),
    ({"stabilizer": ("lecam",), "loss": "relativistic"}, "sees differences only"),
    ({"loss": "wasserstein", "d": {"weight_clip": 0.01}}, "unstable with momentum"),
    ({"fake_label": 0.1}, "one side is enough"),
    ({"accumulate": 2, "d": {"norm": "batch"}}, "those of a piece of the batch"),
    ({"d": {"steps": 5}}, "sparring theory T5"),
]


@pytest.mark.parametrize(("settings", "words"), DOUBTFUL, ids=[words for _, words in DOUBTFUL])
def test_doubtful_combinations_are_said(settings: dict[str, Any], words: str) -> None:
    betas = {"betas": (0.5, 0.999)}
    merged = {"loss": "non-saturating", "penalty": (), **settings, "d": betas | settings.get("d", {})}
    (caution,) = cautions(small_config("ring", **merged))
    assert words in caution


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_is_doubtful(preset: str) -> None:
    assert not list(cautions(PRESETS[preset].config("digits")))


def test_auto_weight_grows_with_the_pixels_and_falls_with_the_batch() -> None:
    assert auto_weight((1, 32, 32), 64) == pytest.approx(0.096)
    assert auto_weight((3, 64, 64), 64) == pytest.approx(4 * auto_weight((3, 32, 32), 64))
    assert auto_weight((3, 64, 64), 128) == pytest.approx(auto_weight((3, 64, 64), 64) / 2)


def test_auto_is_worked_out_for_the_shape_and_other_weights_stand() -> None:
    config = resolve(PRESETS["dcgan"].config("digits"), {"penalty": ("r1:auto", "r2:0.5")})
    assert config.penalty_weights((1, 32, 32)) == {"r1": auto_weight((1, 32, 32), config.batch_size), "r2": 0.5}
    assert isinstance(config, TrainConfig)
