"""Raw files of each data set, one reader a format: path → clips with joints as recorded, in metres."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cmd_tune.data.layouts import LAYOUTS, Layout
from cmd_tune.data.readers.nw_ucla import read_nw_ucla
from cmd_tune.data.store import Clip


@dataclass(frozen=True)
class Reader:
    layout: Layout
    read: Callable[[Path], Iterator[Clip]]


READERS = {"nw-ucla": Reader(LAYOUTS["kinect-20"], read_nw_ucla)}
