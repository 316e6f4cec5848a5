"""The contract of a tracker: the snapshots that it is given, and what it must do with them."""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

Written = TypeVar("Written")
RunKey = int | str | None  # index of a trial; a word, of a baseline beside the trials; None: the parent of them all


class RunStatus(StrEnum):
    """How a run stands. A stopped run was ended early by a person, a signal or the end of its time."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Page:
    """How a server lists the runs of one search: columns for these metrics, then for these parameters and tags.

    order: the metric that they are sorted by, smallest first if ascending; empty: the server's own order.
    """

    metrics: tuple[str, ...]
    params: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    order: str = ""
    ascending: bool = False


@dataclass(frozen=True)
class DataInput:
    """The data that a run is of. digest: of its content. source: path or URI. context: what for, in a word."""

    name: str
    digest: str
    source: str
    profile: dict[str, Any] = field(default_factory=dict)  # what else is known of it
    context: str = "training"


@dataclass(frozen=True)
class Model:
    """A trained model for a server's registry: a new version of its name, the best of which is told apart.

    What loads it is code and packages, pinned to the versions that are installed: `_load_pyfunc(path)` of the module
    `loader` makes an object with `predict` of the file `weights`. A version is better by its score if metric and data
    are the same.
    """

    name: str
    about: str  # of all versions
    note: str  # of this one, in Markdown
    weights: Path
    digest: str  # of the weights' values, and whose they are
    loader: str
    code: Path  # folder of the package that has the loader
    code_left_out: tuple[str, ...]  # names in it that the loader does without
    packages: tuple[str, ...]
    shape_in: tuple[int, ...]  # of float32 tensors; -1: any size
    shape_out: tuple[int, ...]
    metric: str
    score: float
    maximize: bool
    data: str  # digest of the data of the score
    tags: dict[str, str]


@dataclass(frozen=True)
class RunSnapshot:
    """All that a server should show of a run at one moment: a whole state, of which a tracker writes what it lacks.

    A later snapshot of a run has the same key, name, params and documents; its epochs continue the earlier ones.
    """

    key: RunKey
    name: str
    params: dict[str, Any]
    documents: dict[str, dict[str, Any]]  # YAML files: name → content
    note: str = ""  # Markdown, for people; `artifact:NAME` is the address of one of its files
    data: DataInput | None = None
    commit: str | None = None  # of the code that ran it, empty if unknown; None: leave what is recorded
    tags: dict[str, str] = field(default_factory=dict)
    epochs: list[dict[str, float]] = field(default_factory=list)  # metrics by epoch; each has "epoch", from 1 on
    scores: dict[str, float] = field(default_factory=dict)  # metrics of the whole run
    files: list[Path] = field(default_factory=list)  # uploaded once each
    model: Model | None = None  # registered once
    table: dict[str, list[Any]] = field(default_factory=dict)  # columns of the table of trials
    status: RunStatus | None = RunStatus.RUNNING  # None: leave what is recorded
    reason: str = ""  # why it failed, was stopped, or ended early
    page: Page | None = None
    time: int = field(default_factory=lambda: int(time.time() * 1000))  # of its scores, in ms since 1970


class Tracker(ABC, Generic[Written]):
    """A server, database or file that shows the runs of one search (or one run that is no search).

    `BackgroundTracker` is the only caller. In one thread it calls, in this order:

    1. `open`, until it returns, and again before each other call, which must then cost nothing.
    2. `write` for each new snapshot, the parent's first unless that fails. What it returns is passed to the next call
       for that run. A later process starts with None again, so a run is found again by `identity` and the snapshot's
       key.
    3. `upload` for each of a snapshot's files, when no snapshot waits, the smallest first.
    4. `register` for a snapshot's model, in the place of an upload of its weights.
    5. `ping` after a call that failed, and now and then while there is nothing to write.
    6. `missing` at the end, and after a failure: what it returns is written again.
    7. `close`, once, after the last write.

    Any of these may raise anything; all but `close` are then called again. A failed call may have been carried out all
    the same, its answer being lost, so after an exception `write` gets None and must read what is there before it
    writes. A snapshot that is written twice leaves one run, and one value for each metric and epoch; a run that was
    deleted meanwhile comes back, or is made anew with all that the snapshot has.

    `links`, `remarks` and `is_final` answer at once; the first two are called in other threads as well.
    """

    title: ClassVar[str]  # what messages call it

    def __init__(self, uri: str, experiment: str, search: str, storage: Path, identity: str = "") -> None:
        """Connect to nothing yet.

        experiment: data set and protocol. search: name of the search, or of the run. storage: the folder of all runs.
        identity: of the search; two of one name differ in it. Empty: its name.
        """
        self.uri, self.experiment, self.search, self.storage = uri, experiment, search, storage
        self.identity = identity or search

    @abstractmethod
    def open(self) -> None:
        """Connect. Raises if nobody answers, or CmdTuneError for what the user must change."""

    @abstractmethod
    def write(self, snapshot: RunSnapshot, written: Written | None) -> Written:
        """Write what is missing of a run, but for its files. Returns what is there now.

        written: what the last call for this run returned; None: not known, read it.
        """

    @abstractmethod
    def upload(self, path: Path, written: Written) -> Written:
        """Upload a file of a run, unless it is there already. Returns what is there now."""

    def register(self, model: Model, written: Written) -> Written:
        """Register the model of a run, unless that is done already. Nothing, where there is no registry."""
        return written

    @abstractmethod
    def links(self) -> list[str]:
        """What a person pastes to see the runs: a command if one must be started, then an address if it is known."""

    def ping(self) -> None:
        """Raise if nobody answers."""

    def missing(self, written: Mapping[RunKey, Written]) -> Collection[RunKey]:
        """The keys of those runs that are no longer there as they were written: deleted by a person, say."""
        return ()

    def close(self) -> None:
        """Tidy up after the last write."""

    def is_final(self, error: Exception) -> bool:
        """Whether the first call's exception will come again however often it is tried: a wrong address, say."""
        return False

    def cure(self, error: Exception) -> str:
        """What the user can do about an exception, as the end of a sentence; empty: nothing is known."""
        return ""

    def news(self) -> list[str]:
        """One line for each thing that the last calls did unasked: a deleted run was restored, say."""
        return []

    def remarks(self) -> list[str]:
        """One line for each setting of the user's environment that is not followed."""
        return []
