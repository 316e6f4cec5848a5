"""This package's C++, compiled on the machine it runs on when first wanted, and kept in the user's cache.

A machine without a compiler does the same work with PyTorch's operations.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import whole_file
from cmd_tune.home import cache_folder

_HERE = Path(__file__).parent
SOURCES = tuple(_HERE / name for name in ("data/augment.cpp", "model/gates.cpp", "model/objectives/compiled.cpp"))
_FILES = (*SOURCES, _HERE / "model/elementary.h")
_X86 = platform.machine() in ("x86_64", "AMD64")
_TARGET = ("-march=native", "-mprefer-vector-width=512") if _X86 else ("-mcpu=native",)
_FLAGS = ("-std=c++17", "-O3", *_TARGET, "-fopenmp-simd", "-shared", "-fPIC")
_PATIENCE = 120  # seconds for a compiler


_compiling = Lock()  # threads that ask at once wait for one compiler


def library() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler or it does not manage."""
    with _compiling:
        return _library()


@cache
def _library() -> ctypes.CDLL | None:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    key = hashlib.blake2b(digest_size=8)
    for part in (*(file.read_bytes() for file in _FILES), " ".join((compiler, *_FLAGS)).encode(), _processor()):
        key.update(part)
    path = cache_folder() / f"native-{key.hexdigest()}.so"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with whole_file(path) as temporary:
                command = [compiler, *_FLAGS, *map(str, SOURCES), "-o", str(temporary)]
                subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)  # noqa: S603
        return ctypes.CDLL(str(path))
    except (OSError, CmdTuneError, subprocess.SubprocessError):
        return None


def bind(
    function: str, dtype: torch.dtype, sizes: Sequence[int], tensors: Sequence[Tensor | None]
) -> Callable[..., None] | None:
    """A function for a storage dtype, bound to the struct that it takes first: sizes, then pointers. The rest is int64.

    None where it cannot be called: no library, no such function for the dtype, or a tensor that is not on the CPU. The
    tensors must outlive it. Raises ValueError for a tensor that is not contiguous.
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


def _processor() -> bytes:
    """What `-march=native` depends on: a home folder may be shared by machines that are not alike."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return " ".join(os.uname()).encode()
    return b"".join(sorted({line for line in lines if line.startswith((b"flags", b"Features", b"model name"))}))
