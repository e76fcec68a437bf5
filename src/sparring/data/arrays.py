"""Arrays, tensors and data set objects as `Data`, and named sets at another size."""

from __future__ import annotations

import sys
from dataclasses import replace
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sparring.data.images import DEFAULT_SIDE, OddImageError, Plan, Wishes, flatten, to_array
from sparring.data.records import Array, Data, fingerprint, make_data
from sparring.data.stacked import JUDGE as OF_STACKS
from sparring.errors import DataError, UsageError

if TYPE_CHECKING:
    import torch

MIN_SAMPLES = 2
MAX_CLASSES = 65_536


def open_object(source: object, wishes: Wishes) -> Data:
    """Return an array, tensor or map-style data set as `Data`; see `sparring.data.open_data`.

    Raises:
        UsageError: it is of another kind, or of a shape, type or range that cannot be understood.
        DataError: it holds fewer than two samples.
    """
    array = _as_array(source)
    if array is not None:
        return open_array(array, "array", wishes)
    import torch

    if isinstance(source, torch.utils.data.IterableDataset) or not isinstance(source, torch.utils.data.Dataset):
        raise UsageError(
            f"data: a {type(source).__name__} is neither a name, a path, an array, a tensor nor a map-style "
            f"torch.utils.data.Dataset."
        )
    return _open_dataset(source, wishes)


def open_array(array: Array, name: str, wishes: Wishes) -> Data:
    """Return images or points as `Data` of this name; see `sparring.data.open_data`.

    Raises:
        UsageError: the shape, type or range cannot be understood.
        DataError: there are fewer than two.
    """
    return reshape(_enough(make_data(name, _samples(array))), wishes)


def _as_array(source: object) -> Array | None:
    if isinstance(source, np.ndarray):
        return source
    if "torch" in sys.modules:  # without it, nothing can be a tensor
        import torch

        if isinstance(source, torch.Tensor):
            return source.detach().cpu().float().numpy() if source.is_floating_point() else source.cpu().numpy()
    return None


def _enough(data: Data) -> Data:
    if len(data) < MIN_SAMPLES:
        raise DataError(f"data: '{data.name}' holds {len(data)} samples; training needs at least {MIN_SAMPLES}.")
    return data


def _samples(array: Array) -> Array:
    """Return uint8 [N, C, H, W] or float32 [N, 2] from an array of the user's."""
    if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "iuf":
        with np.errstate(over="ignore"):
            points = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(points).all():
            raise UsageError("data: the points hold values that are not finite in float32; remove them first.")
        return points
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise UsageError(
            f"data: an array of shape {array.shape} is neither images [N, C, H, W] or [N, H, W] nor points [N, 2]."
        )
    images = array[:, None] if array.ndim == 3 else array
    if images.shape[1] > 4 and images.shape[3] in (1, 3, 4):  # [N, H, W, C], as libraries for pictures have them
        images = images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(to_uint8(images))


def to_uint8(images: Array) -> Array:
    """Return images as uint8: as they are, or from floats in [-1, 1] by rounding ``(x + 1) · 127.5``.

    Raises:
        UsageError: another type, or another range; floats that are nowhere negative are taken for [0, 1].
    """
    _check_unit(lowest(images))
    return quantise(images)


def lowest(images: Array) -> float:
    """Return the least value of float images; -1 for uint8, whose range is not in doubt."""
    return float(images.min()) if images.dtype.kind == "f" and images.size else -1.0


def _check_unit(low: float) -> None:
    """Refuse floats of which none is negative: [0, 1], in all likelihood, which would train on half the range."""
    if low >= 0:
        raise UsageError("data: float images must be in [-1, 1], these seem to be in [0, 1]; give 2 * x - 1, or uint8.")


def quantise(images: Array) -> Array:
    """Return images (any shape) as uint8; see `to_uint8`."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise UsageError(f"data: images of type {images.dtype} are neither uint8 in 0 … 255 nor float in [-1, 1].")
    if images.size and not np.abs(images).max() <= 1:  # true for NaN, too
        raise UsageError(
            f"data: float images must be in [-1, 1], these are in [{images.min():g}, {images.max():g}]; scale them, "
            f"or give uint8."
        )
    levels = images.astype(np.float32)
    levels += 1
    levels *= 127.5
    return np.rint(levels, out=levels).astype(np.uint8)


def _open_dataset(source: torch.utils.data.Dataset[Any], wishes: Wishes) -> Data:
    """Read every item of a map-style data set into memory."""
    images: list[Array] = []
    labels: list[object] = []
    lows: list[float] = []
    for number in range(_length(source)):
        image, label = _split(source[number])
        values = _item_values(image, number, wishes)
        lows.append(lowest(values))
        images.append(values if values.ndim == 1 else quantise(values))
        labels.append(label)
    if images and images[0].ndim == 3:
        _check_unit(min(lows))
    numbers = _labels(labels)
    class_names = () if numbers is None else _class_names(source, int(numbers.max(initial=-1)) + 1)
    data = make_data(type(source).__name__, _stack(images, wishes), numbers, class_names)
    return reshape(_enough(data), wishes)


def _length(source: torch.utils.data.Dataset[Any]) -> int:
    try:
        return len(source)  # type: ignore[arg-type]  # torch leaves __len__ to the subclasses
    except (TypeError, NotImplementedError):
        raise UsageError(f"data: the data set {type(source).__name__} has no length; give it a __len__.") from None


def _split(item: object) -> tuple[object, object]:
    """Return (image, label or None) of an item: the image alone, or in a tuple of one or two."""
    if not isinstance(item, tuple | list):
        return item, None
    if len(item) not in (1, 2):
        raise UsageError(f"data: an item of the data set has {len(item)} parts; it must be image or (image, label).")
    return item[0], item[1] if len(item) == 2 else None


def _item_values(image: object, number: int, wishes: Wishes) -> Array:
    """Return one item's image as [C, H, W], uint8 or float, or one point as float32 [2]."""
    if isinstance(image, Image.Image):
        return _pil_values(image, number, wishes)
    values = _as_array(image)
    if values is not None and values.shape == (2,) and values.dtype.kind == "f":
        return values.astype(np.float32)
    if values is not None and values.ndim == 2:
        return values[None]
    if values is not None and values.ndim == 3:
        # images as numpy arrays are [H, W, C] wherever Pillow had a hand in it; tensors are [C, H, W]
        last = isinstance(image, np.ndarray) and values.shape[2] in (1, 3, 4) and values.shape[0] not in (1, 3, 4)
        return values.transpose(2, 0, 1) if last else values
    kind = type(image).__name__ if values is None else f"array of shape {values.shape}"
    raise UsageError(f"data: item {number} of the data set is a {kind}; it must be an image [C, H, W] or a point [2].")


def _pil_values(image: Image.Image, number: int, wishes: Wishes) -> Array:
    if image.mode in ("I", "F"):
        raise UsageError(
            f"data: item {number} is a Pillow image of mode {image.mode}, whose range is unknown; give uint8."
        )
    flat = flatten(image, Plan(0, 3, wishes.fit, wishes.background))
    values = np.asarray(flat)
    if flat.mode == "F":
        values = np.rint(values).astype(np.uint8)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _stack(images: list[Array], wishes: Wishes) -> Array:
    """Return items of one shape as they are, items of several as squares of one size."""
    shapes = {image.shape for image in images}
    if len(shapes) <= 1:
        return np.stack(images) if images else np.empty((0, 1, 1, 1), np.uint8)
    if any(len(shape) != 3 or shape[0] not in (1, 3) for shape in shapes):
        raise UsageError(f"data: the items have the shapes {sorted(shapes)}; give all of them one shape.")
    channels = wishes.channels or max(shape[0] for shape in shapes)
    return np.stack(
        [
            _resized(image, Plan(wishes.resolution or DEFAULT_SIDE, channels, wishes.fit, wishes.background))
            for image in images
        ]
    )


def _labels(labels: list[object]) -> Array | None:
    """Return int64 [N], or None if no item has a label."""
    if all(label is None for label in labels):
        return None
    try:
        numbers = [index(label) for label in labels]  # type: ignore[arg-type]  # the TypeError is the check
    except TypeError:
        raise UsageError("data: the labels of the data set must be whole numbers, one for each item.") from None
    if min(numbers) < 0 or max(numbers) >= MAX_CLASSES:
        raise UsageError(
            f"data: the labels run from {min(numbers)} to {max(numbers)}; they must be class numbers from 0."
        )
    return np.array(numbers, np.int64)


def _class_names(source: object, count: int) -> tuple[str, ...]:
    """Return torchvision's ``classes`` if the data set has them, else the numbers."""
    names = getattr(source, "classes", None)
    if isinstance(names, list | tuple) and len(names) >= count:
        return tuple(str(name) for name in names)
    return tuple(str(number) for number in range(count))


def reshape(data: Data, wishes: Wishes) -> Data:
    """Return a data set at the size and with the channels wished for.

    It keeps its judge, which scales what it judges to its own size, and says so in its protocol.

    Raises:
        UsageError: the data are points, have neither 1 nor 3 channels, or would lose a picture in each channel.
    """
    if wishes.resolution is None and wishes.channels is None:
        return data
    if len(data.shape) == 1:
        flag = "--channels" if wishes.resolution is None else "--resolution"
        raise UsageError(f"{flag}: '{data.name}' holds points in the plane, not images; leave the option out.")
    channels, height, width = data.shape
    target = (wishes.channels or channels, wishes.resolution or height, wishes.resolution or width)
    if target == data.shape:
        return data
    if channels not in (1, 3):
        raise UsageError(f"--resolution, --channels: images of {channels} channels can only be used as they are.")
    if data.judge == OF_STACKS and target[0] != channels:
        raise UsageError(f"--channels: each channel of '{data.name}' is a digit of its own; leave the option out.")
    samples = _as_shape(data.samples, target, wishes)
    held_out = data.held_out and reshape(data.held_out, wishes)
    sha256 = fingerprint(samples, data.labels)
    return replace(data, samples=samples, held_out=held_out, sha256=sha256)


def _as_shape(samples: Array, target: tuple[int, int, int], wishes: Wishes) -> Array:
    channels, height, width = target
    same_size = samples.shape[2:] == (height, width)
    plan = Plan(height, channels, wishes.fit, wishes.background)
    shaped = np.empty((len(samples), *target), np.uint8)  # filled in place: a list of parts would need twice the memory
    for place, image in zip(shaped, samples, strict=True):
        place[...] = _recoloured(image, channels) if same_size else _resized(image, plan)
    return shaped


def _as_image(image: Array) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _recoloured(image: Array, channels: int) -> Array:
    """Return uint8 [channels, H, W] from [1 or 3, H, W]: grey repeated, or colour's luma."""
    return np.repeat(image, 3, axis=0) if channels == 3 else np.asarray(_as_image(image).convert("L"))[None]


def _resized(image: Array, plan: Plan) -> Array:
    try:
        return to_array(_as_image(image), plan)
    except OddImageError as error:
        raise UsageError(f"data: an image of {error}.") from None
