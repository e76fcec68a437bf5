"""Memory that is kept between steps, and the way from the host's to a device's."""

from __future__ import annotations

import ctypes
import platform

import torch
from torch import Tensor

#: Parameters of ``mallopt(3)``.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library to keep what this process frees, up to 1 GiB a block, for its next use.

    Every step frees its activations and asks for the same again. By default large blocks go back to the system in between and
    come back as fresh pages, each filled with zeros at its first use, which takes a tenth to a fifth of a step. The
    process keeps its largest size so far; that does not grow.

    Returns:
        Whether the library is one that can be told so (GNU's).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, 2**30) and mallopt(_TRIM_THRESHOLD, _NEVER))


def upload(x: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host's on a device, without waiting for what the device still has to do.

    Args:
        x: on the CPU.
        device: where to; a copy to a GPU goes through pinned memory, which alone can be copied from while the host goes on.
    """
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
