"""The contract of a reader: a function of a path and options that opens a source, whose clips are read in batches."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import Layout

# For arrays in one file, more processes do not pay: sending costs as much as the work.
NEVER_PARALLEL = 10**9


@dataclass(frozen=True)
class ReadOptions:
    """Options of a reader. exclude: names of clips to leave out. layout: the joints, which some formats do not tell."""

    exclude: Collection[str] = frozenset()
    layout: Layout | None = None


@dataclass(frozen=True)
class Source:
    """An opened source, of which no clip has been read.

    normalization: the family of normalisation that its clips have; None if they are as recorded, in metres, or in
    pixels or another unit of length in 2-D. NaN in a coordinate, or 0 in all, says that the sensor lost the joint; a
    body without joints is not there.
    default: the family that clips as recorded are given, unless another is asked for.
    files: those whose change makes it another source. units: how many `what` ("files" or "clips") there are.
    parallel_from: the number of units from which several processes save time; NEVER_PARALLEL for arrays in one file.
    batches: one or more units each, in a fixed order. read: returns the clips of a batch, and for each that cannot be
    used one line that says where it is and why. Batches and `read` can be sent to other processes. A unit that a file
    is read for is the file's name, a tuple that begins with it, or has it as `file`.
    """

    dataset: str
    layout: Layout
    bodies: int
    normalization: str | None
    files: Sequence[Path]
    what: str
    units: int
    parallel_from: int
    batches: Iterable[Sequence[Any]]
    read: Callable[[Sequence[Any]], list[Clip | str]]
    default: str = "2s-agcn"


def default_family(layout: Layout, solid: str = "2s-agcn") -> str:
    """The normalisation of joints as recorded, unless a source knows a better one. solid: of joints in 3-D."""
    return solid if layout.coordinates == 3 else "torso"


def in_batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Pieces of `size` items; the last one may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def clip_batches(clips: Iterable[Clip | str | None], size: int) -> Iterator[list[Clip | str]]:
    """Batches of `size` clips, made while they are read. None stands for a clip that is left out."""
    batch: list[Clip | str] = []
    for clip in clips:
        if clip is not None:
            batch.append(clip)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
