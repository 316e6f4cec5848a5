"""Writes snapshots in a thread of its own: the latest of each run, again after a failure, with patience at the end."""

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from cmd_tune.errors import CmdTuneError
from cmd_tune.redact import redact
from cmd_tune.tracking.backlog import Backlog, Failure, Job
from cmd_tune.tracking.base import RunSnapshot, Tracker
from cmd_tune.tracking.causes import describe_cause

_PULSE_S, _GRACE_S = 10.0, 10.0  # between pings when nothing is to be written; until a failure is reported
_NOTICE_S = 30.0  # until the end says what it waits for, and between such lines
_LOOKS = 3  # at the end: how often missing runs are looked for


class _Step(Enum):
    """What the thread does when no job is to be done."""

    PING = "ask whether somebody answers"
    LOOK = "look for runs that are missing"
    END = "end"


def say_nothing(*_: str) -> None:
    """A `say` or `tell` that reports nothing."""


class BackgroundTracker:
    """Brings a tracker up to the latest snapshot of each run, while the run goes on.

    `show` returns at once. What cannot be written is tried again until it can be, or until `close` loses patience. A
    run that fails holds up no other. Nothing is written while nobody answers.
    """

    def __init__(
        self,
        tracker: Tracker[Any],
        say: Callable[[str, str], None] = say_nothing,
        tell: Callable[[str], None] = say_nothing,
    ) -> None:
        """Start the thread.

        say: called in that thread with the tracker's title and what is wrong once a failure has lasted a while, and
        with the title and "" when it is over. tell: called in it with each line of the tracker's `news`.
        """
        self._tracker, self._say, self._tell = tracker, say, tell
        self._tried, self._refusal = threading.Event(), ""
        self._backlog = Backlog()
        self._outage: Failure | None = None  # nobody answers
        self._told: set[str] = set()  # causes that have been reported, until all is well
        self._looks, self._doubt = 0, False  # whether runs may be missing
        self._not_tidied = ""
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    @property
    def title(self) -> str:
        return self._tracker.title

    @property
    def trouble(self) -> str:
        """What is wrong, while it lasts: nobody answers, or a run cannot be written."""
        if outage := self._outage:
            return self._describe(outage)
        with self._changed:
            failures = self._backlog.failures
        if self._refusal:
            return self._refusal
        if not failures:
            return self._not_tidied
        others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return self._describe(failures[0]) + others

    def links(self) -> list[str]:
        """The same as the tracker's."""
        return self._tracker.links()

    def remarks(self) -> list[str]:
        """The same as the tracker's."""
        return self._tracker.remarks()

    def show(self, snapshot: RunSnapshot) -> None:
        """Write a run's snapshot soon, in place of an earlier one that waits."""
        with self._changed:
            self._backlog.put(snapshot)
            self._changed.notify()

    def check(self) -> None:
        """Wait for the first answer. Raises CmdTuneError if there will never be a better one: a wrong address, say."""
        self._tried.wait(2 * _GRACE_S)
        refusal, self._refusal = self._refusal, ""
        if refusal:
            raise CmdTuneError(refusal)

    def close(self, notice: Callable[[str], None] = say_nothing) -> str:
        """Write what waits, and wait for it. Returns what is wrong if that could not be done, else an empty text.

        notice: called with what is waited for, now and then, if it takes over half a minute.
        """
        with self._changed:
            self._closed = True
            self._backlog.hurry()
            if self._outage:
                self._outage.again = 0.0
            self._changed.notify()
        while True:
            self._thread.join(_NOTICE_S)
            if not self._thread.is_alive():
                return self.trouble
            with self._changed:
                what = str(self._backlog) or "an answer"
            trouble = self.trouble
            notice(f"{what} ({trouble})" if trouble else what)

    def _work(self) -> None:
        while (step := self._next()) is not _Step.END:
            began = time.monotonic()
            try:
                self._tracker.open()
                self._do(step)
            except Exception as error:  # whatever a server, a database or the network may raise
                if self._failed(step, error, began):
                    return
            else:
                self._outage = None
                self._all_well()
            self._tried.set()
            for line in self._tracker.news():
                self._tell(line)
        if self._outage is None:
            try:
                self._tracker.close()
            except Exception as error:
                self._not_tidied = self._describe(Failure("", 0.0, self._cause(error)))

    def _next(self) -> Job | _Step:
        """What is next, after a pause if need be."""
        with self._changed:
            while True:
                if self._outage:
                    if self._outage.given_up:
                        return _Step.END
                    if (pause := self._outage.again - time.monotonic()) <= 0:
                        return _Step.PING
                elif job := self._backlog.next():
                    return job
                elif not self._tried.is_set():
                    return _Step.PING
                elif not self._backlog and (self._doubt or self._closed) and self._looks < _LOOKS:
                    return _Step.LOOK
                elif not self._backlog and self._closed:
                    return _Step.END
                else:
                    pause = min(_PULSE_S, self._backlog.pause())
                if not self._changed.wait(pause) and pause == _PULSE_S:
                    return _Step.PING

    def _do(self, step: Job | _Step) -> None:
        if step is _Step.PING:
            self._tracker.ping()
        elif step is _Step.LOOK:
            self._look()
        elif isinstance(step, Job):
            self._write(step)

    def _write(self, job: Job) -> None:
        """Write a snapshot, or upload a file. After an exception, the state of its run on the server is not known."""
        with self._changed:
            snapshot, written = self._backlog.take(job)
        if job.path is None:
            written = self._tracker.write(snapshot, written)
        elif not job.path.is_file():
            failure = self._backlog.give_up(job, f"{job.path} is not there", written)
            self._report(failure)
            return
        elif snapshot.model and job.path == snapshot.model.weights:
            written = self._tracker.register(snapshot.model, written)
        else:
            written = self._tracker.upload(job.path, written)
        with self._changed:
            self._backlog.done(job, written)

    def _look(self) -> None:
        """Have those runs written again that are no longer there."""
        self._looks += self._closed
        known = dict(self._backlog.written)
        gone = self._tracker.missing(known) if known else ()
        self._doubt = False
        if self._closed and not gone:
            self._looks = _LOOKS
        with self._changed:
            self._backlog.put_again(gone)

    def _failed(self, step: Job | _Step, error: Exception, began: float) -> bool:
        """Note what is to be tried again. True if there is no use in it."""
        cause = self._cause(error)
        if not self._tried.is_set() and self._tracker.is_final(error):
            self._refusal = self._describe(Failure("", began, cause))
            self._tried.set()
            return True
        self._doubt = True
        if isinstance(step, Job):
            with self._changed:
                self._backlog.put_again([step.key])
            if self._answers():
                with self._changed:
                    self._outage = None
                    failure = self._backlog.failed(step, cause, began, last=self._closed)
                self._report(failure)
                return False
        self._outage = self._outage or Failure("", began)
        self._outage.repeat(cause, slower=False, last=self._closed)
        self._report(self._outage)
        return False

    def _answers(self) -> bool:
        """Whether somebody answers, so that a failure concerns one run alone."""
        try:
            self._tracker.open()
            self._tracker.ping()
        except Exception:
            return False
        return True

    def _report(self, failure: Failure) -> None:
        """Report a failure that lasts, or the first answer; one line for all runs that fail alike."""
        if failure.told or (self._tried.is_set() and failure.seconds < _GRACE_S):
            return
        failure.told = True
        if failure.cause not in self._told:
            self._told.add(failure.cause)
            self._say(self.title, self._describe(failure))

    def _all_well(self) -> None:
        """Report the end of what was reported."""
        if self._told and not self._backlog.failures:
            self._told.clear()
            self._say(self.title, "")

    def _cause(self, error: Exception) -> str:
        cure = self._tracker.cure(error)
        return f"{describe_cause(error)}; {cure}" if cure else describe_cause(error)

    def _describe(self, failure: Failure) -> str:
        where = f"{self.title} at {redact(self._tracker.uri)}"
        return ": ".join(filter(None, (where, failure.what, failure.cause)))
