"""The kernels in C: compiled where they run, kept, and compared with torch before use.

There is nothing to install: the first run calls the machine's C compiler, which takes two seconds, and puts the library into
the user's cache folder. Where the processor, the system or a compiler is missing, `library` is None, `why_not` says why, and
torch computes.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sparring.fast import is_plain

SOURCES = Path(__file__).parent / "kernels"
_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-fopenmp")
_PATIENCE = 120  # seconds for the compiler

_P, _L, _I, _F, _D = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float, ctypes.c_double
#: Arguments of every function, the number of threads last; see the files in `SOURCES`.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "gather": (*[_P] * 4, *[_L] * 6, _I, _P, _P, _I),
    "weight_gradient": (*[_P] * 3, *[_L] * 7, _P, _P, _I),
    "image_convolution": (*[_P] * 5, _I),
    "image_gradient": (*[_P] * 5, _I),
    "image_weight_gradient": (*[_P] * 4, _I),
    "norm": (*[_P] * 8, *[_L] * 2, *[_F] * 3, _I),
    "norm_gradient": (*[_P] * 9, *[_L] * 2, _F, _I),
    "sums": (*[_P] * 2, *[_L] * 2, _I),
    "leak": (_P, _L, _F, _I),
    "leak_gradient": (*[_P] * 3, _L, _F, _I),
}
#: Likewise, of dense layers, in bfloat16 alone.
_DENSE_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "dense": (*[_P] * 5, *[_L] * 4, _I, _L, _I),
    "dense_input": (*[_P] * 4, *[_L] * 5, _I),
    "dense_weight": (*[_P] * 5, *[_L] * 5, _I),
}
#: Likewise, of what is measured, which only matrix units do faster than torch.
_METRIC_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cubes": (*[_P] * 5, *[_L] * 3, _I, _I),
    "subset": (*[_P] * 8, *[_L] * 2, _D, _F, _I),
    "pack": (*[_P] * 2, *[_L] * 2, _I, _I),
    "screen": (*[_P] * 4, *[_L] * 3, _I, _I),
    "squared": (*[_P] * 5, *[_L] * 2, _I),
    "columns": (*[_P] * 4, *[_L] * 2, _I),
    "scatter": (*[_P] * 8, *[_L] * 2, _D, _I),
}


def _has_tiles() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


def _has_vectors() -> bool:
    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def _has_bfloat16_vectors() -> bool:
    return _has_vectors() and bool(torch.cpu._is_avx512_bf16_supported())


def bfloat16_units() -> str | None:
    """Return what of the processor multiplies bfloat16, ``"matrix units"`` or ``"vectors"``, or None."""
    return "matrix units" if _has_tiles() else "vectors" if _has_bfloat16_vectors() else None


@dataclass(frozen=True)
class _Unit:
    """A part of a processor, and what is compiled for it.

    Attributes:
        name: what messages call it.
        there: whether this processor has it.
        sources: stems of the files.
        extensions: of the instruction set.
        suffix: of the functions' names.
        signatures: of the functions.
    """

    name: str
    there: Callable[[], bool]
    sources: tuple[str, ...]
    extensions: tuple[str, ...]
    suffix: str = ""
    signatures: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: _SIGNATURES)


_VECTORS = ("avx512f", "avx512bw", "avx512vl", "fma")
_BFLOAT16 = (*_VECTORS, "avx512dq", "avx512bf16")
_LAYERS = ("convolution", "images", "norm", "dense")
#: What computes in a type of numbers, best first.
_UNITS = {
    torch.bfloat16: (
        _Unit(
            "matrix units (AMX)",
            _has_tiles,
            (*_LAYERS, "pairs", "scatter"),
            (*_BFLOAT16, "amx-tile", "amx-bf16", "amx-int8"),
            signatures=_SIGNATURES | _DENSE_SIGNATURES | _METRIC_SIGNATURES,
        ),
        _Unit(
            "vectors of bfloat16 (AVX-512)",
            _has_bfloat16_vectors,
            _LAYERS,
            _BFLOAT16,
            signatures=_SIGNATURES | _DENSE_SIGNATURES,
        ),
    ),
    torch.float32: (_Unit("vectors of 16 (AVX-512)", _has_vectors, ("float32", "images32"), _VECTORS, "32"),),
}


class _UnavailableError(Exception):
    """The kernels cannot be used here; the message says why."""


class Library:
    """The compiled kernels for one type of numbers.

    Attributes:
        unit: of the processor, that they were compiled for.
    """

    def __init__(self, path: Path, unit: _Unit) -> None:
        """Load them.

        Args:
            path: the shared library.
            unit: what it was compiled for.

        Raises:
            OSError: when it does not fit this process.
        """
        library = ctypes.CDLL(str(path))
        self._functions: dict[str, Callable[..., int]] = {}
        for name, arguments in unit.signatures.items():
            function = getattr(library, f"sparring_{name}{unit.suffix}")
            function.argtypes = arguments
            self._functions[name] = function
        self._allow = getattr(library, "sparring_allow", lambda: 0)

        self.unit = unit.name

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function, with torch's number of threads behind the arguments.

        Args:
            name: a key of the signatures.
            arguments: tensors, whose memory must lie as the function wants it, structures, numbers and None.

        Raises:
            MemoryError: when the function finds none.
        """
        plain = [x.data_ptr() if isinstance(x, torch.Tensor) else x for x in arguments]
        if self._functions[name](*plain, torch.get_num_threads()):
            raise MemoryError(f"no memory for the working space of {name}")

    def has(self, name: str) -> bool:
        """Return whether there is such a function."""
        return name in self._functions

    def allowed(self) -> bool:
        """Ask the system for the registers, where they have to be asked for."""
        return bool(self._allow() == 0)


def library(dtype: torch.dtype) -> Library | None:
    """Return the kernels, compiled at the first call if need be, or None where they cannot run.

    Args:
        dtype: what they are to compute in.
    """
    return _found(dtype)[0]


def available(dtype: torch.dtype, name: str) -> bool:
    """Return whether there is a kernel of this name, and torch's own were not asked for."""
    kernels = None if is_plain() else library(dtype)
    return kernels is not None and kernels.has(name)


def call(dtype: torch.dtype, name: str, *arguments: Any) -> None:
    """Call a function of a `library` that there is; see `Library.call`."""
    kernels = library(dtype)
    assert kernels is not None
    kernels.call(name, *arguments)


def why_not(dtype: torch.dtype) -> str:
    """Return why there is no `library`, or nothing."""
    return _found(dtype)[1]


@functools.cache
def _found(dtype: torch.dtype) -> tuple[Library | None, str]:
    try:
        return _load(dtype), ""
    except _UnavailableError as error:
        return None, str(error)


def _load(dtype: torch.dtype) -> Library:
    units = _UNITS.get(dtype)
    if units is None:
        raise _UnavailableError(f"there are none for {dtype}")
    there = [unit for unit in units if unit.there()]
    if sys.platform != "linux" or platform.machine() != "x86_64" or not there:
        raise _UnavailableError(f"the processor has no {' or '.join(unit.name for unit in units)}")
    _share_threads()
    reasons = []
    for unit in there:  # an old system or compiler may know vectors and no matrix units
        try:
            return _ready(unit, dtype)
        except _UnavailableError as error:
            reasons.append(str(error))
    raise _UnavailableError(reasons[0])


def _ready(unit: _Unit, dtype: torch.dtype) -> Library:
    path = _kept(unit)
    try:
        found = Library(path, unit)
    except (OSError, AttributeError) as error:
        raise _UnavailableError(f"{path} does not load: {error}") from None
    if not found.allowed():
        raise _UnavailableError(f"the system does not hand out the registers of {unit.name}")
    if not _multiplies(found, dtype):
        raise _UnavailableError("they do not compute here what PyTorch does")
    return found


def _multiplies(found: Library, dtype: torch.dtype) -> bool:
    """Compare one product of matrices with PyTorch's."""
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(32, 32, generator=source).to(dtype) for _ in range(2))
    product, begin, pairs = torch.empty_like(a), torch.tensor([0, 1]).int(), torch.zeros(1, 2).int()
    found.call("gather", a, b.float(), None, product, 32, 1, 32, 1, 32, 1, 0, begin, pairs)
    with torch.autocast("cpu", enabled=False):  # whoever asks first may compute in bfloat16 already
        return torch.allclose(product.float(), a.float() @ b.float().T, rtol=0.01, atol=0.01)


def _share_threads() -> None:
    """Let the kernels run on torch's own pool of threads: two pools would take the processors from each other."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.rpartition(" ")[2]
        if Path(path).name.startswith(("libgomp", "libiomp5", "libomp")):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            return
    raise _UnavailableError("this build of PyTorch has no OpenMP")


def _kept(unit: _Unit) -> Path:
    """Return the compiled library; another source, flag or compiler makes another."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if not compiler or shutil.which(compiler[0]) is None:
        raise _UnavailableError(f"there is no C compiler '{compiler[0] if compiler else ''}'")
    digest = hashlib.sha256(repr((compiler, _FLAGS, unit.sources, unit.extensions)).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    name = f"{digest.hexdigest()[:32]}.so"
    for folder in _folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours(folder):
                continue
            return folder / name if (folder / name).exists() else _compile(compiler, unit, folder / name)
        except OSError:
            continue
    raise _UnavailableError("there is no folder to keep them in")


def _is_ours(folder: Path) -> bool:
    """Return whether nobody else can put a library there for us to run."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _folders() -> tuple[Path, ...]:
    """Return where the library may be kept, best first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparring" / "kernels"
    return cache, Path(tempfile.gettempdir()) / f"sparring-kernels-{os.getuid()}"


def _compile(compiler: list[str], unit: _Unit, path: Path) -> Path:
    """Compile beside the path and rename: processes that start together do not disturb each other."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        objects = []
        for source in unit.sources:
            objects.append(str(Path(folder) / f"{source}.o"))
            extensions = [f"-m{each}" for each in unit.extensions]
            _call([*compiler, *_FLAGS, *extensions, "-c", str(SOURCES / f"{source}.c"), "-o", objects[-1]])
        # Not linked with -fopenmp: that would bring the compiler's own pool of threads.
        made = Path(folder) / path.name
        _call([*compiler, "-shared", "-o", str(made), *objects])
        made.replace(path)
    return path


def _call(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise _UnavailableError(f"the C compiler '{words[0]}' took more than {_PATIENCE} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise _UnavailableError(f"the C compiler '{words[0]}' cannot make them: {last}")
