from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from importlib.resources import files

import numpy as np
import pytest
import torch

from sparring.data import SOURCES, Data, open_data
from sparring.data.records import fingerprint, make_data
from sparring.errors import UsageError


@pytest.fixture(scope="module")
def digits() -> Data:
    return open_data("digits")


def test_the_package_imports_nothing_heavy():
    code = "import sys, sparring.data; print(sorted({'torch', 'PIL', 'pooch', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sources_are_keyed_by_their_names_and_say_what_they_are():
    assert list(SOURCES) == ["digits", "mnist", "fashion-mnist", "stacked-mnist", "ring", "grid"]
    assert all(source.name == name and source.summary and source.licence for name, source in SOURCES.items())


def test_digits(digits):
    assert digits.name == "digits"
    assert digits.samples.shape == (10_000, 1, 28, 28)
    assert digits.samples.dtype == np.uint8
    assert digits.shape == (1, 28, 28)
    assert digits.class_names == tuple("0123456789")
    assert digits.num_classes == 10
    assert digits.judge == digits.held_out.judge == "digits-v1"
    assert len(digits.held_out) == 2000
    assert digits.problems == ()
    assert np.bincount(digits.labels, minlength=10).min() > 800
    assert 0.12 < digits.samples.mean() / 255 < 0.14  # MNIST's mean is 0.1307


def test_the_embedded_file_is_the_one_its_readme_describes():
    folder = files("sparring.data") / "embedded"
    content = (folder / "digits.npz").read_bytes()
    readme = (folder / "README.md").read_text("utf-8")
    assert hashlib.sha256(content).hexdigest() in readme
    assert "CC BY-SA 3.0" in SOURCES["digits"].licence
    assert "Creative Commons Attribution-Share Alike 3.0" in readme
    assert len(content) < 3_000_000
    with zipfile.ZipFile(folder / "digits.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_no_held_out_digit_is_trained_on(digits):
    train = {image.tobytes() for image in digits.samples}
    assert not any(image.tobytes() in train for image in digits.held_out.samples)


def test_a_batch_is_exact(digits):
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x, y = make_data("all levels", levels).batch(np.array([0, 0]))
    expected = torch.tensor([(u - 127.5) / 127.5 for u in range(256)], dtype=torch.float32).reshape(1, 16, 16)
    assert y is None
    assert x.dtype == torch.float32
    assert torch.equal(x[0], expected)
    assert torch.equal(x[1], expected)
    assert (x.min(), x.max()) == (-1, 1)


def test_a_batch_picks_the_right_samples_and_is_fresh_memory(digits):
    indices = np.array([17, 3, 17, 9999])
    x, y = digits.batch(indices)
    assert x.shape == (4, 1, 28, 28)
    assert y.dtype == torch.int64
    assert torch.equal(y, torch.from_numpy(digits.labels[indices]))
    assert (((x * 127.5) + 127.5).round().numpy() == digits.samples[indices]).all()
    before = digits.samples[17].copy(), digits.labels[17]
    x.zero_()
    y.zero_()
    assert (digits.samples[17] == before[0]).all()
    assert digits.labels[17] == before[1]


def test_a_batch_of_points_is_the_points_divided_by_the_largest_coordinate():
    ring = open_data("ring")
    x, y = ring.batch(np.array([5, 6]))
    assert y is None
    assert x.dtype == torch.float32
    assert np.allclose(x.numpy() * ring.scale, ring.samples[[5, 6]])
    assert abs(ring.batch(np.arange(len(ring)))[0]).max() == 1


def test_the_fingerprint_is_of_everything_that_is_trained_on():
    samples = np.arange(48, dtype=np.uint8).reshape(3, 1, 4, 4)
    labels = np.array([0, 1, 0])
    prints = [
        fingerprint(samples, None),
        fingerprint(samples, labels),
        fingerprint(samples, labels[::-1] * 2),
        fingerprint(samples[:2], labels[:2]),
        fingerprint(samples.reshape(3, 4, 2, 2), labels),
        fingerprint(samples ^ 1, labels),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(samples[::-1], labels) == fingerprint(samples[::-1].copy(), labels)


def test_a_wrong_name_is_told_the_near_one():
    with pytest.raises(UsageError) as caught:
        open_data("digts")
    assert str(caught.value) == (
        "data: 'digts' is neither a data set (did you mean 'digits'?) nor an existing folder or file; the data sets "
        "are digits, mnist, fashion-mnist, stacked-mnist, ring, grid."
    )


def test_a_wrong_path_is_not_told_a_name(tmp_path):
    with pytest.raises(UsageError, match=r"'/no/such/place' is neither a data set nor an existing folder"):
        open_data("/no/such/place")
    file = tmp_path / "one.png"
    file.write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"is a file, but neither a .zip of images nor an array \(.npy\) nor a table of points"
    ):
        open_data(file)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": 0}, "--resolution: 0 is not a whole number of pixels from 1 to 4096"),
        ({"resolution": 32.0}, "--resolution: 32.0 is not"),
        ({"resolution": True}, "--resolution: True is not"),
        ({"resolution": 5000}, "--resolution: 5000 is not"),
        ({"channels": 2}, "--channels: 2 is neither 1"),
        ({"fit": "cropp"}, "--fit: unknown name 'cropp'; did you mean 'crop'?"),
        ({"background": "whit"}, "--background: 'whit' is not an opaque colour"),
        ({"background": "#ffffff80"}, "--background: '#ffffff80' is not an opaque colour"),
    ],
)
def test_a_wrong_option_is_named_by_its_flag(options, words):
    with pytest.raises(UsageError) as caught:
        open_data("digits", **options)
    assert words in str(caught.value)


def test_named_images_at_another_size_keep_their_judge(digits):
    large = open_data("digits", resolution=32, channels=3)
    assert large.shape == large.held_out.shape == (3, 32, 32)
    assert large.judge == "digits-v1"
    assert (large.samples[:, 0] == large.samples[:, 2]).all()
    assert (large.labels == digits.labels).all()
    assert large.sha256 != digits.sha256
    assert large.sha256 == fingerprint(large.samples, large.labels)
    assert abs(float(large.samples[:500].mean()) - float(digits.samples[:500].mean())) < 1


def test_asking_for_what_is_there_changes_nothing(digits):
    same = open_data("digits", resolution=28, channels=1)
    assert same.sha256 == digits.sha256
    assert same.judge == "digits-v1"


@pytest.mark.parametrize("option", ["resolution", "channels"])
def test_points_have_no_pixels(option):
    with pytest.raises(UsageError, match=f"--{option}: 'ring' holds points"):
        open_data("ring", **{option: 1})
