"""Reads pickles without executing them: NumPy's arrays, scalars and types, and plain containers.

Not even NumPy's own functions are called with whatever a file says: a type with made-up fields, or an array that is
given a second content, would read and write memory that is not its own.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from cmd_tune.errors import DataError


class _Refused(Exception):
    """Raised for an object that is not allowed, with its module.name."""


def _encode(text: str, encoding: str) -> bytes:
    """Stands for the function with which pickles of old protocols encode bytes."""
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _dtype(text: Any, *_: object) -> np.dtype[Any]:
    """Stands for numpy.dtype: a type of its own object, so that a state changes no other, and never one of fields."""
    if not isinstance(text, str) or (kind := np.dtype(text, copy=True)).names or kind.subdtype:
        raise _Refused("numpy.dtype of fields")
    return kind


def _empty_array(kind: object, *_: object) -> np.ndarray[Any, Any]:
    """Stands for NumPy's _reconstruct: an array without content, which its state brings."""
    if kind is not _ARRAY:
        raise _Refused("an array of another class")
    return np.empty(0, np.int8)


_ARRAY = object()  # stands for numpy.ndarray, which nobody needs to call


def _numpys_own() -> dict[tuple[str, str], Any]:
    """The objects that NumPy's own pickles name, in old and new versions."""
    functions = {
        "multiarray": {"_reconstruct": _empty_array, "scalar": np.float64(0).__reduce__()[0]},
        "numeric": {"_frombuffer": np.empty(1).__reduce_ex__(5)[0]},
    }
    own = {
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, of_module in functions.items()
        for name, function in of_module.items()
    }
    return own | {("numpy", "ndarray"): _ARRAY, ("numpy", "dtype"): _dtype}


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **_numpys_own(),
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (set, frozenset, bytearray)},
}


# Not the one in C, which makes room for as many objects as a damaged file claims to number.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _ALLOWED[module, name]

    def load_build(self) -> None:
        """Give an array its content, or a type its byte order; nothing else has a state."""
        state, built = self.stack.pop(), self.stack[-1]  # type: ignore[attr-defined]
        if not _is_state_of(built, state):
            raise _Refused(f"a state that no {type(built).__name__} has")
        built.__setstate__(state)

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def _is_state_of(built: Any, state: Any) -> bool:
    """Whether a state is one that NumPy writes of a plain type, or of a whole array that has no content yet."""
    if not isinstance(state, tuple):
        return False
    if isinstance(built, np.dtype) and len(state) == 8:
        version, order, *fields, size, alignment, flags = state
        plain = version == 3 and order in ("<", ">", "|", "=") and fields == [None] * 3 and flags == built.flags
        return plain and size in (-1, built.itemsize) and alignment in (-1, built.alignment)
    if isinstance(built, np.ndarray) and built.size == 0 and len(state) == 5:
        _, shape, kind, _, content = state
        whole = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        return whole and isinstance(kind, np.dtype) and isinstance(content, list if kind.kind == "O" else (bytes, str))
    return False


def read_pickle(path: Path) -> Any:
    """The content of a pickle. Raises DataError, in one line, if it is damaged or names any other object."""
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _Refused as refused:
        raise DataError(f"{path}: asks for {refused}, which is no array or plain container; not loaded") from None
    except Exception as error:  # whatever damaged bytes lead to
        raise DataError(f"{path}: not a whole pickle ({type(error).__name__}: {error})") from error
