"""Ways of computing: what holds must hold on all of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from cmd_tune import native

WAYS = ("native", "native, one thread", "torch")


@contextmanager
def computing(way: str) -> Iterator[str]:
    """gates.cpp with its groups on two threads or on one, or PyTorch's operations, as without a compiler."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if "one" in way else 2)
    with pytest.MonkeyPatch.context() as patch:
        if way == "torch":
            patch.setattr(native, "library", lambda: None)
        else:
            assert native.library() is not None, "this machine has no C++ compiler"
        yield way
    torch.set_num_threads(before)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with computing(request.param):
        yield request.param


@pytest.fixture(scope="module", params=WAYS)
def way_of_module(request: pytest.FixtureRequest) -> Iterator[str]:
    with computing(request.param):
        yield request.param
