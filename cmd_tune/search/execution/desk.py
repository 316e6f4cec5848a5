"""The desk between trials and hosts: trials leave work and fetch reports, hosts take work and leave reports.

A host is a group of processes that stays up and does one piece of work after another (host.py). The desk outlives it:
what a lost host was doing comes back to the one that asked for it, as lost. One event loop runs all of its methods, so
they need no locks; those that wait do so for a limited time, so that whoever waits can see to other things.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

Report = Mapping[str, Any]  # a TrialReport as plain values; of a call: its result

NOTHING: Final = "nothing"  # there is nothing to do, or to read, yet
CLOSED: Final = "closed"  # there will be nothing to do any more, for this host


@dataclass
class _Job:
    """A piece of work and what has come of it.

    asked: reports that have been asked for; who asks for one accepts those before it. heard: when its host was last
    heard of. gap: the longest time between two reports, in seconds.
    """

    work: Any
    first: bool
    host: int | None = None
    reports: list[Report] = field(default_factory=list)
    asked: int = 0
    ended: bool = False
    lost: str = ""
    heard: float = field(default_factory=monotonic)
    gap: float = 0.0


class Desk:
    """Work by key. Who submits work under a key again withdraws what was there: its host is told to stop."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._placed: set[int] = set()  # hosts that have a process
        self._hosts: dict[int, Any] = {}  # what each host that is up has said of itself
        self._gone: set[int] = set()  # hosts that are lost: one may have been killed as it waited for work
        self._at: dict[int, str] = {}  # the key of what each host is at: also what was withdrawn, until it stops
        self._dismissed: set[int] = set()  # hosts that are to take nothing more
        self._closed = False
        self._news = asyncio.Condition()

    async def submit(self, key: str, work: Any, *, first: bool) -> None:
        """Leave work. first: whether it comes before all that is not: trials do, calls do not."""
        self._jobs[key] = _Job(work, first)
        await self._tell()

    async def ensure(self, key: str, work: Any, *, first: bool) -> None:
        """Leave work unless it is there already and nobody has asked for a report of it: so does who may be the first
        to ask, or begins anew.
        """
        job = self._jobs.get(key)
        if job is None or job.asked or job.lost:
            await self.submit(key, work, first=first)

    async def fetch(self, key: str, number: int, patience_s: float) -> Mapping[str, Any] | str:
        """The report of this number, from 0; asking for it accepts those before it.

        Returns {"report": …}; {"end": …} with the last one, after which there is none; {"lost": why} if its host is
        gone, or if the desk itself was; NOTHING if none has come in time.
        """
        job = self._jobs.get(key)
        if job is None:
            return {"lost": "the desk of the search was started anew"}
        job.asked = max(job.asked, number + 1)
        await self._tell()
        await self._wait(lambda: len(job.reports) > number or bool(job.lost), patience_s)
        if len(job.reports) > number:
            last = job.ended and number == len(job.reports) - 1
            return {"end" if last else "report": job.reports[number]}
        return {"lost": job.lost} if job.lost else NOTHING

    async def leave(self, key: str) -> None:
        """Withdraw work: its host stops at its next report."""
        if self._jobs.pop(key, None):
            await self._tell()

    async def arrive(self, host: int) -> None:
        """A host has its place, and gets ready."""
        self._placed.add(host)

    async def take(self, host: int, about: Any, patience_s: float) -> tuple[str, Any] | str:
        """(key, work) for a host, which is up; NOTHING if none has come in time; CLOSED, also to one that is lost.

        about: what it says of itself. Each time, since a desk that was started anew knows of no host.
        """
        if host not in self._gone:
            self._hosts[host] = about
        self._at.pop(host, None)
        await self._wait(lambda: self._done_with(host) or self._next() is not None, patience_s)
        key = self._next()  # now: another host may have been quicker
        if self._done_with(host) or key is None:
            return CLOSED if self._done_with(host) else NOTHING
        job = self._jobs[key]
        job.host, job.heard = host, monotonic()
        self._at[host] = key
        return key, job.work

    def _done_with(self, host: int) -> bool:
        return self._closed or host in self._dismissed or host in self._gone

    def _next(self) -> str | None:
        """The key of the work to do next. What another host still writes to, since it has yet to stop, has to wait."""
        busy = set(self._at.values())
        waiting = [key for key, job in self._jobs.items() if job.host is None and key not in busy]
        return min(waiting, key=lambda key: not self._jobs[key].first, default=None)

    async def put(self, host: int, key: str, report: Report, patience_s: float) -> bool | str:
        """Leave a report. Returns whether to stop, or NOTHING if that is not decided in time: see `decide`.

        The report before this one must have been accepted, so that a host is ahead by an epoch at most.
        """
        job = self._job(host, key)
        if job is not None:
            job.gap = max(job.gap, monotonic() - job.heard)
            job.heard = monotonic()
            job.reports.append(report)
            await self._tell()
        return await self.decide(host, key, patience_s)

    async def decide(self, host: int, key: str, patience_s: float) -> bool | str:
        """Whether the host is to stop this work; NOTHING if that is not decided in time."""

        def decided() -> bool:
            job = self._job(host, key)
            return self._closed or job is None or job.asked >= len(job.reports)

        await self._wait(decided, patience_s)
        job = self._job(host, key)
        if self._closed or job is None:
            return True
        job.heard = monotonic()
        return False if job.asked >= len(job.reports) else NOTHING

    async def end(self, host: int, key: str, report: Report) -> None:
        """Leave the last report of some work."""
        self._at.pop(host, None)
        if job := self._job(host, key):
            job.reports.append(report)
            job.ended = True
        await self._tell()

    async def give_up(self, host: int, key: str, why: str) -> None:
        """A host that goes on has failed at some work, which is lost. why: of any length."""
        self._at.pop(host, None)
        if job := self._job(host, key):
            job.lost = why
        await self._tell()

    async def lost(self, host: int, why: str, last: Report | None = None) -> None:
        """A host is gone. last: the last report of what it was doing, if that is to blame; else it is lost."""
        self._gone.add(host)
        self._placed.discard(host)
        self._hosts.pop(host, None)
        self._at.pop(host, None)
        self._dismissed.discard(host)
        for job in self._jobs.values():
            if job.host == host and not job.ended:
                if last is None:
                    job.lost = why
                else:
                    job.reports.append(last)
                    job.ended = True
        await self._tell()

    async def dismiss(self, hosts: Sequence[int]) -> None:
        """Send these hosts home, each when it has done what it is at."""
        self._dismissed.update(hosts)
        await self._tell()

    async def close(self) -> None:
        """Send all hosts home."""
        self._closed = True
        await self._tell()

    async def state(self) -> dict[str, Any]:
        """What goes on, for who looks after the hosts.

        hosts: what those that are up have said of themselves, by number. placed: those that have a process.
        waiting: pieces of work without a host. quiet: by host that runs a trial, its seconds since its last report and
        the longest there were between two.
        """
        now = monotonic()
        running = [job for job in self._jobs.values() if job.host is not None and not job.ended and not job.lost]
        at_work = [job for job in running if job.first]
        return {
            "hosts": dict(self._hosts),
            "placed": set(self._placed),
            "waiting": sum(job.host is None for job in self._jobs.values()),
            "quiet": {job.host: (now - job.heard, job.gap) for job in at_work},
        }

    def _job(self, host: int, key: str) -> _Job | None:
        """The work under a key, if it is this host's and goes on."""
        job = self._jobs.get(key)
        return job if job is not None and job.host == host and not job.ended and not job.lost else None

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _wait(self, condition: Callable[[], bool], patience_s: float) -> None:
        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(condition), patience_s)
            except TimeoutError:
                return
