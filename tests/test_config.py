"""Every wrong setting is one sentence that names the flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparring.config import TrainConfig
from sparring.errors import UsageError
from sparring.losses import LOSSES
from sparring.networks import NETWORKS, refuse_latent_dim, refuse_unfit
from sparring.presets import PRESETS, Preset, preset_for
from sparring.session import plan_config
from sparring.settings import differences, merge, read_config_file, resolve, settings_made, validate
from tests.tools import small_config

BASE = PRESETS["dcgan"].config("digits")

WRONG = [
    ({"loss": "hing"}, "--loss hing: unknown name 'hing'; did you mean 'hinge'?"),
    ({"network": "resnet"}, "--network resnet: unknown name 'resnet'"),
    ({"penalty": ("r3:1",)}, "--penalty r3:1: unknown name 'r3'; choose one of: consistency, dragan, r1, r2, wgan-gp"),
    ({"penalty": ("r1",)}, "'r1' needs a positive weight after a colon, as in r1:auto"),
    ({"penalty": ("dragan",)}, "as in dragan:10"),
    ({"penalty": ("r1:-1",)}, "needs a positive weight"),
    ({"penalty": ("r1:nan",)}, "needs a positive weight"),
    ({"penalty": ("r1:1", "r1:2")}, "each penalty can be given once"),
    ({"g": {"lr": -1e-4}}, "--g.lr -0.0001: input should be greater than 0"),
    ({"d": {"lr": "fast"}}, "--d.lr fast: input should be a valid number"),
    ({"d": {"steps": 0}}, "--d.steps 0: input should be greater than or equal to 1"),
    ({"g": {"betas": (0.5, 1.0)}}, "--g.betas 0.5 1.0: both must be at least 0 and below 1"),
    ({"g": {"optimizer": "rmsprop"}}, "--g.betas or --d.betas as 0 0.99"),
    ({"steps": 5, "epochs": 2}, "the length of a run is one of --steps, --epochs and --images, not 2 of them"),
    ({"steps": 0}, "--steps 0: input should be greater than or equal to 1"),
    ({"batch_size": 1}, "--batch-size 1"),
    ({"batch_size": "many"}, "--batch-size many: input should be a valid integer"),
    ({"network": "pixelcnn", "latents": "spread"}, "--latents: the network 'pixelcnn' learns from the likelihood"),
    ({"prior": "cauchy"}, "--prior cauchy: input should be 'normal' or 'uniform'"),
    ({"loss": "hinge", "real_label": 0.9}, "the loss 'hinge' has no labels to smooth"),
    ({"real_label": 0.1, "fake_label": 0.3}, "--real-label 0.1 must be above --fake-label 0.3"),
    ({"loss": "saturating", "fake_label": 0.1}, "smooth only --real-label"),
    ({"loss": "wasserstein", "real_label": 1.0}, "needs a bound on D's slope: give --penalty wgan-gp:10"),
    (
        {"loss": "wasserstein", "real_label": 1.0, "penalty": ("wgan-gp:10",)},
        "batch normalization in D mixes: give --d.norm layer",
    ),
    ({"learning_rate": 1}, "config: unknown name 'learning_rate'"),
    ({"lr": 1}, "did you mean 'g.lr'?"),
    ({"g": {"lrr": 1}}, "config: unknown name 'g.lrr'; did you mean 'g.lr'?"),
]


@pytest.mark.parametrize(("overrides", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_wrong_settings(overrides: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(BASE, overrides)
    sentence = str(caught.value)
    assert words in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_presets_are_complete_and_fit_their_data(preset: Preset) -> None:
    shapes = {
        "stacked-mnist": (3, 28, 28),
        "ring": (2,),
        "grid": (2,),
        "digits": (1, 28, 28),
        "mnist": (1, 28, 28),
        "fashion-mnist": (1, 28, 28),
    }
    for data in preset.suits or ("ring" if preset.name == "minimax" else "digits",):
        config = preset.config(data)
        assert config.preset == preset.name
        assert config.data == data
        assert validate(json.loads(config.model_dump_json())) == config
        refuse_unfit(config.network, shapes[data])
        refuse_latent_dim(config.network, shapes[data], config.latent_dim)
    assert preset.summary.endswith(".")
    assert "arXiv" in preset.paper
    assert preset.config.__doc__
    assert "sparring train" in preset.config.__doc__


def test_each_data_set_has_its_preset() -> None:
    assert preset_for("digits") == preset_for("mnist") == preset_for("fashion-mnist") == "dcgan32"
    assert preset_for("ring") == "points"
    assert preset_for("path/to/photos") == "modern"
    assert preset_for("tensor", points_in_plane=True) == "points"


def test_a_length_replaces_the_presets_length() -> None:
    assert resolve(BASE, {"epochs": 3}).steps is None
    assert resolve(BASE, {"images": 1000}).total_steps(10_000) == round(1000 / BASE.batch_size)
    assert resolve(BASE, {"epochs": 2.5}).total_steps(6400) == 250
    assert resolve(BASE, {"steps": 7}).total_steps(10) == 7


def test_a_loss_without_labels_drops_the_presets_smoothing_but_not_the_users() -> None:
    assert BASE.real_label == 0.9
    assert resolve(BASE, {"loss": "hinge"}).real_label == 1.0
    assert resolve(BASE, {"loss": "least-squares"}).real_label == 0.9
    with pytest.raises(UsageError, match="has no labels to smooth"):
        resolve(BASE, {"loss": "hinge", "real_label": 0.9})


def test_players_are_merged_setting_by_setting() -> None:
    config = resolve(BASE, {"g": {"lr": 1e-3}})
    assert config.g.lr == 1e-3
    assert config.g.ema_half_life == BASE.g.ema_half_life
    assert config.d == BASE.d
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}


def test_none_takes_the_presets_penalties_away() -> None:
    assert resolve(PRESETS["modern"].config("x"), {"penalty": ("none",)}).penalties == {}
    assert PRESETS["modern"].config("x").penalties == {"r1": None, "r2": None}


def test_identity_ignores_length_cadence_and_machine_and_nothing_else() -> None:
    same = {
        "steps": 9,
        "log_every": 1,
        "sample_every": 2,
        "eval_every": 3,
        "checkpoint_every": 4,
        "keep": 5,
        "threads": 1,
    }
    assert resolve(BASE, same).identity() == BASE.identity()
    for change in ({"loss": "least-squares"}, {"seed": 1}, {"g": {"lr": 1e-3}}, {"batch_size": 8}, {"data": "mnist"}):
        assert resolve(BASE, change).identity() != BASE.identity(), change


def test_differences_are_flags_as_typed() -> None:
    config = resolve(
        BASE, {"loss": "hinge", "real_label": 1.0, "g": {"lr": 1e-3}, "penalty": ("r1:0.1",), "d": {"norm": "none"}}
    )
    assert differences(config, BASE) == [
        "--loss hinge",
        "--penalty r1:0.1",
        "--real-label 1.0",
        "--g.lr 0.001",
        "--d.norm none",
    ]
    assert differences(BASE, BASE) == []


def test_settings_made_are_those_of_the_recipe() -> None:
    made = settings_made(PRESETS["wgan"].config("digits"))
    assert made["d.weight-clip"] == "0.01"
    assert made["loss"] == "wasserstein"
    assert settings_made(PRESETS["modern"].config("digits"))["penalty"] == "r1:auto --penalty r2:auto"
    assert resolve(BASE, {"penalty": "r1:0.1"}).penalties == {"r1": 0.1}
    assert "seed" not in made


def test_files_in_toml_and_json(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('loss = "hinge"\nreal_label = 1.0\n[g]\nlr = 1e-3\n')
    assert read_config_file(tmp_path / "a.toml") == {"loss": "hinge", "real_label": 1.0, "g": {"lr": 1e-3}}
    (tmp_path / "b.json").write_text(BASE.model_dump_json())
    assert plan_config("digits", None, read_config_file(tmp_path / "b.json")) == BASE
    (tmp_path / "c.toml").write_text("loss = ")
    for name, words in (("c.toml", "is not valid TOML"), ("missing.toml", "cannot read")):
        with pytest.raises(UsageError, match=words):
            read_config_file(tmp_path / name)


def test_an_unknown_preset_has_a_neighbour() -> None:
    with pytest.raises(UsageError, match="--preset: unknown name 'dcgn'; did you mean 'dcgan'"):
        plan_config("digits", "dcgn", {})


@pytest.mark.parametrize("network", NETWORKS)
def test_width_and_norm_default_to_the_networks_own(network: str) -> None:
    config = TrainConfig(
        data="digits", preset="dcgan", network=network, steps=1, prior=NETWORKS[network].prior or "normal"
    )
    spec = config.network_spec((1, 28, 28))
    row = NETWORKS[network]
    assert (spec.g.width, spec.d.width, spec.g.norm, spec.d.norm) == (row.g_width, row.d_width, row.g_norm, row.d_norm)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_setting_is_accepted_and_ignored_smoothing(loss: str) -> None:
    settings: dict[str, Any] = {"loss": loss, "real_label": 0.9}
    if LOSSES[loss].lipschitz:
        settings |= {"d": {"weight_clip": 0.01}}
    if LOSSES[loss].smoothable:
        assert small_config("ring", **settings).labels.real == 0.9
    else:
        with pytest.raises(UsageError, match="has no labels to smooth"):
            small_config("ring", **settings)
