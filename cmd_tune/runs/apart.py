"""A measurement in a process of its own: the memory of a card is free again after it."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from cmd_tune.errors import CmdTuneError

T = TypeVar("T")


def call_apart(function: Callable[..., T], *arguments: object, ended: str) -> T:
    """What the function returns in a new process, or raises. Raises CmdTuneError(ended) if the process was ended."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise CmdTuneError(ended) from error
