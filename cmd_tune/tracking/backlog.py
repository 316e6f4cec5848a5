"""What is still to be written to a tracker, in which order, and what of it fails."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmd_tune.formatting import count, file_size
from cmd_tune.tracking.base import RunKey, RunSnapshot

PAUSE_S, _LONGEST_PAUSE_S = 2.0, 30.0  # between tries of what fails; doubled each time up to the second
PATIENCE_S = 30.0  # at the end, for what fails
# Until a trial's snapshot is written, in which the next one may take its place: a last epoch and the end go as one, and
# not at the moment at which the search has the next trial to begin.
SETTLE_S = 0.5


@dataclass(frozen=True)
class Job:
    """A run's snapshot to be written, or one of its files to be uploaded."""

    key: RunKey
    path: Path | None = None  # of the file


@dataclass
class Failure:
    """What fails, since when, and when it is tried again. Times are those of `time.monotonic`."""

    what: str  # name of the run, and of the file; empty: all
    since: float
    cause: str = ""
    tries: int = 0
    again: float = 0.0
    given_up: bool = False
    told: bool = False

    def repeat(self, cause: str, *, slower: bool, last: bool) -> None:
        """It failed again. slower: whether pauses grow. last: whether patience has an end."""
        now = time.monotonic()
        self.cause = cause
        self.again = now + (min(PAUSE_S * 2**self.tries, _LONGEST_PAUSE_S) if slower and not last else PAUSE_S)
        self.tries += 1
        self.given_up = last and now - self.since > PATIENCE_S

    @property
    def seconds(self) -> float:
        """For how long it has failed."""
        return time.monotonic() - self.since


class Backlog:
    """The latest snapshot of each run and its files: those that wait, and what is known of those that are written.

    A run whose state on the server is not known has a snapshot that waits.
    """

    def __init__(self) -> None:
        self._latest: dict[RunKey, RunSnapshot] = {}
        self._snapshots: dict[RunKey, RunSnapshot] = {}  # that wait
        self._due: dict[RunKey, float] = {}  # when each of these is
        self._files: dict[Job, int] = {}  # that wait → bytes
        self._written: dict[RunKey, Any] = {}
        self._failing: dict[Job, Failure] = {}

    @property
    def written(self) -> Mapping[RunKey, Any]:
        """What the tracker returned for each run whose state is known."""
        return self._written

    @property
    def failures(self) -> list[Failure]:
        return list(self._failing.values())

    def __bool__(self) -> bool:
        """Whether something waits that is not given up."""
        return any(not self._is_given_up(job) for job in self._jobs())

    def __str__(self) -> str:
        """All that waits, in a few words."""
        parts = [count(len(self._snapshots), "run")] if self._snapshots else []
        if self._files:
            parts.append(f"{count(len(self._files), 'file')} of {file_size(sum(self._files.values()))}")
        return " and ".join(parts)

    def put(self, snapshot: RunSnapshot) -> None:
        """Have a snapshot written, in place of an earlier one of the run; that of a trial in a moment."""
        if snapshot.key not in self._snapshots:
            self._due[snapshot.key] = 0.0 if snapshot.key is None else time.monotonic() + SETTLE_S
        self._latest[snapshot.key] = self._snapshots[snapshot.key] = snapshot
        self._put_files(snapshot)

    def put_again(self, keys: Iterable[RunKey]) -> None:
        """Have runs written again of which nothing is known any more."""
        for key in keys:
            self._written.pop(key, None)
            if key in self._latest:
                self._snapshots.setdefault(key, self._latest[key])
                self._put_files(self._latest[key])

    def next(self) -> Job | None:
        """What is to be done now: the parent, the other runs, then files, the smallest first; None: nothing."""
        now = time.monotonic()
        for job in self._jobs():
            if (again := self._again(job)) is not None and again <= now:
                return job
        return None

    def pause(self) -> float:
        """Seconds until something is to be done; infinite if nothing waits."""
        again = [again for job in self._jobs() if (again := self._again(job)) is not None]
        return max(0.0, min(again, default=float("inf")) - time.monotonic())

    def take(self, job: Job) -> tuple[RunSnapshot, Any]:
        """Begin a job. Returns the run's snapshot, and what is known of it on the server."""
        snapshot = self._snapshots.pop(job.key) if job.path is None else self._latest[job.key]
        self._due.pop(job.key, None)
        return snapshot, self._written.pop(job.key, None)

    def done(self, job: Job, written: Any) -> None:
        """A job is done. written: what is known of the run now."""
        self._written[job.key] = written
        self._failing.pop(job, None)
        if job.path is not None:
            self._files.pop(job, None)

    def failed(self, job: Job, cause: str, began: float, *, last: bool) -> Failure:
        """A job that was taken has failed, so that nothing is known of its run. last: whether patience has an end."""
        self.put_again([job.key])
        failure = self._failing.setdefault(job, Failure(self._what(job), began))
        failure.repeat(cause, slower=True, last=last)
        return failure

    def give_up(self, job: Job, cause: str, written: Any) -> Failure:
        """A job that was taken can never be done. written: what is known of the run."""
        self._written[job.key] = written
        self._failing[job] = Failure(self._what(job), 0.0, cause, given_up=True)
        return self._failing[job]

    def hurry(self) -> None:
        """Try at once what fails, and do what is not due yet."""
        self._due.clear()
        for failure in self._failing.values():
            failure.again = 0.0

    def _what(self, job: Job) -> str:
        name = self._latest[job.key].name
        return name if job.path is None else f"{name}: {job.path.name}"

    def _put_files(self, snapshot: RunSnapshot) -> None:
        for path in (*snapshot.files, *([snapshot.model.weights] if snapshot.model else [])):
            self._files[Job(snapshot.key, path)] = path.stat().st_size if path.is_file() else 0

    def _jobs(self) -> list[Job]:
        """All that waits, in its order. A file waits for its run."""
        runs = sorted(self._snapshots, key=_rank)
        files = sorted((job for job in self._files if job.key in self._written), key=lambda job: self._files[job])
        return [*map(Job, runs), *files]

    def _again(self, job: Job) -> float | None:
        """When a job is to be done; None if it is given up."""
        if failure := self._failing.get(job):
            return None if failure.given_up else failure.again
        return self._due.get(job.key, 0.0) if job.path is None else 0.0

    def _is_given_up(self, job: Job) -> bool:
        return job in self._failing and self._failing[job].given_up


def _rank(key: RunKey) -> tuple[int, int, str]:
    """The order of runs: the parent, trials, those beside them."""
    if key is None:
        return (0, 0, "")
    return (2, 0, key) if isinstance(key, str) else (1, key, "")
