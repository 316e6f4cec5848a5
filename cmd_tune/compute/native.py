"""Compiles the package's C++ on first use, keeps it in the user's cache, and binds its functions to tensors.

Without a compiler PyTorch's operations do the same work. A GPU's kernels are Triton's. docs/native.md explains how the
three ways meet, and how to build, debug and test them.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from types import ModuleType

import torch
from torch import Tensor

from cmd_tune.compute.home import is_ours_alone, private_cache
from cmd_tune.compute.slower import warn_slower
from cmd_tune.errors import CmdTuneError
from cmd_tune.files import atomic_file

_PACKAGE = Path(__file__).parents[1]
SOURCES = sorted(_PACKAGE.rglob("*.cpp"))
_FILES = (*SOURCES, *sorted(_PACKAGE.rglob("*.h")))  # which sources include by their path in the package
_X86 = platform.machine() in ("x86_64", "AMD64")
_TARGET = ("-march=native", "-mprefer-vector-width=512") if _X86 else ("-mcpu=native",)
# Nothing asks for floating-point exceptions; without them, loops with a choice in them are vectorised on AVX2, too.
_FLAGS = ("-std=c++17", "-O3", *_TARGET, "-fopenmp-simd", "-fno-trapping-math", "-shared", "-fPIC")
_PATIENCE = 120  # seconds for a compiler

_compiling = Lock()  # threads that ask at once wait for one compiler


def library() -> ctypes.CDLL | None:
    """The compiled functions. None if there is no compiler, or compiling fails; a warning says which, once."""
    with _compiling:
        return _library()


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(_compiled()))
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        reason = f"{shlex.join(error.cmd[:1])} ends with {said[0] if said else f'exit code {error.returncode}'}"
    except (OSError, ValueError, CmdTuneError, subprocess.SubprocessError) as error:
        reason = str(error)
    warn_slower(f"a CPU computes at half its speed, since the C++ is not compiled: {reason}")
    return None


def _compiled() -> Path:
    """The library's file, compiled if need be: one that another user could have written is made anew."""
    command = [*_compiler(), *_FLAGS]
    key = hashlib.blake2b(digest_size=8)
    for part in (*(file.read_bytes() for file in _FILES), " ".join(command).encode(), _processor()):
        key.update(part)
    path = private_cache() / f"native-{key.hexdigest()}.so"
    if not is_ours_alone(path):
        with atomic_file(path) as temporary:
            command += [f"-I{_PACKAGE}", *map(str, SOURCES), "-o", str(temporary)]
            subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)  # noqa: S603
            temporary.chmod(0o700)  # compilers go by the umask
    return path


def _compiler() -> list[str]:
    """The compiler that CXX names, and its options. Raises FileNotFoundError if there is no such program."""
    named = os.environ.get("CXX", "")
    compiler, *options = [named] if shutil.which(named) else shlex.split(named) or ["c++"]
    found = shutil.which(compiler)
    if found is None:
        raise FileNotFoundError(f"there is no compiler '{compiler}'; install one, or name one in CXX")
    return [found, *options]


def bind(
    function: str, dtype: torch.dtype, sizes: Sequence[int], tensors: Sequence[Tensor | None]
) -> Callable[..., None] | None:
    """A compiled function for a storage dtype, bound to its first argument, a struct of sizes and pointers to tensors.

    The other arguments are int64. Returns None if it cannot be called: no library, no such function for the dtype, or a
    tensor that is not on the CPU. The tensors must outlive it. Raises ValueError for a tensor that is not contiguous.
    """
    name = f"{function}_{str(dtype).removeprefix('torch.')}"
    code = library()
    given = [x for x in tensors if x is not None]
    if code is None or not hasattr(code, name) or any(x.device.type != "cpu" for x in given):
        return None
    if not all(x.is_contiguous() for x in given):
        raise ValueError(f"{name}: every tensor must be contiguous")
    counts = (ctypes.c_int64 * len(sizes))(*sizes)
    pointers = (ctypes.c_void_p * len(tensors))(*(None if x is None else x.data_ptr() for x in tensors))
    struct = ctypes.create_string_buffer(bytes(counts) + bytes(pointers))
    address = ctypes.addressof(struct)
    native = code[name]
    native.restype = None

    def call(*arguments: int, keep: object = struct) -> None:
        native(ctypes.c_void_p(address), *map(ctypes.c_int64, arguments))

    return call


def kernels(module: str, x: Tensor) -> ModuleType | None:
    """A module of Triton kernels; None unless x is on a GPU and Triton is installed, as it is with PyTorch for CUDA."""
    if not (x.is_cuda and find_spec("triton")):
        return None
    # Products and sums in one rounding: Triton 3.9 wants that asked for, or warns; later ones leave it out.
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
    return import_module(module)


def _processor() -> bytes:
    """Bytes that differ between processors for which `-march=native` may differ: machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return " ".join(os.uname()).encode()
    return b"".join(sorted({line for line in lines if line.startswith((b"flags", b"Features", b"model name"))}))
