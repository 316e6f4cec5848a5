"""The contract between a search and what runs its trials: tasks go in, reports come out, answers go back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, Self, TypeVar

from cmd_tune.search.execution.resources import ResourcePlan, ResourceRequest, TrialResources

if TYPE_CHECKING:  # they load PyTorch, for which the processes that only pass trials on have no use
    from cmd_tune.runs.data_source import DataSource
    from cmd_tune.settings import Settings

T = TypeVar("T")

WAIT: Final = "wait"
MAX_RESTARTS = 2  # of a trial, or a call, whose process died, without any progress in between
# Kinds of failure that an engine itself finds; those that a trial's process finds are names of exceptions.
DIED: Final = "Died"  # a process was killed, or crashed
NODE_LOST: Final = "NodeLost"  # a computer is gone
HUNG: Final = "Hung"  # no report for too long, as of `hung_after` of a request


@dataclass(frozen=True)
class TrialTask:
    """All that the process of a trial needs to know. If the folder has a checkpoint, the trial is resumed from it."""

    index: int  # the trial's number everywhere: in the study, in folders, on the screen
    folder: Path
    settings: Settings
    source: DataSource
    resources: TrialResources
    test: bool = False  # whether the last report has scores on the test set, as those of a comparison's trials have

    def to_plain(self) -> dict[str, Any]:
        """Plain values, for other processes."""
        return {
            "trial": self.index,
            "folder": str(self.folder),
            "settings": self.settings.model_dump(mode="json"),
            "source": {**asdict(self.source), "path": str(self.source.path)},
            "resources": asdict(self.resources),
            "test": self.test,
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The task that `to_plain` gave these values."""
        from cmd_tune.runs.data_source import DataSource
        from cmd_tune.settings import Settings

        return cls(
            index=values["trial"],
            folder=Path(values["folder"]),
            settings=Settings(**values["settings"]),
            source=DataSource(**{**values["source"], "path": Path(values["source"]["path"])}),
            resources=TrialResources(**values["resources"]),
            test=values["test"],
        )


@dataclass(frozen=True)
class TrialReport:
    """What the process of a trial reports after an epoch, or last if it cannot go on.

    records: metrics of one epoch; first, if the trial is resumed, those of all epochs in its checkpoint.
    slower: what newly falls back to something slower, in one line.
    failure: why the trial cannot go on, in one line. kind: of failure: the name of an exception of cmd_tune.errors; "":
    as UsageError.
    """

    records: list[dict[str, float]] = field(default_factory=list)
    slower: str = ""
    failure: str = ""
    kind: str = ""

    @property
    def finite(self) -> list[dict[str, float]]:
        """The records without what is no finite number."""
        return [{name: float(x) for name, x in record.items() if isfinite(x)} for record in self.records]


class TrialEvents(Protocol):
    """What an engine asks and reports while it runs trials; the search controller answers.

    An engine calls from one thread. In the life of a trial:

    1. `next_task` hands its task out.
    2. `started` once its process begins, and again each time it begins anew after its death.
    3. `reported` for each report with records. If the answer is true, the engine ends the trial.
    4. `ended`, once, however it ends.

    If one of these raises, the engine calls `failed` and carries on as `stop_all` then says.
    """

    def next_task(self) -> TrialTask | Literal["wait"] | None:
        """The next trial to run. WAIT: none before another has ended. None: none any more."""
        ...

    def started(self, index: int) -> None: ...

    def reported(self, index: int, report: TrialReport) -> bool:
        """Returns whether to end the trial."""
        ...

    def ended(self, index: int, failure: str = "", kind: str = "") -> None:
        """failure: why it could not go on, in one line; empty if it came to its end or was ended.

        kind: as of a report, or the engine's own: DIED for a process that died more often than it may, NODE_LOST, HUNG
        for a trial that the engine has ended because it did not report. Any other kind is taken for a defect.
        """
        ...

    def failed(self, error: Exception) -> None:
        """The search itself cannot go on, because of this."""
        ...

    def relaid(self, plan: ResourcePlan) -> None:
        """From now on trials are laid out like this, since computers have come or gone."""
        ...

    def noted(self, text: str) -> None:
        """A line for people, as of what the trials wait for."""
        ...

    def stop_all(self) -> bool:
        """Whether all running trials are to end at once, since the search cannot go on; `ended` is not needed then."""
        ...


class Engine(ABC):
    """Runs the trials of one search on some computers.

    The searching process calls, in this order:

    1. `Engine(…)`: checks what can be checked at once; starts nothing.
    2. `open`: begins to start or join the computers, which may go on while this process does other things.
    3. `plan`: waits for that, checks that each computer can run trials, and lays them out.
    4. `call` and `run`, as often as needed.
    5. `close`, also after an exception or Ctrl-C in any of these. Nothing of the search runs any more when it returns.

    Computers that are gone for good set `lost`; the main thread is then interrupted as Ctrl-C does.

    `open` and `plan` raise CmdTuneError, in one line.
    """

    title: ClassVar[str]  # what messages call it
    lost: str = ""  # why the search cannot go on, in one line
    is_open: bool = False

    def __init__(self, folder: Path, request: ResourceRequest, address: str | None = None) -> None:
        """folder: of the search; an engine's own files go there. address: of computers to join; None: this one.

        Raises CmdTuneError if nobody answers at the address.
        """
        self.folder, self.request, self.address = folder, request, address

    @abstractmethod
    def open(self, *, trials: int | None, given: int) -> None:
        """Begin to start or join the computers. Arguments as of `plan_resources`."""

    @abstractmethod
    def plan(self, source: DataSource) -> ResourcePlan:
        """How trials on these data are laid out over the computers."""

    @abstractmethod
    def call(self, function: Callable[..., T], *arguments: object) -> Callable[[], T]:
        """Run a function where trials run, on the first place that no trial waits for, in each of its processes.

        Returns a function that waits for the result, that of the first process; it raises what the function raised.
        """

    @abstractmethod
    def run(self, plan: ResourcePlan, events: TrialEvents) -> None:
        """Run trials until `next_task` is None and all have ended, or `stop_all` is true.

        A trial runs in a process, or several (of `plan.per_trial`), that run no other at the time. If one dies, the
        trial begins anew from its checkpoint, but at most MAX_RESTARTS times without an epoch in between. A trial that
        does not report for too long is ended, with the kind HUNG. While trials run, `stop_all` is asked at least every
        few seconds.
        """

    @abstractmethod
    def close(self) -> None:
        """End what runs, and free or leave the computers. Does nothing the second time."""

    @contextmanager
    def opened(self, *, trials: int | None, given: int) -> Iterator[Self]:
        """Open it unless it is open, and close it at the end of the block."""
        try:
            if not self.is_open:
                self.open(trials=trials, given=given)
            yield self
        finally:
            self.close()
