"""Batches where the networks are: from memory of the host, or from a copy of the data set on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from sparring.data.records import Array, Data
from sparring.fast.memory import upload

#: Share of a GPU's free memory that a copy of the data may take; the rest is the networks'.
_SHARE = 0.25


class Feed:
    """A data set as batches on a device.

    Attributes:
        resident: whether the samples lie on the device, in bytes as they are on disk, so that a batch sends its indices only.
    """

    def __init__(self, data: Data, device: torch.device, *, resident: bool | None = None) -> None:
        """Copy the samples to the device, if they are to lie there.

        Args:
            data: what to take batches of.
            device: where to.
            resident: None decides by the device's free memory; on the CPU they are there already.
        """
        self._data, self._device = data, device
        self.resident = _fits(data, device) if resident is None else resident
        if self.resident:
            self._samples = torch.from_numpy(data.samples.copy()).to(device)
            self._labels = None if data.labels is None else torch.from_numpy(data.labels).to(device)

    def batch(self, indices: Array) -> tuple[Tensor, Tensor | None]:
        """Return the samples at ``indices`` on the device, equal to the bit to those of `Data.batch`.

        Args:
            indices: integers [B] in 0 … len - 1, repeats allowed.
        """
        if not self.resident:
            x, y = self._data.batch(indices)
            return upload(x, self._device), None if y is None else upload(y, self._device)
        places = upload(torch.from_numpy(indices), self._device)
        x = self._samples[places]
        if x.dtype == torch.uint8:
            x = x.float().sub_(127.5).div_(127.5)
        elif self._data.scale != 1.0:
            x = x.div_(self._data.scale)
        return x, None if self._labels is None else self._labels[places]


def _fits(data: Data, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    return data.samples.nbytes <= _SHARE * torch.cuda.mem_get_info(device)[0]
