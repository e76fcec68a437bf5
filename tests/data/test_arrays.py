from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from sparring.data import open_data
from sparring.errors import DataError, UsageError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


class Listed(Dataset):
    def __init__(self, items, classes=None):
        self.items = items
        self.classes = classes

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self):
        return len(self.items)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (5, 1, 8, 6), (5, 4, 8, 8), (5, 8, 8)])
def test_uint8_images_are_taken_as_they_are(make, shape):
    pixels = noise(*shape)
    data = open_data(make(pixels))
    assert data.samples.dtype == np.uint8
    assert (data.samples == pixels.reshape(5, -1, *shape[-2:])).all()
    assert (data.name, data.labels, data.held_out, data.judge) == ("array", None, None, None)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_may_come_last(channels):
    pixels = noise(5, channels, 8, 6)
    assert (open_data(pixels.transpose(0, 2, 3, 1)).samples == pixels).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_float_images_come_back_to_their_level(dtype):
    levels = torch.arange(256).reshape(4, 1, 8, 8)
    x = ((levels - 127.5) / 127.5).to(dtype)
    data = open_data(x)
    error = np.abs(data.samples.astype(int) - levels.numpy()).max()
    assert error == 0 if dtype != torch.bfloat16 else error <= 1
    assert (data.samples.min(), data.samples.max()) == (0, 255)


def test_a_batch_of_float_images_is_what_was_given():
    x = (torch.arange(64).reshape(4, 1, 4, 4) * 4 - 127.5) / 127.5
    assert torch.allclose(open_data(x).batch(np.arange(4))[0], x, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((3, 1, 4, 4), 0.5), r"in \[-1, 1\], these seem to be in \[0, 1\]; give 2 \* x - 1, or uint8"),
        (np.linspace(-1, 1.01, 48).reshape(3, 1, 4, 4), r"in \[-1, 1\], these are in \[-1, 1.01\]"),
        (np.linspace(0, 255, 48).reshape(3, 1, 4, 4), r"these (are|seem to be) in \[0, "),
        (np.full((3, 1, 4, 4), np.nan), r"these are in \[nan, nan\]"),
        (np.zeros((3, 1, 4, 4), np.int64), r"images of type int64 are neither uint8"),
        (np.zeros((3, 1, 4, 4), bool), r"images of type bool"),
        (np.zeros((3, 1, 4, 4), complex), r"images of type complex128"),
        (np.zeros(4, np.uint8), r"an array of shape \(4,\) is neither images"),
        (np.zeros((4, 3)), r"an array of shape \(4, 3\) is neither images"),
        (np.zeros((4, 3, 0, 8), np.uint8), r"an array of shape \(4, 3, 0, 8\) is neither images"),
        (np.array([[0.0, np.inf], [1, 2]]), r"the points hold values that are not finite"),
    ],
)
def test_arrays_that_cannot_be_understood(array, words):
    with pytest.raises(UsageError, match=words):
        open_data(array)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples(count):
    with pytest.raises(DataError, match=f"holds {count} samples; training needs at least 2"):
        open_data(noise(count, 3, 8, 8))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points(dtype):
    points = np.random.default_rng(0).normal(size=(10, 2)).astype(dtype) * 5
    data = open_data(points)
    assert data.samples.dtype == np.float32
    assert data.shape == (2,)
    assert data.scale == pytest.approx(np.abs(points).max())
    assert np.allclose(data.batch(np.arange(10))[0] * data.scale, points)


def test_a_given_array_is_not_changed_by_training_on_it():
    x = torch.linspace(-1, 1, 64).reshape(4, 1, 4, 4)
    before = x.clone()
    open_data(x).batch(np.arange(4))[0].zero_()
    assert torch.equal(x, before)


def test_resolution_and_channels():
    pixels = noise(3, 3, 8, 8)
    assert open_data(pixels, resolution=4).shape == (3, 4, 4)
    grey = open_data(pixels, channels=1)
    luma = (pixels * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(axis=1)
    assert np.abs(grey.samples[:, 0] - luma).max() < 1
    assert (open_data(pixels[:, :1], channels=3).samples == pixels[:, :1]).all()
    assert open_data(noise(3, 1, 8, 4), resolution=4).shape == (1, 4, 4)
    with pytest.raises(UsageError, match="images of 4 channels can only be used as they are"):
        open_data(noise(3, 4, 8, 8), resolution=4)


def test_fit_of_oblong_arrays():
    pixels = noise(3, 3, 8, 16)
    assert (open_data(pixels, resolution=8).samples == pixels[..., 4:12]).all()
    padded = open_data(pixels, resolution=16, fit="pad", background="black")
    assert (padded.samples[:, :, :4] == 0).all()
    assert (padded.samples[:, :, 4:12] == pixels).all()
    with pytest.raises(UsageError, match="200×4 is too long to be cropped"):
        open_data(noise(3, 3, 4, 200), resolution=8)


@pytest.mark.parametrize("kind", ["PIL", "tensor", "float", "HWC", "CHW"])
def test_data_sets_of_any_kind_of_image(kind):
    pixels = noise(4, 3, 8, 8)
    make = {
        "PIL": lambda image: Image.fromarray(image.transpose(1, 2, 0)),
        "tensor": torch.from_numpy,
        "float": lambda image: (torch.from_numpy(image) - 127.5) / 127.5,
        "HWC": lambda image: image.transpose(1, 2, 0),
        "CHW": lambda image: image,
    }[kind]
    data = open_data(Listed([(make(image), number % 2) for number, image in enumerate(pixels)]))
    assert (data.samples == pixels).all()
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert data.labels.dtype == np.int64
    assert data.class_names == ("0", "1")
    assert data.name == "Listed"


def test_items_without_labels_and_points():
    assert open_data(Listed(list(torch.from_numpy(noise(3, 1, 4, 4))))).labels is None
    assert open_data(TensorDataset(torch.from_numpy(noise(3, 1, 4, 4)))).labels is None
    assert open_data(TensorDataset(torch.randn(9, 2))).shape == (2,)
    assert open_data(TensorDataset(torch.randn(9, 2), torch.zeros(9, dtype=torch.long))).num_classes == 1


def test_torchvision_s_names_of_classes():
    items = [(image, number) for number, image in enumerate(noise(2, 1, 4, 4))]
    assert open_data(Listed(items, ["cat", "dog", "cow"])).class_names == ("cat", "dog", "cow")
    assert open_data(Listed(items, ["cat"])).class_names == ("0", "1")


def test_images_of_several_sizes_and_kinds():
    items = [Image.new("RGB", (30, 20), "red"), Image.new("L", (20, 20), 9), Image.new("RGBA", (9, 9))]
    assert open_data(Listed(items)).shape == (3, 64, 64)
    data = open_data(Listed(items), resolution=16, background="blue")
    assert data.samples[:, :, 0, 0].tolist() == [[255, 0, 0], [9, 9, 9], [0, 0, 255]]
    assert open_data(Listed(items), channels=1).shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([(noise(1, 4, 4), 0.5)] * 2, "labels of the data set must be whole numbers"),
        ([(noise(1, 4, 4), 0), (noise(1, 4, 4), None)], "labels of the data set must be whole numbers"),
        ([(noise(1, 4, 4), -1)] * 2, "labels run from -1 to -1"),
        ([(noise(1, 4, 4), 10**9)] * 2, "labels run from"),
        ([(noise(1, 4, 4), 0, 0)] * 2, "has 3 parts; it must be image or"),
        ([("name.png", 0)] * 2, "item 0 of the data set is a str"),
        ([noise(2, 3, 4, 4)] * 2, r"item 0 of the data set is a array of shape \(2, 3, 4, 4\)"),
        ([np.zeros((1, 4, 4))] * 2, r"seem to be in \[0, 1\]"),
        ([np.full((1, 4, 4), 7.0)] * 2, r"these are in \[7, 7\]"),
        ([noise(4, 4, 4), noise(4, 5, 5)], "the items have the shapes"),
        ([Image.new("F", (4, 4))] * 2, "Pillow image of mode F, whose range is unknown"),
    ],
)
def test_data_sets_that_cannot_be_understood(items, words):
    with pytest.raises(UsageError, match=words):
        open_data(Listed(items))


def test_an_item_without_a_negative_value_is_fine_among_others():
    dark, light = torch.full((1, 4, 4), -0.5), torch.full((1, 4, 4), 1.0)
    assert open_data(Listed([light, dark])).samples[:, 0, 0, 0].tolist() == [255, 64]


def test_an_empty_data_set():
    with pytest.raises(DataError, match="holds 0 samples"):
        open_data(Listed([]))


def test_streams_and_strangers_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    class Endless(Dataset):
        def __getitem__(self, index):
            return noise(1, 4, 4)

    with pytest.raises(UsageError, match="a Stream is neither a name"):
        open_data(Stream())
    with pytest.raises(UsageError, match="a list is neither a name"):
        open_data([1, 2])
    with pytest.raises(UsageError, match="Endless has no length"):
        open_data(Endless())
