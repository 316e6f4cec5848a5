"""Ways of computing: what holds must hold on all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
import torch

from cmd_tune.compute import native
from cmd_tune.model.encoders import gru_layer, gru_whole_layer

WAYS = (
    *("native", "native, one thread", "native, a call per frame", "torch"),
    *("triton, frame by frame", "triton, all frames"),
)


@contextmanager
def computing(way: str) -> Iterator[str]:
    """gru_whole_layer.cpp on two threads or one; gru_gates.cpp, for weights too large for that; PyTorch's operations,
    for no compiler; a GPU's kernels, interpreted.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if "one" in way else 2)
    with pytest.MonkeyPatch.context() as patch:
        if way.startswith("triton"):
            interpreted = import_module("tests.model.interpreted")
            patch.setattr(
                gru_layer,
                "_frame_kernels",
                lambda x: None if x.dtype == torch.float64 else interpreted.gru_frame_kernels,
            )
            if way.endswith("frame by frame"):
                patch.setattr(interpreted.gru_sequence_kernels, "SIZES", {})
        elif way == "torch":
            patch.setattr(native, "library", lambda: None)
        else:
            assert native.library() is not None, "this machine has no C++ compiler"
            if way.endswith("per frame"):
                patch.setattr(gru_whole_layer, "_MOST_BYTES", 0)
        yield way
    torch.set_num_threads(before)


@pytest.fixture(params=[pytest.param(way, marks=pytest.mark.long if way.endswith("by frame") else ()) for way in WAYS])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with computing(request.param):
        yield request.param


def _marks(way: str) -> list[pytest.MarkDecorator]:
    """What is interpreted takes most of a minute for the steps of the golden file."""
    long = [pytest.mark.long] if way.startswith("triton") else []
    return [*long, pytest.mark.slow] if way.endswith("by frame") else long


@pytest.fixture(scope="module", params=[pytest.param(way, marks=_marks(way)) for way in WAYS])
def way_of_module(request: pytest.FixtureRequest) -> Iterator[str]:
    with computing(request.param):
        yield request.param
