"""Reads pickles without executing them: NumPy's arrays, scalars and types, and plain containers."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cmd_tune.errors import DataError


class _Refused(Exception):
    """Raised for an object that is not allowed, with its module.name."""


def _encode(text: str, encoding: str) -> bytes:
    """Stands for the function with which pickles of old protocols encode bytes."""
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _numpys_own() -> dict[tuple[str, str], Any]:
    """The objects that NumPy's own pickles name, in old and new versions."""
    functions = {
        "multiarray": {"_reconstruct": np.empty(0).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]},
        "numeric": {"_frombuffer": np.empty(1).__reduce_ex__(5)[0]},
    }
    own = {
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, of_module in functions.items()
        for name, function in of_module.items()
    }
    return own | {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}


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
