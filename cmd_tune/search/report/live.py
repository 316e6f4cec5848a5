"""A running search on the screen: one live table on a terminal, plain lines elsewhere."""

from collections.abc import Mapping, Sequence
from math import ceil
from statistics import mean
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cmd_tune.formatting import duration, named_values
from cmd_tune.search.report.time_left import Course, seconds_left
from cmd_tune.search.report.trials_table import STATE_STYLES, trials_table
from cmd_tune.search.study.study import FINALISTS, SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState

_ROWS = 16  # trials in the live table: the running ones, then the best, then those that did not finish
_HEADINGS, _NOTES = 4, 3  # lines above the trials, and below: of hidden parameters, hidden trials, the last failure


def state_with_reason(entry: TrialRecord) -> str:
    """The state of a trial, with the reason if there is one."""
    if not entry.reason:
        return str(entry.state)
    return f"{entry.state}{' ' if entry.state is TrialState.STOPPED else ': '}{entry.reason}"


class Display:
    """Shows the trials of a study. `close` leaves the last state on the screen."""

    def __init__(self, book: SearchStudy, console: Console, *, concurrent: int = 1) -> None:
        """concurrent: trials at once."""
        self.book, self.console, self.concurrent = book, console, concurrent
        self._started = monotonic()
        self._notes: set[str] = set()
        self._heard: dict[int, float] = {}  # when a trial started or last reported, by its index
        self._took: list[float] = []  # seconds between a trial's reports
        self._validations: list[float] = []  # seconds of these that were validation
        self._live = (
            Live(get_renderable=self._render, console=console, refresh_per_second=2) if console.is_terminal else None
        )

    def open(self) -> None:
        if self._live:
            self._live.start()

    def close(self) -> None:
        if self._live:
            self._live.stop()

    def started(self, entry: TrialRecord) -> None:
        how = f"resumes after epoch {entry.epoch}" if entry.epoch else "starts"
        if entry.index in self._heard:
            how += " again, since its process ended"
        self._heard[entry.index] = monotonic()
        values = named_values({name: entry.values[name] for name in self.book.space.parameters})
        self._line(f"{entry.name} {how}: {values}")

    def reported(self, entry: TrialRecord, records: Sequence[Mapping[str, float]]) -> None:
        """One line per validation among the latest records; the epochs between are for the live table."""
        for record in records:
            now = monotonic()
            self._took.append(now - self._heard.get(entry.index, now))
            self._heard[entry.index] = now
            score = record.get(self.book.space.metric)
            if score is None:
                continue
            self._validations.append(max(0.0, self._took[-1] - record.get("seconds", 0.0)))
            self._line(
                f"{entry.name} epoch {record['epoch']:.0f}/{self.book.epochs_of(entry)}: "
                f"loss {record['loss/total']:.3f}, {self.book.space.metric} {score:.2f}; {self.summary()}"
            )

    def ended(self, entry: TrialRecord) -> None:
        self._line(f"{entry.name} {state_with_reason(entry)}")

    def noted(self, text: str) -> None:
        """Print a line about the search, above the live table; the same line once only."""
        if text not in self._notes:
            self._notes.add(text)
            self.console.print(text, style="yellow", soft_wrap=True, highlight=False, markup=False, emoji=False)

    def tested(self, entry: TrialRecord) -> None:
        """One line per tested trial. The live table is closed by then."""
        self.console.print(f"{entry.name} scored on the test set", highlight=False)

    def summary(self) -> str:
        """The best trial so far (none in a comparison), trials ended, time elapsed and left, in one line."""
        parts = []
        if not self.book.space.table:
            best = self.book.ranked()[:1]
            parts = [f"best {best[0].last(self.book.space.metric):.2f} ({best[0].name})" if best else "best –"]
        of = "" if self.book.budget is None else f"/{self.book.budget}"
        parts.append(f"{self._ended()}{of} trials")
        parts.append(f"elapsed {duration(monotonic() - self._started)}")
        remaining = self._remaining()
        parts.append(f"about {duration(remaining)} left" if remaining is not None else "time left: not known yet")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _ended(self) -> int:
        return sum(entry.state is not TrialState.RUNNING for entry in self.book.trials.values())

    def _remaining(self) -> float | None:
        """Seconds until the report, for the trials and the test scores; None before the first epoch."""
        if not self._took:
            return None
        book, now = self.book, monotonic()
        entries = list(book.trials.values())
        running = [
            Course(e.epoch, book.epochs_of(e), now - self._heard.get(e.index, now))
            for e in entries
            if e.state is TrialState.RUNNING
        ]
        ended = [
            Course(e.epoch, book.epochs_of(e)) for e in entries if e.state in (TrialState.FINISHED, TrialState.STOPPED)
        ]
        trials = [] if book.deadline is None else [max(0.0, book.deadline - now)]
        if book.budget is not None:
            waiting = max(0, book.budget - len(entries))
            epochs, pace = mean(book.epochs_of(e) for e in entries), mean(self._took)
            trials.append(seconds_left(ended, running, waiting, epochs=epochs, pace=pace, slots=self.concurrent))
        most = len(entries) if book.budget is None else book.budget
        tested = most if book.space.table else min(FINALISTS, most)
        validation = mean(self._validations) if self._validations else 0.0
        return min(trials) + ceil(tested / self.concurrent) * validation

    def _render(self) -> RenderableType:
        running = [entry for entry in self.book.trials.values() if entry.state is TrialState.RUNNING]
        best = self.book.ranked()
        ended = [entry for entry in self.book.trials.values() if entry.state in (TrialState.STOPPED, TrialState.FAILED)]
        summary = self.summary()
        width, height = self.console.size
        failed = [entry for entry in ended if entry.state is TrialState.FAILED]
        room = height - _HEADINGS - _NOTES - ceil(len(summary) / width)
        rows = (running + best + ended)[: max(1, min(_ROWS, room))]
        hidden = len(self.book.trials) - len(rows)
        lines: list[RenderableType] = [trials_table(self.book, rows, best[:1])]
        if hidden:
            lines.append(Text(f"… and {hidden} more trials", style="dim"))
        if failed:
            reason = f"{failed[-1].name} failed: {failed[-1].reason}"
            lines.append(Text(reason, style=STATE_STYLES[TrialState.FAILED], no_wrap=True, overflow="ellipsis"))
        lines.append(Text(summary, style="bold"))
        return Group(*lines)
