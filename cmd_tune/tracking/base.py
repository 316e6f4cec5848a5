"""The contract of a tracker: the snapshots that it is given, and what it must do with them."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

Written = TypeVar("Written")


class RunStatus(StrEnum):
    """How a run stands. A stopped run was ended early by a person, a signal or a stopping rule."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Page:
    """How a server lists the runs of one search: columns for these metrics, then for these parameters.

    order: the metric that they are sorted by, smallest first if ascending; empty: the server's own order.
    """

    metrics: tuple[str, ...]
    params: tuple[str, ...] = ()
    order: str = ""
    ascending: bool = False


@dataclass(frozen=True)
class RunSnapshot:
    """All that a server should show of a run at one moment: a whole state, of which a tracker writes what it lacks.

    A later snapshot of a run has the same key, name, params and documents; its epochs continue the earlier ones.
    """

    key: int | None  # index of the trial; None: the search itself, the parent of its trials
    name: str
    params: dict[str, Any]
    documents: dict[str, dict[str, Any]]  # YAML files: name → content
    note: str = ""  # Markdown, for people
    commit: str | None = None  # of the code that ran it, empty if unknown; None: leave what is recorded
    tags: dict[str, str] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)  # metrics by epoch; each has "epoch", from 1 on
    scores: dict[str, float] = field(default_factory=dict)  # metrics of the whole run
    files: list[Path] = field(default_factory=list)  # uploaded once each
    table: dict[str, list[Any]] = field(default_factory=dict)  # columns of the table of trials
    status: RunStatus | None = RunStatus.RUNNING  # None: leave what is recorded
    reason: str = ""  # why it failed or was stopped
    page: Page | None = None
    time: int = field(default_factory=lambda: int(time.time() * 1000))  # of its scores, in ms since 1970


class Tracker(ABC, Generic[Written]):
    """A server, database or file that shows the runs of one search (or one run that is no search).

    `BackgroundTracker` is the only caller. In one thread it calls, in this order:

    1. `open`, until it returns, and again before each `write` and `ping`, which must then cost nothing.
    2. `write` for each new snapshot, the parent before its trials. What it returns is passed to the next `write` of
       that run. A later process starts with None again, so a run is found again by `search` and the snapshot's key.
    3. `ping` now and then while there is nothing to write.
    4. `close`, once, after the last write.

    Any of these may raise anything; all but `close` are then called again. A failed call may have been carried out all
    the same, its answer being lost, so after an exception `write` gets None and must read what is there before it
    writes. A snapshot that is written twice leaves one run, and one value for each metric and epoch.

    `links`, `remarks` and `is_final` answer at once; the first two are called in other threads as well.
    """

    title: ClassVar[str]  # what messages call it

    def __init__(self, uri: str, experiment: str, search: str, storage: Path) -> None:
        """Connect to nothing yet.

        experiment: data set and protocol. search: name of the search, or of the run. storage: the folder of all runs.
        """
        self.uri, self.experiment, self.search, self.storage = uri, experiment, search, storage

    @abstractmethod
    def open(self) -> None:
        """Connect. Raises if nobody answers, or CmdTuneError for what the user must change."""

    @abstractmethod
    def write(self, snapshot: RunSnapshot, written: Written | None) -> Written:
        """Write what is missing of a run. Returns what is there now.

        written: what the last call for this run returned; None: not known, read it.
        """

    @abstractmethod
    def links(self) -> list[str]:
        """What a person pastes to see the runs: a command if one must be started, then an address if it is known."""

    def ping(self) -> None:
        """Raise if nobody answers."""

    def close(self) -> None:
        """Tidy up after the last write."""

    def is_final(self, error: Exception) -> bool:
        """Whether the first call's exception will come again however often it is tried: a wrong address, say."""
        return False

    def remarks(self) -> list[str]:
        """One line for each setting of the user's environment that is not followed."""
        return []
