"""Writes snapshots in a thread of its own: the latest of each run, again after a failure, with patience at the end."""

import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

from cmd_tune.errors import CmdTuneError, with_cure
from cmd_tune.tracking.base import RunSnapshot, Tracker

_PAUSE_S, _PATIENCE_S = 2.0, 30.0  # between tries; at the end, for a server that does not answer
_PULSE_S, _GRACE_S = 10.0, 10.0  # between pings when nothing is to be written; until an outage is reported


def say_nothing(title: str, trouble: str) -> None:
    """A `say` that reports nothing."""


class BackgroundTracker:
    """Brings a tracker up to the latest snapshot of each run, while the run goes on.

    `show` returns at once. What cannot be written is tried again until it can be, or until `close` loses patience.
    """

    def __init__(self, tracker: Tracker[Any], say: Callable[[str, str], None] = say_nothing) -> None:
        """Start the thread.

        say: called in that thread with the tracker's title and what is wrong once an outage has lasted a while, and
        with the title and "" when it is over.
        """
        self.trouble = ""  # what went wrong last, while it lasts
        self._tracker, self._say = tracker, say
        self._told = False  # whether an outage has been reported
        self._tried, self._refusal = threading.Event(), ""
        self._waiting: dict[int | None, RunSnapshot] = {}
        self._written: dict[int | None, Any] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        self._thread.start()

    @property
    def title(self) -> str:
        return self._tracker.title

    def links(self) -> list[str]:
        """The same as the tracker's."""
        return self._tracker.links()

    def remarks(self) -> list[str]:
        """The same as the tracker's."""
        return self._tracker.remarks()

    def show(self, snapshot: RunSnapshot) -> None:
        """Write a run's snapshot soon, in place of an earlier one that waits."""
        with self._changed:
            self._waiting[snapshot.key] = snapshot
            self._changed.notify()

    def check(self) -> None:
        """Wait for the first answer. Raises CmdTuneError if there will never be a better one: a wrong address, say."""
        self._tried.wait(2 * _GRACE_S)
        if self._refusal:
            self.trouble = ""
            raise CmdTuneError(self._refusal)

    def close(self) -> str:
        """Write what waits, and wait for it. Returns what is wrong if that could not be done, else an empty text."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        return self.trouble

    def _work(self) -> None:
        failing_since = None  # start of the first of the calls that have failed in a row
        while (snapshot := self._next()) or not self._closed:
            began = time.monotonic()
            try:
                self._tracker.open()
                if snapshot:
                    self._write(snapshot)
                else:
                    self._tracker.ping()
            except Exception as error:  # whatever a server, a database or the network may raise
                failing_since = failing_since or began
                failing = time.monotonic() - failing_since
                self.trouble = self._describe(error)
                if snapshot:
                    with self._changed:
                        self._waiting.setdefault(snapshot.key, snapshot)
                if not self._tried.is_set() and self._tracker.is_final(error):
                    self._refusal = self.trouble
                elif not self._tried.is_set() or failing >= _GRACE_S:
                    self._tell(self.trouble)
                self._tried.set()
                if self._refusal or (self._closed and failing > _PATIENCE_S):
                    return
                time.sleep(_PAUSE_S)
            else:
                failing_since = None
                self.trouble = ""
                self._tried.set()
                self._tell("")
        try:
            self._tracker.close()
            self.trouble = ""
        except Exception as error:
            self.trouble = self._describe(error)

    def _write(self, snapshot: RunSnapshot) -> None:
        """Write a snapshot. After an exception, the state of its run on the server is not known."""
        written = self._written.pop(snapshot.key, None)
        self._written[snapshot.key] = self._tracker.write(snapshot, written)

    def _next(self) -> RunSnapshot | None:
        """The snapshot to write next, the parent's first; None after a pause without one, or at the end."""
        with self._changed:
            if self._tried.is_set() and not (self._waiting or self._closed or self.trouble):
                self._changed.wait(_PULSE_S)
            if not self._waiting:
                return None
            return self._waiting.pop(min(self._waiting, key=lambda key: -1 if key is None else key))

    def _tell(self, trouble: str) -> None:
        """Report the start and the end of an outage, once each."""
        if bool(trouble) != self._told:
            self._told = bool(trouble)
            self._say(self.title, trouble)

    def _describe(self, error: BaseException) -> str:
        return f"{self.title} at {self._tracker.uri}: {_cause(error)}"


def _cause(error: BaseException) -> str:
    """An exception in one line: the operating system's words if there are such beneath the libraries'."""
    root = error
    while deeper := root.__cause__ or root.__context__:
        root = deeper
    of_system = next((part for part in (root, *root.args) if isinstance(part, OSError)), None)
    words = str(error).strip() if of_system is None else of_system.strerror or str(of_system)
    return with_cure(textwrap.shorten((words or type(error).__name__).splitlines()[0], 200, placeholder=" …"))
