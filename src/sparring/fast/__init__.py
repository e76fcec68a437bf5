"""Faster ways to the same numbers on a processor; each has a slow twin, which ``plain()`` brings back.

`convolution` computes strided convolutions and their gradients where torch's own kernels leave the processor idle, `leaky` what
stands between them, `dense` maxout and ReLU layers. On matrix units, or wide vectors, they call kernels in C: `compiled`
makes and loads them, and `native` lays out what convolutions sum. The layers of `sparring.networks.layers` use all of it; for the
rest (Adam) torch is as fast as separate operations can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PLAIN: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def plain(off: bool = True) -> Iterator[None]:
    """Compute with torch's own kernels inside.

    Args:
        off: False changes nothing, so that a setting can be passed through.
    """
    token = _PLAIN.set(_PLAIN.get() or off)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Return whether torch's own kernels were asked for."""
    return _PLAIN.get()
