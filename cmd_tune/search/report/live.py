"""A running search on the screen: one live table on a terminal, plain lines elsewhere."""

from collections.abc import Mapping, Sequence
from math import ceil
from statistics import mean
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cmd_tune.data.splits import VALIDATION_SHARE
from cmd_tune.formatting import duration, named_values
from cmd_tune.search.report.live_progress import progress_line
from cmd_tune.search.report.scores_in_words import bare_score
from cmd_tune.search.report.time_left import Course, seconds_left
from cmd_tune.search.report.trials_table import STATE_STYLES, trials_table
from cmd_tune.search.study.study import FINALISTS, SearchStudy
from cmd_tune.search.study.trial_record import TrialRecord, TrialState

_ROWS = 16  # trials in the live table: the running ones, then the best, then those that did not finish
_HEADINGS, _NOTES = 4, 4  # lines above the trials, and below: of hidden parameters and trials, failure, progress


def state_with_reason(trial: TrialRecord) -> str:
    """The state of a trial, with the reason if there is one."""
    if not trial.reason:
        return str(trial.state)
    joined = ": " if trial.state is TrialState.FAILED else " "
    return f"{trial.state}{joined}{trial.reason}"


class Display:
    """Shows the trials of a study. `close` leaves the last state on the screen."""

    def __init__(
        self, study: SearchStudy, console: Console, *, concurrent: int = 1, again: int = 0, refits: int = 0
    ) -> None:
        """concurrent: trials at once. again, refits: runs that follow the trials, at most; refits take more clips."""
        self.study, self.console, self.concurrent = study, console, concurrent
        self.again, self.refits = again, refits
        self._started = monotonic()
        self._notes: set[str] = set()
        self._heard: dict[int, float] = {}  # when a trial started or last reported, by its index
        self._begun: set[str] = set()  # runs that have started
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

    def started(self, run: TrialRecord) -> None:
        how = f"resumes after epoch {run.epoch}" if run.epoch else "starts"
        if run.name in self._begun:
            how += " again, since its process ended"
        self._begun.add(run.name)
        self._heard[run.index] = monotonic()
        values = named_values({name: run.values[name] for name in self.study.space.parameters if name in run.values})
        self._line(f"{run.name} {how}: {values}")

    def reported(self, run: TrialRecord, records: Sequence[Mapping[str, float]]) -> None:
        """One line per validation among the latest records; the epochs between are for the live table."""
        for record in records:
            now = monotonic()
            self._took.append(now - self._heard.get(run.index, now))
            self._heard[run.index] = now
            metric = self.study.space.metric
            score = record.get(metric)
            if score is None:
                continue
            self._validations.append(max(0.0, self._took[-1] - record.get("seconds", 0.0)))
            if self._live is not None:
                continue  # its table shows it, and the line takes long with a thousand trials
            self._line(
                f"{run.name} epoch {record['epoch']:.0f}/{self.study.epochs_of(run)}: "
                f"loss {record['loss/total']:.3f}, {metric} {bare_score(metric, score, digits=2)}; {self.summary()}"
            )

    def ended(self, trial: TrialRecord) -> None:
        self._line(f"{trial.name} {state_with_reason(trial)}")

    def noted(self, text: str) -> None:
        """Print a line about the search, above the live table; the same line once only."""
        if text not in self._notes:
            self._notes.add(text)
            self.console.print(text, style="yellow", soft_wrap=True, highlight=False, markup=False, emoji=False)

    def tested(self, trial: TrialRecord) -> None:
        """One line per tested trial. The live table is closed by then."""
        self.console.print(f"{trial.name} scored on the test set", highlight=False)

    def summary(self) -> str:
        """The best trial so far (none in a comparison), trials ended, time elapsed and left, in one line."""
        parts = []
        if not self.study.space.comparison:
            best, metric = self.study.ranked()[:1], self.study.space.metric
            score = f"{bare_score(metric, best[0].score(metric), digits=2)} ({best[0].name})" if best else "–"
            parts = [f"best {score}"]
        of = "" if self.study.budget is None else f"/{self.study.budget}"
        parts.append(f"{self._ended()}{of} trials")
        parts.append(f"elapsed {duration(monotonic() - self._started)}")
        remaining = self._remaining()
        parts.append(f"about {duration(remaining)} left" if remaining is not None else "time left: not known yet")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _ended(self) -> int:
        open_states = (TrialState.RUNNING, TrialState.UNFINISHED)
        return sum(trial.state not in open_states for trial in self.study.trials.values())

    def _remaining(self) -> float | None:
        """Seconds until the report, for trials and all that follows them; None before the first epoch."""
        if not self._took:
            return None
        study, now = self.study, monotonic()
        trials = list(study.trials.values())
        running = [
            Course(t.epochs_run, study.epochs_in_all(t), now - self._heard.get(t.index, now))
            for t in trials
            if t.state in (TrialState.RUNNING, TrialState.UNFINISHED)
        ]
        ended = [
            Course(t.epochs_run, study.epochs_in_all(t))
            for t in trials
            if t.state in (TrialState.FINISHED, TrialState.STOPPED)
        ]
        limits = [] if study.deadline is None else [max(0.0, study.deadline - now)]  # seconds
        if study.budget is not None:
            waiting = max(0, study.budget - len(trials))
            epochs, pace = mean(study.epochs_in_all(t) for t in trials), mean(self._took)
            limits.append(seconds_left(ended, running, waiting, epochs=epochs, pace=pace, slots=self.concurrent))
        most = len(trials) if study.budget is None else study.budget
        tested = 0 if study.space.comparison else min(FINALISTS, most)
        validation = mean(self._validations) if self._validations else 0.0
        run = study.base.epochs * mean(self._took)  # seconds of one
        after = ceil(tested / self.concurrent) * validation
        after += ceil(self.again / self.concurrent) * run
        return min(limits) + after + ceil(self.refits / self.concurrent) * run / (1 - VALIDATION_SHARE)

    def _render(self) -> RenderableType:
        running = [trial for trial in self.study.trials.values() if trial.state is TrialState.RUNNING]
        best = self.study.ranked()
        ended = [
            trial
            for trial in self.study.trials.values()
            if trial.state in (TrialState.UNFINISHED, TrialState.STOPPED, TrialState.FAILED)
        ]
        summary = self.summary()
        width, height = self.console.size
        failed = [trial for trial in ended if trial.state is TrialState.FAILED]
        room = height - _HEADINGS - _NOTES - ceil(len(summary) / width)
        rows = (running + best + ended)[: max(1, min(_ROWS, room))]
        hidden = len(self.study.trials) - len(rows)
        lines: list[RenderableType] = [trials_table(self.study, rows, best[:1])]
        if hidden:
            lines.append(Text(f"… and {hidden} more trials", style="dim"))
        if failed:
            reason = f"{failed[-1].name} failed: {failed[-1].reason}"
            lines.append(Text(reason, style=STATE_STYLES[TrialState.FAILED], no_wrap=True, overflow="ellipsis"))
        lines.append(Text(progress_line(self.study, self.concurrent), no_wrap=True, overflow="ellipsis"))
        lines.append(Text(summary, style="bold"))
        return Group(*lines)
