"""Who runs: the textbook loop, sparring, and products of matrices that look for the machine's peak."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from sparring.rehearsal import FlopCounter
from sparring.session import build_trainer, prepare
from sparring.settings import merge
from sparring.speed.textbook import CPU, LATENT_DIM, PENALTY, SHAPES, WIDTHS, Loop, loop_of
from sparring.trainer import Trainer

_ADAM = {"lr": 2e-4, "betas": (0.0, 0.99)}
_R3GAN: dict[str, Any] = {
    "network": "r3gan",
    "latent_dim": LATENT_DIM,
    "penalty": (f"r1:{PENALTY}", f"r2:{PENALTY}"),
    "penalty_every": 1,
    "burn_in": {"share": 0.0},
    "g": _ADAM,
    "d": _ADAM,
}
#: Presets, and settings on top, that train the networks of `sparring.speed.textbook` with the recipe of its loops.
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "case-study": ("mnist-dcgan", {}),
    "dcgan-64": ("dcgan", {}),
    "r3gan-32": ("modern", _R3GAN),
}
_IMAGES = 1024  # random ones: what is on them does not change the time
_SIZES = ((2048, 2048, 2048), (1024, 1024, 1024), (2048, 4096, 512))  # of products that look for the peak
_LARGE_SIZES = ((8192, 8192, 8192), (4096, 4096, 4096))  # a GPU's peak is out of reach of smaller ones
_PEAK_SECONDS = 0.2
_FEW = 2  # images whose operations are counted: every operation is one of an image


@dataclass(frozen=True)
class Course:
    """What everyone runs.

    Attributes:
        network: a key of `RECIPES`.
        batch_size: real images in a step.
        threads: of each contender.
        device: where everyone computes.
        width: channels of both players; None for those published.
    """

    network: str = "case-study"
    batch_size: int = 128
    threads: int = 1
    device: torch.device = CPU
    width: int | None = None

    def loop(self) -> Loop:
        """Return the loop in plain PyTorch, with fresh weights."""
        return loop_of(self.network, self.batch_size, self.width, self.device)


Block = Callable[[int], float | None]
"""Runs so many steps; returns seconds a step if it timed itself."""


def _random_images(course: Course) -> Tensor:
    shape = (max(_IMAGES, course.batch_size), *SHAPES[course.network])
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def trainer_of(course: Course, precision: str, out: Path, **settings: Any) -> Trainer:
    """Return sparring's trainer with the textbook's recipe, which scores, draws and saves nothing.

    Args:
        course: what to train.
        precision: ``auto``, ``fp32`` or ``bf16``.
        out: folder for the run.
        settings: of the config, on top.
    """
    quiet = {"eval_every": 0, "sample_every": 0, "checkpoint_every": 0, "steps": 10**6, "epochs": None}
    same = {"batch_size": course.batch_size, "threads": course.threads, "device": str(course.device)}
    preset, recipe = RECIPES[course.network]
    width = {"width": course.width or WIDTHS[course.network]}
    wishes = merge(recipe, quiet | same | {"precision": precision, "g": width, "d": width} | settings)
    images = _random_images(course)
    plan = prepare(images, preset=preset, config=None, out=out, resume="never", settings=wishes)
    return build_trainer(plan, ())


def _sparring(course: Course, stack: ExitStack, precision: str = "auto", kernels: str = "fast") -> tuple[Block, str]:
    out = Path(stack.enter_context(TemporaryDirectory(prefix="sparring-")))
    trainer = trainer_of(course, precision, out, kernels=kernels)
    return _repeat(trainer.play_step, course), trainer.runtime.precision


def _sparring_fp32(course: Course, stack: ExitStack) -> tuple[Block, str]:
    return _sparring(course, stack, "fp32")


def _sparring_plain(course: Course, stack: ExitStack) -> tuple[Block, str]:
    return _sparring(course, stack, kernels="plain")


def _textbook(course: Course, stack: ExitStack) -> tuple[Block, str]:
    """The textbook loop without its brakes: data in memory as float32, nothing printed, nothing read back."""
    loop = course.loop()
    return _unbraked(loop, course, torch.contiguous_format), "fp32"


def _compiled(course: Course, stack: ExitStack) -> tuple[Block, str]:
    """The same with what PyTorch has to offer: bfloat16, channels last, and both networks through torch.compile."""
    loop = course.loop()
    for network in (loop.netG, loop.netD):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network.compile()
    stack.enter_context(torch.autocast(course.device.type, torch.bfloat16))
    return _unbraked(loop, course, torch.channels_last), "bf16"


def _unbraked(loop: Loop, course: Course, layout: torch.memory_format) -> Block:
    size, device = course.batch_size, course.device
    images = (_random_images(course).float() / 127.5 - 1.0).to(device, memory_format=layout)

    def step() -> None:
        z_for_D, z_for_G = torch.randn(2, size, LATENT_DIM, device=device)
        real = images[torch.randperm(len(images), device=device)[:size]]
        loop.step(real, z_for_D, z_for_G, real)

    return _repeat(step, course)


def _shipped(course: Course, stack: ExitStack) -> tuple[Block, str]:
    """The textbook loop as tutorials ship it: a loader that treats images one by one, and losses read and shown."""
    loop, size, device = course.loop(), course.batch_size, course.device
    log = stack.enter_context(open(os.devnull, "w"))  # noqa: SIM115
    loader = torch.utils.data.DataLoader(_OneByOne(_random_images(course)), size, shuffle=True, drop_last=True)

    def batches() -> Iterator[Tensor]:
        while True:
            yield from loader

    stream = batches()

    def step() -> None:
        z_for_D, z_for_G = torch.randn(2, size, LATENT_DIM, device=device)
        real = next(stream).to(device)
        print(*(loss.item() for loss in loop.step(real, z_for_D, z_for_G, real)), file=log)

    return _repeat(step, course), "fp32"


class _OneByOne(torch.utils.data.Dataset[Tensor]):
    """Images that are scaled when they are asked for."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return (self.images[index].float() / 255.0 - 0.5) / 0.5


def _repeat(step: Callable[[], None], course: Course) -> Block:
    def block(count: int) -> None:
        for _ in range(count):
            step()
        _wait_for(course.device)

    return block


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


CONTENDERS: dict[str, Callable[[Course, ExitStack], tuple[Block, str]]] = {
    "textbook": _textbook,
    "shipped": _shipped,
    "compiled": _compiled,
    "sparring": _sparring,
    "sparring-fp32": _sparring_fp32,
    "sparring-plain": _sparring_plain,
}


def why_not(name: str, course: Course) -> str | None:
    """Return why a contender cannot run a course, or None.

    Args:
        name: a key of `CONTENDERS`.
        course: to be run.
    """
    if name == "compiled" and course.network == "r3gan-32":
        return "torch.compile differentiates once, and R3GAN's penalties are differentiated twice"
    return None


# The machine's peak: the best product of matrices that torch can do.


def _peak_fp32(course: Course, stack: ExitStack) -> tuple[Block, str]:
    return _peak(torch.float32, course.device), "fp32"


def _peak_bf16(course: Course, stack: ExitStack) -> tuple[Block, str]:
    return _peak(torch.bfloat16, course.device), "bf16"


def _peak(dtype: torch.dtype, device: torch.device) -> Block:
    """Return a block whose "step" is one floating-point operation at peak."""
    sizes = _SIZES if device.type == "cpu" else _LARGE_SIZES
    pairs = [(torch.randn(m, k).to(device, dtype), torch.randn(k, n).to(device, dtype)) for m, k, n in sizes]

    def block(count: int) -> float:
        return min(_seconds_per_flop(a, b) for a, b in pairs)

    return block


def _seconds_per_flop(a: Tensor, b: Tensor) -> float:
    began, best = time.perf_counter(), float("inf")
    while time.perf_counter() - began < _PEAK_SECONDS:
        start = time.perf_counter()
        torch.mm(a, b)
        _wait_for(a.device)
        best = min(best, time.perf_counter() - start)
    return best / (2 * len(a) * a.shape[1] * b.shape[1])


#: Precision -> what looks for the machine's peak in it.
PEAKS = {"fp32": _peak_fp32, "bf16": _peak_bf16}


def needed_flops(course: Course) -> int:
    """Count the operations of a step, as the networks are written: changes of shape add some that do not count.

    Args:
        course: what is run.
    """
    with TemporaryDirectory(prefix="sparring-") as out:
        trainer = trainer_of(replace(course, device=CPU, batch_size=_FEW), "fp32", Path(out), kernels="plain")
        with FlopCounter() as counter:
            trainer.play_step()
    return int(counter.total) * course.batch_size // _FEW
