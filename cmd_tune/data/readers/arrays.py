"""Arrays in .npy and .npz files, memory-mapped unless compressed. Objects are never unpickled.

R row: the first dimension.
"""

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cmd_tune.data.readers.stray_files import is_data
from cmd_tune.errors import DataError

Take = Callable[[int], NDArray[Any]]  # the next so many rows


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Turn any exception into a DataError in one line: a damaged file can raise anything."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{where}: not a whole array of numbers ({error or type(error).__name__})") from error


def map_npy(path: Path) -> NDArray[Any]:
    """The array of a .npy file, memory-mapped. Raises DataError."""
    with _named(str(path)):
        return np.load(path, mmap_mode="r", allow_pickle=False)


class Npz:
    """The arrays of an .npz file. Raises DataError, in one line, if it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        with _named(str(path)):
            self._zip = zipfile.ZipFile(path)
        self.keys = [name.removesuffix(".npy") for name in self._zip.namelist() if is_data(name)]

    def load(self, key: str) -> NDArray[Any]:
        """Load a small array, whole."""
        with _named(f"{self.path}: {key}"), self._zip.open(f"{key}.npy") as file:
            return npy.read_array(file, allow_pickle=False)

    def rows(self, key: str) -> tuple[tuple[int, ...], Take]:
        """The shape of a large array, and a function that returns its next rows."""
        where = f"{self.path}: {key}"
        with _named(where):
            info = self._zip.getinfo(f"{key}.npy")
            file = self._zip.open(info)
            shape, fortran, dtype = _header(file)
            if dtype.kind not in "fiu" or not shape:
                raise ValueError(f"of type {dtype}, shape {shape}")
            if fortran and len(shape) > 1:
                raise ValueError("in Fortran's order; save it with numpy.ascontiguousarray")
            if info.compress_type == zipfile.ZIP_STORED:
                return shape, _mapped(self.path, info, shape, dtype, file.tell())
            return shape, _streamed(file, shape, dtype, where)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(file)


def _mapped(path: Path, info: zipfile.ZipInfo, shape: tuple[int, ...], dtype: np.dtype[Any], header: int) -> Take:
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = np.frombuffer(file.read(4), "<u2").tolist()
    begin = info.header_offset + 30 + name + extra + header
    if begin + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        raise ValueError("ends early")
    array = np.memmap(path, dtype, "r", begin, shape)
    at = 0

    def take(count: int) -> NDArray[Any]:
        nonlocal at
        at += count
        return array[at - count : at]

    return take


def _streamed(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> Take:
    row_bytes = math.prod(shape[1:]) * dtype.itemsize

    def take(count: int) -> NDArray[Any]:
        with _named(where):
            content = file.read(count * row_bytes)
            if len(content) < count * row_bytes:
                raise ValueError("ends early")
            return np.frombuffer(content, dtype).reshape(count, *shape[1:])

    return take
