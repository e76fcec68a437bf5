"""Sampling: reproducible, independent of the batch, without side effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sparring
from sparring.generator import generate
from sparring.pictures import image_grid, to_png, to_uint8
from sparring.randomness import draw_prior, latents, randomness


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> sparring.Run:
    return sparring.train(
        "digits",
        preset="dcgan32",
        out=tmp_path_factory.mktemp("runs"),
        steps=6,
        batch_size=8,
        latent_dim=16,
        g={"width": 4},
        d={"width": 4},
        eval_every=2,
        eval_share=1.0,
        eval_samples=20,
        checkpoint_every=1,
        threads=1,
        precision="fp32",
        device="cpu",
    )


def test_samples_are_a_pure_function_of_seed_and_number(run: sparring.Run) -> None:
    gan = sparring.load(run.path)
    x = gan.sample(300, seed=3)
    assert x.shape == (300, 1, 32, 32)
    assert x.dtype == torch.float32
    assert x.abs().max() <= 1
    torch.testing.assert_close(gan.sample(5, seed=3), x[:5])
    torch.testing.assert_close(torch.cat(list(gan.batches(300, seed=3))), x)
    assert not torch.equal(gan.sample(5, seed=4), x[:5])


def test_one_sample_alone_equals_itself_in_a_batch(run: sparring.Run) -> None:
    """Batch norm's running averages make it so (LECTURES T10)."""
    gan = sparring.load(run.path)
    together = gan.sample(10)
    for index in (0, 7):
        alone = generate(gan.network, gan.config, 0, index, 1, torch.device("cpu"))
        torch.testing.assert_close(alone[0], together[index])


def test_sampling_leaves_every_buffer_and_the_global_randomness_alone(run: sparring.Run) -> None:
    gan = sparring.load(run.path)
    before = {name: value.clone() for name, value in gan.network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    gan.sample(20)
    assert torch.equal(torch.randn(3), expected)
    assert all(torch.equal(before[name], value) for name, value in gan.network.state_dict().items())


def test_the_best_checkpoint_is_loaded_unless_another_is_named(run: sparring.Run) -> None:
    best = run.directory.best()
    assert best is not None
    assert sparring.load(run.path).source == best
    newest = run.directory.checkpoints()[-1]
    assert sparring.load(newest).source == newest.resolve()
    scores = run.scores()
    assert scores is not None
    assert scores["fd"] == min(event["fd"] for event in run.directory.events("eval"))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sparring.UsageError, match="there is no run or checkpoint"):
        sparring.load(tmp_path / "nothing")
    with pytest.raises(sparring.UsageError, match="is not a run directory"):
        sparring.load(tmp_path)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_latents_are_one_endless_list(prior: str) -> None:
    whole = latents(prior, 5, 9, 0, 700)
    for first, count in ((0, 1), (255, 2), (256, 300), (699, 1)):
        assert torch.equal(latents(prior, 5, 9, first, count), whole[first : first + count])


def test_priors_have_their_moments() -> None:
    normal = draw_prior("normal", 20_000, 2, randomness(0))
    uniform = draw_prior("uniform", 20_000, 2, randomness(0))
    assert normal.mean().abs() < 0.02
    assert normal.std() == pytest.approx(1, abs=0.02)
    assert uniform.mean().abs() < 0.02
    assert uniform.std() == pytest.approx((1 / 3) ** 0.5, abs=0.01)
    assert -1 <= uniform.min() < -0.99
    assert 0.99 < uniform.max() < 1


def test_pixels_are_the_inverse_of_the_datas_scaling() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x = torch.from_numpy((pixels.astype(np.float32) - 127.5) / 127.5)
    assert (to_uint8(x)[..., 0] == pixels[0]).all()


def test_a_grid_holds_every_sample_in_its_place() -> None:
    x = torch.linspace(-1, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 4, 4)
    grid = np.asarray(image_grid(x, columns=3))
    assert grid.shape == (2 * 6 + 2, 3 * 6 + 2)
    for index in range(6):
        row, column = divmod(index, 3)
        assert (grid[2 + row * 6 : 6 + row * 6, 2 + column * 6 : 6 + column * 6] == index * 51).all()


def test_pictures_say_that_they_are_synthetic(run: sparring.Run, tmp_path: Path) -> None:
    """LECTURES A12."""
    (tmp_path / "a.png").write_bytes(to_png(image_grid(sparring.load(run.path).sample(4)), "here"))
    for path in (tmp_path / "a.png", next((run.path / "samples").iterdir())):
        with Image.open(path) as picture:
            assert "synthetic" in picture.info["Source"]
            assert picture.info["Software"].startswith("sparring")


def test_pictures_name_the_run_and_no_path(run: sparring.Run) -> None:
    gan = sparring.load(run.path)
    assert gan.origin == f"{run.path.name} step {gan.step}"


def test_images_are_pictures(run: sparring.Run) -> None:
    images = sparring.load(run.path).images(3)
    assert [image.size for image in images] == [(32, 32)] * 3
    assert images[0].mode == "L"
