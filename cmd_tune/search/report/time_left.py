"""The time left of a search, from how far earlier trials went, their pace, and the number of trials at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np


@dataclass(frozen=True)
class Course:
    """A trial's progress. epochs: if it is not stopped early. idle: seconds since its last epoch ended."""

    epoch: int
    epochs: int
    idle: float = 0.0

    @property
    def share(self) -> float:
        return self.epoch / self.epochs


def seconds_left(
    ended: Sequence[Course], running: Sequence[Course], to_come: int, *, epochs: float, pace: float, slots: int
) -> float:
    """Seconds until all trials have ended, `slots` at a time, each taking `pace` seconds per epoch.

    ended: trials that finished or were stopped early, without failures. A running trial is expected to go as far as the
    mean of the ended trials that went further than it has, or to its last epoch if none did; a trial to come, as far as
    the mean of all others. epochs: of a trial to come, if it is not stopped early.
    """
    share_E = np.array([course.share for course in ended])

    def goes_to(course: Course) -> float:
        further = share_E[share_E > course.share]
        return float(further.mean()) if len(further) else 1.0

    shares = [goes_to(course) for course in running]
    whole = float(np.mean([*share_E, *shares])) if len(share_E) or shares else 1.0
    jobs = [
        max(0.0, pace * (share * course.epochs - course.epoch) - course.idle)
        for share, course in zip(shares, running, strict=True)
    ]
    free_at = [0.0] * slots
    heapify(free_at)
    for seconds in (*jobs, *[pace * whole * epochs] * to_come):
        heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)
