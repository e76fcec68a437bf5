"""What was launched on a GPU, recorded once and replayed as a whole: CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch

Recording = Callable[[], None]
"""Plays again what was recorded: reads the memory it read then, as it is now, and writes where it wrote."""

Recorder = Callable[[Callable[[], None]], Recording]
"""Takes what to record: it must launch the same each time, wait for nothing, and draw nothing on the host."""


def recorder_for(device: torch.device) -> Recorder:
    """Return what records on a device.

    Args:
        device: a GPU; on any other device a recording is the function itself, so that whoever makes use of recordings can be
            tested without a GPU.
    """
    return _Graphs(device) if device.type == "cuda" else lambda run: run


class _Graphs:
    """Records as CUDA graphs that share their memory: they are replayed one after the other, never side by side."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._made: list[torch.cuda.CUDAGraph] = []  # shared memory is there as long as a graph of it

    def __call__(self, run: Callable[[], None]) -> Recording:
        """Record; ``run`` is called, but nothing is computed.

        Raises:
            RuntimeError: something in it cannot be recorded, such as a wait for a number.
        """
        graph = torch.cuda.CUDAGraph()
        pool = self._made[0].pool() if self._made else None
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=pool):
            run()
        self._made.append(graph)
        return graph.replay
