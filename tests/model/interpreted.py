"""The GPU's kernels on a CPU, by Triton's interpreter, with some of its shortcuts put right.

The tests' conftest.py asks for the interpreter before anything imports Triton. It keeps bfloat16 as bits: its products
multiply those instead of the numbers, and float32 is cut off rather than rounded to them. A truth value that is spread
over a tile becomes an integer, which no mask may be. A number is an array of one, which NumPy no longer takes for an
index where Triton is older. Its functions are put in the place of Triton's once a launch, not anew for each function
that a kernel calls: that took most of the time.
"""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="no Triton for this system")
if os.environ["TRITON_INTERPRET"] != "1":
    pytest.skip("the kernels are compiled here: test_gpu.py has them", allow_module_level=True)

import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from cmd_tune.model.encoders import gru_frame_kernels, gru_sequence_kernels, input_norm_kernels
from cmd_tune.model.objectives import one_pass_launch as objective_kernels
from cmd_tune.train import weight_pass_kernels

__all__ = [
    "gru_frame_kernels",
    "gru_sequence_kernels",
    "input_norm_kernels",
    "objective_kernels",
    "weight_pass_kernels",
]

_dot, _cast, _splat = InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl, InterpreterBuilder.create_splat


def _dot_of_numbers(self, a, b, *rest):
    return _dot(self, *(_cast(self, x, tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b)), *rest)


def _rounding_cast(self, x, to):
    if (x.dtype.scalar, to.scalar) != (tl.float32, tl.bfloat16):
        return _cast(self, x, to)
    rounded = torch.from_numpy(np.array(x.data)).bfloat16().view(torch.uint16).numpy()
    return TensorHandle(rounded, tl.bfloat16)


def _splat_of_truths(self, to, x):
    tile = _splat(self, to, x)
    return TensorHandle(tile.data.astype(np.bool_), tl.int1) if x.data.dtype == np.bool_ else tile


_patch_tensor, _patch_lang = interpreter._patch_lang_tensor, interpreter._patch_lang
_LANGUAGE = SimpleNamespace(__globals__={"tl": tl, "core": tl.core})  # as a function that knows all of it


def _patch_tensor_and_index(tensor, *scope):
    _patch_tensor(tensor, *scope)
    tensor.__index__ = lambda self: self.handle.data.item()


def _patch_once(function):
    return _patch_lang(_LANGUAGE) if tl.core.is_builtin(tl.core.load) else None


InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl = _dot_of_numbers, _rounding_cast
InterpreterBuilder.create_splat = _splat_of_truths
interpreter._patch_lang_tensor, interpreter._patch_lang = _patch_tensor_and_index, _patch_once
