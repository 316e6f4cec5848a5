"""What every reader makes of a source: what is known of it at once, and how its clips are read, batch by batch."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmd_tune.data.clip import Clip
from cmd_tune.data.layouts import Layout

ALONE = 10**9  # units; arrays in one file are normalised in the time that handing them to other processes takes


@dataclass(frozen=True)
class Wanted:
    """What a reader is asked for. exclude: names of clips to pass over; layout: of people's own recordings."""

    exclude: Collection[str] = frozenset()
    layout: Layout | None = None


@dataclass(frozen=True)
class Source:
    """A source, opened, before a clip of it is read.

    normalization: the family that the source is in; None where it is as recorded. files: those whose change makes it
    another source. units: how many `what` there are; a batch holds one or more. few: units below which starting
    processes takes longer than it saves. batches: in a fixed order. read: a batch's clips, or a line about what is
    wrong with one; it can be sent to another process, as the batches can.
    """

    dataset: str
    layout: Layout
    bodies: int
    normalization: str | None
    files: Sequence[Path]
    what: str
    units: int
    few: int
    batches: Iterable[Sequence[Any]]
    read: Callable[[Sequence[Any]], list[Clip | str]]


def in_batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """A sequence in pieces of `size`, the last one what is left."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def clip_batches(clips: Iterable[Clip | str | None], size: int) -> Iterator[list[Clip | str]]:
    """Clips as they are read, in batches of `size` of them; None for one that is passed over."""
    batch: list[Clip | str] = []
    for clip in clips:
        if clip is not None:
            batch.append(clip)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
