"""Everything that knows the machine: device, precision and threads."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from sparring.config import TrainConfig
from sparring.errors import UsageError
from sparring.fast import plain
from sparring.fast.compiled import bfloat16_units, library, why_not
from sparring.fast.dense import in_parts
from sparring.fast.memory import keep_freed_memory
from sparring.networks import NETWORKS


@dataclass(frozen=True)
class Runtime:
    """Where and how the networks compute.

    Attributes:
        device: where the networks live.
        precision: ``"fp32"`` or ``"bf16"``; parameters, optimizers and statistics are always float32.
        threads: processor threads of an operation.
        kernels: ``"fast"`` or ``"plain"``: whether `sparring.fast` computes the convolutions, or torch alone.
        compiled: the part of the processor that those in C were compiled for, None where they take no part.
        dense: whether they compute dense layers, and keep float32 between them.
        records: whether moves are recorded and replayed as CUDA graphs.
        reason: one line that says what was picked and why.
    """

    device: torch.device
    precision: str
    threads: int
    kernels: str
    compiled: str | None
    dense: bool
    records: bool
    reason: str

    @classmethod
    def pick(cls, config: TrainConfig) -> Runtime:
        """Choose device, precision and threads, and set the threads for this process.

        Args:
            config: ``device``, ``precision`` and ``threads`` of it are read.

        Raises:
            UsageError: the device is not there, or it cannot compute in the precision asked for.
        """
        device = pick_device(config.device)
        precision, why = _pick_precision(config, device)
        threads = config.threads or cores()
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        reason = f"{device}, {precision} ({why}), {threads} thread{'s' if threads > 1 else ''}"
        compiled, fast = None, NETWORKS[config.network].fast
        if device.type == "cpu":
            keep_freed_memory()
        if device.type == "cpu" and (fast == "convolutions" or (fast == "dense" and precision == "bf16")):
            reason += f", {config.kernels} kernels"
            if config.kernels == "fast":
                dtype = torch.bfloat16 if precision == "bf16" else torch.float32
                found = library(dtype)
                compiled = found.unit if found else None
                reason += " in C" if compiled else f", not in C ({why_not(dtype)})"
        records = device.type == "cuda" and config.kernels == "fast"
        if device.type == "cuda":
            _let_penalties_use_matrix_units(precision == "bf16")
            reason += ", turns as CUDA graphs" if records else ", plain kernels"
        dense = compiled is not None and fast == "dense"
        return cls(device, precision, threads, config.kernels, compiled, dense, records, reason)

    @contextlib.contextmanager
    def arithmetic(self, *, exact: bool) -> Iterator[None]:
        """Run the networks inside in the chosen precision.

        Args:
            exact: whether to keep float32's digits, or most of them, all the same, as gradient penalties need.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(plain(self.kernels == "plain"))
            if self.precision == "bf16" and not exact:
                stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            if self.dense:
                stack.enter_context(in_parts(_parts(exact)))
            yield

    def fingerprint(self) -> dict[str, object]:
        """Return what must be equal for a resumed run to be equal to the bit."""
        return {
            "torch": torch.__version__,
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device)
            if self.device.type == "cuda"
            else platform.machine(),
            "precision": self.precision,
            "threads": self.threads,
            "kernels": self.kernels,
            "compiled": self.compiled,
        }


def _parts(exact: bool) -> int:
    """Return how many bfloat16 numbers dense layers multiply each number as the sum of; 0 leaves them to torch."""
    if not exact:
        return 1
    # two parts are three products, which take vectors of bfloat16 longer than torch takes for one of float32
    return 2 if bfloat16_units() == "matrix units" else 0


def _let_penalties_use_matrix_units(allowed: bool) -> None:
    """Let float32 products on a GPU round to TF32's 10 bits, or not; PyTorch itself allows it for convolutions only.

    In a bf16 run what stays in float32 are turns with a penalty, and TF32 has three bits more than the turns around them. A
    run in fp32 is one whose user wants float32.
    """
    backends: Any = torch.backends  # its stubs do not know all of these
    backends.cuda.matmul.fp32_precision = backends.cudnn.conv.fp32_precision = "tf32" if allowed else "ieee"


def cores() -> int:
    """Return the cores that this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def pick_device(name: str) -> torch.device:
    """Return the device that a name means.

    Args:
        name: ``auto`` (a CUDA or Apple GPU if there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device: unknown device '{name}'; use auto, cpu, cuda, cuda:1 or mps.") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise UsageError(f"--device: there is no '{name}' on this machine; use --device auto.")
    return device


def _pick_precision(config: TrainConfig, device: torch.device) -> tuple[str, str]:
    """Return the precision and why; bfloat16 that is not built into the processor is slower than float32, often by far."""
    wanted, units = config.precision, _bf16_units(device)
    if wanted == "auto":
        if config.network == "mlp":
            return "fp32", "small dense layers gain nothing from bf16"
        if NETWORKS[config.network].fast == "dense" and not _multiplies_floats(config, device):
            return "fp32", "points in bf16 are too coarse"
        return ("bf16", f"the processor has {units}") if units else ("fp32", "no bf16 units")
    if wanted == "bf16" and units is None:
        raise UsageError("--precision bf16: this device computes no bf16; use --precision fp32.")
    return wanted, "as asked"


def _bf16_units(device: torch.device) -> str | None:
    """Return what multiplies bfloat16 there, or None."""
    if device.type == "cuda":
        return "bf16 matrix units" if torch.cuda.is_bf16_supported(including_emulation=False) else None
    units = bfloat16_units() if device.type == "cpu" else None
    return units and f"bf16 {units}"


def _multiplies_floats(config: TrainConfig, device: torch.device) -> bool:
    """Return whether products in bfloat16 leave what is between layers in float32, as `sparring.fast.dense` does."""
    return device.type == "cpu" and config.kernels == "fast" and library(torch.bfloat16) is not None
