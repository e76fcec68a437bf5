"""The same events for TensorBoard: ``tensorboard --logdir runs``."""

from __future__ import annotations

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter

from sparring.runs import Event, RunDirectory

_PLACE = {"event", "step", "images", "epoch", "histogram"}


class TensorBoardLog:
    """An observer that writes event files; the x axis is the step."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._writer: SummaryWriter | None = None

    def __call__(self, event: Event) -> None:
        """Write the numbers of a log or evaluation row, or a sample grid."""
        kind = event["event"]
        if kind not in ("log", "eval", "samples"):
            return
        step = event["step"]
        if self._writer is None:
            # purge_step makes TensorBoard forget what a resumed run will do again.
            self._writer = SummaryWriter(str(self._run.path / "tensorboard"), purge_step=step)
        if kind == "samples":
            self._add_picture(step)
        else:
            prefix = "eval/" if kind == "eval" else ""
            for name, value in event.items():
                if name not in _PLACE and isinstance(value, int | float):
                    self._writer.add_scalar(prefix + name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """End the writer's thread; what comes later goes to a new file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _add_picture(self, step: int) -> None:
        path = self._run.sample_file(step)
        if self._writer is not None and path.exists():
            with Image.open(path) as picture:
                self._writer.add_image("samples", np.asarray(picture.convert("RGB")), step, dataformats="HWC")
