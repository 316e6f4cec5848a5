"""Right answers counted by subject, from which the intervals of scores and of differences are computed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmd_tune.errors import DataError
from cmd_tune.evaluate.intervals import Groups, Interval, clustered_interval, difference_interval, wilson_interval
from cmd_tune.files import write_text


@dataclass(frozen=True)
class Tally:
    """Counts by group. right: by metric, the right answers in each group. by_subject False: a group is one clip."""

    clips: list[int]
    right: dict[str, list[int]]
    by_subject: bool

    def interval(self, metric: str) -> Interval | None:
        """The 95 % interval, in percent; None if the metric was not counted."""
        if metric not in self.right:
            return None
        if self.by_subject:
            return clustered_interval(self.right[metric], self.clips)
        return wilson_interval(100 * sum(self.right[metric]) / sum(self.clips), sum(self.clips))

    def percent(self, metric: str) -> float:
        return 100 * sum(self.right[metric]) / sum(self.clips)

    def above(self, other: "Tally", metric: str) -> Interval | None:
        """The 95 % interval, in points, of this accuracy less the other; None if they are not of the same clips."""
        if metric not in self.right or metric not in other.right or self.clips != other.clips or len(self.clips) < 2:
            return None
        return difference_interval(self.right[metric], other.right[metric], self.clips)

    def describe(self) -> str:
        return describe_groups(sum(self.clips), len(self.clips) if self.by_subject else 0)


def describe_groups(clips: int, subjects: int) -> str:
    """The basis of an interval over clips, in words. subjects: 0 if they are not known."""
    if subjects:
        return f"over {clips} clips, those of each of {subjects} subjects taken together"
    return f"over {clips} clips as if independent: subjects are not known, so that they may be too narrow"


def count_hits(groups: Groups, hits: Mapping[str, NDArray[np.bool_]]) -> Tally:
    """Count hits by group. hits: by metric, whether each query is right."""
    return Tally(groups.clips, {name: groups.sums(hit_Q) for name, hit_Q in hits.items()}, groups.by_subject)


def write_tally(path: Path, tally: Tally) -> None:
    write_text(path, json.dumps(vars(tally)))


def read_tally(path: Path) -> Tally | None:
    """The tally in a file; None if there is no file. Raises DataError for any other file."""
    if not path.exists():
        return None
    try:
        tally = Tally(**json.loads(path.read_text(encoding="utf-8")))
        if not _counts(tally):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: is no count of right answers; remove it") from error
    return tally


def _counts(tally: Tally) -> bool:
    """Whether every group has clips, and of them, by every metric, some number that is right."""
    rows = [tally.clips, *tally.right.values()]
    if not all(isinstance(row, list) and all(type(number) is int for number in row) for row in rows):
        return False
    least = all(number > 0 for number in tally.clips) and bool(tally.clips) and isinstance(tally.by_subject, bool)
    return least and all(
        len(row) == len(tally.clips) and all(0 <= right <= of for right, of in zip(row, tally.clips, strict=True))
        for row in rows
    )
