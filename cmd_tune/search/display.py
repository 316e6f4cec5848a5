"""What a person sees while a search runs: one live table on a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Sequence
from math import ceil
from statistics import mean
from time import monotonic
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cmd_tune.search.remaining import Course, seconds_left
from cmd_tune.search.study import FINALISTS, Book, Entry, State

_STYLES = {State.RUNNING: "cyan", State.FINISHED: "green", State.STOPPED: "yellow", State.FAILED: "red"}
_ROWS = 16  # trials shown at once: the running ones, then the best
MOST_COLUMNS = 3  # parameters with a column of their own


def duration(seconds: float) -> str:
    """3725 s → 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(value: Any) -> str:
    """A setting as a person would write it: four digits of a number are enough."""
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else ",".join(value)
        if isinstance(value, list | tuple)
        else str(value)
    )


class Display:
    """Follows a book. `close` leaves the last state on the screen."""

    def __init__(self, book: Book, console: Console, *, concurrent: int = 1) -> None:
        """concurrent: trials at once."""
        self.book, self.console, self.concurrent = book, console, concurrent
        self._started = monotonic()
        self._heard: dict[int, float] = {}  # when a trial started or last reported, by its index
        self._took: list[float] = []  # seconds between a trial's reports
        self._validations: list[float] = []  # the part of those that were validation
        self._live = (
            Live(get_renderable=self._render, console=console, refresh_per_second=2) if console.is_terminal else None
        )

    def open(self) -> None:
        if self._live:
            self._live.start()

    def close(self) -> None:
        if self._live:
            self._live.stop()

    def started(self, entry: Entry) -> None:
        self._heard[entry.index] = monotonic()
        how = f"resumes after epoch {entry.epoch}" if entry.epoch else "starts"
        self._line(f"{entry.name} {how}: {_values(entry, self.book.space.parameters)}")

    def reported(self, entry: Entry) -> None:
        """One line a validation; the epochs between are for the live table."""
        now, record = monotonic(), entry.history[-1]
        self._took.append(now - self._heard.get(entry.index, now))
        self._heard[entry.index] = now
        score = record.get(self.book.space.metric)
        if score is not None:
            self._validations.append(max(0.0, self._took[-1] - record.get("seconds", 0.0)))
        if score is not None:
            loss = entry.last("loss/total")
            self._line(
                f"{entry.name} epoch {entry.epoch}/{self.book.epochs_of(entry)}: loss {loss:.3f}, "
                f"{self.book.space.metric} {score:.2f}; {self.summary()}"
            )

    def ended(self, entry: Entry) -> None:
        self._line(f"{entry.name} {entry.state}{f': {entry.reason}' if entry.reason else ''}")

    def tested(self, entry: Entry) -> None:
        """One line a trial of the last part of a search, when the live table is closed."""
        self.console.print(f"{entry.name} scored on the test set", highlight=False)

    def summary(self) -> str:
        """Best so far (a table has none), elapsed, remaining."""
        parts = []
        if not self.book.space.table:
            best = self.book.ranked()[:1]
            parts = [f"best {best[0].last(self.book.space.metric):.2f} ({best[0].name})" if best else "best –"]
        parts.append(f"{self._ended()}/{self.book.budget} trials")
        parts.append(f"elapsed {duration(monotonic() - self._started)}")
        remaining = self._remaining()
        parts.append(f"about {duration(remaining)} left" if remaining is not None else "time left: not known yet")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _ended(self) -> int:
        return sum(entry.state is not State.RUNNING for entry in self.book.entries.values())

    def _remaining(self) -> float | None:
        """Seconds until the report: of the trials, and of the test set's scores; None before the first epoch."""
        if not self._took:
            return None
        book, now = self.book, monotonic()
        entries = list(book.entries.values())
        running = [
            Course(e.epoch, book.epochs_of(e), now - self._heard.get(e.index, now))
            for e in entries
            if e.state is State.RUNNING
        ]
        ended = [Course(e.epoch, book.epochs_of(e)) for e in entries if e.state in (State.FINISHED, State.STOPPED)]
        seconds = seconds_left(
            ended,
            running,
            max(0, book.budget - len(entries)),
            epochs=mean(book.epochs_of(e) for e in entries),
            pace=mean(self._took),
            slots=self.concurrent,
        )
        if book.deadline is not None:
            seconds = min(seconds, max(0.0, book.deadline - now))
        tested = book.budget if book.space.table else min(FINALISTS, book.budget)
        validation = mean(self._validations) if self._validations else 0.0
        return seconds + ceil(tested / self.concurrent) * validation

    def _render(self) -> RenderableType:
        running = [entry for entry in self.book.entries.values() if entry.state is State.RUNNING]
        best = self.book.ranked()
        others = [e for e in best if e not in running] + [
            e for e in self.book.entries.values() if e.state is not State.RUNNING and e not in best
        ]
        rows = running + others[: max(0, _ROWS - len(running))]
        hidden = len(self.book.entries) - len(rows)
        lines: list[RenderableType] = [trials_table(self.book, rows, best[:1])]
        if hidden:
            lines.append(Text(f"… and {hidden} more", style="dim"))
        lines.append(Text(self.summary(), style="bold"))
        return Group(*lines)


def trials_table(book: Book, entries: Sequence[Entry], best: Sequence[Entry] = ()) -> Table:
    """Trial, parameters, epoch, loss, validation KNN, state."""
    metric = book.space.metric
    scores = ["loss/total", metric, *(name for name in ("val/knn/joint", "val/knn/fused") if name != metric)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("trial", vertical="bottom")
    add_parameter_columns(table, book)
    for name in ("epoch", *scores):
        table.add_column(name.replace("/", "\n"), justify="right", no_wrap=True)
    table.add_column("state")
    for entry in entries:
        numbers = (entry.last(name) for name in scores)
        table.add_row(
            f"{entry.index:03d}",
            *parameter_cells(book, entry),
            f"{entry.epoch}/{book.epochs_of(entry)}",
            *("–" if number is None else f"{number:.2f}" for number in numbers),
            Text(f"{entry.state}: {entry.reason}" if entry.reason else str(entry.state), style=_STYLES[entry.state]),
            style="bold" if entry in best else None,
        )
    return table


def add_parameter_columns(table: Table, book: Book) -> None:
    """A column a parameter where they are few, else one for all."""
    if len(book.space.parameters) > MOST_COLUMNS:
        table.add_column("parameters", overflow="fold")
        return
    for name in book.space.parameters:
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)


def parameter_cells(book: Book, entry: Entry | None) -> list[str]:
    """What stands in those columns for a trial; blanks for None."""
    names = list(book.space.parameters)
    if entry is None:
        return [""] if len(names) > MOST_COLUMNS else [""] * len(names)
    return [_values(entry, names)] if len(names) > MOST_COLUMNS else [shown(entry.values[name]) for name in names]


def _values(entry: Entry, names: Iterable[str]) -> str:
    return ", ".join(f"{name} {shown(entry.values[name])}" for name in names)
