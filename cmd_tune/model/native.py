"""The C++ of this package, compiled on the machine it runs on the first time it is wanted, and kept in the user's cache.

A machine without a compiler does the same work with PyTorch's operations.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from cmd_tune.errors import CmdTuneError
from cmd_tune.files import whole_file

SOURCE = Path(__file__).with_name("gates.cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp-simd", "-shared", "-fPIC")
_PATIENCE = 120  # seconds for a compiler


@cache
def library() -> ctypes.CDLL | None:
    """The compiled gates; None where there is no compiler or it does not manage."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return None
    key = hashlib.blake2b(digest_size=8)
    for part in (SOURCE.read_bytes(), compiler.encode(), " ".join(_FLAGS).encode(), _processor()):
        key.update(part)
    path = _cache_folder() / f"gates-{key.hexdigest()}.so"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with whole_file(path) as temporary:
                command = [compiler, *_FLAGS, str(SOURCE), "-o", str(temporary)]
                subprocess.run(command, check=True, capture_output=True, timeout=_PATIENCE)  # noqa: S603
        return ctypes.CDLL(str(path))
    except (OSError, CmdTuneError, subprocess.SubprocessError):
        return None


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmd_tune"


def _processor() -> bytes:
    """What `-march=native` depends on: a home folder may be shared by machines that are not alike."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return " ".join(os.uname()).encode()
    return b"".join(sorted({line for line in lines if line.startswith((b"flags", b"Features", b"model name"))}))
